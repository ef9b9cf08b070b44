//! The index of a mailbox: where which message is, how long it is on the wire, its hash and, once it was asked for, its
//! MD5. It saves reading the mailbox again, and nothing depends on it: see `docs/index.md`.
//!
//! It is read and written under the locks of its mailbox, and never flushed. Each record has a check sum of its own,
//! and counts for one *epoch* of the file: records of an earlier one may be left behind it. The header says which file
//! the records are about, and in which state; it is written after them. An index of another boot or mount does not count,
//! because a power cut may have left any part of it.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::from_line::FROM;
use crate::journal::segment::random;
use crate::locks::Locked;
use crate::place::{Place, QUEUE, read_at};
use crate::scan::{Entry, Identity, scan};
use crate::{StoreError, update};

/// A smaller mailbox has no index: reading it takes as long, and no more calls of the system. Octets. Unit tests have an
/// index for every mailbox.
pub(crate) const INDEX_FROM_OCTETS: u64 = if cfg!(test) { 0 } else { 64 * 1024 };

/// What an index begins with; the digit is its version.
const TITLE: u64 = u64::from_le_bytes(*b"pbindex2");
/// Octets of the header: twelve numbers of 8 octets, the lowest octet first.
const HEADER_OCTETS: usize = 96;
/// Octets of a record.
const RECORD_OCTETS: usize = 64;
/// Octets of a record that its check sum is about; the check sum follows.
const CHECKED_OCTETS: usize = RECORD_OCTETS - 8;
/// Octets of a mailbox with an index, at the most: the places of that many records can be told.
const SIZE_MAX: u64 = u64::MAX / (2 * RECORD_OCTETS as u64);
/// Octets that are read first: the header, and all records of a small mailbox.
const FIRST_READ_OCTETS: usize = HEADER_OCTETS + 64 * RECORD_OCTETS;
/// Ticks of the coarsest clock of a file system are shorter. Seconds.
pub(crate) const COARSE_SECONDS: u64 = 2;
/// How many records are read at once behind that.
const RECORDS_AT_ONCE: usize = 16 * 1024;

/// A unique id, if it is known.
pub(crate) type UniqueId = Option<[u8; 16]>;

/// What says that a file was not changed: which file it is, its size, and when it was changed, in seconds and
/// nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl State {
    pub(crate) fn new(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether a change at `now`, in seconds since 1970, would show in the times. Some file systems count in whole seconds,
    /// or two of them.
    fn is_told_apart(&self, now: u64) -> bool {
        let is_over = |changed: u64| changed.saturating_add(COARSE_SECONDS) < now;
        self.changed.1 != 0 || u64::try_from(self.changed.0).is_ok_and(is_over)
    }

    pub(crate) fn of(mailbox: &Locked) -> Result<Self, StoreError> {
        mailbox.file.metadata().map(|now| Self::new(&now)).map_err(|source| StoreError::io(&mailbox.path, source))
    }
}

/// The messages of a mailbox.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) entries: Arc<[Entry]>,
    /// One for each entry.
    pub(crate) unique_ids: Vec<UniqueId>,
    /// The state that was listed; `None` if somebody who takes no locks changed the mailbox meanwhile, and for a mailbox
    /// that has no index.
    pub(crate) state: Option<State>,
    /// It was not read from the mailbox just now.
    pub(crate) is_remembered: bool,
}

/// Lists a mailbox, by its index as far as that can be trusted, and keeps the index for the next time.
///
/// # Errors
/// Those of reading the mailbox. An index that cannot be read or written is none.
pub(crate) fn list(place: &Place, mailbox: &Locked) -> Result<Listing, StoreError> {
    let state = State::of(mailbox)?;
    let stored = is_wanted(place, state.size).then(|| Stored::open(place, &mailbox.name)).flatten();
    let Some((stored, known)) = stored.and_then(|stored| stored.read().map(|known| (stored, known))) else {
        return list_anew(place, mailbox);
    };
    if stored.header.state == state && begin_with_from_lines(mailbox, &known) {
        if known.entries.last().is_some_and(|last| last.next == state.size) {
            return Ok(known);
        }
        if let Some(listing) = stored.complete(place, mailbox, &known)? {
            return Ok(listing);
        }
    }
    list_whole(place, mailbox, Some(&known))
}

