//! Other programs at work in a mailbox while a session has it, and many tasks of ours at once.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use common::{Folder, read, texts};
use pillarbox_store::{Maildrop, MboxMaildrop, Store, StoreError, TextReader};

const FROM: &str = "From a Mon Aug 22 23:00:00 2016\n";

fn entry(text: &str) -> String {
    format!("{FROM}{text}\n\n")
}

/// A session on three messages; then somebody changes the mailbox without asking.
async fn session(change: impl FnOnce(&Folder)) -> (Folder, MboxMaildrop) {
    let folder = Folder::new(&[("alice", &["one", "two", "three"].map(entry).concat())]);
    let maildrop = folder.store.open(&folder.mailbox("alice").await).await.unwrap();
    change(&folder);
    (folder, maildrop)
}

fn write(folder: &Folder, content: &str) {
    fs::write(folder.path("alice.mbox"), content).unwrap();
}

fn append(folder: &Folder, content: &str) {
    let mut file = OpenOptions::new().append(true).open(folder.path("alice.mbox")).unwrap();
    file.write_all(content.as_bytes()).unwrap();
}

fn assert_changed<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(matches!(result, Err(StoreError::Changed { .. })), "{result:?}");
}

/// holds C-P7 C-P8
#[tokio::test]
async fn appended() {
    let (folder, maildrop) = session(|folder| append(folder, &entry("four"))).await;
    assert_eq!(texts(&maildrop).await, ["one\r\n", "two\r\n", "three\r\n"]);
    maildrop.commit(&[0, 2]).await.unwrap();
    assert_eq!(folder.mbox("alice"), entry("two") + &entry("four"));
}

/// holds C-P7
#[tokio::test]
async fn truncated() {
    let (folder, mut maildrop) = session(|folder| write(folder, &entry("one"))).await;
    assert_eq!(read(maildrop.read(0)).await.unwrap(), b"one\r\n");
    assert_changed(read(maildrop.read(1)).await);
    assert_changed(maildrop.unique_ids(0..3).await);
    assert_eq!(maildrop.unique_ids(0..1).await.unwrap().len(), 1);
    assert_changed(maildrop.commit(&[0, 1]).await);
    assert_eq!(folder.mbox("alice"), entry("one"), "nothing removed");
}

/// holds C-P7
#[tokio::test]
async fn rewritten_with_status_headers() {
    let rewritten = ["one", "Status: RO\n\ntwo", "three"].map(entry).concat();
    let (folder, maildrop) = session(|folder| write(folder, &rewritten)).await;
    assert_eq!(read(maildrop.read(0)).await.unwrap(), b"one\r\n");
    assert_changed(read(maildrop.read(1)).await);
    assert_changed(read(maildrop.read(2)).await);
    assert_changed(maildrop.commit(&[1]).await);
    assert_eq!(folder.mbox("alice"), rewritten);
    // What did not change can be removed, wherever it is now.
    let (folder, maildrop) = session(|folder| write(folder, &rewritten)).await;
    maildrop.commit(&[0, 2]).await.unwrap();
    assert_eq!(folder.mbox("alice"), entry("Status: RO\n\ntwo"));
}

/// holds C-P7
#[tokio::test]
async fn the_same_octets_of_another_message_are_not_taken_for_it() {
    // Same length, other content.
    let (_folder, maildrop) = session(|folder| write(folder, &["one", "owt", "three"].map(entry).concat())).await;
    assert_changed(read(maildrop.read(1)).await);
    assert_changed(maildrop.commit(&[1]).await);
}

/// holds C-P7
#[tokio::test]
async fn renamed_over() {
    let rename = |folder: &Folder, content: &str| {
        fs::write(folder.path("new"), content).unwrap();
        fs::rename(folder.path("new"), folder.path("alice.mbox")).unwrap();
    };
    let (folder, maildrop) = session(|folder| rename(folder, &["two", "four"].map(entry).concat())).await;
    assert_eq!(read(maildrop.read(2)).await.unwrap(), b"three\r\n", "what was listed is still open");
    maildrop.commit(&[1]).await.unwrap();
    assert_eq!(folder.mbox("alice"), entry("four"));
    let (folder, maildrop) = session(|folder| rename(folder, &entry("four"))).await;
    assert_changed(maildrop.commit(&[1]).await);
    assert_eq!(folder.mbox("alice"), entry("four"));
    let (_folder, maildrop) = session(|folder| fs::remove_file(folder.path("alice.mbox")).unwrap()).await;
    assert!(matches!(maildrop.commit(&[1]).await, Err(StoreError::NoSuchMailbox { .. })));
}

