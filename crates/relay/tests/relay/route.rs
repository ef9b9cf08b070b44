//! Which hosts a domain has.

use std::collections::HashMap;
use std::time::Duration;

use pillarbox_relay::{Resolver, RouteError};

use crate::SHORT;
use crate::dns::Dns;

/// A domain of each kind.
const ZONE: &str = "
    three.org MX 30 c.three.org
    three.org MX 10 a.three.org
    three.org MX 20 b.three.org
    a.three.org A 127.0.0.2
    b.three.org AAAA ::1
    b.three.org A 127.0.0.3
    b.three.org A 127.0.0.4
    c.three.org A 127.0.0.5
    equal.org MX 5 a.three.org
    equal.org MX 5 c.three.org
    plain.org A 127.0.0.6
    bare.org NONE
    null.org MX 0 .
    alias.org CNAME three.org
    bare-alias.org CNAME plain.org
    lost-alias.org CNAME nowhere.org
    ring.org CNAME gnir.org
    gnir.org CNAME ring.org
    holes.org MX 1 nowhere.org
    holes.org MX 2 bare.org
    holes.org MX 3 127.0.0.9
    holes.org MX 4 broken.org
    holes.org MX 5 c.three.org
    holes.org MX 6 localhost
    hollow.org MX 1 nowhere.org
    hollow.org MX 2 bare.org
    shaky.org MX 1 nowhere.org
    shaky.org MX 2 broken.org
    half.org MX 1 half-host.org
    half-host.org A 127.0.0.7
    half-host.org SERVFAIL AAAA
    target-alias.org MX 1 bare-alias.org
    broken.org SERVFAIL
    refused.org REFUSED
    silent.org SILENT
    quiet-host.org MX 1 silent.org
    quiet-host.org MX 2 a.three.org
";

/// The hosts of a domain as `NAME=ADDRESS,ADDRESS`, or the error.
async fn route(resolver: &Resolver, domain: &str) -> String {
    route_within(resolver, domain, Duration::MAX).await
}

/// The same, where each question may take so long.
pub(crate) async fn route_within(resolver: &Resolver, domain: &str, cap: Duration) -> String {
    let hosts = match resolver.route_within(domain, cap, None).await {
        Ok(hosts) => hosts,
        Err(error) => return format!("{}: {error}", if error.is_temporary() { "deferred" } else { "failed" }),
    };
    let show = |addresses: &[std::net::IpAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    hosts.iter().map(|host| format!("{}={}", host.name, show(&host.addresses))).collect::<Vec<_>>().join(" ")
}

async fn check(domain: &str, expected: &str) {
    let dns = Dns::start(ZONE).await;
    let resolver = Resolver::at(dns.at);
    assert_eq!(route(&resolver, domain).await, expected.replace("AT", &dns.at.to_string()));
}

/// holds C-F3
#[tokio::test]
async fn hosts_come_in_order_of_preference() {
    check("three.org", "a.three.org=127.0.0.2 b.three.org=127.0.0.3,127.0.0.4,::1 c.three.org=127.0.0.5").await;
}

/// holds C-F3
#[tokio::test]
async fn case_does_not_matter() {
    check("THREE.Org", "a.three.org=127.0.0.2 b.three.org=127.0.0.3,127.0.0.4,::1 c.three.org=127.0.0.5").await;
}

/// holds C-F3
#[tokio::test]
async fn equal_preference_comes_in_any_order() {
    let dns = Dns::start(ZONE).await;
    let resolver = Resolver::at(dns.at);
    let mut seen = HashMap::new();
    // All the same way happens once in 2^63 runs.
    for _ in 0..64 {
        *seen.entry(route(&resolver, "equal.org").await).or_insert(0) += 1;
    }
    let (a, c) = ("a.three.org=127.0.0.2", "c.three.org=127.0.0.5");
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen.contains_key(&format!("{a} {c}")) && seen.contains_key(&format!("{c} {a}")), "{seen:?}");
}

/// holds C-F3
#[tokio::test]
async fn a_domain_without_mx_is_its_own_host() {
    check("plain.org", "plain.org=127.0.0.6").await;
    check("bare.org", "failed: no mail host of bare.org has an address").await;
}

/// holds C-F3
#[tokio::test]
async fn null_mx_is_a_failure() {
    check("null.org", "failed: domain null.org does not take mail").await;
}

