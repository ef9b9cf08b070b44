//! Asking the DNS (RFC 1035) which hosts take a domain's mail.
//!
//! Names are asked for as they are: no search list, no `/etc/hosts`, and no cache, so that a program that runs once
//! sees what the DNS says now. A name server that is silent, refuses, fails or talks nonsense is passed over for the next,
//! and each is asked again, as the C library does: `docs/resolver.md` has the failures, and what both make of them.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use crate::question::{Question, Reply};
use crate::route::{self, Host, RouteError};
use crate::servers::Servers;

/// Where the system says whom to ask.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Octets of it that are read.
pub const RESOLV_CONF_MAX_OCTETS: u64 = 64 * 1024;

/// The port of name servers.
const DNS_PORT: u16 = 53;

/// Aliases that are asked for in turn, where no server follows them for us.
pub const ALIASES_MAX: usize = 8;

/// Questions that are asked at the same time: each has a socket.
pub const QUESTIONS_MAX: usize = 64;

/// Longest datagram that is read, in octets.
const DATAGRAM_MAX_OCTETS: usize = 4096;

/// Asks name servers for mail hosts and their addresses.
#[derive(Clone, Debug)]
pub struct Resolver {
    source: Source,
}

/// Who says which name servers there are.
#[derive(Clone, Debug)]
enum Source {
    File { path: PathBuf, port: u16 },
    Server(SocketAddr),
}

impl Resolver {
    /// Asks the name servers of the system ([`RESOLV_CONF`]).
    #[must_use]
    pub fn system() -> Self {
        Self::of_file(RESOLV_CONF, DNS_PORT)
    }

    /// Asks the name servers that a file like [`RESOLV_CONF`] names, at this port. The file is read for each route: what
    /// it says may change, and it need not be there.
    #[must_use]
    pub fn of_file(path: impl AsRef<Path>, port: u16) -> Self {
        Self { source: Source::File { path: path.as_ref().to_owned(), port } }
    }

    /// Asks this name server.
    #[must_use]
    pub fn at(server: SocketAddr) -> Self {
        Self { source: Source::Server(server) }
    }

    async fn servers(&self) -> Servers {
        match self.source.clone() {
            Source::Server(server) => Servers::at(server),
            Source::File { path, port } => {
                let read = move || {
                    let mut octets = Vec::new();
                    // What cannot be read names nobody.
                    let file = File::open(path).map(|file| file.take(RESOLV_CONF_MAX_OCTETS));
                    let _ = file.and_then(|mut file| file.read_to_end(&mut octets));
                    octets
                };
                Servers::parse(&spawn_blocking(read).await.unwrap_or_default(), port)
            }
        }
    }

    /// The hosts that take mail for `domain`, in the order to try them (RFC 5321 §5.1): those of its MX records, or
    /// the domain itself where it has none, each with its addresses; hosts without are left out. An address literal is
    /// its own host, and the DNS is not asked.
    ///
    /// # Errors
    /// [`RouteError`] when there is no such host; [`RouteError::is_temporary`] tells whether that may change.
    pub async fn route(&self, domain: &str) -> Result<Vec<Host>, RouteError> {
        self.route_within(domain, Duration::MAX, None).await
    }

    /// Like [`Resolver::route`], where no server may take longer than `cap` for one question, and the list ends before
    /// a host that is called `own`, as it does before `localhost` (RFC 5321 §5.1).
    ///
    /// # Errors
    /// As there.
    pub async fn route_within(&self, domain: &str, cap: Duration, own: Option<&str>) -> Result<Vec<Host>, RouteError> {
        if let Some(host) = route::literal(domain) {
            return host.map(|host| vec![host]);
        }
        let mut servers = self.servers().await;
        servers.timeout = servers.timeout.min(cap);
        let servers = Arc::new(servers);
        let records = match servers.exchangers(domain).await {
            Ok(records) => records,
            // The implicit MX record. A name that exists, but is an alias of one that does not, comes as NXDOMAIN too.
            Err(Miss::NoRecords) => vec![(0, domain.to_owned())],
            Err(Miss::NoName) => return Err(RouteError::NoDomain(domain.to_owned())),
            Err(Miss::Unanswered(why)) => return Err(RouteError::Unanswered { name: domain.to_owned(), why }),
        };
        hosts(&servers, domain, route::exchangers(domain, records, own)?).await
    }
}

