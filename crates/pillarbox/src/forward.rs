//! Sending the queue on: each item once, each domain of it in a transaction of its own (C-F3 to C-F5).

use std::collections::BTreeMap;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use pillarbox_proto::client::Outcome;
use pillarbox_proto::{Address, Envelope};
use pillarbox_relay::{Event, Relay, Report, Resolver, Source, name, trace};
use pillarbox_server::{Log, Transcript};
use pillarbox_store::{Claim, Queue, StoreError, Text};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

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
    /// known what became of it. Gives how many items are in the queue at the end.
    ///
    /// A recipient that was delivered is recorded before the next domain is tried: only a kill between the remote's
    /// 250 and this can cause a second copy (C-F4).
    ///
    /// # Errors
    /// When the queue cannot be read.
    pub async fn run(&self, mut tell: impl FnMut(Line)) -> Result<usize, StoreError> {
        let (lines, mut told) = mpsc::unbounded_channel();
        let at_once = Arc::new(Semaphore::new(ITEMS_AT_ONCE));
        let mut sending = JoinSet::new();
        for item in self.queue.browse().await? {
            if item.envelope.is_none() {
                tell(Line::Item("mqueue: an entry without an envelope that can be read; it stays as it is".to_owned()));
                continue;
            }
            // Nobody closes the semaphore.
            let Ok(permit) = Arc::clone(&at_once).acquire_owned().await else { break };
            while let Ok(line) = told.try_recv() {
                tell(line);
            }
            let (forwarder, lines) = (self.clone(), lines.clone());
            sending.spawn(async move {
                let _permit = permit;
                match forwarder.queue.claim(&item).await {
                    Ok(Some(claim)) => forwarder.send(claim, &lines).await,
                    Ok(None) => {}
                    Err(error) => drop(lines.send(Line::Item(format!("mqueue: {error}")))),
                }
            });
        }
        drop(lines);
        while let Some(line) = told.recv().await {
            tell(line);
        }
        while sending.join_next().await.is_some() {}
        Ok(self.queue.browse().await?.len())
    }

    /// Sends one item to each of its domains, in turn.
    async fn send(&self, mut claim: Q::Claim, lines: &mpsc::UnboundedSender<Line>) {
        let by = self.relay.hello.clone().unwrap_or_else(|| "localhost".to_owned());
        let accepted = claim.accepted().unwrap_or("Thu, 1 Jan 1970 00:00:00 +0000");
        let mut source = Outgoing {
            received: trace::received_line(&by, accepted).into_bytes(),
            text: Arc::clone(claim.text()),
            given: None,
        };
        for envelope in by_domain(claim.envelope()) {
            let observe = |connection, event| self.observe(connection, event);
            let reports = self.relay.deliver(&envelope, &mut source, &observe).await;
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

/// One envelope for each domain, in the order of their names; domains have no case.
fn by_domain(envelope: &Envelope) -> Vec<Envelope> {
    let mut domains: BTreeMap<String, Vec<Address>> = BTreeMap::new();
    for path in &envelope.forward_paths {
        domains.entry(path.domain().to_ascii_lowercase()).or_default().push(path.clone());
    }
    let reverse_path = &envelope.reverse_path;
    domains.into_values().map(|forward_paths| Envelope { reverse_path: reverse_path.clone(), forward_paths }).collect()
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
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use pillarbox_store::{Item, MboxStore};

    use super::*;

    /// A queue whose items take their time, and are then somebody else's.
    #[derive(Clone)]
    struct Slow {
        store: MboxStore,
        now: Arc<AtomicUsize>,
        most: Arc<AtomicUsize>,
        claimed: Arc<AtomicUsize>,
    }

    impl Queue for Slow {
        type Claim = <MboxStore as Queue>::Claim;

        async fn browse(&self) -> Result<Vec<Item>, StoreError> {
            self.store.browse().await
        }

        async fn claim(&self, _: &Item) -> Result<Option<Self::Claim>, StoreError> {
            let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(now, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.now.fetch_sub(1, Ordering::Relaxed);
            self.claimed.fetch_add(1, Ordering::Relaxed);
            Ok(None)
        }
    }

    /// holds C-F3
    #[tokio::test(start_paused = true)]
    async fn so_many_items_are_sent_at_the_same_time_and_no_more() {
        let count = 3 * ITEMS_AT_ONCE;
        let dir = tempfile::TempDir::new().unwrap();
        let item = "From <a@localhost> Mon Aug 22 23:00:00 2016\nX-Envelope-To: <b@example.org>\n\nx\n\n";
        fs::write(dir.path().join("mqueue"), item.repeat(count)).unwrap();
        let (store, _) = MboxStore::open(dir.path()).unwrap();
        let queue = Slow { store, now: Arc::default(), most: Arc::default(), claimed: Arc::default() };
        // Nobody is there: nothing is looked up.
        let options = Sending { resolver: Some(([127, 0, 0, 1], 9).into()), remote_port: 9, timeout: None };
        let forwarder = Forwarder::new(queue.clone(), &options, None).unwrap();
        assert_eq!(forwarder.run(|line| panic!("{line}")).await.unwrap(), count);
        assert_eq!(queue.claimed.load(Ordering::Relaxed), count);
        assert_eq!(queue.most.load(Ordering::Relaxed), ITEMS_AT_ONCE);
        assert_eq!(ITEMS_AT_ONCE, 20);
    }
}
