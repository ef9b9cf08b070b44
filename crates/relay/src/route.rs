//! Which hosts take a domain's mail, and in which order (RFC 5321 §5.1, null MX: RFC 7505).
//!
//! Pure: what the DNS has said comes in, an order comes out. Asking it is [`crate::resolve`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pillarbox_proto::client::Outcome;

/// Most hosts that are looked up for a route: enough to see whether one of them is ourselves.
pub const LOOK_UPS_MAX: usize = 20;

/// Most hosts that a route names. RFC 5321 §5.1 lets a client limit how many it tries, if they are two or more.
pub const HOSTS_MAX: usize = 10;

/// Most addresses of one host, of IPv4 and of IPv6 each.
pub const ADDRESSES_MAX: usize = 4;

/// A host that takes mail for a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name, without a dot at the end, or the address literal that names it.
    pub name: String,
    /// The preference of its MX record; 0 where there is none.
    pub preference: u16,
    /// Where it can be dialed, in the order to try; never empty.
    pub addresses: Vec<IpAddr>,
}

/// Why there is no host to bring a domain's mail to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The DNS knows no such name (NXDOMAIN).
    #[error("domain {0} does not exist")]
    NoDomain(String),
    /// The domain says that it takes no mail (RFC 7505).
    #[error("domain {0} does not take mail")]
    NullMx(String),
    /// No host that the domain names has an address, and the DNS is sure of it.
    #[error("no mail host of {0} has an address")]
    NoAddress(String),
    /// What stands behind the `@` is neither a name nor an address literal that can be dialed.
    #[error("{0} cannot be dialed")]
    NotDialable(String),
    /// Its mail would come back to us (RFC 5321 §5.1).
    #[error("mail loop: the mail of {0} leads back to this host, which does not know the domain")]
    Loop(String),
    /// The DNS gave no answer to rely on: no reply in time, SERVFAIL, REFUSED.
    #[error("DNS look-up of {name} failed: {why}")]
    Unanswered {
        /// The domain or host that was asked for.
        name: String,
        /// What came instead of an answer.
        why: String,
    },
}

impl RouteError {
    /// Whether another time may bring another answer.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unanswered { .. })
    }

    /// What this means for the recipients.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if self.is_temporary() { Outcome::Deferred(self.to_string()) } else { Outcome::Failed(self.to_string()) }
    }
}

/// The mail hosts of the MX records, best first, each as `(preference, name)` with an empty name for the root. Hosts
/// of equal preference come in random order, "to spread the load" (RFC 5321 §5.1). Names that cannot be hosts are left
/// out: nothing good can come of dialing them. Where one names ourselves, as `own` or `localhost`, the list ends as it
/// does in [`without_loop`], whatever the DNS would say of that name.
pub(crate) fn exchangers(
    domain: &str,
    mut records: Vec<(u16, String)>,
    own: Option<&str>,
) -> Result<Vec<(u16, String)>, RouteError> {
    // RFC 7505 §3 wants the null MX to be the only record. Where it is not, it names no host all the same.
    records.retain(|(_, name)| !name.is_empty());
    if records.is_empty() {
        return Err(RouteError::NullMx(domain.to_owned()));
    }
    records.retain(|(_, name)| is_host_name(name));
    let ourselves = |(_, name): &&(u16, String)| is_own_name(name, own);
    if let Some(own) = records.iter().filter(ourselves).map(|(preference, _)| *preference).min() {
        records.retain(|(preference, _)| *preference < own);
        if records.is_empty() {
            return Err(RouteError::Loop(domain.to_owned()));
        }
    }
    fastrand::shuffle(&mut records);
    records.sort_by_key(|(preference, _)| *preference);
    let mut hosts: Vec<(u16, String)> = Vec::new();
    for (preference, name) in records {
        if !hosts.iter().any(|(_, known)| known.eq_ignore_ascii_case(&name)) {
            hosts.push((preference, name));
        }
    }
    hosts.truncate(LOOK_UPS_MAX);
    if hosts.is_empty() { Err(RouteError::NoAddress(domain.to_owned())) } else { Ok(hosts) }
}

/// The addresses of a host that can be dialed, in the order the DNS gave them (RFC 5321 §5.1). IPv4 first: fewer hosts
/// distrust mail from there, and more networks reach it.
pub(crate) fn dialable(v4: &[Ipv4Addr], v6: &[Ipv6Addr]) -> Vec<IpAddr> {
    let v4 = v4.iter().copied().map(IpAddr::from);
    v4.chain(v6.iter().copied().map(IpAddr::from)).filter(is_one_host).collect()
}

/// The hosts to try for a domain's mail, at most [`HOSTS_MAX`], each with at most [`ADDRESSES_MAX`] addresses of each
/// kind. Where one is ourselves, only those that are preferred to it are left: the others would bring the mail back
/// (RFC 5321 §5.1).
pub(crate) fn without_loop(
    domain: &str,
    mut hosts: Vec<Host>,
    is_own: impl Fn(IpAddr) -> bool,
) -> Result<Vec<Host>, RouteError> {
    let ourselves = |host: &&Host| host.addresses.iter().any(|&address| is_own(address));
    if let Some(own) = hosts.iter().filter(ourselves).map(|host| host.preference).min() {
        hosts.retain(|host| host.preference < own);
    }
    hosts.truncate(HOSTS_MAX);
    for host in &mut hosts {
        let mut left = [ADDRESSES_MAX; 2];
        host.addresses.retain(|address| {
            let left = &mut left[usize::from(address.is_ipv6())];
            let is_tried = *left > 0;
            *left = left.saturating_sub(1);
            is_tried
        });
    }
    if hosts.is_empty() { Err(RouteError::Loop(domain.to_owned())) } else { Ok(hosts) }
}

/// The host that an address literal names (RFC 5321 §4.1.3), or `None` if it is a domain.
pub(crate) fn literal(domain: &str) -> Option<Result<Host, RouteError>> {
    let inner = domain.strip_prefix('[')?.strip_suffix(']').unwrap_or_default();
    let address = match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => inner[5..].parse::<Ipv6Addr>().ok().map(IpAddr::from),
        _ => inner.parse::<Ipv4Addr>().ok().map(IpAddr::from),
    };
    Some(match address.filter(is_one_host) {
        Some(address) => Ok(Host { name: domain.to_owned(), preference: 0, addresses: vec![address] }),
        None => Err(RouteError::NotDialable(domain.to_owned())),
    })
}

/// Whether dialing it reaches the host that is meant. The unspecified address would reach ourselves.
fn is_one_host(address: &IpAddr) -> bool {
    // `::ffff:0.0.0.0` is as unspecified as what it stands for.
    let address = address.to_canonical();
    !address.is_unspecified() && !address.is_multicast()
}

/// Whether a mail host may be called that. A name whose last label is all digits is an address that somebody took for
/// a name (RFC 1123 §2.1, RFC 2181 §10.3).
fn is_host_name(name: &str) -> bool {
    !last_label(name).bytes().all(|octet| octet.is_ascii_digit())
}

/// Whether it is we who are called that. `localhost` and what is below are always (RFC 6761 §6.3).
fn is_own_name(name: &str, own: Option<&str>) -> bool {
    last_label(name).eq_ignore_ascii_case("localhost") || own.is_some_and(|own| name.eq_ignore_ascii_case(own))
}

fn last_label(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or_default()
}

#[cfg(test)]
#[path = "route/tests.rs"]
mod tests;
