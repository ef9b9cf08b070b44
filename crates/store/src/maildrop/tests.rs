//! Tests of `maildrop.rs`.

use std::fs;

use super::*;
use crate::crash_tests::memory_or_disk;
use crate::scan::scan;

const FROM_LINE: &str = "From a Mon Aug 22 23:00:00 2016\n";

/// A mailbox with these messages.
fn mailbox(texts: &[&str]) -> (tempfile::TempDir, Snapshot, Vec<Entry>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mailbox");
    fs::write(&path, texts.iter().map(|text| format!("{FROM_LINE}{text}\n")).collect::<String>()).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let entries = scan(|buffer, offset| read_at(&file, buffer, offset)).unwrap();
    (dir, Snapshot { file: Arc::new(OpenMailbox::new(file)), path }, entries)
}

/// What is left of a message. Each chunk is first looked for in memory, where `is_in_memory` says whether it is.
fn all_by(mut passage: Passage, mut is_in_memory: impl FnMut() -> bool) -> Result<Vec<u8>, StoreError> {
    let mut text = Vec::new();
    loop {
        let at_once = passage.next_if_cached(|file, buffer, offset| {
            if is_in_memory() { read_at(file, buffer, offset) } else { Err(io::ErrorKind::WouldBlock.into()) }
        });
        match at_once.unwrap_or_else(|| passage.next())? {
            Some(chunk) => text.extend(chunk),
            None => return Ok(text),
        }
    }
}

fn all(passage: Passage) -> Result<Vec<u8>, StoreError> {
    all_by(passage, || false)
}

/// holds C-P5
#[test]
fn it_is_the_same_message_whatever_of_it_is_in_memory() {
    let lines = |octets: usize| "0123456789 abcdef\n>From b\n".repeat(octets / 25 + 1);
    let texts = ["", "a\n", ">From b\n", &lines(CHUNK_OCTETS), &lines(3 * CHUNK_OCTETS), &"x".repeat(2 * CHUNK_OCTETS)];
    let (_dir, mailbox, entries) = mailbox(&texts);
    assert_eq!(entries.len(), texts.len());
    for (entry, text) in entries.iter().zip(texts) {
        let passage = || Passage::new(mailbox.clone(), *entry);
        let mut expected = text.replace(">From", "From").replace('\n', "\r\n");
        if !expected.is_empty() && !expected.ends_with('\n') {
            expected.push_str("\r\n");
        }
        // All of it, nothing, and each pattern of five reads.
        for pattern in 0..32_u32 {
            let mut reads = 0;
            let is_in_memory = || {
                reads += 1;
                pattern >> (reads % 5) & 1 == 1
            };
            assert_eq!(all_by(passage(), is_in_memory).unwrap(), expected.as_bytes(), "{pattern:b}");
        }
        // As the system says.
        let mut at_once = passage();
        let first = at_once.next_if_cached(read_cached_at).transpose().unwrap().flatten().unwrap_or_default();
        assert_eq!([first, all(at_once).unwrap()].concat(), expected.as_bytes());
    }
}

/// Where the system does not say what is in memory, another thread reads each chunk.
///
/// holds C-P5
#[tokio::test]
async fn a_reader_gives_each_chunk_once_whoever_reads_it() {
    let text = (0..20_000).map(|number| format!("line {number}\n")).collect::<String>();
    for dir in [tempfile::tempdir().unwrap(), tempfile::tempdir_in(memory_or_disk()).unwrap()] {
        fs::write(dir.path().join("alice.mbox"), format!("{FROM_LINE}{text}\n")).unwrap();
        let place = Arc::new(Place::open(dir.path()).unwrap());
        let maildrop = MboxMaildrop::open(place, "alice".to_owned(), Duration::ZERO).await.unwrap();
        let mut reader = maildrop.read(0);
        let mut read = Vec::new();
        while let Some(chunk) = reader.next().await.unwrap() {
            assert!((1..=2 * CHUNK_OCTETS).contains(&chunk.len()), "{} octets, with each LF as CR LF", chunk.len());
            read.extend(chunk);
            assert!(read.len() < 2 * text.len(), "again from the beginning");
        }
        assert!(read == text.replace('\n', "\r\n").into_bytes(), "{} octets", read.len());
        assert!(reader.next().await.unwrap().is_none());
    }
}

/// holds C-P5
#[test]
fn a_message_that_was_changed_is_not_shown() {
    let long = |end: &str| "line\n".repeat(40_000) + end;
    let (_dir, mailbox, entries) = mailbox(&["a\n", "b\n", &long("b\n")]);
    fs::write(&mailbox.path, ["a\n", "c\n", &long("c\n")].map(|text| format!("{FROM_LINE}{text}\n")).concat()).unwrap();
    for entry in &entries[1..] {
        for is_in_memory in [false, true] {
            let mut passage = Passage::new(mailbox.clone(), *entry);
            let mut given = 0;
            let error = loop {
                let chunk = if is_in_memory { passage.next_if_cached(read_at).unwrap() } else { passage.next() };
                match chunk {
                    Ok(chunk) => given += chunk.expect("it is not said to be whole").len() as u64,
                    Err(error) => break error,
                }
            };
            assert!(matches!(error, StoreError::Changed { .. }) && given < entry.octets - 1, "{given} octets");
        }
    }
    // What is not there at all is not in memory either.
    mailbox.file.set_len(entries[1].start).unwrap();
    assert!(Passage::new(mailbox.clone(), entries[1]).next_if_cached(read_cached_at).is_none());
    assert!(matches!(all(Passage::new(mailbox, entries[1])), Err(StoreError::Changed { .. })));
}
