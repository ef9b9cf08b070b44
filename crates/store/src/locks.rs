//! Locks (C-P8): a turn within this process, a dotlock and an `fcntl` lock per mailbox, and the lock of a session.
//!
//! Mailbox locks are taken and given back within one job on the blocking pool: [`with_mailboxes`]. The job owns them, so
//! it runs to its end under them even if nobody waits for it any more.
//!
//! Order, within one try: turn, dotlock, `fcntl` lock. Nothing but the turn is waited for. While somebody else has the
//! dotlock our `fcntl` lock is never taken: who holds only the dotlock for a moment, as Python's `flush` does, must not
//! meet it. Only a dotlock that seems stale is looked at under the `fcntl` lock, because then none of our processes can
//! hold the mailbox.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::dotlock::{self, Dotlock};
use crate::place::{Place, check_metadata};
use crate::{StoreError, recover};

/// Nobody waits longer than this; longer times might not fit into an [`Instant`].
pub(crate) const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Between two tries there are at least this many milliseconds, and at most as many as the second.
const RETRY_MS: (u64, u64) = (10, 100);

/// Whoever has turns and waits for another looks this often whether that one is stuck.
const LOOK: Duration = Duration::from_millis(20);

/// A mailbox that is locked against everybody else. Unlocks when dropped.
#[derive(Debug)]
pub(crate) struct Locked {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Open for reading and writing. May be kept when the lock is gone.
    pub(crate) file: Arc<OpenMailbox>,
    /// So many flushes of it that failed are known here: those from before it was locked, and those that were told.
    told: AtomicU64,
    dotlock: Dotlock,
    // Last, so that it is given on when the others are back.
    turn: Turn,
}

impl Locked {
    /// Whether `turn` leads to both locks now; otherwise it is given back.
    ///
    /// # Errors
    /// [`StoreError::NoSuchMailbox`], [`StoreError::HardLinked`], and what the system says.
    pub(crate) fn try_new(place: &Arc<Place>, mut turn: Turn) -> Result<Result<Self, Turn>, StoreError> {
        if let Some(file) = place.opened.get(&turn.name) {
            match Self::try_with(place, file, turn)? {
                Ok(locked) => return Ok(Ok(locked)),
                // There may be a new file of this name, which nobody has locked.
                Err(back) => turn = back,
            }
        }
        let file = Arc::new(OpenMailbox::new(place.open_mailbox(&turn.name)?));
        let tried = Self::try_with(place, file, turn)?;
        if let Ok(locked) = &tried {
            place.opened.put(&locked.name, &locked.file);
        }
        Ok(tried)
    }

    fn try_with(place: &Arc<Place>, file: Arc<OpenMailbox>, turn: Turn) -> Result<Result<Self, Turn>, StoreError> {
        let name = turn.name.clone();
        let path = place.mailbox(&name);
        let Some(dotlock) = lock_both(place, &name, &file, &path)? else { return Ok(Err(turn)) };
        // What a flush fails to write from now on may be ours.
        let told = AtomicU64::new(file.failures());
        let locked = Self { name, path, file, told, dotlock, turn };
        // Another program may have put a new file in its place before we had the locks.
        if locked.is_at_its_path()? { Ok(Ok(locked)) } else { Ok(Err(locked.into_turn())) }
    }

    /// Leaves the dotlock behind, as a killed process would: whoever locks next sees that there is something to repair,
    /// and other programs keep off until then.
    pub(crate) fn leave_dotlock(&mut self) {
        self.dotlock.leave();
    }

    /// Makes content and length durable.
    ///
    /// # Errors
    /// Also when somebody else has failed to flush it since it was locked, which is told once. What waits in the journal
    /// for a flush of it is given up then.
    pub(crate) fn sync_data(&self, place: &Place) -> Result<(), StoreError> {
        self.flush(place, || place.files.sync_data(&self.file, &self.path))
    }

    /// [`Locked::sync_data`], and the rest of the inode.
    pub(crate) fn sync_all(&self, place: &Place) -> Result<(), StoreError> {
        self.flush(place, || place.files.sync_all(&self.file, &self.path))
    }

    fn flush(&self, place: &Place, sync: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
        let result = self.file.flush(place, &self.name, sync);
        let failures = self.file.failures();
        let is_told = self.told.swap(failures, Ordering::Relaxed) == failures;
        if is_told || result.is_err() {
            return result;
        }
        Err(StoreError::io(&self.path, std::io::Error::other("a flush of it has failed meanwhile")))
    }

