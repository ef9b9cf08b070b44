//! The dotlock of a mailbox: `user.mbox.lock` (C-P8).
//!
//! It comes into being with its content, our process id: as a further name of a file that is written first. So a
//! process that is killed leaves a dotlock that says whose it was, or none. All dotlocks of a process are names of one
//! file: giving a file a name costs a fraction of what making one does, and there is one for each mailbox and delivery.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::StoreError;
use crate::files::{already_exists, not_found};
use crate::place::{Place, is_gone, is_own, open_to_look};

/// A dotlock this old is stale, whoever made it; so is one that will be made in as long from now: the clock was set back.
pub(crate) const DOTLOCK_STALE: Duration = Duration::from_secs(5 * 60);

/// A process that locks says so again after this time: well before anybody takes its dotlocks for stale.
const RENEW_AFTER: Duration = Duration::from_secs(30);

/// What the name of the file in the working folder begins with that dotlocks are further names of.
pub(crate) const KIND: &str = "lock-";

/// How much of a dotlock is read; a process id is shorter.
const CONTENT_MAX_OCTETS: u64 = 64;

/// The file that the dotlocks of this process are names of, while there is one.
#[derive(Debug, Default)]
pub(crate) struct LockFile(Mutex<Option<Arc<Written>>>);

#[derive(Debug)]
struct Written {
    path: PathBuf,
    /// Kept open, so that no other file can get its inode number.
    file: File,
    inode: Inode,
    renewed: Mutex<SystemTime>,
}

impl LockFile {
    /// The file, which says whose it is and since less than [`RENEW_AFTER`]. Another one if that cannot be written to any
    /// more.
    fn get(&self, place: &Place) -> Result<Arc<Written>, StoreError> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(written) = current.take() {
            if written.renew(place).is_ok() {
                *current = Some(Arc::clone(&written));
                return Ok(written);
            }
            written.remove(place);
        }
        let written = Arc::new(Written::create(place)?);
        *current = Some(Arc::clone(&written));
        Ok(written)
    }

    /// The next dotlock is a name of another file. What has the name of one already keeps it.
    fn forget(&self, place: &Place, written: &Arc<Written>) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(written) = current.take_if(|current| Arc::ptr_eq(current, written)) {
            written.remove(place);
        }
    }

    /// Nobody of this process locks any more.
    pub(crate) fn close(&self, place: &Place) {
        if let Some(written) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            written.remove(place);
        }
    }
}

impl Written {
    fn create(place: &Place) -> Result<Self, StoreError> {
        let path = place.unique(&place.side, KIND);
        let file = place.files.create_new(&path)?;
        let made = write_owner(place, &file, &path).and_then(|renewed| {
            let metadata = file.metadata().map_err(|source| StoreError::io(&path, source))?;
            Ok((renewed, inode(&metadata)))
        });
        match made {
            Ok((renewed, inode)) => Ok(Self { path, file, inode, renewed: Mutex::new(renewed) }),
            Err(error) => {
                // If this fails the next start removes it.
                let _ = place.files.remove(&path);
                Err(error)
            }
        }
    }

    /// Nobody may take a dotlock that is made now for an old one.
    fn renew(&self, place: &Place) -> Result<(), StoreError> {
        let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        // Also when the clock was set back.
        if renewed.elapsed().is_ok_and(|age| age < RENEW_AFTER) {
            return Ok(());
        }
        *renewed = write_owner(place, &self.file, &self.path)?;
        Ok(())
    }

    /// It says nothing: the disk was full.
    fn is_empty(&self) -> bool {
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) == SystemTime::UNIX_EPOCH
    }

    fn is_removed(&self, place: &Place) -> bool {
        !place.files.exists(&self.path)
    }

    /// Its dotlocks stay.
    fn remove(&self, place: &Place) {
        // If this fails the next start removes it.
        let _ = place.files.remove(&self.path);
    }
}

