//! One file of a journal, `.pillarbox/journal/PID-N`.
//!
//! Three octets of it are locked on their own, whatever stands there. Its writer locks the first for as long as it
//! lives; so a segment whose first octet is free needs recovery. Whoever recovers it locks the second. Whoever writes a
//! record locks the third meanwhile: also other processes write one kind of record, [`Record::Settled`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::record::{HEADER_OCTETS, Header, Record};
use crate::StoreError;
use crate::error::Failed;
use crate::files::is_not_ours;
use crate::locks::{Locked, OpenMailbox, Part, is_locked, try_lock_part, unlock};
use crate::place::{FileId, Place, open_if_there, read_at};

const OWNER: Part = Part { at: 0, octets: 1 };
const RECOVERY: Part = Part { at: 1, octets: 1 };
const WRITING: Part = Part { at: 2, octets: 1 };

/// Longest wait for another process that writes a record; that takes one flush.
const WRITING_TIMEOUT: Duration = Duration::from_secs(10);
/// No segment is as long: it is full much earlier, and only what is being written then comes behind.
const READ_MAX_OCTETS: u64 = 16 * super::SEGMENT_MAX_OCTETS;
/// Behind the records zeros are written, at least so many octets: then the next records only overwrite, and a flush of
/// them commits neither where the file ends nor where its blocks are. Few in tests, which look at each write.
const AHEAD_MIN_OCTETS: u64 = if cfg!(test) { 4 * 1024 } else { 64 * 1024 };
/// An idle segment keeps what the next record needs: it would have to be written again before a client is answered.
pub(crate) const IDLE_OCTETS: u64 = HEADER_OCTETS as u64 + AHEAD_MIN_OCTETS;
/// At most so many at once; between the two, as many as there are.
const AHEAD_MAX_OCTETS: u64 = if cfg!(test) { 16 * 1024 } else { 1024 * 1024 };
/// So much room is kept behind the records for each who is delivering or removing: on a full disk too it must be possible to
/// say what became of it. Two records of 40 octets do, and a mailbox that somebody else settles has one of 100 at the most.
const RESERVE_OCTETS: usize = 256;
/// Between two tries to get the lock.
const WRITING_RETRY: Duration = Duration::from_millis(1);

/// Whether what was written in this era is all that the system had been told, flushed or not. Where it does not say which
/// one it is, the power may have been cut meanwhile.
pub(crate) fn is_of_era(header: &Header, era: &str) -> bool {
    !era.is_empty() && header.boot == era
}

/// A segment that this process writes to. It is given up when dropped, and then looks like one of a dead process.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    file: File,
    /// One at a time, in front of `state`: of two, one would hear of a failure, and the other would go on before that is
    /// known.
    flushing: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    seed: u64,
    /// Where the next record goes.
    end: u64,
    /// Up to here it is durable.
    flushed: u64,
    /// No flush of it has failed.
    is_trusted: bool,
    /// Others recover it: what is written now might not be seen by them.
    is_given_up: bool,
    /// Deliveries under way.
    users: usize,
    /// The mailboxes that are not flushed yet, as they are open.
    unflushed: HashMap<(String, FileId), Unflushed>,
    /// The mailboxes that records are about which a recovery would do again.
    names: HashSet<String>,
}

/// A mailbox that has grown.
#[derive(Debug)]
struct Unflushed {
    path: PathBuf,
    file: Arc<OpenMailbox>,
    /// Its size.
    end: u64,
}