    fn is_at_its_path(&self) -> Result<bool, StoreError> {
        let failed = |source| StoreError::io(&self.path, source);
        let open = self.file.metadata().map_err(failed)?;
        match self.path.symlink_metadata() {
            Ok(named) if (open.dev(), open.ino()) == (named.dev(), named.ino()) => check_metadata(&self.path, &named),
            Ok(_) => Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(failed(source)),
        }
    }

    fn into_turn(self) -> Turn {
        // The guard itself cannot be moved out of what has a destructor; a second handle of the same turn can.
        self.turn.clone()
    }
}

/// Takes dotlock and `fcntl` lock of a mailbox, or none of them.
fn lock_both(place: &Arc<Place>, name: &str, file: &File, path: &Path) -> Result<Option<Dotlock>, StoreError> {
    if let Some(mut dotlock) = Dotlock::create(place, name)? {
        let locked = try_lock(file, path);
        if !matches!(locked, Ok(true)) {
            dotlock.release();
        }
        return Ok(locked?.then_some(dotlock));
    }
    if !dotlock::seems_stale(place, name)? || !try_lock(file, path)? {
        return Ok(None);
    }
    let dotlock = Dotlock::try_new(place, name);
    if !matches!(dotlock, Ok(Some(_))) {
        // Whoever keeps the file must not keep the lock.
        unlock(file, WHOLE);
    }
    dotlock
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.dotlock.release();
        // Whoever keeps the file must not keep the lock.
        unlock(&self.file, WHOLE);
    }
}

/// Locks several mailboxes together and does `job` under the locks, on the blocking pool. `names` are sorted and
/// different. Leftovers of dead processes in these mailboxes are repaired first.
///
/// # Errors
/// [`StoreError::Locked`] when the locks were not had within `timeout`; those of the job.
pub(crate) async fn with_mailboxes<T: Send + 'static>(
    place: &Arc<Place>,
    names: &[String],
    timeout: Duration,
    mut job: impl FnOnce(&mut [Locked]) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let deadline = Instant::now() + timeout.min(TIMEOUT_MAX);
    let mut turns = Vec::new();
    loop {
        take_turns(place, names, &mut turns, deadline).await?;
        let attempt = crate::blocking(&place.dir, {
            let place = Arc::clone(place);
            move || attempt(&place, turns, job)
        });
        let busy = match attempt.await? {
            Attempt::Done(result) => return Ok(result),
            Attempt::Busy(busy) => busy,
        };
        if Instant::now() >= deadline {
            return Err(StoreError::Locked { path: place.mailbox(&busy.name) });
        }
        job = busy.job;
        // A single turn is kept, so that who came first stays first. Of several none is kept: the one that could be
        // locked must not wait for the one that could not.
        turns = if names.len() == 1 { busy.turns } else { Vec::new() };
        turns.iter().for_each(Turn::set_stuck);
        sleep_until(deadline.min(Instant::now() + jitter())).await;
    }
}

/// Takes the turns that are missing. In order, so that two who want the same ones do not wait for each other. While one is
/// stuck, because its holder waits for another program, none is kept: that may take long, and delay nobody else.
async fn take_turns(
    place: &Place,
    names: &[String],
    turns: &mut Vec<Turn>,
    deadline: Instant,
) -> Result<(), StoreError> {
    while let Some(name) = names.get(turns.len()) {
        let lock = turn_lock(place, name);
        let mut take = pin!(Turn::take(Arc::clone(&lock), name));
        loop {
            let look = if turns.is_empty() { deadline } else { deadline.min(Instant::now() + LOOK) };
            if let Ok(turn) = timeout_at(look, &mut take).await {
                turns.push(turn);
                break;
            }
            if Instant::now() >= deadline {
                return Err(StoreError::Locked { path: place.mailbox(name) });
            }
            if lock.stuck.load(Ordering::Relaxed) {
                turns.clear();
                sleep_until(deadline.min(Instant::now() + jitter())).await;
                break;
            }
        }
    }
    Ok(())
}

/// What became of one try.
enum Attempt<T, Job> {
    Done(T),
    Busy(Busy<Job>),
}

struct Busy<Job> {
    name: String,
    /// Those that were not used.
    turns: Vec<Turn>,
    job: Job,
}

