//! How many connections and descriptors this process may have.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections open at once, unless somebody wants another number; the next one is told so and closed (C-C1).
pub const CONNECTIONS_MAX: usize = 10_000;

/// Descriptors that connections leave free: listeners, mailboxes, locks and temporary files need them.
pub const DESCRIPTORS_KEPT: usize = 200;

/// So many of these are for what connections have open beside their sockets ([`Beside`]); with more they take places.
pub const DESCRIPTORS_BESIDE: usize = 100;

/// No server takes all of a [`Pool`] that it shares with others: one part of so many is left to them.
pub const POOL_PARTS: usize = 4;

/// One address that is not loopback has at most one of so many parts of the places (C-C13) ...
pub const ADDRESS_PARTS: usize = 10;
/// ... and so many where that is fewer.
pub const ADDRESS_MIN: usize = 10;

/// Raises the soft limit of open descriptors to the hard limit, and says what it is now. Where that is not possible
/// the limit stays: fewer connections are then served at once.
pub fn raise_descriptor_limit() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return CONNECTIONS_MAX + DESCRIPTORS_KEPT;
    };
    let limit = if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft };
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// The places that the servers of one process share: a connection has one as long as it is open.
#[derive(Clone, Debug)]
pub struct Pool {
    places: usize,
    /// Connections of one server at most.
    share: usize,
    free: Arc<Semaphore>,
    addresses: Arc<Addresses>,
}

impl Pool {
    /// The places that a limit of descriptors leaves to so many servers; at least one for each.
    #[must_use]
    pub fn new(descriptors: usize, servers: usize) -> Self {
        let places = descriptors.saturating_sub(DESCRIPTORS_KEPT).max(servers).clamp(1, Semaphore::MAX_PERMITS);
        let left = if servers > 1 { places.div_ceil(POOL_PARTS) } else { 0 };
        Self { places, share: places - left, free: Arc::new(Semaphore::new(places)), addresses: Arc::default() }
    }

    /// Room for the connections of one server: as many as are `wanted`, or fewer where places are scarce. One server
    /// alone may take all places.
    #[must_use]
    pub fn room(&self, wanted: usize) -> Room {
        Room {
            own: Arc::new(Semaphore::new(wanted.min(self.share))),
            pool: Arc::clone(&self.free),
            of_one_address: (wanted.min(self.places) / ADDRESS_PARTS).max(ADDRESS_MIN),
            addresses: Arc::clone(&self.addresses),
        }
    }

    /// Room for what connections have open beside their sockets, for as many services as share it.
    #[must_use]
    pub fn beside(&self) -> Beside {
        let lent = self.places - self.places.div_ceil(POOL_PARTS);
        let [kept, lent] = [DESCRIPTORS_BESIDE, lent].map(|most| Arc::new(Semaphore::new(most)));
        Beside { kept, lent, pool: Arc::clone(&self.free) }
    }
}

/// Room for the connections of one server.
#[derive(Debug)]
pub struct Room {
    own: Arc<Semaphore>,
    pool: Arc<Semaphore>,
    /// Connections from one address at most.
    of_one_address: usize,
    addresses: Arc<Addresses>,
}

impl Room {
    /// A place for one connection from this address until it is dropped; `None` if this server has as many as it may, all
    /// servers together have, or all servers together have as many from there.
    #[must_use]
    pub fn take(&self, peer: IpAddr) -> Option<Place> {
        let address = match counted_as(peer) {
            Some(address) => Some(Addresses::take(&self.addresses, address, self.of_one_address)?),
            None => None,
        };
        let own = Arc::clone(&self.own).try_acquire_owned().ok()?;
        let pool = Arc::clone(&self.pool).try_acquire_owned().ok()?;
        Some(Place { _own: own, _pool: Some(pool), _address: address })
    }
}

/// Room for what connections have open beside their sockets: [`DESCRIPTORS_BESIDE`], and beyond them places that no
/// connection has, but not the last ones: one part of [`POOL_PARTS`] is left to connections.
#[derive(Clone, Debug)]
pub struct Beside {
    kept: Arc<Semaphore>,
    lent: Arc<Semaphore>,
    pool: Arc<Semaphore>,
}

impl Beside {
    /// Room for one descriptor until it is dropped; `None`: there is none.
    #[must_use]
    pub fn take(&self) -> Option<Place> {
        if let Ok(own) = Arc::clone(&self.kept).try_acquire_owned() {
            return Some(Place { _own: own, _pool: None, _address: None });
        }
        let own = Arc::clone(&self.lent).try_acquire_owned().ok()?;
        let pool = Arc::clone(&self.pool).try_acquire_owned().ok()?;
        Some(Place { _own: own, _pool: Some(pool), _address: None })
    }
}

/// As which address the connections of a client count: an IPv6 host may have any of a /64. `None`: it is on this host, and
/// they are not counted.
fn counted_as(peer: IpAddr) -> Option<IpAddr> {
    match peer.to_canonical() {
        ip if ip.is_loopback() => None,
        IpAddr::V6(ip) => Some(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into()),
        ip => Some(ip),
    }
}

/// How many connections there are from each address.
#[derive(Debug, Default)]
struct Addresses(Mutex<HashMap<IpAddr, usize>>);

impl Addresses {
    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One connection more, if it is not one too many.
    fn take(this: &Arc<Self>, address: IpAddr, most: usize) -> Option<Counted> {
        let mut counts = this.counts();
        let count = counts.get(&address).copied().unwrap_or(0);
        (count < most).then(|| {
            counts.insert(address, count + 1);
            Counted { address, addresses: Arc::clone(this) }
        })
    }
}

/// A connection that counts.
#[derive(Debug)]
struct Counted {
    address: IpAddr,
    addresses: Arc<Addresses>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        // Nothing is kept of who has gone.
        if let Entry::Occupied(mut count) = self.addresses.counts().entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// The place of one connection, or of what it has open beside its socket.
#[derive(Debug)]
pub struct Place {
    _own: OwnedSemaphorePermit,
    _pool: Option<OwnedSemaphorePermit>,
    _address: Option<Counted>,
}

#[cfg(test)]
#[path = "limits/tests.rs"]
mod tests;
