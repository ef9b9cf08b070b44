//! Tests of `limits.rs`.

use super::*;

#[test]
fn scarce_descriptors_mean_fewer_connections() {
    assert_eq!(connections_max(1_000_000, 1), CONNECTIONS_MAX);
    assert_eq!(connections_max(CONNECTIONS_MAX + DESCRIPTORS_KEPT, 1), CONNECTIONS_MAX);
    assert_eq!(connections_max(1024, 1), 1024 - DESCRIPTORS_KEPT);
    assert_eq!(connections_max(10, 1), 1);
}

/// holds C-C1
#[test]
fn several_servers_share_the_descriptors() {
    assert_eq!(connections_max(1_000_000, 2), CONNECTIONS_MAX);
    for descriptors in [1024, 20_000] {
        assert!(2 * connections_max(descriptors, 2) + DESCRIPTORS_KEPT <= descriptors);
    }
    assert_eq!(connections_max(10, 2), 1);
}
