//! Tests of `update.rs`.

use super::*;

const ENTRY: &str = "From a Mon Aug 22 23:00:00 2016\ntext\n\n";

fn entries(octets: &[u8], at: Range<usize>) -> Vec<Entry> {
    let range = at.start as u64..at.end as u64;
    let read_at = |buffer: &mut [u8], offset| {
        let rest = octets.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    };
    scan_range(range, read_at).unwrap()
}

/// A part that was read while the file was cut has a shorter end than the next one has a beginning: what would be between
/// them belongs to nobody, and a removal would drop it.
///
/// holds C-P7
#[test]
fn a_file_that_is_cut_and_grows_again_while_it_is_listed_ends_where_it_was_cut() {
    let mbox = ENTRY.repeat(6).into_bytes();
    let (first, second) = (3 * ENTRY.len(), 6 * ENTRY.len());
    for cut in 0..first {
        let parts = vec![(0, entries(&mbox[..cut], 0..first)), (first as u64, entries(&mbox, first..second))];
        let listed = joined(parts);
        if cut > 0 {
            let in_one_go = entries(&mbox[..cut], 0..second);
            assert_eq!(listed, in_one_go, "cut at {cut}");
        }
        assert!(listed.windows(2).all(|pair| pair[0].next == pair[1].start), "cut at {cut}");
    }
    let parts = vec![(0, entries(&mbox, 0..first)), (first as u64, entries(&mbox, first..second))];
    assert_eq!(joined(parts), entries(&mbox, 0..second));
    // Empty lines in front are no entry, and no reason to end.
    let parts = vec![(0, Vec::new()), (first as u64, entries(&mbox, first..second))];
    assert_eq!(joined(parts).len(), 3);
    assert!(joined(Vec::new()).is_empty());
}

/// holds C-P7
#[test]
fn the_record_of_a_long_removal_is_written_back_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let mbox = ENTRY.to_owned() + &"From a Mon Aug 22 23:00:00 2016\ntext\n".repeat(100_000);
    std::fs::write(dir.path().join("alice.mbox"), &mbox).unwrap();
    let place = Arc::new(Place::open(dir.path()).unwrap());
    let mut locked = crate::locks::lock_now(&place, "alice").unwrap().unwrap();
    let listing = index::list(&place, &locked).unwrap();
    let asked = || crate::write_back::tests::ASKED.get();
    assert_eq!(asked(), 0);
    remove(&place, &mut locked, &listing, &[0]).unwrap();
    assert!(asked() > 0, "{} octets", mbox.len());
    assert!(std::fs::read_to_string(dir.path().join("alice.mbox")).unwrap() == mbox[ENTRY.len()..]);
}

/// holds C-P7
#[test]
fn what_stands_in_front_of_a_line_without_an_end_can_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alice.mbox");
    let unended = ENTRY.lines().next().unwrap();
    std::fs::write(&path, ENTRY.to_owned() + unended).unwrap();
    let place = Arc::new(Place::open(dir.path()).unwrap());
    let mut locked = crate::locks::lock_now(&place, "alice").unwrap().unwrap();
    index::list(&place, &locked).unwrap();
    let listing = index::list(&place, &locked).unwrap();
    assert!(listing.is_remembered && listing.entries.len() == 2);
    remove(&place, &mut locked, &listing, &[0]).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), unended);
}
