//! The queue: mail for other hosts in `DIR/mqueue` (C-F1, C-F2).
//!
//! It is an mbox file that a person can read. Each entry has its envelope in front of its text:
//!
//! ```text
//! From <linhphan@localhost> Mon Aug 22 23:00:00 2016
//! X-Envelope-To: <someone@example.org>
//! X-Envelope-To: <else@example.org>
//!
//! Subject: the text as it came, quoted
//! ```
//!
//! Items are claimed by a lock on one octet of a file beside it, at a place that the item's hash names. Such locks die
//! with their process, so an item that was being sent when its sender was killed is there for the next.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use memchr::memchr;
use nix::libc;
use pillarbox_proto::address::parse_path;
use pillarbox_proto::{Address, Envelope, ReversePath};

use crate::from_line::{self, FROM};
use crate::locks::{Locked, Part, is_locked, try_lock_part, unlock, with_mailboxes};
use crate::maildrop::{Passage, Snapshot};
use crate::place::{Place, QUEUE, read_at};
use crate::redo::Source;
use crate::scan::{Entry, Identity};
use crate::update::{list, rewrite};
use crate::{Claim, Item, MboxStore, Queue, StoreError, Text, blocking};

/// What begins each line of an envelope.
const FIELD: &str = "X-Envelope-To: ";

/// Longest envelope that is read, in octets; a thousand recipients need less than a third of it.
const ENVELOPE_MAX_OCTETS: u64 = 1024 * 1024;

/// The lines between the `From ` line and the text; who is named twice gets it once.
pub(crate) fn envelope_block(forward_paths: &[Address]) -> String {
    let mut named = HashSet::new();
    let mut block: String =
        forward_paths.iter().filter(|path| named.insert(*path)).map(|path| format!("{FIELD}<{path}>\n")).collect();
    block.push('\n');
    block
}

/// An item of the queue that this process is sending.
#[derive(Debug)]
pub struct MboxClaim {
    place: Arc<Place>,
    lock_timeout: Duration,
    envelope: Envelope,
    accepted: Option<String>,
    text: Arc<Text>,
    /// `None` when it is settled, or lost.
    held: Option<Held>,
}

/// The item as it is in the queue now, and the lock that makes it ours.
#[derive(Debug)]
struct Held {
    id: Identity,
    _lock: ClaimLock,
}

impl Queue for MboxStore {
    type Claim = MboxClaim;

    async fn browse(&self) -> Result<Vec<Item>, StoreError> {
        self.with_queue(|_, queue| {
            let mut items = Vec::new();
            for entry in list(queue)? {
                let head = Head::read(&queue.file, &queue.path, entry)?;
                let octets = entry.octets.saturating_sub(head.as_ref().map_or(0, |head| head.wire_octets));
                items.push(Item { id: entry.identity, envelope: head.map(|head| head.envelope), octets });
            }
            Ok(items)
        })
        .await
        .map(Option::unwrap_or_default)
    }

    async fn claim(&self, item: &Item) -> Result<Option<MboxClaim>, StoreError> {
        let id = item.id;
        let lock_timeout = self.lock_timeout;
        let claim = self.with_queue(move |place, queue| {
            let Some(entry) = list(queue)?.into_iter().find(|entry| entry.identity == id) else { return Ok(None) };
            let Some(head) = Head::read(&queue.file, &queue.path, entry)? else { return Ok(None) };
            // Under the lock of the queue: whoever settles an item gives its claim back under the same lock, so what is
            // here and can be claimed is not settled.
            let Some(lock) = ClaimLock::try_new(place, id)? else { return Ok(None) };
            let text = Arc::new(text(place, queue, entry, &head)?);
            let Head { envelope, accepted, .. } = head;
            let held = Some(Held { id, _lock: lock });
            Ok(Some(MboxClaim { place: Arc::clone(place), lock_timeout, envelope, accepted, text, held }))
        });
        Ok(claim.await?.flatten())
    }
}

