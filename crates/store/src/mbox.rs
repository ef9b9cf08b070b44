//! Mailboxes in mbox files of one folder.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pillarbox_proto::{Address, Envelope};

use crate::{Draft, Mailbox, Maildrop, Store, StoreError, Text, TextReader};

/// How long a lock that another program holds is waited for (C-S9).
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(20);

/// Mailboxes in the mbox files of one folder: `DIR/user.mbox` is the mailbox of `user@localhost`.
#[derive(Clone, Debug)]
pub struct MboxStore {
    side: Arc<Path>,
    dir: PathBuf,
}

impl MboxStore {
    /// Opens the folder, and repairs what an earlier run left behind.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the folder cannot be used.
    pub fn open(dir: &Path) -> Result<(Self, Recovery), StoreError> {
        Ok((Self { side: Arc::from(dir.join(".pillarbox")), dir: dir.to_owned() }, Recovery {}))
    }

    /// Waits for locks this long instead of [`LOCK_TIMEOUT`].
    #[must_use]
    pub fn with_lock_timeout(self, _timeout: Duration) -> Self {
        self
    }

    /// Makes a mailbox; `false`: it was there. Blocks the thread.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn create_mailbox(&self, name: &str) -> Result<bool, StoreError> {
        Err(StoreError::NoSuchMailbox { name: name.to_owned() })
    }

    /// The mailboxes of the folder, sorted by name. Blocks the thread.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn mailboxes(&self) -> Result<Vec<Mailbox>, StoreError> {
        Ok(Vec::new())
    }
}

impl Store for MboxStore {
    type Maildrop = MboxMaildrop;

    fn draft(&self) -> Draft {
        Draft::new(Arc::clone(&self.side))
    }

    async fn mailbox(&self, _address: &Address) -> Result<Option<Mailbox>, StoreError> {
        Ok(None)
    }

    async fn accept(&self, _: &Envelope, _: Text, _: &[Mailbox]) -> Result<(), StoreError> {
        Err(StoreError::Locked { path: self.dir.clone() })
    }

    async fn open(&self, mailbox: &Mailbox) -> Result<Self::Maildrop, StoreError> {
        Err(StoreError::NoSuchMailbox { name: mailbox.0.clone() })
    }
}

/// What recovery did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {}

impl Recovery {
    /// Whether there was nothing to do.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        true
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing to recover")
    }
}

/// A mailbox while one POP3 session holds it.
#[derive(Debug)]
pub struct MboxMaildrop {}

impl Maildrop for MboxMaildrop {
    type Reader = MboxReader;

    fn octets(&self) -> &[u64] {
        &[]
    }

    async fn unique_ids(&mut self, _range: Range<usize>) -> Result<Vec<[u8; 16]>, StoreError> {
        Ok(Vec::new())
    }

    fn read(&self, _index: usize) -> MboxReader {
        MboxReader {}
    }

    async fn commit(self, _delete: &[usize]) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Reads one message.
#[derive(Debug)]
pub struct MboxReader {}

impl TextReader for MboxReader {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }
}