impl Segment {
    /// Makes a segment, durably.
    pub(crate) fn create(place: &Place) -> Result<Self, StoreError> {
        // Whoever sees it under its name sees that its writer lives.
        let (written, path) = (place.unique(&place.segments, "new-"), place.unique(&place.segments, ""));
        let file = place.files.create_new(&written)?;
        let seed = random();
        let header = Header { boot: place.era(), seed };
        let made = try_lock_part(&file, &written, OWNER)
            .and_then(|_| place.files.write_all_at(&file, &written, &header.encode(), 0))
            .map(|()| write_ahead(place, &file, &written, HEADER_OCTETS as u64, HEADER_OCTETS as u64))
            .and_then(|()| place.files.sync_all(&file, &written))
            .and_then(|()| place.files.rename(&written, &path))
            .and_then(|()| place.sync_segments())
            // Whoever made the folder may have died before its name was durable.
            .and_then(|()| place.sync_side());
        if let Err(error) = made {
            // What stays says nothing, and the next start removes it.
            let _ = place.files.remove(&written);
            let _ = place.files.remove(&path);
            return Err(error);
        }
        let state = State {
            seed,
            end: HEADER_OCTETS as u64,
            flushed: HEADER_OCTETS as u64,
            is_trusted: true,
            is_given_up: false,
            users: 0,
            unflushed: HashMap::new(),
            names: HashSet::new(),
        };
        Ok(Self { path, file, flushing: Mutex::new(()), state: Mutex::new(state) })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Octets of header and records.
    pub(crate) fn octets(&self) -> u64 {
        self.state().end
    }

    /// Octets of the file: so far space has been written, by whomever.
    pub(crate) fn space(&self) -> Result<u64, StoreError> {
        Ok(self.file.metadata().map_err(|source| StoreError::io(&self.path, source))?.len())
    }

    /// How many mailboxes wait to be flushed.
    pub(crate) fn unflushed(&self) -> usize {
        self.state().unflushed.len()
    }

    /// Whether there is anything a recovery would do.
    pub(crate) fn is_settled(&self) -> bool {
        self.state().names.is_empty()
    }

    pub(crate) fn enter(&self) {
        self.state().users += 1;
    }

    pub(crate) fn leave(&self) {
        self.state().users -= 1;
    }

    pub(crate) fn is_in_use(&self) -> bool {
        self.state().users > 0
    }

    /// Writes records behind the others; says where they are. Not durable before [`Segment::sync`]. Behind what is to be
    /// done there is room then for the records that say that it was done, or undone.
    ///
    /// # Errors
    /// What is [`Failed::Left`] may have come in, all of it or some of the records. The segment is not trusted then.
    pub(crate) fn append(&self, place: &Place, records: &[Record]) -> Result<Range<u64>, Failed> {
        let mut state = self.state();
        self.check_given_up(&state)?;
        let mut octets = Vec::new();
        records.iter().for_each(|record| record.encode(state.seed, &mut octets));
        let _writing = Writing::take(&self.file, &self.path)?;
        let at = end_of_records(&self.file, &self.path, state.seed, state.end)?;
        let space = self.space()?;
        let end = at + octets.len() as u64;
        if records.iter().any(Record::is_to_be_done) {
            let reserve = RESERVE_OCTETS * state.users.max(1);
            if end + reserve as u64 > space {
                // Zeros are no record.
                octets.resize(octets.len() + reserve, 0);
            }
        }
        if let Err(error) = place.files.write_all_at(&self.file, &self.path, &octets, at) {
            // Some of several records may be whole, and count. The room that others rely on stays.
            let kept = usize::try_from(space.saturating_sub(at)).map_or(octets.len(), |room| room.min(octets.len()));
            octets[..kept].fill(0);
            let files = &place.files;
            let void = files
                .write_all_at(&self.file, &self.path, &octets[..kept], at)
                .and_then(|()| files.set_len(&self.file, &self.path, space.max(at)));
            return match void.and_then(|()| place.files.sync_data(&self.file, &self.path)) {
                Ok(()) => Err(Failed::Undone(error)),
                Err(_) => {
                    state.is_trusted = false;
                    Err(Failed::Left(error))
                }
            };
        }
        state.end = end;
        let space_now = at + octets.len() as u64;
        if space_now > space {
            write_ahead(place, &self.file, &self.path, end, space_now);
        }
        Ok(at..state.end)
    }

    fn check_given_up(&self, state: &State) -> Result<(), StoreError> {
        if state.is_given_up {
            return Err(StoreError::io(&self.path, io::Error::other("the journal was given up")));
        }
        Ok(())
    }

    /// Makes all records durable. Who waits for another flush meanwhile may need none of his own.
    ///
    /// # Errors
    /// Nobody knows which of them are, and no later flush says so either. It must not be written to any more.
    pub(crate) fn sync(&self, place: &Place) -> Result<(), StoreError> {
        let wanted = self.state().end;
        let _flushing = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let end = {
            let state = self.state();
            self.check_trusted(&state)?;
            if state.flushed >= wanted {
                return Ok(());
            }
            state.end
        };
        let result = place.files.sync_data(&self.file, &self.path);
        let mut state = self.state();
        state.is_trusted &= result.is_ok();
        result?;
        // A write that failed meanwhile may have been told what this flush was not.
        self.check_trusted(&state)?;
        state.flushed = end;
        Ok(())
    }

    fn check_trusted(&self, state: &State) -> Result<(), StoreError> {
        if state.is_trusted {
            return Ok(());
        }
        // The system tells of a failure once; somebody else has been told.
        Err(StoreError::io(&self.path, io::Error::other("it could not be flushed before")))
    }

    /// It is not used again for anything.
    pub(crate) fn distrust(&self) {
        self.state().is_trusted = false;
    }

    pub(crate) fn is_trusted(&self) -> bool {
        self.state().is_trusted
    }

    /// Gives it up: to all others, its writer is dead.
    pub(crate) fn disown(&self) {
        self.state().is_given_up = true;
        unlock(&self.file, OWNER);
    }

    /// Whether a recovery would look into this mailbox.
    pub(crate) fn is_about(&self, name: &str) -> bool {
        self.state().names.contains(name)
    }

    /// Keeps the space of so many octets, and that of the header. There are no records.
    pub(crate) fn shrink(&self, place: &Place, keep: u64) -> Result<(), StoreError> {
        let state = self.state();
        let _writing = Writing::take(&self.file, &self.path)?;
        let keep = keep.max(state.end);
        if state.end == HEADER_OCTETS as u64 && self.space()? > keep {
            return place.files.set_len(&self.file, &self.path, keep);
        }
        Ok(())
    }

    /// Takes records back, durably, because nobody knows whether they are on the disk. What others have written behind them
    /// stays: it may be durable, and relied on. Then it is said behind that, of the records with these `ids`, where that
    /// means the same.
    ///
    /// # Errors
    /// They may be there or not.
    pub(crate) fn withdraw(
        &self,
        place: &Place,
        at: Range<u64>,
        ids: Option<RangeInclusive<u64>>,
    ) -> Result<(), StoreError> {
        let mut state = self.state();
        let _writing = Writing::take(&self.file, &self.path)?;
        let end = end_of_records(&self.file, &self.path, state.seed, state.end)?;
        if end == at.end {
            place.files.set_len(&self.file, &self.path, at.start)?;
            state.end = at.start;
        } else {
            let ids =
                ids.ok_or_else(|| StoreError::io(&self.path, io::Error::other("somebody has written behind it")))?;
            let mut octets = Vec::new();
            Record::Revoked { first: *ids.start(), last: *ids.end() }.encode(state.seed, &mut octets);
            place.files.write_all_at(&self.file, &self.path, &octets, end)?;
            state.end = end + octets.len() as u64;
        }
        // Also where a flush has failed before: this is a new one, of what is changed now.
        place.files.sync_data(&self.file, &self.path)
    }

    /// From now on a recovery would look into these mailboxes.
    pub(crate) fn names(&self, names: impl Iterator<Item = String>) {
        self.state().names.extend(names);
    }

    /// A mailbox is about to grow up to `end`, and is not flushed then. Said before it grows, so that whoever fails to
    /// flush it meanwhile knows.
    pub(crate) fn grown(&self, mailbox: &Locked, id: FileId, end: u64) {
        let (path, file) = (mailbox.path.clone(), Arc::clone(&mailbox.file));
        self.state().unflushed.insert((mailbox.name.clone(), id), Unflushed { path, file, end });
    }

    /// They are flushed: keeps none of them open.
    pub(crate) fn close_mailboxes(&self) {
        self.state().unflushed.clear();
    }

    /// Whether it waits for a flush of this mailbox.
    pub(crate) fn is_waiting_for(&self, name: &str) -> bool {
        self.state().unflushed.keys().any(|(unflushed, _)| unflushed == name)
    }

    /// How long a mailbox was when it had grown, unless it has been flushed since.
    pub(crate) fn end_of(&self, name: &str, id: FileId) -> Option<u64> {
        self.state().unflushed.get(&(name.to_owned(), id)).map(|unflushed| unflushed.end)
    }

    /// Records, durably, that nothing is to be done again in a mailbox, which is flushed. Its lock is held.
    pub(crate) fn settle(&self, place: &Place, name: &str) -> Result<(), StoreError> {
        if !self.state().names.contains(name) {
            return Ok(());
        }
        self.append(place, &[Record::Settled { name: name.to_owned() }])?;
        let _flushing = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        // Also where a flush has failed before: this is a new one, of what is written now.
        let flushed = place.files.sync_data(&self.file, &self.path).map_err(StoreError::of_flush);
        flushed.inspect_err(|_| self.state().is_trusted = false)?;
        let mut state = self.state();
        state.names.remove(name);
        state.unflushed.retain(|(unflushed, _), _| unflushed != name);
        Ok(())
    }

    /// Flushes the mailboxes, beginning with none after `until`: `false` if some are left. What has been written to since
    /// must not be about others: nobody uses the segment. They stay open.
    pub(crate) fn flush_mailboxes(&self, place: &Place, until: Option<Instant>) -> Result<bool, StoreError> {
        let mailbox = |((name, _), Unflushed { path, file, .. }): (&(String, FileId), &Unflushed)| {
            (path.clone(), name.clone(), Arc::clone(file))
        };
        // They wait for it until all is over, so that whoever fails to flush one meanwhile knows.
        let mut mailboxes: Vec<_> = self.state().unflushed.iter().map(mailbox).collect();
        mailboxes.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        for (path, name, file) in mailboxes {
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(false);
            }
            file.flush(place, &name, || place.files.sync_data(&file, &path))?;
        }
        Ok(true)
    }

