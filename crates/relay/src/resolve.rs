//! Asking the DNS (RFC 1035) which hosts take a domain's mail.
//!
//! Names are asked for as they are: no search list, no `/etc/hosts`, and no cache, so that a program that runs once
//! sees what the DNS says now. Every step ends after [`LOOK_UP`], whatever the servers do.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{ResolverBuilder, TokioResolver};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::route::{self, Host, RouteError};

/// How long a server may take for one query before it is asked again.
const ATTEMPT: Duration = Duration::from_secs(5);

/// How long one step of a route may take: the MX records, then the addresses of all hosts together.
pub const LOOK_UP: Duration = Duration::from_secs(10);

/// Asks name servers for mail hosts and their addresses. Clones share their connections.
#[derive(Clone)]
pub struct Resolver {
    dns: TokioResolver,
}

impl Resolver {
    /// Asks the name servers of the system (`/etc/resolv.conf`).
    ///
    /// # Errors
    /// When that file cannot be read, or names no server.
    pub fn system() -> io::Result<Self> {
        Self::build(TokioResolver::builder_tokio().map_err(io::Error::other)?)
    }

    /// Asks this name server, over UDP and, where an answer is too long for that, over TCP.
    ///
    /// # Errors
    /// When the resolver cannot be set up.
    pub fn at(server: SocketAddr) -> io::Result<Self> {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = server.port();
            connection
        });
        let server = NameServerConfig::new(server.ip(), true, connections.into());
        let config = ResolverConfig::from_name_servers(vec![server]);
        Self::build(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
    }

    fn build(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> io::Result<Self> {
        let options = builder.options_mut();
        options.timeout = ATTEMPT;
        options.attempts = 1; // Beside the first.
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = 0;
        Ok(Self { dns: builder.build().map_err(io::Error::other)? })
    }

    /// The hosts that take mail for `domain`, in the order to try them (RFC 5321 §5.1): those of its MX records, or
    /// the domain itself where it has none, each with its addresses; hosts without are left out. An address literal is
    /// its own host, and the DNS is not asked.
    ///
    /// # Errors
    /// [`RouteError`] when there is no such host; [`RouteError::is_temporary`] tells whether that may change.
    pub async fn route(&self, domain: &str) -> Result<Vec<Host>, RouteError> {
        self.route_within(domain, LOOK_UP).await
    }

    /// Like [`Resolver::route`], where each step may take `step` and no longer.
    ///
    /// # Errors
    /// As there; a step that takes longer is [`RouteError::Unanswered`].
    pub async fn route_within(&self, domain: &str, step: Duration) -> Result<Vec<Host>, RouteError> {
        if let Some(host) = route::literal(domain) {
            return host.map(|host| vec![host]);
        }
        let names = match self.exchangers(domain, step).await {
            Ok(records) => route::exchangers(domain, records)?,
            // The implicit MX record. A name that exists, but is an alias of one that does not, comes as NXDOMAIN too.
            Err(Miss::NoRecords) => vec![domain.to_owned()],
            Err(Miss::NoName) => return Err(RouteError::NoDomain(domain.to_owned())),
            Err(Miss::Unanswered(why)) => return Err(RouteError::Unanswered { name: domain.to_owned(), why }),
        };
        self.hosts(domain, names, step).await
    }

    /// The MX records of a domain, as [`route::exchangers`] takes them.
    async fn exchangers(&self, domain: &str, step: Duration) -> Result<Vec<(u16, String)>, Miss> {
        let records = within(step, self.ask(domain, RecordType::MX)).await?;
        let mut exchangers = Vec::new();
        for record in records {
            if let RData::MX(mx) = record {
                exchangers.push((mx.preference, mx.exchange.to_ascii().trim_end_matches('.').to_owned()));
            }
        }
        if exchangers.is_empty() { Err(Miss::NoRecords) } else { Ok(exchangers) }
    }

    /// Looks up all hosts at once, so that slow ones cost no more time than one does.
    async fn hosts(&self, domain: &str, names: Vec<String>, step: Duration) -> Result<Vec<Host>, RouteError> {
        let mut asked = JoinSet::new();
        for (place, name) in names.into_iter().enumerate() {
            let resolver = self.clone();
            asked.spawn(async move {
                let addresses = within(step, resolver.addresses(&name)).await;
                (place, name, addresses)
            });
        }
        let mut answers = asked.join_all().await;
        answers.sort_by_key(|(place, ..)| *place);
        let mut hosts = Vec::new();
        let mut unanswered = None;
        for (_, name, addresses) in answers {
            match addresses {
                Ok(addresses) if !addresses.is_empty() => hosts.push(Host { name, addresses }),
                Err(Miss::Unanswered(why)) => unanswered = Some(RouteError::Unanswered { name, why }),
                Ok(_) | Err(Miss::NoRecords | Miss::NoName) => {}
            }
        }
        if hosts.is_empty() {
            return Err(unanswered.unwrap_or_else(|| RouteError::NoAddress(domain.to_owned())));
        }
        Ok(hosts)
    }

    /// The addresses of a host. One kind that is not answered does not hide the other.
    async fn addresses(&self, name: &str) -> Result<Vec<std::net::IpAddr>, Miss> {
        let (v4, v6) = tokio::join!(self.ask(name, RecordType::A), self.ask(name, RecordType::AAAA));
        let mut missing = None;
        let mut records = Vec::new();
        for answer in [v4, v6] {
            match answer {
                Ok(answer) => records.extend(answer),
                Err(Miss::Unanswered(why)) => missing = Some(Miss::Unanswered(why)),
                Err(Miss::NoRecords | Miss::NoName) => {}
            }
        }
        let mut v4: Vec<Ipv4Addr> = Vec::new();
        let mut v6: Vec<Ipv6Addr> = Vec::new();
        for record in records {
            match record {
                RData::A(address) => v4.push(address.0),
                RData::AAAA(address) => v6.push(address.0),
                _ => {}
            }
        }
        let addresses = route::dialable(&v4, &v6);
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
        let found = self.dns.lookup(name, kind).await.map_err(Miss::from)?;
        Ok(found.answers().iter().map(|record| record.data.clone()).collect())
    }
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

impl From<NetError> for Miss {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Dns(DnsError::NoRecordsFound(found)) => match found.response_code {
                ResponseCode::NXDomain => Self::NoName,
                ResponseCode::NoError => Self::NoRecords,
                other => Self::Unanswered(other.to_string()),
            },
            NetError::Dns(DnsError::ResponseCode(code)) => Self::Unanswered(code.to_string()),
            NetError::Timeout => Self::Unanswered(NO_REPLY.to_owned()),
            error => Self::Unanswered(error.to_string()),
        }
    }
}

const NO_REPLY: &str = "no reply in time";

async fn within<T>(step: Duration, asked: impl Future<Output = Result<T, Miss>>) -> Result<T, Miss> {
    timeout(step, asked).await.unwrap_or_else(|_elapsed| Err(Miss::Unanswered(NO_REPLY.to_owned())))
}
