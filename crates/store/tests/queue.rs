//! The queue: what is written, browsed, claimed and settled (C-F1, C-F2, C-F4).

#![allow(clippy::unwrap_used, reason = "only tests use it")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::parent_id;
use std::time::Duration;

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

/// Three messages that are the same but for the second in which they came.
fn of_three_seconds() -> (Folder, Vec<String>) {
    let folder = Folder::new(&[]);
    let seconds = (0..3).map(|second| FROM.replace("00 2016", &format!("0{second} 2016")));
    let entries: Vec<String> = seconds
        .map(|from_line| format!("{from_line}X-Envelope-To: <a@x.org>\nX-Envelope-To: <b@y.org>\n\nx\r\n\n"))
        .collect();
    fs::write(folder.path("mqueue"), entries.concat()).unwrap();
    (folder, entries)
}

/// What is recorded is recorded of the item that was sent, though another one like it is where that was.
///
/// holds C-F4
#[tokio::test]
async fn an_item_is_not_taken_for_one_of_another_second() {
    let (folder, entries) = of_three_seconds();
    let items = folder.store.browse().await.unwrap();
    let claim = async |index: usize| folder.store.claim(&items[index]).await.unwrap().unwrap();
    let (mut first, mut second, _third) = (claim(0).await, claim(1).await, claim(2).await);
    first.settle(&paths(&["a@x.org", "b@y.org"])).await.unwrap();
    assert_eq!(mqueue(&folder), entries[1..].concat());
    second.settle(&paths(&["a@x.org"])).await.unwrap();
    assert_eq!(mqueue(&folder), entries[1].replace("X-Envelope-To: <a@x.org>\n", "") + &entries[2]);
    assert!(second.item().is_some(), "the claim goes on");
}

/// Items that are the same but for the second are settled together, and each claim goes on with its own.
///
/// holds C-F4
#[tokio::test]
async fn items_of_different_seconds_are_settled_together() {
    let (folder, entries) = of_three_seconds();
    let store = folder.store.clone().with_lock_timeout(Duration::from_secs(60));
    let items = store.browse().await.unwrap();
    let mut claims = Vec::new();
    for item in &items {
        claims.push(store.claim(item).await.unwrap().unwrap());
    }
    let [first, second, third] = claims.as_mut_slice() else { panic!("there are three") };
    let lock = folder.path("mqueue.lock");
    fs::write(&lock, parent_id().to_string()).unwrap();
    let done = paths(&["a@x.org"]);
    // All wait for the lock when it is given back.
    let (one, two, three, ()) = tokio::join!(first.settle(&done), second.settle(&done), third.settle(&done), async {
        fs::remove_file(&lock).unwrap();
    });
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(mqueue(&folder), entries.concat().replace("X-Envelope-To: <a@x.org>\n", ""));
    for claim in &mut claims {
        assert!(claim.item().is_some(), "the claim goes on");
        claim.settle(&paths(&["b@y.org"])).await.unwrap();
    }
    assert_eq!(mqueue(&folder), "");
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

/// A long queue is not rewritten for each item: who has got the message is struck out, and nobody sends it again.
///
/// holds C-F2 and C-F4
#[tokio::test]
async fn in_a_long_queue_who_is_settled_is_struck_out() {
    let folder = Folder::new(&[]);
    let head = format!("{FROM}X-Envelope-To: <a@x.org>\nX-Envelope-To: <b@y.org>\nX-Envelope-To: <c@y.org>\n\n");
    let one = format!("{FROM}X-Envelope-To: <a@x.org>\n\nshort\r\n\n");
    let long = "long\r\n".repeat(20_000);
    let before = format!("{head}{long}\n{one}");
    fs::write(folder.path("mqueue"), &before).unwrap();
    let items = folder.store.browse().await.unwrap();
    let mut first = folder.store.claim(&items[0]).await.unwrap().unwrap();
    let mut second = folder.store.claim(&items[1]).await.unwrap().unwrap();
    first.settle(&paths(&["b@y.org"])).await.unwrap();
    second.settle(&paths(&["a@x.org"])).await.unwrap();
    assert_eq!(
        mqueue(&folder),
        before.replace("X-Envelope-To: <b@", "#-Envelope-To: <b@").replace(&one, &one.replace("X-", "#-"))
    );
    assert_eq!(first.envelope().forward_paths, paths(&["a@x.org", "c@y.org"]));
    // Another process lists only who is left, and what was struck out is gone then.
    let other = MboxStore::open(folder.root()).unwrap().0;
    let listed = other.browse().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].envelope.as_ref().unwrap().forward_paths, paths(&["a@x.org", "c@y.org"]));
    assert_eq!(listed[0].octets, long.len() as u64);
    assert_eq!(mqueue(&folder), format!("{head}{long}\n").replace("X-Envelope-To: <b@y.org>\n", ""));
    // The claim has outlived that: it says which item it is by what is in it.
    assert!(folder.store.claim(&items[0]).await.unwrap().is_none(), "the old item is gone");
    let settled = first.settle(&paths(&["a@x.org", "c@y.org"])).await;
    assert!(settled.is_ok(), "{settled:?}");
    assert!(folder.store.browse().await.unwrap().is_empty());
    assert_eq!(mqueue(&folder), "");
}

