//! Tests of `segment.rs`.

use std::fs;

use nix::libc::{EIO, ENOSPC};

use super::super::record::{Context, Delivery, Placement};
use super::*;
use crate::files::tests::Fault;

fn delivery(id: u64, name: &str) -> Record {
    let context = Context::of(b"");
    let placement = Placement { name: name.to_owned(), file: 1, at: 0, line_end: 0, head: 0, context };
    Record::Delivery(Delivery { id, placements: vec![placement], heads: Vec::new(), body: b"text\n\n".to_vec() })
}

fn ids(content: &Content) -> Vec<(u64, bool)> {
    content.unsettled().iter().map(|unsettled| (unsettled.id(), unsettled.is_applied())).collect()
}

fn read(segment: &Segment) -> Vec<(u64, bool)> {
    ids(&Found::look(&segment.path).unwrap().unwrap().read().unwrap().unwrap())
}

/// Who could not flush its own records takes away none of those that others have flushed.
#[test]
fn what_others_have_made_durable_stays() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::open(dir.path()).unwrap();
    let segment = Segment::create(&place).unwrap();
    let first = segment.append(&place, &[delivery(1, "alice"), delivery(2, "alice")]).unwrap();
    let second = segment.append(&place, &[delivery(3, "bob")]).unwrap();
    segment.sync(&place).unwrap();
    segment.withdraw(&place, first, Some(1..=2)).unwrap();
    assert_eq!(read(&segment), [(3, false)]);
    // What is the last goes for good.
    let third = segment.append(&place, &[delivery(4, "alice")]).unwrap();
    assert!(third.start > second.end);
    segment.withdraw(&place, third.clone(), Some(4..=4)).unwrap();
    assert_eq!(fs::metadata(&segment.path).unwrap().len(), third.start);
    assert_eq!(read(&segment), [(3, false)]);
}

/// Who writes behind somebody whose flush fails is not told that it is durable.
#[test]
fn a_failed_flush_fails_for_all() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::open(dir.path()).unwrap();
    let segment = Segment::create(&place).unwrap();
    segment.append(&place, &[delivery(1, "alice"), delivery(2, "bob")]).unwrap();
    place.files.inject(Fault::Fail(0, EIO));
    segment.sync(&place).unwrap_err();
    segment.sync(&place).unwrap_err();
    // Mail can be removed all the same.
    segment.names(["alice".to_owned()].into_iter());
    segment.settle(&place, "alice").unwrap();
    assert_eq!(read(&segment), [(2, false)]);
}

/// What somebody else has flushed already is not flushed again.
#[test]
fn one_flush_is_enough_for_all_who_have_written() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::open(dir.path()).unwrap();
    let segment = Segment::create(&place).unwrap();
    let flushes = || {
        let done = place.files.done();
        segment.sync(&place).unwrap();
        place.files.done() - done
    };
    segment.append(&place, &[delivery(1, "alice")]).unwrap();
    segment.append(&place, &[delivery(2, "bob")]).unwrap();
    assert_eq!([flushes(), flushes()], [1, 0]);
    segment.append(&place, &[delivery(3, "bob")]).unwrap();
    assert_eq!([flushes(), flushes()], [1, 0]);
    // When it is used again, what has been flushed is not taken for what is written now.
    segment.reset(&place, 0).unwrap();
    segment.append(&place, &[delivery(4, "bob")]).unwrap();
    assert_eq!([flushes(), flushes()], [1, 0]);
}

#[test]
fn nothing_is_written_to_what_others_may_remove() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::open(dir.path()).unwrap();
    let segment = Segment::create(&place).unwrap();
    segment.append(&place, &[delivery(1, "alice")]).unwrap();
    segment.disown();
    assert!(!Found::look(&segment.path).unwrap().unwrap().is_live().unwrap());
    segment.append(&place, &[delivery(2, "alice")]).unwrap_err();
    assert_eq!(read(&segment), [(1, false)]);
}

/// Of records that were written by half none counts, though some are whole.
#[test]
fn half_a_group_is_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::open(dir.path()).unwrap();
    let segment = Segment::create(&place).unwrap();
    place.files.inject(Fault::Fail(0, ENOSPC));
    let group: Vec<_> = (1..=5).map(|id| delivery(id, "alice")).collect();
    segment.append(&place, &group).unwrap_err();
    assert_eq!(read(&segment), []);
    segment.append(&place, &[delivery(6, "alice")]).unwrap();
    assert_eq!(read(&segment), [(6, false)]);
}

#[test]
fn what_is_unsettled() {
    let settled = |name: &str| Record::Settled { name: name.to_owned() };
    let records = vec![
        delivery(1, "alice"),
        delivery(2, "bob"),
        settled("alice"),
        delivery(3, "alice"),
        delivery(7, "bob"),
        Record::Applied { first: 2, last: 3 },
        delivery(4, "bob"),
        delivery(5, "alice"),
        delivery(6, "bob"),
        Record::Revoked { first: 4, last: 5 },
        Record::Applied { first: 9, last: 9 },
    ];
    let header = Header { boot: String::new(), seed: 0 };
    let content = Content { header, records, end: 0 };
    assert_eq!(ids(&content), [(2, true), (3, true), (7, false), (6, false)]);
    assert!(content.is_about("alice"));
}

