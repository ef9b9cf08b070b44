//! The journal: accepted mail is durable here first, for all mailboxes with one flush (`docs/durability.md`).
//!
//! Each process writes to segments of its own. Deliveries go into the active one. When it is full or some time has
//! passed, a checkpoint flushes the mailboxes that its records are about; then its space is used again.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, statx};
use rustix::io::Errno;

use crate::files::is_not_ours;
use crate::folders::{Folders, Standing};
use crate::index::{COARSE_SECONDS, now};
use crate::locks::Locked;
use crate::place::{FileId, Place};
use crate::{StoreError, recover};

pub(crate) mod record;
pub(crate) mod restore;
pub(crate) mod segment;

use segment::{Content, Found, IDLE_OCTETS, Segment};

/// A segment of this many octets is full; of few in tests.
pub(crate) const SEGMENT_MAX_OCTETS: u64 = if cfg!(test) { 256 * 1024 } else { 16 * 1024 * 1024 };
/// A segment about this many mailboxes is full: they are kept open until they are flushed.
pub(crate) const UNFLUSHED_MAX: usize = 128;
/// Accepted mail is flushed to its mailbox after this time, and twice this time at the most.
pub(crate) const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);
/// How long the flushes at the end of a process may take: it has to end within two seconds (C-C9).
const CLOSE_MAX: Duration = Duration::from_millis(300);
/// How long the end of the thread that does checkpoints is waited for: making a segment takes three flushes.
const THREAD_ENDS: Duration = Duration::from_millis(100);
/// So many checkpoints after the disk was full space is written ahead again: one of them may be under way.
const SHORT_CHECKPOINTS: u32 = 2;
/// Segments that wait for a checkpoint; a delivery that would make them more does one itself.
pub(crate) const FULL_MAX: usize = 2;
/// Most mailboxes whose names are remembered to be durable.
const KNOWN_MAX: usize = 4096;

/// The segments of this process for one folder.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    state: Mutex<State>,
    /// One checkpoint at a time.
    checkpoint: Mutex<()>,
    /// One segment is made at a time. Locked in front of `state`.
    making: Mutex<()>,
    /// The disk was full: until so many checkpoints from now nothing is written ahead.
    short: AtomicU32,
    /// Segments were given up, and nobody has tried to recover them.
    is_given_up: AtomicBool,
    /// The id of the next delivery. Ids begin at random, so that those of different processes differ.
    next_id: Mutex<Option<u64>>,
    ticker: Mutex<Option<Arc<Ticker>>>,
    /// What was in the folder of segments when somebody looked.
    seen: Mutex<Option<Seen>>,
}

/// The segments in the folder, of whomever, as long as nothing there has changed.
#[derive(Debug)]
struct Seen {
    folder: Folder,
    /// Each is opened when it is looked at, and only asked whether its writer lives.
    segments: Vec<(PathBuf, Option<Found>)>,
}

/// The folder of segments, as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Folder {
    standing: Standing,
    /// When its names and its inode have changed, each in seconds and nanoseconds.
    changed: [(i64, i64); 2],
}

#[derive(Debug, Default)]
struct State {
    active: Option<Arc<Segment>>,
    /// To be checkpointed, oldest first.
    full: Vec<Arc<Segment>>,
    /// Free for use.
    spare: Option<Arc<Segment>>,
    /// Mailboxes whose names have been made durable by this process.
    known: HashMap<String, Named>,
    /// Mailboxes of which something could not be flushed that is in no journal, perhaps.
    doubtful: HashSet<String>,
    /// Segments of dead processes that this one has made durable.
    durable: HashSet<PathBuf>,
}

/// A mailbox under a name. Putting another file in its place, or the same one again, shows: that changes the file as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Named {
    file: FileId,
    /// When it was changed last, in seconds and nanoseconds.
    changed: (i64, i64),
}

impl Named {
    fn of(mailbox: &Locked) -> Result<Self, StoreError> {
        let metadata = mailbox.file.metadata().map_err(|source| StoreError::io(&mailbox.path, source))?;
        Ok(Self { file: FileId::of(&metadata), changed: (metadata.ctime(), metadata.ctime_nsec()) })
    }
}

