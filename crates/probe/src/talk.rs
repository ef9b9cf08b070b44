//! Talk with a server, line by line: what has come and was not expected yet, and what was wrong about it.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use crate::reply::{Code, Codes, ReplyLine, WayOn};
use crate::text::{Pattern, show_short};
use crate::wire::{Received, Wire};

/// How long one expectation may take to come true.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Longest line of an answer that is read, in octets.
const LINE_MAX_OCTETS: usize = 4 * 1024 * 1024;
/// Most lines of one SMTP reply that are read.
const REPLY_MAX_LINES: usize = 1000;

/// Sees what is said, as it is said.
pub trait Watcher {
    /// The client has sent octets.
    fn sent(&mut self, client: usize, octets: &[u8]);

    /// A line has come. `expected` says what should have come instead, when it is wrong.
    fn received(&mut self, client: usize, octets: &[u8], expected: Option<&str>);
}

/// What was expected, and what came. Its text is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What should have come.
    pub expected: String,
    /// What came.
    pub got: String,
    /// How the talk can go on.
    pub way_on: WayOn,
}

impl Wrong {
    /// Something after which the talk cannot go on.
    pub fn fatal(expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self { expected: expected.into(), got: got.into(), way_on: WayOn::None }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, got {}", self.expected, self.got)
    }
}

/// One connection as it looks from here.
#[derive(Default)]
struct Side {
    /// What has come and was not expected yet.
    inbox: Vec<u8>,
    /// The server has closed.
    closed: bool,
    /// We are done with it.
    over: bool,
}

/// Connections over a wire, with what came over them and a transcript.
pub struct Talk<'a> {
    wire: &'a mut dyn Wire,
    watcher: Option<&'a mut dyn Watcher>,
    sides: BTreeMap<usize, Side>,
    chunk_octets: Option<usize>,
    patience: Duration,
    transcript: Vec<String>,
    /// Whether octets that nobody expected are noted instead of ending the talk.
    tolerant: bool,
    /// The first of them.
    stray: Option<Wrong>,
}

impl<'a> Talk<'a> {
    /// Over this wire, with nothing open yet.
    pub fn new(wire: &'a mut dyn Wire) -> Self {
        Self {
            wire,
            watcher: None,
            sides: BTreeMap::new(),
            chunk_octets: None,
            patience: PATIENCE,
            transcript: Vec::new(),
            tolerant: false,
            stray: None,
        }
    }

    /// Has somebody see what is said.
    #[must_use]
    pub fn watcher(mut self, watcher: Option<&'a mut dyn Watcher>) -> Self {
        self.watcher = watcher;
        self
    }

    /// Cuts all that is sent into pieces of so many octets.
    #[must_use]
    pub fn chunk(mut self, octets: Option<usize>) -> Self {
        self.chunk_octets = octets;
        self
    }

    /// How long one expectation may take.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Notes octets that nobody expected and goes on, instead of refusing to send; see [`Talk::take_stray`].
    #[must_use]
    pub fn tolerant(mut self, tolerant: bool) -> Self {
        self.tolerant = tolerant;
        self
    }

    /// The first octets that nobody expected, once.
    pub fn take_stray(&mut self) -> Option<Wrong> {
        self.stray.take()
    }

    /// All that was said so far, for people.
    #[must_use]
    pub fn into_transcript(self) -> Vec<String> {
        self.transcript
    }

    /// Sends octets, after a look that nothing has come on any connection that was not expected.
    ///
    /// # Errors
    /// When something has, or the wire fails.
    pub fn send(&mut self, client: usize, octets: &[u8]) -> Result<(), Wrong> {
        self.side(client)?;
        self.nothing_unexpected()?;
        self.note(client, "C", octets);
        if let Some(watcher) = self.watcher.as_deref_mut() {
            watcher.sent(client, octets);
        }
        for chunk in octets.chunks(self.chunk_octets.unwrap_or(octets.len()).max(1)) {
            self.wire.send(client, chunk).map_err(|error| wire("the server takes what is sent", &error))?;
        }
        Ok(())
    }

    /// Reads one line, its line end included, and compares it.
    ///
    /// # Errors
    /// When it is another, or none comes.
    pub fn line(&mut self, client: usize, pattern: &Pattern) -> Result<Vec<u8>, Wrong> {
        self.line_that(client, &format!("`{pattern}`"), |line| pattern.matches(line))
    }

