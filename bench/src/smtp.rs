//! Mail that is sent.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::client::{Client, side_by_side};
use crate::mail;

/// What became of the mail.
#[derive(Default)]
pub(crate) struct Sent {
    /// The numbers of the messages that were answered `250`.
    pub(crate) accepted: Vec<usize>,
    pub(crate) refused: usize,
    /// From MAIL to the last `250`.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) seconds: f64,
}

/// Sends up to `messages` over so many sessions, in turn to so many mailboxes, for as long as `limit`. No pipelining.
pub(crate) fn send(
    address: SocketAddr,
    sessions: usize,
    mailboxes: usize,
    messages: usize,
    octets: usize,
    limit: Duration,
) -> io::Result<Sent> {
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let sessions = side_by_side(sessions, |_| {
        let next = Arc::clone(&next);
        async move {
            let mut client = Client::connect(address, "220").await?;
            client.ask(b"HELO load\r\n", "250").await?;
            let mut sent = Sent::default();
            while start.elapsed() < limit {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= messages {
                    break;
                }
                let began = Instant::now();
                match message(&mut client, number, number % mailboxes, octets).await {
                    Ok(()) => sent.accepted.push(number),
                    Err(error) => {
                        eprintln!("message {number}: {error}");
                        sent.refused += 1;
                    }
                }
                sent.latencies.push(began.elapsed());
                sent.seconds = start.elapsed().as_secs_f64();
            }
            client.quit("221").await?;
            Ok(sent)
        }
    })?;
    let mut all = Sent::default();
    for sent in sessions {
        all.accepted.extend(sent.accepted);
        all.refused += sent.refused;
        all.latencies.extend(sent.latencies);
        all.seconds = all.seconds.max(sent.seconds);
    }
    Ok(all)
}

async fn message(client: &mut Client, number: usize, mailbox: usize, octets: usize) -> io::Result<()> {
    client.ask(b"MAIL FROM:<load@localhost>\r\n", "250").await?;
    client.ask(format!("RCPT TO:<u{mailbox}@localhost>\r\n").as_bytes(), "250").await?;
    client.ask(b"DATA\r\n", "354").await?;
    let mut text = mail::text(number, octets);
    text.push_str(".\r\n");
    client.ask(text.as_bytes(), "250").await
}
