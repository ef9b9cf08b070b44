//! Tests of `limits.rs`.

use super::*;

#[test]
fn scarce_descriptors_mean_fewer_connections() {
    assert_eq!(connections_max(CONNECTIONS_MAX, 1_000_000, 1), CONNECTIONS_MAX);
    assert_eq!(connections_max(CONNECTIONS_MAX, CONNECTIONS_MAX + DESCRIPTORS_KEPT, 1), CONNECTIONS_MAX);
    assert_eq!(connections_max(CONNECTIONS_MAX, 1024, 1), 1024 - DESCRIPTORS_KEPT);
    assert_eq!(connections_max(CONNECTIONS_MAX, 10, 1), 1);
    // More than usual are had where there is room for them.
    assert_eq!(connections_max(2 * CONNECTIONS_MAX, 1_000_000, 2), 2 * CONNECTIONS_MAX);
    assert_eq!(connections_max(2 * CONNECTIONS_MAX, 1024, 1), 1024 - DESCRIPTORS_KEPT);
    assert_eq!(connections_max(3, 1_000_000, 1), 3);
}

/// holds C-C1
#[test]
fn several_servers_share_the_descriptors() {
    assert_eq!(connections_max(CONNECTIONS_MAX, 1_000_000, 2), CONNECTIONS_MAX);
    for descriptors in [1024, 20_000] {
        assert!(2 * connections_max(CONNECTIONS_MAX, descriptors, 2) + DESCRIPTORS_KEPT <= descriptors);
    }
    assert_eq!(connections_max(CONNECTIONS_MAX, 10, 2), 1);
}
