//! Tests of `journal.rs`.

use super::*;
use crate::crash_tests::memory_or_disk;
use crate::journal::record::{HEADER_OCTETS, Record};

fn place() -> (tempfile::TempDir, Arc<Place>) {
    let dir = tempfile::tempdir_in(memory_or_disk()).unwrap();
    let place = Arc::new(Place::open(dir.path()).unwrap());
    (dir, place)
}

/// Waits until another thread has done something.
fn until(is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
}

/// The octets of each segment, and of what is no segment yet.
fn lengths(place: &Place) -> Vec<u64> {
    let names = place.names_in(&place.segments).unwrap();
    names.iter().map(|name| place.segments.join(name).metadata().unwrap().len()).collect()
}

fn fill(place: &Place, segment: &Segment, octets: u64) {
    let record = Record::Settled { name: "alice".repeat(10) };
    while segment.octets() < octets {
        segment.append(place, &vec![record.clone(); 100]).unwrap();
    }
}

/// The first delivery finds a segment, and whoever never delivers leaves none.
///
/// holds C-S9
#[test]
fn the_first_segment_is_made_ahead() {
    for delivers in [true, false] {
        let (dir, place) = place();
        let checkpoints = Journal::checkpoint_in_background(&place).unwrap();
        until(|| place.journal.state().spare.is_some());
        let done = place.files.done();
        if delivers {
            drop(place.journal.begin(&place).unwrap());
        }
        assert_eq!(place.files.done(), done, "a delivery makes no segment");
        assert_eq!(lengths(&place).len(), 1);
        let segments = place.segments.clone();
        drop(checkpoints);
        drop(place);
        assert_eq!(std::fs::read_dir(segments).unwrap().count(), 0);
        drop(dir);
    }
}

/// A process may end, or deliver, while its first segment is being made: there is one, and it is removed.
///
/// holds C-S9
#[test]
fn nobody_makes_a_second_first_segment() {
    for number in 0..100 {
        let (_dir, place) = place();
        let checkpoints = Journal::checkpoint_in_background(&place).unwrap();
        if number % 2 == 0 {
            drop(place.journal.begin(&place).unwrap());
            assert_eq!(lengths(&place).len(), 1);
        }
        let segments = place.segments.clone();
        drop(checkpoints);
        // On a busy machine it may take longer than it is waited for.
        until(|| Arc::strong_count(&place) == 1);
        drop(place);
        assert_eq!(std::fs::read_dir(segments).unwrap().count(), 0);
    }
}

/// A thread that is woken again and again, as busy deliveries do, does its checkpoints all the same.
///
/// holds C-S9
#[test]
fn checkpoints_are_done_however_often_segments_are_wanted() {
    let (_dir, place) = place();
    let in_use = place.journal.begin(&place).unwrap();
    in_use.0.names(std::iter::once("alice".to_owned()));
    drop(in_use);
    let ticker = Ticker { ring: Mutex::new(Ring::No), bell: Condvar::new() };
    let until = Instant::now() + Duration::from_secs(60);
    let is_waiting = || place.journal.state().active.is_some();
    std::thread::scope(|scope| {
        scope.spawn(|| tick(&Arc::downgrade(&place), &ticker, Duration::from_millis(50)));
        while is_waiting() && Instant::now() < until {
            ticker.ring(Ring::Now);
            std::thread::yield_now();
        }
        ticker.ring(Ring::End);
    });
    assert!(!is_waiting());
}

/// What was made ahead is not kept for who does not need it, but for the next record.
#[test]
fn what_is_idle_is_small() {
    let (_dir, place) = place();
    place.journal.make_spare(&place).unwrap();
    assert_eq!(lengths(&place), [IDLE_OCTETS]);
    // One that was in use, and has nothing to be looked after.
    let in_use = place.journal.begin(&place).unwrap();
    fill(&place, &in_use.0, 10_000);
    drop(in_use);
    assert!(lengths(&place)[0] > IDLE_OCTETS);
    place.journal.checkpoint(&place);
    place.journal.checkpoint(&place);
    assert_eq!(lengths(&place), [IDLE_OCTETS]);
    // A full disk gets it back at once, and no space is written ahead then.
    let in_use = place.journal.begin(&place).unwrap();
    fill(&place, &in_use.0, 10_000);
    drop(in_use);
    place.journal.make_room(&place);
    assert_eq!(lengths(&place), [HEADER_OCTETS as u64]);
    let in_use = place.journal.begin(&place).unwrap();
    fill(&place, &in_use.0, 10_000);
    assert_eq!(lengths(&place), [in_use.0.octets()]);
}

