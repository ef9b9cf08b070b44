//! The UPDATE state: removes messages from a mailbox in place, all or nothing (C-P7).
//!
//! The mailbox keeps its inode, because other programs open it first and wait for its lock then. The states on disk are
//! in `docs/durability.md` under "Removal at QUIT".

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use memchr::memchr;

use crate::StoreError;
use crate::append::{self, file_and_size};
use crate::error::Failed;
use crate::from_line::is_from_line;
use crate::index::{self, Listing, State};
use crate::locks::Locked;
use crate::place::{FileId, Place, read_at};
use crate::redo::{self, Source};
use crate::scan::{Entry, Identifier, Identity, parts, scan_range};
use crate::threads::THREADS;

/// How much of an entry is read at once.
const BLOCK_OCTETS: usize = 256 * 1024;
/// So many messages that are to go are looked at by one core, then as many others.
const PROVED_AT_ONCE: usize = if cfg!(test) { 2 } else { 64 };
/// A mailbox is listed in parts of so many octets, side by side.
const PART_OCTETS: u64 = if cfg!(test) { 1024 } else { 8 * 1024 * 1024 };

/// Removes those entries of `listed` whose indices are in `delete`. What has come since stays.
///
/// # Errors
/// [`StoreError::Changed`] when one of them is no longer there. On an error before the commit point nothing is removed;
/// on one behind it the next one to lock the mailbox finishes.
pub(crate) fn remove(
    place: &Place,
    mailbox: &mut Locked,
    listed: &Listing,
    delete: &[usize],
) -> Result<(), StoreError> {
    let is_unchanged = listed.state == Some(State::of(mailbox)?);
    let mut current =
        if is_unchanged { Listing { is_remembered: true, ..listed.clone() } } else { index::list(place, mailbox)? };
    let mut doomed = find(&listed.entries, delete, &current.entries);
    let is_proved = |doomed: &[bool]| prove(mailbox, &current.entries, doomed);
    if current.is_remembered && !doomed.as_deref().map_or(Ok(false), is_proved)? {
        // It is not there as it was, whatever the times of the file say.
        current = index::list_anew(place, mailbox)?;
        doomed = find(&listed.entries, delete, &current.entries);
    }
    let Some(doomed) = doomed else {
        return Err(StoreError::Changed { path: mailbox.path.clone() });
    };
    let entries = &*current.entries;
    let Some(first) = doomed.iter().position(|doomed| *doomed) else { return Ok(()) };
    let gap = entries[first].start;
    let (id, size) = file_and_size(mailbox)?;
    if entries.last().is_none_or(|last| last.next != size) {
        // Somebody who takes no locks is writing at this moment.
        return Err(StoreError::Changed { path: mailbox.path.clone() });
    }
    let kept = kept_ranges(&entries[first..], &doomed[first..]);
    let (file, path) = (Arc::clone(&mailbox.file), mailbox.path.clone());
    let part = |range| Source::Part { file: &file, path: &path, range };
    rewrite(place, mailbox, (id, size), gap, &kept.into_iter().map(part).collect::<Vec<_>>())?;
    index::removed(place, mailbox, &current, &doomed);
    Ok(())
}

/// Whether those that are to go are what was listed, octet for octet as far as a hash tells, and are entries where they
/// stand: each begins a line, and behind it are its separator and the `From ` line of the next one, or nothing. Reads
/// nothing else.
fn prove(mailbox: &Locked, entries: &[Entry], doomed: &[bool]) -> Result<bool, StoreError> {
    let doomed: Vec<usize> = (0..entries.len()).filter(|index| doomed[*index]).collect();
    let runs: Vec<&[usize]> = doomed.chunks(PROVED_AT_ONCE).collect();
    let next = AtomicUsize::new(0);
    let is_wrong = AtomicBool::new(false);
    let work = || {
        let mut block = Vec::new();
        while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
            for index in *run {
                if is_wrong.load(Ordering::Relaxed) || !prove_one(mailbox, entries, *index, &mut block)? {
                    is_wrong.store(true, Ordering::Relaxed);
                    return Ok(());
                }
            }
        }
        Ok(())
    };
    THREADS.on_all_cores(&mailbox.path, runs.len(), work)?;
    Ok(!is_wrong.into_inner())
}

