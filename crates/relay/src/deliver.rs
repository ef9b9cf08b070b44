//! Bringing one message to the hosts of one domain (RFC 5321 §5.1, §4.5.4.1).

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::time::Duration;

use pillarbox_proto::client::{Client, Outcome};
use pillarbox_proto::{Address, Entry, Envelope};
use tokio::time::Instant;

use crate::dial::Link;
use crate::drive::drive;
use crate::ledger::Ledger;
use crate::name;
use crate::own;
use crate::resolve::Resolver;
use crate::route::{self, Host};
use crate::source::Source;

/// The port of SMTP.
pub const SMTP_PORT: u16 = 25;

/// How long connecting to a host may take, all its addresses together (C-F3).
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections opened for one delivery. A domain with many hosts that answer and defer costs no more. RFC 5321 §5.1
/// lets us limit it, if to two or more.
pub const SESSIONS_MAX: usize = 5;

/// What became of one recipient, and who said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What became of it.
    pub outcome: Outcome,
    /// The host that said so, or could not be reached; `None` where it did not come to a host.
    pub host: Option<String>,
}

/// What happens on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is open, to this peer.
    Opened(SocketAddr),
    /// Something was said, [`Entry::Said`] by us, [`Entry::Heard`] by the peer.
    Entry(Entry),
    /// It is about to close; its descriptor may soon be that of another.
    Closed,
}

/// Who is told of connections: called with the descriptor and what happened, from the task that delivers.
pub type Observe<'a> = &'a (dyn Fn(RawFd, Event) + Sync);

/// Who is asked, before each connection, whether another may be opened.
pub type GoOn<'a> = &'a (dyn Fn() -> bool + Sync);

/// How mail is brought to other hosts.
#[derive(Clone)]
pub struct Relay {
    /// Who is asked for the hosts of a domain.
    pub resolver: Resolver,
    /// The port to dial, [`SMTP_PORT`] but for tests and odd networks.
    pub port: u16,
    /// Caps every time limit: that of a question to a name server, of connecting, and of each reply and block.
    pub timeout: Option<Duration>,
    /// What we call ourselves, a domain ([`crate::name::of_system`]); `None` for the literal of the address that a
    /// connection comes from (RFC 5321 §4.1.4).
    pub hello: Option<String>,
}

impl Relay {
    /// Tries to bring a message to all recipients of `envelope`, which must be of one domain, and reports what became
    /// of each, in the order of the envelope.
    ///
    /// Its hosts are tried in order, and each address of a host, until every recipient is delivered or has failed.
    /// A host that has said nothing to the final dot is the last one tried: it may have the message (C-F4). When the
    /// future is dropped the connection closes; up to the final dot no peer has the message then. From the final dot on,
    /// which [`Event::Entry`] tells of with [`Entry::SaidOctets`], it is better ended by `go_on`: what is known is
    /// reported then.
    ///
    /// A host at which one of ours is `listening`, or that has our name, gets nothing, nor do those behind it (C-F7).
    pub async fn deliver(
        &self,
        envelope: &Envelope,
        source: &mut impl Source,
        listening: &[SocketAddr],
        observe: Observe<'_>,
        go_on: GoOn<'_>,
    ) -> Vec<(Address, Report)> {
        let Some(domain) = envelope.forward_paths.first().map(Address::domain) else {
            return Vec::new();
        };
        debug_assert!(envelope.forward_paths.iter().all(|path| path.is_at(domain)), "recipients of several domains");
        let is_own = |ip| own::is_own(listening, SocketAddr::new(ip, self.port), own::is_local);
        // At a port at which nobody else can reach us, our name means another server of this host.
        let own = self.hello.as_deref().filter(|_| own::is_public(listening, self.port));
        let route = self.resolver.route_within(domain, self.timeout.unwrap_or(Duration::MAX), own).await;
        match route.and_then(|hosts| route::without_loop(domain, hosts, is_own)) {
            Ok(hosts) => self.try_hosts(&hosts, envelope, source, observe, go_on).await,
            Err(error) => {
                let report = Report { outcome: error.outcome(), host: None };
                envelope.forward_paths.iter().map(|path| (path.clone(), report.clone())).collect()
            }
        }
    }

    async fn try_hosts(
        &self,
        hosts: &[Host],
        envelope: &Envelope,
        source: &mut impl Source,
        observe: Observe<'_>,
        go_on: GoOn<'_>,
    ) -> Vec<(Address, Report)> {
        let mut ledger = Ledger::new(envelope);
        let mut sessions = 0;
        for host in hosts {
            let mut patience = self.capped(CONNECT_TIMEOUT);
            for (&address, left) in host.addresses.iter().zip((1..=host.addresses.len() as u32).rev()) {
                if ledger.is_over() || sessions == SESSIONS_MAX || !go_on() {
                    return ledger.into_reports();
                }
                // Each address has its share, so that one that swallows packets leaves time for the next.
                let dialed_at = Instant::now();
                let peer = SocketAddr::new(address, self.port);
                let dialed = Link::dial(peer, patience / left, observe).await;
                patience = patience.saturating_sub(dialed_at.elapsed());
                match dialed {
                    Ok(link) => {
                        sessions += 1;
                        self.talk(link, &host.name, &mut ledger, source).await;
                    }
                    Err(error) => ledger.unreached(&host.name, format!("connecting to {peer}: {error}")),
                }
            }
        }
        ledger.into_reports()
    }

    /// One session with one host.
    async fn talk(&self, mut link: Link<'_>, host: &str, ledger: &mut Ledger, source: &mut impl Source) {
        let own_literal = || match link.stream.local_addr() {
            Ok(address) => name::literal(address.ip()),
            Err(_) => name::loopback_literal(),
        };
        let hello = self.hello.clone().unwrap_or_else(own_literal);
        source.rewind();
        let mut client = Client::new(&hello, &ledger.envelope(), source.octets());
        let note = link.note();
        let progress = drive(&mut link.stream, &mut client, source, self.timeout, note).await;
        ledger.spoken(host, client.into_outcomes(), progress);
    }

    fn capped(&self, limit: Duration) -> Duration {
        self.timeout.map_or(limit, |cap| cap.min(limit))
    }
}

#[cfg(test)]
#[path = "deliver/tests.rs"]
mod tests;
