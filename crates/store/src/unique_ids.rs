//! Unique ids: the MD5 of each message's text as it goes on the wire (C-P6), computed on all cores.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{io, thread};

use md5::{Digest, Md5};

use crate::StoreError;
use crate::maildrop::{CHUNK_OCTETS, Passage, Snapshot};
use crate::place::read_at;
use crate::quote::Unquoter;
use crate::scan::{Entry, Identity};

/// Another thread is worth its while if it has so many octets to hash.
const THREAD_MIN_OCTETS: u64 = 128 * 1024;
/// Into how many parts the work of each thread is cut.
const PARTS_OF_A_THREAD: usize = 4;

/// A message's number, and its unique id.
type Numbered = (usize, [u8; 16]);

/// The unique ids of the entries with these numbers; blocks the thread.
///
/// # Errors
/// [`StoreError::Changed`] when one of them is not what was listed.
pub(crate) fn of(mailbox: &Snapshot, entries: &[Entry], numbers: &[usize]) -> Result<Vec<Numbered>, StoreError> {
    let octets: u64 = numbers.iter().map(|number| entries[*number].octets).sum();
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = threads.min(usize::try_from(octets / THREAD_MIN_OCTETS).unwrap_or(usize::MAX)).min(numbers.len());
    if threads < 2 {
        return part(mailbox, entries, numbers);
    }
    // Each thread takes the next part when it is done with one, as messages may differ much in length.
    let parts: Vec<&[usize]> = numbers.chunks(numbers.len().div_ceil(threads * PARTS_OF_A_THREAD)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some(numbers) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.extend(part(mailbox, entries, numbers)?);
        }
        Ok(done)
    };
    let done: Result<Vec<Vec<Numbered>>, StoreError> = thread::scope(|scope| {
        // Those that cannot be started leave their work to the others.
        let start = |_| thread::Builder::new().name("unique ids".to_owned()).spawn_scoped(scope, work).ok();
        let others: Vec<_> = (1..threads).filter_map(start).collect();
        let mut done = vec![work()];
        for other in others {
            let panicked = |_| Err(StoreError::io(&mailbox.path, io::Error::other("a thread has panicked")));
            done.push(other.join().unwrap_or_else(panicked));
        }
        done.into_iter().collect()
    });
    Ok(done?.concat())
}

/// The unique ids of some entries, in any order.
fn part(mailbox: &Snapshot, entries: &[Entry], numbers: &[usize]) -> Result<Vec<Numbered>, StoreError> {
    let (mut stored, mut text) = (Vec::new(), Vec::new());
    let id = |number: &usize| {
        let entry = entries[*number];
        if is_short(&entry) {
            read(mailbox, entry, &mut stored, &mut text)?;
            return Ok((*number, Md5::digest(&text).into()));
        }
        let mut passage = Passage::new(mailbox.clone(), entry);
        let mut md5 = Md5::new();
        while let Some(chunk) = passage.next()? {
            md5.update(&chunk);
        }
        Ok((*number, md5.finalize().into()))
    };
    numbers.iter().map(id).collect()
}

/// Whether a message is read at once.
fn is_short(entry: &Entry) -> bool {
    entry.end - entry.start <= CHUNK_OCTETS as u64
}

/// Reads the text of a short message. The buffers are used again.
fn read(mailbox: &Snapshot, entry: Entry, stored: &mut Vec<u8>, text: &mut Vec<u8>) -> Result<(), StoreError> {
    // It is short.
    let octets = |from: u64, to: u64| usize::try_from(to - from).unwrap_or(0);
    stored.resize(octets(entry.start, entry.end), 0);
    let read = read_at(&mailbox.file, stored, entry.start).map_err(|source| StoreError::io(&mailbox.path, source))?;
    if read < stored.len() || Identity::of(stored) != entry.identity {
        return Err(StoreError::Changed { path: mailbox.path.clone() });
    }
    text.clear();
    let mut unquoter = Unquoter::new();
    unquoter.push(&stored[octets(entry.start, entry.text)..], text);
    unquoter.finish(text);
    Ok(())
}

#[cfg(test)]
#[path = "unique_ids/tests.rs"]
mod tests;