/// Lists a mailbox by reading the whole of it, and makes its index.
///
/// # Errors
/// Those of reading the mailbox.
pub(crate) fn list_anew(place: &Place, mailbox: &Locked) -> Result<Listing, StoreError> {
    list_whole(place, mailbox, None)
}

/// [`list_anew`]; what is `known` of a message counts for each that is the same.
fn list_whole(place: &Place, mailbox: &Locked, known: Option<&Listing>) -> Result<Listing, StoreError> {
    let state = State::of(mailbox)?;
    let entries = update::list_range(mailbox, 0..state.size)?;
    let content = |entry: &Entry| (entry.identity, entry.text - entry.start);
    let known: HashMap<_, _> = known
        .into_iter()
        .flat_map(|known| known.entries.iter().zip(&known.unique_ids))
        .filter_map(|(entry, unique_id)| unique_id.map(|unique_id| (content(entry), unique_id)))
        .collect();
    let unique_ids = entries.iter().map(|entry| known.get(&content(entry)).copied()).collect();
    let mut listing = Listing { entries: entries.into(), unique_ids, state: None, is_remembered: false };
    // A small mailbox is read again where others would be judged by their state.
    if is_wanted(place, state.size) {
        listing.state = is_settled(mailbox, state)?;
        keep(place, &mailbox.name, &listing);
    }
    Ok(listing)
}

/// Adds unique ids to the index, as far as it is about these entries.
pub(crate) fn remember(place: &Place, mailbox: &Locked, entries: &[Entry], unique_ids: &[UniqueId]) {
    let Some(stored) = Stored::open(place, &mailbox.name) else { return };
    let Some(mut listing) = stored.read() else { return };
    if !listing.entries.starts_with(entries) {
        return;
    }
    for (known, unique_id) in listing.unique_ids.iter_mut().zip(unique_ids) {
        *known = known.or(*unique_id);
    }
    let records = records(&listing.entries, &listing.unique_ids, stored.header.epoch);
    if place.files.write_all_at(&stored.file, &stored.path, &records, HEADER_OCTETS as u64).is_err() {
        distrust(place, &mailbox.name);
    }
}

/// Those of the entries of a mailbox that were `doomed` have been removed from it.
pub(crate) fn removed(place: &Place, mailbox: &Locked, before: &Listing, doomed: &[bool]) {
    let Some(state) = state_told_apart(mailbox) else { return distrust(place, &mailbox.name) };
    let Some(first) = doomed.iter().position(|doomed| *doomed) else { return };
    let mut at = before.entries[first].start;
    let moved = before.entries.iter().zip(doomed).skip(first).filter(|(_, doomed)| !**doomed);
    let moved: Vec<Entry> = moved.map(|(entry, _)| moved_to(*entry, &mut at)).collect();
    if at != state.size || !is_wanted(place, state.size) {
        return distrust(place, &mailbox.name);
    }
    if moved.is_empty()
        && let Some(stored) = Stored::open(place, &mailbox.name)
        && Some(stored.header.state) == before.state
    {
        // Only the end is gone.
        let header = Header { state, count: first as u64, ..stored.header };
        if place.files.write_all_at(&stored.file, &stored.path, &header.encode(), 0).is_err() {
            distrust(place, &mailbox.name);
        }
        return;
    }
    let unique_ids = before.unique_ids.iter().zip(doomed).filter(|(_, doomed)| !**doomed);
    let listing = Listing {
        entries: before.entries[..first].iter().copied().chain(moved).collect(),
        unique_ids: unique_ids.map(|(unique_id, _)| *unique_id).collect(),
        state: Some(state),
        is_remembered: true,
    };
    keep(place, &mailbox.name, &listing);
}