/// The next segment is made when one is half full, and when both are free the one that has more space stays.
#[test]
fn the_next_segment_is_made_ahead() {
    let (_dir, place) = place();
    let in_use = place.journal.begin(&place).unwrap();
    let is_made = |octets| {
        fill(&place, &in_use.0, octets);
        place.journal.make_spare(&place).unwrap();
        lengths(&place).len() == 2
    };
    assert!(!is_made(SEGMENT_MAX_OCTETS / 4));
    assert!(is_made(SEGMENT_MAX_OCTETS / 2));
    let made = place.journal.state().spare.clone().unwrap();
    in_use.0.names(["alice".to_owned()].into_iter());
    let (first, space) = (in_use.0.path.clone(), in_use.0.space().unwrap());
    drop(in_use);
    place.journal.checkpoint(&place);
    assert_eq!(lengths(&place), [space]);
    assert!(first.exists() && !made.path.exists());
    // One that is full is followed by the one that was made.
    let in_use = place.journal.begin(&place).unwrap();
    fill(&place, &in_use.0, SEGMENT_MAX_OCTETS);
    place.journal.make_spare(&place).unwrap();
    let made = place.journal.state().spare.clone().unwrap();
    let done = place.files.done();
    assert!(Arc::ptr_eq(&place.journal.begin(&place).unwrap().0, &made));
    assert_eq!(place.files.done(), done);
}

/// Two processes, as far as their journals can tell.
fn two_places(dir: &std::path::Path) -> [Arc<Place>; 2] {
    [dir, dir].map(|dir| Arc::new(Place::open(dir).unwrap()))
}

/// holds C-S9
#[test]
fn a_folder_that_has_not_changed_is_not_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let [ours, theirs] = two_places(dir.path());
    let not_live = || {
        // As if the folder had been left alone for a while.
        let later = Folder::of(&ours).unwrap().unwrap().changed[1].0.cast_unsigned() + COARSE_SECONDS + 1;
        ours.journal.not_live(&ours, later).unwrap()
    };
    let begin = |place: &Place| Arc::clone(&place.journal.begin(place).unwrap().0);
    let (own, first) = (begin(&ours), begin(&theirs));
    assert!(not_live().is_empty());
    assert!(ours.journal.seen.lock().unwrap().is_some());
    // Dying changes nothing in the folder,
    theirs.journal.abandon(&first);
    let folder = Folder::of(&ours).unwrap();
    assert_eq!(not_live(), std::slice::from_ref(&first.path));
    // nor does giving up one of our own.
    ours.journal.abandon(&own);
    let mut both = [own.path.clone(), first.path.clone()];
    both.sort();
    assert_eq!(not_live(), both);
    assert_eq!(Folder::of(&ours).unwrap(), folder);
    // A new one does, once the clock has ticked.
    let second = (0..10_000_000)
        .map(|_| Segment::create(&theirs).unwrap())
        .inspect(|segment| segment.disown())
        .find(|segment| {
            let is_seen = Folder::of(&ours).unwrap() != folder;
            is_seen || std::fs::remove_file(&segment.path).is_err()
        })
        .unwrap();
    assert!(not_live().contains(&second.path));
    std::fs::remove_file(&second.path).unwrap();
    assert!(!ours.journal.dead(&ours).unwrap().iter().any(|found| found.path == second.path));
}

#[test]
fn a_folder_that_has_just_changed_is_read_again() {
    let said = statx(CWD, "/", AtFlags::empty(), Standing::WANTED).unwrap();
    let standing = Standing::new(&said);
    let folder = Folder { standing, changed: [(100, 5), (100, 7)] };
    assert!(!folder.is_told_apart(100) && !folder.is_told_apart(100 + COARSE_SECONDS));
    assert!(folder.is_told_apart(100 + COARSE_SECONDS + 1));
    // The clock was set back.
    assert!(!folder.is_told_apart(50));
    assert!(!Folder { changed: [(100, 5), (200, 7)], ..folder }.is_told_apart(150));
}

/// Who is idle keeps no space of others: an open file has it after its name is gone.
///
/// holds C-C1
#[test]
fn who_is_idle_keeps_no_segment_that_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let [ours, theirs] = two_places(dir.path());
    let segment = Arc::clone(&theirs.journal.begin(&theirs).unwrap().0);
    let later = Folder::of(&ours).unwrap().unwrap().changed[1].0.cast_unsigned() + COARSE_SECONDS + 1;
    ours.journal.not_live(&ours, later).unwrap();
    let is_open = || {
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        let of =
            |file: std::io::Result<std::fs::DirEntry>| std::fs::read_link(file.unwrap().path()).unwrap_or_default();
        let ours: Vec<_> =
            open.map(of).filter(|file| file.to_string_lossy().contains(&*segment.path.to_string_lossy())).collect();
        ours.len()
    };
    assert_eq!(is_open(), 2);
    ours.journal.checkpoint(&ours);
    assert_eq!(is_open(), 2, "it is there");
    // Where files are made quicker than the clock of the file system ticks, the folder would not show the change.
    let probe = dir.path().join("probe");
    let has_ticked = |_| {
        std::fs::write(&probe, "x").unwrap();
        probe.metadata().unwrap().modified().unwrap() > ours.segments.metadata().unwrap().modified().unwrap()
    };
    assert!((0..10_000_000).any(has_ticked));
    std::fs::remove_file(&segment.path).unwrap();
    ours.journal.checkpoint(&ours);
    assert_eq!(is_open(), 1);
}
