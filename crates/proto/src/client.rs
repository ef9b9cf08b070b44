//! The SMTP client session: brings one message to one host (RFC 5321 §3, with PIPELINING of RFC 2920).
//!
//! Like the servers' sessions it owns no socket, clock or file. Whoever drives it does what [`Client::todo`] says,
//! feeds the text when asked, and reads from [`Client::into_outcomes`] what became of each recipient.
//!
//! ```text
//!   Greeting ──▶ Ehlo ──▶ Envelope ──▶ Data ──▶ Text ──▶ Dot ──▶ Quit ──▶ Closed
//!       │          ╰─▶ Helo ─╯  (5yz)   no recipient taken ────────▲
//!       ╰── refused, lost, silent, not SMTP: every recipient without an outcome gets that one ──▶ Quit or Closed
//! ```
//!
//! A hostile peer costs bounded memory and time: reply lines and their number are limited, and the time limit of a
//! reply covers all of it, however slowly its octets come.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use memchr::memchr;

use crate::address::{Address, Envelope};
use crate::data::DotStuffer;
use crate::replies::Entry;

/// Longest reply line, in octets, line end included. RFC 5321 §4.5.3.1.5 allows 512.
pub const REPLY_LINE_MAX_OCTETS: usize = 2048;

/// Most lines of one reply. The longest that are meant well answer EHLO, with a line for each extension.
pub const REPLY_LINES_MAX: usize = 100;

/// Longest text of an [`Outcome`]: of a longer reply the beginning is kept, because each recipient keeps one.
pub const OUTCOME_MAX_OCTETS: usize = 512;

/// So much of a reply's text is shown, with room for its code and for what is said about it.
const REPLY_SHOWN_MAX_OCTETS: usize = OUTCOME_MAX_OCTETS - 64;

/// Commands sent ahead of their replies, where PIPELINING is offered. Bounded, so that neither side's replies fill
/// the other's buffers.
pub const PIPELINED_MAX: usize = 50;

/// Time limits of RFC 5321 §4.5.3.2, from asking to the end of the reply.
pub mod limits {
    use std::time::Duration;

    /// The greeting.
    pub const GREETING: Duration = Duration::from_secs(5 * 60);
    /// EHLO, HELO, MAIL and RCPT.
    pub const COMMAND: Duration = Duration::from_secs(5 * 60);
    /// DATA, until 354.
    pub const DATA: Duration = Duration::from_secs(2 * 60);
    /// A block of the text, until the peer has taken it.
    pub const BLOCK: Duration = Duration::from_secs(3 * 60);
    /// The final dot, until 250.
    pub const DOT: Duration = Duration::from_secs(10 * 60);
    /// QUIT: nothing depends on its reply, and what became of the message is recorded only when the session is over.
    pub const QUIT: Duration = Duration::from_secs(1);
}

/// What the driver of a client session does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Todo {
    /// Send these octets; the peer must take them within [`limits::BLOCK`].
    Send(Vec<u8>),
    /// Wait for octets and call [`Client::received`], [`Client::lost`] or [`Client::timed_out`].
    Receive {
        /// How long the whole reply may take.
        within: Duration,
        /// Which reply is waited for: the limit starts anew when this changes.
        reply: u64,
    },
    /// Call [`Client::text`] with the next octets of the text, or [`Client::text_ends`].
    Text,
    /// Close the connection.
    Close,
}

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The peer has taken responsibility for it.
    Delivered(String),
    /// Not now: 4yz, a lost connection, silence. Another host or another time may take it.
    Deferred(String),
    /// Not at all: 5yz.
    Failed(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered(what) => write!(f, "delivered: {what}"),
            Self::Deferred(what) => write!(f, "deferred: {what}"),
            Self::Failed(what) => write!(f, "failed: {what}"),
        }
    }
}

/// A reply of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reply {
    code: u16,
    /// The texts of its lines.
    lines: Vec<String>,
}

impl Reply {
    fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// The outcome of whoever this refused.
    fn refusal(&self) -> Outcome {
        if self.code / 100 == 5 { Outcome::Failed(self.to_string()) } else { Outcome::Deferred(self.to_string()) }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.lines.join(" ");
        // All of it is US-ASCII: any octet is the end of a character.
        write!(f, "{} {}", self.code, &text[..text.len().min(REPLY_SHOWN_MAX_OCTETS)])
    }
}

/// What a reply answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Greeting,
    Ehlo,
    Helo,
    Mail,
    Rcpt(usize),
    Data,
    Dot,
    Quit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Until the peer has answered EHLO or HELO.
    Opening,
    /// MAIL and RCPT are being said; so many RCPTs are out.
    Envelope { said: usize },
    /// DATA is said, or the dot: only the reply matters.
    Waiting,
    /// 354 was said.
    Text,
    /// The transaction is over.
    Over,
    /// There is nothing more to say or hear.
    Closed,
}

