//! Tests of `listen.rs`.

use std::time::Duration;

use super::*;
use crate::limits::{DESCRIPTORS_KEPT, raise_descriptor_limit};

/// holds C-C6
#[tokio::test]
async fn the_kernel_chooses_one_port_for_every_address() {
    let listeners = bind(&loopback(), 0).unwrap();
    let ports: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
    assert!(ports[0] != 0 && ports.iter().all(|port| *port == ports[0]), "{ports:?}");
}

/// holds C-C6
#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = bind(&loopback()[..1], 0).unwrap();
    let port = taken[0].local_addr().unwrap().port();
    let error = bind(&loopback()[..1], port).unwrap_err();
    assert!(matches!(error, BindError::InUse(_)));
    assert!(error.to_string().contains(&port.to_string()), "{error}");
}

/// Nobody accepts them: they are connected all the same, until the kernel's list is full.
///
/// holds C-C1
#[tokio::test]
async fn thousands_of_connections_may_wait_to_be_accepted() {
    let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap();
    let descriptors = raise_descriptor_limit().saturating_sub(DESCRIPTORS_KEPT);
    let count = usize::try_from(LISTEN_BACKLOG).unwrap().min(allowed).min(descriptors);
    let listeners = bind(&loopback()[..1], 0).unwrap();
    let address = listeners[0].local_addr().unwrap();
    let mut waiting = Vec::new();
    while waiting.len() < count {
        let client = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(30));
        waiting.push(client.unwrap_or_else(|error| panic!("{error} after {} of {count}", waiting.len())));
    }
}

/// holds C-C10
#[tokio::test]
async fn the_port_can_be_taken_again() {
    // Another program may be given the port in between.
    for _ in 0..10 {
        let first = bind(&loopback()[..1], 0).unwrap();
        let address = first[0].local_addr().unwrap();
        let client = tokio::net::TcpStream::connect(address).await.unwrap();
        let (accepted, _) = first[0].accept().await.unwrap();
        // The side that closes first keeps the port in TIME_WAIT.
        drop(accepted);
        drop(client);
        drop(first);
        if bind(&loopback()[..1], address.port()).is_ok() {
            return;
        }
    }
    panic!("ten ports could not be taken again");
}