/// The index says what is not so, or may: it goes.
pub(crate) fn distrust(place: &Place, name: &str) {
    let path = place.index(name);
    if place.files.exists(&path) {
        let _ = place.files.remove(&path);
    }
}

/// The index of a mailbox that is about to grow, by its header. It is not kept open: there may be very many.
pub(crate) struct Growing(Header);

impl Growing {
    /// `None` if there is no index, or it is not about the mailbox as it is.
    pub(crate) fn new(place: &Place, mailbox: &Locked) -> Option<Self> {
        // The queue is not listed often, and has none.
        let is_wanted = |state: &State| mailbox.name != QUEUE && is_wanted(place, state.size);
        let state = State::of(mailbox).ok().filter(is_wanted)?;
        Stored::open(place, &mailbox.name).map(|stored| stored.header).filter(|header| header.state == state).map(Self)
    }

    /// The mailbox has grown under the same lock, by `grown` where that is here. What is not goes into the index when the
    /// next session has read it.
    pub(crate) fn finish(self, place: &Place, mailbox: &Locked, grown: Option<&[u8]>) {
        let Self(header) = self;
        let Some(stored) = Stored::open(place, &mailbox.name).filter(|stored| stored.header == header) else { return };
        let Some(state) = state_told_apart(mailbox) else { return };
        let is_all = |grown: &&[u8]| header.state.size.checked_add(grown.len() as u64) == Some(state.size);
        if !is_wanted(place, state.size) || state.size < header.state.size || !grown.as_ref().is_none_or(is_all) {
            return;
        }
        // What begins with anything else changes the last entry. And the records must reach up to here.
        let grown = grown.filter(|grown| grown.starts_with(FROM) && stored.end() == Some(header.state.size));
        let entries = grown.and_then(|grown| entries_at(header.state.size, grown)).unwrap_or_default();
        let count = header.count + entries.len() as u64;
        let records = records(&entries, &vec![None; entries.len()], header.epoch);
        let header_now = Header { state, count, ..header };
        let Stored { file, path, .. } = stored;
        let written = place
            .files
            .write_all_at(&file, &path, &records, record_at(header.count))
            .and_then(|()| place.files.write_all_at(&file, &path, &header_now.encode(), 0));
        if written.is_err() {
            distrust(place, &mailbox.name);
        }
    }
}

/// The entries of what stands at the end of a mailbox, from `at` on.
fn entries_at(mut at: u64, grown: &[u8]) -> Option<Vec<Entry>> {
    let scanned = scan(|buffer, offset| {
        let rest = usize::try_from(offset).ok().and_then(|offset| grown.get(offset..)).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    });
    Some(scanned.ok()?.into_iter().map(|entry| moved_to(entry, &mut at)).collect())
}

/// What an index is, looked at without a lock.
#[cfg(feature = "check")]
#[derive(Debug)]
pub(crate) enum Seen {
    /// It is not complete, or not what was written.
    Broken,
    /// It is about another file, another state, another boot or not yet about the whole of it.
    Old,
    /// It is about the mailbox as it is.
    Current(Arc<[Entry]>),
}

/// Looks at the index of a mailbox, if there is one; `mailbox` is what that is now.
///
/// # Errors
/// [`StoreError::Io`].
#[cfg(feature = "check")]
pub(crate) fn look(place: &Place, name: &str, mailbox: Option<&Metadata>) -> Result<Option<Seen>, StoreError> {
    let path = place.index(name);
    let Some(file) = crate::place::open_if_there(&path)? else { return Ok(None) };
    let failed = |source| StoreError::io(&path, source);
    let Some(stored) = Stored::read_begin(file, path.clone()).map_err(failed)? else { return Ok(Some(Seen::Broken)) };
    if Some(stored.header.boot) != this_era(place) || mailbox.map(State::new) != Some(stored.header.state) {
        return Ok(Some(Seen::Old));
    }
    Ok(Some(match stored.read() {
        None => Seen::Broken,
        Some(listing) if listing.entries.last().is_none_or(|last| last.next < stored.header.state.size) => Seen::Old,
        Some(listing) => Seen::Current(listing.entries),
    }))
}

