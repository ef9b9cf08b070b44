//! The folder: where which file is, and what the threads of this process share about it.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::kill;
use nix::unistd::{AccessFlags, Pid, access};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::commit::Waiting;
use crate::dotlock::LockFile;
use crate::files::{Files, already_exists};
use crate::folders::{Folder, Folders, Owners};
use crate::index::INDEX_FROM_OCTETS;
use crate::journal::Journal;
use crate::locks::Opened;
use crate::{Recovery, StoreError, is_mailbox_name};

/// What a mailbox's file name ends with.
pub(crate) const EXTENSION: &str = ".mbox";

/// What the queue is called among the names of mailboxes. It is locked, appended to and repaired like them, and no
/// mailbox can have this name.
pub(crate) const QUEUE: &str = ".mqueue";

/// The name of the folder in the working folder in which the segments of journals are.
const JOURNAL: &str = "journal";

/// The file name of the queue (C-F1).
const QUEUE_FILE: &str = "mqueue";

/// What a person knows a mailbox by, or the queue.
pub(crate) fn known_as(name: &str) -> &str {
    if name == QUEUE { QUEUE_FILE } else { name }
}

/// Whether files of ours may be about something of this name: a mailbox, or the queue.
pub(crate) fn is_known_name(name: &str) -> bool {
    name == QUEUE || is_mailbox_name(name)
}

/// A folder of mailboxes and the working folder inside it.
#[derive(Debug)]
pub(crate) struct Place {
    /// The folder, without links in its path.
    pub(crate) dir: PathBuf,
    /// Our working folder.
    pub(crate) side: Arc<Path>,
    /// Where the segments of journals are.
    pub(crate) segments: PathBuf,
    /// Device and inode of the folder: what it is known by in this process.
    pub(crate) id: (u64, u64),
    pub(crate) files: Files,
    era: Mutex<String>,
    /// A mailbox of fewer octets has no index.
    pub(crate) index_from: AtomicU64,
    /// What this process writes to the journal.
    pub(crate) journal: Journal,
    /// Messages that wait for the journal.
    pub(crate) waiting: Waiting,
    /// What dotlocks are names of.
    pub(crate) lock_file: LockFile,
    /// Mailboxes that need not be opened again.
    pub(crate) opened: Opened,
    /// Whose files count in the working folder.
    owners: Owners,
    /// One at a time begins anew.
    renewing: Mutex<()>,
    /// What recovery has done since somebody asked.
    notes: Mutex<Recovery>,
}

