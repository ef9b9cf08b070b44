//! Tests of `own.rs`.

use super::*;

/// holds C-F7
#[test]
fn who_listens_is_reached_at_its_port_only() {
    let local = |ip: IpAddr| ["192.0.2.7", "2001:db8::7"].iter().any(|local| ip == local.parse::<IpAddr>().unwrap());
    for (listening, peer, expected) in [
        ("127.0.0.1:25", "127.0.0.1:25", true),
        ("127.0.0.1:2500", "127.0.0.1:25", false),
        ("127.0.0.1:25", "127.0.0.2:25", false),
        ("192.0.2.7:25", "192.0.2.7:25", true),
        ("[::1]:25", "[::1]:25", true),
        ("[::1]:25", "127.0.0.1:25", false),
        ("127.0.0.1:25", "[::ffff:127.0.0.1]:25", true),
        ("0.0.0.0:25", "127.0.0.1:25", true),
        ("0.0.0.0:25", "127.1.2.3:25", true),
        ("0.0.0.0:25", "[::ffff:127.1.2.3]:25", true),
        ("0.0.0.0:25", "192.0.2.7:25", true),
        ("0.0.0.0:25", "192.0.2.7:26", false),
        ("0.0.0.0:25", "192.0.2.8:25", false),
        ("0.0.0.0:25", "[::1]:25", false),
        ("0.0.0.0:25", "[2001:db8::7]:25", false),
        ("[::]:25", "[2001:db8::7]:25", true),
        ("[::]:25", "[::1]:25", true),
        ("[::]:25", "[2001:db8::8]:25", false),
        ("[::]:25", "127.0.0.1:25", true),
        ("[::]:25", "192.0.2.7:25", true),
        ("[::]:25", "192.0.2.8:25", false),
    ] {
        let at = [listening.parse().unwrap()];
        assert_eq!(is_own(&at, peer.parse().unwrap(), local), expected, "{listening} {peer}");
    }
    assert!(!is_own(&[], "127.0.0.1:25".parse().unwrap(), |_| true));
}

/// holds C-F7
#[test]
fn who_listens_on_loopback_is_not_reached_by_name() {
    for (at, expected) in [
        ("0.0.0.0:25", true),
        ("[2001:db8::7]:25", true),
        ("192.0.2.7:2500", false),
        ("127.0.0.1:25", false),
        ("[::1]:25", false),
        ("[::ffff:127.0.0.1]:25", false),
    ] {
        assert_eq!(is_public(&["127.0.0.1:25".parse().unwrap(), at.parse().unwrap()], 25), expected, "{at}");
    }
}

#[test]
fn addresses_of_this_host_are_known() {
    assert!(is_local("127.0.0.1".parse().unwrap()));
    // For documents (RFC 5737, RFC 3849): nobody has them.
    assert!(!is_local("192.0.2.1".parse().unwrap()));
    assert!(!is_local("2001:db8::1".parse().unwrap()));
}