/// An index that is open. Its header is what was written.
struct Stored {
    file: File,
    path: PathBuf,
    header: Header,
    /// The header and the first records, or all that there is.
    begin: Vec<u8>,
}

impl Stored {
    /// The index of a mailbox, if there is one of this boot.
    fn open(place: &Place, name: &str) -> Option<Self> {
        let path = place.index(name);
        let file = place.files.open_ours(&path, true).ok()??;
        Self::read_begin(file, path).ok()?.filter(|stored| Some(stored.header.boot) == this_era(place))
    }

    /// `None` if it does not begin as an index does.
    fn read_begin(file: File, path: PathBuf) -> io::Result<Option<Self>> {
        let mut begin = vec![0; FIRST_READ_OCTETS];
        let read = read_at(&file, &mut begin, 0)?;
        begin.truncate(read);
        let header = begin.first_chunk().and_then(Header::decode);
        Ok(header.map(|header| Self { file, path, header, begin }))
    }

    /// Up to where the records say what is in the mailbox.
    fn end(&self) -> Option<u64> {
        let Header { epoch, count, .. } = self.header;
        let mut record = [0; RECORD_OCTETS];
        let read = read_at(&self.file, &mut record, record_at(count.checked_sub(1)?)).ok()?;
        decode(record.get(..read)?, epoch).map(|(entry, _)| entry.next)
    }

    /// Reads the records: `None` if they are not those that were written. They may not reach up to the end.
    fn read(&self) -> Option<Listing> {
        let Header { epoch, count, state, .. } = self.header;
        let count = usize::try_from(count).ok()?;
        let (mut entries, mut unique_ids) = (Vec::new(), Vec::new());
        let mut buffer = Vec::new();
        while entries.len() < count {
            let octets = (count - entries.len()).min(RECORDS_AT_ONCE) * RECORD_OCTETS;
            let at = record_at(entries.len() as u64);
            let begin = usize::try_from(at).ok().and_then(|at| self.begin.get(at..at.checked_add(octets)?));
            let octets = if let Some(begin) = begin {
                begin
            } else {
                buffer.resize(octets, 0);
                if read_at(&self.file, &mut buffer, at).ok()? < octets {
                    return None;
                }
                &buffer
            };
            for record in octets.chunks_exact(RECORD_OCTETS) {
                let (entry, unique_id) = decode(record, epoch)?;
                if entries.last().is_some_and(|before: &Entry| before.next != entry.start) {
                    return None;
                }
                entries.push(entry);
                unique_ids.push(unique_id);
            }
        }
        // One without records would be about a mailbox of empty lines, which is as soon read.
        if entries.last().is_none_or(|last| last.next > state.size) {
            return None;
        }
        Some(Listing { entries: entries.into(), unique_ids, state: Some(state), is_remembered: true })
    }

    /// A delivery has added to the mailbox what is not `known`: reads its end from the last entry on, which must still be
    /// what it was, and adds it to the index. `None` if it is not.
    fn complete(self, place: &Place, mailbox: &Locked, known: &Listing) -> Result<Option<Listing>, StoreError> {
        let state = self.header.state;
        let Some((last, kept)) = known.entries.split_last() else { return Ok(None) };
        let added = update::list_range(mailbox, last.start..state.size)?;
        let is_same = |first: &Entry| {
            (first.start, first.text, first.octets, first.identity)
                == (last.start, last.text, last.octets, last.identity)
        };
        if !added.first().is_some_and(is_same) {
            return Ok(None);
        }
        let mut unique_ids = known.unique_ids.clone();
        unique_ids.resize(kept.len() + added.len(), None);
        let epoch = self.header.epoch;
        let records = records(&added, &unique_ids[kept.len()..], epoch);
        let settled = is_settled(mailbox, state)?;
        if let Some(state) = settled {
            let header = Header { state, count: unique_ids.len() as u64, ..self.header };
            let files = &place.files;
            let written = files
                .write_all_at(&self.file, &self.path, &records, record_at(kept.len() as u64))
                .and_then(|()| files.write_all_at(&self.file, &self.path, &header.encode(), 0));
            if written.is_err() {
                // A removal must not count records that are left of others.
                distrust(place, &mailbox.name);
            }
        }
        let entries = kept.iter().copied().chain(added).collect();
        Ok(Some(Listing { entries, unique_ids, state: settled, is_remembered: true }))
    }
}

