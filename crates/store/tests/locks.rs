//! Locks: what keeps us out, what we keep out, and what is stale.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::process::parent_id;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use common::Folder;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use pillarbox_store::{Maildrop, MboxStore, Store, StoreError};

fn fcntl_lock(file: &File, kind: libc::c_int) -> nix::Result<i32> {
    let [l_type, l_whence] = [kind, libc::SEEK_SET].map(|number| libc::c_short::try_from(number).unwrap());
    let lock = libc::flock { l_type, l_whence, l_start: 0, l_len: 0, l_pid: 0 };
    fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&lock))
}

/// Delivering, opening and removing find the mailbox locked and change nothing; with `unlock` they go on.
async fn assert_locked(folder: &Folder, unlock: impl FnOnce()) {
    let before = folder.mbox("alice");
    let locked = |error: StoreError| {
        assert!(matches!(&error, StoreError::Locked { path } if path.ends_with("alice.mbox")), "{error:?}");
    };
    locked(folder.deliver(&["alice"], "a\r\n").await.unwrap_err());
    locked(folder.deliver(&["alice", "bob"], "a\r\n").await.unwrap_err());
    locked(folder.store.open(&folder.mailbox("alice").await).await.map(drop).unwrap_err());
    assert_eq!(folder.mbox("alice"), before);
    assert_eq!(folder.mbox("bob"), "");
    assert!(!folder.path("bob.mbox.lock").exists(), "bob is not kept locked");
    folder.deliver(&["bob"], "b\r\n").await.expect("a lock on alice delays nobody else");
    unlock();
    folder.deliver(&["alice"], "a\r\n").await.unwrap();
    assert!(!folder.path("alice.mbox.lock").exists());
}

fn folder() -> Folder {
    Folder::new(&[("alice", "From a Mon Aug 22 23:00:00 2016\nold\n\n"), ("bob", "")])
}

/// holds C-P8 C-S9
#[tokio::test]
async fn a_dotlock_of_a_living_process() {
    for content in
        [format!("{}\n", parent_id()), format!("{}", parent_id()), String::new(), "0".to_owned(), "x".to_owned()]
    {
        let folder = folder();
        let lock = folder.path("alice.mbox.lock");
        fs::write(&lock, &content).unwrap();
        assert_locked(&folder, || {
            assert_eq!(fs::read_to_string(&lock).unwrap(), content, "not touched");
            fs::remove_file(&lock).unwrap();
        })
        .await;
    }
    let folder = folder();
    fs::create_dir(folder.path("alice.mbox.lock")).unwrap();
    assert_locked(&folder, || fs::remove_dir(folder.path("alice.mbox.lock")).unwrap()).await;
}

/// holds C-P8 C-S9
#[tokio::test]
async fn an_fcntl_lock_of_somebody_else() {
    for kind in [libc::F_RDLCK, libc::F_WRLCK] {
        let folder = folder();
        let file = File::options().read(true).write(true).open(folder.path("alice.mbox")).unwrap();
        fcntl_lock(&file, kind).unwrap();
        assert_locked(&folder, || drop(file)).await;
    }
}

/// holds C-P8
#[tokio::test]
async fn stale_dotlocks_are_removed() {
    let folder = folder();
    let lock = folder.path("alice.mbox.lock");
    let old = SystemTime::now() - Duration::from_secs(5 * 60 + 5);
    let young = SystemTime::now() - Duration::from_secs(4 * 60);
    let mut expected = 1;
    for (content, modified, stale) in [
        (format!("{}\n", common::GONE), SystemTime::now(), true),
        (format!(" {} ", common::GONE), SystemTime::now(), true),
        (format!("{}\n", process::id()), SystemTime::now(), true),
        (format!("{}\n", parent_id()), old, true),
        (String::new(), old, true),
        (format!("{}\n", parent_id()), young, false),
        ("-1\n".to_owned(), young, false),
        ("99999999999999999999\n".to_owned(), young, false),
    ] {
        fs::write(&lock, &content).unwrap();
        File::options().write(true).open(&lock).unwrap().set_modified(modified).unwrap();
        let result = folder.deliver(&["alice"], "a\r\n").await;
        assert_eq!(result.is_ok(), stale, "for {content:?}: {result:?}");
        assert_eq!(lock.exists(), !stale);
        expected += usize::from(stale);
        let _ = fs::remove_file(&lock);
    }
    assert_eq!(folder.texts("alice").await.len(), expected);
    // Where another program made a link of it.
    std::os::unix::fs::symlink("nowhere", &lock).unwrap();
    folder.deliver(&["alice"], "a\r\n").await.unwrap_err();
}

