//! The queue: what is written, browsed, claimed and settled (C-F1, C-F2, C-F4).

#![allow(clippy::unwrap_used, reason = "only tests use it")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use common::{Folder, address, envelope, mailbox, text};
use pillarbox_proto::Address;
use pillarbox_store::{Claim as _, Item, MboxClaim, MboxStore, Queue as _, Store as _, StoreError};

const FROM: &str = "From <x@localhost> Mon Aug 22 23:00:00 2016\n";

fn paths(addresses: &[&str]) -> Vec<Address> {
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

async fn enqueue(store: &MboxStore, octets: &str, local: &[&str], remote: &[&str]) -> Result<(), StoreError> {
    let mut mailboxes = Vec::new();
    for name in local {
        mailboxes.push(mailbox(store, name).await);
    }
    store.accept(&envelope(), text(store, octets.as_bytes()).await, &mailboxes, &paths(remote)).await
}

fn mqueue(folder: &Folder) -> String {
    String::from_utf8(fs::read(folder.path("mqueue")).unwrap()).unwrap()
}

/// The queue without the dates in its `From ` lines.
fn undated(content: &str) -> String {
    let lines = content.split_inclusive('\n');
    lines.map(|line| if line.starts_with("From <x@localhost> ") { FROM } else { line }).collect()
}

async fn only_item(store: &MboxStore) -> Item {
    let items = store.browse().await.unwrap();
    assert_eq!(items.len(), 1);
    items[0].clone()
}

async fn claim_only(store: &MboxStore) -> MboxClaim {
    store.claim(&only_item(store).await).await.unwrap().unwrap()
}

async fn claimed_text(claim: &MboxClaim) -> Vec<u8> {
    let mut octets = Vec::new();
    loop {
        let block = claim.text().block(octets.len() as u64).await.unwrap();
        if block.is_empty() {
            return octets;
        }
        octets.extend(block);
    }
}

/// holds C-F1 and C-F2
#[tokio::test]
async fn local_and_remote_recipients_get_it_together() {
    let folder = Folder::new(&[("alice", "")]);
    let octets = "Subject: x\r\n\r\nFrom here\r\n.\r\n";
    enqueue(&folder.store, octets, &["alice"], &["a@example.org", "\"b c\"@[192.0.2.1]", "a@example.org"])
        .await
        .unwrap();
    let stored = "Subject: x\r\n\r\n>From here\r\n.\r\n\n";
    assert_eq!(undated(&folder.mbox("alice")), format!("{FROM}{stored}"));
    assert_eq!(
        undated(&mqueue(&folder)),
        format!("{FROM}X-Envelope-To: <a@example.org>\nX-Envelope-To: <\"b c\"@[192.0.2.1]>\n\n{stored}")
    );
    assert_eq!(folder.path("mqueue").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let claim = claim_only(&folder.store).await;
    assert_eq!(claim.envelope().reverse_path, envelope().reverse_path);
    assert_eq!(claim.envelope().forward_paths, paths(&["a@example.org", "\"b c\"@[192.0.2.1]"]));
    assert_eq!(claimed_text(&claim).await, octets.as_bytes());
    assert_eq!(claim.text().octets(), octets.len() as u64);
    assert_eq!(only_item(&folder.store).await.octets, octets.len() as u64);
}

/// holds C-F1
#[tokio::test]
async fn the_queue_is_no_mailbox() {
    let folder = Folder::new(&[("alice", "")]);
    enqueue(&folder.store, "x\r\n", &[], &["a@example.org"]).await.unwrap();
    for name in ["mqueue", ".mqueue", "mqueue.mbox"] {
        assert_eq!(folder.store.mailbox(&address(name)).await.unwrap(), None, "{name}");
    }
    assert_eq!(folder.store.mailboxes().unwrap().len(), 1);
}

/// holds C-F1
#[tokio::test]
async fn all_or_nothing_with_the_queue() {
    let folder = Folder::new(&[("alice", "before\n")]);
    fs::create_dir(folder.path("mqueue")).unwrap();
    assert!(enqueue(&folder.store, "x\r\n", &["alice"], &["a@example.org"]).await.is_err());
    assert_eq!(folder.mbox("alice"), "before\n");
    fs::remove_dir(folder.path("mqueue")).unwrap();
    // The other way round: the queue can take it, the mailbox cannot.
    let alice = mailbox(&folder.store, "alice").await;
    fs::hard_link(folder.path("alice.mbox"), folder.path("elsewhere")).unwrap();
    let refused =
        folder.store.accept(&envelope(), text(&folder.store, b"x\r\n").await, &[alice], &paths(&["a@b.c"])).await;
    assert!(matches!(refused, Err(StoreError::HardLinked { .. })), "{refused:?}");
    assert!(!folder.path("mqueue").exists() || mqueue(&folder).is_empty());
}

/// holds C-F4
#[tokio::test]
async fn what_is_settled_leaves_and_nothing_else_does() {
    let folder = Folder::new(&[]);
    for (number, remote) in [&["a@x.org"][..], &["a@x.org", "b@x.org", "c@y.org"], &["d@x.org"]].iter().enumerate() {
        enqueue(&folder.store, &format!("text {number}\r\n"), &[], remote).await.unwrap();
    }
    let before = mqueue(&folder);
    let items = folder.store.browse().await.unwrap();
    let mut claim = folder.store.claim(&items[1]).await.unwrap().unwrap();
    // Appended while it is being sent, and another settled.
    enqueue(&folder.store, "text 3\r\n", &[], &["e@x.org"]).await.unwrap();
    folder.store.claim(&items[0]).await.unwrap().unwrap().settle(&paths(&["a@x.org"])).await.unwrap();
    // One domain after another.
    claim.settle(&paths(&["c@y.org", "z@z.org"])).await.unwrap();
    let rest =
        folder.store.browse().await.unwrap().into_iter().find(|item| item.envelope == Some(claim.envelope().clone()));
    assert!(folder.store.claim(&rest.unwrap()).await.unwrap().is_none(), "the claim goes on with the rest");
    claim.settle(&paths(&["a@x.org"])).await.unwrap();
    drop(claim);
    let expected = |number: usize, remote: &str| format!("{FROM}X-Envelope-To: <{remote}>\n\ntext {number}\r\n\n");
    assert_eq!(undated(&mqueue(&folder)), expected(1, "b@x.org") + &expected(2, "d@x.org") + &expected(3, "e@x.org"));
    // `From ` lines, dates included, are those that were there.
    assert!(mqueue(&folder).lines().filter(|line| line.starts_with("From ")).take(2).all(|line| before.contains(line)));
    for item in folder.store.browse().await.unwrap() {
        let mut claim = folder.store.claim(&item).await.unwrap().unwrap();
        let all = claim.envelope().forward_paths.clone();
        claim.settle(&all).await.unwrap();
    }
    assert_eq!(mqueue(&folder), "");
    assert!(folder.store.browse().await.unwrap().is_empty());
}

/// holds C-F4
#[tokio::test]
async fn a_claim_keeps_everybody_else_off() {
    let folder = Folder::new(&[]);
    enqueue(&folder.store, "x\r\n", &[], &["a@x.org"]).await.unwrap();
    let item = only_item(&folder.store).await;
    let mut claim = folder.store.claim(&item).await.unwrap().unwrap();
    // Another store is what another process has.
    let other = MboxStore::open(folder.root()).unwrap().0;
    assert!(other.claim(&item).await.unwrap().is_none());
    assert!(folder.store.claim(&item).await.unwrap().is_none());
    // Nothing was delivered: it stays, and can be claimed again.
    claim.settle(&[]).await.unwrap();
    assert!(other.claim(&item).await.unwrap().is_none(), "the claim goes on");
    drop(claim);
    let claim = other.claim(&item).await.unwrap().unwrap();
    drop(claim);
    let mut claim = folder.store.claim(&item).await.unwrap().unwrap();
    claim.settle(&paths(&["a@x.org"])).await.unwrap();
    assert!(other.claim(&item).await.unwrap().is_none(), "it is gone");
}

/// Two messages that are the same are still two.
///
/// holds C-F4
#[tokio::test]
async fn equal_items_are_sent_one_after_another() {
    let folder = Folder::new(&[]);
    let entry = format!("{FROM}X-Envelope-To: <a@x.org>\n\nx\r\n\n");
    fs::write(folder.path("mqueue"), entry.repeat(2)).unwrap();
    let items = folder.store.browse().await.unwrap();
    assert_eq!(items.len(), 2);
    let mut claim = folder.store.claim(&items[0]).await.unwrap().unwrap();
    assert!(folder.store.claim(&items[1]).await.unwrap().is_none());
    claim.settle(&paths(&["a@x.org"])).await.unwrap();
    drop(claim);
    assert_eq!(mqueue(&folder), entry);
    folder.store.claim(&items[1]).await.unwrap().unwrap().settle(&paths(&["a@x.org"])).await.unwrap();
    assert_eq!(mqueue(&folder), "");
}

/// holds C-F2
#[tokio::test]
async fn what_a_person_wrote_is_read_and_what_is_no_item_stays() {
    let folder = Folder::new(&[]);
    let person = "From <> Mon Aug 22 23:00 CEST 2016\r\nX-Envelope-To:  a@x.org\r\n\r\ntext\r\n";
    let broken = [
        format!("{FROM}Subject: no envelope\n\ntext\n\n"),
        format!("{FROM}X-Envelope-To: <nonsense>\n\ntext\n\n"),
        format!("{FROM}X-Envelope-To: <a@x.org>\n"),
        "From nobody Mon Aug 22 23:00:00 2016\nX-Envelope-To: <a@x.org>\n\ntext\n\n".to_owned(),
    ];
    fs::write(folder.path("mqueue"), format!("{}{person}", broken.concat())).unwrap();
    let items = folder.store.browse().await.unwrap();
    assert_eq!(items.len(), broken.len() + 1);
    for item in &items[..broken.len()] {
        assert_eq!(item.envelope, None);
        assert!(folder.store.claim(item).await.unwrap().is_none());
    }
    let mut claim = folder.store.claim(&items[broken.len()]).await.unwrap().unwrap();
    assert_eq!(claim.envelope().reverse_path.to_string(), "<>");
    assert_eq!(claimed_text(&claim).await, b"text\r\n");
    claim.settle(&paths(&["a@x.org"])).await.unwrap();
    assert_eq!(mqueue(&folder), broken.concat());
}

/// holds C-F4
#[tokio::test]
async fn an_item_that_was_changed_meanwhile_is_left_alone() {
    let folder = Folder::new(&[]);
    enqueue(&folder.store, "x\r\n", &[], &["a@x.org"]).await.unwrap();
    let mut claim = claim_only(&folder.store).await;
    let changed = mqueue(&folder).replace("a@x.org", "b@x.org");
    fs::write(folder.path("mqueue"), &changed).unwrap();
    let refused = claim.settle(&paths(&["a@x.org"])).await;
    assert!(matches!(refused, Err(StoreError::Changed { .. })), "{refused:?}");
    assert_eq!(mqueue(&folder), changed);
}

/// holds C-F3
#[tokio::test]
async fn a_long_text_is_the_same_from_a_file() {
    let folder = Folder::new(&[]);
    let octets = ">From a\r\nFrom b\r\nc\r\n".repeat(100_000);
    enqueue(&folder.store, &octets, &[], &["a@x.org"]).await.unwrap();
    let claim = claim_only(&folder.store).await;
    assert!(claimed_text(&claim).await == octets.as_bytes());
    assert!(claim.text().block(octets.len() as u64 + 7).await.unwrap().is_empty());
}