/// holds C-P7
#[tokio::test]
async fn of_equal_messages_one_has_gone() {
    let folder = Folder::new(&[("alice", &["same", "same", "other"].map(entry).concat())]);
    let maildrop = folder.store.open(&folder.mailbox("alice").await).await.unwrap();
    let rest = ["same", "other"].map(entry).concat();
    write(&folder, &rest);
    assert_changed(maildrop.commit(&[0]).await);
    assert_eq!(folder.mbox("alice"), rest, "nobody can say which one was meant");
}

/// Two messages that have the same hash, as who knows one can write the other: what XXH3 multiplies by 0 may be anything,
/// and its sum is the same in both. The one that was marked goes.
///
/// holds C-P7
#[tokio::test]
async fn what_has_the_same_hash_is_not_taken_for_the_same() {
    let message = |one: u8, other: u8| {
        let mut message = FROM.as_bytes().to_vec();
        message.resize(1000, b'x');
        message.extend_from_slice(b"\n\n");
        // The low halves are those of its secret at these places.
        message[256..264].copy_from_slice(&[0xcb, 0x79, 0xe6, 0x4e, one, b'a', b'a', b'a']);
        message[320..328].copy_from_slice(&[0x82, 0x5a, 0xd0, 0x7d, other, b'a', b'a', b'a']);
        message
    };
    let messages = [message(b'c', b'f'), message(b'd', b'e')];
    assert_ne!(messages[0], messages[1]);
    let hash = |message: &[u8]| xxhash_rust::xxh3::xxh3_64(&message[..1001]);
    assert_eq!(hash(&messages[0]), hash(&messages[1]));
    for (marked, kept) in [(0, 1), (1, 0)] {
        let folder = Folder::new(&[("alice", "")]);
        fs::write(folder.path("alice.mbox"), messages.concat()).unwrap();
        let maildrop = folder.store.open(&folder.mailbox("alice").await).await.unwrap();
        maildrop.commit(&[marked]).await.unwrap();
        assert!(fs::read(folder.path("alice.mbox")).unwrap() == messages[kept], "{marked} was marked");
    }
}

/// holds C-P7
#[tokio::test]
async fn the_last_chunk_of_a_changed_message_never_comes() {
    let large = "x".repeat(300_000);
    let folder = Folder::new(&[("alice", &entry(&large))]);
    let maildrop = folder.store.open(&folder.mailbox("alice").await).await.unwrap();
    let mut reader = maildrop.read(0);
    let mut octets = reader.next().await.unwrap().unwrap().len();
    assert!(octets < 100_000, "memory is bounded");
    // The last octet of the text.
    write(&folder, &entry(&format!("{}y", &large[1..])));
    let failed = loop {
        match reader.next().await {
            Ok(chunk) => octets += chunk.expect("no end of it").len(),
            Err(error) => break error,
        }
    };
    assert!(octets < large.len());
    assert!(matches!(failed, StoreError::Changed { .. }), "{failed:?}");
    assert!(reader.next().await.is_err(), "and it stays so");
}

/// holds C-P7 C-P8
#[tokio::test]
async fn a_delivery_ends_a_line_that_had_no_end() {
    for (content, shown) in [("cut off", "cut off\r\n"), ("cut off\r", "cut off\r\r\n")] {
        let folder = Folder::new(&[("alice", &format!("{FROM}{content}"))]);
        let mut maildrop = folder.store.open(&folder.mailbox("alice").await).await.unwrap();
        folder.deliver(&["alice"], "new\r\n").await.unwrap();
        assert_eq!(texts(&maildrop).await, [shown]);
        let id = maildrop.unique_ids(0..1).await.unwrap();
        drop(maildrop);
        let mut maildrop = folder.store.open(&folder.mailbox("alice").await).await.unwrap();
        assert_eq!(texts(&maildrop).await, [shown, "new\r\n"]);
        assert_eq!(maildrop.unique_ids(0..1).await.unwrap(), id, "the id does not change");
    }
    let folder = Folder::new(&[("alice", &format!("{FROM}cut off"))]);
    let maildrop = folder.store.open(&folder.mailbox("alice").await).await.unwrap();
    folder.deliver(&["alice"], "new\r\n").await.unwrap();
    maildrop.commit(&[0]).await.unwrap();
    assert_eq!(folder.texts("alice").await, ["new\r\n"]);
}