impl Place {
    /// Finds the folder and makes the working folders, mode 0700.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(dir, Files::default())
    }

    fn open_with(dir: &Path, files: Files) -> Result<Self, StoreError> {
        let place = Self::find_with(dir, files)?;
        place.files.create_dir(&place.side)?;
        place.enter_folders()?;
        Ok(place)
    }

    /// Opens the folders, makes that of the journal if it is missing, and uses them from now on.
    fn enter_folders(&self) -> Result<(), StoreError> {
        let mended = |what| self.note(|notes| notes.problem(what));
        let dir = || File::open(&self.dir).map_err(|source| StoreError::io(&self.dir, source));
        let side = || Folder::open((CWD, &self.side), &self.side, self.owners, mended);
        self.files.enter(Folders { dir: dir()?, side: side()?, segments: None });
        if !self.files.exists(&self.segments) {
            // What is in a folder is as durable as the folder. The second folder says that the first one is.
            self.sync_dir()?;
            self.files.create_dir(&self.segments)?;
            self.sync_side()?;
        }
        let side = side()?;
        let segments = Folder::open((side.file.as_fd(), Path::new(JOURNAL)), &self.segments, self.owners, mended)?;
        self.files.enter(Folders { dir: dir()?, side, segments: Some(segments) });
        *self.era.lock().unwrap_or_else(PoisonError::into_inner) = era(&self.dir);
        Ok(())
    }

    /// As long as this is the same, what was written is there, flushed or not: see [`era`].
    pub(crate) fn era(&self) -> String {
        self.era.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The folders that are open are no longer those that the names lead to: what is in a journal that nobody finds again
    /// counts for nothing. Mailboxes are flushed, and all begins anew, with the folders that are there now. Not with those
    /// of a mount that is read-only: nothing can be done in them, and open ones would keep it from going away again.
    ///
    /// # Errors
    /// Always: nothing may be done with what was locked or looked at before.
    pub(crate) fn begin_anew<T>(&self) -> Result<T, StoreError> {
        let again = || StoreError::io(&self.side, io::Error::other("was removed or replaced; try again"));
        let _renewing = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.journal.is_found(self)? {
            // Somebody else has noticed it too.
            return Err(again());
        }
        if let Err(Errno::EROFS) = access(&*self.side, AccessFlags::W_OK) {
            return Err(StoreError::io(&self.side, Errno::EROFS.into()));
        }
        self.journal.let_go(self, || {
            self.lock_file.close(self);
            self.opened.forget();
            // If it is missing, the folder is not mounted, perhaps.
            self.enter_folders()
        })?;
        let what = "was removed or replaced while it was in use; what was accepted is in the mailboxes";
        self.note(|notes| notes.problem(format!("{}: {what}", self.side.display())));
        Err(again())
    }

    /// Finds the folder and makes nothing: there may be no working folders.
    pub(crate) fn find(dir: &Path) -> Result<Self, StoreError> {
        Self::find_with(dir, Files::default())
    }

    fn find_with(dir: &Path, files: Files) -> Result<Self, StoreError> {
        let failed = |source| StoreError::io(dir, source);
        let dir = dir.canonicalize().map_err(failed)?;
        let metadata = dir.metadata().map_err(failed)?;
        let side = dir.join(".pillarbox");
        let segments = side.join(JOURNAL);
        Ok(Self {
            id: (metadata.dev(), metadata.ino()),
            era: Mutex::new(era(&dir)),
            dir,
            side: side.into(),
            segments,
            files: files.for_owner_of(&metadata),
            index_from: AtomicU64::new(INDEX_FROM_OCTETS),
            journal: Journal::default(),
            waiting: Waiting::default(),
            lock_file: LockFile::default(),
            opened: Opened::default(),
            owners: Owners::of(&metadata),
            renewing: Mutex::default(),
            notes: Mutex::default(),
        })
    }

    /// Makes the names of mailboxes durable.
    pub(crate) fn sync_dir(&self) -> Result<(), StoreError> {
        self.sync_folder(&self.dir, |folders| Some(&folders.dir))
    }

    /// Makes the names in the working folder durable.
    pub(crate) fn sync_side(&self) -> Result<(), StoreError> {
        self.sync_folder(&self.side, |folders| Some(&folders.side.file))
    }

    /// Makes the names of segments durable.
    pub(crate) fn sync_segments(&self) -> Result<(), StoreError> {
        self.sync_folder(&self.segments, |folders| folders.segments.as_ref().map(|folder| &folder.file))
    }

    fn sync_folder(&self, path: &Path, which: fn(&Folders) -> Option<&File>) -> Result<(), StoreError> {
        // They are missing only where nothing is changed.
        let missing = || StoreError::io(path, io::Error::from(io::ErrorKind::NotFound));
        let folders = self.files.folders();
        self.files.sync_dir(folders.as_deref().and_then(which).ok_or_else(missing)?, path)
    }

    pub(crate) fn mailbox(&self, name: &str) -> PathBuf {
        self.dir.join(file_name(name))
    }

    pub(crate) fn dotlock(&self, name: &str) -> PathBuf {
        self.dir.join(file_name(name) + ".lock")
    }

    /// The mailbox, or the queue, that a dotlock of this file name belongs to.
    pub(crate) fn name_of_dotlock(file: &str) -> Option<&str> {
        match file.strip_suffix(".lock")? {
            QUEUE_FILE => Some(QUEUE),
            file => file.strip_suffix(EXTENSION).filter(|name| is_mailbox_name(name)),
        }
    }

    /// A file in which each item that somebody is sending has an octet, which is locked as long as that one lives.
    pub(crate) fn claims(&self) -> PathBuf {
        self.side.join("mqueue.claims")
    }

    pub(crate) fn session(&self, name: &str) -> PathBuf {
        self.side.join(format!("{name}.maildrop"))
    }

    pub(crate) fn index(&self, name: &str) -> PathBuf {
        self.side.join(format!("{name}.index"))
    }

    pub(crate) fn update(&self, name: &str) -> PathBuf {
        self.side.join(format!("{name}.update"))
    }

    pub(crate) fn update_tmp(&self, name: &str) -> PathBuf {
        self.side.join(format!("{name}.update.tmp"))
    }

    /// [`Files::names_in`].
    pub(crate) fn names_in(&self, folder: &Path) -> Result<Vec<String>, StoreError> {
        self.files.names_in(folder)
    }

    /// The names of the mailboxes, sorted.
    pub(crate) fn mailboxes(&self) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        for file in self.names_in(&self.dir)? {
            if let Some(name) = file.strip_suffix(EXTENSION)
                && matches!(self.inspect(name), Ok(true) | Err(StoreError::HardLinked { .. }))
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Whether there is a mailbox of this name (C-S6).
    ///
    /// # Errors
    /// [`StoreError::HardLinked`], and [`StoreError::Io`] when nobody can tell: if the working folder is missing, the
    /// folder is not mounted, and its mailboxes are not gone.
    pub(crate) fn inspect(&self, name: &str) -> Result<bool, StoreError> {
        if !is_mailbox_name(name) {
            return Ok(false);
        }
        let path = self.mailbox(name);
        match path.symlink_metadata() {
            Ok(metadata) => check_metadata(&path, &metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.side.metadata().map_err(|source| StoreError::io(&self.side, source))?;
                Ok(false)
            }
            Err(source) => Err(StoreError::io(&path, source)),
        }
    }

    /// Opens a mailbox for reading and writing, if it is one (C-S6). The queue is made when there is none.
    pub(crate) fn open_mailbox(&self, name: &str) -> Result<File, StoreError> {
        let path = self.mailbox(name);
        if name == QUEUE && !path.exists() {
            match self.files.create_new(&path) {
                Err(error) if !already_exists(&error) => return Err(error),
                _ => {}
            }
        }
        let absent = || StoreError::NoSuchMailbox { name: name.to_owned() };
        let mut opened = open_no_follow(&path, true);
        if opened.as_ref().is_err_and(is_out_of_descriptors) {
            // Those of mail that is not flushed yet are closed by that.
            self.journal.checkpoint(self);
            opened = open_no_follow(&path, true);
        }
        let file = opened.map_err(|source| match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOENT | Errno::ELOOP | Errno::EISDIR | Errno::ENXIO | Errno::ENODEV) => absent(),
            _ => StoreError::io(&path, source),
        })?;
        let metadata = file.metadata().map_err(|source| StoreError::io(&path, source))?;
        if check_metadata(&path, &metadata)? { Ok(file) } else { Err(absent()) }
    }

    /// A name for a file of this process: `KIND-PID-N`, used once.
    pub(crate) fn unique(&self, folder: &Path, kind: &str) -> PathBuf {
        folder.join(format!("{kind}{}-{}", process::id(), SEQUENCE.1.fetch_add(1, Ordering::Relaxed)))
    }

    /// Adds to what [`Place::take_notes`] will give.
    pub(crate) fn note(&self, add: impl FnOnce(&mut Recovery)) {
        add(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What recovery has done since the last call.
    pub(crate) fn take_notes(&self) -> Recovery {
        std::mem::take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Nobody uses the place any more: a last checkpoint.
impl Drop for Place {
    fn drop(&mut self) {
        self.journal.close(self);
        self.lock_file.close(self);
    }
}

/// What tells one boot of the system from another; empty where the system does not say.
static BOOT: LazyLock<String> = LazyLock::new(|| {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or_else(|_| String::new(), |id| id.trim().to_owned())
});

/// STATX_MNT_ID_UNIQUE, for which `rustix` has no name.
pub(crate) const MOUNT_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// The boot and the mount of a folder, between whose beginning and end nothing that was written is lost: a disk can go and
/// come back without a boot. Empty where the system does not say: ids of mounts that are not used again it knows since
/// Linux 6.8.
fn era(dir: &Path) -> String {
    let mount = statx(CWD, dir, AtFlags::empty(), MOUNT_UNIQUE).ok();
    let mount = mount.filter(|said| said.stx_mask & MOUNT_UNIQUE.bits() != 0);
    match mount.map(|said| said.stx_mnt_id) {
        Some(mount) if !BOOT.is_empty() => format!("{} {mount}", *BOOT),
        // The tests are about what follows from it.
        None if cfg!(test) => BOOT.clone(),
        _ => String::new(),
    }
}

/// Numbers for [`Place::unique`]. They begin with the time, so that a process with the id of an earlier one (in a
/// container it is 1 every time) can tell what that one left behind.
static SEQUENCE: LazyLock<(u64, AtomicU64)> = LazyLock::new(|| {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    // Nanoseconds since 1970 fit into 64 bits until 2554.
    let now = u64::try_from(now).unwrap_or(0);
    (now, AtomicU64::new(now))
});

/// Whether the process that made a file with a name of [`Place::unique`] is gone. `name` is what follows its kind.
pub(crate) fn is_left_behind(name: &str) -> bool {
    let Some((pid, number)) = name.split_once('-') else { return false };
    match (pid.parse::<i32>(), number.parse::<u64>()) {
        (Ok(pid), Ok(number)) if is_own(pid) => number < SEQUENCE.0,
        (Ok(pid), Ok(_)) => is_gone(pid),
        _ => false,
    }
}

/// Whether this is the id of our own process.
pub(crate) fn is_own(pid: i32) -> bool {
    u32::try_from(pid) == Ok(process::id())
}

/// Whether no process has this id. Numbers that name no process (0 and below) are not gone either.
pub(crate) fn is_gone(pid: i32) -> bool {
    pid > 0 && kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH)
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EMFILE | Errno::ENFILE))
}

