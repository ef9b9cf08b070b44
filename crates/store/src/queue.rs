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
//! Whoever has got the message is struck out first: one octet of the line changes, `#-Envelope-To: <someone@example.org>`.
//! That takes no room and as little time in a long queue as in a short one. [`Queue::browse`] removes what is struck out;
//! in a short queue [`Claim::settle`] does so at once.
//!
//! Items are claimed by a lock on one octet of a file beside it, at a place that the item's hash names. Such locks die
//! with their process, so an item that was being sent when its sender was killed is there for the next.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use memchr::memchr;
use nix::libc;
use pillarbox_proto::address::parse_path;
use pillarbox_proto::{Address, Envelope, ReversePath};
use tokio::sync::oneshot;

use crate::from_line::{self, FROM};
use crate::locks::{Locked, Part, is_locked, try_lock_part, unlock, with_mailboxes};
use crate::maildrop::{Passage, Snapshot};
use crate::place::{FileId, Place, QUEUE, read_at};
use crate::redo::Source;
use crate::scan::{Entry, Identifier, Identity};
use crate::update::{list, rewrite};
use crate::{Claim, Item, MboxStore, Queue, StoreError, Text, blocking};

/// What begins each line of an envelope.
const FIELD: &str = "X-Envelope-To: ";

/// What the first octet of such a line becomes when its recipient has got the message. A single octet: no power cut can
/// leave half of it.
const STRUCK_OUT: u8 = b'#';

/// A queue up to this size is rewritten whenever an item is settled, so that a person sees only what is left.
const SHORT_MAX_OCTETS: u64 = 4 * 1024;

/// Settling waits so many times longer for the locks than anything else does: what is not recorded is sent again.
const SETTLE_PATIENCE: u32 = 30;

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

/// Where the items of each folder were when they were listed last. Only a hint, so that a claim need not read all of a
/// long queue: whoever follows it proves that the item is there.
static SEEN: PerFolder<HashMap<Identity, Entry>> = LazyLock::new(Mutex::default);

/// Something of this process for each folder, by the folder's device and inode.
type PerFolder<T> = LazyLock<Mutex<HashMap<(u64, u64), T>>>;

/// An item of the queue that this process is sending.
#[derive(Debug)]
pub struct MboxClaim {
    place: Arc<Place>,
    lock_timeout: Duration,
    /// Nobody when the claim was lost.
    envelope: Envelope,
    from_line: Vec<u8>,
    accepted: Option<String>,
    text: Arc<Text>,
    /// `None` when it is settled, or lost.
    held: Option<Held>,
}

/// The item as it is in the queue now, and the lock that makes it ours.
#[derive(Debug)]
struct Held {
    /// What the item is known by, see [`item_id`].
    id: Identity,
    entry: Entry,
    _lock: ClaimLock,
}

impl Queue for MboxStore {
    type Claim = MboxClaim;

    async fn browse(&self) -> Result<Vec<Item>, StoreError> {
        self.with_queue(|place, queue| {
            let mut listed = heads(queue)?;
            if sweep(place, queue, &listed)? {
                listed = heads(queue)?;
            }
            let mut seen = HashMap::new();
            let mut items = Vec::new();
            for (entry, head) in listed {
                if head.as_ref().is_some_and(Head::is_over) {
                    continue;
                }
                let id = item_id(queue, entry, head.as_ref())?;
                seen.entry(id).or_insert(entry);
                let octets = entry.octets.saturating_sub(head.as_ref().map_or(0, |head| head.wire_octets));
                items.push(Item { id, envelope: head.map(|head| head.envelope), octets });
            }
            SEEN.lock().unwrap_or_else(PoisonError::into_inner).insert(place.id, seen);
            Ok(items)
        })
        .await
        .map(Option::unwrap_or_default)
    }

