//! Tests of `dotlock.rs`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::libc::EIO;

use super::*;
use crate::files::tests::Fault;

/// holds C-P8
#[test]
fn a_dotlock_of_an_earlier_boot_is_stale() {
    let booted = BOOTED.expect("this system says when it was started");
    let dir = tempfile::tempdir().unwrap();
    let file = File::create(dir.path().join("alice.mbox.lock")).unwrap();
    let judge = |modified| {
        file.set_modified(modified).unwrap();
        is_of_earlier_boot(&file.metadata().unwrap())
    };
    assert!(judge(booted - Duration::from_secs(1)));
    assert!(!judge(booted));
    assert!(!judge(SystemTime::now()));
}

fn place() -> (tempfile::TempDir, Arc<Place>) {
    let dir = tempfile::tempdir().unwrap();
    let place = Arc::new(Place::open(dir.path()).unwrap());
    (dir, place)
}

fn modified(place: &Place, name: &str) -> SystemTime {
    place.dotlock(name).symlink_metadata().unwrap().modified().unwrap()
}

/// holds C-P8
#[test]
fn dotlocks_of_a_process_are_names_of_one_file() {
    let (dir, place) = place();
    let alice = Dotlock::try_new(&place, "alice").unwrap().unwrap();
    let bob = Dotlock::try_new(&place, "bob").unwrap().unwrap();
    for name in ["alice", "bob"] {
        assert_eq!(fs::read_to_string(place.dotlock(name)).unwrap(), format!("{}\n", process::id()));
    }
    assert_eq!(alice.written.inode, bob.written.inode);
    for mut dotlock in [alice, bob] {
        dotlock.release();
        assert!(!dotlock.path.exists());
    }
    drop(place);
    let left: Vec<_> = fs::read_dir(dir.path().join(".pillarbox")).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(left, [dir.path().join(".pillarbox/journal")]);
}

/// holds C-P8
#[test]
fn a_dotlock_is_young_when_it_is_made() {
    let (_dir, place) = place();
    let mut dotlock = Dotlock::try_new(&place, "alice").unwrap().unwrap();
    dotlock.release();
    let old = SystemTime::now() - DOTLOCK_STALE;
    dotlock.written.file.set_modified(old).unwrap();
    // Not yet,
    *dotlock.written.renewed.lock().unwrap() = SystemTime::now();
    Dotlock::try_new(&place, "alice").unwrap().unwrap().release();
    assert_eq!(dotlock.written.file.metadata().unwrap().modified().unwrap(), old);
    // but after some time, and when the clock has been set back.
    for renewed in [SystemTime::now() - RENEW_AFTER, SystemTime::now() + DOTLOCK_STALE] {
        dotlock.written.file.set_modified(old).unwrap();
        *dotlock.written.renewed.lock().unwrap() = renewed;
        let mut again = Dotlock::try_new(&place, "alice").unwrap().unwrap();
        assert!(modified(&place, "alice") > old);
        assert_eq!(again.written.inode, dotlock.written.inode);
        again.release();
    }
}

/// One that is left behind names a process that lives: only its age says that nobody will give it back.
///
/// holds C-P8
#[test]
fn a_dotlock_that_is_left_grows_old() {
    let (_dir, place) = place();
    let mut left = Dotlock::try_new(&place, "alice").unwrap().unwrap();
    left.leave();
    left.release();
    let old = modified(&place, "alice");
    let other = Dotlock::try_new(&place, "bob").unwrap().unwrap();
    assert_ne!(other.written.inode, left.written.inode);
    *other.written.renewed.lock().unwrap() = SystemTime::UNIX_EPOCH;
    Dotlock::try_new(&place, "carol").unwrap().unwrap();
    assert_eq!(modified(&place, "alice"), old);
}

/// holds C-P8
#[test]
fn who_removes_the_file_behind_the_dotlocks_keeps_nobody_out() {
    let (_dir, place) = place();
    let mut first = Dotlock::try_new(&place, "alice").unwrap().unwrap();
    fs::remove_file(&first.written.path).unwrap();
    let second = Dotlock::try_new(&place, "bob").unwrap().unwrap();
    assert_ne!(first.written.inode, second.written.inode);
    first.release();
    assert!(!first.path.exists() && second.path.exists());
}

/// It is only removed if it was not renewed since: then it is another one, by the same process.
///
/// holds C-P8
#[test]
fn a_dotlock_that_was_renewed_is_another_one() {
    let (_dir, place) = place();
    let dotlock = Dotlock::try_new(&place, "alice").unwrap().unwrap();
    let judged = dotlock.path.symlink_metadata().unwrap();
    assert!(is_same(&judged, &dotlock.path.symlink_metadata().unwrap()));
    dotlock.written.file.set_modified(SystemTime::now() + RENEW_AFTER).unwrap();
    assert!(!is_same(&judged, &dotlock.path.symlink_metadata().unwrap()));
}