/// [`prove`] for one of them. The block is used again.
fn prove_one(mailbox: &Locked, entries: &[Entry], index: usize, block: &mut Vec<u8>) -> Result<bool, StoreError> {
    let entry = &entries[index];
    let before = u64::from(entry.start > 0);
    let from_line = entries.get(index + 1).map_or(0, |next| next.text - next.start);
    let end = entry.next + from_line;
    let mut identifier = Identifier::new();
    // The separator and the `From ` line behind it.
    let mut behind = Vec::new();
    let mut at = entry.start - before;
    while at < end {
        let want = usize::try_from(end - at).map_or(BLOCK_OCTETS, |left| left.min(BLOCK_OCTETS));
        block.resize(want, 0);
        let read = read_at(&mailbox.file, block, at).map_err(|source| StoreError::io(&mailbox.path, source))?;
        if read < want {
            return Ok(false);
        }
        let within = |end: u64| usize::try_from(end.saturating_sub(at)).map_or(want, |octets| octets.min(want));
        if at < entry.start && block.first() != Some(&b'\n') {
            return Ok(false);
        }
        identifier.push(&block[within(entry.start)..within(entry.end)]);
        behind.extend_from_slice(&block[within(entry.end)..]);
        at += want as u64;
    }
    let separator = usize::try_from(entry.next - entry.end).unwrap_or(usize::MAX);
    let Some((separator, from_line)) = behind.split_at_checked(separator) else { return Ok(false) };
    // One without an end, at the end of the file, proves nothing: that costs another listing.
    let is_one_line = memchr(b'\n', from_line) == from_line.len().checked_sub(1);
    let is_followed = index + 1 == entries.len() || is_one_line && is_from_line(from_line);
    Ok(matches!(separator, b"" | b"\n" | b"\r\n") && is_followed && identifier.finish() == entry.identity)
}

/// Replaces everything behind `gap`, in place and all or nothing.
///
/// # Errors
/// As [`remove`].
pub(crate) fn rewrite(
    place: &Place,
    mailbox: &mut Locked,
    file_and_size: (FileId, u64),
    gap: u64,
    tail: &[Source<'_>],
) -> Result<(), StoreError> {
    // Or else a recovery would take what goes now for something that was lost.
    if let Err(error) = place.journal.settle(place, mailbox) {
        place.journal.make_room_for(place, error)?;
        place.journal.settle(place, mailbox)?;
    }
    if tail.is_empty() {
        return match append::cut(place, mailbox, gap) {
            Err(Failed::Undone(StoreError::Full { .. })) => {
                place.journal.make_room(place);
                match append::cut(place, mailbox, gap) {
                    // On a full disk removing mail is what makes room. Without a record, a power cut at this moment can
                    // leave zeros where the first block of it was.
                    Err(Failed::Undone(StoreError::Full { .. })) => append::cut_back(place, mailbox, gap),
                    result => result.map_err(StoreError::from),
                }
            }
            result => result.map_err(StoreError::from),
        };
    }
    rewrite_settled(place, mailbox, file_and_size, gap, tail)
}

/// [`rewrite`], where the journal has been looked after.
///
/// # Errors
/// As [`remove`].
pub(crate) fn rewrite_settled(
    place: &Place,
    mailbox: &mut Locked,
    (id, size): (FileId, u64),
    gap: u64,
    tail: &[Source<'_>],
) -> Result<(), StoreError> {
    let record = redo::decide(place, mailbox, id, size, gap, tail)?;
    redo::finish(place, mailbox, &record)?;
    THREADS.drop_aside(record);
    Ok(())
}

/// Lists the entries of a mailbox. Reads the whole of it.
pub(crate) fn list(mailbox: &Locked) -> Result<Vec<Entry>, StoreError> {
    let (_, size) = file_and_size(mailbox)?;
    list_range(mailbox, 0..size)
}

/// [`list`] of a part of a mailbox that begins where an entry does.
pub(crate) fn list_range(mailbox: &Locked, range: Range<u64>) -> Result<Vec<Entry>, StoreError> {
    let count = range.end.saturating_sub(range.start) / PART_OCTETS;
    let failed = |source| StoreError::io(&mailbox.path, source);
    let read_at = |buffer: &mut [u8], offset| read_at(&mailbox.file, buffer, offset);
    let parts = parts(range, count, read_at).map_err(failed)?;
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(part) = parts.get(number) else { return Ok(done) };
            done.push((number, scan_range(part.clone(), read_at).map_err(failed)?));
        }
    };
    let mut done: Vec<_> = THREADS.on_all_cores(&mailbox.path, parts.len(), work)?.into_iter().flatten().collect();
    done.sort_unstable_by_key(|(number, _)| *number);
    let starts = parts.iter().map(|part| part.start);
    Ok(joined(starts.zip(done.into_iter().map(|(_, entries)| entries)).collect()))
}

