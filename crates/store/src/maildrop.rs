//! A maildrop: the snapshot that a POP3 session lists, reads from and removes from.
//!
//! The mailbox is locked while it is listed and while messages are removed, not in between: deliveries go on. The file
//! stays open, and whatever is read from it must prove to be what was listed.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::index::{self, Listing};
use crate::locks::{self, Locked, OpenMailbox, Session, with_mailboxes};
use crate::place::{Place, read_at, read_cached_at};
use crate::quote::Unquoter;
use crate::scan::{Entry, Identifier};
use crate::{Maildrop, StoreError, TextReader, blocking, recover, unique_ids, update};

/// How much of a message is read at once: without another thread if it is in memory, as that takes less time than waking one.
pub(crate) const CHUNK_OCTETS: usize = 64 * 1024;

/// A mailbox while one POP3 session holds it. Dropping it unlocks and deletes nothing.
#[derive(Debug)]
pub struct MboxMaildrop {
    place: Arc<Place>,
    name: String,
    lock_timeout: Duration,
    mailbox: Snapshot,
    listing: Listing,
    octets: Vec<u64>,
    /// So many unique ids are not known yet.
    unknown: usize,
    /// Last, so that the next session begins when this one is over.
    session: Session,
}

/// The file that was listed.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) file: Arc<OpenMailbox>,
    pub(crate) path: PathBuf,
}

impl MboxMaildrop {
    /// Takes the session lock, then the mailbox for as long as listing it takes.
    pub(crate) async fn open(place: Arc<Place>, name: String, lock_timeout: Duration) -> Result<Self, StoreError> {
        let (session, listed) = blocking(&place.dir, {
            let (place, name) = (Arc::clone(&place), name.clone());
            move || {
                if !place.inspect(&name)? {
                    return Err(StoreError::NoSuchMailbox { name });
                }
                let session = Session::try_new(&place, &name)?;
                // In most cases it can be had at once, and nothing need wait for another job.
                let listed = lock_repaired(&place, &name)?.map(|mailbox| list(&place, &mailbox)).transpose()?;
                Ok((session, listed))
            }
        })
        .await?;
        let (mailbox, listing) = match listed {
            Some(listed) => listed,
            None => {
                let names = [name.clone()];
                let ours = Arc::clone(&place);
                let list_all = move |locked: &mut [Locked]| {
                    let listed = locked.iter().map(|mailbox| list(&ours, mailbox)).collect::<Result<Vec<_>, _>>()?;
                    listed.into_iter().next().ok_or(StoreError::NoSuchMailbox { name: String::new() })
                };
                with_mailboxes(&place, &names, lock_timeout, list_all).await?
            }
        };
        Ok(Self {
            place,
            name,
            lock_timeout,
            mailbox,
            octets: listing.entries.iter().map(|entry| entry.octets).collect(),
            unknown: listing.unique_ids.iter().filter(|id| id.is_none()).count(),
            listing,
            session,
        })
    }

    /// All unique ids are known: puts them into the index, if the mailbox can be had now.
    async fn remember(&self) -> Result<(), StoreError> {
        let (place, name, listing) = (Arc::clone(&self.place), self.name.clone(), self.listing.clone());
        blocking(&self.mailbox.path, move || {
            if let Some(mailbox) = lock_repaired(&place, &name)? {
                index::remember(&place, &mailbox, &listing.entries, &listing.unique_ids);
            }
            Ok(())
        })
        .await
    }
}

impl Maildrop for MboxMaildrop {
    type Reader = MboxReader;

    fn octets(&self) -> &[u64] {
        &self.octets
    }

