//! Who gets the mail, and what is said of it.

use std::net::Ipv4Addr;

use crate::peer::{CLOSE, ENDLESS, SILENT};
use crate::{Net, SHORT};

const TEXT: &str = "Subject: hello\r\n\r\nHow are you?\r\n";

/// holds C-F3
#[tokio::test]
async fn one_transaction_brings_it_to_all_of_a_domain() {
    let net = Net::with_hosts(&[&[], &[]]).await;
    let reports = net.deliver(&["a@example.org", "b@EXAMPLE.org"], TEXT).await;
    assert_eq!(reports, ["delivered: 250 taken (mx0.example.org)"; 2]);
    assert_eq!(net.connections(), [1, 0]);
    let heard = net.peers.heard("127.0.0.2");
    assert_eq!(
        heard.commands,
        [
            "EHLO here.example.com",
            "MAIL FROM:<sender@localhost> SIZE=32 BODY=8BITMIME",
            "RCPT TO:<a@example.org>",
            "RCPT TO:<b@EXAMPLE.org>",
            "DATA",
            "QUIT"
        ]
    );
    assert_eq!(heard.texts, [TEXT.as_bytes()]);
}

/// What a transcript needs comes in order, from the opening to the close. holds C-F3
#[tokio::test]
async fn whoever_watches_sees_everything() {
    let net = Net::with_hosts(&[&[("EHLO", "502 no"), ("GREETING", "421 busy")], &[("EHLO", "502 no")]]).await;
    net.deliver(&["a@example.org"], TEXT).await;
    let seen = net.events.lock().unwrap().join("\n");
    let expected = "
        open 127.0.0.2
        S: 421 busy
        closed
        open 127.0.0.3
        S: 220 peer ready
        C: EHLO here.example.com
        S: 502 no
        C: HELO here.example.com
        S: 250 OK
        C: MAIL FROM:<sender@localhost>
        S: 250 OK
        C: RCPT TO:<a@example.org>
        S: 250 OK
        C: DATA
        S: 354 go on
        C: <32 octets>
        S: 250 taken
        C: QUIT
        S: 221 bye
        closed";
    assert_eq!(seen, expected.trim().replace("        ", ""));
}

#[tokio::test]
async fn the_connection_names_a_host_without_a_name() {
    let mut net = Net::with_hosts(&[&[]]).await;
    net.relay.hello = None;
    net.deliver(&["a@example.org"], TEXT).await;
    assert_eq!(net.peers.heard("127.0.0.2").commands[0], "EHLO [127.0.0.1]");
}

/// holds C-F3
#[tokio::test]
async fn a_host_that_is_down_leads_to_the_next() {
    let zone = "
        example.org MX 1 down.example.org
        example.org MX 2 up.example.org
        down.example.org A 127.0.0.99
        down.example.org A 127.0.0.98
        up.example.org A 127.0.0.97
        up.example.org A 127.0.0.2
    ";
    let net = Net::start(zone, &[("127.0.0.2", &[])]).await;
    assert_eq!(net.deliver(&["a@example.org"], TEXT).await, ["delivered: 250 taken (up.example.org)"]);
}

/// holds C-F3
#[tokio::test]
async fn no_host_up_is_a_deferral() {
    let net = Net::start("example.org A 127.0.0.99", &[("127.0.0.2", &[])]).await;
    let expected = format!(
        "deferred: connecting to 127.0.0.99:{}: Connection refused (os error 111) (example.org)",
        net.peers.port
    );
    assert_eq!(net.deliver(&["a@example.org"], TEXT).await, [expected]);
}

/// holds C-F3
#[tokio::test]
async fn no_route_is_what_becomes_of_everybody() {
    let zone = "null.org MX 0 .\nbroken.org SERVFAIL";
    let net = Net::start(zone, &[("127.0.0.2", &[])]).await;
    assert_eq!(
        net.deliver(&["a@null.org", "b@null.org"], TEXT).await,
        ["failed: domain null.org does not take mail"; 2]
    );
    assert_eq!(
        net.deliver(&["a@broken.org"], TEXT).await,
        [format!("deferred: DNS look-up of broken.org failed: Server Failure (name server {})", net.dns.at)]
    );
    assert_eq!(net.deliver(&[], TEXT).await, Vec::<String>::new());
}