/// The active segment, as long as a delivery goes on.
#[derive(Debug)]
pub(crate) struct InUse(pub(crate) Arc<Segment>);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Journal {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers for `count` deliveries: the first of them.
    pub(crate) fn ids(&self, count: usize) -> u64 {
        let mut next = self.next_id.lock().unwrap_or_else(PoisonError::into_inner);
        // Half of the numbers are left to count.
        let first = next.unwrap_or_else(|| segment::random() >> 1);
        *next = Some(first + count as u64);
        first
    }

    /// The disk was full a moment ago: what is not needed yet is not written.
    pub(crate) fn is_short_of_space(&self) -> bool {
        self.short.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn is_now_short_of_space(&self) {
        self.short.store(SHORT_CHECKPOINTS, Ordering::Relaxed);
    }

    /// The segment to write to. Makes it, and room in it, when there is none.
    pub(crate) fn begin(&self, place: &Place) -> Result<InUse, StoreError> {
        loop {
            let mut state = self.state();
            let is_over = |segment: &Segment| {
                let is_full = segment.octets() >= SEGMENT_MAX_OCTETS || segment.unflushed() >= UNFLUSHED_MAX;
                is_full || !segment.is_trusted()
            };
            // The mailboxes of one that could not be flushed may still be, and then it is of no use.
            if let Some(full) = state.active.take_if(|segment| is_over(segment)) {
                state.full.push(full);
                self.wake();
            }
            // Those in which a long message is being appended are in nobody's way.
            if state.full.iter().filter(|segment| !segment.is_in_use()).count() > FULL_MAX {
                drop(state);
                self.flush_full(place, None);
                continue;
            }
            let Some(segment) = state.active.clone().or_else(|| state.spare.take()) else {
                drop(state);
                self.make_spare(place)?;
                continue;
            };
            if state.spare.is_none() && is_half_full(&segment) {
                self.wake();
            }
            state.active = Some(Arc::clone(&segment));
            segment.enter();
            return Ok(InUse(segment));
        }
    }

    /// Makes a spare segment, if the next delivery needs it or one soon will. Deliveries that need none go on meanwhile;
    /// others wait for this one.
    fn make_spare(&self, place: &Place) -> Result<(), StoreError> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let is_needed = {
            let State { active, spare, .. } = &*self.state();
            spare.is_none() && active.as_ref().is_none_or(|active| is_half_full(active))
        };
        if is_needed {
            let segment = Arc::new(Segment::create(place)?);
            self.keep_spare(place, &segment);
        }
        Ok(())
    }

    /// One spare segment is enough: keeps the one in which more space has been written.
    fn keep_spare(&self, place: &Place, segment: &Arc<Segment>) {
        let space = |segment: &Segment| segment.space().unwrap_or(0);
        let mut state = self.state();
        let other = state.spare.replace(Arc::clone(segment));
        let unneeded = match other {
            Some(other) if space(&other) > space(segment) => state.spare.replace(other),
            other => other,
        };
        drop(state);
        if let Some(unneeded) = unneeded {
            // It says nothing; if this fails, the next start removes it.
            let _ = place.files.remove(&unneeded.path);
        }
    }

    /// Flushes DIR if a mailbox is not as this process has left it: whoever has put a file in its place may not have made
    /// its name durable, and then it is not this file that is there after a power cut.
    pub(crate) fn make_names_durable(&self, place: &Place, mailboxes: &[Locked]) -> Result<(), StoreError> {
        let now = mailboxes.iter().map(Named::of).collect::<Result<Vec<_>, _>>()?;
        let is_known = |(mailbox, now): (&Locked, &Named)| self.state().known.get(&mailbox.name) == Some(now);
        if mailboxes.iter().zip(&now).all(is_known) {
            return Ok(());
        }
        place.sync_dir()?;
        let mut state = self.state();
        if state.known.len() >= KNOWN_MAX {
            state.known.clear();
        }
        state.known.extend(mailboxes.iter().map(|mailbox| mailbox.name.clone()).zip(now));
        Ok(())
    }

    /// This process has written to mailboxes whose names are durable, under their locks.
    pub(crate) fn have_changed(&self, mailboxes: &[Locked]) {
        for mailbox in mailboxes {
            if let (Some(known), Ok(now)) = (self.state().known.get_mut(&mailbox.name), Named::of(mailbox)) {
                *known = now;
            }
        }
    }

