//! Lines, session and waiting replies of one connection: everything but the I/O.

use std::mem;

use memchr::memrchr;

use crate::lines::{Line, Lines};
use crate::replies::{Entry, Replies};
use crate::session::{Session, Step, command};

/// Replies that wait, in octets: with this much waiting nothing more is taken from the client, or asked of the
/// backend, until they are sent. One reply, or one chunk of a text, may go beyond it.
pub const REPLIES_MAX_OCTETS: usize = 64 * 1024;

/// First octet of a TLS handshake record (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Methods of HTTP (RFC 9110 §9, RFC 5789), and what begins an HTTP/2 connection (RFC 9113 §3.4).
const HTTP_METHODS: [&[u8]; 10] =
    [b"CONNECT", b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PRI", b"PUT", b"TRACE"];

/// What the driver of a connection does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Todo<Request> {
    /// Send these octets.
    Send(Vec<u8>),
    /// Perform this and call [`Connection::answered`].
    Perform(Request),
    /// Wait, and call [`Connection::received`], [`Connection::ended`], [`Connection::idle`] or [`Connection::stop`].
    Receive,
    /// Close the connection.
    Close,
}

/// One connection without its socket. See the crate's page for an example.
#[derive(Debug)]
pub struct Connection<S: Session> {
    session: S,
    lines: Lines,
    replies: Replies,
    step: Step<S::Request>,
    /// No line was taken yet.
    fresh: bool,
    /// The client has closed its side.
    ended: bool,
    /// The server is stopping.
    stopping: bool,
    /// A whole line, or octets of a text, were taken since [`Connection::take_progress`].
    progress: bool,
}

impl<S: Session> Connection<S> {
    /// A new connection; its greeting waits to be sent.
    pub fn new(session: S) -> Self {
        Self::with_replies(session, Replies::default())
    }

    /// A new connection that also keeps a transcript.
    pub fn with_transcript(session: S) -> Self {
        Self::with_replies(session, Replies::with_transcript())
    }

    fn with_replies(mut session: S, mut replies: Replies) -> Self {
        replies.unnoted(|replies| session.open(replies));
        Self {
            session,
            lines: Lines::default(),
            replies,
            step: Step::Continue,
            fresh: true,
            ended: false,
            stopping: false,
            progress: false,
        }
    }

    /// What to do next.
    ///
    /// Lines that are here are worked off before anything is sent, so that replies to pipelined commands leave
    /// together; bounded by [`REPLIES_MAX_OCTETS`], so that a client that never reads costs little. The stop signal acts
    /// between commands: what is under way is finished.
    pub fn todo(&mut self) -> Todo<S::Request> {
        loop {
            let room = self.replies.len() < REPLIES_MAX_OCTETS;
            match mem::replace(&mut self.step, Step::Continue) {
                Step::Ask(request) if room => return Todo::Perform(request),
                Step::More if room => {
                    self.step = self.session.more(&mut self.replies);
                    continue;
                }
                Step::Continue if self.stopping => {
                    self.session.stop(&mut self.replies);
                    self.step = Step::Close;
                    continue;
                }
                Step::Continue => {
                    if room && self.advance() {
                        continue;
                    }
                    if self.replies.is_empty() {
                        return if self.ended { Todo::Close } else { Todo::Receive };
                    }
                }
                Step::Close => {
                    self.step = Step::Close;
                    if self.replies.is_empty() {
                        return Todo::Close;
                    }
                }
                waiting @ (Step::Ask(_) | Step::More) => self.step = waiting,
            }
            return Todo::Send(self.replies.take());
        }
    }

    /// Takes octets from the client.
    pub fn received(&mut self, octets: &[u8]) {
        let is_first = self.fresh && self.lines.waiting().is_empty();
        if is_first && S::OTHER_PROTOCOL.is_some() && octets.first() == Some(&TLS_HANDSHAKE) {
            self.step = Step::Close;
            self.replies.take();
            return;
        }
        self.lines.push(octets);
    }

    /// The client has closed its side: whole lines are still answered, a part of a line is dropped (C-C2).
    pub fn ended(&mut self) {
        self.ended = true;
    }

    /// Whether there are replies that wait while [`Todo::Perform`] is performed.
    #[must_use]
    pub fn has_replies(&self) -> bool {
        !self.replies.is_empty()
    }

    /// The replies that wait while [`Todo::Perform`] is performed, to be sent ahead of its own.
    pub fn take_replies(&mut self) -> Vec<u8> {
        self.replies.take()
    }

    /// Takes the answer to [`Todo::Perform`].
    pub fn answered(&mut self, answer: S::Answer) {
        self.step = self.session.answer(answer, &mut self.replies);
    }

    /// The client completed nothing for as long as its protocol allows.
    pub fn idle(&mut self) {
        self.session.idle(&mut self.replies);
        self.step = Step::Close;
    }

    /// The server stops: what is under way is finished, then the session says goodbye.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// The server stops, and what is under way took too long: the session says goodbye in its place.
    pub fn abandon(&mut self) {
        self.session.stop(&mut self.replies);
        self.step = Step::Close;
    }

    /// Whether a whole line, or octets of a text, were taken since the last call: the client is not idle (C-S12).
    pub fn take_progress(&mut self) -> bool {
        mem::take(&mut self.progress)
    }

    /// What the transcript has gained.
    pub fn take_transcript(&mut self) -> Vec<Entry> {
        self.replies.take_transcript()
    }

    /// Feeds the session what is here; says whether there was anything.
    fn advance(&mut self) -> bool {
        if self.session.expects_text() {
            if self.lines.waiting().is_empty() {
                return false;
            }
            let (taken, step) = self.session.text(self.lines.waiting(), &mut self.replies);
            self.lines.consume(taken);
            self.step = step;
        } else {
            let Some(line) = self.lines.cut() else { return false };
            self.replies.note(|| match &line {
                Line::Text(text) => Entry::Heard(text.to_vec()),
                Line::TooLong { octets, .. } => Entry::HeardOctets(*octets),
            });
            self.step = match S::OTHER_PROTOCOL {
                Some(told) if mem::take(&mut self.fresh) && is_http_request(&line) => {
                    self.replies.line(format_args!("{told}"));
                    Step::Close
                }
                _ => self.session.line(line, &mut self.replies),
            };
        }
        self.progress = true;
        true
    }
}

/// Whether a line is the first of an HTTP request (RFC 9112 §3; C-C12): it begins with a method, in any case, or ends in a
/// version, whatever the method is. A web page can have a browser send such to any port, with commands for us in the body:
/// nothing behind it may be taken for a command.
fn is_http_request(line: &Line) -> bool {
    let (Line::Text(line) | Line::TooLong { ends: line, .. }) = line;
    let begins = |(word, rest): (&[u8], Option<&[u8]>)| {
        rest.is_some() && HTTP_METHODS.iter().any(|method| word.eq_ignore_ascii_case(method))
    };
    let version = memrchr(b' ', line).and_then(|space| line[space + 1..].strip_prefix(b"HTTP/"));
    begins(command(line)) || matches!(version, Some([b'0'..=b'9'] | [b'0'..=b'9', b'.', b'0'..=b'9']))
}

#[cfg(test)]
#[path = "connection/tests.rs"]
mod tests;