    async fn unique_ids(&mut self, range: Range<usize>) -> Result<Vec<[u8; 16]>, StoreError> {
        let is_missing = |index: usize| self.listing.unique_ids[index].is_none();
        let missing = unique_ids::to_compute(range.clone(), &self.octets, is_missing);
        if !missing.is_empty() {
            let (place, name) = (Arc::clone(&self.place), self.name.clone());
            let (mailbox, entries) = (self.mailbox.clone(), Arc::clone(&self.listing.entries));
            let turn = unique_ids::turn().await;
            let computed = blocking(&self.mailbox.path, move || {
                // Also if nobody waits for it any more.
                let _turn = turn;
                unique_ids::of(&mailbox, &entries, &missing).inspect_err(|error| distrust(&place, &name, error))
            });
            for (index, id) in computed.await? {
                self.listing.unique_ids[index] = Some(id);
                self.unknown -= 1;
            }
            if self.unknown == 0 {
                // Without it the next session computes them again.
                let _ = self.remember().await;
            }
        }
        // All of them are there now.
        Ok(self.listing.unique_ids[range].iter().copied().flatten().collect())
    }

    /// # Panics
    /// If there is no message with this index.
    fn read(&self, index: usize) -> MboxReader {
        MboxReader {
            place: Arc::clone(&self.place),
            name: self.name.clone(),
            state: State::Reading(Box::new(Passage::new(self.mailbox.clone(), self.listing.entries[index]))),
        }
    }

    async fn commit(self, delete: &[usize]) -> Result<(), StoreError> {
        if delete.is_empty() {
            return Ok(());
        }
        let delete = delete.to_vec();
        // The job has the session as well: if nobody waits for it any more, it is still the only one.
        let (place, session, listing) = (Arc::clone(&self.place), self.session, self.listing);
        with_mailboxes(&self.place, &[self.name], self.lock_timeout, move |locked| {
            for mailbox in &*locked {
                if !session.is_at_its_path(&place, &mailbox.name)? {
                    let what = "the lock of the session was removed; nothing was deleted";
                    return Err(StoreError::io(&place.session(&mailbox.name), io::Error::other(what)));
                }
            }
            locked.iter_mut().try_for_each(|mailbox| update::remove(&place, mailbox, &listing, &delete))
        })
        .await
    }
}

/// Reads one message.
#[derive(Debug)]
pub struct MboxReader {
    place: Arc<Place>,
    name: String,
    state: State,
}

#[derive(Debug)]
enum State {
    Reading(Box<Passage>),
    /// The last chunk has been given out.
    Complete,
    /// An error was given out, or a read was dropped before it was ready.
    Failed,
}

impl TextReader for MboxReader {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let mut passage = match std::mem::replace(&mut self.state, State::Failed) {
            State::Reading(passage) => passage,
            State::Complete => {
                self.state = State::Complete;
                return Ok(None);
            }
            State::Failed => {
                let source = io::Error::other("an earlier part of the message was lost");
                return Err(StoreError::Io { path: self.place.mailbox(&self.name), source });
            }
        };
        let chunk = match passage.next_if_cached(read_cached_at) {
            Some(Ok(chunk)) => chunk,
            // To read what is not in memory takes its time, and so does to say what has changed.
            otherwise => {
                let (place, name) = (Arc::clone(&self.place), self.name.clone());
                let read = move || {
                    let chunk = otherwise.unwrap_or_else(|| passage.next());
                    Ok((chunk.inspect_err(|error| distrust(&place, &name, error))?, passage))
                };
                let (chunk, read) = blocking(&self.place.dir, read).await?;
                passage = read;
                chunk
            }
        };
        self.state = if passage.is_complete { State::Complete } else { State::Reading(passage) };
        Ok(chunk)
    }
}

/// One message on its way from the file to the wire.
pub(crate) struct Passage {
    mailbox: Snapshot,
    entry: Entry,
    /// Up to where the file has been read.
    at: u64,
    identifier: Option<Identifier>,
    unquoter: Option<Unquoter>,
    /// The last chunk so far: it only goes out when there is another, or when all has proved right.
    held: Vec<u8>,
    is_complete: bool,
}

