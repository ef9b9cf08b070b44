//! Plays a conversation: does what the file says, and lets nothing pass that the file does not expect.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::conversation::{Action, Conversation, Step};
use crate::folder::Folder;
use crate::reply::WayOn;
use crate::talk::{PATIENCE, Talk, Watcher, Wrong};
use crate::text::show_short;
use crate::wire::Wire;

/// Most lines of a listing that are read.
const LISTING_MAX_LINES: usize = 1_000_000;
/// Lines of the transcript that a report shows.
const TRANSCRIPT_LINES: usize = 40;

/// Plays a conversation over a wire, in whole pieces, with no folder.
///
/// # Errors
/// The first thing that went wrong.
pub fn play(conversation: &Conversation, wire: &mut dyn Wire) -> Result<(), Failure> {
    Player::new(wire).play(conversation)
}

/// Plays one conversation.
pub struct Player<'a> {
    wire: &'a mut dyn Wire,
    folder: Option<&'a mut dyn Folder>,
    watcher: Option<&'a mut dyn Watcher>,
    chunk_octets: Option<usize>,
    patience: Duration,
    goes_on: bool,
}

impl<'a> Player<'a> {
    /// A player over this wire, on which nothing is open.
    pub fn new(wire: &'a mut dyn Wire) -> Self {
        Self { wire, folder: None, watcher: None, chunk_octets: None, patience: PATIENCE, goes_on: false }
    }

    /// Gives it the server's DIR, for conversations that speak of files.
    #[must_use]
    pub fn folder(mut self, folder: &'a mut dyn Folder) -> Self {
        self.folder = Some(folder);
        self
    }

    /// Has somebody see what is said.
    #[must_use]
    pub fn watcher(mut self, watcher: &'a mut dyn Watcher) -> Self {
        self.watcher = Some(watcher);
        self
    }

    /// Cuts all that the client sends into pieces of so many octets.
    #[must_use]
    pub fn chunk(mut self, octets: usize) -> Self {
        self.chunk_octets = Some(octets);
        self
    }

    /// How long one expectation may take; [`PATIENCE`] when not said.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Goes on after a line with a wrong text; after a refusal, with the last that the client has to say. What leaves no
    /// way on (no line, a closed connection) still ends it.
    #[must_use]
    pub fn goes_on(mut self) -> Self {
        self.goes_on = true;
        self
    }

    /// Plays it. At its end every connection that is still open is closed by the client, and the server must then
    /// close it without another octet.
    ///
    /// # Errors
    /// The first thing that went wrong.
    pub fn play(self, conversation: &Conversation) -> Result<(), Failure> {
        let mut folder = self.folder;
        let mut talk = Talk::new(self.wire)
            .watcher(self.watcher)
            .chunk(self.chunk_octets)
            .patience(self.patience)
            .tolerant(self.goes_on);
        let mut first: Option<(usize, Wrong)> = None;
        let mut ended = false;
        let mut steps = conversation.steps.as_slice();
        while let Some((Step { line, action }, rest)) = steps.split_first() {
            steps = rest;
            // A `&mut` inside an `Option` is lent again for each step.
            let folder = folder.as_mut().map(|folder| &mut **folder as &mut dyn Folder);
            let result = act(action, &mut talk, folder);
            if let Some(stray) = talk.take_stray() {
                first.get_or_insert((*line, stray));
            }
            if let Err(wrong) = result {
                match wrong.way_on {
                    WayOn::Next if self.goes_on => {}
                    WayOn::Farewell if self.goes_on => steps = farewell(rest),
                    _ => (ended, steps) = (true, &[]),
                }
                first.get_or_insert((*line, wrong));
            }
        }
        if !ended && let Err(wrong) = talk.end() {
            let last_line = conversation.steps.last().map_or(0, |step| step.line);
            first.get_or_insert((last_line, wrong));
        }
        first.map_or(Ok(()), |(line, wrong)| {
            Err(Failure { file: conversation.file.clone(), line, wrong, transcript: talk.into_transcript() })
        })
    }
}

/// From the last that a client says on; all that is left if nothing more is said.
fn farewell(steps: &[Step]) -> &[Step] {
    let last = steps.iter().rposition(|step| matches!(step.action, Action::Send { .. }));
    &steps[last.unwrap_or(0)..]
}

/// Does what one line says.
fn act(action: &Action, talk: &mut Talk<'_>, folder: Option<&mut dyn Folder>) -> Result<(), Wrong> {
    match action {
        Action::Send { client, octets } => talk.send(*client, octets),
        Action::Line { client, pattern } => talk.line(*client, pattern).map(|_| ()),
        Action::Reply { client, codes } => talk.reply(*client, codes),
        Action::Listing { client } => listing(talk, *client),
        Action::Closed { client } => talk.closed(*client),
        Action::HalfClose { client } => talk.half_close(*client),
        Action::Drop { client } => talk.drop_client(*client),
        Action::Idle { client } => talk.idle(*client),
        Action::Stop => talk.stop(),
        // Without a folder, that a mailbox is there and empty is taken on trust: testers cannot look.
        Action::Write { octets, .. } if octets.is_empty() && folder.is_none() => Ok(()),
        Action::Write { .. } | Action::Append { .. } | Action::Special { .. } | Action::File { .. } => {
            let folder = folder.ok_or_else(|| Wrong::fatal("a folder", "none: this player cannot see DIR"))?;
            file(action, folder)
        }
    }
}

/// Reads lines up to a lone dot.
fn listing(talk: &mut Talk<'_>, client: usize) -> Result<(), Wrong> {
    for _ in 0..LISTING_MAX_LINES {
        let line = talk.line_that(client, "a line that ends in `<CR><LF>`", |line| line.ends_with(b"\r\n"))?;
        if line == b".\r\n" {
            return Ok(());
        }
    }
    Err(Wrong::fatal("a lone dot", format!("{LISTING_MAX_LINES} lines")))
}

/// Makes a file or looks at one.
fn file(action: &Action, folder: &mut dyn Folder) -> Result<(), Wrong> {
    let failed = |error: io::Error| Wrong::fatal("a file", error.to_string());
    match action {
        Action::Write { name, octets } => folder.write(name, octets).map_err(failed),
        Action::Append { name, octets } => folder.append(name, octets).map_err(failed),
        Action::Special { name, kind } => folder.special(name, kind).map_err(failed),
        Action::File { name, pattern } => {
            let got = match folder.read(name).map_err(failed)? {
                Some(octets) if pattern.matches(&octets) => return Ok(()),
                Some(octets) => format!("`{}`", show_short(&octets)),
                None => "no such file".to_owned(),
            };
            Err(Wrong::fatal(format!("{name} to be `{pattern}`"), got))
        }
        _ => Ok(()),
    }
}

/// Where and how a server departed from a conversation.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The conversation's file.
    pub file: PathBuf,
    /// The line in it.
    pub line: usize,
    /// What was expected there, and what came.
    pub wrong: Wrong,
    /// All that was said before.
    pub transcript: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}:{}:", self.file.display(), self.line)?;
        writeln!(f, "  expected {}", self.wrong.expected)?;
        writeln!(f, "  got      {}", self.wrong.got)?;
        writeln!(f, "  so far:")?;
        let skipped = self.transcript.len().saturating_sub(TRANSCRIPT_LINES);
        if skipped > 0 {
            writeln!(f, "    ... {skipped} lines before")?;
        }
        for line in &self.transcript[skipped..] {
            writeln!(f, "    {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}