/// When nobody can tell whether it is still there, it must not look young for as long as the process lives.
///
/// holds C-P8
#[test]
fn a_dotlock_that_could_not_be_removed_grows_old() {
    let (dir, place) = place();
    let mut left = Dotlock::try_new(&place, "alice").unwrap().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    // The folder is away for a moment.
    fs::rename(dir.path(), elsewhere.path().join("moved")).unwrap();
    left.release();
    fs::rename(elsewhere.path().join("moved"), dir.path()).unwrap();
    let old = SystemTime::now() - DOTLOCK_STALE;
    left.written.file.set_modified(old).unwrap();
    *left.written.renewed.lock().unwrap() = old;
    Dotlock::try_new(&place, "bob").unwrap().unwrap().release();
    assert_eq!(modified(&place, "alice"), old);
    // The next of us has it.
    Dotlock::try_new(&place, "alice").unwrap().unwrap().release();
    assert!(!place.dotlock("alice").exists());
}

/// A file that cannot be written to any more is of no use, and another one may be.
///
/// holds C-P8
#[test]
fn a_file_that_cannot_be_renewed_is_replaced() {
    let (dir, place) = place();
    let mut first = Dotlock::try_new(&place, "alice").unwrap().unwrap();
    first.release();
    *first.written.renewed.lock().unwrap() = SystemTime::now() - RENEW_AFTER;
    place.files.inject(Fault::Fail(0, EIO));
    let mut second = Dotlock::try_new(&place, "alice").unwrap().unwrap();
    assert_ne!(first.written.inode, second.written.inode);
    second.release();
    assert_eq!(fs::read_dir(dir.path().join(".pillarbox")).unwrap().count(), 2, "one, and the journal");
}

/// The start of a process in another container, where ours does not exist or is another, does so.
///
/// holds C-P8
#[test]
fn who_removes_the_file_again_and_again_keeps_nobody_out() {
    let (_dir, place) = place();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for file in place.names_in(&place.side).unwrap().iter().filter(|file| file.starts_with("lock-")) {
                    let _ = fs::remove_file(place.side.join(file));
                }
            }
        });
        let locked: Vec<_> = (0..2000)
            .map(|_| {
                Dotlock::try_new(&place, "alice").map(|dotlock| {
                    dotlock.is_some_and(|mut dotlock| {
                        dotlock.release();
                        true
                    })
                })
            })
            .collect();
        is_over.store(true, Ordering::Relaxed);
        assert!(
            locked.iter().all(|locked| matches!(locked, Ok(true))),
            "{:?}",
            locked.iter().find(|locked| locked.is_err())
        );
    });
}

/// The clock was set back: nobody waits until it comes to that time again.
///
/// holds C-P8
#[test]
fn a_dotlock_from_the_future_is_stale() {
    let (_dir, place) = place();
    let path = place.dotlock("alice");
    // It names a process that lives.
    fs::write(&path, format!("{}\n", std::os::unix::process::parent_id())).unwrap();
    let judge = |modified| {
        File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        Found::look(&place, "alice").unwrap().unwrap().is_stale(false)
    };
    let now = SystemTime::now();
    let minute = Duration::from_secs(60);
    assert!(judge(now + DOTLOCK_STALE + minute) && judge(now - DOTLOCK_STALE - minute));
    assert!(!judge(now + DOTLOCK_STALE - minute) && !judge(now - DOTLOCK_STALE + minute));
}

/// On a full disk a dotlock says nothing. What stays of one locks no mailbox for five minutes.
///
/// holds C-P8 C-S9
#[test]
fn an_empty_dotlock_says_by_its_other_name_whose_it_is() {
    let (dir, place) = place();
    place.files.inject(Fault::FullFrom(0));
    let mut dotlock = Dotlock::try_new(&place, "alice").unwrap().unwrap();
    place.files.inject(Fault::None);
    assert_eq!(dotlock.path.metadata().unwrap().len(), 0);
    assert_eq!(Found::look(&place, "alice").unwrap().unwrap().owner, i32::try_from(process::id()).ok());
    // It would keep us out as well.
    dotlock.leave();
    dotlock.release();
    assert!(!dotlock.path.exists());
    // Another process leaves one behind, and is gone when we start.
    // No process has such a number. No child either: until it calls `exec` it has the locks of all other tests.
    let gone = i32::MAX;
    let written = place.side.join(format!("{KIND}{gone}-1"));
    fs::write(&written, "").unwrap();
    fs::hard_link(&written, place.dotlock("bob")).unwrap();
    fs::write(place.mailbox("bob"), "").unwrap();
    let again = Arc::new(Place::open(dir.path()).unwrap());
    crate::recover::start(&again).unwrap();
    assert!(!place.dotlock("bob").exists() && !written.exists());
}

/// Somebody has taken ours for stale, and has made one of their own.
///
/// holds C-P8
#[test]
fn a_dotlock_that_is_somebody_elses_by_now_stays() {
    let (_dir, place) = place();
    let mut lost = Dotlock::try_new(&place, "alice").unwrap().unwrap();
    fs::remove_file(&lost.path).unwrap();
    fs::write(&lost.path, "1\n").unwrap();
    lost.release();
    assert_eq!(fs::read_to_string(&lost.path).unwrap(), "1\n");
    // What is theirs is no reason to give up the file that ours are names of.
    let other = Dotlock::try_new(&place, "bob").unwrap().unwrap();
    assert_eq!(other.written.inode, lost.written.inode);
}