    async fn claim(&self, item: &Item) -> Result<Option<MboxClaim>, StoreError> {
        let Item { id, envelope: Some(wanted), .. } = item.clone() else { return Ok(None) };
        let lock_timeout = self.lock_timeout;
        let claim = self.with_queue(move |place, queue| {
            // Under the lock of the queue: whoever settles an item gives its claim back under the same lock, so what is
            // here and can be claimed is not settled.
            let Some(lock) = ClaimLock::try_new(place, id)? else { return Ok(None) };
            let take = |entry: Entry| -> Result<_, StoreError> {
                let head = Head::read(&queue.file, &queue.path, entry)?
                    .filter(|head| head.envelope == wanted && !head.is_over());
                Ok(match head {
                    Some(head) => text(place, queue, entry, &head)?.map(|text| (entry, head, text)),
                    None => None,
                })
            };
            let seen =
                SEEN.lock().unwrap_or_else(PoisonError::into_inner).get(&place.id).and_then(|at| at.get(&id).copied());
            let mut found = seen.map(take).transpose()?.flatten();
            if found.is_none() {
                for (entry, head) in heads(queue)? {
                    if item_id(queue, entry, head.as_ref())? == id {
                        found = take(entry)?;
                    }
                    if found.is_some() {
                        break;
                    }
                }
            }
            let Some((entry, head, text)) = found else { return Ok(None) };
            let Head { envelope, from_line, accepted, .. } = head;
            let (text, held) = (Arc::new(text), Some(Held { id, entry, _lock: lock }));
            Ok(Some(MboxClaim { place: Arc::clone(place), lock_timeout, envelope, from_line, accepted, text, held }))
        });
        Ok(claim.await?.flatten())
    }

    async fn queued(&self) {
        self.queued.notified().await;
    }

    async fn listening(&self) -> Result<Vec<SocketAddr>, StoreError> {
        self.who_listens().await
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
            let Some(queue) = locked.first_mut() else { return Ok(None) };
            // What is owed waits for nobody who merely looks.
            settle(&place, queue);
            job(&place, queue).map(Some)
        })
        .await
    }
}

impl Claim for MboxClaim {
    fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    fn item(&self) -> Option<Item> {
        let Held { id, .. } = *self.held.as_ref()?;
        Some(Item { id, envelope: Some(self.envelope.clone()), octets: self.text.octets() })
    }

    fn accepted(&self) -> Option<&str> {
        self.accepted.as_deref()
    }

    fn text(&self) -> &Arc<Text> {
        &self.text
    }

    async fn settle(&mut self, done: &[Address]) -> Result<(), StoreError> {
        let mut left = self.envelope.clone();
        left.forward_paths.retain(|path| !done.contains(path));
        if left == self.envelope {
            return Ok(());
        }
        let Some(held) = self.held.take() else {
            return Err(StoreError::Changed { path: self.place.mailbox(QUEUE) });
        };
        let (before, after) = (self.envelope.clone(), left.clone());
        let (from_line, text) = (self.from_line.clone(), Arc::clone(&self.text));
        let (told, mut settled) = oneshot::channel();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        owed(&self.place, |owed| owed.push(Owed { number, held, from_line, before, after, text, told }));
        let names = [QUEUE.to_owned()];
        let patience = self.lock_timeout.saturating_mul(SETTLE_PATIENCE);
        let place = Arc::clone(&self.place);
        let is_ours = Arc::new(AtomicBool::new(false));
        let begun = Arc::clone(&is_ours);
        let mut locked = pin!(with_mailboxes(&self.place, &names, patience, move |locked| {
            begun.store(true, Ordering::Relaxed);
            locked.iter_mut().for_each(|queue| settle(&place, queue));
            Ok(())
        }));
        let outcome = tokio::select! {
            biased;
            outcome = &mut settled => {
                if is_ours.load(Ordering::Relaxed) {
                    // It has told us, and is about to give the lock back.
                    let _ = locked.await;
                }
                outcome
            }
            locked = &mut locked => {
                let is_waiting = |owed: &mut Vec<Owed>| owed.extract_if(.., |owed| owed.number == number).count() > 0;
                match locked {
                    Err(error) if owed(&self.place, is_waiting) => return Err(error),
                    // Whoever had the lock has done it, or is doing it.
                    _ => settled.await,
                }
            }
        };
        self.held = outcome.unwrap_or_else(|_| Err(StoreError::Changed { path: self.place.mailbox(QUEUE) }))?;
        if self.held.is_none() {
            // What is left of a lost claim is for the next to claim it.
            left.forward_paths.clear();
        }
        self.envelope = left;
        Ok(())
    }
}

/// Something to be recorded. It waits for the lock of the queue with all others of its process, and whoever gets the lock
/// first records them all: the time in which a kill leaves something unrecorded is that of one wait, not of many.
#[derive(Debug)]
struct Owed {
    number: u64,
    /// Goes with what is owed, not with who waits for it: whoever claims the item next must find it settled.
    held: Held,
    from_line: Vec<u8>,
    before: Envelope,
    after: Envelope,
    text: Arc<Text>,
    told: oneshot::Sender<Result<Option<Held>, StoreError>>,
}

