//! Why the storage could not do it.

use std::io;
use std::path::{Path, PathBuf};

use crate::place::{QUEUE, known_as};

/// Why the storage could not do it. Knows nothing of SMTP or POP3 replies; its text, paths included, is for the log.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room: disk full or quota reached. Nothing was kept.
    #[error("{}: {source}", path.display())]
    Full {
        /// The file that could not grow.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another program held the lock of a mailbox for longer than we wait.
    #[error("{}: locked by another program", path.display())]
    Locked {
        /// The mailbox.
        path: PathBuf,
    },
    /// Another session has this maildrop.
    #[error("{name}: the maildrop is in use")]
    InUse {
        /// The name of the mailbox.
        name: String,
    },
    /// There is no such mailbox, or no longer.
    #[error("{}", absent(name))]
    NoSuchMailbox {
        /// The name of the mailbox.
        name: String,
    },
    /// The mailbox has more than one hard link, so appending could write into a file of somebody else.
    #[error("{}: has more than one hard link", path.display())]
    HardLinked {
        /// The mailbox.
        path: PathBuf,
    },
    /// Another program changed the messages that this session has listed.
    #[error("{}: changed by another program", path.display())]
    Changed {
        /// The mailbox.
        path: PathBuf,
    },
    /// Anything else the system said.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file concerned.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The queue is made where it is missing, so it is only absent where something else has its name.
fn absent(name: &str) -> String {
    let what = if name == QUEUE { "is no regular file; move it away, and it is made anew" } else { "no such mailbox" };
    format!("{}: {what}", known_as(name))
}

impl StoreError {
    /// That of a flush: it must not be tried again as if there had been no room for something else.
    pub(crate) fn of_flush(self) -> Self {
        match self {
            Self::Full { path, source } => Self::Io { path, source },
            error => error,
        }
    }

    /// Sorts an error of the system: out of room, or anything else.
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full { path, source }
            }
            _ => Self::Io { path, source },
        }
    }
}

/// Why something was not done.
#[derive(Debug)]
pub(crate) enum Failed {
    /// There is nothing of it, in no mailbox and in no journal. It may be tried again.
    Undone(StoreError),
    /// It could not be undone, for certain, either. Whoever locks the mailboxes next does with it what the journal says:
    /// it must not be tried again before that, or it would be taken for what is to be undone, or be there twice.
    Left(StoreError),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Undone(error)
    }
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> Self {
        let (Failed::Undone(error) | Failed::Left(error)) = failed;
        error
    }
}
