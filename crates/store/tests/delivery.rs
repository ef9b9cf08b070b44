//! What a delivery leaves in the files, octet for octet, and what it refuses.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Arc;
use std::time::Duration;

use common::{Folder, address, envelope, text};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use pillarbox_proto::{Envelope, ReversePath};
use pillarbox_store::{MboxStore, Store, StoreError, TEXT_IN_MEMORY_MAX_OCTETS, is_mailbox_name};

/// Takes the dates out: what stands between the path and the end of a `From ` line of ours.
fn without_dates(mbox: &str) -> String {
    let mut out = String::new();
    for line in mbox.split_inclusive('\n') {
        match line.strip_prefix("From <").and_then(|rest| rest.split_once("> ")) {
            Some((path, date)) => {
                assert_eq!(date.len(), "Mon Aug 22 23:00:00 2016\n".len(), "{line:?}");
                out.push_str(&format!("From <{path}> DATE\n"));
            }
            None => out.push_str(line),
        }
    }
    out
}

/// Delivers `text` to a mailbox that holds `before`.
async fn check(before: &str, text: &str, after: &str) {
    let folder = Folder::new(&[("alice", before)]);
    folder.deliver(&["alice"], text).await.unwrap();
    assert_eq!(without_dates(&folder.mbox("alice")), after, "for {before:?} and {text:?}");
}

/// holds C-S8
#[tokio::test]
async fn octet_for_octet() {
    check("", "a\r\nb\r\n", "From <x@localhost> DATE\na\r\nb\r\n\n").await;
    check("", "", "From <x@localhost> DATE\n\n").await;
    check("", "\r\n", "From <x@localhost> DATE\n\r\n\n").await;
    check("old", "a\r\n", "old\nFrom <x@localhost> DATE\na\r\n\n").await;
    check("old\n", "a\r\n", "old\nFrom <x@localhost> DATE\na\r\n\n").await;
    check("old\r\n", "a\r\n", "old\r\nFrom <x@localhost> DATE\na\r\n\n").await;
    check("old\r", "a\r\n", "old\r\r\nFrom <x@localhost> DATE\na\r\n\n").await;
    check("", "From a\r\n>From b\r\nFrom\r\n", "From <x@localhost> DATE\n>From a\r\n>>From b\r\nFrom\r\n\n").await;
    check("", "no end", "From <x@localhost> DATE\nno end\r\n\n").await;
}

/// holds C-S8
#[tokio::test]
async fn the_null_path_and_quoted_ones() {
    let folder = Folder::new(&[("alice", "")]);
    let alice = [folder.mailbox("alice").await];
    for path in [None, Some(address("a b"))] {
        let envelope = Envelope { reverse_path: ReversePath(path), forward_paths: Vec::new() };
        folder.store.accept(&envelope, text(&folder.store, b"").await, &alice, &[]).await.unwrap();
    }
    let expected = "From <> DATE\n\nFrom <\"a b\"@localhost> DATE\n\n";
    assert_eq!(without_dates(&folder.mbox("alice")), expected);
    assert_eq!(folder.texts("alice").await, ["", ""]);
}

/// holds C-S8 C-S9
#[tokio::test]
async fn the_mailbox_keeps_inode_mode_and_what_was_there() {
    let folder = Folder::new(&[("alice", "From a Mon Aug 22 23:00:00 2016\nold")]);
    let path = folder.path("alice.mbox");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let before = fs::metadata(&path).unwrap();
    folder.deliver(&["alice"], "new\r\n").await.unwrap();
    let maildrop = folder.store.open(&folder.mailbox("alice").await).await.unwrap();
    pillarbox_store::Maildrop::commit(maildrop, &[0]).await.unwrap();
    let after = fs::metadata(&path).unwrap();
    assert_eq!((before.ino(), before.mode()), (after.ino(), after.mode()));
    assert_eq!(folder.texts("alice").await, ["new\r\n"]);
    assert_eq!(fs::metadata(folder.path(".pillarbox")).unwrap().mode() & 0o777, 0o700);
}

