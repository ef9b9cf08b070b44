//! Damaged, torn and foreign indexes: whatever they hold, a mailbox is listed as if there were none.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
#[cfg(feature = "check")]
use crate::Severity;
use crate::crash_tests::memory_or_disk;
use crate::files::tests::Fault;
use crate::locks::lock_now;
use crate::{Maildrop as _, MboxMaildrop, TextReader as _};

const FROM_LINE: &str = "From a Mon Aug 22 23:00:00 2016\n";

struct Case {
    dir: TempDir,
    place: Arc<Place>,
}

impl Case {
    fn new(mailbox: &str) -> Self {
        let dir = tempfile::tempdir_in(memory_or_disk()).unwrap();
        fs::write(dir.path().join("alice.mbox"), mailbox).unwrap();
        let place = Arc::new(Place::open(dir.path()).unwrap());
        Self { dir, place }
    }

    fn locked(&self) -> Locked {
        lock_now(&self.place, "alice").unwrap().unwrap()
    }

    fn list(&self) -> Listing {
        list(&self.place, &self.locked()).unwrap()
    }

    /// What reading the mailbox says.
    fn entries(&self) -> Vec<Entry> {
        update::list(&self.locked()).unwrap()
    }

    fn index(&self) -> Vec<u8> {
        fs::read(self.place.index("alice")).unwrap()
    }

    fn put_index(&self, content: &[u8]) {
        fs::write(self.place.index("alice"), content).unwrap();
    }

    fn put(&self, mailbox: &str) {
        fs::write(self.dir.path().join("alice.mbox"), mailbox).unwrap();
    }

    /// Lists the mailbox, by an index or not, and checks the listing; then again, by the index that there is now.
    fn check(&self, is_remembered: bool, what: &str) {
        let listing = self.list();
        assert_eq!(*listing.entries, *self.entries(), "{what}");
        assert_eq!(listing.is_remembered, is_remembered, "{what}");
        assert_eq!(listing.unique_ids.len(), listing.entries.len());
        let again = self.list();
        assert!(again.is_remembered, "{what}");
        assert_eq!(again.entries, listing.entries, "{what}");
    }
}

fn message(number: usize) -> String {
    format!("{FROM_LINE}Subject: {number}\n\n{}\n", ">From x\n".repeat(number * 5))
}

fn messages(count: usize) -> String {
    (0..count).map(message).collect()
}

#[test]
fn what_was_written_is_read() {
    // More than are read at once, and than fit the first read.
    for count in [1, 2, 63, 64, 65, 300, RECORDS_AT_ONCE + 1] {
        let case = Case::new(&format!("{FROM_LINE}x\n\n").repeat(count));
        case.check(false, "no index");
        case.check(true, "an index");
    }
    for odd in ["no From line\n", &format!("\n\n{FROM_LINE}cut off"), &format!("x\n{FROM_LINE}cut off\r")] {
        let case = Case::new(odd);
        case.check(false, odd);
        case.check(true, odd);
    }
    for empty in ["", "\n\n\n"] {
        let case = Case::new(empty);
        for _ in 0..2 {
            let listing = case.list();
            assert!(listing.entries.is_empty() && !listing.is_remembered);
        }
    }
}

#[test]
fn unique_ids_are_remembered() {
    let case = Case::new(&messages(5));
    let listing = case.list();
    let ids: Vec<UniqueId> = (1..=5).map(|number| Some([number; 16])).collect();
    remember(&case.place, &case.locked(), &listing.entries, &ids);
    assert_eq!(case.list().unique_ids, ids);
    // Mail comes; what was known stays known.
    case.put(&messages(7));
    let listing = case.list();
    assert_eq!(listing.unique_ids, [&ids[..], &[None; 2]].concat());
    // Of other entries nothing is taken.
    let other = Case::new(&messages(3).replace('x', "y")).list();
    remember(&case.place, &case.locked(), &other.entries, &[Some([9; 16]); 3]);
    assert_eq!(case.list().unique_ids, listing.unique_ids);
    case.check(true, "still an index");
}

