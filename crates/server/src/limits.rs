//! How many connections and descriptors this process may have.

use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections open at once, unless somebody wants another number; the next one is told so and closed (C-C1).
pub const CONNECTIONS_MAX: usize = 10_000;

/// Descriptors that connections leave free: listeners, mailboxes, locks and temporary files need them. What a session
/// opens beside its connection is not counted: a POP3 session that is logged in has its lock open, and its mailbox.
pub const DESCRIPTORS_KEPT: usize = 200;

/// No server takes all of a [`Pool`] that it shares with others: one part of so many is left to them.
pub const POOL_PARTS: usize = 4;

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
    /// Connections of one server at most.
    share: usize,
    free: Arc<Semaphore>,
}

impl Pool {
    /// The places that a limit of descriptors leaves to so many servers; at least one for each.
    #[must_use]
    pub fn new(descriptors: usize, servers: usize) -> Self {
        let places = descriptors.saturating_sub(DESCRIPTORS_KEPT).max(servers).clamp(1, Semaphore::MAX_PERMITS);
        let left = if servers > 1 { places.div_ceil(POOL_PARTS) } else { 0 };
        Self { share: places - left, free: Arc::new(Semaphore::new(places)) }
    }

    /// Room for the connections of one server: as many as are `wanted`, or fewer where places are scarce. One server
    /// alone may take all places.
    #[must_use]
    pub fn room(&self, wanted: usize) -> Room {
        Room { own: Arc::new(Semaphore::new(wanted.min(self.share))), pool: Arc::clone(&self.free) }
    }
}

/// Room for the connections of one server.
#[derive(Debug)]
pub struct Room {
    own: Arc<Semaphore>,
    pool: Arc<Semaphore>,
}

impl Room {
    /// A place for one connection until it is dropped; `None` if this server has as many as it may, or all servers
    /// together have.
    #[must_use]
    pub fn take(&self) -> Option<Place> {
        let own = Arc::clone(&self.own).try_acquire_owned().ok()?;
        let pool = Arc::clone(&self.pool).try_acquire_owned().ok()?;
        Some(Place { _own: own, _pool: pool })
    }
}

/// The place of one connection.
#[derive(Debug)]
pub struct Place {
    _own: OwnedSemaphorePermit,
    _pool: OwnedSemaphorePermit,
}

#[cfg(test)]
#[path = "limits/tests.rs"]
mod tests;