/// Writes the index of a listing, in place of any other.
fn keep(place: &Place, name: &str, listing: &Listing) {
    let Some(state) = listing.state else { return distrust(place, name) };
    if write(place, name, state, listing).is_err() {
        // On a full disk it must not take room.
        distrust(place, name);
    }
}

fn write(place: &Place, name: &str, state: State, listing: &Listing) -> Result<(), StoreError> {
    let path = place.index(name);
    let Some(boot) = this_era(place) else { return Ok(()) };
    let header = Header { boot, epoch: random(), state, count: listing.entries.len() as u64 };
    let octets = with_records(&header.encode(), &listing.entries, &listing.unique_ids, header.epoch);
    let file = match place.files.open_ours(&path, true)? {
        None => place.files.create_new(&path)?,
        Some(file) => file,
    };
    // Records that are left of an earlier epoch do not fit the header.
    place.files.write_all_at(&file, &path, &octets, 0)?;
    let is_longer = file.metadata().is_ok_and(|metadata| metadata.len() > octets.len() as u64);
    if is_longer { place.files.set_len(&file, &path, octets.len() as u64) } else { Ok(()) }
}

/// Whether a mailbox of so many octets has an index.
fn is_wanted(place: &Place, octets: u64) -> bool {
    (1..=SIZE_MAX).contains(&octets) && octets >= place.index_from.load(Ordering::Relaxed)
}

/// The state that was read, if it is still that, and would not be after another change.
fn is_settled(mailbox: &Locked, state: State) -> Result<Option<State>, StoreError> {
    Ok((State::of(mailbox)? == state && state.is_told_apart(now())).then_some(state))
}

/// The state of a mailbox, if it would not be that after another change.
fn state_told_apart(mailbox: &Locked) -> Option<State> {
    State::of(mailbox).ok().filter(|state| state.is_told_apart(now()))
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Whether the first and the last entry begin as they did: a look that costs next to nothing.
fn begin_with_from_lines(mailbox: &Locked, listing: &Listing) -> bool {
    [listing.entries.first(), listing.entries.last()].into_iter().flatten().all(|entry| {
        let mut begin = [0; FROM.len()];
        let mut has_line = || read_at(&mailbox.file, &mut begin, entry.start).is_ok() && begin == *FROM;
        entry.start == entry.text || has_line()
    })
}

/// The entry, if it begins at `at`; which is then where the next one does.
fn moved_to(entry: Entry, at: &mut u64) -> Entry {
    let start = *at;
    let to = |octet: u64| start + (octet - entry.start);
    *at = to(entry.next);
    Entry { start, text: to(entry.text), end: to(entry.end), next: *at, ..entry }
}

/// Where the record with this number begins.
fn record_at(number: u64) -> u64 {
    HEADER_OCTETS as u64 + number * RECORD_OCTETS as u64
}

/// The number of an era; `None` where the system does not say which one it is: then nobody can tell whether the power was
/// cut meanwhile, and no index counts.
fn number_of(era: &str) -> Option<u64> {
    (!era.is_empty()).then(|| xxh3_64(era.as_bytes()))
}

fn this_era(place: &Place) -> Option<u64> {
    number_of(&place.era())
}

/// What the records are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    boot: u64,
    epoch: u64,
    state: State,
    count: u64,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_OCTETS] {
        let State { device, inode, size, modified, changed } = self.state;
        let times = [modified.0, modified.1, changed.0, changed.1].map(i64::cast_unsigned);
        let mut octets = [0; HEADER_OCTETS];
        let numbers = [TITLE, self.boot, self.epoch, device, inode, size].into_iter().chain(times).chain([self.count]);
        for (place, number) in octets.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let check = xxh3_64(&octets[..HEADER_OCTETS - 8]);
        octets[HEADER_OCTETS - 8..].copy_from_slice(&check.to_le_bytes());
        octets
    }

    fn decode(octets: &[u8; HEADER_OCTETS]) -> Option<Self> {
        let number = |index: usize| number_at(octets, index * 8);
        if number(0) != TITLE || number(11) != xxh3_64(&octets[..HEADER_OCTETS - 8]) {
            return None;
        }
        let time = |index: usize| (number(index).cast_signed(), number(index + 1).cast_signed());
        let state = State { device: number(3), inode: number(4), size: number(5), modified: time(6), changed: time(8) };
        // Each entry has an octet at least. So no place of a record is beyond what a number can say.
        let count = number(10);
        (count <= state.size && state.size <= SIZE_MAX).then(|| Self {
            boot: number(1),
            epoch: number(2),
            state,
            count,
        })
    }
}

