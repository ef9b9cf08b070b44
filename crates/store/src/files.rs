//! Every operation that changes a file or a folder, and nothing else.
//!
//! It is one small module so that the order of operations can be tested: each can be made to fail, and the process to
//! "die" in front of each. Reading, opening and locking change nothing and are not here.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileExt, MetadataExt, fchown};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use nix::unistd::Uid;
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, linkat, mkdirat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use crate::StoreError;
use crate::folders::{Folders, Owners, is_no_file};
use crate::journal::segment::random;

/// No link is followed, and the other side of a pipe is not waited for.
const CAREFULLY: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
/// How files are made, and their mode.
const ANEW: OFlags = OFlags::RDWR.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::CLOEXEC);
const MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// The operations. Errors name the path.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// User and group who get what is made, if those are not ours.
    owner: Option<(u32, u32)>,
    /// Whose files count.
    trusted: Owners,
    folders: RwLock<Option<Arc<Folders>>>,
    #[cfg(test)]
    faults: std::sync::Mutex<tests::Faults>,
    #[cfg(test)]
    record: std::sync::Mutex<Option<Vec<tests::Operation>>>,
}

impl Files {
    /// The superuser gives what it makes in a folder to the owner of that: their own programs must be able to use it too.
    #[must_use]
    pub(crate) fn for_owner_of(mut self, folder: &Metadata) -> Self {
        let owner = (folder.uid(), folder.gid());
        self.owner = (Uid::effective().is_root() && owner.0 != 0).then_some(owner);
        self.trusted = Owners::of(folder);
        self
    }

    /// Gives away what was made this moment. Nothing else: it might be a link that somebody has put there.
    fn give(&self, file: &File, path: &Path) -> Result<(), StoreError> {
        let Some((user, group)) = self.owner else { return Ok(()) };
        fchown(file, Some(user), Some(group)).map_err(|source| {
            let what = format!("cannot be given to the owner of the folder, user {user}: {source}; run as that user");
            StoreError::io(path, io::Error::new(source.kind(), what))
        })
    }

