//! Sending the queue on: each item once, each domain of it in a transaction of its own (C-F3 to C-F5).

use std::collections::{BTreeSet, HashMap};
use std::future;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pillarbox_proto::client::Outcome;
use pillarbox_proto::{Address, Entry, Envelope};
use pillarbox_relay::trace::{self, RECEIVED_MAX, ReceivedLines};
use pillarbox_relay::{Event, Relay, Report, Resolver, Source, name};
use pillarbox_server::{Log, Transcript};
use pillarbox_store::{Claim, Item, Queue, StoreError, Text};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{self, Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::cli::Sending;

mod agenda;

use agenda::Agenda;
pub use agenda::DOMAIN_AT_ONCE;

/// Items that are sent at the same time. A host that is slow then holds up this many at the most.
pub const ITEMS_AT_ONCE: usize = 20;

/// After the queue was listed it is left alone for so many times longer than that took.
const LIST_PAUSE: u32 = 10;

/// But no longer than this: it may have waited for somebody's lock.
const LIST_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Sends what is in a queue.
#[derive(Clone)]
pub struct Forwarder<Q> {
    queue: Q,
    relay: Relay,
    transcript: Option<Transcript>,
}

/// What is told of one recipient, or of an item that cannot be sent.
#[derive(Clone, Debug)]
pub enum Line {
    /// What became of a recipient.
    Recipient(Address, Report),
    /// Why an item stays as it is.
    Item(String),
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Recipient(address, Report { outcome, host: Some(host) }) => {
                write!(f, "{address}: {outcome} ({host})")
            }
            Self::Recipient(address, Report { outcome, host: None }) => write!(f, "{address}: {outcome}"),
            Self::Item(what) => f.write_str(what),
        }
    }
}

impl<Q: Queue> Forwarder<Q> {
    /// A forwarder for this queue, which dials this port of other hosts.
    pub fn new(queue: Q, options: &Sending, port: u16, transcript: Option<Transcript>) -> Self {
        let resolver = options.resolver.map_or_else(Resolver::system, Resolver::at);
        let relay = Relay { resolver, port, timeout: options.timeout, hello: name::of_system() };
        Self { queue, relay, transcript }
    }

    /// Tries every item once, those that nobody else is sending. `tell` gets a line for each recipient as soon as it is
    /// known what became of it. Gives how many items are in the queue at the end; `None` when it was stopped.
    ///
    /// A recipient that was delivered is recorded before the next domain is tried: only a kill between the remote's
    /// 250 and this can cause a second copy (C-F4). Once `stop` is cancelled nothing is begun, and connections are closed;
    /// only where the final dot was sent, the reply is waited for and recorded.
    ///
    /// # Errors
    /// When the queue cannot be read.
    pub async fn run(&self, stop: &CancellationToken, mut tell: impl FnMut(Line)) -> Result<Option<usize>, StoreError> {
        let (lines, mut told) = mpsc::unbounded_channel();
        let mut items = readable(self.queue.browse().await?, &mut tell);
        // Equal items have one claim: while one of them is sent, the others are taken for claimed. They get a second
        // turn.
        for turn in 0..2 {
            let mut sending = JoinSet::new();
            let mut claimed = Vec::new();
            for item in std::mem::take(&mut items) {
                if stop.is_cancelled() {
                    break;
                }
                if sending.len() == ITEMS_AT_ONCE {
                    claimed.extend(sending.join_next().await.and_then(Result::ok).flatten());
                }
                while let Ok(line) = told.try_recv() {
                    tell(line);
                }
                let (forwarder, lines, stop) = (self.clone(), lines.clone(), stop.clone());
                sending.spawn(async move {
                    match forwarder.queue.claim(&item).await {
                        Ok(Some(claim)) => drop(forwarder.send(claim, &stop, &lines).await),
                        Ok(None) => return Some(item),
                        Err(error) => drop(lines.send(Line::Item(format!("mqueue: {error}")))),
                    }
                    None
                });
            }
            while !sending.is_empty() {
                tokio::select! {
                    Some(line) = told.recv() => tell(line),
                    Some(item) = sending.join_next() => claimed.extend(item.ok().flatten()),
                }
            }
            while let Ok(line) = told.try_recv() {
                tell(line);
            }
            if turn == 0 {
                items = claimed;
            }
        }
        if stop.is_cancelled() { Ok(None) } else { Ok(Some(self.queue.browse().await?.len())) }
    }