/// A listener whose queue of connections is full swallows packets. Time is left for the next address, too. holds C-F3
#[tokio::test]
async fn an_address_that_swallows_packets_leads_to_the_next() {
    let zone = "
        example.org MX 1 hole.example.org
        example.org MX 2 up.example.org
        hole.example.org A 127.0.0.50
        up.example.org A 127.0.0.2
        example.net A 127.0.0.50
        example.net A 127.0.0.2
    ";
    let net = Net::start(zone, &[("127.0.0.2", &[])]).await.capped(SHORT);
    let hole = tokio::net::TcpSocket::new_v4().unwrap();
    let at = (Ipv4Addr::new(127, 0, 0, 50), net.peers.port).into();
    hole.bind(at).unwrap();
    let _listener = hole.listen(1).unwrap();
    let mut filling = Vec::new();
    while let Ok(connected) = tokio::time::timeout(SHORT, tokio::net::TcpStream::connect(at)).await {
        filling.push(connected.unwrap());
    }
    assert_eq!(net.deliver(&["a@example.org"], TEXT).await, ["delivered: 250 taken (up.example.org)"]);
    assert_eq!(net.deliver(&["a@example.net"], TEXT).await, ["delivered: 250 taken (example.net)"]);
}

/// Hosts that let nobody in, each followed by one that does. holds C-F3
#[tokio::test]
async fn a_host_that_does_not_want_us_leads_to_the_next() {
    for rules in [
        &[("GREETING", "421 too busy")] as crate::Rules,
        &[("GREETING", "450 too busy")],
        &[("GREETING", "554 no mail here")],
        &[("GREETING", CLOSE)],
        &[("GREETING", "HTTP/1.1 400 Bad Request")],
        &[("GREETING", ENDLESS)],
        &[("EHLO", "450 not now")],
        &[("EHLO", "421 not now")],
        &[("EHLO", CLOSE)],
        &[("MAIL", "451 not now")],
        &[("MAIL", CLOSE)],
        &[("RCPT", "450 not now")],
        &[("DATA", "451 not now")],
        &[("DATA", CLOSE)],
        &[(".", "451 not now")],
    ] {
        let net = Net::with_hosts(&[rules, &[]]).await;
        assert_eq!(
            net.deliver(&["a@example.org"], TEXT).await,
            ["delivered: 250 taken (mx1.example.org)"],
            "{rules:?}"
        );
        assert_eq!(net.connections(), [1, 1]);
    }
}

/// holds C-F3
#[tokio::test]
async fn a_silent_host_leads_to_the_next() {
    let mut tasks = tokio::task::JoinSet::new();
    for rules in [
        &[("GREETING", SILENT)] as crate::Rules,
        &[("EHLO", SILENT)],
        &[("MAIL", SILENT)],
        &[("RCPT", SILENT)],
        &[("DATA", SILENT)],
    ] {
        tasks.spawn(async move {
            let net = Net::with_hosts(&[rules, &[]]).await.capped(SHORT);
            net.deliver(&["a@example.org"], TEXT).await
        });
    }
    for reports in tasks.join_all().await {
        assert_eq!(reports, ["delivered: 250 taken (mx1.example.org)"]);
    }
}