    /// Reads one line, its line end included, and has it judged; `expected` is for people.
    ///
    /// # Errors
    /// When it is wrong, or none comes.
    pub fn line_that(
        &mut self,
        client: usize,
        expected: &str,
        right: impl FnOnce(&[u8]) -> bool,
    ) -> Result<Vec<u8>, Wrong> {
        let deadline = Instant::now() + self.patience;
        let end = loop {
            let inbox = &self.side(client)?.inbox;
            if let Some(end) = inbox.iter().position(|&octet| octet == b'\n') {
                break end + 1;
            }
            let begun = format!("`{}`", show_short(inbox));
            if inbox.len() > LINE_MAX_OCTETS {
                return Err(self.missed(client, Wrong::fatal(expected, format!("a line without end, {begun}"))));
            }
            let left_over = if inbox.is_empty() { String::new() } else { format!(" behind {begun}") };
            match self.receive(client, Some(deadline))? {
                Received::Octets(_) => {}
                Received::Closed => {
                    let wrong = Wrong::fatal(expected, format!("the end of the connection{left_over}"));
                    return Err(self.missed(client, wrong));
                }
                Received::Nothing => {
                    return Err(self.missed(client, Wrong::fatal(expected, format!("nothing more{left_over}"))));
                }
            }
        };
        let line: Vec<u8> = self.side(client)?.inbox.drain(..end).collect();
        self.note(client, "S", &line);
        let is_right = right(&line);
        if let Some(watcher) = self.watcher.as_deref_mut() {
            watcher.received(client, &line, (!is_right).then_some(expected));
        }
        match is_right {
            true => Ok(line),
            false => {
                let got = format!("`{}`", show_short(&line));
                Err(Wrong { expected: expected.to_owned(), got, way_on: WayOn::Next })
            }
        }
    }

    /// Reads one SMTP reply, all lines of it, and compares its code.
    ///
    /// # Errors
    /// When it is another, is malformed, or does not come.
    pub fn reply(&mut self, client: usize, codes: &Codes) -> Result<(), Wrong> {
        let mut code: Option<Code> = None;
        let mut first: Option<Wrong> = None;
        for _ in 0..REPLY_MAX_LINES {
            let expected = match code {
                Some(code) if codes.contains(code) => {
                    format!("`{}` again, as in the line before", String::from_utf8_lossy(&code))
                }
                _ => codes.to_string(),
            };
            let mut line = None;
            let judged = self.line_that(client, &expected, |octets| {
                let read = line.insert(ReplyLine::read(octets));
                read.is_sound && read.code.is_some_and(|got| codes.contains(got) && code.is_none_or(|code| code == got))
            });
            // What can be done now depends on the reply as a whole: on the code of its first line.
            if let Err(wrong) = judged {
                let Some(line) = line else { return Err(first.unwrap_or(wrong)) };
                let got = code.or(line.code);
                let is_wanted = got.is_some_and(|got| codes.contains(got));
                let way_on = if is_wanted { WayOn::Next } else { codes.way_on(got) };
                first.get_or_insert(Wrong { way_on, ..wrong });
            }
            if !line.is_some_and(|line| line.goes_on) {
                return first.map_or(Ok(()), Err);
            }
            code = code.or(line.and_then(|line| line.code));
        }
        Err(Wrong::fatal("the end of a reply", format!("{REPLY_MAX_LINES} lines")))
    }

    /// Waits for the server to end the connection; nothing may come before that.
    ///
    /// # Errors
    /// When something does, or the connection stays open.
    pub fn closed(&mut self, client: usize) -> Result<(), Wrong> {
        const EXPECTED: &str = "the end of the connection";
        let deadline = Instant::now() + self.patience;
        loop {
            let inbox = &self.side(client)?.inbox;
            if !inbox.is_empty() {
                let octets = inbox.clone();
                self.note(client, "S", &octets);
                if let Some(watcher) = self.watcher.as_deref_mut() {
                    watcher.received(client, &octets, Some(EXPECTED));
                }
                return Err(Wrong::fatal(EXPECTED, format!("`{}`", show_short(&octets))));
            }
            match self.receive(client, Some(deadline))? {
                Received::Octets(_) => {}
                Received::Closed => break,
                Received::Nothing => return Err(Wrong::fatal(EXPECTED, "an open connection")),
            }
        }
        self.side(client)?.over = true;
        self.transcript.push(format!("{} is closed", name("S", client)));
        Ok(())
    }

