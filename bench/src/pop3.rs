//! Mail that is fetched.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::client::{Client, side_by_side};

/// Sessions that are over.
#[derive(Default)]
pub(crate) struct Sessions {
    /// From connecting until the server has closed.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) failed: usize,
    pub(crate) seconds: f64,
}

/// Up to `count` sessions, so many at once, each with a mailbox that no other has: login, STAT, QUIT.
pub(crate) fn log_in(
    address: SocketAddr,
    at_once: usize,
    mailboxes: usize,
    count: usize,
    limit: Duration,
) -> io::Result<Sessions> {
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let threads = side_by_side(at_once, |own| {
        let next = Arc::clone(&next);
        async move {
            let mut sessions = Sessions::default();
            let mut mailbox = own;
            while next.fetch_add(1, Ordering::Relaxed) < count && start.elapsed() < limit {
                let began = Instant::now();
                match session(address, mailbox).await {
                    Ok(()) => sessions.latencies.push(began.elapsed()),
                    Err(_) => sessions.failed += 1,
                }
                sessions.seconds = start.elapsed().as_secs_f64();
                mailbox += at_once;
                if mailbox >= mailboxes {
                    mailbox = own;
                }
            }
            Ok(sessions)
        }
    })?;
    let mut all = Sessions::default();
    for sessions in threads {
        all.latencies.extend(sessions.latencies);
        all.failed += sessions.failed;
        all.seconds = all.seconds.max(sessions.seconds);
    }
    Ok(all)
}

async fn session(address: SocketAddr, mailbox: usize) -> io::Result<()> {
    let mut client = login(address, mailbox).await?;
    client.ask(b"STAT\r\n", "+OK 10 ").await?;
    client.quit("+OK").await
}

async fn login(address: SocketAddr, mailbox: usize) -> io::Result<Client> {
    let mut client = Client::connect(address, "+OK").await?;
    client.ask(format!("USER u{mailbox}\r\n").as_bytes(), "+OK").await?;
    client.ask(b"PASS cis505\r\n", "+OK").await?;
    Ok(client)
}

/// How long the steps of a session took, in seconds.
#[derive(Clone, Copy)]
pub(crate) struct Took {
    /// From connecting to the reply to STAT.
    pub(crate) login: f64,
    pub(crate) list: f64,
    pub(crate) uidl: f64,
}

/// Login, STAT, UIDL, LIST, QUIT of the one mailbox.
pub(crate) fn list(address: SocketAddr, messages: usize) -> io::Result<Took> {
    let took = side_by_side(1, |_| async move {
        let start = Instant::now();
        let mut client = login(address, 0).await?;
        client.ask(b"STAT\r\n", &format!("+OK {messages} ")).await?;
        let login = start.elapsed().as_secs_f64();
        let mut took = Took { login, list: 0.0, uidl: 0.0 };
        for (command, seconds) in [(&b"UIDL\r\n"[..], &mut took.uidl), (b"LIST\r\n", &mut took.list)] {
            let start = Instant::now();
            let (_, lines) = client.ask_all(command).await?;
            *seconds = start.elapsed().as_secs_f64();
            if lines != messages + 2 {
                return Err(io::Error::other(format!("{lines} lines for {messages} messages")));
            }
        }
        client.quit("+OK").await?;
        Ok(took)
    })?;
    took.first().copied().ok_or_else(|| io::Error::other("no session"))
}

/// Messages that were fetched.
#[derive(Clone, Copy)]
pub(crate) struct Retrieved {
    pub(crate) octets: u64,
    pub(crate) seconds: f64,
}

/// RETR of all messages of the one mailbox, one command at a time.
pub(crate) fn retrieve(address: SocketAddr, messages: usize) -> io::Result<Retrieved> {
    let done = side_by_side(1, |_| async move {
        let mut client = login(address, 0).await?;
        let start = Instant::now();
        let mut all = 0;
        for number in 1..=messages {
            let (octets, _) = client.ask_all(format!("RETR {number}\r\n").as_bytes()).await?;
            all += octets;
        }
        let seconds = start.elapsed().as_secs_f64();
        client.quit("+OK").await?;
        Ok(Retrieved { octets: all, seconds })
    })?;
    done.first().copied().ok_or_else(|| io::Error::other("no session"))
}