/// Writes what a dotlock says; when that was.
fn write_owner(place: &Place, file: &File, path: &Path) -> Result<SystemTime, StoreError> {
    match place.files.write_all_at(file, path, format!("{}\n", process::id()).as_bytes(), 0) {
        // On a full disk an empty one must do, until the next try: removing mail, which makes room, takes a lock as
        // well. Then the other name of the file says whose it is (`owner_by_name`).
        Err(StoreError::Full { .. }) => place.files.set_len(file, path, 0).map(|()| SystemTime::UNIX_EPOCH),
        result => result.map(|()| SystemTime::now()),
    }
}

/// A dotlock that is ours.
#[derive(Debug)]
pub(crate) struct Dotlock {
    place: Arc<Place>,
    path: PathBuf,
    written: Arc<Written>,
    leave: bool,
}

impl Dotlock {
    /// Takes the dotlock of a mailbox, if nobody has it or it is stale. The caller has the turn and the `fcntl` lock, so
    /// that a dotlock of our own process is a leftover.
    pub(crate) fn try_new(place: &Arc<Place>, name: &str) -> Result<Option<Self>, StoreError> {
        if let Some(dotlock) = Self::create(place, name)? {
            return Ok(Some(dotlock));
        }
        if remove_if_stale(place, name)? { Self::create(place, name) } else { Ok(None) }
    }

    /// [`Dotlock::release`] will do nothing. From now on this dotlock grows old. One that does not say whose it is would
    /// keep us out as well, and does not stay.
    pub(crate) fn leave(&mut self) {
        if self.written.is_empty() {
            return;
        }
        self.leave = true;
        self.place.lock_file.forget(&self.place, &self.written);
    }

    /// Removes the dotlock, if it still is ours: it may have been taken for stale. If that fails it stays and grows old,
    /// and the next of us takes it for stale.
    pub(crate) fn release(&mut self) {
        if self.leave {
            return;
        }
        let is_gone = match self.path.symlink_metadata() {
            Ok(named) => inode(&named) != self.written.inode || self.place.files.remove(&self.path).is_ok(),
            Err(_) => false,
        };
        if !is_gone {
            self.leave();
        }
    }

    /// Takes the dotlock of a mailbox, if there is none.
    pub(crate) fn create(place: &Arc<Place>, name: &str) -> Result<Option<Self>, StoreError> {
        let path = place.dotlock(name);
        loop {
            let written = match place.lock_file.get(place) {
                // The working folder was removed, and perhaps there is another one.
                Err(error) if not_found(&error) => return place.journal.prove(place).and(Err(error)),
                written => written?,
            };
            match place.files.link(&written.path, &path) {
                Ok(()) => return Ok(Some(Self { place: Arc::clone(place), path, written, leave: false })),
                Err(error) if already_exists(&error) => return Ok(None),
                // Another process, which takes us for dead. A process does so when it starts, and not again and again.
                Err(error) if not_found(&error) && written.is_removed(place) => place.lock_file.forget(place, &written),
                // The working folder may be on another mount by now than DIR.
                Err(error) => return place.journal.prove(place).and(Err(error)),
            }
        }
    }
}

/// A dotlock of anybody.
pub(crate) struct Found {
    /// What is judged stays open, so that no other file can get its inode number meanwhile.
    _file: Option<File>,
    metadata: Metadata,
    /// The process that it names. Some programs write nothing, or 0: then only its age counts.
    pub(crate) owner: Option<i32>,
}

impl Found {
    /// The dotlock of a mailbox, if there is one.
    pub(crate) fn look(place: &Place, name: &str) -> Result<Option<Self>, StoreError> {
        let path = &place.dotlock(name);
        let mut file = open_to_look(path).ok();
        let metadata = match file.as_ref().map_or_else(|| path.symlink_metadata(), File::metadata) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::io(path, source)),
        };
        let owner = match (metadata.is_file(), metadata.len()) {
            (true, 0) if metadata.nlink() > 1 => owner_by_name(place, inode(&metadata)),
            (true, _) => file.as_mut().and_then(owner),
            _ => None,
        };
        Ok(Some(Self { _file: file, metadata, owner }))
    }

    /// Whether nobody can be waiting for it to be given back. `is_ours`: this process may hold it; otherwise one that
    /// names this process was left by an earlier one with the same id.
    pub(crate) fn is_stale(&self, is_ours: bool) -> bool {
        let is_left = |pid| if is_own(pid) { !is_ours } else { is_gone(pid) };
        let is_abandoned = is_old(&self.metadata) || is_of_earlier_boot(&self.metadata);
        !self.metadata.is_dir() && (is_abandoned || self.owner.is_some_and(is_left))
    }
}

