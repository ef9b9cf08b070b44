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
    /// Two operations fail, each with its own error.
    FailTwice([Failing; 2]),
    /// From the operation with this number on the disk is full: what makes a file longer fails, and nothing else.
    FullFrom(usize),
    /// The process dies within the operation with this number: nothing that follows happens.
    Die(usize),
}

/// An operation that fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failing {
    /// Its number, from 0.
    pub(crate) at: usize,
    pub(crate) errno: i32,
    /// What is done of it if it is a write.
    pub(crate) written: Written,
}

/// How much of a write is done that is reported to have failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Nothing,
    Half,
    All,
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
    /// Nobody knows what of the file is on the disk, and no later flush of it says so.
    FailedSync(u64),
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
                Did::FailedSync(file) => Operation::FailedSync(inode(file)),
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
        let failing = match faults.fault {
            Fault::Fail(at, errno) if at == number => Some(io::Error::from_raw_os_error(errno)),
            Fault::FailTwice(both) => {
                both.iter().find(|one| one.at == number).map(|one| io::Error::from_raw_os_error(one.errno))
            }
            Fault::Die(at) if at <= number => Some(io::Error::other("died")),
            _ => None,
        };
        failing.map_or(Ok(()), |error| Err(StoreError::io(path, error)))
    }

    /// A write that makes the file longer takes room.
    pub(super) fn room(&self, file: &File, path: &Path, end: u64) -> Result<(), StoreError> {
        let faults = self.faults.lock().unwrap();
        match faults.fault {
            Fault::FullFrom(from) if faults.done > from && file.metadata().unwrap().len() < end => {
                Err(StoreError::io(path, io::Error::from_raw_os_error(nix::libc::ENOSPC)))
            }
            _ => Ok(()),
        }
    }

    /// Of the write that goes wrong only a part is done; those behind a death are not done at all.
    pub(super) fn torn(&self, file: &File, octets: &[u8], offset: u64) {
        let done = {
            let faults = self.faults.lock().unwrap();
            let number = faults.done - 1;
            match faults.fault {
                Fault::Fail(at, _) | Fault::Die(at) if at == number => octets.len() / 2,
                Fault::FailTwice(both) => match both.iter().find(|one| one.at == number).map(|one| one.written) {
                    Some(Written::All) => octets.len(),
                    Some(Written::Half) => octets.len() / 2,
                    _ => 0,
                },
                // As far as the file goes already.
                Fault::FullFrom(_) => {
                    let room = file.metadata().unwrap().len().saturating_sub(offset);
                    octets.len().min(usize::try_from(room).unwrap())
                }
                _ => 0,
            }
        };
        if done > 0 {
            file.write_all_at(&octets[..done], offset).unwrap();
            self.did(Did::Write(file, &octets[..done], offset));
        }
    }
}
