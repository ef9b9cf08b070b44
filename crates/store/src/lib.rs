//! Everything on disk: where accepted mail goes and where it comes from.
//!
//! The traits know nothing of files: on one machine mail is kept in mbox files ([`MboxStore`]), and nothing above the
//! traits may notice when it is kept elsewhere. They know nothing of SMTP or POP3 either: which reply an error
//! becomes is decided where the protocols meet the storage.

#![cfg_attr(not(feature = "check"), allow(dead_code, reason = "only the check looks at some of what others write"))]

use std::future::Future;
use std::hash::{Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use pillarbox_proto::address::LOCAL_PART_MAX_OCTETS;
use pillarbox_proto::{Address, Envelope};

mod append;
#[cfg(feature = "check")]
mod check;
mod commit;
#[cfg(test)]
mod crash_tests;
mod dotlock;
mod error;
mod files;
mod folders;
mod from_line;
mod index;
mod journal;
mod listening;
mod locks;
mod maildrop;
mod mbox;
mod md5x4;
mod place;
mod queue;
mod quote;
mod recover;
mod recovery;
mod redo;
mod scan;
mod text;
mod threads;
mod unique_ids;
mod update;
mod write_back;

#[cfg(feature = "check")]
pub use check::{Finding, Progress, Report, Severity, Verdict, check};
pub use error::StoreError;
pub use listening::{LISTENING_MAX_OCTETS, Listening};
pub use maildrop::{MboxMaildrop, MboxReader};
pub use mbox::{LOCK_TIMEOUT, MboxStore, mailboxes_in};
pub use queue::MboxClaim;
pub use recovery::Recovery;
pub use text::{Draft, TEXT_IN_MEMORY_MAX_OCTETS, Text};

/// Where accepted mail goes, and where maildrops are opened.
pub trait Store: Clone + Send + Sync + 'static {
    /// What one POP3 session holds.
    type Maildrop: Maildrop;

    /// Begins a text that is still being received. Dropping it leaves no trace.
    fn draft(&self) -> Draft;

    /// The mailbox of this address, if there is one here.
    ///
    /// # Errors
    /// [`StoreError`] when the question cannot be answered now; the same address may be asked for again later.
    fn mailbox(&self, address: &Address) -> impl Future<Output = Result<Option<Mailbox>, StoreError>> + Send;

    /// Accepts one message for several mailboxes of this host and for recipients elsewhere, who are queued: all or
    /// nothing. A mailbox named twice gets it once.
    ///
    /// On `Ok` the message is in every mailbox and in the queue, and survives a power cut. Dropping the future before it is ready
    /// cancels the waiting for locks; a commit that has begun is finished all the same.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Locked`] and the others. On any error no mailbox and no queue holds
    /// any part of it.
    fn accept(
        &self,
        envelope: &Envelope,
        text: Text,
        local: &[Mailbox],
        remote: &[Address],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Opens a maildrop for one POP3 session and lists it.
    ///
    /// # Errors
    /// [`StoreError::InUse`] at once if another session has it, in this process or another.
    fn open(&self, mailbox: &Mailbox) -> impl Future<Output = Result<Self::Maildrop, StoreError>> + Send;
}

/// A mailbox while one POP3 session holds it (RFC 1939 §4). Dropping it unlocks and deletes nothing.
///
/// Messages are known by their index, from 0, in the snapshot taken when the maildrop was opened. Mail that arrives
/// later stays invisible until the next session.
pub trait Maildrop: Send + 'static {
    /// A message on its way out.
    type Reader: TextReader;

    /// Octets of each message as [`Maildrop::read`] gives it.
    fn octets(&self) -> &[u64];

    /// The unique ids of the messages in `range`: the MD5 of the octets that [`Maildrop::read`] gives.
    ///
    /// # Errors
    /// [`StoreError::Changed`] when another program has changed one of these messages.
    fn unique_ids(&mut self, range: Range<usize>) -> impl Future<Output = Result<Vec<[u8; 16]>, StoreError>> + Send;

    /// The text of a message: CR LF line ends, no `From ` line, no quoting, no separator, not byte-stuffed.
    fn read(&self, index: usize) -> Self::Reader;

    /// Removes the messages named, all or nothing, and unlocks (the UPDATE state, RFC 1939 §6). On `Ok` the removal
    /// survives a power cut. Mail that came meanwhile stays.
    ///
    /// # Errors
    /// [`StoreError::Changed`] when another program has changed what is to be removed; on any error nothing is removed.
    fn commit(self, delete: &[usize]) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Reads one message in chunks.
pub trait TextReader: Send + 'static {
    /// The next octets; `None` when the text is complete. Empty chunks do not come.
    ///
    /// # Errors
    /// [`StoreError::Changed`] when the text is no longer the one that was listed. What came before is then not to be
    /// taken for a message: the last chunk only comes when the whole text has proved to be what was listed.
    fn next(&mut self) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>> + Send;
}