/// Two messages for one recipient that the hash of an item does not tell apart: a hash without a secret can be made to
/// collide. It adds up eight octets here and eight octets there, the same ones in another order.
fn colliding() -> [Vec<u8>; 2] {
    let head = format!("{FROM}X-Envelope-To: <a@x.org>\n\n");
    [(b'a', b'b'), (b'b', b'a')].map(|(first, second)| {
        let mut entry = head.clone().into_bytes();
        entry.resize(256, b'.');
        entry.extend([0xcb, 0x79, 0xe6, 0x4e, first, b'a', b'a', b'a']);
        entry.resize(320, b'.');
        entry.extend([0x82, 0x5a, 0xd0, 0x7d, second, b'a', b'a', b'a']);
        entry.resize(600, b'.');
        entry.extend(b"\r\n\n");
        entry
    })
}

/// What is settled is what was sent, and not what hashes as that does.
///
/// holds C-F4
#[tokio::test]
async fn a_message_that_hashes_as_another_is_not_settled_for_it() {
    let [one, other] = colliding();
    let hash = |entry: &[u8]| xxhash_rust::xxh3::xxh3_64(&entry[..entry.len() - 1]);
    assert!(one != other && hash(&one) == hash(&other));
    let folder = Folder::new(&[]);
    fs::write(folder.path("mqueue"), &one).unwrap();
    let mut claim = claim_only(&folder.store).await;
    // Somebody removes the message that is being sent, and the other one comes.
    fs::write(folder.path("mqueue"), &other).unwrap();
    let refused = claim.settle(&paths(&["a@x.org"])).await;
    assert!(matches!(refused, Err(StoreError::Changed { .. })), "{refused:?}");
    assert!(fs::read(folder.path("mqueue")).unwrap() == other);

    // Behind each other: each leaves for itself.
    for [first, second] in [[&one, &other], [&other, &one]] {
        fs::write(folder.path("mqueue"), [&first[..], second].concat()).unwrap();
        let items = folder.store.browse().await.unwrap();
        let mut claim = folder.store.claim(&items[0]).await.unwrap().unwrap();
        fs::write(folder.path("mqueue"), [&second[..], first].concat()).unwrap();
        claim.settle(&paths(&["a@x.org"])).await.unwrap();
        assert!(fs::read(folder.path("mqueue")).unwrap() == *second);
    }
}

/// Of two equal items, one is further on than the other: when it comes to where the first is, it is given up, and says
/// so by having nobody left.
///
/// holds C-F4
#[tokio::test]
async fn an_item_that_becomes_equal_to_one_that_is_being_sent_is_given_up() {
    let folder = Folder::new(&[]);
    let entry = format!("{FROM}X-Envelope-To: <a@x.org>\nX-Envelope-To: <b@y.org>\n\nx\r\n\n");
    fs::write(folder.path("mqueue"), entry.repeat(2)).unwrap();
    let items = folder.store.browse().await.unwrap();
    let mut first = folder.store.claim(&items[0]).await.unwrap().unwrap();
    first.settle(&paths(&["a@x.org"])).await.unwrap();
    assert_eq!(first.envelope().forward_paths, paths(&["b@y.org"]));
    let mut second = folder.store.claim(&items[1]).await.unwrap().unwrap();
    second.settle(&paths(&["a@x.org"])).await.unwrap();
    assert_eq!(second.envelope().forward_paths, []);
    let left = entry.replace("X-Envelope-To: <a@x.org>\n", "");
    assert_eq!(mqueue(&folder), left.repeat(2));
    first.settle(&paths(&["b@y.org"])).await.unwrap();
    assert_eq!(mqueue(&folder), left);
}

/// The message was sent: that is recorded even if somebody has the queue for long.
///
/// holds C-F4
#[tokio::test]
async fn settling_waits_longer_for_the_queue_than_others_do() {
    let folder = Folder::new(&[]);
    enqueue(&folder.store, "x\r\n", &[], &["a@x.org"]).await.unwrap();
    let store = MboxStore::open(folder.root()).unwrap().0.with_lock_timeout(Duration::from_millis(300));
    let mut claim = claim_only(&store).await;
    let done = paths(&["a@x.org"]);
    let lock = folder.path("mqueue.lock");
    fs::write(&lock, parent_id().to_string()).unwrap();
    let give_back = async {
        for _ in 0..3 {
            assert!(matches!(store.browse().await, Err(StoreError::Locked { .. })));
        }
        fs::remove_file(&lock).unwrap();
    };
    let (settled, ()) = tokio::join!(claim.settle(&done), give_back);
    settled.unwrap();
    assert_eq!(mqueue(&folder), "");
}