/// holds C-P8
#[tokio::test]
async fn both_locks_are_held_while_a_mailbox_is_changed() {
    // A file system object that looks at the locks while the delivery is under way is not to be had; so many deliveries
    // run while a program that takes both locks, as others do, changes the mailbox as well.
    let folder = folder();
    let store = folder.store.clone().with_lock_timeout(Duration::from_secs(20));
    let (done, delivered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let other = {
        let (done, count) = (Arc::clone(&done), Arc::clone(&delivered));
        let (mailbox, lock) = (folder.path("alice.mbox"), folder.path("alice.mbox.lock"));
        std::thread::spawn(move || {
            let mut turns = 0;
            while !done.load(Ordering::Relaxed) || turns == 0 {
                let seen = count.load(Ordering::Relaxed);
                let file = File::options().read(true).write(true).open(&mailbox).unwrap();
                // Each lock alone keeps the deliveries out.
                if turns % 2 == 0 {
                    if fcntl_lock(&file, libc::F_WRLCK).is_err() {
                        continue;
                    }
                } else if File::options().write(true).create_new(true).open(&lock).is_err() {
                    continue;
                }
                let before = file.metadata().unwrap().len();
                std::thread::yield_now();
                assert_eq!(file.metadata().unwrap().len(), before, "changed under our lock");
                if turns % 2 == 1 {
                    fs::remove_file(&lock).unwrap();
                }
                turns += 1;
                drop(file);
                // Who locked it again at once would have it all the time on a busy machine.
                while count.load(Ordering::Relaxed) == seen && !done.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
            }
            turns
        })
    };
    for _ in 0..50 {
        common::deliver(&store, &["alice"], "a\r\n").await.unwrap();
        delivered.fetch_add(1, Ordering::Relaxed);
    }
    done.store(true, Ordering::Relaxed);
    assert!(other.join().unwrap() > 0);
    assert_eq!(folder.texts("alice").await.len(), 51);
}

/// holds C-P8
#[tokio::test]
async fn a_lock_that_is_given_back_in_time_is_had() {
    let folder = folder();
    let lock = folder.path("alice.mbox.lock");
    fs::write(&lock, format!("{}\n", parent_id())).unwrap();
    let store = folder.store.clone().with_lock_timeout(Duration::from_secs(20));
    let patient = store.clone();
    let waiting = tokio::spawn(async move { common::deliver(&store, &["alice", "bob"], "a\r\n").await });
    // It has tried at least once when others in this process have had their turn.
    common::deliver(&patient, &["bob"], "b\r\n").await.unwrap();
    assert!(!waiting.is_finished());
    fs::remove_file(&lock).unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(folder.texts("alice").await, ["old\r\n", "a\r\n"]);
}

/// holds C-P8
#[tokio::test]
async fn a_session_is_known_to_other_stores_and_processes() {
    let folder = folder();
    let (other, _) = MboxStore::open(folder.root()).unwrap();
    let alice = folder.mailbox("alice").await;
    let session = folder.store.open(&alice).await.unwrap();
    assert!(matches!(other.open(&alice).await, Err(StoreError::InUse { .. })));
    // Deliveries go on.
    common::deliver(&other, &["alice"], "a\r\n").await.unwrap();
    session.commit(&[0]).await.unwrap();
    let maildrop = other.open(&alice).await.unwrap();
    assert_eq!(common::texts(&maildrop).await, ["a\r\n"]);
    drop(maildrop);
    // A lock by another open file is what another process would have.
    let file = File::options().read(true).write(true).open(folder.path(".pillarbox/alice.maildrop")).unwrap();
    fcntl_lock(&file, libc::F_WRLCK).unwrap();
    assert!(matches!(other.open(&alice).await, Err(StoreError::InUse { .. })));
}

/// holds C-P8
#[tokio::test]
async fn a_session_whose_mailbox_is_locked_is_not_kept() {
    let folder = folder();
    let lock = folder.path("alice.mbox.lock");
    let alice = folder.mailbox("alice").await;
    fs::write(&lock, format!("{}\n", parent_id())).unwrap();
    assert!(matches!(folder.store.open(&alice).await, Err(StoreError::Locked { .. })));
    fs::remove_file(&lock).unwrap();
    let session = folder.store.open(&alice).await.unwrap();
    fs::write(&lock, format!("{}\n", parent_id())).unwrap();
    assert!(matches!(session.commit(&[0]).await, Err(StoreError::Locked { .. })));
    fs::remove_file(&lock).unwrap();
    assert_eq!(folder.texts("alice").await, ["old\r\n"], "nothing removed, and the session is over");
}

/// A message for alice and bob waits for bob, who waits for another program. Meanwhile alice gets her mail.
///
/// holds C-P8 C-S9
#[tokio::test]
async fn waiting_for_another_program_delays_nobody_elses_mail() {
    let folder = folder();
    let lock = folder.path("bob.mbox.lock");
    fs::write(&lock, format!("{}\n", parent_id())).unwrap();
    let patient = folder.store.clone().with_lock_timeout(Duration::from_secs(60));
    let mut waiting = Vec::new();
    for names in [&["bob"][..], &["alice", "bob"], &["alice", "bob"]] {
        let patient = patient.clone();
        waiting.push(tokio::spawn(async move { common::deliver(&patient, names, "a\r\n").await }));
        // Nobody can see who has which turn; it has all it will get by now.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let quick = folder.store.clone().with_lock_timeout(Duration::from_secs(10));
    common::deliver(&quick, &["alice"], "b\r\n").await.unwrap();
    quick.open(&folder.mailbox("alice").await).await.unwrap();
    assert!(waiting.iter().all(|delivery| !delivery.is_finished()));
    fs::remove_file(&lock).unwrap();
    for delivery in waiting {
        delivery.await.unwrap().unwrap();
    }
    assert_eq!(folder.texts("alice").await, ["old\r\n", "b\r\n", "a\r\n", "a\r\n"]);
    assert_eq!(folder.texts("bob").await, ["a\r\n"; 3]);
}
