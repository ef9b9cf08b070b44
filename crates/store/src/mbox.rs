//! Mailboxes in the mbox files of one folder.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use pillarbox_proto::address::LOCALHOST;
use pillarbox_proto::{Address, Envelope};
use tokio::sync::Notify;

use crate::append::Message;
use crate::journal::{Checkpoints, Journal};
use crate::place::{Place, QUEUE};
use crate::{
    Draft, Mailbox, MboxMaildrop, Recovery, Store, StoreError, Text, commit, files, from_line, is_mailbox_name, queue,
    recover,
};

/// How long a lock that somebody else holds is waited for (C-S9).
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(20);

/// Mailboxes in the mbox files of one folder: `DIR/user.mbox` is the mailbox of `user@localhost`.
///
/// What is on disk at which moment, and what recovery makes of it, is in `docs/durability.md`. All work on files is done
/// on the blocking pool of the runtime, but for the look whether there is a mailbox.
#[derive(Clone, Debug)]
pub struct MboxStore {
    /// In front of the place: it ends first. None in tests, which do checkpoints by hand.
    _checkpoints: Option<Arc<Checkpoints>>,
    pub(crate) place: Arc<Place>,
    pub(crate) lock_timeout: Duration,
    /// Told when something was queued.
    pub(crate) queued: Arc<Notify>,
}

impl MboxStore {
    /// Opens the folder `dir` (which may be a link), makes the working folder `.pillarbox` in it, and repairs what dead
    /// processes have left. Blocks the thread, but waits for no lock: what another process holds, that one repairs.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the folder cannot be used. What cannot be repaired now is no error but a problem that
    /// [`Recovery`] names.
    pub fn open(dir: &Path) -> Result<(Self, Recovery), StoreError> {
        let place = Arc::new(Place::open(dir)?);
        recover::start(&place)?;
        let recovery = place.take_notes();
        let checkpoints = if cfg!(test) { None } else { Some(Arc::new(Journal::checkpoint_in_background(&place)?)) };
        Ok((Self { _checkpoints: checkpoints, place, lock_timeout: LOCK_TIMEOUT, queued: Arc::default() }, recovery))
    }

    /// Waits this long for locks instead of [`LOCK_TIMEOUT`]. With zero, tries once.
    #[must_use]
    pub fn with_lock_timeout(self, lock_timeout: Duration) -> Self {
        Self { lock_timeout, ..self }
    }

    /// From now on a mailbox of at least `octets` has an index, whoever opens it in this process; otherwise one of 64 KiB.
    #[must_use]
    pub fn with_index_from(self, octets: u64) -> Self {
        self.place.index_from.store(octets, Ordering::Relaxed);
        self
    }

    /// What has been repaired since [`MboxStore::open`] or the last call: a process may die at any time, and the next
    /// one to lock its mailboxes repairs them. For the log.
    #[must_use]
    pub fn take_recovery(&self) -> Recovery {
        self.place.take_notes()
    }

    /// Makes an empty mailbox, mode 0600, durable when this is `Ok`; `false`: it was there. Blocks the thread.
    ///
    /// # Errors
    /// [`StoreError::NoSuchMailbox`] when the name can name no mailbox (C-S6), or names something else already.
    pub fn create_mailbox(&self, name: &str) -> Result<bool, StoreError> {
        let absent = || StoreError::NoSuchMailbox { name: name.to_owned() };
        if !is_mailbox_name(name) {
            return Err(absent());
        }
        let path = self.place.mailbox(name);
        match self.place.files.create_new(&path) {
            Ok(file) => {
                self.place.files.sync_all(&file, &path)?;
                self.place.sync_dir()?;
                Ok(true)
            }
            Err(error) if files::already_exists(&error) => {
                if self.place.inspect(name)? {
                    Ok(false)
                } else {
                    Err(absent())
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The mailboxes of the folder, sorted by name; those with several hard links too. Blocks the thread.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the folder cannot be read.
    pub fn mailboxes(&self) -> Result<Vec<Mailbox>, StoreError> {
        Ok(self.place.mailboxes()?.into_iter().map(Mailbox).collect())
    }
}

/// The mailboxes in the folder `dir` (which may be a link), as [`MboxStore::mailboxes`] gives them. Writes nothing, and
/// needs no right to. Blocks the thread.
///
/// # Errors
/// [`StoreError::Io`] when the folder cannot be read.
pub fn mailboxes_in(dir: &Path) -> Result<Vec<Mailbox>, StoreError> {
    Ok(Place::find(dir)?.mailboxes()?.into_iter().map(Mailbox).collect())
}

impl Store for MboxStore {
    type Maildrop = MboxMaildrop;

    fn draft(&self) -> Draft {
        Draft::new(Arc::clone(&self.place))
    }

    async fn mailbox(&self, address: &Address) -> Result<Option<Mailbox>, StoreError> {
        if !address.is_at(LOCALHOST) {
            return Ok(None);
        }
        // A look at one name in a folder that is looked at all the time: handing it to another thread and waiting for
        // that one would take many times as long.
        let exact = address.local_part();
        for name in [exact, &exact.to_ascii_lowercase()] {
            if self.place.inspect(name)? {
                return Ok(Some(Mailbox(name.to_owned())));
            }
        }
        Ok(None)
    }

    async fn accept(
        &self,
        envelope: &Envelope,
        text: Text,
        local: &[Mailbox],
        remote: &[Address],
    ) -> Result<(), StoreError> {
        let mut names: Vec<String> = local.iter().map(|mailbox| mailbox.0.clone()).collect();
        names.extend((!remote.is_empty()).then(|| QUEUE.to_owned()));
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Ok(());
        }
        let from_line = from_line::format(&envelope.reverse_path, Timestamp::now());
        let queued = (!remote.is_empty()).then(|| from_line.clone() + &queue::envelope_block(remote));
        let message = Message { names, from_line, queued, text };
        commit::deliver(&self.place, message, self.lock_timeout).await?;
        if !remote.is_empty() {
            self.queued.notify_one();
        }
        Ok(())
    }

    async fn open(&self, mailbox: &Mailbox) -> Result<MboxMaildrop, StoreError> {
        MboxMaildrop::open(Arc::clone(&self.place), mailbox.0.clone(), self.lock_timeout).await
    }
}
