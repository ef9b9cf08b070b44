//! Every operation that changes a file or a folder, and nothing else.
//!
//! It is one small module so that the order of operations can be tested: each can be made to fail, and the process to
//! "die" in front of each. Reading, opening and locking change nothing and are not here.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use crate::StoreError;

/// The operations. Errors name the path.
#[derive(Debug, Default)]
pub(crate) struct Files {
    #[cfg(test)]
    faults: std::sync::Mutex<tests::Faults>,
    #[cfg(test)]
    record: std::sync::Mutex<Option<Vec<tests::Operation>>>,
}

impl Files {
    /// Creates a folder, mode 0700, if it does not exist. A link to a folder is none: it may lead to somebody else's.
    pub(crate) fn create_dir(&self, path: &Path) -> Result<(), StoreError> {
        self.step(path)?;
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let is_folder = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
                let what = "is no folder; move it out of the way";
                if is_folder { Ok(()) } else { Err(StoreError::io(path, io::Error::other(what))) }
            }
            result => result.map_err(|source| StoreError::io(path, source)),
        }
    }

    /// Creates a file that must not exist yet, for reading and writing, mode 0600.
    pub(crate) fn create_new(&self, path: &Path) -> Result<File, StoreError> {
        self.step(path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(path).map_err(|source| StoreError::io(path, source))?;
        self.did(Did::Create(path, &file));
        Ok(file)
    }

    /// Opens a file for reading and writing; creates it, mode 0600, if it does not exist.
    pub(crate) fn open_or_create(&self, path: &Path) -> Result<File, StoreError> {
        self.step(path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.open(path).map_err(|source| StoreError::io(path, source))
    }

    pub(crate) fn write_all_at(&self, file: &File, path: &Path, octets: &[u8], offset: u64) -> Result<(), StoreError> {
        self.step(path).inspect_err(|_| self.torn(file, octets, offset))?;
        file.write_all_at(octets, offset).map_err(|source| StoreError::io(path, source))?;
        self.did(Did::Write(file, octets, offset));
        Ok(())
    }

    /// Makes content and length durable.
    pub(crate) fn sync_data(&self, file: &File, path: &Path) -> Result<(), StoreError> {
        self.step(path)?;
        file.sync_data().map_err(|source| StoreError::io(path, source))?;
        self.did(Did::Sync(file));
        Ok(())
    }

    /// Makes content, length and the rest of the inode durable.
    pub(crate) fn sync_all(&self, file: &File, path: &Path) -> Result<(), StoreError> {
        self.step(path)?;
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
pub(crate) mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::path::PathBuf;

    use super::*;

    /// What is to go wrong.
    #[derive(Clone, Copy, Debug, Default)]
    pub(crate) enum Fault {
        #[default]
        None,
        /// The operation with this number, from 0, fails with this error of the system; a write is half done.
        Fail(usize, i32),
        /// Two operations fail like that.
        FailTwice(usize, usize, i32),
        /// The process dies within the operation with this number: nothing that follows happens.
        Die(usize),
    }

    /// The operations counted, and what is to go wrong.
    #[derive(Debug, Default)]
    pub(crate) struct Faults {
        fault: Fault,
        done: usize,
    }

    #[test]
    fn who_dies_leaves_half_a_write_and_nothing_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let files = Files::default();
        files.inject(Fault::Die(1));
        let file = files.create_new(&path).unwrap();
        files.write_all_at(&file, &path, b"12345678", 0).unwrap_err();
        files.write_all_at(&file, &path, b"abc", 0).unwrap_err();
        files.remove(&path).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"1234");
        assert_eq!(files.done(), 4);
    }

    /// An operation that was done, as a file system sees it: files are known by their inodes.
    #[derive(Clone, Debug)]
    pub(crate) enum Operation {
        Create(PathBuf, u64),
        Write(u64, Vec<u8>, u64),
        SetLen(u64, u64),
        Sync(u64),
        Rename(PathBuf, PathBuf),
        Link(PathBuf, PathBuf),
        Remove(PathBuf),
        SyncDir(PathBuf),
    }

    impl Files {
        /// From now on operations are recorded.
        pub(crate) fn start_recording(&self) {
            *self.record.lock().unwrap() = Some(Vec::new());
        }

        /// How many have been recorded.
        pub(crate) fn recorded(&self) -> usize {
            self.record.lock().unwrap().as_ref().map_or(0, Vec::len)
        }

        pub(crate) fn stop_recording(&self) -> Vec<Operation> {
            self.record.lock().unwrap().take().unwrap()
        }

        pub(super) fn did(&self, did: Did<'_>) {
            if let Some(record) = &mut *self.record.lock().unwrap() {
                let inode = |file: &File| file.metadata().unwrap().ino();
                record.push(match did {
                    Did::Create(path, file) => Operation::Create(path.to_owned(), inode(file)),
                    Did::Write(file, octets, at) => Operation::Write(inode(file), octets.to_owned(), at),
                    Did::SetLen(file, octets) => Operation::SetLen(inode(file), octets),
                    Did::Sync(file) => Operation::Sync(inode(file)),
                    Did::Rename(from, to) => Operation::Rename(from.to_owned(), to.to_owned()),
                    Did::Link(from, to) => Operation::Link(from.to_owned(), to.to_owned()),
                    Did::Remove(path) => Operation::Remove(path.to_owned()),
                    Did::SyncDir(path) => Operation::SyncDir(path.to_owned()),
                });
            }
        }

        /// From now on operations are counted, and this goes wrong.
        pub(crate) fn inject(&self, fault: Fault) {
            *self.faults.lock().unwrap() = Faults { fault, done: 0 };
        }

        /// Operations since the last [`Files::inject`].
        pub(crate) fn done(&self) -> usize {
            self.faults.lock().unwrap().done
        }

        pub(super) fn step(&self, path: &Path) -> Result<(), StoreError> {
            let mut faults = self.faults.lock().unwrap();
            let number = faults.done;
            faults.done += 1;
            match faults.fault {
                Fault::Fail(at, errno) if at == number => {
                    Err(StoreError::io(path, io::Error::from_raw_os_error(errno)))
                }
                Fault::FailTwice(one, two, errno) if one == number || two == number => {
                    Err(StoreError::io(path, io::Error::from_raw_os_error(errno)))
                }
                Fault::Die(at) if at <= number => Err(StoreError::io(path, io::Error::other("died"))),
                _ => Ok(()),
            }
        }

        /// The write that goes wrong is half done; those behind a death are not done at all.
        pub(super) fn torn(&self, file: &File, octets: &[u8], offset: u64) {
            let faults = self.faults.lock().unwrap();
            let is_torn = match faults.fault {
                Fault::Fail(at, _) | Fault::Die(at) => faults.done == at + 1,
                Fault::FailTwice(one, two, _) => [one, two].contains(&(faults.done - 1)),
                Fault::None => false,
            };
            if is_torn {
                file.write_all_at(&octets[..octets.len() / 2], offset).unwrap();
            }
        }
    }
}
