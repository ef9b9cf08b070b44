//! The SMTP session of the classic suite (C-S; RFC 5321, without EHLO).
//!
//! ```text
//!            HELO             MAIL               RCPT (accepted)        DATA
//!   Start ────────▶ Ready ──────────▶ Mail{…} ──────────────▶ Mail{…} ──────▶ Data ─┐
//!                     ▲ ◀── RSET, HELO ───┘                                         │
//!                     └───────────────────────── final dot, 250 or refusal ◀────────┘
//! ```
//!
//! Commands are judged in the order state (503), syntax (501), parameters (555), content (550, 452, 451).

use std::time::Duration;

use crate::address::{Address, Envelope, LOCALHOST, ReversePath, parse_path};
use crate::data::DataReader;
use crate::lines::Line;
use crate::replies::{Entry, Replies};
use crate::session::{self, Step, command};

/// Accepted RCPT commands in one transaction; further ones are answered 452. RFC 5321 §4.5.3.1.8 asks for 100.
pub const RECIPIENTS_MAX: usize = 1000;

/// Largest message, in octets of text, unless set otherwise (C-S10).
pub const MESSAGE_MAX_OCTETS: u64 = 50_000_000;

/// What an SMTP session asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// Whether mail for this address is taken. Answered by [`Answer::Taken`] or [`Answer::Refused`].
    Recipient(Address),
    /// Keep these octets of the message's text, dot-stuffing taken off, CR LF line ends. [`Answer::Taken`] or
    /// [`Answer::Refused`]; after a refusal no more octets come, and what was kept of the transaction is to be dropped.
    Text(Vec<u8>),
    /// The text is complete: make it durable in every mailbox, or in none. [`Answer::Taken`] or [`Answer::Refused`]; either
    /// way nothing is kept of the transaction.
    Accept(Envelope),
    /// Drop what was kept of the transaction: it was given up, or its message is too large. Answered by [`Answer::Taken`].
    Discard,
}

/// What became of a [`Request`].
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Taken,
    /// Not done, and what the client is told.
    Refused(Refusal),
}

/// A reply that refuses: 4yz (try again) or 5yz (do not).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reply code.
    pub code: u16,
    /// The text behind it.
    pub text: &'static str,
}

/// An SMTP session.
#[derive(Debug)]
pub struct Session {
    state: State,
    message_max_octets: u64,
}

#[derive(Debug)]
enum State {
    /// No HELO yet.
    Start,
    /// HELO was said, no transaction is open.
    Ready,
    /// MAIL was accepted.
    Mail(Envelope),
    /// A recipient is being looked up.
    Asking(Envelope, Address),
    /// 354 was said; the text goes to the backend as it arrives.
    Data(Data),
    /// The backend has the whole message; on its word depends what is said.
    Accepting,
}

/// A message text on its way in.
#[derive(Debug)]
struct Data {
    envelope: Envelope,
    reader: DataReader,
    /// Octets of the text so far.
    octets: u64,
    /// Why the message is refused at its end, once that is known; the rest is then swallowed.
    refusal: Option<Refusal>,
}

const UNKNOWN_COMMAND: &str = "500 Command not recognized";
const MESSAGE_TOO_LARGE: Refusal = Refusal { code: 552, text: "Message too large" };

/// What a command word means, in the order of RFC 5321 §4.1.1, then the known ones that this suite leaves out.
#[derive(Clone, Copy)]
enum Verb {
    Helo,
    Mail,
    Rcpt,
    Data,
    Rset,
    Noop,
    Quit,
    NotImplemented,
}

impl Verb {
    fn parse(word: &[u8]) -> Option<Self> {
        Some(match word.to_ascii_uppercase().as_slice() {
            b"HELO" => Self::Helo,
            b"MAIL" => Self::Mail,
            b"RCPT" => Self::Rcpt,
            b"DATA" => Self::Data,
            b"RSET" => Self::Rset,
            b"NOOP" => Self::Noop,
            b"QUIT" => Self::Quit,
            // RFC 5321, RFC 821 (SEND, SOML, SAML, TURN), RFC 1985, 3030, 3207, 4954, XCLIENT as Postfix has it.
            b"EHLO" | b"VRFY" | b"EXPN" | b"HELP" | b"TURN" | b"ETRN" | b"ATRN" | b"SEND" | b"SOML" | b"SAML"
            | b"STARTTLS" | b"AUTH" | b"BDAT" | b"BURL" | b"XCLIENT" | b"XFORWARD" => Self::NotImplemented,
            _ => return None,
        })
    }
}

impl Session {
    /// A session that takes messages of up to `message_max_octets` octets of text.
    #[must_use]
    pub fn new(message_max_octets: u64) -> Self {
        Self { state: State::Start, message_max_octets }
    }