    /// Makes all records void, durably, so that their space can be used again. Keeps the space of at most `keep` octets
    /// and what is written ahead of them: who needs as much again does not extend the file.
    pub(crate) fn reset(&self, place: &Place, keep: u64) -> Result<(), StoreError> {
        let mut state = self.state();
        self.check_given_up(&state)?;
        let _writing = Writing::take(&self.file, &self.path)?;
        let seed = random();
        let header = Header { boot: place.era(), seed };
        place.files.write_all_at(&self.file, &self.path, &header.encode(), 0)?;
        place.files.sync_data(&self.file, &self.path)?;
        state.seed = seed;
        state.end = HEADER_OCTETS as u64;
        state.flushed = state.end;
        state.names.clear();
        let keep = ahead_of(keep.max(state.end));
        if self.space()? > keep { place.files.set_len(&self.file, &self.path, keep) } else { Ok(()) }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // Closing the file is not enough while a child that has not called `exec` yet has it as well.
        self.disown();
    }
}

/// A segment of another process, living or dead.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    file: File,
}

/// What is in a segment.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) header: Header,
    pub(crate) records: Vec<Record>,
    /// Where the next record goes.
    end: u64,
}

impl Found {
    /// Opens a segment, if it is still there and ours.
    pub(crate) fn open(place: &Place, path: &Path) -> Result<Option<Self>, StoreError> {
        match place.files.open_ours(path, true) {
            Ok(file) => Ok(file.map(|file| Self { path: path.to_owned(), file })),
            // Nobody of us has accepted anything in it.
            Err(error) if is_not_ours(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a segment to look into it, if it is still there; changes nothing.
    pub(crate) fn look(path: &Path) -> Result<Option<Self>, StoreError> {
        Ok(open_if_there(path)?.map(|file| Self { path: path.to_owned(), file }))
    }

    /// Whether its writer lives.
    pub(crate) fn is_live(&self) -> Result<bool, StoreError> {
        is_locked(&self.file, &self.path, OWNER)
    }

    /// [`Found::is_live`], if the system says so.
    pub(crate) fn is_live_now(&self) -> bool {
        self.is_live().unwrap_or(false)
    }

    /// Takes the right to recover it until this is dropped; `false`: somebody else has it.
    pub(crate) fn try_recover(&self) -> Result<bool, StoreError> {
        try_lock_part(&self.file, &self.path, RECOVERY)
    }

    /// Reads it; `None` if it is no segment, or was never finished.
    pub(crate) fn read(&self) -> Result<Option<Content>, StoreError> {
        let failed = |source| StoreError::io(&self.path, source);
        let octets = self.file.metadata().map_err(failed)?.len().min(READ_MAX_OCTETS);
        let mut content = vec![0; usize::try_from(octets).unwrap_or(usize::MAX)];
        let read = read_at(&self.file, &mut content, 0).map_err(failed)?;
        content.truncate(read);
        let Some(header) = Header::parse(&content) else { return Ok(None) };
        let mut records = Vec::new();
        let mut end = HEADER_OCTETS;
        while let Some((record, octets)) = content.get(end..).and_then(|rest| Record::parse(header.seed, rest)) {
            records.push(record);
            end += octets;
        }
        Ok(Some(Content { header, records, end: end as u64 }))
    }

    /// Writes header and records again, and flushes them: a flush that failed before says of nothing that is written only
    /// before it that it is on the disk.
    pub(crate) fn write_again(&self, place: &Place, content: &Content) -> Result<(), StoreError> {
        let _writing = Writing::take(&self.file, &self.path)?;
        let mut octets = vec![0; usize::try_from(content.end).unwrap_or(usize::MAX)];
        let read = read_at(&self.file, &mut octets, 0).map_err(|source| StoreError::io(&self.path, source))?;
        place.files.write_all_at(&self.file, &self.path, &octets[..read], 0)?;
        place.files.sync_data(&self.file, &self.path)
    }

    /// [`Segment::settle`] for a segment of somebody else, of those mailboxes for which there is anything to settle;
    /// `flush` makes them durable before.
    pub(crate) fn settle(
        &self,
        place: &Place,
        names: &BTreeSet<&str>,
        flush: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let _writing = Writing::take(&self.file, &self.path)?;
        let Some(content) = self.read()? else { return Ok(()) };
        let unsettled = content.unsettled();
        let about: BTreeSet<&str> = unsettled.iter().map(|unsettled| unsettled.placement().name.as_str()).collect();
        let mut octets = Vec::new();
        for name in names.intersection(&about) {
            Record::Settled { name: (*name).to_owned() }.encode(content.header.seed, &mut octets);
        }
        if octets.is_empty() {
            return Ok(());
        }
        flush()?;
        place.files.write_all_at(&self.file, &self.path, &octets, content.end)?;
        place.files.sync_data(&self.file, &self.path).map_err(StoreError::of_flush)
    }
}

/// What a recovery has to look after in one mailbox.
#[derive(Debug)]
pub(crate) enum Unsettled<'a> {
    /// To be there, unless it was `applied` and somebody has removed it.
    Delivery { delivery: &'a super::record::Delivery, placement: &'a super::record::Placement, applied: bool },
    /// To be cut off, unless that was `applied`.
    Cut { cut: &'a super::record::Cut, applied: bool },
    /// To be cut off.
    Large { large: &'a super::record::Large, placement: &'a super::record::Placement },
}

impl Unsettled<'_> {
    pub(crate) fn id(&self) -> u64 {
        match self {
            Self::Delivery { delivery, .. } => delivery.id,
            Self::Cut { cut, .. } => cut.id,
            Self::Large { large, .. } => large.id,
        }
    }

    /// Whether the mailbox shows it already; a long message is never done before it is accepted.
    pub(crate) fn is_applied(&self) -> bool {
        matches!(self, Self::Delivery { applied: true, .. } | Self::Cut { applied: true, .. })
    }

    pub(crate) fn placement(&self) -> &super::record::Placement {
        match self {
            Self::Delivery { placement, .. } | Self::Large { placement, .. } => placement,
            Self::Cut { cut, .. } => &cut.placement,
        }
    }
}

impl Content {
    /// Whether there is anything to do in this mailbox.
    pub(crate) fn is_about(&self, name: &str) -> bool {
        self.unsettled().iter().any(|unsettled| unsettled.placement().name == name)
    }

    /// What no later record says to be over, in the order of the records.
    pub(crate) fn unsettled(&self) -> Vec<Unsettled<'_>> {
        // Ids are used once, and what is over or applied is said behind it.
        let (mut applied, mut revoked, mut committed) = (Ids::default(), Ids::default(), Ids::default());
        let mut settled: HashMap<&str, usize> = HashMap::new();
        for (number, record) in self.records.iter().enumerate() {
            match record {
                Record::Delivery(_) | Record::Cut(_) | Record::Large(_) => {}
                Record::Applied { first, last } => applied.add(*first, *last),
                Record::Revoked { first, last } => revoked.add(*first, *last),
                Record::Committed { id } => committed.add(*id, *id),
                Record::Settled { name } => drop(settled.insert(name, number)),
            }
        }
        let mut unsettled = Vec::new();
        for (number, record) in self.records.iter().enumerate() {
            let is_open = |placement: &&_| {
                let super::record::Placement { name, .. } = placement;
                settled.get(name.as_str()).is_none_or(|settled| *settled < number)
            };
            match record {
                Record::Delivery(delivery) if !revoked.have(delivery.id) => {
                    let applied = applied.have(delivery.id);
                    let open = delivery.placements.iter().filter(is_open);
                    unsettled.extend(open.map(|placement| Unsettled::Delivery { delivery, placement, applied }));
                }
                Record::Cut(cut) if !revoked.have(cut.id) && is_open(&&cut.placement) => {
                    unsettled.push(Unsettled::Cut { cut, applied: applied.have(cut.id) });
                }
                Record::Large(large) if !revoked.have(large.id) && !committed.have(large.id) => {
                    let open = large.placements.iter().filter(is_open);
                    unsettled.extend(open.map(|placement| Unsettled::Large { large, placement }));
                }
                _ => {}
            }
        }
        unsettled
    }
}

/// Ids of records, by the first of each range: the last of it.
#[derive(Debug, Default)]
struct Ids(BTreeMap<u64, u64>);

impl Ids {
    fn add(&mut self, first: u64, last: u64) {
        let known = self.0.entry(first).or_insert(last);
        *known = last.max(*known);
    }