/// A system that does not tell its boots apart may have lost what was not flushed.
#[test]
fn an_unknown_era_is_another() {
    let header = |boot: &str| Header { boot: boot.to_owned(), seed: 0 };
    assert!(is_of_era(&header("one"), "one"));
    assert!(!is_of_era(&header("one"), "other"));
    assert!(!is_of_era(&header(""), ""));
}

fn length(segment: &Segment) -> u64 {
    fs::metadata(&segment.path).unwrap().len()
}

/// Only a record that does not fit into the space that has been written extends the file; and a segment that is used
/// again has the space that it needed before.
#[test]
fn records_overwrite() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::open(dir.path()).unwrap();
    let segment = Segment::create(&place).unwrap();
    assert_eq!(length(&segment), ahead_of(HEADER_OCTETS as u64));
    let append = |id| {
        let (before, written) = (length(&segment), place.files.done());
        let end = segment.append(&place, &[delivery(id, "alice")]).unwrap().end;
        let is_longer = end + RESERVE_OCTETS as u64 > before;
        assert_eq!(length(&segment), if is_longer { ahead_of(end) } else { before });
        assert_eq!(place.files.done(), written + 1 + usize::from(is_longer));
        is_longer
    };
    let longer = (0..1000).filter(|id| append(*id)).count();
    // By as much as there is, and then by so much at once.
    assert!((3..15).contains(&longer), "{longer} of 1000 records have extended the file");
    assert_eq!(read(&segment).len(), 1000);
    let space = length(&segment);
    segment.reset(&place, segment.octets()).unwrap();
    assert_eq!((0..1000).filter(|id| append(*id)).count(), 0);
    assert_eq!((read(&segment).len(), length(&segment)), (1000, space));
    // Who needs less gives back the rest.
    segment.reset(&place, 10_000).unwrap();
    assert_eq!(length(&segment), ahead_of(10_000));
}

#[test]
fn space_is_written_within_limits() {
    let full = crate::journal::SEGMENT_MAX_OCTETS;
    for end in (HEADER_OCTETS as u64..2 * full).step_by(501) {
        let ahead = ahead_of(end) - end;
        assert!(ahead <= AHEAD_MAX_OCTETS);
        assert!(ahead >= AHEAD_MIN_OCTETS || end + ahead == full || end >= full);
        assert!(ahead_of(end) <= full.max(end));
    }
}

/// What is written ahead is no record, and others may write theirs into it.
#[test]
fn zeros_are_no_records() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::open(dir.path()).unwrap();
    let segment = Segment::create(&place).unwrap();
    let found = Found::open(&place, &segment.path).unwrap().unwrap();
    let content = |count: usize| {
        let content = found.read().unwrap().unwrap();
        assert_eq!(content.records.len(), count);
        content.end
    };
    assert_eq!(content(0), HEADER_OCTETS as u64);
    let space = length(&segment);
    let first = segment.append(&place, &[delivery(1, "alice"), delivery(2, "bob")]).unwrap();
    assert_eq!(content(2), first.end);
    found.settle(&place, &BTreeSet::from(["alice"]), || Ok(())).unwrap();
    let settled = content(3);
    let second = segment.append(&place, &[delivery(3, "alice")]).unwrap();
    assert_eq!((second.start, second.end), (settled, content(4)));
    assert_eq!(length(&segment), space);
    assert_eq!(read(&segment), [(2, false), (3, false)]);
    // Where records are cut off the space goes with them, and comes again with the next.
    segment.withdraw(&place, second.clone(), Some(3..=3)).unwrap();
    assert_eq!((content(3), length(&segment)), (second.start, second.start));
    let third = segment.append(&place, &[delivery(4, "alice")]).unwrap();
    assert_eq!((third.start, content(4), length(&segment)), (second.start, third.end, ahead_of(third.end)));
}

/// A full disk takes no message that fits: without space ahead, a record has no octet more than it needs, and what it takes
/// to say what became of it.
#[test]
fn a_full_disk_is_not_written_ahead_on() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::open(dir.path()).unwrap();
    place.files.inject(Fault::Fail(2, ENOSPC));
    let segment = Segment::create(&place).unwrap();
    assert_eq!(length(&segment), HEADER_OCTETS as u64);
    for id in 1..100 {
        let before = length(&segment);
        let needed = segment.append(&place, &[delivery(id, "alice")]).unwrap().end + RESERVE_OCTETS as u64;
        assert_eq!(length(&segment), needed.max(before));
    }
    // That takes no more.
    segment.append(&place, &[Record::Revoked { first: 99, last: 99 }]).unwrap();
    segment.append(&place, &[Record::Settled { name: "x".repeat(64) }]).unwrap();
    assert!(segment.octets() <= length(&segment));
    // After some checkpoints there may be room.
    place.journal.checkpoint(&place);
    assert!(place.journal.is_short_of_space());
    place.journal.checkpoint(&place);
    let more = segment.append(&place, &[delivery(100, "alice")]).unwrap();
    assert_eq!(length(&segment), ahead_of(more.end));
    // There is for the record, and not for zeros behind it.
    segment.withdraw(&place, more, Some(100..=100)).unwrap();
    place.files.inject(Fault::Fail(1, ENOSPC));
    let more = segment.append(&place, &[delivery(101, "alice")]).unwrap();
    assert_eq!(length(&segment), more.end + RESERVE_OCTETS as u64);
    assert!(place.journal.is_short_of_space());
    assert_eq!(read(&segment).len(), 99);
}