    /// Sends what is queued by this process as soon as it is, and what others have queued or could not be sent after each
    /// `interval`, until it is stopped. Items are independent: one whose host is silent holds up no other, as long as
    /// there are not [`ITEMS_AT_ONCE`] such, or [`DOMAIN_AT_ONCE`] for one domain.
    pub async fn watch(&self, interval: Duration, stop: &CancellationToken, mut tell: impl FnMut(Line)) {
        let (lines, mut told) = mpsc::unbounded_channel();
        let (mut agenda, mut sending, mut items) = (Agenda::default(), JoinSet::new(), HashMap::new());
        let mut rounds = time::interval(interval);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut is_to_list, mut listed) = (false, Instant::now());
        loop {
            while let Some(item) = agenda.next() {
                let (forwarder, lines, stop, item_now) = (self.clone(), lines.clone(), stop.clone(), item.clone());
                let task = sending.spawn(async move { forwarder.try_once(item_now, &stop, &lines).await });
                items.insert(task.id(), item);
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(line) = told.recv() => tell(line),
                Some(ended) = sending.join_next_with_id() => {
                    // An item at which we have panicked stays where it is.
                    let (task, left) = ended.map_or_else(|error| (error.id(), None), |(task, left)| (task, Some(left)));
                    if let Some(item) = items.remove(&task) {
                        is_to_list |= agenda.ended(&item, left.unwrap_or_else(|| Some(item.clone())));
                    }
                }
                _ = rounds.tick() => {
                    agenda.renew();
                    is_to_list = true;
                }
                () = self.queue.queued(), if !is_to_list => is_to_list = true,
                () = time::sleep_until(listed), if is_to_list => {
                    is_to_list = false;
                    let begun = Instant::now();
                    match self.queue.browse().await {
                        Ok(items) => agenda.listed(readable(items, &mut tell)),
                        Err(error) => tell(Line::Item(format!("mqueue: {error}"))),
                    }
                    // Listing a long queue must not keep others from it.
                    listed = Instant::now() + (LIST_PAUSE * begun.elapsed()).min(LIST_PAUSE_MAX);
                }
            }
        }
        while !sending.is_empty() {
            tokio::select! {
                Some(line) = told.recv() => tell(line),
                Some(_) = sending.join_next() => {}
            }
        }
        while let Ok(line) = told.try_recv() {
            tell(line);
        }
    }

    /// Sends an item, if nobody else does. Gives what is left of it.
    async fn try_once(
        &self,
        item: Item,
        stop: &CancellationToken,
        lines: &mpsc::UnboundedSender<Line>,
    ) -> Option<Item> {
        match self.queue.claim(&item).await {
            Ok(Some(claim)) => return self.send(claim, stop, lines).await,
            Ok(None) => {}
            // Whoever would hear it may be gone.
            Err(error) => drop(lines.send(Line::Item(format!("mqueue: {error}")))),
        }
        Some(item)
    }

    /// Sends one item to each of its domains, in turn. Gives what is left of it.
    async fn send(
        &self,
        mut claim: Q::Claim,
        stop: &CancellationToken,
        lines: &mpsc::UnboundedSender<Line>,
    ) -> Option<Item> {
        let item = claim.item();
        if goes_round(claim.text()).await {
            let outcome = Outcome::Failed(format!("mail loop: it has come through more than {RECEIVED_MAX} hosts"));
            for address in &claim.envelope().forward_paths {
                let report = Report { outcome: outcome.clone(), host: None };
                let _ = lines.send(Line::Recipient(address.clone(), report));
            }
            return item;
        }
        let by = self.relay.hello.clone().unwrap_or_else(|| "localhost".to_owned());
        let accepted = claim.accepted().unwrap_or("Thu, 1 Jan 1970 00:00:00 +0000");
        let mut source = Outgoing {
            received: trace::received_line(&by, accepted).into_bytes(),
            text: Arc::clone(claim.text()),
            given: None,
        };
        for domain in domains(claim.envelope()) {
            // A claim that was lost has nobody left.
            let envelope = at_domain(claim.envelope(), &domain);
            if envelope.forward_paths.is_empty() || stop.is_cancelled() {
                break;
            }
            // If nobody can say it, a loop ends by its Received lines.
            let listening = self.queue.listening().await.unwrap_or_default();
            let is_in_doubt = AtomicBool::new(false);
            let observe = |connection, event| {
                if let Event::Entry(Entry::SaidOctets(_)) = event {
                    is_in_doubt.store(true, Ordering::Relaxed);
                }
                self.observe(connection, event);
            };
            let go_on = || !stop.is_cancelled();
            let stopped_before_the_dot = async {
                stop.cancelled().await;
                if is_in_doubt.load(Ordering::Relaxed) {
                    future::pending::<()>().await;
                }
            };
            let reports = tokio::select! {
                biased;
                reports = self.relay.deliver(&envelope, &mut source, &listening, &observe, &go_on) => reports,
                () = stopped_before_the_dot => break,
            };
            let delivered = |(_, report): &&(Address, Report)| matches!(report.outcome, Outcome::Delivered(_));
            let done: Vec<Address> = reports.iter().filter(delivered).map(|(address, _)| address.clone()).collect();
            let settled = claim.settle(&done).await;
            for (address, report) in reports {
                // Whoever would hear it may be gone.
                let _ = lines.send(Line::Recipient(address, report));
            }
            if let Err(error) = settled {
                let _ = lines.send(Line::Item(format!("mqueue: {error}; who has got the mail may get it again")));
                return item;
            }
        }
        claim.item()
    }

    fn observe(&self, connection: RawFd, event: Event) {
        let log = Log::of_client(self.transcript.clone(), connection);
        match event {
            Event::Opened(peer) => log.note(format_args!("New connection to {peer}")),
            Event::Entry(entry) => log.entries([entry]),
            Event::Closed => log.note(format_args!("Connection closed")),
        }
    }
}

