//! Tests of `segment.rs`.

use nix::libc::{EIO, ENOSPC};

use super::super::record::{Context, Delivery, Placement};
use super::*;
use crate::files::tests::Fault;

fn delivery(id: u64, name: &str) -> Record {
    let context = Context::of(b"");
    let placement = Placement { name: name.to_owned(), inode: 1, at: 0, line_end: 0, head: 0, context };
    Record::Delivery(Delivery { id, placements: vec![placement], heads: Vec::new(), body: b"text\n\n".to_vec() })
}

fn ids(content: &Content) -> Vec<(u64, bool)> {
    content.unsettled().iter().map(|unsettled| (unsettled.id(), unsettled.is_applied())).collect()
}

fn read(segment: &Segment) -> Vec<(u64, bool)> {
    ids(&Found::open(&segment.path).unwrap().unwrap().read().unwrap().unwrap())
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
    segment.withdraw(&place, first, 1, 2).unwrap();
    assert_eq!(read(&segment), [(3, false)]);
    // What is the last goes for good.
    let third = segment.append(&place, &[delivery(4, "alice")]).unwrap();
    assert!(third.start > second.end);
    segment.withdraw(&place, third.clone(), 4, 4).unwrap();
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

#[test]
fn nothing_is_written_to_what_others_may_remove() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::open(dir.path()).unwrap();
    let segment = Segment::create(&place).unwrap();
    segment.append(&place, &[delivery(1, "alice")]).unwrap();
    segment.disown();
    assert!(!Found::open(&segment.path).unwrap().unwrap().is_live().unwrap());
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
fn an_unknown_boot_is_another() {
    let header = |boot: &str| Header { boot: boot.to_owned(), seed: 0 };
    assert!(is_of_boot(&header("one"), "one"));
    assert!(!is_of_boot(&header("one"), "other"));
    assert!(!is_of_boot(&header(""), ""));
}
