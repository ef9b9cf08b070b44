//! Which addresses lead back to us: those on which servers of ours listen.

use std::net::{IpAddr, SocketAddr};

use nix::ifaddrs::getifaddrs;

/// Whether who dials `peer` reaches one of those who listen. `0.0.0.0` stands for every IPv4 address of this host, `::`
/// for every address. `is_local` tells whether an address is one of this host.
pub(crate) fn is_own(listening: &[SocketAddr], peer: SocketAddr, is_local: impl Fn(IpAddr) -> bool) -> bool {
    let ip = peer.ip().to_canonical();
    let reaches = |at: IpAddr| match at.to_canonical() {
        at if at.is_unspecified() => (at.is_ipv6() || ip.is_ipv4()) && (ip.is_loopback() || is_local(ip)),
        at => at == ip,
    };
    listening.iter().any(|at| at.port() == peer.port() && reaches(at.ip()))
}

/// Whether one of those who listen can be reached from elsewhere, at this port.
pub(crate) fn is_public(listening: &[SocketAddr], port: u16) -> bool {
    listening.iter().any(|at| at.port() == port && !at.ip().to_canonical().is_loopback())
}

/// Whether an interface of this host has this address. Binding a socket to it would tell as well, but says yes to
/// everything where `net.ipv4.ip_nonlocal_bind` is set.
pub(crate) fn is_local(ip: IpAddr) -> bool {
    let of_interface = |address: nix::sys::socket::SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    };
    getifaddrs().is_ok_and(|mut all| all.any(|one| one.address.and_then(of_interface) == Some(ip)))
}

#[cfg(test)]
#[path = "own/tests.rs"]
mod tests;