/// The entries of all parts, each with where it begins. If somebody who takes no locks has cut the file while a part was
/// read, they end there, as they do when the file is read in one go; even if it has grown again behind that.
fn joined(parts: Vec<(u64, Vec<Entry>)>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::with_capacity(parts.iter().map(|(_, entries)| entries.len()).sum());
    for (start, part) in parts {
        if entries.last().is_some_and(|last| last.next != start) {
            break;
        }
        entries.extend(part);
    }
    entries
}

/// Which of `current` are to go: for each to be deleted, one that is the same. If there are fewer of the same than were
/// listed, nobody can say which one has gone already. Otherwise the first of them is the first that was listed, and so
/// on: what a hash takes for the same need not be.
fn find(listed: &[Entry], delete: &[usize], current: &[Entry]) -> Option<Vec<bool>> {
    let mut chosen = vec![false; listed.len()];
    for &index in delete {
        *chosen.get_mut(index)? = true;
    }
    if current.starts_with(listed) {
        // Mail has come, perhaps, and nothing else.
        chosen.resize(current.len(), false);
        return Some(chosen);
    }
    // How many of the same there are, and which of them are to go.
    let mut sames: HashMap<Identity, usize> = HashMap::new();
    let mut doomed = HashSet::new();
    for (entry, chosen) in listed.iter().zip(chosen) {
        let number = sames.entry(entry.identity).or_default();
        if chosen {
            doomed.insert((entry.identity, *number));
        }
        *number += 1;
    }
    let mut found: HashMap<Identity, usize> = HashMap::new();
    let mut is_doomed = |entry: &Entry| {
        let number = found.entry(entry.identity).or_default();
        *number += 1;
        doomed.contains(&(entry.identity, *number - 1))
    };
    let are_doomed = current.iter().map(&mut is_doomed).collect();
    let are_there = |(identity, _): &(Identity, usize)| found.get(identity) >= sames.get(identity);
    doomed.iter().all(are_there).then_some(are_doomed)
}

/// What of the file stays, neighbours joined.
fn kept_ranges(entries: &[Entry], doomed: &[bool]) -> Vec<Range<u64>> {
    let mut kept: Vec<Range<u64>> = Vec::new();
    for (entry, _) in entries.iter().zip(doomed).filter(|(_, doomed)| !**doomed) {
        match kept.last_mut() {
            Some(range) if range.end == entry.start => range.end = entry.next,
            _ => kept.push(entry.start..entry.next),
        }
    }
    kept
}

#[cfg(test)]
#[path = "update/tests.rs"]
mod tests;