    /// From now on the files in these folders are used by their handles.
    pub(crate) fn enter(&self, folders: Folders) {
        *self.folders.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(folders));
    }

    /// The folders that are open.
    pub(crate) fn folders(&self) -> Option<Arc<Folders>> {
        self.folders.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Does something with a path, by the handle of the folder that it is in.
    fn at<T>(
        &self,
        path: &Path,
        work: impl FnOnce(BorrowedFd<'_>, &Path) -> rustix::io::Result<T>,
    ) -> Result<T, StoreError> {
        let folders = self.folders();
        let (folder, name) = folders.as_ref().map_or((CWD, path), |folders| folders.at(path));
        work(folder, name).map_err(|errno| StoreError::io(path, errno.into()))
    }

    /// Opens a file in the working folder, if it is there, without following a link or waiting for a pipe.
    ///
    /// # Errors
    /// [`is_not_ours`] tells those of what is no regular file, has further names, or belongs to somebody else.
    pub(crate) fn open_ours(&self, path: &Path, write: bool) -> Result<Option<File>, StoreError> {
        self.open_with_links(path, write, 1)
    }

    fn open_with_links(&self, path: &Path, write: bool, links_max: u64) -> Result<Option<File>, StoreError> {
        let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
        match self.at(path, |folder, name| openat(folder, name, access | CAREFULLY, Mode::empty())) {
            Ok(file) => self.if_ours(file.into(), path, links_max).map(Some),
            Err(error) if not_found(&error) => Ok(None),
            Err(StoreError::Io { source, .. }) if is_no_file(&source) => Err(not_ours(path)),
            Err(error) => Err(error),
        }
    }

    fn if_ours(&self, file: File, path: &Path, links_max: u64) -> Result<File, StoreError> {
        let is_ours = self.trusted.have(&file, links_max).map_err(|source| StoreError::io(path, source))?;
        if is_ours { Ok(file) } else { Err(not_ours(path)) }
    }

    /// A file without a name in a folder that is open, gone with its last handle.
    pub(crate) fn temporary(&self, folder: &Path) -> Result<File, StoreError> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let folders = self.folders();
        let made = match folders.as_ref().and_then(|folders| folders.handle(folder)) {
            Some(handle) => openat(handle, ".", flags, MODE),
            None => openat(CWD, folder, flags, MODE),
        };
        match made {
            // A file system that knows none.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => {
                let path = folder.join(format!(".tmp{:016x}", random()));
                let file = self.at(&path, |folder, name| openat(folder, name, ANEW, MODE))?;
                self.at(&path, |folder, name| unlinkat(folder, name, AtFlags::empty()))?;
                Ok(file.into())
            }
            result => result.map(File::from).map_err(|errno| StoreError::io(folder, errno.into())),
        }
    }

    /// The names of the files in a folder, those that are UTF-8; ours all are.
    pub(crate) fn names_in(&self, folder: &Path) -> Result<Vec<String>, StoreError> {
        let failed = |source| StoreError::io(folder, source);
        let mut names = Vec::new();
        if let Some(handle) = self.folders().as_ref().and_then(|folders| folders.handle(folder)) {
            for file in Dir::read_from(handle).map_err(|errno| failed(errno.into()))? {
                let file = file.map_err(|errno| failed(errno.into()))?;
                names.extend(
                    file.file_name().to_str().ok().filter(|name| ![".", ".."].contains(name)).map(str::to_owned),
                );
            }
        } else {
            for file in fs::read_dir(folder).map_err(failed)? {
                names.extend(file.map_err(failed)?.file_name().into_string());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Whether there is something of this name.
    pub(crate) fn exists(&self, path: &Path) -> bool {
        self.at(path, |folder, name| statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)).is_ok()
    }

    /// Creates a folder, mode 0700, if there is nothing of its name.
    pub(crate) fn create_dir(&self, path: &Path) -> Result<(), StoreError> {
        self.step(path)?;
        match self.at(path, |folder, name| mkdirat(folder, name, Mode::RWXU)) {
            Err(error) if already_exists(&error) => Ok(()),
            Ok(()) if self.owner.is_some() => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made = self.at(path, |folder, name| openat(folder, name, flags, Mode::empty()));
                let given = made.and_then(|made| self.give(&made.into(), path));
                // A folder that is there is taken for right.
                let undo =
                    |_: &StoreError| drop(self.at(path, |folder, name| unlinkat(folder, name, AtFlags::REMOVEDIR)));
                given.inspect_err(undo)
            }
            result => result,
        }
    }

    /// Creates a file that must not exist yet, for reading and writing, mode 0600.
    pub(crate) fn create_new(&self, path: &Path) -> Result<File, StoreError> {
        self.step(path)?;
        let file = self.create(path)?;
        self.did(Did::Create(path, &file));
        Ok(file)
    }

    fn create(&self, path: &Path) -> Result<File, StoreError> {
        let file = File::from(self.at(path, |folder, name| openat(folder, name, ANEW, MODE))?);
        let undo = |_: &StoreError| drop(self.at(path, |folder, name| unlinkat(folder, name, AtFlags::empty())));
        self.give(&file, path).inspect_err(undo)?;
        Ok(file)
    }

    /// Opens a file in the working folder for reading and writing; creates it, mode 0600, if it does not exist. What
    /// stands there and is not ours goes: nothing that counts for long is in such files.
    pub(crate) fn open_or_create(&self, path: &Path) -> Result<File, StoreError> {
        self.open_or_create_with(path, 1)
    }

    /// The same for a file that is never written to: it stays, with the locks that others have on it, though somebody has
    /// given it further names (a backup, perhaps).
    pub(crate) fn open_lock(&self, path: &Path) -> Result<File, StoreError> {
        self.open_or_create_with(path, u64::MAX)
    }

    fn open_or_create_with(&self, path: &Path, links_max: u64) -> Result<File, StoreError> {
        self.step(path)?;
        loop {
            match self.open_with_links(path, true, links_max) {
                Ok(Some(file)) => return Ok(file),
                Ok(None) => match self.create(path) {
                    Err(error) if already_exists(&error) => {}
                    result => return result,
                },
                Err(error) if is_not_ours(&error) => {
                    self.at(path, |folder, name| unlinkat(folder, name, AtFlags::empty()))?
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn write_all_at(&self, file: &File, path: &Path, octets: &[u8], offset: u64) -> Result<(), StoreError> {
        let end = offset + octets.len() as u64;
        let fault = self.step(path).and_then(|()| self.room(file, path, end));
        fault.inspect_err(|_| self.torn(file, octets, offset))?;
        file.write_all_at(octets, offset).map_err(|source| StoreError::io(path, source))?;
        self.did(Did::Write(file, octets, offset));
        Ok(())
    }

    /// Makes content and length durable.
    pub(crate) fn sync_data(&self, file: &File, path: &Path) -> Result<(), StoreError> {
        self.step(path).inspect_err(|_| self.did(Did::FailedSync(file)))?;
        file.sync_data().map_err(|source| StoreError::io(path, source))?;
        self.did(Did::Sync(file));
        Ok(())
    }

    /// Makes content, length and the rest of the inode durable.
    pub(crate) fn sync_all(&self, file: &File, path: &Path) -> Result<(), StoreError> {
        self.step(path).inspect_err(|_| self.did(Did::FailedSync(file)))?;
        file.sync_all().map_err(|source| StoreError::io(path, source))?;
        self.did(Did::Sync(file));
        Ok(())
    }

    pub(crate) fn set_len(&self, file: &File, path: &Path, octets: u64) -> Result<(), StoreError> {
        self.step(path)?;
        file.set_len(octets).map_err(|source| StoreError::io(path, source))?;
        self.did(Did::SetLen(file, octets));
        Ok(())
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        self.step(from)?;
        self.at(from, |from_folder, from_name| {
            let folders = self.folders();
            let (folder, name) = folders.as_ref().map_or((CWD, to), |folders| folders.at(to));
            renameat(from_folder, from_name, folder, name)
        })?;
        self.did(Did::Rename(from, to));
        Ok(())
    }

    /// Gives a file a second name, which must not exist yet.
    pub(crate) fn link(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        self.step(to)?;
        self.at(to, |to_folder, to_name| {
            let folders = self.folders();
            let (folder, name) = folders.as_ref().map_or((CWD, from), |folders| folders.at(from));
            linkat(folder, name, to_folder, to_name, AtFlags::empty())
        })?;
        self.did(Did::Link(from, to));
        Ok(())
    }

    pub(crate) fn remove(&self, path: &Path) -> Result<(), StoreError> {
        self.step(path)?;
        self.at(path, |folder, name| unlinkat(folder, name, AtFlags::empty()))?;
        self.did(Did::Remove(path));
        Ok(())
    }

    /// Makes names in a folder durable: what was created, renamed and removed there.
    pub(crate) fn sync_dir(&self, dir: &File, path: &Path) -> Result<(), StoreError> {
        self.step(path)?;
        dir.sync_all().map_err(|source| StoreError::io(path, source))?;
        self.did(Did::SyncDir(path));
        Ok(())
    }

    /// Where tests make the next operation fail.
    #[cfg(not(test))]
    #[inline]
    fn step(&self, _: &Path) -> Result<(), StoreError> {
        Ok(())
    }

    /// Where tests fill the disk.
    #[cfg(not(test))]
    #[inline]
    fn room(&self, _: &File, _: &Path, _: u64) -> Result<(), StoreError> {
        Ok(())
    }

    /// Where tests leave half of a write.
    #[cfg(not(test))]
    #[inline]
    fn torn(&self, _: &File, _: &[u8], _: u64) {}

    /// Where tests record what was done.
    #[cfg(not(test))]
    #[inline]
    fn did(&self, _: Did<'_>) {}
}

/// An operation that was done.
#[derive(Clone, Copy)]
#[cfg_attr(not(test), allow(dead_code, reason = "only tests look at it"))]
enum Did<'a> {
    Create(&'a Path, &'a File),
    Write(&'a File, &'a [u8], u64),
    SetLen(&'a File, u64),
    Sync(&'a File),
    FailedSync(&'a File),
    Rename(&'a Path, &'a Path),
    Link(&'a Path, &'a Path),
    Remove(&'a Path),
    SyncDir(&'a Path),
}

/// Whether an error says that the file is there already.
pub(crate) fn already_exists(error: &StoreError) -> bool {
    matches!(error, StoreError::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists)
}

/// What is said of a file that is not ours alone.
const NOT_OURS: &str = "is no file of ours; move it out of the way";

fn not_ours(path: &Path) -> StoreError {
    StoreError::io(path, io::Error::other(NOT_OURS))
}

/// Whether an error says that something is no file of ours.
pub(crate) fn is_not_ours(error: &StoreError) -> bool {
    matches!(error, StoreError::Io { source, .. } if source.get_ref().is_some_and(|what| what.to_string() == NOT_OURS))
}

/// Whether an error says that the file is not there.
pub(crate) fn not_found(error: &StoreError) -> bool {
    matches!(error, StoreError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
#[path = "files/tests.rs"]
pub(crate) mod tests;