/// A client session for one message.
#[derive(Debug)]
pub struct Client {
    hello: String,
    reverse_path: String,
    recipients: Vec<(Address, Option<Outcome>)>,
    text_octets: u64,
    state: State,
    asked: VecDeque<Asked>,
    extensions: Extensions,
    replies: ReplyReader,
    out: Vec<u8>,
    stuffer: DotStuffer,
    bare_cr: CrReplacer,
    reply: u64,
    transcript: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Extensions {
    pipelining: bool,
    eight_bit_mime: bool,
    size: bool,
}

impl Client {
    /// A session that calls itself `hello` (a domain or address literal) and brings a text of `text_octets` octets to
    /// the recipients of `envelope`, which all belong to the host it talks to.
    #[must_use]
    pub fn new(hello: &str, envelope: &Envelope, text_octets: u64) -> Self {
        Self {
            hello: hello.to_owned(),
            reverse_path: envelope.reverse_path.to_string(),
            recipients: envelope.forward_paths.iter().map(|path| (path.clone(), None)).collect(),
            text_octets,
            state: State::Opening,
            asked: VecDeque::from([Asked::Greeting]),
            extensions: Extensions::default(),
            replies: ReplyReader::default(),
            out: Vec::new(),
            stuffer: DotStuffer::default(),
            bare_cr: CrReplacer::default(),
            reply: 0,
            transcript: Vec::new(),
        }
    }

    /// What to do next.
    pub fn todo(&mut self) -> Todo {
        if let State::Envelope { .. } = self.state {
            self.say_envelope();
        }
        if !self.out.is_empty() {
            return Todo::Send(std::mem::take(&mut self.out));
        }
        if self.state == State::Closed {
            return Todo::Close;
        }
        match self.asked.front() {
            Some(asked) => Todo::Receive { within: asked.limit(), reply: self.reply },
            None if self.state == State::Text => Todo::Text,
            None => Todo::Close,
        }
    }

    /// Takes octets from the peer.
    pub fn received(&mut self, octets: &[u8]) {
        self.replies.push(octets);
        while self.state != State::Closed {
            match self.replies.cut() {
                Ok(None) => return,
                Ok(Some(reply)) => {
                    self.reply += 1;
                    for line in &reply.lines {
                        self.transcript.push(Entry::Heard(format!("{} {line}", reply.code).into_bytes()));
                    }
                    match self.asked.pop_front() {
                        Some(asked) => self.answered(asked, &reply),
                        // 421 may come at any time (RFC 5321 §3.8); anything else is out of order.
                        None => self.close(&Outcome::Deferred(format!("unexpected reply: {reply}"))),
                    }
                }
                Err(what) => self.close(&Outcome::Deferred(what.to_owned())),
            }
        }
    }

    /// The connection was lost, or the peer has closed it.
    pub fn lost(&mut self, why: &str) {
        let what = match self.asked.front() {
            Some(Asked::Dot) => "connection lost before the reply to the final dot",
            _ => "connection lost",
        };
        self.close(&Outcome::Deferred(format!("{what}: {why}")));
    }

    /// The reply did not come in time, or the peer takes nothing.
    pub fn timed_out(&mut self) {
        self.close(&Outcome::Deferred("no reply in time".to_owned()));
    }

    /// Takes the next octets of the text, CR LF line ends, dots not doubled. A bare CR becomes a space (C-S7): no
    /// server may take it for a line end.
    pub fn text(&mut self, octets: &[u8]) {
        if self.state == State::Text {
            let replaced = self.bare_cr.replace(octets);
            self.stuffer.stuff(&replaced, &mut self.out);
        }
    }

    /// The text is complete: the final dot is said.
    pub fn text_ends(&mut self) {
        if self.state == State::Text {
            let last = std::mem::take(&mut self.bare_cr).end();
            self.stuffer.stuff(last, &mut self.out);
            std::mem::take(&mut self.stuffer).end(&mut self.out);
            self.transcript.push(Entry::SaidOctets(self.text_octets));
            self.asked.push_back(Asked::Dot);
            self.state = State::Waiting;
        }
    }

    /// The text cannot be read to its end: the connection is to be closed before the final dot, so that the peer has
    /// no message.
    pub fn text_fails(&mut self, why: &str) {
        self.out.clear();
        self.close(&Outcome::Deferred(why.to_owned()));
    }

