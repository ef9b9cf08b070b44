//! Which name servers the system asks, and how: `/etc/resolv.conf` (resolv.conf(5)).
//!
//! Read as the C library reads it, and so that no line can stop another: what means nothing to us, the search list
//! too, is passed over. Names are asked for as they are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use nix::net::if_::if_nametoindex;

/// Name servers that are asked; further ones are ignored, as the C library does (`MAXNS`).
pub(crate) const NAME_SERVERS_MAX: usize = 3;

/// How long a name server may take for one question, in seconds: usually, and at the most (`RES_TIMEOUT`,
/// `RES_MAXRETRANS`).
const TIMEOUT_S: (u64, u64) = (5, 30);

/// How often each name server is asked: usually, and at the most (`RES_DFLRETRY`, `RES_MAXRETRY`).
const ATTEMPTS: (u64, u64) = (2, 5);

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Servers {
    /// In the order in which they are asked; never empty.
    pub(crate) addresses: Vec<SocketAddr>,
    /// How long each may take for one question.
    pub(crate) timeout: Duration,
    /// How often each is asked.
    pub(crate) attempts: u64,
    /// Whether they are asked over TCP only.
    pub(crate) tcp: bool,
}

impl Servers {
    /// One that is named on the command line.
    pub(crate) fn at(server: SocketAddr) -> Self {
        Self { addresses: vec![server], timeout: Duration::from_secs(TIMEOUT_S.0), attempts: ATTEMPTS.0, tcp: false }
    }

    /// What a resolv.conf says. Where it names nobody, this host is asked; so it is where there is no such file.
    pub(crate) fn parse(resolv_conf: &[u8], port: u16) -> Self {
        let mut servers = Self::at(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
        let mut named = Vec::new();
        for line in String::from_utf8_lossy(resolv_conf).lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => named.extend(words.next().and_then(|word| address(word, port))),
                Some("options") => words.for_each(|option| servers.set(option)),
                _ => {}
            }
        }
        named.truncate(NAME_SERVERS_MAX);
        if !named.is_empty() {
            servers.addresses = named;
        }
        servers
    }

    fn set(&mut self, option: &str) {
        let number =
            |(_, max): (u64, u64)| option.split_once(':')?.1.parse().ok().map(|number: u64| number.clamp(1, max));
        if option.starts_with("timeout:") {
            self.timeout = number(TIMEOUT_S).map_or(self.timeout, Duration::from_secs);
        } else if option.starts_with("attempts:") {
            self.attempts = number(ATTEMPTS).unwrap_or(self.attempts);
        } else if option == "use-vc" {
            self.tcp = true;
        }
    }
}

/// The address of a name server; one of IPv6 may say through which interface it is reached.
fn address(text: &str, port: u16) -> Option<SocketAddr> {
    let (ip, interface) = text.split_once('%').unwrap_or((text, "0"));
    if let Ok(ip) = ip.parse::<Ipv6Addr>() {
        let scope = interface.parse().ok().or_else(|| if_nametoindex(interface).ok())?;
        return Some(SocketAddrV6::new(ip, port, 0, scope).into());
    }
    ipv4(text).map(|ip| SocketAddr::new(IpAddr::V4(ip), port))
}

/// An IPv4 address as inet_aton(3) takes it: the last number fills what is left, so `127.1` is 127.0.0.1.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let number = |part: &str| match part.strip_prefix("0x").or(part.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => u32::from_str_radix(part, if part.len() > 1 && part.starts_with('0') { 8 } else { 10 }).ok(),
    };
    let parts: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (&last, front) = parts.split_last()?;
    let bits = 32_u32.checked_sub(8 * u32::try_from(front.len()).ok()?).filter(|&bits| bits > 0)?;
    if front.iter().any(|&octet| octet > 255) || u64::from(last) >> bits > 0 {
        return None;
    }
    let front = front.iter().rev().zip(0..).fold(0, |sum, (octet, at)| sum | octet << (bits + 8 * at));
    Some(Ipv4Addr::from_bits(front | last))
}

#[cfg(test)]
#[path = "servers/tests.rs"]
mod tests;