    /// Gives a segment up: whoever locks one of its mailboxes next recovers it, as if this process had died.
    pub(crate) fn abandon(&self, segment: &Arc<Segment>) {
        self.give_up(|other| Arc::ptr_eq(other, segment));
        // Also if it was given up already: it is in use.
        segment.disown();
    }

    /// Gives up those segments with records in them for which it is true; whether there are any.
    fn give_up(&self, is_one: impl Fn(&Arc<Segment>) -> bool) -> bool {
        let mut state = self.state();
        let State { active, full, .. } = &mut *state;
        let active = active.take_if(|segment| is_one(segment));
        let given_up: Vec<_> = active.into_iter().chain(full.extract_if(.., |segment| is_one(segment))).collect();
        drop(state);
        given_up.iter().for_each(|segment| segment.disown());
        if !given_up.is_empty() {
            self.is_given_up.store(true, Ordering::Relaxed);
        }
        !given_up.is_empty()
    }

    /// A flush of a mailbox has failed: gives up what waits for one. No later flush says that what was to be written then
    /// is on the disk, to nobody; so it is written again, by whoever locks the mailbox next.
    pub(crate) fn mistrust(&self, place: &Place, name: &str, error: &StoreError) {
        self.state().doubtful.insert(name.to_owned());
        if self.give_up(|segment| segment.is_waiting_for(name)) {
            note_given_up(place, error);
        }
    }

    /// What is in the journal, durably, could not be written to its mailboxes.
    pub(crate) fn note_left(&self, place: &Place, error: &StoreError) {
        note_given_up(place, error);
    }

    /// Whether a flush of a mailbox has failed, and what stands at its end has not been written again since.
    pub(crate) fn is_doubtful(&self, name: &str) -> bool {
        self.state().doubtful.contains(name)
    }

    /// What stands at the end of a mailbox has been written again, and flushed.
    pub(crate) fn is_doubtful_no_more(&self, name: &str) {
        self.state().doubtful.remove(name);
    }

    /// Whether a segment waits for a checkpoint, and has not been given up.
    fn is_full(&self, segment: &Arc<Segment>) -> bool {
        self.state().full.iter().any(|full| Arc::ptr_eq(full, segment))
    }