/// What is owed to the queue of each folder.
static OWED: PerFolder<Vec<Owed>> = LazyLock::new(Mutex::default);

static NUMBER: AtomicU64 = AtomicU64::new(0);

fn owed<T>(place: &Place, look: impl FnOnce(&mut Vec<Owed>) -> T) -> T {
    look(OWED.lock().unwrap_or_else(PoisonError::into_inner).entry(place.id).or_default())
}

/// Records what is owed to this queue: strikes out who of `before` is not in `after`. A short queue is then rewritten. Each
/// is told what it holds then, or [`StoreError::Changed`] when its item is not there. On any error nothing may be taken
/// for recorded.
fn settle(place: &Place, queue: &mut Locked) {
    let mut struck_out = Vec::new();
    for owed in owed(place, std::mem::take) {
        match find_held(queue, &owed).and_then(|(entry, head)| {
            strike_out(place, queue, &head, &owed.after)?;
            Ok(entry)
        }) {
            Ok(entry) => struck_out.push((owed, entry)),
            Err(error) => drop(owed.told.send(Err(error))),
        }
    }
    if struck_out.is_empty() {
        return;
    }
    if let Err(error) = queue.sync_all(place) {
        let what = error.to_string();
        for (owed, _) in struck_out {
            let source = io::Error::other(what.clone());
            drop(owed.told.send(Err(StoreError::io(&queue.path, source))));
        }
        return;
    }
    // It is recorded. What goes wrong from here on costs no more than the claims.
    let is_short = queue.file.metadata().is_ok_and(|metadata| metadata.len() <= SHORT_MAX_OCTETS);
    let swept = if is_short { heads(queue).and_then(|listed| sweep(place, queue, &listed)) } else { Ok(false) };
    for (owed, entry) in struck_out {
        let found = match swept {
            _ if owed.after.forward_paths.is_empty() => None,
            Ok(true) => list(queue).and_then(|entries| find(queue, entries, &owed, &owed.after)).ok().flatten(),
            Ok(false) => Head::read(&queue.file, &queue.path, entry).ok().flatten().map(|head| (entry, head)),
            Err(_) => None,
        };
        let held = found.and_then(|(entry, head)| hold(place, queue, entry, &head).ok().flatten());
        // The old lock goes after the new one has come.
        let _ = owed.told.send(Ok(held));
    }
}

/// Where the item that is held is now.
fn find_held(queue: &Locked, owed: &Owed) -> Result<(Entry, Head), StoreError> {
    let Held { id, entry, .. } = owed.held;
    let found = match find(queue, [entry], owed, &owed.before)? {
        Some(found) => Some(found),
        None => {
            let is_same = |other: &Entry| other.identity == entry.identity || other.identity == id;
            find(queue, list(queue)?.into_iter().filter(is_same), owed, &owed.before)?
        }
    };
    found.ok_or_else(|| StoreError::Changed { path: queue.path.clone() })
}

/// Takes the claim on an item that has another envelope now, and so another identity.
fn hold(place: &Place, queue: &Locked, entry: Entry, head: &Head) -> Result<Option<Held>, StoreError> {
    let id = item_id(queue, entry, Some(head))?;
    let Some(lock) = ClaimLock::try_new(place, id)? else { return Ok(None) };
    let mut identifier = Identifier::new();
    read_range(queue, entry.start..entry.end, &mut identifier)?;
    Ok(Some(Held { id, entry: Entry { identity: identifier.finish(), ..entry }, _lock: lock }))
}

/// What an item is known by, and where its claim is: the identity that its entry has without those who are struck out.
/// So it stays the same when they are removed, and a claim goes on.
fn item_id(queue: &Locked, entry: Entry, head: Option<&Head>) -> Result<Identity, StoreError> {
    let Some(head) = head.filter(|head| head.is_struck_out) else { return Ok(entry.identity) };
    let mut identifier = Identifier::new();
    read_range(queue, entry.start..entry.text, &mut identifier)?;
    identifier.push(envelope_block(&head.envelope.forward_paths).as_bytes());
    read_range(queue, head.text..entry.end, &mut identifier)?;
    Ok(identifier.finish())
}

/// All entries and their heads.
fn heads(queue: &Locked) -> Result<Vec<(Entry, Option<Head>)>, StoreError> {
    list(queue)?.into_iter().map(|entry| Ok((entry, Head::read(&queue.file, &queue.path, entry)?))).collect()
}

