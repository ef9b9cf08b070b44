//! The transcript of `-v`: what clients and server say, on stderr (C-C8).

use std::fmt;
use std::io::{self, Write};
use std::mem;
use std::os::fd::RawFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use pillarbox_proto::{Entry, shown};

/// Octets of transcript that wait for a slow reader. Beyond it whole lines are left out, and counted.
pub const TRANSCRIPT_MAX_OCTETS: usize = 4 * 1024 * 1024;

/// Writes lines from all connections, whole ones only, without ever making a connection wait: a thread of its own
/// does the writing, so a reader of stderr that is slow or gone stops nothing.
#[derive(Clone)]
pub struct Transcript {
    shared: Arc<Shared>,
}

struct Shared {
    waiting: Mutex<Waiting>,
    /// Told when there is something to write, and when it is written.
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    octets: Vec<u8>,
    left_out: u64,
    writing: bool,
}

impl Transcript {
    /// A transcript on stderr.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn on_stderr() -> io::Result<Self> {
        Self::on(io::stderr())
    }

    /// A transcript that goes to `writer`. Its errors are not ours to handle: there is nobody left to tell.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn on(mut writer: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared { waiting: Mutex::default(), changed: Condvar::new() });
        let ours = Arc::clone(&shared);
        thread::Builder::new().name("transcript".to_owned()).spawn(move || {
            let mut waiting = ours.lock();
            loop {
                waiting.writing = false;
                ours.changed.notify_all();
                while waiting.octets.is_empty() && waiting.left_out == 0 {
                    waiting = ours.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                }
                let mut octets = mem::take(&mut waiting.octets);
                let left_out = mem::take(&mut waiting.left_out);
                waiting.writing = true;
                drop(waiting);
                if left_out > 0 {
                    let _ = writeln!(octets, "[-] {left_out} lines left out: they are not read fast enough");
                }
                let _ = writer.write_all(&octets).and_then(|()| writer.flush());
                waiting = ours.lock();
            }
        })?;
        Ok(Self { shared })
    }

    /// A line that belongs to no connection.
    pub fn note(&self, text: fmt::Arguments<'_>) {
        self.line(&shown(text.to_string().as_bytes()));
    }

    fn line(&self, line: &str) {
        let mut waiting = self.shared.lock();
        if waiting.left_out > 0 || waiting.octets.len() + line.len() > TRANSCRIPT_MAX_OCTETS {
            waiting.left_out += 1;
        } else {
            waiting.octets.extend_from_slice(line.as_bytes());
            waiting.octets.push(b'\n');
        }
        drop(waiting);
        self.shared.changed.notify_all();
    }

    /// Whether lines are left out now; these are then, and cost no more than being counted.
    fn leaves_out(&self, lines: usize) -> bool {
        let mut waiting = self.shared.lock();
        if waiting.left_out == 0 {
            return false;
        }
        waiting.left_out += lines as u64;
        true
    }

    /// Waits until everything is written, but no longer than `patience`.
    pub fn finish(&self, patience: Duration) {
        let waiting = self.shared.lock();
        let unfinished = |waiting: &mut Waiting| waiting.writing || !waiting.octets.is_empty() || waiting.left_out > 0;
        drop(self.shared.changed.wait_timeout_while(waiting, patience, unfinished));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A panic elsewhere leaves nothing half done in here.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one connection writes into the transcript; nothing at all without `-v`.
#[derive(Clone)]
pub struct Log {
    transcript: Option<Transcript>,
    connection: RawFd,
    /// Which side we are: what we say is marked so, what we hear with the other letter.
    side: Side,
}

#[derive(Clone, Copy)]
enum Side {
    Server,
    Client,
}

impl Log {
    /// The log of the connection with this descriptor.
    #[must_use]
    pub fn new(transcript: Option<Transcript>, connection: RawFd) -> Self {
        Self { transcript, connection, side: Side::Server }
    }

    /// The log of a connection on which we are the client: `C` is what we say (C-F3).
    #[must_use]
    pub fn of_client(transcript: Option<Transcript>, connection: RawFd) -> Self {
        Self { transcript, connection, side: Side::Client }
    }

    /// A log that keeps nothing.
    #[must_use]
    pub fn silent() -> Self {
        Self::new(None, -1)
    }

    /// Whether anybody listens.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.transcript.is_some()
    }

    /// `[N] <text>`: what happened to the connection, or went wrong behind it.
    pub fn note(&self, text: fmt::Arguments<'_>) {
        if let Some(transcript) = &self.transcript {
            transcript.line(&format!("[{}] {}", self.connection, shown(text.to_string().as_bytes())));
        }
    }

    /// `[N] C: <text>` and `[N] S: <text>`: what was said on the connection.
    pub fn entries(&self, entries: impl IntoIterator<IntoIter: ExactSizeIterator<Item = Entry>>) {
        let Some(transcript) = &self.transcript else { return };
        let entries = entries.into_iter();
        if transcript.leaves_out(entries.len()) {
            return;
        }
        let (we, they) = match self.side {
            Side::Server => ('S', 'C'),
            Side::Client => ('C', 'S'),
        };
        for entry in entries {
            let (who, text) = match entry {
                Entry::Heard(text) => (they, shown(&text)),
                Entry::HeardOctets(octets) => (they, format!("<{octets} octets>")),
                Entry::Said(text) => (we, shown(&text)),
                Entry::SaidOctets(octets) => (we, format!("<{octets} octets>")),
            };
            transcript.line(&format!("[{}] {who}: {text}", self.connection));
        }
    }
}

#[cfg(test)]
#[path = "transcript/tests.rs"]
mod tests;
