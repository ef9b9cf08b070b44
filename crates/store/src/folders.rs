//! The working folder and that of the journal in it, open.
//!
//! Whatever is in them is used by these handles, and nothing else is: no link is followed, no pipe is waited for, and
//! nobody who may change names in DIR leads us elsewhere. What is not ours there counts for nothing: whoever may write to
//! a mailbox's journal decides what is in the mailbox.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::Uid;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, openat, statx};

use crate::StoreError;
use crate::place::MOUNT_UNIQUE;

/// The folders, those of them that are there.
#[derive(Debug)]
pub(crate) struct Folders {
    /// DIR itself: making names in it durable must not fail for want of a descriptor.
    pub(crate) dir: File,
    pub(crate) side: Folder,
    pub(crate) segments: Option<Folder>,
}

/// A folder that is open.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    pub(crate) file: File,
    standing: Standing,
}

/// Which folder a name leads to: its device and inode, and the mount, where the system knows one that does not come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing((u32, u32), u64, u64);

impl Standing {
    /// Of what was asked for [`Standing::WANTED`].
    pub(crate) fn new(said: &rustix::fs::Statx) -> Self {
        // Where the system knows no other id of a mount, that of one whose folders are open is not used again.
        let is_known = said.stx_mask & (MOUNT_UNIQUE | StatxFlags::MNT_ID).bits() != 0;
        let mount = if is_known { said.stx_mnt_id } else { 0 };
        Self((said.stx_dev_major, said.stx_dev_minor), said.stx_ino, mount)
    }

    pub(crate) const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::MNT_ID).union(MOUNT_UNIQUE);
}

/// The users whom we trust with what is in the working folder: we, the superuser, and the owner of DIR.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Owners(u32);

impl Owners {
    pub(crate) fn of(dir: &Metadata) -> Self {
        Self(dir.uid())
    }

    fn are(self, user: u32) -> bool {
        [0, self.0, Uid::effective().as_raw()].contains(&user)
    }

    /// Whether a file that is open is one of ours, with so many names at the most.
    pub(crate) fn have(self, file: &File, links_max: u64) -> io::Result<bool> {
        let metadata = file.metadata()?;
        Ok(metadata.is_file() && metadata.nlink() <= links_max && self.are(metadata.uid()))
    }
}

impl Folders {
    /// The handle by which a path is to be used, and its name there: those of the folders that it is in, or none.
    pub(crate) fn at<'a>(&'a self, path: &'a Path) -> (BorrowedFd<'a>, &'a Path) {
        let mut folders = [Some(&self.side), self.segments.as_ref()].into_iter().flatten();
        let folder = folders.find(|folder| path.parent() == Some(&folder.path));
        match (folder, path.file_name()) {
            (Some(folder), Some(name)) => (folder.file.as_fd(), Path::new(name)),
            _ => (CWD, path),
        }
    }

    /// The handle of one of the folders.
    pub(crate) fn handle(&self, path: &Path) -> Option<&File> {
        [Some(&self.side), self.segments.as_ref()]
            .into_iter()
            .flatten()
            .find(|folder| folder.path == path)
            .map(|it| &it.file)
    }
}

impl Folder {
    /// Opens a folder, `name` at `parent`. That others may write to it is mended where we may; `mended` is told.
    ///
    /// # Errors
    /// Also when it is a link or no folder, or somebody else's.
    pub(crate) fn open(
        (parent, name): (BorrowedFd<'_>, &Path),
        path: &Path,
        owners: Owners,
        mended: impl FnOnce(String),
    ) -> Result<Self, StoreError> {
        let failed = |source| StoreError::io(path, source);
        let wrong = |kind, what: String| failed(io::Error::new(kind, what));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(parent, name, flags, Mode::empty()).map(File::from).map_err(|errno| match errno {
            rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR => {
                wrong(io::ErrorKind::Other, "is no folder; move it out of the way".to_owned())
            }
            errno => failed(errno.into()),
        })?;
        let metadata = file.metadata().map_err(failed)?;
        let (user, mode) = (metadata.uid(), metadata.mode() & 0o7777);
        if !owners.are(user) {
            let what = format!(
                "belongs to user {user}, who could change mail; if that is right, run as that user, and if not, move it away"
            );
            return Err(wrong(io::ErrorKind::Other, what));
        }
        if mode & 0o022 != 0 {
            file.set_permissions(PermissionsExt::from_mode(0o700)).map_err(|error| {
                let what = format!("others may write to it (mode {mode:04o}), and that cannot be changed: {error}");
                wrong(io::ErrorKind::Other, what)
            })?;
            mended(format!("{}: others could write to it (mode {mode:04o}); look at what is in it", path.display()));
        }
        let said = statx(&file, "", AtFlags::EMPTY_PATH, Standing::WANTED).map_err(|errno| failed(errno.into()))?;
        Ok(Self { path: path.to_owned(), file, standing: Standing::new(&said) })
    }

    /// Whether this is what its name led to when that was asked.
    pub(crate) fn is(&self, standing: Standing) -> bool {
        self.standing == standing
    }
}

/// An error that says that a name leads to nothing that can be one of our files.
pub(crate) fn is_no_file(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ELOOP | Errno::EISDIR | Errno::ENXIO | Errno::ENODEV))
}

#[cfg(test)]
#[path = "folders/tests.rs"]
mod tests;