/// The number in these 8 octets; 0 where there are not so many.
fn number_at(octets: &[u8], at: usize) -> u64 {
    octets.get(at..at + 8).and_then(|octets| octets.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn records(entries: &[Entry], unique_ids: &[UniqueId], epoch: u64) -> Vec<u8> {
    with_records(&[], entries, unique_ids, epoch)
}

/// The records behind what stands in front of them: there may be very many, and they are not copied.
fn with_records(front: &[u8], entries: &[Entry], unique_ids: &[UniqueId], epoch: u64) -> Vec<u8> {
    let mut records = Vec::with_capacity(front.len() + entries.len() * RECORD_OCTETS);
    records.extend_from_slice(front);
    for (entry, unique_id) in entries.iter().zip(unique_ids) {
        let from = records.len();
        for number in [entry.start, entry.next - entry.start, entry.octets, entry.identity.hash] {
            records.extend_from_slice(&number.to_le_bytes());
        }
        records.extend_from_slice(&unique_id.unwrap_or_default());
        // A `From ` line has 4096 octets at the most; the others are 0, 1 or 2.
        let from_line = u16::try_from(entry.text - entry.start).unwrap_or(u16::MAX);
        records.extend_from_slice(&from_line.to_le_bytes());
        let small = |number: u64| u8::try_from(number).unwrap_or(u8::MAX);
        records.push(small(entry.next - entry.end));
        records.push(small(entry.identity.length - (entry.end - entry.start)));
        records.push(u8::from(unique_id.is_some()));
        records.extend_from_slice(&[0; 3]);
        let check = xxh3_64_with_seed(&records[from..], epoch);
        records.extend_from_slice(&check.to_le_bytes());
    }
    records
}

/// An entry and its unique id; `None` if this is no record of the epoch.
fn decode(record: &[u8], epoch: u64) -> Option<(Entry, UniqueId)> {
    let (checked, check) = record.split_at_checked(CHECKED_OCTETS)?;
    if number_at(check, 0) != xxh3_64_with_seed(checked, epoch) {
        return None;
    }
    let unique_id: [u8; 16] = checked.get(32..48)?.try_into().ok()?;
    let small: &[u8; 8] = checked.get(48..56)?.try_into().ok()?;
    let &[from_low, from_high, separator, line_end, flag, ..] = small;
    let start = number_at(checked, 0);
    let next = start.checked_add(number_at(checked, 8))?;
    let text = start.checked_add(u64::from(u16::from_le_bytes([from_low, from_high])))?;
    let end = next.checked_sub(u64::from(separator)).filter(|end| text <= *end)?;
    let length = (end - start).checked_add(u64::from(line_end))?;
    let identity = Identity { hash: number_at(checked, 24), length };
    // Each line end may have got a CR, and the last line a line end.
    let longest = (end - text).checked_mul(2)?.checked_add(2)?;
    let octets = Some(number_at(checked, 16)).filter(|octets| *octets <= longest)?;
    let entry = Entry { start, text, end, next, octets, identity };
    Some((entry, (flag == 1).then_some(unique_id)))
}

#[cfg(test)]
#[path = "index/tests.rs"]
mod tests;