/// Looks up all hosts at once, so that slow ones cost no more time than one does. One that nobody knows about now is not
/// taken for ourselves: it hides none behind it, and should it be a loop, Received lines end it.
async fn hosts(servers: &Arc<Servers>, domain: &str, names: Vec<(u16, String)>) -> Result<Vec<Host>, RouteError> {
    let mut asked = JoinSet::new();
    for (place, (preference, name)) in names.into_iter().enumerate() {
        let servers = Arc::clone(servers);
        asked.spawn(async move { (place, preference, servers.addresses(&name).await, name) });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by_key(|(place, ..)| *place);
    let mut hosts = Vec::new();
    let mut unanswered = None;
    for (_, preference, addresses, name) in answers {
        match addresses {
            Ok(addresses) if !addresses.is_empty() => hosts.push(Host { name, preference, addresses }),
            Err(Miss::Unanswered(why)) => unanswered = Some(RouteError::Unanswered { name, why }),
            Ok(_) | Err(Miss::NoRecords | Miss::NoName) => {}
        }
    }
    if hosts.is_empty() {
        return Err(unanswered.unwrap_or_else(|| RouteError::NoAddress(domain.to_owned())));
    }
    Ok(hosts)
}

impl Servers {
    /// The MX records of a domain, as [`route::exchangers`] takes them.
    async fn exchangers(&self, domain: &str) -> Result<Vec<(u16, String)>, Miss> {
        let exchanger = |record| match record {
            RData::MX(mx) => Some((mx.preference, mx.exchange.to_ascii().trim_end_matches('.').to_owned())),
            _ => None,
        };
        let exchangers: Vec<_> = self.ask(domain, RecordType::MX).await?.into_iter().filter_map(exchanger).collect();
        if exchangers.is_empty() { Err(Miss::NoRecords) } else { Ok(exchangers) }
    }

    /// The addresses of a host. One kind that is not answered does not hide the other.
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Miss> {
        let (v4, v6) = tokio::join!(self.ask(name, RecordType::A), self.ask(name, RecordType::AAAA));
        let mut missing = None;
        let (mut addresses, mut v6_addresses): (Vec<Ipv4Addr>, Vec<Ipv6Addr>) = Default::default();
        for answer in [v4, v6] {
            match answer {
                Ok(records) => records.into_iter().for_each(|record| match record {
                    RData::A(address) => addresses.push(address.0),
                    RData::AAAA(address) => v6_addresses.push(address.0),
                    _ => {}
                }),
                Err(Miss::Unanswered(why)) => missing = Some(Miss::Unanswered(why)),
                Err(Miss::NoRecords | Miss::NoName) => {}
            }
        }
        let addresses = route::dialable(&addresses, &v6_addresses);
        match missing {
            Some(missing) if addresses.is_empty() => Err(missing),
            _ => Ok(addresses),
        }
    }

    /// What the DNS has of one kind for a name, aliases followed.
    async fn ask(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, Miss> {
        // A name that the DNS cannot hold is one that it does not have.
        let mut name = Name::from_ascii(name).map_err(|_| Miss::NoName)?;
        name.set_fqdn(true);
        for _ in 0..=ALIASES_MAX {
            match self.walk(&name, kind).await.map_err(Miss::Unanswered)? {
                Reply::Records(records) => return Ok(records),
                Reply::Alias(alias) => name = alias,
                Reply::NoName => return Err(Miss::NoName),
                Reply::NoRecords => return Err(Miss::NoRecords),
                Reply::Truncated => return Err(Miss::Unanswered("truncated".to_owned())),
            }
        }
        Err(Miss::Unanswered("too many aliases".to_owned()))
    }

    /// Asks one server after the other until one can tell, and all of them again. In words why nobody could.
    async fn walk(&self, name: &Name, kind: RecordType) -> Result<Reply, String> {
        let mut failed = String::new();
        for _ in 0..self.attempts {
            for &server in &self.addresses {
                match self.ask_one(server, &Question::new(name.clone(), kind)).await {
                    Ok(reply) => return Ok(reply),
                    Err(why) => failed = format!("{why} (name server {server})"),
                }
            }
        }
        Err(failed)
    }

    /// Asks one server over UDP; where the answer is too long for that over TCP, and where that fails for a longer
    /// datagram.
    async fn ask_one(&self, server: SocketAddr, question: &Question) -> Result<Reply, String> {
        if !self.tcp {
            match self.within(over_udp(server, question, false)).await {
                Ok(Reply::Truncated) => {}
                result => return result,
            }
        }
        let result = self.within(over_tcp(server, question)).await;
        match &result {
            Err(_) if !self.tcp => match self.within(over_udp(server, question, true)).await {
                Ok(Reply::Truncated) | Err(_) => result,
                larger => larger,
            },
            _ => result,
        }
    }

    async fn within(&self, asked: impl Future<Output = io::Result<Result<Reply, String>>>) -> Result<Reply, String> {
        let _place = PLACES.acquire().await;
        match timeout(self.timeout, asked).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => Err(error.to_string()),
            Err(_elapsed) => Err("no reply in time".to_owned()),
        }
    }
}

/// Of this process, whoever asks.
static PLACES: Semaphore = Semaphore::const_new(QUESTIONS_MAX);

async fn over_udp(server: SocketAddr, question: &Question, edns: bool) -> io::Result<Result<Reply, String>> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // A port of its own for each question. Connected: nobody else can reply, and a closed port is told at once.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&question.octets(edns)).await?;
    let mut space = vec![0; DATAGRAM_MAX_OCTETS];
    loop {
        let read = socket.recv(&mut space).await?;
        if let Some(reply) = question.read(&space[..read], false) {
            return Ok(reply);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &Question) -> io::Result<Result<Reply, String>> {
    let mut stream = TcpStream::connect(server).await?;
    let octets = question.octets(false);
    // In one piece, its length in front (RFC 7766 §8).
    stream.write_all(&[&(octets.len() as u16).to_be_bytes(), &octets[..]].concat()).await?;
    let mut octets = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut octets).await?;
    Ok(question.read(&octets, true).unwrap_or_else(|| Err("no reply to what was asked".to_owned())))
}

/// Why there are no records.
#[derive(Debug)]
enum Miss {
    /// The name is there, such records are not.
    NoRecords,
    /// There is no such name (NXDOMAIN).
    NoName,
    /// Nobody knows: why.
    Unanswered(String),
}

#[cfg(test)]
#[path = "resolve/tests.rs"]
mod tests;