    /// The client ends its side.
    ///
    /// # Errors
    /// When something unexpected has come, or the wire fails.
    pub fn half_close(&mut self, client: usize) -> Result<(), Wrong> {
        self.side(client)?;
        self.nothing_unexpected()?;
        self.transcript.push(format!("{} ends its side", name("C", client)));
        self.wire.half_close(client).map_err(|error| wire("a connection to end", &error))
    }

    /// The client goes away, whatever is still to come.
    ///
    /// # Errors
    /// When the wire fails.
    pub fn drop_client(&mut self, client: usize) -> Result<(), Wrong> {
        self.side(client)?.over = true;
        self.transcript.push(format!("{} goes away", name("C", client)));
        self.wire.drop_client(client).map_err(|error| wire("a connection to drop", &error))
    }

    /// The client is silent until its time is over.
    ///
    /// # Errors
    /// When something unexpected has come, or the wire has no clock.
    pub fn idle(&mut self, client: usize) -> Result<(), Wrong> {
        self.side(client)?;
        self.nothing_unexpected()?;
        self.transcript.push(format!("{} is idle", name("C", client)));
        self.wire.idle(client).map_err(|error| wire("a clock to move", &error))
    }

    /// The server is asked to stop.
    ///
    /// # Errors
    /// When something unexpected has come, or the server is not ours.
    pub fn stop(&mut self) -> Result<(), Wrong> {
        self.nothing_unexpected()?;
        self.transcript.push("the server is asked to stop".to_owned());
        self.wire.stop().map_err(|error| wire("a server to stop", &error))
    }

    /// Ends every connection that is still open; the servers must then close without another octet.
    ///
    /// # Errors
    /// When they do otherwise.
    pub fn end(&mut self) -> Result<(), Wrong> {
        let open: Vec<usize> = self.sides.iter().filter(|(_, side)| !side.over).map(|(&client, _)| client).collect();
        for client in open {
            self.half_close(client)?;
            self.closed(client)?;
        }
        Ok(())
    }

    /// The connection, opened at its first use.
    fn side(&mut self, client: usize) -> Result<&mut Side, Wrong> {
        if !self.sides.contains_key(&client) {
            self.wire.open(client).map_err(|error| wire("a connection", &error))?;
        }
        let side = self.sides.entry(client).or_default();
        match side.over {
            false => Ok(side),
            true => Err(Wrong::fatal("an open connection", "one that has ended before")),
        }
    }

    /// Takes in what has come on all connections; all of it must have been expected by now.
    fn nothing_unexpected(&mut self) -> Result<(), Wrong> {
        let clients: Vec<usize> = self.sides.iter().filter(|(_, side)| !side.over).map(|(&client, _)| client).collect();
        for client in clients {
            if !self.side(client)?.closed {
                self.receive(client, None)?;
            }
            let octets = std::mem::take(&mut self.side(client)?.inbox);
            if octets.is_empty() {
                continue;
            }
            self.note(client, "S", &octets);
            if let Some(watcher) = self.watcher.as_deref_mut() {
                watcher.received(client, &octets, Some("nothing"));
            }
            let wrong = Wrong::fatal("nothing", format!("`{}`", show_short(&octets)));
            if !self.tolerant {
                return Err(wrong);
            }
            self.stray.get_or_insert(wrong);
        }
        Ok(())
    }

    /// Takes in what has come on one connection.
    fn receive(&mut self, client: usize, deadline: Option<Instant>) -> Result<Received, Wrong> {
        let received = self.wire.receive(client, deadline).map_err(|error| wire("an answer", &error))?;
        let side = self.side(client)?;
        match &received {
            Received::Octets(octets) => side.inbox.extend(octets),
            Received::Closed => side.closed = true,
            Received::Nothing => {}
        }
        Ok(received)
    }

    /// Shows the part of a line that came, if any, and hands the complaint on.
    fn missed(&mut self, client: usize, wrong: Wrong) -> Wrong {
        let part = self.sides.get(&client).map(|side| side.inbox.clone()).unwrap_or_default();
        if !part.is_empty() {
            self.note(client, "S", &part);
        }
        if let Some(watcher) = self.watcher.as_deref_mut() {
            watcher.received(client, &part, Some(&wrong.expected));
        }
        wrong
    }

    fn note(&mut self, client: usize, who: &str, octets: &[u8]) {
        self.transcript.push(format!("{}: {}", name(who, client), show_short(octets)));
    }
}

fn name(who: &str, client: usize) -> String {
    match client {
        1 => who.to_owned(),
        _ => format!("{who}{client}"),
    }
}

fn wire(expected: &str, error: &io::Error) -> Wrong {
    Wrong::fatal(expected, error.to_string())
}
