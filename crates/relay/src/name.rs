//! What this host calls itself (RFC 5321 §2.3.5, §4.1.4).

use std::net::{IpAddr, Ipv4Addr};

use pillarbox_proto::Address;

/// The system's own name, if it is one that others can make sense of: a domain with a dot in it. What a container or
/// a desktop is called often is none.
#[must_use]
pub fn of_system() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
    is_domain(&name).then_some(name)
}

/// An address as EHLO has it where there is no name (RFC 5321 §4.1.3): `[192.0.2.1]`, `[IPv6:2001:db8::1]`.
#[must_use]
pub fn literal(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

/// The literal of the loopback address, for when a socket does not know its own.
pub(crate) fn loopback_literal() -> String {
    literal(Ipv4Addr::LOCALHOST.into())
}

fn is_domain(name: &str) -> bool {
    let unlike_localhost = !name.split('.').any(|label| label.eq_ignore_ascii_case("localhost"));
    let well_formed = !name.starts_with('[') && Address::parse(format!("postmaster@{name}").as_bytes()).is_ok();
    name.contains('.') && unlike_localhost && well_formed
}

#[cfg(test)]
#[path = "name/tests.rs"]
mod tests;