/// Device and inode of a file: enough to know it by while it is open. Both its names have the same.
type Inode = (u64, u64);

fn inode(metadata: &Metadata) -> Inode {
    (metadata.dev(), metadata.ino())
}

/// Whether both are the same file, not renewed in between.
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    inode(one) == inode(other) && (one.mtime(), one.mtime_nsec()) == (other.mtime(), other.mtime_nsec())
}

/// Whether the dotlock of a mailbox is stale, or gone by now. Nothing is done with it.
pub(crate) fn seems_stale(place: &Place, name: &str) -> Result<bool, StoreError> {
    Ok(Found::look(place, name)?.is_none_or(|found| found.is_stale(false)))
}

/// Removes the dotlock of a mailbox if it is stale. Whether there is none now, as far as we know.
fn remove_if_stale(place: &Place, name: &str) -> Result<bool, StoreError> {
    let path = place.dotlock(name);
    let failed = |source| StoreError::io(&path, source);
    let Some(judged) = Found::look(place, name)? else { return Ok(true) };
    if !judged.is_stale(false) {
        return Ok(false);
    }
    // Between judging and removing, another program may have done the same and made a new lock. So the file is moved
    // out of the way first, and put back if it is not the one that was judged.
    let aside = place.unique(&place.side, "stale-");
    match place.files.rename(&path, &aside) {
        Ok(()) => {}
        Err(error) if not_found(&error) => return Ok(true),
        Err(error) => return Err(error),
    }
    let moved = aside.symlink_metadata().map_err(failed)?;
    let is_judged = is_same(&moved, &judged.metadata);
    if !is_judged {
        // If there is a third lock already, two programs hold one: only a lock that is broken by force does that.
        let _ = place.files.link(&aside, &path);
    }
    place.files.remove(&aside)?;
    if is_judged {
        place.note(|notes| notes.files_removed += 1);
    }
    Ok(is_judged)
}

/// The process that a dotlock names.
fn owner(file: &mut File) -> Option<i32> {
    let mut content = String::new();
    file.take(CONTENT_MAX_OCTETS).read_to_string(&mut content).ok()?;
    content.trim().parse().ok()
}

/// The process that made this file, by the name it has in the working folder.
fn owner_by_name(place: &Place, which: Inode) -> Option<i32> {
    let names = place.names_in(&place.side).ok()?;
    let is_it = |name: &&String| place.side.join(name).symlink_metadata().is_ok_and(|named| inode(&named) == which);
    let name = names.iter().filter(|name| name.starts_with(KIND)).find(is_it)?;
    name.strip_prefix(KIND)?.split_once('-')?.0.parse().ok()
}

/// Whether it was made before the system was started: whoever made it is gone. A power cut can leave a dotlock without
/// its content, and a process may have got the id that it names.
fn is_of_earlier_boot(metadata: &Metadata) -> bool {
    metadata.modified().is_ok_and(|modified| BOOTED.is_some_and(|booted| modified < booted))
}

/// When the system was started; `None` where it does not say.
static BOOTED: LazyLock<Option<SystemTime>> = LazyLock::new(|| {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
});

fn is_old(metadata: &Metadata) -> bool {
    let distance = |modified| match SystemTime::now().duration_since(modified) {
        Ok(age) => age,
        Err(ahead) => ahead.duration(),
    };
    metadata.modified().is_ok_and(|modified| distance(modified) > DOTLOCK_STALE)
}

#[cfg(test)]
#[path = "dotlock/tests.rs"]
mod tests;
