//! What every implementation of the storage traits has to do, written once over the traits.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::fs;

use common::{deliver, envelope, hex, mailbox, read, text, texts};
use pillarbox_proto::Address;
use pillarbox_store::{Maildrop, MboxStore, Store, StoreError};

/// Makes stores with the empty mailboxes `alice` and `bob`.
trait Fixture {
    type Store: Store;
    fn store(&self) -> Self::Store;
}

/// Runs the whole suite; each case begins with a new store.
async fn conforms<F: Fixture>(fixture: impl Fn() -> F) {
    addresses(&fixture().store()).await;
    empty_and_large_texts(&fixture().store()).await;
    texts_come_back_octet_for_octet(&fixture().store()).await;
    all_recipients_once(&fixture().store()).await;
    one_session_at_a_time(&fixture().store()).await;
    a_snapshot(&fixture().store()).await;
    removal(&fixture().store()).await;
    unique_ids(&fixture().store()).await;
}

/// holds C-S6
async fn addresses(store: &impl Store) {
    let found = async |address: &str| {
        let address: Address = address.parse().unwrap();
        store.mailbox(&address).await.unwrap().map(|mailbox| mailbox.name().to_owned())
    };
    assert_eq!(found("alice@localhost").await.as_deref(), Some("alice"));
    assert_eq!(found("alice@LocalHost").await.as_deref(), Some("alice"));
    assert_eq!(found("ALICE@localhost").await.as_deref(), Some("alice"));
    for nobody in
        ["carol@localhost", "alice@example.org", "\"../alice\"@localhost", "\"alice \"@localhost", "a/b@localhost"]
    {
        assert_eq!(found(nobody).await, None, "for {nobody}");
    }
}

/// holds C-S10
async fn empty_and_large_texts(store: &impl Store) {
    let large = format!("{}\r\n", "0123456789abcdef".repeat(64)).repeat(48_000) + "From the end\r\n";
    assert!(large.len() > 49_000_000);
    deliver(store, &["alice"], "").await.unwrap();
    deliver(store, &["alice", "bob"], &large).await.unwrap();
    deliver(store, &["alice"], "").await.unwrap();
    let maildrop = store.open(&mailbox(store, "alice").await).await.unwrap();
    assert_eq!(maildrop.octets(), [0, large.len() as u64, 0]);
    assert!(read(maildrop.read(1)).await.unwrap() == large.as_bytes());
    assert_eq!(read(maildrop.read(2)).await.unwrap(), b"");
}

/// holds C-S8 C-P5
async fn texts_come_back_octet_for_octet(store: &impl Store) {
    let all = [
        "\r\n",
        "\r\n\r\n",
        "Subject: x\r\n\r\nFrom me\r\n>From you\r\n>>>>From them\r\n> From\r\n",
        "From a Mon Aug 22 23:00:00 2016\r\n",
        ".\r\n..\r\n",
        "\0\r\u{fc}\u{7f}\r\r\n",
        "From \r\n",
        "\r\n\r\nFrom \r\n\r\n",
    ];
    for text in all {
        deliver(store, &["bob"], text).await.unwrap();
    }
    assert_eq!(texts(&store.open(&mailbox(store, "bob").await).await.unwrap()).await, all);
}

/// holds C-S8 C-S9
async fn all_recipients_once(store: &impl Store) {
    deliver(store, &["alice", "bob", "alice", "bob", "bob"], "once\r\n").await.unwrap();
    for name in ["alice", "bob"] {
        assert_eq!(texts(&store.open(&mailbox(store, name).await).await.unwrap()).await, ["once\r\n"]);
    }
    // Nobody: nothing.
    store.accept(&envelope(), text(store, b"nobody\r\n").await, &[], &[]).await.unwrap();
    // A draft that is dropped leaves no trace.
    drop(store.draft());
}