/// Opens a file without following a link and without waiting for the other side of a pipe.
pub(crate) fn open_no_follow(path: &Path, write: bool) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    OpenOptions::new().read(true).write(write).custom_flags(flags.bits()).open(path)
}

/// [`open_no_follow`] for reading, without a trace where that can be had: by the time of the last access mail programs
/// tell whether a mailbox has new mail. Only the owner of a file may leave that time alone.
pub(crate) fn open_to_look(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOATIME;
    match OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open_no_follow(path, false),
        result => result,
    }
}

/// [`open_to_look`]; `None` if there is no such file.
///
/// # Errors
/// [`StoreError::Io`], also when it is a link.
pub(crate) fn open_if_there(path: &Path) -> Result<Option<File>, StoreError> {
    match open_to_look(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::io(path, source)),
    }
}

/// Fills `buffer` from `offset` on if all of that is in the memory of the system; never waits for the disk.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] if it is not, and where the file or the system knows no such reading.
pub(crate) fn read_cached_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let wanted = buffer.len();
    match rustix::io::preadv2(file, &mut [io::IoSliceMut::new(buffer)], offset, rustix::io::ReadWriteFlags::NOWAIT) {
        Ok(read) if read == wanted => Ok(read),
        _ => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Fills `buffer` from `offset` on, as far as the file goes.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn file_name(name: &str) -> String {
    if name == QUEUE { QUEUE_FILE.to_owned() } else { format!("{name}{EXTENSION}") }
}

/// What tells a file from every other that had its name before. Inode numbers alone are used again, at once by some file
/// systems; so the time at which it was made belongs to it, where the file system knows that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    inode: u64,
    id: u64,
}

impl FileId {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let inode = metadata.ino();
        let made = metadata.created().ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok());
        let mixed = |made: Duration| xxh3_64_with_seed(&made.as_nanos().to_le_bytes(), inode);
        Self { inode, id: made.map_or(inode, mixed) }
    }

    /// How it is written down.
    pub(crate) fn number(self) -> u64 {
        self.id
    }

    /// Whether it was written down as this. Earlier versions wrote the inode number.
    pub(crate) fn is(self, number: u64) -> bool {
        number == self.id || number == self.inode
    }
}

/// Whether a file is a mailbox (C-S6).
pub(crate) fn check_metadata(path: &Path, metadata: &Metadata) -> Result<bool, StoreError> {
    match (metadata.is_file(), metadata.nlink()) {
        (false, _) => Ok(false),
        (true, 0 | 1) => Ok(true),
        (true, _) => Err(StoreError::HardLinked { path: path.to_owned() }),
    }
}

#[cfg(test)]
#[path = "place/tests.rs"]
mod tests;
