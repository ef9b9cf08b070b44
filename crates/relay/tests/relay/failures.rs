//! How name servers and resolv.conf fail, and that mail finds its way all the same. `docs/resolver.md` has the same
//! failures beside what the C library makes of them.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use pillarbox_relay::Resolver;
use pillarbox_relay::resolve::ALIASES_MAX;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::dns::Dns;
use crate::route::route_within;

/// A domain with several hosts, one of a single family each; an answer that is too long for a datagram; aliases.
fn zone() -> String {
    let mut zone = "
        two.example MX 10 v4.two.example
        two.example MX 20 v6.two.example
        v4.two.example A 127.0.0.2
        v6.two.example AAAA ::1
        alias.example CNAME chain.example
        chain.example CNAME two.example
    "
    .to_owned();
    for number in 0..30 {
        zone +=
            &format!("long.example MX {number} host-{number}.long.example\nhost-{number}.long.example A 127.0.0.2\n");
    }
    zone
}

const TWO: &str = "v4.two.example=127.0.0.2 v6.two.example=::1";

/// How long a server may take for one question: whoever is not silent has it, on a busy machine too.
const CAP: Duration = Duration::from_secs(3);

/// Everything that makes a server useless.
const USELESS: [&str; 15] = [
    "SERVFAIL",
    "REFUSED",
    "NOTIMP",
    "FORMERR",
    "BARE",
    "SILENT",
    "GARBAGE",
    "WRONG-ID",
    "WRONG-QUESTION",
    "NO-QUESTION",
    "LAME",
    "LAME MX",
    "CUT",
    "SILENT A",
    "GARBAGE AAAA",
];

/// What is found with these name servers, the first of which stands in a resolv.conf first.
async fn found(zones: &[&str], domain: &str) -> String {
    let servers = Dns::start_all(zones).await;
    let dir = TempDir::new().unwrap();
    let resolver = resolver(&dir, &servers.iter().map(|server| server.at).collect::<Vec<_>>());
    route_within(&resolver, domain, CAP).await
}

fn write(dir: &TempDir, servers: &[SocketAddr]) {
    let lines: String = servers.iter().map(|server| format!("nameserver {}\n", server.ip())).collect();
    fs::write(dir.path().join("resolv.conf"), lines).unwrap();
}

fn resolver(dir: &TempDir, servers: &[SocketAddr]) -> Resolver {
    write(dir, servers);
    Resolver::of_file(dir.path().join("resolv.conf"), servers[0].port())
}

/// holds C-F8
#[tokio::test]
async fn a_server_that_is_of_no_use_is_passed_over_for_the_next() {
    let mut all = JoinSet::new();
    for fault in USELESS {
        all.spawn(async move {
            let useless = format!("{}\n* {fault}", zone());
            let found = found(&[&useless, &useless, &zone()], "two.example").await;
            (fault, found)
        });
    }
    for (fault, found) in all.join_all().await {
        assert_eq!(found, TWO, "{fault}");
    }
}

/// holds C-F8
#[tokio::test]
async fn a_server_that_is_not_there_is_passed_over_for_the_next() {
    let dns = Dns::start(&zone()).await;
    let dir = TempDir::new().unwrap();
    let gone = SocketAddr::from(([127, 0, 0, 99], dns.at.port()));
    assert_eq!(route_within(&resolver(&dir, &[gone, gone, dns.at]), "two.example", CAP).await, TWO);
}

/// What is odd about an answer, but does not keep it from being one. holds C-F8
#[tokio::test]
async fn an_answer_may_come_by_detours() {
    let long: Vec<_> = (0..20).map(|number| format!("host-{number}.long.example=127.0.0.2")).collect();
    let long = long.join(" ");
    for (fault, domain, expected) in [
        ("EDNS-FORMERR", "two.example", TWO),
        ("EDNS-SILENT", "two.example", TWO),
        ("SHOUTED", "two.example", TWO),
        ("UNFOLLOWED", "alias.example", TWO),
        ("TRUNCATED", "two.example", TWO),
        ("TCP-TRUNCATED", "two.example", TWO),
        // Over TCP nothing comes: what fits into a longer datagram does.
        ("TCP-CLOSED", "two.example", TWO),
        ("TCP-GARBAGE", "two.example", TWO),
        ("TCP-SILENT", "two.example", TWO),
        ("TCP-CLOSED", "long.example", &long),
        ("TRUNCATED", "long.example", &long),
        ("NONE", "long.example", &long),
        // What comes over TCP counts.
        ("TCP-FEWER", "two.example", "v4.two.example=127.0.0.2"),
    ] {
        let fault = if fault == "NONE" { zone() } else { format!("{}\n* {fault}", zone()) };
        assert_eq!(found(&[&fault], domain).await, expected, "{fault}");
    }
}