fn attempt<T, Job: FnOnce(&mut [Locked]) -> Result<T, StoreError>>(
    place: &Arc<Place>,
    turns: Vec<Turn>,
    job: Job,
) -> Result<Attempt<T, Job>, StoreError> {
    let mut locked = Vec::with_capacity(turns.len());
    for turn in turns {
        let name = turn.name.clone();
        match Locked::try_new(place, turn)? {
            Ok(mailbox) => locked.push(mailbox),
            Err(turn) => return Ok(Attempt::Busy(Busy { name, turns: vec![turn], job })),
        }
    }
    if let Some(name) = recover::repair(place, &mut locked)? {
        let turns = locked.into_iter().map(Locked::into_turn).collect();
        return Ok(Attempt::Busy(Busy { name, turns, job }));
    }
    job(&mut locked).map(Attempt::Done)
}

/// The right to touch one mailbox in this process, given in the order in which it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    name: String,
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    lock: Arc<TurnLock>,
    _guard: OwnedMutexGuard<()>,
}

#[derive(Debug, Default)]
struct TurnLock {
    mutex: Arc<tokio::sync::Mutex<()>>,
    /// Whoever has the turn waits for another program.
    stuck: AtomicBool,
}

impl Turn {
    async fn take(lock: Arc<TurnLock>, name: &str) -> Self {
        let guard = Arc::clone(&lock.mutex).lock_owned().await;
        Self::new(lock, name, guard)
    }

    /// The turn, if nobody has it.
    pub(crate) fn try_take(place: &Place, name: &str) -> Option<Self> {
        let lock = turn_lock(place, name);
        let guard = Arc::clone(&lock.mutex).try_lock_owned().ok()?;
        Some(Self::new(lock, name, guard))
    }

    fn new(lock: Arc<TurnLock>, name: &str, guard: OwnedMutexGuard<()>) -> Self {
        Self { name: name.to_owned(), held: Arc::new(Held { lock, _guard: guard }) }
    }

    /// Its holder waits for another program. Ends when the turn is given on.
    fn set_stuck(&self) {
        self.held.lock.stuck.store(true, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // The guard goes after this.
        self.lock.stuck.store(false, Ordering::Relaxed);
    }
}

/// A mailbox that is open, for all of this process that use it. That a flush has failed the system says once for each open
/// file; here it is told to each who had the mailbox locked then, and to the journal.
#[derive(Debug)]
pub(crate) struct OpenMailbox {
    file: File,
    /// One at a time: of two, one would hear of a failure, and the other would go on before that has been told.
    flushing: Mutex<()>,
    /// How many have failed.
    failures: AtomicU64,
}

impl OpenMailbox {
    pub(crate) fn new(file: File) -> Self {
        Self { file, flushing: Mutex::new(()), failures: AtomicU64::new(0) }
    }

    /// Flushes it by `sync`. If that fails, what waits in the journal for a flush of it is given up.
    pub(crate) fn flush(
        &self,
        place: &Place,
        name: &str,
        sync: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let _flushing = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        sync().inspect_err(|error| {
            place.journal.mistrust(place, name, error);
            // Behind that: who locks it from now on, and is told nothing, recovers what was given up.
            self.failures.fetch_add(1, Ordering::AcqRel);
        })
    }

    fn failures(&self) -> u64 {
        self.failures.load(Ordering::Acquire)
    }
}

impl std::ops::Deref for OpenMailbox {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

/// The mailboxes that are open in this process for whatever reason: opening them again would cost more than all the rest of
/// a lock. Who keeps a file open decides for how long; who locks one looks whether it still has its name.
#[derive(Debug, Default)]
pub(crate) struct Opened(Mutex<WeakTable<String, OpenMailbox>>);

impl Opened {
    fn get(&self, name: &str) -> Option<Arc<OpenMailbox>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entries.get(name)?.upgrade()
    }

    /// They are opened anew.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entries.clear();
    }

    fn put(&self, name: &str, file: &Arc<OpenMailbox>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(name.to_owned(), file);
    }
}

/// What somebody uses.
#[derive(Debug)]
struct WeakTable<K, V> {
    entries: HashMap<K, Weak<V>>,
    /// Entries nobody uses are dropped when the table has grown to this size.
    prune_at: usize,
}

impl<K, V> Default for WeakTable<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), prune_at: 0 }
    }
}

impl<K: Eq + Hash, V> WeakTable<K, V> {
    fn put(&mut self, key: K, value: &Arc<V>) {
        if self.entries.len() >= self.prune_at {
            self.entries.retain(|_, value| value.strong_count() > 0);
            self.prune_at = self.entries.len() * 2 + 64;
        }
        self.entries.insert(key, Arc::downgrade(value));
    }
}

/// A folder's device and inode, and the name of a mailbox.
type TurnKey = ((u64, u64), String);

