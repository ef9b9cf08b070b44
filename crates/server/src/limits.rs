//! How many connections and descriptors this process may have.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Connections open at once, unless somebody wants another number; the next one is told so and closed (C-C1).
pub const CONNECTIONS_MAX: usize = 10_000;

/// Descriptors that connections leave free: listeners, mailboxes, locks and temporary files need them.
pub const DESCRIPTORS_KEPT: usize = 200;

/// Raises the soft limit of open descriptors to the hard limit, and says what it is now. Where that is not possible
/// the limit stays: fewer connections are then served at once.
pub fn raise_descriptor_limit() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return CONNECTIONS_MAX + DESCRIPTORS_KEPT;
    };
    let limit = if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft };
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// How many connections each of so many servers in one process may have under a limit of descriptors: as many as are
/// `wanted`, or fewer where descriptors are scarce.
#[must_use]
pub fn connections_max(wanted: usize, descriptors: usize, servers: usize) -> usize {
    wanted.min(descriptors.saturating_sub(DESCRIPTORS_KEPT) / servers.max(1)).max(1)
}

#[cfg(test)]
#[path = "limits/tests.rs"]
mod tests;