/// A program that is told to stop drops what it does: the peer has no message, and whoever watches sees the end.
/// holds C-F4
#[tokio::test]
async fn a_delivery_that_is_dropped_closes_its_connection() {
    let net = Net::with_hosts(&[&[("DATA", SILENT)]]).await;
    let has_heard_data = async {
        while !net.peers.heard("127.0.0.2").commands.contains(&"DATA".to_owned()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        reports = net.deliver(&["a@example.org"], TEXT) => panic!("{reports:?}"),
        () = has_heard_data => {}
    }
    let events = net.events.lock().unwrap();
    assert_eq!(events[events.len() - 2..], ["C: DATA", "closed"]);
    assert_eq!(net.peers.heard("127.0.0.2").texts.len(), 0);
}

/// Who is told to stop opens no further connection, and reports what is known. holds C-F4
#[tokio::test]
async fn what_is_known_is_reported_when_no_further_host_is_to_be_tried() {
    let mut net = Net::with_hosts(&[&[("RCPT TO:<later@", "450 not now")], &[]]).await;
    net.connections_max = 1;
    let reports = net.deliver(&["yes@example.org", "later@example.org"], TEXT).await;
    assert_eq!(reports, ["delivered: 250 taken (mx0.example.org)", "deferred: 450 not now (mx0.example.org)"]);
    assert_eq!(net.connections(), [1, 0]);
}

/// Somebody has spoken for the domain: the next host is not asked. holds C-F3
#[tokio::test]
async fn a_permanent_refusal_is_final() {
    for (rules, expected) in [
        (&[("EHLO", "502 no"), ("HELO", "550 not you")] as crate::Rules, "failed: 550 not you"),
        (&[("MAIL", "550 not you")], "failed: 550 not you"),
        (&[("RCPT", "550 no such user")], "failed: 550 no such user"),
        (&[("DATA", "554 no")], "failed: 554 no"),
        (&[(".", "554 spam")], "failed: 554 spam"),
    ] {
        let net = Net::with_hosts(&[rules, &[]]).await;
        assert_eq!(net.deliver(&["a@example.org"], TEXT).await, [format!("{expected} (mx0.example.org)")]);
        assert_eq!(net.connections(), [1, 0]);
    }
}

/// holds C-F3
#[tokio::test]
async fn a_domain_whose_hosts_all_refuse_us_for_good_is_a_failure() {
    let net = Net::with_hosts(&[&[("GREETING", "554 no mail here")], &[("GREETING", "554 nor here")]]).await;
    assert_eq!(net.deliver(&["a@example.org"], TEXT).await, ["failed: 554 nor here (mx1.example.org)"]);
    let net = Net::with_hosts(&[&[("GREETING", "554 no mail here")], &[("GREETING", "421 busy")]]).await;
    assert_eq!(net.deliver(&["a@example.org"], TEXT).await, ["deferred: 421 busy (mx1.example.org)"]);
}

/// holds C-F4
#[tokio::test]
async fn each_recipient_has_its_own_outcome() {
    let first = &[("RCPT TO:<no@", "550 no such user"), ("RCPT TO:<later@", "450 not now")];
    let net = Net::with_hosts(&[first, &[]]).await;
    let reports = net.deliver(&["yes@example.org", "no@example.org", "later@example.org"], TEXT).await;
    assert_eq!(
        reports,
        [
            "delivered: 250 taken (mx0.example.org)",
            "failed: 550 no such user (mx0.example.org)",
            "delivered: 250 taken (mx1.example.org)"
        ]
    );
    let second = net.peers.heard("127.0.0.3");
    assert!(
        second.commands.iter().all(|line| !line.contains("yes@") && !line.contains("no@")),
        "{:?}",
        second.commands
    );
    assert_eq!(second.texts, [TEXT.as_bytes()]);
}

/// holds C-F4
#[tokio::test]
async fn who_is_deferred_everywhere_stays_deferred() {
    let net = Net::with_hosts(&[&[("RCPT TO:<later@", "450 not now")], &[("RCPT TO:<later@", "452 full")]]).await;
    let reports = net.deliver(&["yes@example.org", "later@example.org"], TEXT).await;
    assert_eq!(reports, ["delivered: 250 taken (mx0.example.org)", "deferred: 452 full (mx1.example.org)"]);
    assert_eq!(net.peers.heard("127.0.0.3").texts.len(), 0);
}

/// The peer may have the message: a second host would double it. holds C-F4
#[tokio::test]
async fn no_second_host_after_the_final_dot() {
    let lost = "deferred: connection lost before the reply to the final dot: closed by the peer (mx0.example.org)";
    for (rules, expected) in [
        (&[(".", CLOSE)] as crate::Rules, lost),
        (&[(".", SILENT)], "deferred: no reply in time (mx0.example.org)"),
        (&[(".", "no reply at all")], "deferred: not an SMTP reply (mx0.example.org)"),
    ] {
        let net = Net::with_hosts(&[rules, &[]]).await.capped(SHORT);
        assert_eq!(net.deliver(&["a@example.org"], TEXT).await, [expected]);
        assert_eq!(net.peers.heard("127.0.0.2").texts.len(), 1);
        assert_eq!(net.connections(), [1, 0]);
    }
}

/// Before the final dot the peer cannot have it: the next host may. holds C-F4
#[tokio::test]
async fn a_second_host_after_a_loss_in_the_text() {
    let text = "0123456789abcdef\r\n".repeat(1_000_000);
    let net = Net::with_hosts(&[&[("TEXT", CLOSE)], &[]]).await;
    assert_eq!(net.deliver(&["a@example.org"], text.as_str()).await, ["delivered: 250 taken (mx1.example.org)"]);
    assert_eq!(net.connections(), [1, 1]);
    assert!(net.peers.heard("127.0.0.3").texts == [text.as_bytes()]);
}

/// holds C-F3
#[tokio::test]
async fn a_host_has_more_than_one_address() {
    let zone = "example.org A 127.0.0.2\nexample.org A 127.0.0.3";
    let net = Net::start(zone, &[("127.0.0.2", &[("GREETING", "421 busy")]), ("127.0.0.3", &[])]).await;
    assert_eq!(net.deliver(&["a@example.org"], TEXT).await, ["delivered: 250 taken (example.org)"]);
}

#[tokio::test]
async fn hosts_that_defer_end_after_some_sessions() {
    let busy: crate::Rules = &[("GREETING", "421 busy")];
    let net = Net::with_hosts(&[busy; 7]).await;
    assert_eq!(net.deliver(&["a@example.org"], TEXT).await, ["deferred: 421 busy (mx4.example.org)"]);
    assert_eq!(net.connections(), [1, 1, 1, 1, 1, 0, 0]);
}

/// holds C-F3
#[tokio::test]
async fn address_literals_are_dialed() {
    let net = Net::start("", &[("127.0.0.2", &[])]).await;
    assert_eq!(net.deliver(&["a@[127.0.0.2]"], TEXT).await, ["delivered: 250 taken ([127.0.0.2])"]);
    assert_eq!(net.peers.heard("127.0.0.2").commands[2], "RCPT TO:<a@[127.0.0.2]>");
    assert_eq!(net.dns.asked(), Vec::<String>::new());
}

/// holds C-F3
#[tokio::test]
async fn ipv6_is_dialed_where_there_is_some() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return; // This host has none.
    }
    let mut net = Net::start("example.org AAAA ::1", &[("::1", &[])]).await;
    net.relay.hello = None;
    for to in ["a@[IPv6:::1]", "a@example.org"] {
        assert!(net.deliver(&[to], TEXT).await[0].starts_with("delivered: 250 taken"));
    }
    assert_eq!(net.peers.heard("::1").commands[0], "EHLO [IPv6:::1]");
}