/// The turns that somebody has or waits for. One table per process, not per store: two stores may be open on one folder.
static TURNS: LazyLock<Mutex<WeakTable<TurnKey, TurnLock>>> = LazyLock::new(Mutex::default);

fn turn_lock(place: &Place, name: &str) -> Arc<TurnLock> {
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (place.id, name.to_owned());
    if let Some(lock) = turns.entries.get(&key).and_then(Weak::upgrade) {
        return lock;
    }
    let lock = Arc::default();
    turns.put(key, &lock);
    lock
}

/// The lock of a POP3 session; goes when dropped, and when the process ends.
#[derive(Debug)]
pub(crate) struct Session {
    file: File,
}

impl Session {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`StoreError::InUse`] at once if another session has it, in this process or another.
    pub(crate) fn try_new(place: &Place, name: &str) -> Result<Self, StoreError> {
        let path = place.session(name);
        // The file is never removed: a lock on a file without a name would keep nobody out.
        let file = place.files.open_lock(&path)?;
        if try_lock(&file, &path)? { Ok(Self { file }) } else { Err(StoreError::InUse { name: name.to_owned() }) }
    }

    /// Whether its file still has its name: otherwise somebody else may have a session as well.
    pub(crate) fn is_at_its_path(&self, place: &Place, name: &str) -> Result<bool, StoreError> {
        let path = place.session(name);
        let failed = |source| StoreError::io(&path, source);
        let named = place.files.open_lock(&path)?;
        let [ours, named] = [self.file.metadata().map_err(failed)?, named.metadata().map_err(failed)?];
        Ok((ours.dev(), ours.ino()) == (named.dev(), named.ino()))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Closing the file is not enough while a child that has not called `exec` yet has it as well.
        unlock(&self.file, WHOLE);
    }
}

/// Takes the write lock on the whole of a file, if nobody has any lock on it. It belongs to the open file (OFD), so it
/// also keeps out other threads that have opened it themselves; locks of other programs by `fcntl` are of the same kind.
pub(crate) fn try_lock(file: &File, path: &Path) -> Result<bool, StoreError> {
    try_lock_part(file, path, WHOLE)
}

/// A part of a file that is locked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// Where it begins.
    pub(crate) at: libc::off_t,
    /// Its octets; 0: up to the end, however the file grows.
    pub(crate) octets: libc::off_t,
}

pub(crate) const WHOLE: Part = Part { at: 0, octets: 0 };

/// [`try_lock`] for a part of a file.
pub(crate) fn try_lock_part(file: &File, path: &Path, part: Part) -> Result<bool, StoreError> {
    match set_lock(file, part, libc::F_WRLCK) {
        Ok(()) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(StoreError::io(path, errno.into())),
    }
}

/// Whether somebody has the write lock on a part of a file. Takes no lock: this hinders nobody.
pub(crate) fn is_locked(file: &File, path: &Path, part: Part) -> Result<bool, StoreError> {
    let mut lock = flock(part, libc::F_RDLCK);
    fcntl(file.as_fd(), FcntlArg::F_OFD_GETLK(&mut lock)).map_err(|errno| StoreError::io(path, errno.into()))?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

/// Gives a lock back. If this fails it goes when the file is closed.
pub(crate) fn unlock(file: &File, part: Part) {
    let _ = set_lock(file, part, libc::F_UNLCK);
}

fn set_lock(file: &File, part: Part, kind: libc::c_int) -> Result<(), Errno> {
    fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&flock(part, kind))).map(drop)
}

fn flock(part: Part, kind: libc::c_int) -> libc::flock {
    // The kinds of lock and SEEK_SET are small numbers on every system.
    let [l_type, l_whence] = [kind, libc::SEEK_SET].map(|number| number as libc::c_short);
    libc::flock { l_type, l_whence, l_start: part.at, l_len: part.octets, l_pid: 0 }
}

/// Locks a mailbox without waiting: `None` if it cannot be had now.
///
/// # Errors
/// As [`Locked::try_new`].
pub(crate) fn lock_now(place: &Arc<Place>, name: &str) -> Result<Option<Locked>, StoreError> {
    let Some(turn) = Turn::try_take(place, name) else { return Ok(None) };
    Ok(Locked::try_new(place, turn)?.ok())
}

/// How long to wait before the next try; random, so that two programs that hinder each other do not do so again.
pub(crate) fn jitter() -> Duration {
    let (min, max) = RETRY_MS;
    // Every `RandomState` has other keys.
    let random = RandomState::new().build_hasher().finish();
    Duration::from_millis(min + random % (max - min + 1))
}

#[cfg(test)]
#[path = "locks/tests.rs"]
mod tests;