impl Passage {
    /// Nothing read yet.
    pub(crate) fn new(mailbox: Snapshot, entry: Entry) -> Self {
        Self {
            mailbox,
            entry,
            at: entry.start,
            identifier: Some(Identifier::new()),
            unquoter: Some(Unquoter::new()),
            held: Vec::new(),
            is_complete: false,
        }
    }

    /// The next chunk; blocks the thread.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        self.next_by(read_at)
    }

    /// The next chunk if it is in memory, as `read_at` finds out; `None` if it is not, and is to be read by [`Passage::next`].
    /// Blocks for no longer than it takes to copy and hash two chunks: the last one so far is held.
    fn next_if_cached(
        &mut self,
        read_at: impl FnMut(&File, &mut [u8], u64) -> io::Result<usize>,
    ) -> Option<Result<Option<Vec<u8>>, StoreError>> {
        match self.next_by(read_at) {
            // What was read before it is kept: the next read goes on there.
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::WouldBlock => None,
            result => Some(result),
        }
    }

    fn next_by(
        &mut self,
        mut read_at: impl FnMut(&File, &mut [u8], u64) -> io::Result<usize>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let (Some(identifier), Some(unquoter)) = (&mut self.identifier, &mut self.unquoter) else { return Ok(None) };
        let path: &Path = &self.mailbox.path;
        let left = usize::try_from(self.entry.end - self.at).unwrap_or(CHUNK_OCTETS);
        let mut block = vec![0; left.min(CHUNK_OCTETS)];
        while self.at < self.entry.end {
            let want = usize::try_from(self.entry.end - self.at).map_or(CHUNK_OCTETS, |left| left.min(CHUNK_OCTETS));
            let read = read_at(&self.mailbox.file, &mut block[..want], self.at)
                .map_err(|source| StoreError::io(path, source))?;
            if read < want {
                return Err(StoreError::Changed { path: path.to_owned() });
            }
            identifier.push(&block[..read]);
            // The `From ` line goes through the hash alone, in front of the text.
            let from_line =
                usize::try_from(self.entry.text.saturating_sub(self.at)).map_or(read, |line| line.min(read));
            self.at += read as u64;
            let mut chunk = Vec::with_capacity(read + read / 16);
            unquoter.push(&block[from_line..read], &mut chunk);
            if self.held.is_empty() {
                self.held = chunk;
            } else if !chunk.is_empty() {
                return Ok(Some(std::mem::replace(&mut self.held, chunk)));
            }
        }
        self.is_complete = true;
        if let Some(unquoter) = self.unquoter.take() {
            unquoter.finish(&mut self.held);
        }
        if self.identifier.take().map(Identifier::finish) != Some(self.entry.identity) {
            return Err(StoreError::Changed { path: path.to_owned() });
        }
        let last = std::mem::take(&mut self.held);
        Ok((!last.is_empty()).then_some(last))
    }
}

impl std::fmt::Debug for Passage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passage").field("entry", &self.entry).field("at", &self.at).finish_non_exhaustive()
    }
}

/// Locks a mailbox, if it can be had now, and repairs it.
fn lock_repaired(place: &Arc<Place>, name: &str) -> Result<Option<Locked>, StoreError> {
    let Some(mut mailbox) = locks::lock_now(place, name)? else { return Ok(None) };
    let busy = recover::repair(place, std::slice::from_mut(&mut mailbox))?;
    Ok(busy.is_none().then_some(mailbox))
}

fn list(place: &Place, mailbox: &Locked) -> Result<(Snapshot, Listing), StoreError> {
    let snapshot = Snapshot { file: Arc::clone(&mailbox.file), path: mailbox.path.clone() };
    Ok((snapshot, index::list(place, mailbox)?))
}

/// What was listed is no longer there: the next session must not list it again.
fn distrust(place: &Place, name: &str, error: &StoreError) {
    if matches!(error, StoreError::Changed { .. }) {
        index::distrust(place, name);
    }
}

#[cfg(test)]
#[path = "maildrop/tests.rs"]
mod tests;