#[test]
fn any_other_change_makes_it_anew() {
    let before = messages(5);
    let rename = |case: &Case, content: &str| {
        fs::write(case.dir.path().join("new"), content).unwrap();
        fs::rename(case.dir.path().join("new"), case.dir.path().join("alice.mbox")).unwrap();
    };
    let shown = |case: &Case, is_remembered, what: &str| {
        case.check(is_remembered, what);
        case.check(true, what);
    };
    let changed = |what: &str, is_remembered: bool, change: &dyn Fn(&Case)| {
        let case = Case::new(&before);
        case.check(false, what);
        change(&case);
        shown(&case, is_remembered, what);
    };
    let edited = before.replacen("Subject: 1", "Subject: 9", 1);
    changed("appended", false, &|case| case.put(&messages(7)));
    changed("shorter", false, &|case| case.put(&messages(4)));
    changed("the same length", false, &|case| case.put(&edited));
    changed("another file", false, &|case| rename(case, &edited));
    changed("another file with the same content", false, &|case| rename(case, &before));
    changed("longer in front", false, &|case| case.put(&format!("{}{before}", message(8))));
    changed("the last message went on", false, &|case| case.put(&format!("{before}more\n\n{}", message(6))));
    changed("one gone, others appended", false, &|case| case.put(&(before[message(0).len()..].to_owned() + &before)));
    changed("another end and more", false, &|case| {
        case.put(&(messages(4) + &message(4).replace('x', "y") + &message(6)))
    });
    changed("a message without line end", false, &|case| case.put(&format!("{before}{FROM_LINE}cut off")));
    changed("empty", false, &|case| {
        case.put("");
        assert!(case.list().entries.is_empty());
        case.put(&edited);
    });
}

/// A last message that had no line end gets one from the next that comes.
#[test]
fn an_end_of_line_that_comes_later() {
    let case = Case::new(&format!("{FROM_LINE}cut off"));
    case.check(false, "cut off");
    case.put(&format!("{FROM_LINE}cut off\n{FROM_LINE}more\n\n"));
    let listing = case.list();
    assert_eq!(*listing.entries, *case.entries());
    case.check(true, "with an end");
}

#[test]
fn no_damage_makes_a_wrong_listing() {
    let case = Case::new(&messages(70));
    case.check(false, "no index");
    let good = case.index();
    for cut in (0..good.len()).step_by(61).chain([1, HEADER_OCTETS, good.len() - 1]) {
        case.put_index(&good[..cut]);
        case.check(false, "cut");
    }
    for at in (0..good.len()).step_by(37) {
        let mut damaged = good.clone();
        damaged[at] ^= 1 << (at % 8);
        case.put_index(&damaged);
        case.check(false, "damaged");
    }
    // A sector that was never written.
    for at in (0..good.len()).step_by(512) {
        let mut damaged = good.clone();
        damaged[at..good.len().min(at + 512)].fill(0);
        case.put_index(&damaged);
        case.check(false, "zeros");
    }
    // Records of an earlier epoch.
    let earlier = case.index();
    distrust(&case.place, "alice");
    case.check(false, "no index");
    let mut mixed = case.index();
    assert_eq!(mixed.len(), earlier.len());
    mixed[HEADER_OCTETS + 30 * RECORD_OCTETS..].copy_from_slice(&earlier[HEADER_OCTETS + 30 * RECORD_OCTETS..]);
    case.put_index(&mixed);
    case.check(false, "two epochs");
    // The index of another mailbox; and of an earlier boot.
    let other = Case::new(&messages(70).replace('x', "y"));
    other.check(false, "no index");
    case.put_index(&other.index());
    case.check(false, "foreign");
    let mut header = Header::decode(case.index().first_chunk().unwrap()).unwrap();
    header.boot ^= 1;
    let mut older = case.index();
    older[..HEADER_OCTETS].copy_from_slice(&header.encode());
    case.put_index(&older);
    case.check(false, "an earlier boot");
    // Too many are announced.
    header = Header { boot: this_era(&case.place).unwrap(), count: u64::MAX, ..header };
    older[..HEADER_OCTETS].copy_from_slice(&header.encode());
    case.put_index(&older);
    case.check(false, "too many");
    // Something else is there.
    fs::remove_file(case.place.index("alice")).unwrap();
    fs::create_dir(case.place.index("alice")).unwrap();
    assert_eq!(*case.list().entries, *case.entries());
}