    /// What was said and heard since the last call. `Said` is what we sent.
    pub fn take_transcript(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.transcript)
    }

    /// Whether every recipient has an outcome: nothing that may still come matters to the message.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.recipients.iter().all(|(_, outcome)| outcome.is_some())
    }

    /// What became of each recipient, in the order of the envelope.
    #[must_use]
    pub fn into_outcomes(self) -> Vec<(Address, Outcome)> {
        let unfinished = || Outcome::Deferred("not finished".to_owned());
        let recipients = self.recipients.into_iter();
        recipients.map(|(address, outcome)| (address, outcome.unwrap_or_else(unfinished))).collect()
    }

    fn answered(&mut self, asked: Asked, reply: &Reply) {
        // The peer goes away, whatever it was asked (RFC 5321 §3.8).
        if reply.code == 421 && asked != Asked::Quit {
            if let Asked::Rcpt(index) = asked {
                self.recipients[index].1 = Some(reply.refusal());
            }
            return self.close(&reply.refusal());
        }
        match asked {
            Asked::Greeting if reply.code == 220 => self.command(Asked::Ehlo, &format!("EHLO {}", self.hello)),
            Asked::Ehlo if reply.is_positive() => {
                self.extensions = Extensions::parse(reply);
                self.open_transaction();
            }
            // An older server (RFC 5321 §3.2).
            Asked::Ehlo if reply.code / 100 == 5 => self.command(Asked::Helo, &format!("HELO {}", self.hello)),
            Asked::Helo if reply.is_positive() => self.open_transaction(),
            Asked::Greeting | Asked::Ehlo | Asked::Helo => self.give_up(reply),
            Asked::Mail if !reply.is_positive() => self.settle(&reply.refusal()),
            Asked::Mail => {}
            Asked::Rcpt(index) if !reply.is_positive() => {
                // Said of a recipient, 552 means too many of them, and another time they may be taken (RFC 5321
                // §4.5.3.1.10).
                let refusal = if reply.code == 552 { Outcome::Deferred(reply.to_string()) } else { reply.refusal() };
                // A refusal of MAIL that was pipelined before has settled it already, and says more.
                self.recipients[index].1.get_or_insert(refusal);
            }
            Asked::Rcpt(_) => {}
            Asked::Data if reply.code == 354 => self.state = State::Text,
            Asked::Data => self.give_up(reply),
            Asked::Dot => {
                let outcome = if reply.is_positive() { Outcome::Delivered(reply.to_string()) } else { reply.refusal() };
                self.settle(&outcome);
                self.quit();
            }
            Asked::Quit => self.state = State::Closed,
        }
    }

    fn open_transaction(&mut self) {
        let mut mail = format!("MAIL FROM:{}", self.reverse_path);
        if self.extensions.size {
            mail += &format!(" SIZE={}", self.text_octets);
        }
        if self.extensions.eight_bit_mime {
            // The text is not looked at; whatever it holds, the peer is told to keep it (RFC 6152 §3).
            mail += " BODY=8BITMIME";
        }
        self.command(Asked::Mail, &mail);
        self.state = State::Envelope { said: 0 };
    }

    /// Says RCPT for the next recipients: one after another, or ahead of the replies where the peer lets us. DATA
    /// waits for all of them: a peer that refuses every recipient must not be sent a text.
    fn say_envelope(&mut self) {
        while let State::Envelope { said } = self.state {
            let window = if self.extensions.pipelining { PIPELINED_MAX } else { 1 };
            if self.asked.len() >= window {
                return;
            }
            // A refused MAIL has settled everybody: nothing is left to ask for.
            if said < self.recipients.len() && self.recipients[said].1.is_none() {
                let command = format!("RCPT TO:<{}>", self.recipients[said].0);
                self.command(Asked::Rcpt(said), &command);
                self.state = State::Envelope { said: said + 1 };
            } else if said < self.recipients.len() {
                self.state = State::Envelope { said: said + 1 };
            } else if self.asked.is_empty() {
                if self.is_settled() {
                    self.quit();
                } else {
                    self.state = State::Waiting;
                    self.command(Asked::Data, "DATA");
                }
            } else {
                return;
            }
        }
    }

    fn command(&mut self, asked: Asked, line: &str) {
        self.transcript.push(Entry::Said(line.as_bytes().to_vec()));
        self.out.extend_from_slice(line.as_bytes());
        self.out.extend_from_slice(b"\r\n");
        self.asked.push_back(asked);
    }

    /// Gives this outcome to every recipient that has none.
    fn settle(&mut self, outcome: &Outcome) {
        for (_, without) in self.recipients.iter_mut().filter(|(_, outcome)| outcome.is_none()) {
            *without = Some(outcome.clone());
        }
    }

    /// The peer refuses us as a whole: everybody who is not settled gets that, and we part politely.
    fn give_up(&mut self, reply: &Reply) {
        self.settle(&reply.refusal());
        self.quit();
    }

    fn quit(&mut self) {
        self.state = State::Over;
        self.command(Asked::Quit, "QUIT");
    }

    /// Nothing more can be said.
    fn close(&mut self, outcome: &Outcome) {
        self.settle(outcome);
        self.state = State::Closed;
        self.asked.clear();
    }
}