/// holds C-F8
#[tokio::test]
async fn servers_may_be_asked_over_tcp_only() {
    let dns = Dns::start(&format!("{}\n* UDP-SILENT", zone())).await;
    let dir = TempDir::new().unwrap();
    let resolver = resolver(&dir, &[dns.at]);
    assert!(route_within(&resolver, "two.example", CAP).await.contains("no reply in time"));
    fs::write(dir.path().join("resolv.conf"), "options use-vc\nnameserver 127.0.0.1\n").unwrap();
    assert_eq!(route_within(&resolver, "two.example", CAP).await, TWO);
}

/// holds C-F8
#[tokio::test]
async fn one_family_that_is_never_answered_does_not_keep_the_other() {
    for family in ["A", "AAAA"] {
        for fault in ["SILENT", "SERVFAIL", "GARBAGE", "LAME"] {
            let zone = "both.example A 127.0.0.2\nboth.example AAAA ::1";
            let left = if family == "A" { "both.example=::1" } else { "both.example=127.0.0.2" };
            assert_eq!(
                found(&[&format!("{zone}\n* {fault} {family}")], "both.example").await,
                left,
                "{fault} {family}"
            );
        }
    }
}

/// A question is asked again: once is not enough where datagrams are lost. holds C-F8
#[tokio::test]
async fn each_server_is_asked_again_when_none_could_tell() {
    let servers = Dns::start_all(&["* SERVFAIL", "* REFUSED"]).await;
    let dir = TempDir::new().unwrap();
    let resolver = resolver(&dir, &[servers[0].at, servers[1].at]);
    let expected = format!("deferred: DNS look-up of x.example failed: Query Refused (name server {})", servers[1].at);
    assert_eq!(route_within(&resolver, "x.example", CAP).await, expected);
    for server in &servers {
        assert_eq!(server.asked(), ["x.example. MX"; 2]);
    }
    fs::write(dir.path().join("resolv.conf"), "options attempts:3\nnameserver 127.0.0.1\n").unwrap();
    route_within(&resolver, "x.example", CAP).await;
    assert_eq!(servers[0].asked().len(), 5);
}

/// The first server that knows is believed. holds C-F8
#[tokio::test]
async fn no_such_name_is_an_answer() {
    let servers = Dns::start_all(&["other.example NONE", &zone()]).await;
    let dir = TempDir::new().unwrap();
    let resolver = resolver(&dir, &[servers[0].at, servers[1].at]);
    assert_eq!(route_within(&resolver, "two.example", CAP).await, "failed: domain two.example does not exist");
    assert!(servers[1].asked().is_empty());
}

/// holds C-F8
#[tokio::test]
async fn the_file_is_read_anew_and_need_not_be_there() {
    let servers = Dns::start_all(&[&zone(), "two.example A 127.0.0.7"]).await;
    let dir = TempDir::new().unwrap();
    let resolver = resolver(&dir, &[servers[1].at]);
    assert_eq!(route_within(&resolver, "two.example", CAP).await, "two.example=127.0.0.7");
    write(&dir, &[servers[0].at]);
    assert_eq!(route_within(&resolver, "two.example", CAP).await, TWO);
    // Without a name server this host is asked: there is one at this port.
    for content in [Some(&b""[..]), Some(b"search (none) .local\n"), Some(b"\xff\xfe"), None] {
        let path = dir.path().join("resolv.conf");
        match content {
            Some(content) => fs::write(&path, content).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        assert_eq!(route_within(&resolver, "two.example", CAP).await, TWO, "{content:?}");
        assert_eq!(route_within(&resolver, "[192.0.2.1]", CAP).await, "[192.0.2.1]=192.0.2.1");
    }
    fs::create_dir(dir.path().join("resolv.conf")).unwrap();
    assert_eq!(route_within(&resolver, "two.example", CAP).await, TWO);
}

/// What leads from alias to alias, one question each, comes to an end. holds C-F8
#[tokio::test]
async fn so_many_aliases_are_asked_for_and_no_more() {
    let mut zone = "* UNFOLLOWED\n".to_owned();
    for step in 0..20 {
        zone += &format!("a{step}.example CNAME a{}.example\n", step + 1);
    }
    zone += "a20.example MX 1 host.example\nhost.example A 127.0.0.2\n";
    let dns = Dns::start(&zone).await;
    let resolver = Resolver::at(dns.at);
    let first = 20 - ALIASES_MAX;
    assert_eq!(route_within(&resolver, &format!("a{first}.example"), CAP).await, "host.example=127.0.0.2");
    let one_more = format!("a{}.example", first - 1);
    let expected = format!("deferred: DNS look-up of {one_more} failed: too many aliases");
    assert_eq!(route_within(&resolver, &one_more, CAP).await, expected);
}
