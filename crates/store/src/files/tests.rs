//! Tests of `files.rs`.

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
            Fault::Fail(at, errno) if at == number => Err(StoreError::io(path, io::Error::from_raw_os_error(errno))),
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
