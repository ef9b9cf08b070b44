//! Tests of `record.rs`.

use super::*;
use crate::crash_tests::golden::compare;

fn placement(name: &str) -> Placement {
    let context = Context::of(b"before");
    Placement { name: name.to_owned(), file: 7, at: 100, line_end: 2, head: 1, context }
}

fn records() -> Vec<Record> {
    let placements = vec![placement("alice"), placement(crate::place::QUEUE)];
    vec![
        Record::Delivery(Delivery {
            id: 1,
            placements: placements.clone(),
            heads: vec![b"From a\n".to_vec(), Vec::new()],
            body: b"text\r\n\n".to_vec(),
        }),
        Record::Large(Large {
            id: 2,
            placements,
            shapes: vec![Shape { octets: 70_000, from_line: b"From a\n".to_vec(), blocks: vec![1, u64::MAX] }],
        }),
        Record::Applied { first: 1, last: 1 },
        Record::Committed { id: 2 },
        Record::Revoked { first: 3, last: 9 },
        Record::Settled { name: "bob".to_owned() },
    ]
}

#[test]
fn a_record_is_read_as_it_was_written_or_not_at_all() {
    for record in records() {
        let mut octets = Vec::new();
        record.encode(5, &mut octets);
        let length = octets.len();
        octets.extend_from_slice(b"behind");
        assert_eq!(Record::parse(5, &octets), Some((record, length)));
        assert_eq!(Record::parse(6, &octets), None, "of another time");
        for cut in 0..length {
            assert_eq!(Record::parse(5, &octets[..cut]), None, "cut at {cut}");
        }
        for at in (0..length).filter(|at| !(5..8).contains(at)) {
            octets[at] ^= 1;
            assert_eq!(Record::parse(5, &octets), None, "changed at {at}");
            octets[at] ^= 1;
        }
    }
}

/// What earlier versions have written is read by this one.
#[test]
fn records_are_the_octets_that_they_were() {
    let header = Header { boot: "a boot".to_owned(), seed: 0x0123_4567_89ab_cdef };
    let mut lines = format!("header {}\n", header.encode().escape_ascii());
    let rest = Rest { first: b"From b\n".to_vec(), hash: 9 };
    let cut = Record::Cut(Cut { id: 4, placement: placement("carl"), size: 300, rest });
    for record in records().into_iter().chain([cut]) {
        let mut octets = Vec::new();
        record.encode(5, &mut octets);
        lines.push_str(&format!("{record:?}\n    {}\n", octets.escape_ascii()));
    }
    compare("journal", &lines);
}

/// holds C-S6
#[test]
fn a_record_names_mailboxes_only() {
    let mut octets = Vec::new();
    Record::Settled { name: "../etc".to_owned() }.encode(5, &mut octets);
    assert_eq!(Record::parse(5, &octets), None);
}

#[test]
fn a_header_is_read_as_it_was_written_or_not_at_all() {
    let header = Header { boot: "b-1".to_owned(), seed: 0xAB };
    let mut octets = header.encode();
    assert_eq!(octets.len(), HEADER_OCTETS);
    assert_eq!(Header::parse(&octets), Some(header));
    assert_eq!(Header::parse(&octets[..40]), None);
    octets[21] ^= 1;
    assert_eq!(Header::parse(&octets), None);
    assert_eq!(Header::parse(&[0; HEADER_OCTETS]), None);
}