/// holds C-S9
#[tokio::test]
async fn one_mailbox_that_fails_fails_all() {
    let folder = Folder::new(&[("alice", "old\n"), ("bob", "old\n"), ("carol", "old\n")]);
    let mut mailboxes = Vec::new();
    for name in ["alice", "bob", "carol"] {
        mailboxes.push(folder.mailbox(name).await);
    }
    let bob = folder.path("bob.mbox");
    let refused = async || {
        folder.store.accept(&envelope(), text(&folder.store, b"a\r\n").await, &mailboxes, &[]).await.unwrap_err()
    };

    fs::hard_link(&bob, folder.path("other")).unwrap();
    assert!(matches!(refused().await, StoreError::HardLinked { path } if path.ends_with("bob.mbox")));
    fs::remove_file(folder.path("other")).unwrap();

    fs::remove_file(&bob).unwrap();
    let no_such = |error: StoreError| assert!(matches!(error, StoreError::NoSuchMailbox { name } if name == "bob"));
    no_such(refused().await);
    fs::create_dir(&bob).unwrap();
    no_such(refused().await);
    fs::remove_dir(&bob).unwrap();
    symlink(folder.path("alice.mbox"), &bob).unwrap();
    no_such(refused().await);
    fs::remove_file(&bob).unwrap();
    mkfifo(&bob, Mode::S_IRWXU).unwrap();
    no_such(refused().await);

    assert_eq!(folder.mbox("alice"), "old\n");
    assert_eq!(folder.mbox("carol"), "old\n");
    assert!(!folder.path("alice.mbox.lock").exists());
    fs::remove_file(&bob).unwrap();
    fs::write(&bob, "").unwrap();
    folder.deliver(&["alice", "bob", "carol"], "a\r\n").await.unwrap();
}

/// holds C-S6
#[tokio::test]
async fn what_is_a_mailbox() {
    let folder = Folder::new(&[("alice", ""), ("Bob", ""), ("a.b_c+d-e", ""), (".hidden", ""), ("a b", "")]);
    let found = async |local_part: &str| {
        let mailbox = folder.store.mailbox(&address(local_part)).await;
        mailbox.map(|mailbox| mailbox.map(|mailbox| mailbox.name().to_owned()))
    };
    for (local_part, name) in [
        ("alice", Some("alice")),
        ("ALICE", Some("alice")),
        ("Bob", Some("Bob")),
        ("bob", None),
        ("a.b_c+d-e", Some("a.b_c+d-e")),
        (".hidden", None),
        ("a b", None),
        ("../alice", None),
        ("alice.mbox", None),
        ("", None),
    ] {
        if !local_part.is_empty() {
            assert_eq!(found(local_part).await.unwrap().as_deref(), name, "for {local_part:?}");
        }
        if name.is_none() && local_part != "bob" && local_part != "alice.mbox" {
            assert!(!is_mailbox_name(local_part));
        }
    }
    // The name is exact first.
    fs::write(folder.path("ALICE.mbox"), "").unwrap();
    assert_eq!(found("ALICE").await.unwrap().as_deref(), Some("ALICE"), "at once, without restart");
    // Links, folders, pipes.
    symlink(folder.path("alice.mbox"), folder.path("link.mbox")).unwrap();
    fs::create_dir(folder.path("dir.mbox")).unwrap();
    mkfifo(&folder.path("pipe.mbox"), Mode::S_IRWXU).unwrap();
    for name in ["link", "dir", "pipe"] {
        assert_eq!(found(name).await.unwrap(), None, "for {name}");
    }
    fs::hard_link(folder.path("Bob.mbox"), folder.path("hard.mbox")).unwrap();
    assert!(matches!(found("hard").await, Err(StoreError::HardLinked { .. })));
    let names: Vec<String> =
        folder.store.mailboxes().unwrap().iter().map(|mailbox| mailbox.name().to_owned()).collect();
    assert_eq!(names, ["ALICE", "Bob", "a.b_c+d-e", "alice", "hard"]);
    // A folder that was unmounted has no mailboxes, but that is no reason to bounce mail.
    fs::remove_dir_all(folder.path(".pillarbox")).unwrap();
    assert!(matches!(found("nobody").await, Err(StoreError::Io { .. })));
}

