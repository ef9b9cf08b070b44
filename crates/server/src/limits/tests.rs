//! Tests of `limits.rs`.

use std::iter::from_fn;
use std::net::Ipv4Addr;

use super::*;

/// From here as many may come as there are places for.
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

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
    let mut crowd: Vec<_> = from_fn(|| first.take(LOCALHOST)).collect();
    assert_eq!((crowd.len(), pool.free.available_permits()), (6, 2));
    let others: Vec<_> = from_fn(|| second.take(LOCALHOST)).collect();
    assert_eq!((others.len(), pool.free.available_permits()), (2, 0));
    // One that finds the pool empty keeps nothing of its server.
    assert_eq!(second.own.available_permits(), 4);
    crowd.truncate(2);
    let more: Vec<_> = from_fn(|| second.take(LOCALHOST)).collect();
    assert_eq!((more.len(), pool.free.available_permits()), (4, 0));
    drop((crowd, others, more));
    assert_eq!((first.own.available_permits(), second.own.available_permits()), (6, 6));
    assert_eq!(pool.free.available_permits(), 8);
}

/// As many places as there are for one address.
fn crowd(room: &Room, address: &str) -> Vec<Place> {
    from_fn(|| room.take(address.parse().unwrap())).collect()
}

/// holds C-C13
#[test]
fn of_one_address_come_a_tenth_and_ten_at_least() {
    assert_eq!((ADDRESS_PARTS, ADDRESS_MIN), (10, 10));
    for (wanted, descriptors, servers, most) in [
        (CONNECTIONS_MAX, 1_000_000, 1, 1000),
        (CONNECTIONS_MAX, 1_000_000, 2, 1000),
        (CONNECTIONS_MAX, 1224, 1, 102),
        // A tenth of all places, not of a server's share of them.
        (CONNECTIONS_MAX, 1224, 2, 102),
        (CONNECTIONS_MAX, 319, 1, 11),
        (CONNECTIONS_MAX, 309, 1, 10),
        (CONNECTIONS_MAX, 211, 1, 10),
        (CONNECTIONS_MAX, 203, 1, 3),
        (300, 1_000_000, 1, 30),
        (20, 1_000_000, 1, 10),
        (5, 1_000_000, 1, 5),
    ] {
        let room = Pool::new(descriptors, servers).room(wanted);
        assert_eq!(crowd(&room, "192.0.2.1").len(), most, "{wanted} of {descriptors}");
    }
}

/// holds C-C13
#[test]
fn others_have_their_own_tenth_and_it_comes_back() {
    let pool = Pool::new(DESCRIPTORS_KEPT + 1000, 2);
    let (one, other) = (pool.room(1000), pool.room(1000));
    let mut first = crowd(&one, "192.0.2.1");
    assert_eq!(first.len(), 100);
    // Not at another server of the process either, nor in another form.
    assert!(other.take("192.0.2.1".parse().unwrap()).is_none());
    assert!(one.take("::ffff:192.0.2.1".parse().unwrap()).is_none());
    let second = crowd(&other, "192.0.2.2");
    let third = crowd(&one, "::ffff:192.0.2.3");
    assert_eq!((second.len(), third.len()), (100, 100));
    assert!(one.take("192.0.2.3".parse().unwrap()).is_none());
    // Who has gone makes room for one, and in the end nothing is kept.
    first.truncate(98);
    assert_eq!(crowd(&other, "192.0.2.1").len(), 2);
    drop((first, second, third));
    assert!(pool.addresses.counts().is_empty());
    assert_eq!(pool.free.available_permits(), 1000);
    // One for which there is no place keeps none of its address.
    let all = from_fn(|| one.take(LOCALHOST)).collect::<Vec<_>>();
    assert_eq!(all.len(), 750);
    assert!(one.take("192.0.2.1".parse().unwrap()).is_none());
    assert!(pool.addresses.counts().is_empty());
}

/// holds C-C13
#[test]
fn an_ipv6_host_has_a_64_and_this_host_is_not_counted() {
    for (peer, counted) in [
        ("192.0.2.1", Some("192.0.2.1")),
        ("::ffff:192.0.2.1", Some("192.0.2.1")),
        ("10.0.0.1", Some("10.0.0.1")),
        ("0.0.0.0", Some("0.0.0.0")),
        ("127.0.0.1", None),
        ("127.1.2.3", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("::2", Some("::")),
        ("2001:db8:1:2:3:4:5:6", Some("2001:db8:1:2::")),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", Some("2001:db8:1:2::")),
        ("2001:db8:1:3::", Some("2001:db8:1:3::")),
        ("fe80::1", Some("fe80::")),
    ] {
        let expected = counted.map(|address: &str| address.parse::<IpAddr>().unwrap());
        assert_eq!(counted_as(peer.parse().unwrap()), expected, "{peer}");
    }
    let room = Pool::new(DESCRIPTORS_KEPT + 50, 1).room(50);
    let first = crowd(&room, "2001:db8::1");
    assert_eq!(first.len(), 10);
    assert!(room.take("2001:db8::2:0:0:1".parse().unwrap()).is_none());
    assert_eq!(crowd(&room, "2001:db8:0:1::1").len(), 10);
    assert_eq!(crowd(&room, "127.0.0.9").len(), 40);
}

/// holds C-C1
#[test]
fn what_is_open_beside_the_sockets_takes_places_but_not_the_last_ones() {
    const { assert!(DESCRIPTORS_BESIDE < DESCRIPTORS_KEPT) };
    let pool = Pool::new(DESCRIPTORS_KEPT + 40, 1);
    let (room, beside) = (pool.room(100), pool.beside());
    // Who shares it has no more.
    let shared = beside.clone();
    let mut open: Vec<_> = from_fn(|| shared.take()).collect();
    assert_eq!((open.len(), pool.free.available_permits()), (DESCRIPTORS_BESIDE + 30, 10));
    let sockets: Vec<_> = from_fn(|| room.take(LOCALHOST)).collect();
    assert_eq!((sockets.len(), pool.free.available_permits()), (10, 0));
    // What is closed makes room: the places are for connections again, the others are not.
    open.truncate(DESCRIPTORS_BESIDE + 28);
    let more: Vec<_> = from_fn(|| room.take(LOCALHOST)).collect();
    assert_eq!((more.len(), beside.take().is_none()), (2, true));
    drop(open.drain(..5));
    assert!(room.take(LOCALHOST).is_none());
    let again: Vec<_> = from_fn(|| beside.take()).collect();
    assert_eq!(again.len(), 5);
    drop((open, sockets, more, again));
    assert_eq!(pool.free.available_permits(), 40);
    // Where places are scarce there is room beside all the same.
    let pool = Pool::new(10, 1);
    assert_eq!(from_fn(|| pool.beside().take()).take(1).count(), 1);
    assert!(pool.room(1).take(LOCALHOST).is_some());
}