/// holds C-P8
async fn one_session_at_a_time(store: &impl Store) {
    let alice = mailbox(store, "alice").await;
    let first = store.open(&alice).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(store.open(&alice).await, Err(StoreError::InUse { name }) if name == "alice"));
    }
    store.open(&mailbox(store, "bob").await).await.expect("another maildrop");
    drop(first);
    let second = store.open(&alice).await.expect("the first session is over");
    second.commit(&[]).await.unwrap();
    store.open(&alice).await.expect("the second session is over");
}

/// holds C-P7 C-P8
async fn a_snapshot(store: &impl Store) {
    deliver(store, &["alice"], "one\r\n").await.unwrap();
    let alice = mailbox(store, "alice").await;
    let maildrop = store.open(&alice).await.unwrap();
    deliver(store, &["alice"], "two\r\n").await.unwrap();
    assert_eq!(texts(&maildrop).await, ["one\r\n"], "what comes later is invisible");
    maildrop.commit(&[0]).await.unwrap();
    assert_eq!(texts(&store.open(&alice).await.unwrap()).await, ["two\r\n"], "and is not lost");
}

/// holds C-P7
async fn removal(store: &impl Store) {
    let alice = mailbox(store, "alice").await;
    for number in 0..6 {
        deliver(store, &["alice"], &format!("{number}\r\n")).await.unwrap();
    }
    let remaining = async || texts(&store.open(&alice).await.unwrap()).await.concat().replace("\r\n", "");
    drop(store.open(&alice).await.unwrap());
    assert_eq!(remaining().await, "012345", "a dropped session removes nothing");
    for (delete, rest) in [(&[][..], "012345"), (&[2, 0, 2], "1345"), (&[3], "134"), (&[0, 1, 2], "")] {
        store.open(&alice).await.unwrap().commit(delete).await.unwrap();
        assert_eq!(remaining().await, rest);
    }
    // Equal messages: as many as were named.
    for _ in 0..3 {
        deliver(store, &["alice"], "same\r\n").await.unwrap();
    }
    store.open(&alice).await.unwrap().commit(&[1]).await.unwrap();
    assert_eq!(remaining().await, "samesame");
}

/// holds C-P6
async fn unique_ids(store: &impl Store) {
    for text in ["", "abc\r\n", "From me\r\n", "abc\r\n"] {
        deliver(store, &["alice"], text).await.unwrap();
    }
    let alice = mailbox(store, "alice").await;
    let mut maildrop = store.open(&alice).await.unwrap();
    let ids: Vec<String> = maildrop.unique_ids(0..4).await.unwrap().iter().map(|id| hex(id)).collect();
    // md5sum of the octets on the wire.
    assert_eq!(ids[0], "d41d8cd98f00b204e9800998ecf8427e");
    assert_eq!(ids[1], "c13b6afecf97ea6b38d21a8f5167fa1e");
    assert_eq!(ids[2], "40e0d595d13ade8907e222964d521884");
    assert_eq!(ids[3], ids[1], "equal messages have equal ids");
    assert_eq!(maildrop.unique_ids(1..2).await.unwrap().len(), 1);
    assert_eq!(maildrop.unique_ids(2..2).await.unwrap().len(), 0);
    maildrop.commit(&[0]).await.unwrap();
    let mut maildrop = store.open(&alice).await.unwrap();
    let later: Vec<String> = maildrop.unique_ids(0..3).await.unwrap().iter().map(|id| hex(id)).collect();
    assert_eq!(later, ids[1..], "the same in every session");
}

/// A folder, and from how many octets on a mailbox has an index.
struct Mbox(tempfile::TempDir, u64);

impl Fixture for Mbox {
    type Store = MboxStore;

    fn store(&self) -> MboxStore {
        for name in ["alice", "bob"] {
            fs::write(self.0.path().join(format!("{name}.mbox")), "").unwrap();
        }
        MboxStore::open(self.0.path()).unwrap().0.with_index_from(self.1)
    }
}

/// holds C-S6 C-S8 C-S9 C-S10 C-P5 C-P6 C-P7 C-P8
#[tokio::test]
async fn mbox_conforms() {
    for index_from in [0, u64::MAX] {
        conforms(|| Mbox(tempfile::tempdir().unwrap(), index_from)).await;
    }
}