/// holds C-P9
#[tokio::test]
async fn damaged_mailboxes_are_shown() {
    let folder = Folder::new(&[("alice", "no From line\n"), ("bob", "\n\n\n"), ("carol", "\0\u{1}\r\r\n>From")]);
    assert_eq!(folder.texts("alice").await, ["no From line\r\n"]);
    assert_eq!(folder.texts("bob").await, [""; 0]);
    assert_eq!(folder.texts("carol").await, ["\0\u{1}\r\r\n>From\r\n"]);
    let maildrop = folder.store.open(&folder.mailbox("alice").await).await.unwrap();
    maildrop.commit(&[0]).await.unwrap();
    assert_eq!(folder.mbox("alice"), "");
}

/// holds C-S9 C-P7 C-P8
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deliveries_and_removals_at_once() {
    const SENDERS: usize = 12;
    const MESSAGES: usize = 15;
    let folder = Arc::new(Folder::new(&[("alice", ""), ("bob", "")]));
    let store = folder.store.clone().with_lock_timeout(Duration::from_secs(60));
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in 0..MESSAGES {
                    // A few are long; half go to both, named in either order.
                    let text = format!("{sender}-{number}\r\n{}", "From x\r\n".repeat(number * number * 50));
                    let to: &[&str] = [&["alice"][..], &["bob"], &["alice", "bob"], &["bob", "alice"]][number % 4];
                    common::deliver(&store, to, &text).await.unwrap();
                }
            })
        })
        .collect();
    let readers: Vec<_> = ["alice", "bob", "alice"]
        .map(|name| {
            let store = store.clone();
            tokio::spawn(async move {
                let mailbox = common::mailbox(&store, name).await;
                let mut fetched = Vec::new();
                // Each reader fetches and removes all but the first of what it sees, until the senders are done.
                for _ in 0..40 {
                    match store.open(&mailbox).await {
                        Ok(maildrop) => {
                            let listed = texts(&maildrop).await;
                            let delete: Vec<usize> = (1..listed.len()).collect();
                            maildrop.commit(&delete).await.unwrap();
                            fetched.extend(listed.into_iter().skip(1));
                        }
                        Err(StoreError::InUse { .. }) => tokio::task::yield_now().await,
                        Err(error) => panic!("{error}"),
                    }
                }
                (name, fetched)
            })
        })
        .into_iter()
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    let mut found: HashMap<(&str, String), usize> = HashMap::new();
    for reader in readers {
        let (name, fetched) = reader.await.unwrap();
        for text in fetched {
            *found.entry((name, text)).or_default() += 1;
        }
    }
    for name in ["alice", "bob"] {
        for text in folder.texts(name).await {
            *found.entry((name, text)).or_default() += 1;
        }
    }
    assert!(found.values().all(|count| *count == 1), "each once in each mailbox");
    // Of four messages three go to each.
    let expected: usize = (0..MESSAGES).map(|number| if number % 4 < 2 { 1 } else { 2 }).sum::<usize>() * SENDERS;
    assert_eq!(found.len(), expected);
    assert!(folder.store.take_recovery().is_nothing());
}

/// holds C-S9
#[tokio::test]
async fn nobody_waiting_for_a_commit_does_not_stop_it() {
    let folder = Folder::new(&[("alice", "")]);
    let alice = [folder.mailbox("alice").await];
    for _ in 0..50 {
        let text = common::text(&folder.store, b"a\r\n").await;
        let envelope = common::envelope();
        let mut accept = Box::pin(folder.store.accept(&envelope, text, &alice, &[]));
        // Polled once: the job has been handed over. Then dropped.
        let ready = std::future::poll_fn(|context| std::task::Poll::Ready(accept.as_mut().poll(context))).await;
        drop(accept);
        assert!(ready.is_pending());
    }
    // Each turn waits for the one before.
    let store = folder.store.clone().with_lock_timeout(Duration::from_secs(20));
    common::deliver(&store, &["alice"], "last\r\n").await.unwrap();
    let texts = folder.texts("alice").await;
    assert_eq!(texts.last().unwrap(), "last\r\n");
    assert!(texts[..texts.len() - 1].iter().all(|text| text == "a\r\n"), "whole messages only");
}