impl MboxStore {
    /// Does `job` under the lock of the queue; `None` when there is no queue.
    async fn with_queue<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Arc<Place>, &mut Locked) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        let place = Arc::clone(&self.place);
        let path = self.place.mailbox(QUEUE);
        if !blocking(&self.place.dir, move || Ok(path.symlink_metadata().is_ok())).await? {
            return Ok(None);
        }
        let names = [QUEUE.to_owned()];
        with_mailboxes(&self.place, &names, self.lock_timeout, move |locked| {
            locked.first_mut().map(|queue| job(&place, queue)).transpose()
        })
        .await
    }
}

impl Claim for MboxClaim {
    fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    fn accepted(&self) -> Option<&str> {
        self.accepted.as_deref()
    }

    fn text(&self) -> &Arc<Text> {
        &self.text
    }

    async fn settle(&mut self, done: &[Address]) -> Result<(), StoreError> {
        let mut left = self.envelope.forward_paths.clone();
        left.retain(|path| !done.contains(path));
        if left.len() == self.envelope.forward_paths.len() {
            return Ok(());
        }
        let Some(held) = self.held.take() else {
            return Err(StoreError::Changed { path: self.place.mailbox(QUEUE) });
        };
        let (place, paths) = (Arc::clone(&self.place), left.clone());
        // The lock goes with the job: whoever claims the item next must find it settled.
        let names = [QUEUE.to_owned()];
        let settled = with_mailboxes(&self.place, &names, self.lock_timeout, move |locked| {
            locked.first_mut().map(|queue| settle(&place, queue, &held, &paths)).transpose()
        });
        self.held = settled.await?.flatten();
        self.envelope.forward_paths = left;
        Ok(())
    }
}

/// Rewrites the queue with only the recipients `left` in one item, or without the item. Gives what is held then.
fn settle(place: &Place, queue: &mut Locked, held: &Held, left: &[Address]) -> Result<Option<Held>, StoreError> {
    let id = held.id;
    let path = queue.path.clone();
    let changed = || StoreError::Changed { path: path.clone() };
    let entries = list(queue)?;
    let entry = entries.iter().find(|entry| entry.identity == id).copied().ok_or_else(changed)?;
    let head = Head::read(&queue.file, &queue.path, entry)?.ok_or_else(changed)?;
    let metadata = queue.file.metadata().map_err(|source| StoreError::io(&queue.path, source))?;
    let (inode, size) = (metadata.ino(), metadata.len());
    if entries.last().is_none_or(|last| last.next != size) {
        // Somebody who takes no locks is writing at this moment.
        return Err(changed());
    }
    let file = Arc::clone(&queue.file);
    let part = |range| Source::Part { file: &file, path: &path, range };
    let envelope = envelope_block(left);
    let mut tail = Vec::new();
    if !left.is_empty() {
        tail.extend([part(entry.start..entry.text), Source::New(envelope.as_bytes()), part(head.text..entry.next)]);
    }
    if entry.next < size {
        tail.push(part(entry.next..size));
    }
    rewrite(place, queue, (inode, size), entry.start, &tail)?;
    if left.is_empty() {
        return Ok(None);
    }
    // The item has another envelope now, and so another identity.
    let id = list(queue)?.iter().find(|now| now.start == entry.start).ok_or_else(changed)?.identity;
    Ok(ClaimLock::try_new(place, id)?.map(|lock| Held { id, _lock: lock }))
}

/// What stands in front of an item's text.
#[derive(Debug)]
pub(crate) struct Head {
    envelope: Envelope,
    accepted: Option<String>,
    /// Where the text begins in the file.
    text: u64,
    /// Octets of the envelope as [`Passage`] gives them, with CR LF line ends.
    wire_octets: u64,
}