    /// Everything up to now that journals say about a mailbox is over: what stands there is durable, and its name. To be
    /// called under its lock, before anything is removed from it.
    ///
    /// # Errors
    /// Also when a flush of it has failed since it was locked.
    pub(crate) fn settle(&self, place: &Place, mailbox: &Locked) -> Result<(), StoreError> {
        let mut is_flushed = false;
        let mut flush = || {
            if !std::mem::replace(&mut is_flushed, true) {
                mailbox.sync_data(place).map_err(StoreError::of_flush)?;
                // What was accepted may be in a file that another program has replaced since, and not be flushed there.
                self.make_names_durable(place, std::slice::from_ref(mailbox))?;
            }
            Ok(())
        };
        // Not beside a checkpoint, which may use a segment again.
        let _checkpoint = self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner);
        let own = self.own();
        for segment in own.iter().filter(|segment| segment.is_about(&mailbox.name)) {
            flush()?;
            segment.settle(place, &mailbox.name)?;
        }
        for path in not_own(segments(place)?.into_iter(), &own) {
            if let Some(found) = Found::open(place, &path)? {
                found.settle(place, &BTreeSet::from([mailbox.name.as_str()]), &mut flush)?;
            }
        }
        Ok(())
    }

    /// The segments of this process.
    fn own(&self) -> Vec<Arc<Segment>> {
        let state = self.state();
        let State { active, full, spare, .. } = &*state;
        active.iter().chain(full).chain(spare).map(Arc::clone).collect()
    }

    /// The segments of processes that are dead.
    pub(crate) fn dead(&self, place: &Place) -> Result<Vec<Found>, StoreError> {
        let mut dead = Vec::new();
        for path in self.not_live(place, now())? {
            if let Some(found) = Found::open(place, &path)?
                && !found.is_live()?
            {
                dead.push(found);
            }
        }
        Ok(dead)
    }

    /// Makes what a segment of a dead process says durable, before any of it is done: it may have died in front of its
    /// flush, or have given the segment up because that failed. What is done in one mailbox must not be forgotten before
    /// it is done in the others.
    pub(crate) fn make_durable(&self, place: &Place, found: &Found, content: &Content) -> Result<(), StoreError> {
        if !self.state().durable.contains(&found.path) {
            found.write_again(place, content)?;
            self.state().durable.insert(found.path.clone());
        }
        Ok(())
    }

    /// A segment of a dead process is over, and removed.
    pub(crate) fn forget(&self, found: &Found) {
        self.state().durable.remove(&found.path);
    }

    /// The segments whose writers do not live, and perhaps some more. Asked at every lock: looks at the folder itself
    /// only when it has changed. `now` is in seconds since 1970.
    fn not_live(&self, place: &Place, now: u64) -> Result<Vec<PathBuf>, StoreError> {
        let own = self.own();
        let folder = Folder::of(place)?.map_or_else(|| place.begin_anew(), Ok)?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.as_ref().is_none_or(|seen| seen.folder != folder) {
            *seen = None;
            let segments: Vec<_> = segments(place)?.into_iter().map(|path| (path, None)).collect();
            if !folder.is_told_apart(now) {
                return Ok(not_own(segments.into_iter().map(|(path, _)| path), &own));
            }
            *seen = Some(Seen { folder, segments });
        }
        let mut not_live = Vec::new();
        for (path, found) in seen.iter_mut().flat_map(|seen| &mut seen.segments) {
            if own.iter().any(|segment| segment.path == *path) {
                continue;
            }
            if found.is_none() {
                *found = Found::open(place, path)?;
            }
            if !found.as_ref().is_some_and(Found::is_live_now) {
                not_live.push(path.clone());
            }
        }
        Ok(not_live)
    }

    /// Proves that journals are where the next process looks for them.
    ///
    /// # Errors
    /// If not, and all has begun anew then.
    pub(crate) fn prove(&self, place: &Place) -> Result<(), StoreError> {
        if self.is_found(place)? { Ok(()) } else { place.begin_anew() }
    }

    /// Whether the name of the folder leads to the one that is open.
    pub(crate) fn is_found(&self, place: &Place) -> Result<bool, StoreError> {
        Ok(Folder::of(place)?.is_some())
    }

    /// The segments that are none: nothing in them counts, and nobody else is told.
    pub(crate) fn strange(&self, place: &Place) -> Result<Vec<PathBuf>, StoreError> {
        let is_strange = |path: &PathBuf| place.files.open_ours(path, false).is_err_and(|error| is_not_ours(&error));
        Ok(segments(place)?.into_iter().filter(is_strange).collect())
    }

    /// Nothing keeps the space of segments that others have removed, even if nobody locks any more.
    fn forget_seen(&self, place: &Place) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.take_if(|seen| Folder::of(place).map_or(true, |folder| folder != Some(seen.folder)));
    }

    /// Flushes the mailboxes of all mail that was accepted, and makes the journal small.
    pub(crate) fn checkpoint(&self, place: &Place) {
        let one_less = |short: u32| short.checked_sub(1);
        let _ = self.short.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        let mut state = self.state();
        let is_long = |segment: &Segment| segment.space().is_ok_and(|space| space > IDLE_OCTETS);
        if let Some(active) = state.active.take_if(|active| !active.is_settled() || is_long(active)) {
            state.full.push(active);
        }
        let idle = state.spare.clone().filter(|_| state.active.is_none() && state.full.is_empty());
        drop(state);
        self.forget_seen(place);
        self.flush_full(place, None);
        if let Some(idle) = idle {
            // It costs space and nothing else.
            let _ = idle.shrink(place, IDLE_OCTETS);
        }
    }

    /// Gives back the space of the journal, as far as it is not needed: the disk is full.
    pub(crate) fn make_room(&self, place: &Place) {
        self.checkpoint(place);
        self.is_now_short_of_space();
        let spare = self.state().spare.clone();
        if let Some(spare) = spare {
            let _ = spare.shrink(place, 0);
        }
    }

    /// If there was no room, gives back what it can.
    ///
    /// # Errors
    /// Any other error than that.
    pub(crate) fn make_room_for(&self, place: &Place, error: StoreError) -> Result<(), StoreError> {
        let StoreError::Full { .. } = error else { return Err(error) };
        self.make_room(place);
        Ok(())
    }

    /// The segments of this process cannot be found any more: flushes the mailboxes that they are about, and forgets them.
    /// No other is made before `enter` has entered the folders that there are now.
    pub(crate) fn let_go(
        &self,
        place: &Place,
        enter: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        let State { active, full, spare, known, durable, .. } = &mut *state;
        full.extend(active.take());
        full.iter().for_each(|segment| segment.distrust());
        *spare = None;
        known.clear();
        durable.clear();
        drop(state);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.flush_full(place, None);
        // A checkpoint that was under way may have kept one.
        self.state().spare = None;
        enter()
    }

    /// All segments are given up, as if the process had died.
    #[cfg(test)]
    pub(crate) fn die(&self) {
        *self.state() = State::default();
    }

    /// Does what a checkpoint does with the segments that are full.
    ///
    /// Begins with none after `until`.
    fn flush_full(&self, place: &Place, until: Option<Instant>) {
        let _checkpoint = self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner);
        let full = self.state().full.clone();
        for segment in full.iter().filter(|segment| !segment.is_in_use() && self.is_full(segment)) {
            let keep = segment.octets();
            let done = match segment.flush_mailboxes(place, until) {
                Ok(false) => return,
                Ok(true) if !self.is_full(segment) => continue,
                Ok(true) => segment.reset(place, keep),
                Err(error) => Err(error),
            };
            let is_this = |full: &Arc<Segment>| Arc::ptr_eq(full, segment);
            if let Err(error) = done {
                // Unless it has been given up meanwhile, and that is noted.
                if self.give_up(is_this) {
                    note_given_up(place, &error);
                }
                continue;
            }
            segment.close_mailboxes();
            if self.state().full.extract_if(.., |full| is_this(full)).count() == 0 {
                continue;
            }
            if segment.is_trusted() {
                self.keep_spare(place, segment);
            } else {
                // It says nothing any more; if this fails, the next start removes it.
                let _ = place.files.remove(&segment.path);
            }
        }
    }

    /// A last checkpoint, as far as it goes in [`CLOSE_MAX`]: leaves no file behind that has become of no use. What it
    /// leaves is for the next start, as after a kill.
    pub(crate) fn close(&self, place: &Place) {
        let mut state = self.state();
        if let Some(active) = state.active.take_if(|active| !active.is_settled()) {
            state.full.push(active);
        }
        drop(state);
        self.flush_full(place, Some(Instant::now() + CLOSE_MAX));
        let mut state = self.state();
        if let Some(active) = state.active.take_if(|active| active.is_settled()) {
            let _ = place.files.remove(&active.path);
        }
        if let Some(spare) = state.spare.take() {
            let _ = place.files.remove(&spare.path);
        }
    }

    fn wake(&self) {
        if let Some(ticker) = &*self.ticker.lock().unwrap_or_else(PoisonError::into_inner) {
            ticker.ring(Ring::Now);
        }
    }

    /// From now on a thread does checkpoints, until what this gives back is dropped. It also makes segments ahead, so that
    /// no delivery waits for one to be made: the first at once.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn checkpoint_in_background(place: &Arc<Place>) -> Result<Checkpoints, StoreError> {
        let ticker = Arc::new(Ticker { ring: Mutex::new(Ring::Now), bell: Condvar::new() });
        let (weak, ours) = (Arc::downgrade(place), Arc::clone(&ticker));
        std::thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || {
                let _ended = Ended(&ours);
                tick(&weak, &ours, CHECKPOINT_EVERY);
            })
            .map_err(|source| StoreError::io(&place.segments, source))?;
        *place.journal.ticker.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&ticker));
        Ok(Checkpoints(ticker))
    }
}