/// No look-up has to tell who we are.
/// holds C-F7
#[tokio::test]
async fn who_has_our_name_is_ourselves() {
    const ZONE: &str = "here.example.com SERVFAIL A
        here.example.com SERVFAIL AAAA
        here.example.com NONE
        first.example MX 1 here.example.com
        first.example MX 2 other.example
        local.example MX 1 localhost
        local.example MX 2 other.example
        second.example MX 1 other.example
        second.example MX 2 here.example.com
        other.example A 127.0.0.2";
    let mut net = Net::start(ZONE, &[("127.0.0.2", &[])]).await;
    let looped = |domain| [format!("failed: {}", pillarbox_relay::RouteError::Loop(String::from(domain)))];
    let delivered = ["delivered: 250 taken (other.example)"];
    net.listening = vec![(std::net::Ipv4Addr::new(192, 0, 2, 9), net.peers.port).into()];
    for domain in ["first.example", "local.example", "here.example.com"] {
        assert_eq!(net.deliver(&[&format!("a@{domain}")], TEXT).await, looped(domain));
    }
    assert_eq!(net.deliver(&["a@second.example"], TEXT).await, delivered);
    assert!(!net.dns.asked().iter().any(|asked| asked.ends_with("here.example.com. A")), "{:?}", net.dns.asked());
    // Who listens elsewhere is another server, even if it has our name.
    net.listening[0].set_port(net.peers.port ^ 1);
    assert_eq!(net.deliver(&["a@first.example"], TEXT).await, delivered);
    assert_eq!(net.deliver(&["a@local.example"], TEXT).await, looped("local.example"));
}

/// Mail may be sent from many tasks at once.
#[tokio::test]
async fn deliveries_run_side_by_side() {
    let net = std::sync::Arc::new(Net::with_hosts(&[&[]]).await);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let net = std::sync::Arc::clone(&net);
        tasks.spawn(async move { net.deliver(&["a@example.org"], TEXT).await });
    }
    for reports in tasks.join_all().await {
        assert_eq!(reports, ["delivered: 250 taken (mx0.example.org)"]);
    }
}
