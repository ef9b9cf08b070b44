//! Every operation that changes a file or a folder, and nothing else.
//!
//! It is one small module so that the order of operations can be tested: each can be made to fail, and the process to
//! "die" in front of each. Reading, opening and locking change nothing and are not here.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::unistd::Uid;

use crate::StoreError;

/// The operations. Errors name the path.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// User and group who get what is made, if those are not ours.
    owner: Option<(u32, u32)>,
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

    /// Creates a folder, mode 0700, if it does not exist. A link to a folder is none: it may lead to somebody else's.
    pub(crate) fn create_dir(&self, path: &Path) -> Result<(), StoreError> {
        self.step(path)?;
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let is_folder = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
                let what = "is no folder; move it out of the way";
                if is_folder { Ok(()) } else { Err(StoreError::io(path, io::Error::other(what))) }
            }
            Err(source) => Err(StoreError::io(path, source)),
            Ok(()) if self.owner.is_none() => Ok(()),
            Ok(()) => {
                let flags = OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY;
                let folder = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
                let given = folder.map_err(|source| StoreError::io(path, source)).and_then(|it| self.give(&it, path));
                // A folder that is there is taken for right.
                given.inspect_err(|_| drop(fs::remove_dir(path)))
            }
        }
    }

    /// Creates a file that must not exist yet, for reading and writing, mode 0600.
    pub(crate) fn create_new(&self, path: &Path) -> Result<File, StoreError> {
        self.step(path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(path).map_err(|source| StoreError::io(path, source))?;
        self.give(&file, path).inspect_err(|_| drop(fs::remove_file(path)))?;
        self.did(Did::Create(path, &file));
        Ok(file)
    }

    /// Opens a file for reading and writing; creates it, mode 0600, if it does not exist.
    pub(crate) fn open_or_create(&self, path: &Path) -> Result<File, StoreError> {
        self.step(path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        if self.owner.is_some()
            && let Ok(file) = options.clone().create_new(true).open(path)
        {
            self.give(&file, path).inspect_err(|_| drop(fs::remove_file(path)))?;
            return Ok(file);
        }
        options.create(true).truncate(false).open(path).map_err(|source| StoreError::io(path, source))
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
        fs::rename(from, to).map_err(|source| StoreError::io(from, source))?;
        self.did(Did::Rename(from, to));
        Ok(())
    }

    /// Gives a file a second name, which must not exist yet.
    pub(crate) fn link(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        self.step(to)?;
        fs::hard_link(from, to).map_err(|source| StoreError::io(to, source))?;
        self.did(Did::Link(from, to));
        Ok(())
    }

    pub(crate) fn remove(&self, path: &Path) -> Result<(), StoreError> {
        self.step(path)?;
        fs::remove_file(path).map_err(|source| StoreError::io(path, source))?;
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

/// Whether an error says that the file is not there.
pub(crate) fn not_found(error: &StoreError) -> bool {
    matches!(error, StoreError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
#[path = "files/tests.rs"]
pub(crate) mod tests;
