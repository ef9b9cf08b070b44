//! Sending the queue on: each item once, each domain of it in a transaction of its own (C-F3 to C-F5).

use std::collections::BTreeSet;
use std::future;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pillarbox_proto::client::Outcome;
use pillarbox_proto::{Address, Entry, Envelope};
use pillarbox_relay::{Event, Relay, Report, Resolver, Source, name, trace};
use pillarbox_server::{Log, Transcript};
use pillarbox_store::{Claim, Queue, StoreError, Text};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::Sending;
use crate::failure::{Failure, exit};

/// Items that are sent at the same time. A host that is slow then holds up this many at the most.
pub const ITEMS_AT_ONCE: usize = 20;

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
    /// A forwarder for this queue.
    ///
    /// # Errors
    /// When the system's DNS configuration cannot be used.
    pub fn new(queue: Q, options: &Sending, transcript: Option<Transcript>) -> Result<Self, Failure> {
        let resolver = match options.resolver {
            Some(server) => Resolver::at(server),
            None => Resolver::system(),
        };
        let resolver = resolver.map_err(|error| {
            let what = format!("no DNS server is known: {error}; name one with --resolver");
            Failure::new(exit::OS_ERROR, what)
        })?;
        let relay = Relay { resolver, port: options.remote_port, timeout: options.timeout, hello: name::of_system() };
        Ok(Self { queue, relay, transcript })
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
        let mut items = self.queue.browse().await?;
        items.retain(|item| {
            if item.envelope.is_none() {
                tell(Line::Item("mqueue: an entry without an envelope that can be read; it stays as it is".to_owned()));
            }
            item.envelope.is_some()
        });
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
                        Ok(Some(claim)) => forwarder.send(claim, &stop, &lines).await,
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

    /// Sends one item to each of its domains, in turn.
    async fn send(&self, mut claim: Q::Claim, stop: &CancellationToken, lines: &mpsc::UnboundedSender<Line>) {
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
                return;
            }
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
                reports = self.relay.deliver(&envelope, &mut source, &observe, &go_on) => reports,
                () = stopped_before_the_dot => return,
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
                return;
            }
        }
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
