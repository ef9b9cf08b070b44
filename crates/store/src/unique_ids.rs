//! Unique ids: the MD5 of each message's text as it goes on the wire (C-P6), computed on all cores.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use md5::{Digest, Md5};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::maildrop::{CHUNK_OCTETS, Passage, Snapshot};
use crate::place::read_at;
use crate::quote::Unquoter;
use crate::scan::{Entry, Identity};
use crate::threads::THREADS;
use crate::{StoreError, md5x4};

/// Another thread is worth its while if it has so many octets to hash.
const THREAD_MIN_OCTETS: u64 = 128 * 1024;
/// Into how many runs the work is cut, if there are so many messages.
const RUNS_MIN: usize = 32;
/// Messages of a run, at the most. They are read together where they stand together, as far as a chunk goes.
const RUN_MAX_MESSAGES: usize = 16;

/// Octets of the messages behind those that were asked for whose unique ids are computed with them, at the most.
const AHEAD_MAX_OCTETS: u64 = 32 * 1024 * 1024;

/// So many sessions compute unique ids at once, each with a thread and the texts that it hashes; the others wait.
const COMPUTING_MAX: usize = 16;

static COMPUTING: Semaphore = Semaphore::const_new(COMPUTING_MAX);

/// The right to compute unique ids, when it is this session's turn.
pub(crate) async fn turn() -> Option<SemaphorePermit<'static>> {
    // It is never closed.
    COMPUTING.acquire().await.ok()
}

/// A message's number, and its unique id.
type Numbered = (usize, [u8; 16]);

/// The numbers of the messages whose unique ids are to be computed when those of `range` are asked for: of these each that
/// `is_missing`. Who asks for more than one asks for all, a part at a time, and more at once keep all cores busy: so those
/// behind them come with them, as far as [`AHEAD_MAX_OCTETS`] go.
pub(crate) fn to_compute(range: Range<usize>, octets: &[u64], is_missing: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut numbers: Vec<usize> = range.clone().filter(|number| is_missing(*number)).collect();
    if !numbers.is_empty() && range.len() > 1 {
        let mut ahead = 0;
        let is_near = |number: &usize| {
            ahead += octets[*number];
            ahead <= AHEAD_MAX_OCTETS
        };
        numbers.extend((range.end..octets.len()).filter(|number| is_missing(*number)).take_while(is_near));
    }
    numbers
}

/// The unique ids of the entries with these numbers; blocks the thread.
///
/// # Errors
/// [`StoreError::Changed`] when one of them is not what was listed.
pub(crate) fn of(mailbox: &Snapshot, entries: &[Entry], numbers: &[usize]) -> Result<Vec<Numbered>, StoreError> {
    let octets: u64 = numbers.iter().map(|number| entries[*number].octets).sum();
    let threads = usize::try_from(octets / THREAD_MIN_OCTETS).unwrap_or(usize::MAX);
    // Each thread takes the next run when it has none left, as messages may differ much in length.
    let run = (numbers.len() / RUNS_MIN).clamp(1, RUN_MAX_MESSAGES);
    let runs: Vec<&[usize]> = numbers.chunks(run).collect();
    let next = AtomicUsize::new(0);
    let work = || hash(mailbox, entries, || runs.get(next.fetch_add(1, Ordering::Relaxed)).copied());
    THREADS.on_all_cores(&mailbox.path, threads.min(runs.len()), work).map(|done| done.concat())
}

/// The unique ids of the entries of some runs, in any order. Short texts are hashed several at once.
fn hash<'a>(
    mailbox: &Snapshot,
    entries: &[Entry],
    mut next_run: impl FnMut() -> Option<&'a [usize]>,
) -> Result<Vec<Numbered>, StoreError> {
    let mut run: &[usize] = &[];
    let mut long = Vec::new();
    let mut block = Block::default();
    let next = |text: &mut Vec<u8>| loop {
        let Some((&number, rest)) = run.split_first() else {
            match next_run() {
                Some(next) => run = next,
                None => return Ok(None),
            }
            continue;
        };
        let entry = &entries[number];
        if is_short(entry) {
            let stored = block.read(mailbox, entries, run)?;
            if Identity::of(stored) != entry.identity {
                return Err(StoreError::Changed { path: mailbox.path.clone() });
            }
            let mut unquoter = Unquoter::new();
            unquoter.push(&stored[octets(entry.start, entry.text)..], text);
            unquoter.finish(text);
            run = rest;
            return Ok(Some(number));
        }
        let mut passage = Passage::new(mailbox.clone(), *entry);
        let mut md5 = Md5::new();
        while let Some(chunk) = passage.next()? {
            md5.update(&chunk);
        }
        long.push((number, md5.finalize().into()));
        run = rest;
    };
    let mut done = md5x4::of_each(next)?;
    done.append(&mut long);
    Ok(done)
}

/// Whether a message is read at once.
fn is_short(entry: &Entry) -> bool {
    entry.end - entry.start <= CHUNK_OCTETS as u64
}

/// How many octets are from here to there, within a chunk.
fn octets(from: u64, to: u64) -> usize {
    usize::try_from(to - from).unwrap_or(usize::MAX)
}

/// What was read of the mailbox last: a message, and those behind it that are wanted as well.
#[derive(Default)]
struct Block {
    octets: Vec<u8>,
    start: u64,
    end: u64,
}

impl Block {
    /// The first of these messages, which is short, as it is stored.
    fn read(&mut self, mailbox: &Snapshot, entries: &[Entry], run: &[usize]) -> Result<&[u8], StoreError> {
        let first = &entries[run[0]];
        if first.start < self.start || self.end < first.end {
            let stand_together = run.iter().zip(run[0]..).take_while(|(number, next)| *number == next);
            let ends = stand_together.map(|(number, _)| entries[*number].end);
            let end = ends.take_while(|end| end - first.start <= CHUNK_OCTETS as u64).last().unwrap_or(first.end);
            (self.start, self.end) = (first.start, end);
            self.octets.resize(octets(first.start, end), 0);
            let read = read_at(&mailbox.file, &mut self.octets, first.start)
                .map_err(|source| StoreError::io(&mailbox.path, source))?;
            if read < self.octets.len() {
                return Err(StoreError::Changed { path: mailbox.path.clone() });
            }
        }
        Ok(&self.octets[octets(self.start, first.start)..octets(self.start, first.end)])
    }
}

#[cfg(test)]
#[path = "unique_ids/tests.rs"]
mod tests;