    fn helo(&mut self, argument: &[u8], replies: &mut Replies) -> Step<Request> {
        if argument.is_empty() || !argument.iter().all(u8::is_ascii_graphic) {
            return say(replies, 501, "Syntax: HELO domain");
        }
        say(replies, 250, LOCALHOST);
        // HELO again starts over (C-S2, RFC 5321 §4.1.4).
        self.start_over()
    }

    fn mail(&mut self, argument: &[u8], replies: &mut Replies) -> Step<Request> {
        match self.state {
            State::Ready => {}
            State::Start => return say(replies, 503, "Say HELO first"),
            _ => return say(replies, 503, "A transaction is open: RSET drops it"),
        }
        let Some(path) = keyword(argument, b"FROM:") else {
            return say(replies, 501, "Syntax: MAIL FROM:<reverse-path>");
        };
        match parse_path(path) {
            Err(error) => refuse_syntax(replies, error),
            Ok(path) if !path.parameters.is_empty() => say(replies, 555, "MAIL FROM parameters are not known here"),
            Ok(path) => {
                self.state =
                    State::Mail(Envelope { reverse_path: ReversePath(path.address), forward_paths: Vec::new() });
                ok(replies)
            }
        }
    }

    fn rcpt(&mut self, argument: &[u8], replies: &mut Replies) -> Step<Request> {
        let State::Mail(envelope) = &mut self.state else {
            return say(replies, 503, "Say MAIL first");
        };
        let Some(path) = keyword(argument, b"TO:") else {
            return say(replies, 501, "Syntax: RCPT TO:<forward-path>");
        };
        let path = match parse_path(path) {
            Err(error) => return refuse_syntax(replies, error),
            Ok(path) => path,
        };
        let Some(address) = path.address else {
            return say(replies, 501, "The null path receives no mail");
        };
        if !path.parameters.is_empty() {
            return say(replies, 555, "RCPT TO parameters are not known here");
        }
        if envelope.forward_paths.len() >= RECIPIENTS_MAX {
            return say(replies, 452, "Too many recipients");
        }
        self.state = State::Asking(std::mem::take(envelope), address.clone());
        Step::Ask(Request::Recipient(address))
    }

    fn data(&mut self, argument: &[u8], replies: &mut Replies) -> Step<Request> {
        match &mut self.state {
            State::Mail(envelope) if !envelope.forward_paths.is_empty() => {
                if !argument.is_empty() {
                    return no_argument(replies);
                }
                let envelope = std::mem::take(envelope);
                let data = Data { envelope, reader: DataReader::default(), octets: 0, refusal: None };
                self.state = State::Data(data);
                say(replies, 354, "Start mail input; end with <CRLF>.<CRLF>")
            }
            State::Mail(_) => say(replies, 503, "No recipient was accepted"),
            _ => say(replies, 503, "Say MAIL and RCPT first"),
        }
    }

    fn rset(&mut self, argument: &[u8], replies: &mut Replies) -> Step<Request> {
        if !argument.is_empty() {
            return no_argument(replies);
        }
        ok(replies);
        if matches!(self.state, State::Start) { Step::Continue } else { self.start_over() }
    }

    /// Gives up the transaction, if one is open: what the backend has for it must not wait for the next one.
    fn start_over(&mut self) -> Step<Request> {
        match std::mem::replace(&mut self.state, State::Ready) {
            State::Mail(_) => Step::Ask(Request::Discard),
            _ => Step::Continue,
        }
    }

    fn quit(argument: &[u8], replies: &mut Replies) -> Step<Request> {
        if !argument.is_empty() {
            return no_argument(replies);
        }
        replies.line(format_args!("221 {LOCALHOST} Service closing transmission channel"));
        Step::Close
    }
}

impl session::Session for Session {
    type Request = Request;
    type Answer = Answer;

    /// C-S12, RFC 5321 §4.5.3.2.7.
    const IDLE: Option<Duration> = Some(Duration::from_secs(5 * 60));
    const OTHER_PROTOCOL: Option<&'static str> = Some(UNKNOWN_COMMAND);

    fn open(&mut self, replies: &mut Replies) {
        // Without the word ESMTP: some clients (mutt) then say HELO at once.
        replies.line(format_args!("220 {LOCALHOST} Pillarbox mail service ready"));
    }