#[test]
fn an_index_that_cannot_be_written_is_none() {
    for fault in [nix::libc::ENOSPC, nix::libc::EIO] {
        for number in 0..4 {
            let case = Case::new(&messages(20));
            if number % 2 == 1 {
                case.check(false, "no index");
                case.put(&messages(25));
            }
            let locked = case.locked();
            case.place.files.inject(Fault::Fail(number / 2, fault));
            assert_eq!(list(&case.place, &locked).unwrap().entries.len(), if number % 2 == 1 { 25 } else { 20 });
            case.place.files.inject(Fault::None);
            drop(locked);
            assert_eq!(*case.list().entries, *case.entries());
            case.check(true, "afterwards");
        }
    }
}

/// Records that are left of messages that have gone are never taken for those that could not be written.
#[test]
fn an_index_that_cannot_be_completed_goes() {
    for number in 0..2 {
        let case = Case::new(&messages(10));
        case.list();
        let mut locked = case.locked();
        let listing = list(&case.place, &locked).unwrap();
        update::remove(&case.place, &mut locked, &listing, &[3, 4, 5, 6, 7, 8, 9]).unwrap();
        let growing = Growing::new(&case.place, &locked).unwrap();
        // Most of them are as before. A write that fails is half done.
        let grown = (3..10).map(message).collect::<String>().replace("Subject: 7", "Subject: x");
        let at = locked.file.metadata().unwrap().len();
        case.place.files.write_all_at(&locked.file, &locked.path, grown.as_bytes(), at).unwrap();
        growing.finish(&case.place, &locked, None);
        case.place.files.inject(Fault::Fail(number, nix::libc::EIO));
        let listing = list(&case.place, &locked).unwrap();
        case.place.files.inject(Fault::None);
        update::remove(&case.place, &mut locked, &listing, &[9]).unwrap();
        drop(locked);
        assert_eq!(*case.list().entries, *case.entries(), "{number}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is in an index: behind a good header too, and with check sums that are right.
    #[test]
    fn any_octets_are_an_index_or_none(
        octets in vec(any::<u8>(), 0..600),
        small in vec(0..9_u64, 0..9),
        has_header in any::<bool>(),
        has_sums in any::<bool>(),
        count in 0..9_u64,
    ) {
        let mailbox = messages(3);
        let case = Case::new(&mailbox);
        let state = State::of(&case.locked()).unwrap();
        let header = Header { boot: this_era(&case.place).unwrap(), epoch: 7, state, count };
        let mut content = if has_header { header.encode().to_vec() } else { Vec::new() };
        let mut octets = octets;
        // Now and then numbers that are about as large as those that are right.
        for (place, number) in octets.chunks_exact_mut(16).zip(&small) {
            place[..8].copy_from_slice(&(number * 60).to_le_bytes());
        }
        if has_sums {
            for record in octets.chunks_exact_mut(RECORD_OCTETS) {
                let check = xxh3_64_with_seed(&record[..CHECKED_OCTETS], 7);
                record[CHECKED_OCTETS..].copy_from_slice(&check.to_le_bytes());
            }
        }
        content.extend(octets);
        case.put_index(&content);
        let listing = case.list();
        // Who knows the epoch could say anything; but never what cannot be.
        if has_header && has_sums && listing.is_remembered {
            prop_assert!(listing.entries.windows(2).all(|pair| pair[0].next == pair[1].start));
            prop_assert!(listing.entries.last().is_none_or(|last| last.next == mailbox.len() as u64));
        } else {
            prop_assert_eq!(&*listing.entries, &*case.entries());
        }
    }

    /// Deliveries of ours, of others and removals, in any order: the index says what a reading says.
    #[test]
    fn it_keeps_up(steps in vec((0..4_usize, any::<u8>()), 1..12)) {
        let case = Case::new(&messages(3));
        case.list();
        for (step, (kind, number)) in steps.into_iter().enumerate() {
            let number = usize::from(number);
            let path = case.dir.path().join("alice.mbox");
            match kind {
                0 => {
                    let locked = case.locked();
                    let at = locked.file.metadata().unwrap().len();
                    let growing = Growing::new(&case.place, &locked);
                    let grown = (0..=number % 3).map(message).collect::<String>();
                    case.place.files.write_all_at(&locked.file, &locked.path, grown.as_bytes(), at).unwrap();
                    if let Some(growing) = growing {
                        growing.finish(&case.place, &locked, Some(grown.as_bytes()).filter(|_| number % 2 == 0));
                    }
                }
                1 => {
                    let more = fs::read_to_string(&path).unwrap() + &message(number % 7);
                    fs::write(&path, more).unwrap();
                }
                2 => {
                    let mut locked = case.locked();
                    let listing = list(&case.place, &locked).unwrap();
                    let delete: Vec<usize> =
                        (0..listing.entries.len()).filter(|index| (number >> (index % 8)) & 1 == 1).collect();
                    update::remove(&case.place, &mut locked, &listing, &delete).unwrap();
                }
                _ => {
                    let listing = case.list();
                    let ids: Vec<UniqueId> =
                        listing.entries.iter().map(|entry| Some([entry.octets.to_le_bytes()[0]; 16])).collect();
                    remember(&case.place, &case.locked(), &listing.entries, &ids);
                }
            }
            let listing = case.list();
            prop_assert_eq!(&*listing.entries, &*case.entries(), "step {}", step);
            for (entry, id) in listing.entries.iter().zip(&listing.unique_ids) {
                prop_assert!(id.is_none_or(|id| id == [entry.octets.to_le_bytes()[0]; 16]));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever another program does between listing and QUIT, and whether the times tell or not: what was listed goes, or
    /// nothing.
    ///
    /// holds C-P7
    #[test]
    fn a_removal_takes_what_was_listed_or_nothing(
        delete in vec(any::<bool>(), 5),
        order in vec(0..5_usize, 0..9),
        edit in any::<Option<(prop::sample::Index, u8)>>(),
        is_new_file in any::<bool>(),
        is_fooled in any::<bool>(),
    ) {
        let mailbox = messages(5);
        // All are different, so that it shows which of them goes.
        let different = order.iter().enumerate().filter(|(at, number)| !order[..*at].contains(number));
        let mut changed = different.map(|(_, number)| message(*number)).collect::<String>().into_bytes();
        if order.len() > 4 {
            // In most cases only one octet is another.
            changed = mailbox.into_bytes();
        }
        if let Some((at, octet)) = edit && !changed.is_empty() {
            let at = at.index(changed.len());
            changed[at] = [b'\n', b'x', b' ', octet][usize::from(octet) % 4];
        }
        let delete: Vec<usize> = (0..5).filter(|index| delete[*index]).collect();
        removal(&messages(5), &delete, &changed, is_new_file, is_fooled)?;
    }
}

/// Lists a mailbox and has messages removed, after another program has changed it; if `is_fooled`, the times do not tell.
fn removal(
    mailbox: &str,
    delete: &[usize],
    changed: &[u8],
    is_new_file: bool,
    is_fooled: bool,
) -> Result<(), TestCaseError> {
    let case = Case::new(mailbox);
    case.list();
    let mut listing = case.list();
    let path = case.dir.path().join("alice.mbox");
    if is_new_file {
        fs::write(case.dir.path().join("new"), changed).unwrap();
        fs::rename(case.dir.path().join("new"), &path).unwrap();
    } else {
        fs::write(&path, changed).unwrap();
    }
    let there = case.entries();
    if is_fooled {
        listing.state = Some(hide_change(&case));
    }
    let mut locked = case.locked();
    let doomed: Vec<Identity> = delete.iter().map(|index| listing.entries[*index].identity).collect();
    let result = update::remove(&case.place, &mut locked, &listing, delete);
    drop(locked);
    let now = fs::read(&path).unwrap();
    if result.is_err() || delete.is_empty() {
        prop_assert!(now == changed, "nothing goes");
        return Ok(());
    }
    let octets = |entry: &Entry| {
        let [start, next] = [entry.start, entry.next].map(|octet| usize::try_from(octet).unwrap());
        &changed[start..next]
    };
    let lead = there.first().map_or(changed, |first| &changed[..usize::try_from(first.start).unwrap()]);
    let mut left = doomed;
    let stays = |entry: &&Entry| {
        let found = left.iter().position(|identity| *identity == entry.identity);
        found.map(|found| left.swap_remove(found)).is_none()
    };
    let kept: Vec<&[u8]> = there.iter().filter(stays).map(octets).collect();
    prop_assert_eq!(left.len(), 0, "it was there");
    let kept = [lead, &kept.concat()].concat();
    prop_assert_eq!(String::from_utf8_lossy(&now), String::from_utf8_lossy(&kept));
    Ok(())
}

/// Whatever single octet another program has changed, and the times do not tell.
///
/// holds C-P7
#[test]
fn where_one_octet_is_another_what_was_listed_goes_or_nothing() {
    let mailbox = messages(3);
    for at in 0..mailbox.len() {
        for octet in [b'\n', b'\r', b' ', b'>', b'F', b'x'] {
            let mut changed = mailbox.clone().into_bytes();
            changed[at] = octet;
            for delete in 0..3 {
                removal(&mailbox, &[delete], &changed, false, true)
                    .unwrap_or_else(|error| panic!("{octet:?} at {at}, {delete} is to go: {error}"));
            }
        }
    }
}

/// What may happen within one tick of the clock: the mailbox was edited, and its size and times are those that the index
/// names.
fn fool(case: &Case, mailbox: &str) {
    assert_eq!(fs::read(case.dir.path().join("alice.mbox")).unwrap().len(), mailbox.len());
    case.put(mailbox);
    hide_change(case);
}

/// Has the index name the size and times that the mailbox has now.
fn hide_change(case: &Case) -> State {
    let index = case.index();
    let state = State::of(&case.locked()).unwrap();
    let header = Header::decode(index.first_chunk().unwrap()).unwrap();
    case.put_index(&[&Header { state, ..header }.encode(), &index[HEADER_OCTETS..]].concat());
    state
}

/// holds C-P7
#[tokio::test]
async fn what_is_fooled_finds_out_when_it_reads() {
    let mailbox = messages(4);
    let edited = mailbox.replacen("Subject: 1", "Subject: 9", 1);
    let fooled = || async {
        let case = Case::new(&mailbox);
        case.list();
        fool(&case, &edited);
        assert!(case.list().is_remembered);
        let maildrop = MboxMaildrop::open(Arc::clone(&case.place), "alice".to_owned(), Duration::ZERO).await.unwrap();
        (case, maildrop)
    };
    let assert_changed = |result: Result<(), StoreError>| {
        assert!(matches!(result, Err(StoreError::Changed { .. })), "{result:?}");
    };
    let (case, maildrop) = fooled().await;
    assert!(maildrop.read(0).next().await.unwrap().is_some());
    assert_changed(maildrop.read(1).next().await.map(drop));
    case.check(false, "the next session sees it as it is");
    let (case, mut maildrop) = fooled().await;
    assert_changed(maildrop.unique_ids(0..4).await.map(drop));
    case.check(false, "the next session sees it as it is");
    let (case, maildrop) = fooled().await;
    assert_changed(maildrop.commit(&[1]).await);
    assert_eq!(fs::read_to_string(case.dir.path().join("alice.mbox")).unwrap(), edited);
    case.check(true, "read anew to find the message");
    let (case, maildrop) = fooled().await;
    maildrop.commit(&[0, 3]).await.unwrap();
    let rest = edited.strip_prefix(&message(0)).unwrap().strip_suffix(&message(3)).unwrap();
    assert_eq!(fs::read_to_string(case.dir.path().join("alice.mbox")).unwrap(), rest);
}

/// Messages have moved: what is removed is what was listed, and nothing else goes.
///
/// holds C-P7
#[tokio::test]
async fn what_is_fooled_removes_nothing_else() {
    let order = |order: [usize; 4]| order.map(message).concat();
    for other in [[0, 2, 1, 3], [1, 0, 2, 3], [0, 1, 3, 2]] {
        for marked in 0..4 {
            let case = Case::new(&order([0, 1, 2, 3]));
            case.list();
            let open = MboxMaildrop::open(Arc::clone(&case.place), "alice".to_owned(), Duration::ZERO);
            let maildrop = open.await.unwrap();
            fool(&case, &order(other));
            maildrop.commit(&[marked]).await.unwrap();
            let rest: String = other.into_iter().filter(|number| *number != marked).map(message).collect();
            let mailbox = fs::read_to_string(case.dir.path().join("alice.mbox")).unwrap();
            assert_eq!(mailbox, rest, "{marked} of {other:?}");
            // Who reads them finds out about the others.
            let open = MboxMaildrop::open(Arc::clone(&case.place), "alice".to_owned(), Duration::ZERO);
            let maildrop = open.await.unwrap();
            for index in 0..3 {
                let _ = maildrop.read(index).next().await;
            }
            assert_eq!(*case.list().entries, *case.entries());
        }
    }
}

/// What stands beside a message is another one, and nobody said that a part of that may go.
///
/// holds C-P7
#[tokio::test]
async fn what_is_fooled_takes_no_part_of_another_message() {
    let mailbox = messages(4);
    let (before, own, behind) = (message(0).len(), message(1).len(), message(2));
    let at = |at: usize, octets: &str| mailbox[..at].to_owned() + octets + &mailbox[at + octets.len()..];
    for (what, edited) in [
        ("it does not begin a line", at(before - 1, "y")),
        ("its separator is text", at(before + own - 1, "y")),
        ("the next one is text", at(before + own, &behind.replacen("Mon", "Nox", 1)[..20])),
        ("the next one begins with two lines", at(before + own, "From \n Mon")),
        ("the line of the next one goes on", at(before + own + FROM_LINE.len() - 1, " ")),
    ] {
        let case = Case::new(&mailbox);
        case.list();
        fool(&case, &edited);
        let open = MboxMaildrop::open(Arc::clone(&case.place), "alice".to_owned(), Duration::ZERO);
        let result = open.await.unwrap().commit(&[1]).await;
        assert!(matches!(result, Err(StoreError::Changed { .. })), "{what}: {result:?}");
        assert_eq!(fs::read_to_string(case.dir.path().join("alice.mbox")).unwrap(), edited, "{what}");
        assert_eq!(*case.list().entries, *case.entries(), "{what}");
    }
}

/// Mail has come, and another program has also edited what was there before, without moving it.
///
/// holds C-P6
#[test]
fn a_mailbox_that_has_grown_may_be_edited_too() {
    let case = Case::new(&messages(5));
    let listing = case.list();
    let ids: Vec<UniqueId> = (1..=5).map(|number| Some([number; 16])).collect();
    remember(&case.place, &case.locked(), &listing.entries, &ids);
    case.put(&messages(7).replacen("Subject: 1", "Subject: 9", 1));
    let listing = case.list();
    assert_eq!(*listing.entries, *case.entries());
    // The ids of those that are what they were are known still.
    assert_eq!(listing.unique_ids, [ids[0], None, ids[2], ids[3], ids[4], None, None]);
    case.check(true, "read anew");
}

/// A delivery to very many mailboxes has need of all descriptors itself.
#[test]
fn no_index_is_open_while_a_mailbox_grows() {
    let case = Case::new(&messages(5));
    case.list();
    let locked = case.locked();
    let growing = Growing::new(&case.place, &locked);
    assert!(growing.is_some());
    let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    let index = case.place.index("alice");
    assert_eq!(open.filter(|path| *path == index).count(), 0);
}

/// Who makes check sums that are right can say anything, and nobody panics.
#[test]
fn numbers_that_are_too_large() {
    let case = Case::new(&messages(5));
    case.list();
    let header = Header::decode(case.index().first_chunk().unwrap()).unwrap();
    for count in [header.state.size + 1, u64::MAX / 64, u64::MAX] {
        case.put_index(&Header { count, ..header }.encode());
        assert!(Growing::new(&case.place, &case.locked()).is_none(), "{count}");
        case.check(false, "a count");
    }
    let record = |start: u64, octets: u64, on_the_wire: u64, small: [u8; 8]| {
        let mut record = [start, octets, on_the_wire, 1, 0, 0].map(u64::to_le_bytes).concat();
        record.extend(small);
        record.extend(xxh3_64_with_seed(&record, 7).to_le_bytes());
        decode(&record, 7)
    };
    assert!(record(10, 40, 9, [31, 0, 1, 0, 0, 0, 0, 0]).is_some());
    assert!(record(10, 40, u64::MAX, [31, 0, 1, 0, 0, 0, 0, 0]).is_none());
    assert!(record(0, u64::MAX, 9, [31, 0, 1, 255, 0, 0, 0, 0]).is_none());
    assert!(record(1, u64::MAX, 9, [31, 0, 1, 0, 0, 0, 0, 0]).is_none());
    assert!(record(10, 31, 9, [31, 0, 1, 0, 0, 0, 0, 0]).is_none());
}

/// What is called an index and is not a file of its own is left alone, and goes.
#[test]
fn what_belongs_to_others_is_not_written_to() {
    let case = Case::new(&messages(5));
    let (other, index) = (case.dir.path().join("other"), case.place.index("alice"));
    fs::write(&other, "of another").unwrap();
    for kind in 0..3 {
        match kind {
            0 => fs::hard_link(&other, &index).unwrap(),
            1 => std::os::unix::fs::symlink(&other, &index).unwrap(),
            _ => nix::unistd::mkfifo(&index, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        }
        assert!(!case.list().is_remembered, "{kind}");
        assert_eq!(fs::read_to_string(&other).unwrap(), "of another", "{kind}");
        case.check(false, "it is gone");
        distrust(&case.place, "alice");
    }
}

/// Where the system does not say which boot is which, an index may be of an earlier one.
#[test]
fn a_boot_without_a_name_has_no_index() {
    assert_eq!(number_of(""), None);
    assert_ne!(number_of("a"), number_of("b"));
}

/// Where times are whole seconds, a change shows when that second is over, or two of them.
#[test]
fn clocks_that_tick_slowly() {
    let case = Case::new(&messages(5));
    let state = State { changed: (1000, 0), ..State::of(&case.locked()).unwrap() };
    for (now, is_told_apart) in [(0, false), (999, false), (1000, false), (1002, false), (1003, true), (u64::MAX, true)]
    {
        assert_eq!(state.is_told_apart(now), is_told_apart, "{now}");
    }
    assert!(State { changed: (1000, 1), ..state }.is_told_apart(1000));
}

/// Setting the times of a file back does not help who changed it: the time of the last change of the inode tells.
#[test]
fn times_that_were_set_back() {
    let case = Case::new(&messages(4));
    case.check(false, "no index");
    let path = case.dir.path().join("alice.mbox");
    let then = path.metadata().unwrap().modified().unwrap();
    let before = State::new(&path.metadata().unwrap());
    // Until the clock has ticked.
    for _ in 0..1_000_000 {
        case.put(&messages(4).replacen("Subject: 1", "Subject: 9", 1));
        File::options().append(true).open(&path).unwrap().set_modified(then).unwrap();
        if State::new(&path.metadata().unwrap()) != before {
            break;
        }
    }
    case.check(false, "set back");
}

#[cfg(feature = "check")]
#[test]
fn the_check_tells_what_is_wrong_with_an_index() {
    let findings = |case: &Case| crate::check(case.dir.path(), &mut |_| ()).unwrap().findings;
    let case = Case::new(&messages(4));
    case.list();
    assert_eq!(findings(&case), []);
    let good = case.index();
    case.put_index(&good[..good.len() - 1]);
    let told = findings(&case);
    assert_eq!((told.len(), told[0].severity, &*told[0].file), (1, Severity::Info, ".pillarbox/alice.index"));
    case.put_index(b"");
    assert_eq!(findings(&case).len(), 1);
    case.put_index(&good);
    // Old ones are of no interest.
    case.put(&messages(5));
    assert_eq!(findings(&case), []);
    case.list();
    fool(&case, &messages(5).replacen("Subject: 1", "Subject: 9", 1));
    let told = findings(&case);
    assert_eq!((told.len(), told[0].severity, &*told[0].file), (1, Severity::Warning, ".pillarbox/alice.index"));
    fs::remove_file(case.dir.path().join("alice.mbox")).unwrap();
    let told = findings(&case);
    assert_eq!((told.len(), told[0].severity), (1, Severity::Info));
    assert!(told[0].what.contains("gone"), "{told:?}");
}