/// holds C-F3
#[tokio::test]
async fn aliases_are_followed() {
    check("alias.org", "a.three.org=127.0.0.2 b.three.org=127.0.0.3,127.0.0.4,::1 c.three.org=127.0.0.5").await;
    check("bare-alias.org", "bare-alias.org=127.0.0.6").await;
    check("target-alias.org", "bare-alias.org=127.0.0.6").await;
    check("lost-alias.org", "failed: domain lost-alias.org does not exist").await;
}

#[tokio::test]
async fn a_ring_of_aliases_ends() {
    let dns = Dns::start(ZONE).await;
    let resolver = Resolver::at(dns.at);
    resolver.route("ring.org").await.unwrap_err();
}

/// holds C-F3
#[tokio::test]
async fn no_such_domain_is_a_failure() {
    check("nowhere.org", "failed: domain nowhere.org does not exist").await;
}

/// holds C-F3
#[tokio::test]
async fn a_dns_that_cannot_tell_is_a_deferral() {
    check("broken.org", "deferred: DNS look-up of broken.org failed: Server Failure (name server AT)").await;
    check("refused.org", "deferred: DNS look-up of refused.org failed: Query Refused (name server AT)").await;
}

/// holds C-F3
#[tokio::test]
async fn a_silent_dns_is_a_deferral() {
    let dns = Dns::start(ZONE).await;
    let resolver = Resolver::at(dns.at);
    let why = format!("no reply in time (name server {})", dns.at);
    let expected = RouteError::Unanswered { name: "silent.org".to_owned(), why };
    assert_eq!(resolver.route_within("silent.org", SHORT, None).await, Err(expected));
}

#[tokio::test]
async fn no_dns_is_a_deferral() {
    // Taken and given back: nobody listens there.
    let at = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let resolver = Resolver::at(at);
    assert!(resolver.route_within("three.org", SHORT, None).await.unwrap_err().is_temporary());
}

/// holds C-F3
#[tokio::test]
async fn hosts_without_address_are_left_out() {
    check("holes.org", "c.three.org=127.0.0.5").await;
    check("half.org", "half-host.org=127.0.0.7").await;
    check("hollow.org", "failed: no mail host of hollow.org has an address").await;
    check("shaky.org", "deferred: DNS look-up of broken.org failed: Server Failure (name server AT)").await;
}

#[tokio::test]
async fn a_host_that_cannot_be_looked_up_does_not_hide_the_next() {
    let dns = Dns::start(ZONE).await;
    let resolver = Resolver::at(dns.at);
    let hosts = resolver.route_within("quiet-host.org", SHORT, None).await.unwrap();
    assert_eq!(hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(), ["a.three.org"]);
}

#[tokio::test]
async fn a_long_answer_comes_over_tcp() {
    let mut zone = String::new();
    for number in 0..200 {
        zone += &format!("many.org MX {number} host-{number}.many.org\nhost-{number}.many.org A 127.0.0.2\n");
    }
    let dns = Dns::start(&zone).await;
    let hosts = Resolver::at(dns.at).route("many.org").await.unwrap();
    let names: Vec<_> = hosts.into_iter().map(|host| host.name).collect();
    assert_eq!(
        names,
        (0..pillarbox_relay::route::LOOK_UPS_MAX).map(|n| format!("host-{n}.many.org")).collect::<Vec<_>>()
    );
}

/// holds C-F3
#[tokio::test]
async fn a_literal_asks_nobody() {
    let dns = Dns::start(ZONE).await;
    let resolver = Resolver::at(dns.at);
    assert_eq!(route(&resolver, "[127.0.0.2]").await, "[127.0.0.2]=127.0.0.2");
    assert_eq!(route(&resolver, "[IPv6:::1]").await, "[IPv6:::1]=::1");
    assert_eq!(dns.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn answers_are_not_kept() {
    let dns = Dns::start(ZONE).await;
    let resolver = Resolver::at(dns.at);
    for _ in 0..2 {
        route(&resolver, "plain.org").await;
        route(&resolver, "nowhere.org").await;
    }
    let count = |question| dns.asked().iter().filter(|asked| *asked == question).count();
    assert_eq!((count("plain.org. MX"), count("plain.org. A"), count("nowhere.org. MX")), (2, 2, 2));
}
