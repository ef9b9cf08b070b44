//! Tests of `unique_ids.rs`.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use super::*;
use crate::scan::scan;

/// Messages of very different lengths, so that they are read together, alone and in chunks, and hashed beside each
/// other.
///
/// holds C-P6
#[test]
fn each_message_has_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mailbox");
    let lengths = |number: usize| [0, 1, 55, 56, 64, 500, 4000, 70_000, 300_000][number % 9] + number;
    let mut file = File::create(&path).unwrap();
    for number in 0..61 {
        let text = "From x\n0123456789\n".repeat(lengths(number) / 18 + 1).replace("\nFrom ", "\n>From ");
        write!(file, "From a Mon Aug 22 23:00:00 2016\n{number}\n{text}\n").unwrap();
    }
    let file = File::open(&path).unwrap();
    let entries = scan(|buffer, offset| read_at(&file, buffer, offset)).unwrap();
    assert_eq!(entries.len(), 61);
    let mailbox = Snapshot { file: Arc::new(crate::locks::OpenMailbox::new(file)), path };
    for numbers in [(0..61).collect::<Vec<_>>(), (0..61).filter(|number| number % 5 != 4).collect(), vec![7], vec![]] {
        check(&mailbox, &entries, &numbers);
    }
}

fn check(mailbox: &Snapshot, entries: &[Entry], numbers: &[usize]) {
    let mut ids = of(mailbox, entries, numbers).unwrap();
    ids.sort_unstable();
    assert!(ids.iter().map(|(number, _)| *number).eq(numbers.iter().copied()));
    for (number, id) in ids {
        let mut passage = Passage::new(mailbox.clone(), entries[number]);
        let mut text = Vec::new();
        while let Some(chunk) = passage.next().unwrap() {
            text.extend(chunk);
        }
        assert_eq!(id, <[u8; 16]>::from(Md5::digest(&text)), "message {number}");
    }
}

#[test]
fn who_asks_for_several_asks_for_all() {
    let octets = [1, 1, 1, 1, AHEAD_MAX_OCTETS - 1, 1, 1, 1];
    let numbers = |range| to_compute(range, &octets, |number| number != 1 && number != 3);
    assert_eq!(numbers(0..3), [0, 2, 4, 5], "and those behind, as far as they are near");
    assert_eq!(numbers(0..1), [0], "one is one");
    assert_eq!(numbers(1..2), [], "known");
    assert_eq!(numbers(6..8), [6, 7]);
}

/// Where as many sessions compute as may, one more waits for its turn, and has it when one has ended.
///
/// holds C-P6
#[tokio::test]
async fn so_many_sessions_compute_at_once() {
    use crate::{Mailbox, Maildrop as _, MboxStore, Store as _};
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("alice.mbox"), "From a Mon Aug 22 23:00:00 2016\nx\n\n").unwrap();
    let (store, _) = MboxStore::open(dir.path()).unwrap();
    let mut maildrop = store.open(&Mailbox("alice".to_owned())).await.unwrap();
    let computing = COMPUTING.acquire_many(u32::try_from(COMPUTING_MAX).unwrap()).await.unwrap();
    let mut waits = std::pin::pin!(maildrop.unique_ids(0..1));
    // Far longer than it takes.
    tokio::time::timeout(std::time::Duration::from_millis(300), &mut waits).await.unwrap_err();
    drop(computing);
    assert_eq!(waits.await.unwrap().len(), 1);
}
