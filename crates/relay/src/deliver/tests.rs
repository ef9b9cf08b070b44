//! Tests of `deliver.rs`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use pillarbox_proto::ReversePath;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time;

use super::*;
use crate::source::Octets;

/// An address that swallows packets: the queue of its listener is full. With what keeps it so.
async fn hole() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let at = socket.local_addr().unwrap();
    let listener = socket.listen(1).unwrap();
    let mut filling = Vec::new();
    while let Ok(connected) = time::timeout(Duration::from_secs(1), TcpStream::connect(at)).await {
        filling.push(connected.unwrap());
    }
    (at, listener, filling)
}

/// An address that swallows packets leaves time for those behind it. holds C-F3
#[tokio::test]
async fn each_address_of_a_host_has_its_share() {
    let (at, _listener, _filling) = hole().await;
    time::pause();
    let begun = Instant::now();
    let asked = std::sync::Mutex::new(Vec::new());
    let go_on = || {
        asked.lock().unwrap().push(begun.elapsed().as_secs());
        true
    };
    let relay = Relay { resolver: Resolver::at(at), port: at.port(), timeout: None, hello: None };
    let addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST); 3];
    let hosts = [Host { name: "mx".to_owned(), preference: 0, addresses }];
    let envelope =
        Envelope { reverse_path: ReversePath::default(), forward_paths: vec!["a@example.org".parse().unwrap()] };
    relay.try_hosts(&hosts, &envelope, &mut Octets::new("x"), &|_, _| {}, &go_on).await;
    assert_eq!(*asked.lock().unwrap(), [0, 10, 20]);
}

/// By a clock that jumps to whatever is awaited next. holds C-F3
#[tokio::test]
async fn all_addresses_of_a_host_have_half_a_minute_together() {
    let (at, _listener, _filling) = hole().await;
    time::pause();
    for (addresses, hosts, cap_s, expected_s) in [
        (1, 1, None, 30),
        (2, 1, None, 30),
        (7, 1, None, 30),
        (3, 2, None, 60),
        (4, 1, Some(8), 8),
        (4, 1, Some(99), 30),
    ] {
        let relay =
            Relay { resolver: Resolver::at(at), port: at.port(), timeout: cap_s.map(Duration::from_secs), hello: None };
        let host =
            Host { name: "mx".to_owned(), preference: 0, addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST); addresses] };
        let envelope =
            Envelope { reverse_path: ReversePath::default(), forward_paths: vec!["a@example.org".parse().unwrap()] };
        let begun = Instant::now();
        let hosts = vec![host; hosts];
        let reports = relay.try_hosts(&hosts, &envelope, &mut Octets::new("x"), &|_, _| {}, &|| true).await;
        let expected = format!("connecting to {at}: no connection in time");
        assert_eq!(reports[0].1.outcome, Outcome::Deferred(expected));
        // Each wait is rounded up to a millisecond.
        let took = begun.elapsed();
        let expected = Duration::from_secs(expected_s);
        assert!(took >= expected && took < expected + Duration::from_millis(50), "{addresses}: {took:?}");
    }
}
