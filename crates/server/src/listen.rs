//! Sockets that listen.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::serve::LISTEN_BACKLOG;

/// How often a port of the kernel's choice is asked for, when an address after the first cannot have the same.
const PORT_TRIES: usize = 16;

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program has the port.
    #[error("port {} on {} is in use by another program; choose another", .0.port(), .0.ip())]
    InUse(SocketAddr),
    /// The same address is listed twice.
    #[error("{0} is named twice; name each address once")]
    NamedTwice(IpAddr),
    /// An address is listed beside the one that means all of its kind.
    #[error("{all} means every address of its kind, {one} too; name one of them only")]
    Included {
        /// `0.0.0.0` or `::`.
        all: IpAddr,
        /// One that it means too.
        one: IpAddr,
    },
    /// Ports below 1024 are for privileged programs.
    #[error("port {} on {}: not permitted; choose one of 1024 or higher", .0.port(), .0.ip())]
    NotPermitted(SocketAddr),
    /// The address is not one of this host's, or anything else.
    #[error("port {} on {}: {source}", address.port(), address.ip())]
    Other {
        /// Where it should have listened.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Both loopback addresses: `localhost` may mean either (C-C7).
#[must_use]
pub fn loopback() -> [IpAddr; 2] {
    [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
}

/// Listens on `port` of each address. With port 0 the kernel chooses one, and every address takes the same. A host
/// without IPv6 lacks `::1`: the default addresses do without it, as long as another is there.
///
/// # Errors
/// [`BindError`] names the address and port that could not be had.
pub fn bind(addresses: &[IpAddr], port: u16) -> Result<Vec<TcpListener>, BindError> {
    each_once(addresses)?;
    let mut tries = 0;
    loop {
        tries += 1;
        match bind_all(addresses, port) {
            Err(BindError::InUse(_)) if port == 0 && tries < PORT_TRIES => {}
            result => return result,
        }
    }
}

/// Sees that no two addresses are, or mean, the same.
fn each_once(addresses: &[IpAddr]) -> Result<(), BindError> {
    for (at, &one) in addresses.iter().enumerate() {
        if addresses[..at].contains(&one) {
            return Err(BindError::NamedTwice(one));
        }
        if let Some(&all) =
            addresses.iter().find(|all| all.is_unspecified() && **all != one && all.is_ipv4() == one.is_ipv4())
        {
            return Err(BindError::Included { all, one });
        }
    }
    Ok(())
}

fn bind_all(addresses: &[IpAddr], port: u16) -> Result<Vec<TcpListener>, BindError> {
    let mut port = port;
    let mut listeners = Vec::new();
    for &ip in addresses {
        let address = SocketAddr::new(ip, port);
        match listen(address) {
            Ok(listener) => {
                port = listener.local_addr().map_err(|source| BindError::Other { address, source })?.port();
                listeners.push(listener);
            }
            Err(error) if ip == Ipv6Addr::LOCALHOST && !listeners.is_empty() && lacks_ipv6(&error) => {}
            Err(source) => {
                return Err(match source.kind() {
                    io::ErrorKind::AddrInUse => BindError::InUse(address),
                    io::ErrorKind::PermissionDenied => BindError::NotPermitted(address),
                    _ => BindError::Other { address, source },
                });
            }
        }
    }
    Ok(listeners)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `::` must not take the IPv4 addresses as well: each is listed by itself.
        socket.set_only_v6(true)?;
    }
    // The port can be taken again right after exit (C-C10).
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn lacks_ipv6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || matches!(error.raw_os_error(), Some(nix::libc::EAFNOSUPPORT | nix::libc::EADDRNOTAVAIL))
}

#[cfg(test)]
#[path = "listen/tests.rs"]
mod tests;
