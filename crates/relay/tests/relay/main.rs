//! Mail for domains of a DNS of our own, brought to peers of our own: all on loopback, ports chosen by the system.

// Helpers of tests are tests, too.
#![allow(clippy::unwrap_used)]

mod deliver;
mod dns;
mod failures;
#[allow(dead_code, reason = "shared with the tests of the programs")]
mod peer;
mod route;
mod text;

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use pillarbox_proto::{Address, Envelope, ReversePath};
use pillarbox_relay::{Event, Octets, Relay, Resolver};

use crate::dns::Dns;
use crate::peer::{Peers, Rules};

/// For tests in which somebody is silent: short enough to wait for, long enough for whoever is not.
const SHORT: Duration = Duration::from_secs(1);

/// A DNS, peers, and a relay that knows only these.
struct Net {
    dns: Dns,
    peers: Peers,
    relay: Relay,
    events: Mutex<Vec<String>>,
    /// After so many connections no further one is opened.
    connections_max: usize,
    /// Where servers of ours listen.
    listening: Vec<SocketAddr>,
}

impl Net {
    async fn start(zone: &str, peers: &[(&str, Rules)]) -> Self {
        let dns = Dns::start(zone).await;
        let peers = Peers::start(peers).await;
        let resolver = Resolver::at(dns.at);
        let relay = Relay { resolver, port: peers.port, timeout: None, hello: Some("here.example.com".to_owned()) };
        Self { dns, peers, relay, events: Mutex::default(), connections_max: usize::MAX, listening: Vec::new() }
    }

    /// A domain `example.org` with a host on each of 127.0.0.2, 127.0.0.3 and so on, in this order.
    async fn with_hosts(peers: &[Rules]) -> Self {
        let addresses: Vec<_> = (2..).take(peers.len()).map(|last| format!("127.0.0.{last}")).collect();
        let mut zone = String::new();
        for (number, address) in addresses.iter().enumerate() {
            zone += &format!("example.org MX {number} mx{number}.example.org\nmx{number}.example.org A {address}\n");
        }
        let peers: Vec<_> = addresses.iter().map(String::as_str).zip(peers.iter().copied()).collect();
        Self::start(&zone, &peers).await
    }

    fn capped(mut self, cap: Duration) -> Self {
        self.relay.timeout = Some(cap);
        self
    }

    /// Delivers a text to these recipients, and shows what became of each: `OUTCOME (HOST)`.
    async fn deliver(&self, to: &[&str], text: impl Into<Vec<u8>>) -> Vec<String> {
        let envelope = Envelope {
            reverse_path: ReversePath(Some(address("sender@localhost"))),
            forward_paths: to.iter().map(|to| address(to)).collect(),
        };
        let observe = |_fd, event: Event| self.events.lock().unwrap().push(show(&event));
        let reports =
            self.relay.deliver(&envelope, &mut Octets::new(text), &self.listening, &observe, &|| self.goes_on()).await;
        assert_eq!(reports.iter().map(|(address, _)| address.clone()).collect::<Vec<_>>(), envelope.forward_paths);
        let show = |report: &pillarbox_relay::Report| match &report.host {
            Some(host) => format!("{} ({host})", report.outcome),
            None => report.outcome.to_string(),
        };
        reports.iter().map(|(_, report)| show(report)).collect()
    }

    fn goes_on(&self) -> bool {
        self.events.lock().unwrap().iter().filter(|event| event.starts_with("open ")).count() < self.connections_max
    }

    /// How many connections each peer has had, in the order of the peers.
    fn connections(&self) -> Vec<usize> {
        self.peers.all.iter().map(|peer| self.peers.heard(&peer.address.to_string()).connections).collect()
    }
}

fn show(event: &Event) -> String {
    match event {
        Event::Opened(peer) => format!("open {}", peer.ip()),
        Event::Entry(pillarbox_proto::Entry::Said(line)) => format!("C: {}", String::from_utf8_lossy(line)),
        Event::Entry(pillarbox_proto::Entry::SaidOctets(octets)) => format!("C: <{octets} octets>"),
        Event::Entry(pillarbox_proto::Entry::Heard(line)) => format!("S: {}", String::from_utf8_lossy(line)),
        Event::Entry(pillarbox_proto::Entry::HeardOctets(octets)) => format!("S: <{octets} octets>"),
        Event::Closed => "closed".to_owned(),
    }
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}
