//! The dotlock of a mailbox: `user.mbox.lock` (C-P8).
//!
//! It comes into being with its content, our process id: as a second name of a file that is written first. So a
//! process that is killed leaves a dotlock that says whose it was, or none.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use crate::StoreError;
use crate::files::{already_exists, not_found};
use crate::place::{Place, is_gone, is_own, open_to_look};

/// A dotlock this old is stale, whoever made it.
pub(crate) const DOTLOCK_STALE: Duration = Duration::from_secs(5 * 60);

/// How much of a dotlock is read; a process id is shorter.
const CONTENT_MAX_OCTETS: u64 = 64;

/// A dotlock that is ours.
#[derive(Debug)]
pub(crate) struct Dotlock {
    place: Arc<Place>,
    path: PathBuf,
    /// Kept open, so that no other file can get its inode number.
    file: File,
    leave: bool,
}

impl Dotlock {
    /// Takes the dotlock of a mailbox, if nobody has it. The caller has the turn and the `fcntl` lock, so that a
    /// dotlock of our own process is a leftover.
    pub(crate) fn try_new(place: &Arc<Place>, name: &str) -> Result<Option<Self>, StoreError> {
        let path = place.dotlock(name);
        if let Some(dotlock) = Self::create(place, path.clone())? {
            return Ok(Some(dotlock));
        }
        if remove_if_stale(place, name)? { Self::create(place, path) } else { Ok(None) }
    }

    /// [`Dotlock::release`] will do nothing.
    pub(crate) fn leave(&mut self) {
        self.leave = true;
    }

    /// Removes the dotlock, if it still is ours: it may have been taken for stale. If that fails it stays, and the next
    /// of us takes it for stale.
    pub(crate) fn release(&mut self) {
        if self.leave {
            return;
        }
        if let (Ok(named), Ok(ours)) = (self.path.symlink_metadata(), self.file.metadata())
            && is_same(&named, &ours)
        {
            let _ = self.place.files.remove(&self.path);
        }
    }

    fn create(place: &Arc<Place>, path: PathBuf) -> Result<Option<Self>, StoreError> {
        // In most cases of a busy mailbox this saves making a file for nothing.
        if path.symlink_metadata().is_ok() {
            return Ok(None);
        }
        let written = place.unique(&place.side, "lock-");
        let file = place.files.create_new(&written)?;
        let content = format!("{}\n", process::id());
        let linked = match place.files.write_all_at(&file, &written, content.as_bytes(), 0) {
            // On a full disk an empty one must do: removing mail, which makes room, takes a lock as well. If we are
            // killed, only its age says that it is stale.
            Err(StoreError::Full { .. }) => place.files.set_len(&file, &written, 0),
            result => result,
        };
        let linked = linked.and_then(|()| place.files.link(&written, &path));
        // If this fails the next start removes it.
        let _ = place.files.remove(&written);
        match linked {
            Ok(()) => Ok(Some(Self { place: Arc::clone(place), path, file, leave: false })),
            Err(error) if already_exists(&error) => Ok(None),
            Err(error) => Err(error),
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
    /// The dotlock at `path`, if there is one.
    pub(crate) fn look(path: &Path) -> Result<Option<Self>, StoreError> {
        let mut file = open_to_look(path).ok();
        let metadata = match file.as_ref().map_or_else(|| path.symlink_metadata(), File::metadata) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::io(path, source)),
        };
        let owner = if metadata.is_file() { file.as_mut().and_then(owner) } else { None };
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

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Removes the dotlock of a mailbox if it is stale. Whether there is none now, as far as we know.
fn remove_if_stale(place: &Place, name: &str) -> Result<bool, StoreError> {
    let path = place.dotlock(name);
    let failed = |source| StoreError::io(&path, source);
    let Some(judged) = Found::look(&path)? else { return Ok(true) };
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
    let age = metadata.modified().ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
    age.is_some_and(|age| age > DOTLOCK_STALE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// holds C-P8
    #[test]
    fn a_dotlock_of_an_earlier_boot_is_stale() {
        let booted = BOOTED.expect("this system says when it was started");
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("alice.mbox.lock")).unwrap();
        let judge = |modified| {
            file.set_modified(modified).unwrap();
            is_of_earlier_boot(&file.metadata().unwrap())
        };
        assert!(judge(booted - Duration::from_secs(1)));
        assert!(!judge(booted));
        assert!(!judge(SystemTime::now()));
    }
}