    /// Whether the range with the nearest beginning has it; ranges do not overlap.
    fn have(&self, id: u64) -> bool {
        self.0.range(..=id).next_back().is_some_and(|(_, last)| id <= *last)
    }
}

/// The lock of who writes a record.
struct Writing<'a>(&'a File);

impl<'a> Writing<'a> {
    fn take(file: &'a File, path: &Path) -> Result<Self, StoreError> {
        let deadline = Instant::now() + WRITING_TIMEOUT;
        while !try_lock_part(file, path, WRITING)? {
            if Instant::now() >= deadline {
                return Err(StoreError::Locked { path: path.to_owned() });
            }
            std::thread::sleep(WRITING_RETRY);
        }
        Ok(Self(file))
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        unlock(self.0, WRITING);
    }
}

/// How far space is written where records end at `end`: nothing comes behind a segment that is full.
fn ahead_of(end: u64) -> u64 {
    (end + end.clamp(AHEAD_MIN_OCTETS, AHEAD_MAX_OCTETS)).min(super::SEGMENT_MAX_OCTETS).max(end)
}

/// Writes zeros behind the records, which end at `end`, from where the file ends, at `space`. They are no record. The next
/// flush makes them durable.
fn write_ahead(place: &Place, file: &File, path: &Path, end: u64, space: u64) {
    let octets = usize::try_from(ahead_of(end).saturating_sub(space)).unwrap_or(0);
    if octets == 0 || place.journal.is_short_of_space() {
        return;
    }
    if place.files.write_all_at(file, path, &vec![0; octets], space).is_err() {
        // It would have saved time and nothing else. Mail may need the space.
        let _ = place.files.set_len(file, path, space);
        place.journal.is_now_short_of_space();
    }
}

/// Where the records end, if they did at `end` a moment ago: other processes may have settled mailboxes since.
fn end_of_records(file: &File, path: &Path, seed: u64, mut end: u64) -> Result<u64, StoreError> {
    // A record that settles a mailbox is shorter than this.
    let mut octets = [0; 256];
    loop {
        let read = read_at(file, &mut octets, end).map_err(|source| StoreError::io(path, source))?;
        match Record::parse(seed, &octets[..read]) {
            Some((_, length)) => end += length as u64,
            None => return Ok(end),
        }
    }
}

/// A number that nobody else knows. Every `RandomState` has other keys.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
#[path = "segment/tests.rs"]
mod tests;