/// The thread that does checkpoints. It ends when this is dropped, and [`THREAD_ENDS`] is waited for that: it may be
/// making a segment, which the last one to use the place is to remove.
#[derive(Debug)]
pub(crate) struct Checkpoints(Arc<Ticker>);

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.0.ring(Ring::End);
        self.0.wait(THREAD_ENDS, |ring| ring != Ring::Ended);
    }
}

/// The thread ends, be it by a panic.
struct Ended<'a>(&'a Ticker);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.ring(Ring::Ended);
    }
}

/// Whether another segment will soon be needed.
fn is_half_full(segment: &Segment) -> bool {
    segment.octets() >= SEGMENT_MAX_OCTETS / 2 || segment.unflushed() >= UNFLUSHED_MAX / 2
}

fn note_given_up(place: &Place, error: &StoreError) {
    place.note(|notes| notes.problem(format!("mail stays in the journal until it can be written again: {error}")));
}

/// Whether this is the name of a segment; one that is being made has another.
pub(crate) fn is_segment(file: &str) -> bool {
    file.starts_with(|first: char| first.is_ascii_digit())
}

/// The segments in the folder.
fn segments(place: &Place) -> Result<Vec<PathBuf>, StoreError> {
    let names = place.names_in(&place.segments)?;
    Ok(names.into_iter().filter(|name| is_segment(name)).map(|name| place.segments.join(name)).collect())
}

