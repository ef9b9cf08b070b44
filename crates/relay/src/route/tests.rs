//! Tests of `route.rs`.

use std::collections::HashSet;

use super::*;

fn order(records: &[(u16, &str)]) -> Result<Vec<String>, RouteError> {
    let records = records.iter().map(|&(preference, name)| (preference, name.to_owned())).collect();
    Ok(exchangers("example.org", records, Some("mx.us.org"))?.into_iter().map(|(_, name)| name).collect())
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
fn addresses_are_no_host_names() {
    let records = [(1, "192.0.2.1"), (4, "a.org"), (5, "A.org")];
    assert_eq!(order(&records).unwrap(), ["a.org"]);
    assert_eq!(order(&records[..1]), Err(RouteError::NoAddress("example.org".to_owned())));
}

/// holds C-F7
#[test]
fn a_list_is_cut_where_it_names_ourselves() {
    for own in ["localhost", "mx.LOCALHOST", "MX.us.org"] {
        assert_eq!(order(&[(1, "a.org"), (2, own), (3, "c.org")]).unwrap(), ["a.org"], "{own}");
        // One of those that are preferred equally; behind as many as are looked up.
        let mut equals = vec![(2, "b.org"); LOOK_UPS_MAX];
        equals.extend([(2, own), (1, "a.org")]);
        assert_eq!(order(&equals).unwrap(), ["a.org"], "{own}");
        for looped in [&[(0, own)][..], &[(5, own), (5, "b.org")], &[(1, "192.0.2.1"), (2, own), (3, "c.org")]] {
            assert_eq!(order(looped), Err(RouteError::Loop("example.org".to_owned())), "{looped:?}");
        }
    }
    for other in ["us.org", "x.mx.us.org", "localhost.org"] {
        assert_eq!(order(&[(1, other), (2, "b.org")]).unwrap(), [other, "b.org"]);
    }
}

#[test]
fn a_domain_does_not_make_us_dial_without_end() {
    let records: Vec<_> = (0..1000).map(|n| (n, format!("mx{n}.example.org"))).collect();
    assert_eq!(exchangers("example.org", records, None).unwrap().len(), LOOK_UPS_MAX);
    let many: Vec<_> = (0..100).map(|n| Ipv4Addr::new(192, 0, 2, n)).collect();
    let hosts = (0..100).map(|n| Host { addresses: dialable(&many, &[Ipv6Addr::LOCALHOST]), ..host(n, "") });
    let hosts = without_loop("example.org", hosts.collect(), |_| false).unwrap();
    assert_eq!(hosts.len(), HOSTS_MAX);
    for host in hosts {
        assert_eq!(host.addresses.len(), ADDRESSES_MAX + 1);
        assert_eq!(host.addresses[ADDRESSES_MAX], IpAddr::from(Ipv6Addr::LOCALHOST));
    }
}

/// A host with these addresses, named after its preference.
fn host(preference: u16, addresses: &str) -> Host {
    let addresses = addresses.split_whitespace().map(|address| address.parse().unwrap()).collect();
    Host { name: format!("mx{preference}"), preference, addresses }
}

/// holds C-F7
#[test]
fn a_list_is_cut_where_it_leads_to_ourselves() {
    let own: IpAddr = "192.0.2.9".parse().unwrap();
    for (hosts, left) in [
        (&[(1, "192.0.2.1"), (2, "192.0.2.2"), (3, "192.0.2.3")][..], Some(3)),
        (&[(1, "192.0.2.1"), (2, "192.0.2.2 192.0.2.9"), (3, "192.0.2.3")], Some(1)),
        // One of those that are preferred equally.
        (&[(1, "192.0.2.1"), (2, "192.0.2.2"), (2, "192.0.2.9"), (2, "192.0.2.3"), (3, "192.0.2.4")], Some(1)),
        (&[(7, "192.0.2.1"), (7, "192.0.2.9")], None),
        (&[(0, "192.0.2.9"), (5, "192.0.2.1")], None),
        // Behind as many addresses and hosts as are tried.
        (&[(1, "192.0.2.1"), (2, "192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5 192.0.2.9")], Some(1)),
        (&[(9, "192.0.2.1"); HOSTS_MAX + 5], Some(HOSTS_MAX)),
    ] {
        let given = hosts.iter().map(|&(preference, addresses)| host(preference, addresses)).collect();
        let cut = without_loop("example.org", given, |address| address == own);
        let names = cut.map(|hosts| hosts.into_iter().map(|host| host.name).collect::<Vec<_>>());
        let expected = left.map(|left| hosts[..left].iter().map(|(number, _)| format!("mx{number}")).collect());
        assert_eq!(names, expected.ok_or_else(|| RouteError::Loop("example.org".to_owned())), "{hosts:?}");
    }
    let mut equals = vec![host(5, "192.0.2.1"); HOSTS_MAX];
    equals.push(host(5, "192.0.2.9"));
    without_loop("example.org", equals, |address| address == own).unwrap_err();
}

/// holds C-F3
#[test]
fn literals_name_their_address() {
    for (domain, address) in
        [("[192.0.2.1]", "192.0.2.1"), ("[IPv6:2001:db8::1]", "2001:db8::1"), ("[ipv6:::1]", "::1")]
    {
        let host = literal(domain).unwrap().unwrap();
        assert_eq!(host, Host { name: domain.to_owned(), preference: 0, addresses: vec![address.parse().unwrap()] });
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
