//! Tests of `route.rs`.

use std::collections::HashSet;

use super::*;

fn order(records: &[(u16, &str)]) -> Result<Vec<String>, RouteError> {
    exchangers("example.org", records.iter().map(|&(preference, name)| (preference, name.to_owned())).collect())
}

/// holds C-F3
#[test]
fn lower_preference_comes_first_and_equals_in_any_order() {
    let mut seen = HashSet::new();
    for _ in 0..1000 {
        let names = order(&[(20, "c.org"), (10, "a.org"), (65535, "d.org"), (10, "b.org")]).unwrap();
        assert_eq!(names[2..], ["c.org", "d.org"]);
        seen.insert(names[0].clone());
    }
    assert_eq!(seen, HashSet::from(["a.org".to_owned(), "b.org".to_owned()]));
}

/// holds C-F3
#[test]
fn the_root_is_no_host() {
    assert_eq!(order(&[(0, "")]), Err(RouteError::NullMx("example.org".to_owned())));
    assert_eq!(order(&[(0, ""), (5, "a.org")]).unwrap(), ["a.org"]);
}

#[test]
fn addresses_and_localhost_are_no_host_names() {
    let records = [(1, "192.0.2.1"), (2, "localhost"), (3, "mx.LOCALHOST"), (4, "a.org"), (5, "A.org")];
    assert_eq!(order(&records).unwrap(), ["a.org"]);
    assert_eq!(order(&records[..3]), Err(RouteError::NoAddress("example.org".to_owned())));
}

#[test]
fn a_domain_does_not_make_us_dial_without_end() {
    let records: Vec<_> = (0..1000).map(|n| (n, format!("mx{n}.example.org"))).collect();
    assert_eq!(exchangers("example.org", records).unwrap().len(), HOSTS_MAX);
    let many: Vec<_> = (0..100).map(|n| Ipv4Addr::new(192, 0, 2, n)).collect();
    let addresses = dialable(&many, &[Ipv6Addr::LOCALHOST]);
    assert_eq!(addresses.len(), ADDRESSES_MAX + 1);
    assert_eq!(addresses[ADDRESSES_MAX], IpAddr::from(Ipv6Addr::LOCALHOST));
}

/// holds C-F3
#[test]
fn literals_name_their_address() {
    for (domain, address) in
        [("[192.0.2.1]", "192.0.2.1"), ("[IPv6:2001:db8::1]", "2001:db8::1"), ("[ipv6:::1]", "::1")]
    {
        let host = literal(domain).unwrap().unwrap();
        assert_eq!(host, Host { name: domain.to_owned(), addresses: vec![address.parse().unwrap()] });
    }
    for domain in [
        "[0.0.0.0]",
        "[IPv6:::]",
        "[IPv6:::ffff:0.0.0.0]",
        "[IPv6:::ffff:224.0.0.1]",
        "[224.0.0.1]",
        "[::1]",
        "[x400:a]",
        "[192.0.2.1",
        "[]",
    ] {
        assert!(matches!(literal(domain), Some(Err(RouteError::NotDialable(_)))), "{domain}");
    }
    assert_eq!(literal("example.org"), None);
}
