//! The mail folder (DIR) of the server that a conversation is played against.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a conversation puts files before it speaks, and looks at them afterwards. Names are those of files in DIR,
/// `linhphan.mbox`.
pub trait Folder {
    /// Makes a file, or replaces what is in it.
    ///
    /// # Errors
    /// When that fails.
    fn write(&mut self, name: &str, octets: &[u8]) -> io::Result<()>;

    /// Appends to a file, as another mail program does.
    ///
    /// # Errors
    /// When that fails.
    fn append(&mut self, name: &str, octets: &[u8]) -> io::Result<()>;

    /// All of a file; `None` when it is not there.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&mut self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// Makes something that is no plain file.
    ///
    /// # Errors
    /// When that fails.
    fn special(&mut self, name: &str, kind: &Special) -> io::Result<()>;
}

/// What is no plain file with one name, and no mailbox (C-S6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Special {
    /// A folder.
    Folder,
    /// A pipe: opening it for reading waits for a writer.
    Pipe,
    /// A symbolic link to the name given.
    Symlink(String),
    /// A second name of the file given.
    HardLink(String),
}

/// A folder on disk.
#[derive(Clone, Debug)]
pub struct DiskFolder {
    path: PathBuf,
}

impl DiskFolder {
    /// The folder at `path`, which exists.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Folder for DiskFolder {
    fn write(&mut self, name: &str, octets: &[u8]) -> io::Result<()> {
        fs::write(self.path.join(name), octets)
    }

    fn append(&mut self, name: &str, octets: &[u8]) -> io::Result<()> {
        OpenOptions::new().append(true).create(true).open(self.path.join(name))?.write_all(octets)
    }

    fn read(&mut self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path.join(name)) {
            Ok(octets) => Ok(Some(octets)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn special(&mut self, name: &str, kind: &Special) -> io::Result<()> {
        let path = self.path.join(name);
        match kind {
            Special::Folder => fs::create_dir(path),
            Special::Symlink(target) => std::os::unix::fs::symlink(target, path),
            Special::HardLink(target) => fs::hard_link(self.path.join(target), path),
            // The standard library makes no pipes with names.
            Special::Pipe => match Command::new("mkfifo").arg(path).status()?.success() {
                true => Ok(()),
                false => Err(io::Error::other("mkfifo failed")),
            },
        }
    }
}