/// Those whose envelope can be read.
fn readable(mut items: Vec<Item>, tell: &mut impl FnMut(Line)) -> Vec<Item> {
    items.retain(|item| {
        if item.envelope.is_none() {
            tell(Line::Item("mqueue: an entry without an envelope that can be read; it stays as it is".to_owned()));
        }
        item.envelope.is_some()
    });
    items
}

/// Whether a text has come through so many hosts that it must be going round (RFC 5321 §6.3).
async fn goes_round(text: &Arc<Text>) -> bool {
    let mut received = ReceivedLines::default();
    let mut at = 0;
    while let Ok(block) = text.block(at).await
        && !block.is_empty()
        && !received.is_enough(&block)
    {
        at += block.len() as u64;
    }
    received.is_loop()
}

/// The domains of an envelope, in the order of their names and in lower case; domains have no case.
fn domains(envelope: &Envelope) -> BTreeSet<String> {
    envelope.forward_paths.iter().map(|path| path.domain().to_ascii_lowercase()).collect()
}

/// The envelope for one domain.
fn at_domain(envelope: &Envelope, domain: &str) -> Envelope {
    let forward_paths = envelope.forward_paths.iter().filter(|path| path.is_at(domain)).cloned().collect();
    Envelope { reverse_path: envelope.reverse_path.clone(), forward_paths }
}

/// A text of the queue with the Received line in front.
struct Outgoing {
    received: Vec<u8>,
    text: Arc<Text>,
    /// Octets of the text that were given; `None`: not even the line in front of it.
    given: Option<u64>,
}

impl Source for Outgoing {
    fn octets(&self) -> u64 {
        self.received.len() as u64 + self.text.octets()
    }

    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(given) = self.given else {
            self.given = Some(0);
            return Ok(Some(self.received.clone()));
        };
        let block = self.text.block(given).await.map_err(io::Error::other)?;
        self.given = Some(given + block.len() as u64);
        Ok((!block.is_empty()).then_some(block))
    }

    fn rewind(&mut self) {
        self.given = None;
    }
}

#[cfg(test)]
#[path = "forward/tests.rs"]
mod tests;
