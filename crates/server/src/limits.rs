//! How many connections and descriptors this process may have.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Connections open at once; the next one is told so and closed (C-C1).
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

/// How many connections fit under a limit of descriptors: [`CONNECTIONS_MAX`], or fewer where descriptors are scarce.
#[must_use]
pub fn connections_max(descriptors: usize) -> usize {
    CONNECTIONS_MAX.min(descriptors.saturating_sub(DESCRIPTORS_KEPT)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scarce_descriptors_mean_fewer_connections() {
        assert_eq!(connections_max(1_000_000), CONNECTIONS_MAX);
        assert_eq!(connections_max(CONNECTIONS_MAX + DESCRIPTORS_KEPT), CONNECTIONS_MAX);
        assert_eq!(connections_max(1024), 1024 - DESCRIPTORS_KEPT);
        assert_eq!(connections_max(10), 1);
    }
}