    fn line(&mut self, line: Line, replies: &mut Replies) -> Step<Request> {
        let Line::Text(line) = line else {
            return say(replies, 500, "Line too long");
        };
        let (word, argument) = command(&line);
        // White space at the end of a line is taken (RFC 5321 §4.1.1).
        let argument = argument.unwrap_or_default().trim_ascii();
        match Verb::parse(word) {
            Some(Verb::Helo) => self.helo(argument, replies),
            Some(Verb::Mail) => self.mail(argument, replies),
            Some(Verb::Rcpt) => self.rcpt(argument, replies),
            Some(Verb::Data) => self.data(argument, replies),
            Some(Verb::Rset) => self.rset(argument, replies),
            Some(Verb::Noop) => ok(replies),
            Some(Verb::Quit) => Self::quit(argument, replies),
            Some(Verb::NotImplemented) => say(replies, 502, "Command not implemented"),
            None => {
                replies.line(format_args!("{UNKNOWN_COMMAND}"));
                Step::Continue
            }
        }
    }

    fn expects_text(&self) -> bool {
        matches!(self.state, State::Data(_))
    }

    fn text(&mut self, octets: &[u8], replies: &mut Replies) -> (usize, Step<Request>) {
        let State::Data(data) = &mut self.state else {
            return (0, Step::Continue);
        };
        let mut text = Vec::with_capacity(octets.len());
        let taken = data.reader.read(octets, &mut text);
        data.octets += text.len() as u64;
        if data.octets > self.message_max_octets && data.refusal.is_none() {
            // The rest is swallowed up to the final dot, with nothing kept (C-S10).
            data.refusal = Some(MESSAGE_TOO_LARGE);
            return (taken, Step::Ask(Request::Discard));
        }
        if data.refusal.is_none() && !text.is_empty() {
            return (taken, Step::Ask(Request::Text(text)));
        }
        (taken, self.end_of_data(replies))
    }

    fn answer(&mut self, answer: Answer, replies: &mut Replies) -> Step<Request> {
        match (std::mem::replace(&mut self.state, State::Ready), answer) {
            (State::Asking(mut envelope, address), Answer::Taken) => {
                envelope.forward_paths.push(address);
                self.state = State::Mail(envelope);
                ok(replies)
            }
            (State::Asking(envelope, _), Answer::Refused(refusal)) => {
                self.state = State::Mail(envelope);
                refuse(replies, &refusal)
            }
            (State::Data(mut data), answer) => {
                if let Answer::Refused(refusal) = answer {
                    data.refusal = Some(refusal);
                }
                self.state = State::Data(data);
                self.end_of_data(replies)
            }
            (State::Accepting, Answer::Taken) => ok(replies),
            (State::Accepting, Answer::Refused(refusal)) => refuse(replies, &refusal),
            (state, _) => {
                self.state = state;
                Step::Continue
            }
        }
    }

    fn idle(&mut self, replies: &mut Replies) {
        replies.line(format_args!("421 {LOCALHOST} Idle for too long, closing"));
    }

    fn stop(&mut self, replies: &mut Replies) {
        replies.line(format_args!("421 {LOCALHOST} Server shutting down"));
    }

    fn too_many_connections() -> &'static str {
        "421 localhost Too many connections, try again later"
    }
}

impl Session {
    /// Goes on behind a piece of data: at its end the message is accepted, or refused for what was found on the way.
    fn end_of_data(&mut self, replies: &mut Replies) -> Step<Request> {
        match std::mem::replace(&mut self.state, State::Ready) {
            State::Data(data) if data.reader.ended() => {
                replies.note(|| Entry::HeardOctets(data.octets));
                if let Some(refusal) = &data.refusal {
                    return refuse(replies, refusal);
                }
                self.state = State::Accepting;
                Step::Ask(Request::Accept(data.envelope))
            }
            state => {
                self.state = state;
                Step::Continue
            }
        }
    }
}

/// What stands behind `FROM:` or `TO:`, in any case.
fn keyword<'a>(argument: &'a [u8], keyword: &[u8]) -> Option<&'a [u8]> {
    let (head, path) = argument.split_at_checked(keyword.len())?;
    head.eq_ignore_ascii_case(keyword).then_some(path)
}

fn say(replies: &mut Replies, code: u16, text: &str) -> Step<Request> {
    replies.line(format_args!("{code} {text}"));
    Step::Continue
}

/// The one text of every success (C-S3).
fn ok(replies: &mut Replies) -> Step<Request> {
    say(replies, 250, "OK")
}

fn refuse(replies: &mut Replies, refusal: &Refusal) -> Step<Request> {
    say(replies, refusal.code, refusal.text)
}

fn refuse_syntax(replies: &mut Replies, error: crate::AddressError) -> Step<Request> {
    replies.line(format_args!("501 Syntax error: {error}"));
    Step::Continue
}

fn no_argument(replies: &mut Replies) -> Step<Request> {
    say(replies, 501, "This command takes no argument")
}
