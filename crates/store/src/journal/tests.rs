//! Tests of `journal.rs`.

use super::*;

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
        let later = Folder::of(&ours).unwrap().changed[1].0.cast_unsigned() + COARSE_SECONDS + 1;
        ours.journal.not_live(&ours, later).unwrap()
    };
    let begin = |place: &Place| Arc::clone(&place.journal.begin(place).unwrap().0);
    let (own, first) = (begin(&ours), begin(&theirs));
    assert!(not_live().is_empty());
    assert!(ours.journal.seen.lock().unwrap().is_some());
    // Dying changes nothing in the folder,
    theirs.journal.abandon(&first);
    let folder = Folder::of(&ours).unwrap();
    assert_eq!(not_live(), [first.path.clone()]);
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
    let folder = Folder { inode: 1, changed: [(100, 5), (100, 7)] };
    assert!(!folder.is_told_apart(100) && !folder.is_told_apart(100 + COARSE_SECONDS));
    assert!(folder.is_told_apart(100 + COARSE_SECONDS + 1));
    // The clock was set back.
    assert!(!folder.is_told_apart(50));
    assert!(!Folder { changed: [(100, 5), (200, 7)], ..folder }.is_told_apart(150));
}