/// The first of these entries that is, octet for octet, this one with this envelope: the same message may be there more
/// than once, and then its `From ` line tells. Their hash does not decide it: whoever writes a message can make it hash as
/// another does.
fn find(
    queue: &Locked,
    entries: impl IntoIterator<Item = Entry>,
    Owed { from_line, text, .. }: &Owed,
    envelope: &Envelope,
) -> Result<Option<(Entry, Head)>, StoreError> {
    for entry in entries {
        let head = Head::read(&queue.file, &queue.path, entry)?;
        let Some(head) = head.filter(|head| (&head.envelope, &head.from_line) == (envelope, from_line)) else {
            continue;
        };
        match is_text(queue, entry, &head, text) {
            Ok(true) => return Ok(Some((entry, head))),
            Ok(false) | Err(StoreError::Changed { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Whether an item has this text.
fn is_text(queue: &Locked, entry: Entry, head: &Head, text: &Text) -> Result<bool, StoreError> {
    let mut next = chunks(queue, entry, head);
    let mut waiting = Vec::new();
    let mut is_same = true;
    text.read_through(|block| {
        while is_same && waiting.len() < block.len() {
            match next()? {
                Some(chunk) => waiting.extend_from_slice(&chunk),
                None => is_same = false,
            }
        }
        is_same = is_same && waiting.starts_with(block);
        waiting.drain(..block.len().min(waiting.len()));
        Ok(())
    })?;
    while is_same && waiting.is_empty() {
        match next()? {
            Some(chunk) => waiting = chunk,
            None => return Ok(true),
        }
    }
    Ok(false)
}

/// Strikes out whoever in this head is not in `after`. Not flushed.
fn strike_out(place: &Place, queue: &Locked, head: &Head, after: &Envelope) -> Result<(), StoreError> {
    let done = head.lines.iter().zip(&head.envelope.forward_paths);
    let done: Vec<u64> = done.filter(|(_, path)| !after.forward_paths.contains(path)).map(|(&at, _)| at).collect();
    let (Some(&first), Some(&last)) = (done.first(), done.last()) else { return Ok(()) };
    // Or else a recovery could take what is struck out for what was not written to its end.
    place.journal.settle(place, queue)?;
    // All of them in one write: a kill leaves it done or not. A power cut may leave some: those are recorded.
    let mut octets = vec![0; usize::try_from(last - first).unwrap_or(0) + 1];
    let read = read_at(&queue.file, &mut octets, first).map_err(|source| StoreError::io(&queue.path, source))?;
    for at in done {
        match octets[..read].get_mut(usize::try_from(at - first).unwrap_or(usize::MAX)) {
            Some(octet) => *octet = STRUCK_OUT,
            None => return Err(StoreError::Changed { path: queue.path.clone() }),
        }
    }
    place.files.write_all_at(&queue.file, &queue.path, &octets, first)
}

/// Gives a part of the queue to `identifier`.
fn read_range(queue: &Locked, range: Range<u64>, identifier: &mut Identifier) -> Result<(), StoreError> {
    let mut block = vec![0; IDENTIFY_OCTETS];
    let mut at = range.start;
    while at < range.end {
        let want = usize::try_from(range.end - at).map_or(block.len(), |left| left.min(block.len()));
        let read =
            read_at(&queue.file, &mut block[..want], at).map_err(|source| StoreError::io(&queue.path, source))?;
        if read == 0 {
            return Err(StoreError::Changed { path: queue.path.clone() });
        }
        identifier.push(&block[..read]);
        at += read as u64;
    }
    Ok(())
}

/// How much is read at once to identify an entry.
const IDENTIFY_OCTETS: usize = 64 * 1024;

/// Removes what is struck out; `false` when there was nothing, or it cannot be removed now and all is as it was.
///
/// # Errors
/// [`StoreError`] when the next one to lock the queue has to finish it.
fn sweep(place: &Place, queue: &mut Locked, listed: &[(Entry, Option<Head>)]) -> Result<bool, StoreError> {
    let is_struck_out = |(_, head): &(Entry, Option<Head>)| head.as_ref().is_some_and(|head| head.is_struck_out);
    let Some(first) = listed.iter().position(is_struck_out) else { return Ok(false) };
    let metadata = queue.file.metadata().map_err(|source| StoreError::io(&queue.path, source))?;
    let (id, size) = (FileId::of(&metadata), metadata.len());
    if listed.last().is_none_or(|(last, _)| last.next != size) {
        // Somebody who takes no locks is writing at this moment.
        return Ok(false);
    }
    let (file, path) = (Arc::clone(&queue.file), queue.path.clone());
    let part = |range| Source::Part { file: &file, path: &path, range };
    let block =
        |(_, head): &(Entry, Option<Head>)| head.as_ref().map(|head| envelope_block(&head.envelope.forward_paths));
    let blocks: Vec<Option<String>> = listed[first..].iter().map(block).collect();
    let mut tail = Vec::new();
    for ((entry, head), block) in listed[first..].iter().zip(&blocks) {
        match (head, block) {
            (Some(head), _) if head.is_over() => {}
            (Some(head), Some(block)) if head.is_struck_out => {
                tail.extend([
                    part(entry.start..entry.text),
                    Source::New(block.as_bytes()),
                    part(head.text..entry.next),
                ]);
            }
            _ => tail.push(part(entry.start..entry.next)),
        }
    }
    match rewrite(place, queue, (id, size), listed[first].0.start, &tail) {
        Ok(()) => Ok(true),
        // Nothing was decided: what is struck out is as good as removed.
        Err(_) if !tail.is_empty() && place.update(QUEUE).symlink_metadata().is_err() => Ok(false),
        Err(error) => Err(error),
    }
}

/// What stands in front of an item's text.
#[derive(Debug)]
pub(crate) struct Head {
    /// From whom, and who is not struck out.
    envelope: Envelope,
    /// Where the lines of `envelope.forward_paths` begin in the file.
    lines: Vec<u64>,
    /// Whether somebody is struck out.
    is_struck_out: bool,
    from_line: Vec<u8>,
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
        Ok(Self::parse(from_line, &block, entry.text))
    }

    /// Whether everybody is struck out.
    fn is_over(&self) -> bool {
        self.envelope.forward_paths.is_empty()
    }

    fn parse(from_line: Vec<u8>, block: &[u8], text: u64) -> Option<Self> {
        // Behind the path stands the date, which a path takes for parameters.
        let path_and_date = parse_path(from_line.strip_prefix(FROM)?.trim_ascii_end()).ok()?;
        let (mut forward_paths, mut lines) = (Vec::new(), Vec::new());
        let mut is_struck_out = false;
        let mut at = 0;
        let mut bare = 0;
        loop {
            let length = memchr(b'\n', &block[at..])? + 1;
            let line = &block[at..at + length];
            let begins = text + at as u64;
            at += length;
            // A bare LF becomes CR LF when it is read.
            bare += if line.ends_with(b"\r\n") { 0 } else { 1 };
            let line = line.trim_ascii_end();
            if line.is_empty() {
                break;
            }
            let (first, rest) = line.split_first()?;
            let (field_first, field_rest) = FIELD.trim_end().as_bytes().split_first()?;
            let path = parse_path(rest.strip_prefix(field_rest)?).ok()?;
            let address = path.address.filter(|_| path.parameters.is_empty())?;
            if first == field_first {
                forward_paths.push(address);
                lines.push(begins);
            } else if *first == STRUCK_OUT {
                is_struck_out = true;
            } else {
                return None;
            }
        }
        let at = at as u64;
        (is_struck_out || !forward_paths.is_empty()).then_some(Self {
            envelope: Envelope { reverse_path: ReversePath(path_and_date.address), forward_paths },
            lines,
            is_struck_out,
            accepted: from_line::rfc_5322_date(path_and_date.parameters),
            from_line,
            text: text + at,
            wire_octets: at + bare,
        })
    }
}

/// The text of an item, apart from the queue: the queue may change while it is being sent. `None` if the entry is not, or
/// not any more, what was listed.
fn text(place: &Arc<Place>, queue: &Locked, entry: Entry, head: &Head) -> Result<Option<Text>, StoreError> {
    match Text::collect(place, chunks(queue, entry, head)) {
        Ok(text) => Ok(Some(text)),
        Err(StoreError::Changed { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the text of an item; [`StoreError::Changed`] at its end if the entry is not what was listed.
fn chunks(queue: &Locked, entry: Entry, head: &Head) -> impl FnMut() -> Result<Option<Vec<u8>>, StoreError> {
    let mut passage = Passage::new(Snapshot { file: Arc::clone(&queue.file), path: queue.path.clone() }, entry);
    let mut skip = usize::try_from(head.wire_octets).unwrap_or(usize::MAX);
    move || {
        let Some(mut chunk) = passage.next()? else { return Ok(None) };
        let skipped = skip.min(chunk.len());
        skip -= skipped;
        chunk.drain(..skipped);
        Ok(Some(chunk))
    }
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
        let file = place.files.open_lock(&path)?;
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
