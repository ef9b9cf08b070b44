//! Tests of `locks.rs`.

use super::*;

/// holds C-C1
#[test]
fn the_table_of_turns_does_not_grow() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::open(dir.path()).unwrap();
    let kept = Turn::try_take(&place, "kept").unwrap();
    for number in 0..10_000 {
        let name = format!("user{number}");
        let turn = Turn::try_take(&place, &name).unwrap();
        assert!(Turn::try_take(&place, &name).is_none(), "one at a time");
        drop(turn);
    }
    assert!(Turn::try_take(&place, "kept").is_none(), "what is in use is not pruned");
    drop(kept);
    assert!(TURNS.lock().unwrap().entries.len() < 1000);
}

#[test]
fn jitter_stays_within_its_bounds() {
    let waits: Vec<u64> = (0..1000).map(|_| u64::try_from(jitter().as_millis()).unwrap()).collect();
    assert!(waits.iter().all(|wait| (RETRY_MS.0..=RETRY_MS.1).contains(wait)));
    assert!(waits.iter().any(|wait| *wait != waits[0]));
}

fn open_mailbox(dir: &Path) -> (Arc<Place>, PathBuf) {
    let path = dir.join("alice.mbox");
    File::create(&path).unwrap();
    (Arc::new(Place::open(dir).unwrap()), path)
}

/// holds C-P8
#[test]
fn who_keeps_a_mailbox_open_keeps_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let (place, path) = open_mailbox(dir.path());
    let locked = lock_now(&place, "alice").unwrap().unwrap();
    let kept = Arc::clone(&locked.file);
    let other = File::options().read(true).write(true).open(&path).unwrap();
    assert!(!try_lock(&other, &path).unwrap());
    drop(locked);
    assert!(try_lock(&other, &path).unwrap());
    // What is open already is locked again, unless somebody has it, or its dotlock.
    assert!(lock_now(&place, "alice").unwrap().is_none());
    unlock(&other, WHOLE);
    let dotlock = place.dotlock("alice");
    std::fs::write(&dotlock, "0").unwrap();
    assert!(lock_now(&place, "alice").unwrap().is_none());
    assert!(try_lock(&other, &path).unwrap());
    unlock(&other, WHOLE);
    std::fs::remove_file(&dotlock).unwrap();
    assert!(Arc::ptr_eq(&lock_now(&place, "alice").unwrap().unwrap().file, &kept));
}

/// holds C-P8 C-S6
#[test]
fn an_open_mailbox_that_has_lost_its_name_is_not_locked() {
    let dir = tempfile::tempdir().unwrap();
    let (place, path) = open_mailbox(dir.path());
    let kept = Arc::clone(&lock_now(&place, "alice").unwrap().unwrap().file);
    let inode = |file: &File| file.metadata().unwrap().ino();
    // Replaced, while the old one is locked as well or not.
    for is_locked in [false, true] {
        std::fs::write(dir.path().join("new"), "").unwrap();
        std::fs::rename(dir.path().join("new"), &path).unwrap();
        if is_locked {
            assert!(try_lock(&kept, &path).unwrap());
        }
        let locked = lock_now(&place, "alice").unwrap().unwrap();
        assert_ne!(inode(&locked.file), inode(&kept));
        assert_eq!(inode(&locked.file), path.metadata().unwrap().ino());
    }
    let kept = Arc::clone(&lock_now(&place, "alice").unwrap().unwrap().file);
    std::fs::hard_link(&path, dir.path().join("second")).unwrap();
    assert!(matches!(lock_now(&place, "alice"), Err(StoreError::HardLinked { .. })));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(lock_now(&place, "alice"), Err(StoreError::NoSuchMailbox { .. })));
    drop(kept);
}

#[test]
fn the_table_of_open_mailboxes_does_not_grow() {
    let opened = Opened::default();
    let kept = Arc::new(OpenMailbox::new(tempfile::tempfile().unwrap()));
    opened.put("kept", &kept);
    for number in 0..10_000 {
        opened.put(&format!("user{number}"), &Arc::new(OpenMailbox::new(tempfile::tempfile().unwrap())));
    }
    assert!(Arc::ptr_eq(&opened.get("kept").unwrap(), &kept));
    assert!(opened.get("user1").is_none());
    assert!(opened.0.lock().unwrap().entries.len() < 1000);
}

/// A file that was opened for reading only cannot be locked for writing: whoever tries it fails.
///
/// holds C-P8
#[test]
fn the_other_lock_is_asked_for_behind_the_dotlock() {
    let dir = tempfile::tempdir().unwrap();
    let (place, path) = open_mailbox(dir.path());
    let cannot_be_locked = File::open(&path).unwrap();
    let dotlock = place.dotlock("alice");
    std::fs::write(&dotlock, format!("{}\n", std::os::unix::process::parent_id())).unwrap();
    assert!(lock_both(&place, "alice", &cannot_be_locked, &path).unwrap().is_none());
    std::fs::remove_file(&dotlock).unwrap();
    lock_both(&place, "alice", &cannot_be_locked, &path).unwrap_err();
    assert!(!dotlock.exists(), "nothing stays behind");
    let file = File::options().read(true).write(true).open(&path).unwrap();
    lock_both(&place, "alice", &file, &path).unwrap().unwrap().release();
}

/// Who holds only the dotlock for a moment, and takes the `fcntl` lock then, never meets ours.
///
/// holds C-P8
#[test]
fn while_somebody_has_the_dotlock_the_other_lock_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (place, path) = open_mailbox(dir.path());
    std::fs::write(place.dotlock("alice"), format!("{}\n", std::os::unix::process::parent_id())).unwrap();
    let other = File::options().read(true).write(true).open(&path).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2_000 {
                assert!(lock_now(&place, "alice").unwrap().is_none());
            }
            is_over.store(true, Ordering::Relaxed);
        });
        while !is_over.load(Ordering::Relaxed) {
            assert!(try_lock(&other, &path).unwrap());
            unlock(&other, WHOLE);
        }
    });
}