/// Mail on its way out. Who sends it, when, and what is told about it lives above; the queue keeps what is not settled.
pub trait Queue: Clone + Send + Sync + 'static {
    /// An item that somebody is sending.
    type Claim: Claim;

    /// What is in the queue, oldest first, whether somebody is sending it or not.
    ///
    /// # Errors
    /// [`StoreError`] when the queue cannot be read.
    fn browse(&self) -> impl Future<Output = Result<Vec<Item>, StoreError>> + Send;

    /// Claims an item: as long as the claim lives, nobody else gets it. `None`: somebody has it, or it is gone. A claim
    /// ends with its process.
    ///
    /// # Errors
    /// [`StoreError`] when the queue cannot be read.
    fn claim(&self, item: &Item) -> impl Future<Output = Result<Option<Self::Claim>, StoreError>> + Send;

    /// Ready when something was put into the queue by this process, since it was ready last.
    fn queued(&self) -> impl Future<Output = ()> + Send;

    /// Where servers listen that put mail into this queue: what is sent there comes back.
    ///
    /// # Errors
    /// [`StoreError`] when that cannot be read.
    fn listening(&self) -> impl Future<Output = Result<Vec<SocketAddr>, StoreError>> + Send;
}

/// An item that is ours alone. Dropping it gives it back, as it was.
pub trait Claim: Send + 'static {
    /// When it was accepted, as RFC 5322 §3.3 writes dates, e.g. `Wed, 25 Nov 2026 10:00:00 +0000`; `None` where the
    /// queue does not say.
    fn accepted(&self) -> Option<&str>;

    /// Who it is from, and who has not got it yet.
    fn envelope(&self) -> &Envelope;

    /// The item as it is now; `None` when nothing is left of it, or of the claim.
    fn item(&self) -> Option<Item>;

    /// The text, as it was accepted.
    fn text(&self) -> &Arc<Text>;

    /// Removes the recipients `done` from the item, durably, and the item when none is left. The claim on the rest goes
    /// on.
    ///
    /// # Errors
    /// [`StoreError::Changed`] when the item is no longer what was claimed; on any error the item stays as it is. The
    /// claim is of no use any more then, and after this future was dropped before it was ready.
    fn settle(&mut self, done: &[Address]) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// An item of the queue. Equal ones are the same, or two that nobody could tell apart.
#[derive(Clone, Debug)]
pub struct Item {
    /// What it is known by until it is settled. Equal items have equal ids.
    pub(crate) id: scan::Identity,
    /// Who it is from and for; `None` when the queue holds something there that cannot be read.
    pub envelope: Option<Envelope>,
    /// Octets of the text.
    pub octets: u64,
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Item {}

impl Hash for Item {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

/// A mailbox that the store has found: its name holds only `[A-Za-z0-9._+-]` and does not start with `.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mailbox(String);

impl Mailbox {
    /// The name of the mailbox, the local part of its address.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// Whether `name` can name a mailbox (C-S6). What passes is one path component, whatever it is joined to.
#[must_use]
pub fn is_mailbox_name(name: &str) -> bool {
    let allowed = |octet: u8| octet.is_ascii_alphanumeric() || b"._+-".contains(&octet);
    !name.is_empty() && name.len() <= LOCAL_PART_MAX_OCTETS && !name.starts_with('.') && name.bytes().all(allowed)
}

/// Does work that may block (files, hashing) where it holds up no other connection. Once begun it runs to its end,
/// even when the future is dropped. `path` is named in the error if the work is stopped or panics.
pub(crate) async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(stopped) => Err(StoreError::Io { path: path.to_owned(), source: io::Error::other(stopped) }),
    }
}