impl Head {
    /// Reads the head of an entry; `None` if it has none, or not the head of an item.
    pub(crate) fn read(file: &File, path: &Path, entry: Entry) -> Result<Option<Self>, StoreError> {
        let end = entry.end.min(entry.text.saturating_add(ENVELOPE_MAX_OCTETS));
        // Both differences are bounded: by the longest `From ` line and by the limit above.
        let length = |from: u64, to: u64| usize::try_from(to - from).unwrap_or(usize::MAX);
        let mut from_line = vec![0; length(entry.start, entry.text)];
        let mut block = vec![0; length(entry.text, end)];
        for (octets, at) in [(&mut from_line, entry.start), (&mut block, entry.text)] {
            let read = read_at(file, octets, at).map_err(|source| StoreError::io(path, source))?;
            octets.truncate(read);
        }
        Ok(Self::parse(&from_line, &block, entry.text))
    }

    fn parse(from_line: &[u8], block: &[u8], text: u64) -> Option<Self> {
        // Behind the path stands the date, which a path takes for parameters.
        let path_and_date = parse_path(from_line.strip_prefix(FROM)?.trim_ascii_end()).ok()?;
        let mut forward_paths = Vec::new();
        let mut at = 0;
        let mut lines = 0;
        loop {
            let length = memchr(b'\n', &block[at..])? + 1;
            let line = &block[at..at + length];
            at += length;
            // A bare LF becomes CR LF when it is read.
            lines += if line.ends_with(b"\r\n") { 0 } else { 1 };
            let line = line.trim_ascii_end();
            if line.is_empty() {
                break;
            }
            let path = parse_path(line.strip_prefix(FIELD.trim_end().as_bytes())?).ok()?;
            forward_paths.push(path.address.filter(|_| path.parameters.is_empty())?);
        }
        let at = at as u64;
        (!forward_paths.is_empty()).then_some(Self {
            envelope: Envelope { reverse_path: ReversePath(path_and_date.address), forward_paths },
            accepted: from_line::rfc_5322_date(path_and_date.parameters),
            text: text + at,
            wire_octets: at + lines,
        })
    }
}

/// The text of an item, apart from the queue: the queue may change while it is being sent.
fn text(place: &Place, queue: &Locked, entry: Entry, head: &Head) -> Result<Text, StoreError> {
    let mut passage = Passage::new(Snapshot { file: Arc::clone(&queue.file), path: queue.path.clone() }, entry);
    let mut skip = usize::try_from(head.wire_octets).unwrap_or(usize::MAX);
    Text::collect(&place.side, || {
        let Some(mut chunk) = passage.next()? else { return Ok(None) };
        let skipped = skip.min(chunk.len());
        skip -= skipped;
        chunk.drain(..skipped);
        Ok(Some(chunk))
    })
}

/// Whether somebody is sending the item; `claims` is the file at [`Place::claims`].
pub(crate) fn is_claimed(claims: &File, path: &Path, id: Identity) -> Result<bool, StoreError> {
    is_locked(claims, path, claimed_octet(id))
}

/// The octet that is locked while somebody has the item.
fn claimed_octet(id: Identity) -> Part {
    Part { at: libc::off_t::try_from(id.hash >> 1).unwrap_or(0), octets: 1 }
}

/// The lock that makes an item ours; goes when dropped, and when the process ends.
#[derive(Debug)]
struct ClaimLock {
    file: File,
    octet: Part,
}

impl ClaimLock {
    fn try_new(place: &Place, id: Identity) -> Result<Option<Self>, StoreError> {
        let path = place.claims();
        // Opened anew for each claim: locks of one open file do not keep each other out. Never removed: a lock on a
        // file without a name would keep nobody out.
        let file = place.files.open_or_create(&path)?;
        let octet = claimed_octet(id);
        Ok(try_lock_part(&file, &path, octet)?.then_some(Self { file, octet }))
    }
}

impl Drop for ClaimLock {
    fn drop(&mut self) {
        // Closing the file is not enough while a child that has not called `exec` yet has it as well.
        unlock(&self.file, self.octet);
    }
}