impl Asked {
    fn limit(self) -> Duration {
        match self {
            Self::Greeting => limits::GREETING,
            Self::Ehlo | Self::Helo | Self::Mail | Self::Rcpt(_) => limits::COMMAND,
            Self::Data => limits::DATA,
            Self::Dot => limits::DOT,
            Self::Quit => limits::QUIT,
        }
    }
}

impl Extensions {
    /// Reads the lines behind the first of a reply to EHLO (RFC 5321 §4.1.1.1).
    fn parse(reply: &Reply) -> Self {
        let mut extensions = Self::default();
        for line in reply.lines.iter().skip(1) {
            match line.split(' ').next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "PIPELINING" => extensions.pipelining = true,
                "8BITMIME" => extensions.eight_bit_mime = true,
                "SIZE" => extensions.size = true,
                _ => {}
            }
        }
        extensions
    }
}

/// Puts reply lines together (RFC 5321 §4.2.1).
#[derive(Debug, Default)]
struct ReplyReader {
    waiting: Vec<u8>,
    lines: Vec<String>,
    code: Option<u16>,
}

impl ReplyReader {
    fn push(&mut self, octets: &[u8]) {
        self.waiting.extend_from_slice(octets);
    }

    /// The next whole reply; an error says why what came is none.
    fn cut(&mut self) -> Result<Option<Reply>, &'static str> {
        while let Some(end) = memchr(b'\n', &self.waiting) {
            if end >= REPLY_LINE_MAX_OCTETS {
                return Err("reply line too long");
            }
            let line: Vec<u8> = self.waiting.drain(..=end).collect();
            let (code, last, text) = parse_reply_line(line.trim_ascii_end()).ok_or("not an SMTP reply")?;
            if *self.code.get_or_insert(code) != code {
                return Err("reply with two codes");
            }
            if self.lines.len() >= REPLY_LINES_MAX {
                return Err("reply with too many lines");
            }
            self.lines.push(text);
            if last {
                self.code = None;
                return Ok(Some(Reply { code, lines: std::mem::take(&mut self.lines) }));
            }
        }
        if self.waiting.len() >= REPLY_LINE_MAX_OCTETS { Err("reply line too long") } else { Ok(None) }
    }
}

/// Three digits, then `-` (more lines follow), a space, or nothing. Octets that are no printable text become `?`.
fn parse_reply_line(line: &[u8]) -> Option<(u16, bool, String)> {
    let (digits, rest) = line.split_at_checked(3)?;
    if !digits.iter().all(u8::is_ascii_digit) || !(b'2'..=b'5').contains(&digits[0]) {
        return None;
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    let last = match rest.first() {
        None | Some(b' ') => true,
        Some(b'-') => false,
        Some(_) => return None,
    };
    let text = rest.get(1..).unwrap_or_default();
    let shown = text.iter().map(|&octet| if (b' '..=b'~').contains(&octet) { char::from(octet) } else { '?' });
    Some((code, last, shown.collect()))
}

/// Puts a space in the place of each CR that no LF follows.
#[derive(Debug, Default)]
struct CrReplacer {
    /// The last octet was a CR; what it is depends on the next.
    pending: bool,
}

impl CrReplacer {
    fn replace(&mut self, octets: &[u8]) -> Vec<u8> {
        let mut replaced = Vec::with_capacity(octets.len() + 1);
        let mut rest = octets;
        if self.pending && !rest.is_empty() {
            replaced.push(if rest[0] == b'\n' { b'\r' } else { b' ' });
            self.pending = false;
        }
        while let Some(cr) = memchr(b'\r', rest) {
            replaced.extend_from_slice(&rest[..cr]);
            match rest.get(cr + 1) {
                None => self.pending = true,
                Some(b'\n') => replaced.push(b'\r'),
                Some(_) => replaced.push(b' '),
            }
            rest = &rest[cr + 1..];
        }
        replaced.extend_from_slice(rest);
        replaced
    }

    fn end(self) -> &'static [u8] {
        if self.pending { b" " } else { b"" }
    }
}

#[cfg(test)]
mod tests;
