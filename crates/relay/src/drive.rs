//! The driver: runs one client session over one connection to its end.
//!
//! The time limits of RFC 5321 §4.5.3.2 are here: each covers a whole reply or a whole block, however many pieces it
//! comes or goes in.

use std::io;
use std::time::Duration;

use pillarbox_proto::Entry;
use pillarbox_proto::client::{Client, Todo, limits};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use crate::source::Source;

/// Octets read at once. Replies are short.
const READ_OCTETS: usize = 4 * 1024;

/// Octets that the peer must take within [`limits::BLOCK`].
pub(crate) const BLOCK_OCTETS: usize = 64 * 1024;

/// How far a session came. It decides whether another host may be tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The greeting was an invitation to go on.
    pub(crate) welcomed: bool,
    /// The final dot has left us.
    pub(crate) dot_sent: bool,
    /// The peer has replied to it.
    pub(crate) dot_answered: bool,
    /// The text could not be read.
    pub(crate) unreadable: bool,
    /// The text was read to its end: what is sent next ends in the final dot.
    pub(crate) text_over: bool,
}

impl Progress {
    /// Whether the peer may have the message without our knowing: it must not be given to another host then, for its
    /// recipients would have it twice (RFC 5321 §4.2.5, RFC 1047).
    pub(crate) fn in_doubt(self) -> bool {
        self.dot_sent && !self.dot_answered
    }

    fn note(&mut self, entry: &Entry) {
        match entry {
            Entry::Said(line) if line != b"QUIT" => self.welcomed = true,
            Entry::SaidOctets(_) => self.text_over = true,
            Entry::Heard(_) if self.text_over => self.dot_answered = true,
            Entry::Said(_) | Entry::Heard(_) | Entry::HeardOctets(_) => {}
        }
    }
}

/// Runs a session to its end; `client` then knows what became of each recipient. `cap` bounds every time limit.
pub(crate) async fn drive(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    client: &mut Client,
    source: &mut impl Source,
    cap: Option<Duration>,
    note: impl Fn(Entry),
) -> Progress {
    let capped = |limit: Duration| cap.map_or(limit, |cap| cap.min(limit));
    let mut progress = Progress::default();
    let mut space = [0; READ_OCTETS];
    let mut awaited = None;
    let mut ends = Instant::now();
    loop {
        let todo = client.todo();
        for entry in client.take_transcript() {
            progress.note(&entry);
            note(entry);
        }
        match todo {
            Todo::Send(octets) => match send(io, &octets, capped(limits::BLOCK)).await {
                Ok(()) => progress.dot_sent = progress.text_over,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => client.timed_out(),
                Err(error) => {
                    // A peer that has hung up may have said why.
                    if let Ok(Ok(read)) = timeout(capped(limits::QUIT), io.read(&mut space)).await {
                        client.received(&space[..read]);
                    }
                    client.lost(&error.to_string());
                }
            },
            Todo::Receive { within, reply } => {
                if awaited != Some(reply) {
                    awaited = Some(reply);
                    ends = Instant::now() + capped(within);
                }
                match timeout_at(ends, io.read(&mut space)).await {
                    Ok(Ok(0)) => client.lost("closed by the peer"),
                    Ok(Ok(read)) => client.received(&space[..read]),
                    Ok(Err(error)) => client.lost(&error.to_string()),
                    Err(_elapsed) => client.timed_out(),
                }
            }
            Todo::Text => match source.next().await {
                Ok(Some(octets)) => client.text(&octets),
                Ok(None) => client.text_ends(),
                Err(error) => {
                    progress.unreadable = true;
                    client.text_fails(&format!("the text cannot be read: {error}"));
                }
            },
            Todo::Close => return progress,
        }
    }
}

/// Sends everything, block by block; the peer must take each within `patience`.
async fn send(io: &mut (impl AsyncWrite + Unpin), octets: &[u8], patience: Duration) -> io::Result<()> {
    for block in octets.chunks(BLOCK_OCTETS) {
        let sent = async {
            io.write_all(block).await?;
            io.flush().await
        };
        timeout(patience, sent).await.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