/// holds C-S6
#[test]
fn the_folder_may_be_a_link_and_mailboxes_can_be_made() {
    let folder = Folder::new(&[]);
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(folder.root(), elsewhere.path().join("link")).unwrap();
    let (store, _) = MboxStore::open(&elsewhere.path().join("link")).unwrap();
    assert!(store.create_mailbox("alice").unwrap());
    assert!(!store.create_mailbox("alice").unwrap());
    assert!(folder.path("alice.mbox").exists());
    fs::create_dir(folder.path("dir.mbox")).unwrap();
    for name in ["dir", "a/b", "", ".a", "..", &"x".repeat(65)] {
        assert!(matches!(store.create_mailbox(name), Err(StoreError::NoSuchMailbox { .. })), "for {name:?}");
    }
    assert!(matches!(MboxStore::open(&folder.path("nothing")), Err(StoreError::Io { .. })));
    assert!(matches!(MboxStore::open(&folder.path("alice.mbox")), Err(StoreError::Io { .. })));
}

/// holds C-S10 C-S11
#[tokio::test]
async fn a_draft_leaves_no_trace() {
    let folder = Folder::new(&[("alice", "")]);
    let files = || {
        let mut names: Vec<_> =
            fs::read_dir(folder.path(".pillarbox")).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = files();
    for octets in [0, 1, TEXT_IN_MEMORY_MAX_OCTETS, TEXT_IN_MEMORY_MAX_OCTETS + 1, 1_000_000] {
        let content: Vec<u8> = (0..octets).map(|at| b'a' + u8::try_from(at % 23).unwrap()).collect();
        let mut draft = folder.store.draft();
        draft.append(&content).await.unwrap();
        assert_eq!(files(), before, "a long text has no name");
        drop(draft);
        let text = Arc::new(text(&folder.store, &content).await);
        assert_eq!(text.octets(), octets as u64);
        let mut read = Vec::new();
        loop {
            let block = text.block(read.len() as u64).await.unwrap();
            if block.is_empty() {
                break;
            }
            read.extend(block);
        }
        assert!(read == content, "of {octets} octets");
        assert_eq!(files(), before);
    }
    assert_eq!(folder.mbox("alice"), "");
}

/// A part of a text that could not be kept is missed, however the text goes on.
///
/// holds C-S9
#[tokio::test]
async fn a_draft_that_has_lost_a_part_never_becomes_a_text() {
    for rest in ["", "more\r\n"] {
        let folder = Folder::new(&[]);
        let mut draft = folder.store.draft();
        // Texts are kept in the folder that is open: another one of its name is of no use.
        fs::remove_dir_all(folder.path(".pillarbox")).unwrap();
        draft.append(&[b'x'; TEXT_IN_MEMORY_MAX_OCTETS + 1]).await.unwrap_err();
        draft.append(rest.as_bytes()).await.unwrap();
        draft.finish().await.unwrap_err();
    }
}

/// What is accepted is flushed to its mailbox after a while, and the journal is small again, though nobody asks for it.
///
/// holds C-S9
#[tokio::test]
async fn the_journal_becomes_small_by_itself() {
    let folder = Folder::new(&[("alice", "")]);
    for _ in 0..10 {
        folder.deliver(&["alice"], &"x\r\n".repeat(10_000)).await.unwrap();
    }
    let octets = || -> u64 {
        let files = fs::read_dir(folder.path(".pillarbox/journal")).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    assert!(octets() > 300_000);
    for _ in 0..1200 {
        // A header, and what the next record needs.
        if octets() <= 512 + 64 * 1024 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the journal still has {} octets", octets());
}
