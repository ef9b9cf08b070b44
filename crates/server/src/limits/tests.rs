//! Tests of `limits.rs`.

use super::*;

/// How many connections each of so many servers may have under a limit of descriptors.
fn each(wanted: usize, descriptors: usize, servers: usize) -> usize {
    Pool::new(descriptors, servers).room(wanted).own.available_permits()
}

#[test]
fn scarce_descriptors_mean_fewer_connections() {
    assert_eq!(each(CONNECTIONS_MAX, 1_000_000, 1), CONNECTIONS_MAX);
    assert_eq!(each(CONNECTIONS_MAX, CONNECTIONS_MAX + DESCRIPTORS_KEPT, 1), CONNECTIONS_MAX);
    assert_eq!(each(CONNECTIONS_MAX, 1024, 1), 1024 - DESCRIPTORS_KEPT);
    assert_eq!(each(CONNECTIONS_MAX, 10, 1), 1);
    // More than usual are had where there is room for them.
    assert_eq!(each(2 * CONNECTIONS_MAX, 1_000_000, 2), 2 * CONNECTIONS_MAX);
    assert_eq!(each(2 * CONNECTIONS_MAX, 1024, 1), 1024 - DESCRIPTORS_KEPT);
    assert_eq!(each(3, 1_000_000, 1), 3);
    // Without any limit too.
    assert_eq!(each(usize::MAX, usize::MAX, 1), Semaphore::MAX_PERMITS);
}

/// holds C-C1
#[test]
fn several_servers_share_the_descriptors() {
    assert_eq!(POOL_PARTS, 4);
    // Whether they are scarce depends on what is wanted.
    assert_eq!(each(CONNECTIONS_MAX, 2 * CONNECTIONS_MAX + DESCRIPTORS_KEPT, 2), CONNECTIONS_MAX);
    assert_eq!(each(12_000, 20_000, 2), 12_000);
    assert_eq!(each(15_000, 20_000, 2), 14_850);
    assert_eq!(each(CONNECTIONS_MAX, 1024, 2), 618);
    for descriptors in (0..1300).chain([20_000, 1_000_000]) {
        let pool = Pool::new(descriptors, 2);
        let places = pool.free.available_permits();
        assert!(places + DESCRIPTORS_KEPT <= descriptors.max(DESCRIPTORS_KEPT + 2));
        assert!(
            pool.share > 0 && pool.share < places && pool.share * 4 <= places * 3 + 2,
            "{} of {places}",
            pool.share
        );
    }
    // Where there are hardly any, each has its one all the same.
    assert_eq!((Pool::new(10, 2).free.available_permits(), each(CONNECTIONS_MAX, 10, 2)), (2, 1));
}

/// holds C-C1
#[test]
fn a_place_is_taken_from_the_server_and_from_the_pool_and_goes_back_to_both() {
    let pool = Pool::new(DESCRIPTORS_KEPT + 8, 2);
    let (first, second) = (pool.room(100), pool.room(100));
    let mut crowd: Vec<_> = std::iter::from_fn(|| first.take()).collect();
    assert_eq!((crowd.len(), pool.free.available_permits()), (6, 2));
    let others: Vec<_> = std::iter::from_fn(|| second.take()).collect();
    assert_eq!((others.len(), pool.free.available_permits()), (2, 0));
    // One that finds the pool empty keeps nothing of its server.
    assert_eq!(second.own.available_permits(), 4);
    crowd.truncate(2);
    let more: Vec<_> = std::iter::from_fn(|| second.take()).collect();
    assert_eq!((more.len(), pool.free.available_permits()), (4, 0));
    drop((crowd, others, more));
    assert_eq!((first.own.available_permits(), second.own.available_permits()), (6, 6));
    assert_eq!(pool.free.available_permits(), 8);
}