/// Those of the segments that are not this process's own.
fn not_own(segments: impl Iterator<Item = PathBuf>, own: &[Arc<Segment>]) -> Vec<PathBuf> {
    segments.filter(|path| !own.iter().any(|segment| segment.path == *path)).collect()
}

impl Folder {
    /// As its name leads to it; `None` if that does not lead to the one that is open.
    fn of(place: &Place) -> Result<Option<Self>, StoreError> {
        let said = match statx(CWD, &place.segments, AtFlags::SYMLINK_NOFOLLOW, Standing::WANTED) {
            Ok(said) => said,
            Err(Errno::NOENT | Errno::NOTDIR) if place.side.is_dir() => return Ok(None),
            Err(errno) => return Err(StoreError::io(&place.segments, errno.into())),
        };
        let standing = Standing::new(&said);
        let folders = place.files.folders();
        let is_open = |folders: &Folders| folders.segments.as_ref().is_none_or(|folder| folder.is(standing));
        let changed = [said.stx_mtime, said.stx_ctime].map(|time| (time.tv_sec, i64::from(time.tv_nsec)));
        Ok(folders.is_none_or(|folders| is_open(&folders)).then_some(Self { standing, changed }))
    }

    /// Whether a change from now on would show in the times: not while it may be in the same tick as the last one.
    fn is_told_apart(&self, now: u64) -> bool {
        let is_over = |(then, _): &(i64, i64)| u64::try_from(*then).is_ok_and(|then| then + COARSE_SECONDS < now);
        self.changed.iter().all(is_over)
    }
}

/// What wakes the thread that does checkpoints.
#[derive(Debug)]
struct Ticker {
    ring: Mutex<Ring>,
    bell: Condvar,
}

/// In the order in which one takes the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ring {
    No,
    Now,
    End,
    Ended,
}

impl Ticker {
    fn ring(&self, ring: Ring) {
        let mut rung = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        *rung = ring.max(*rung);
        self.bell.notify_all();
    }

    /// Waits while `is_early`, but no longer than this. It can ring [`Ring::Now`] again.
    fn wait(&self, longest: Duration, is_early: impl Fn(Ring) -> bool) -> Ring {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.bell.wait_timeout_while(ring, longest, |ring| is_early(*ring));
        let (mut ring, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let rang = *ring;
        if rang == Ring::Now {
            *ring = Ring::No;
        }
        rang
    }
}

/// Does a checkpoint `every` so often, however often it is woken in between.
fn tick(place: &Weak<Place>, ticker: &Ticker, every: Duration) {
    let mut due = Instant::now() + every;
    loop {
        let ring = ticker.wait(due.saturating_duration_since(Instant::now()), |ring| ring == Ring::No);
        let Some(place) = place.upgrade() else { return };
        let journal = &place.journal;
        match ring {
            Ring::End | Ring::Ended => return,
            Ring::Now => {
                journal.flush_full(&place, None);
                // Whoever needs it will be told.
                let _ = journal.make_spare(&place);
            }
            Ring::No => {}
        }
        if Instant::now() < due {
            continue;
        }
        journal.checkpoint(&place);
        // Once: what cannot be recovered now is for whoever locks its mailbox, or for the next start.
        if journal.is_given_up.swap(false, Ordering::Relaxed) {
            recover::again(&place);
        }
        due = Instant::now() + every;
    }
}

#[cfg(test)]
#[path = "journal/tests.rs"]
mod tests;
