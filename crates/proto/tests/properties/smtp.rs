//! The SMTP server's session (C-S), driven by any octets, with any answers of the backend.

use pillarbox_proto::lines::LINE_MAX_OCTETS;
use pillarbox_proto::smtp::{Answer, Refusal, Request, Session};
use pillarbox_proto::{Address, Entry};

use super::input::{Choices, Input, assert_same, cut_line, is_http, is_printable, shown};
use super::{End, Event, Played, data, play};

/// Longest reply: none of them repeats what the client has sent.
const REPLY_MAX_OCTETS: usize = 200;

/// Everything that the backend decides.
#[derive(Clone, Debug)]
struct Plan<'a> {
    message_max_octets: u64,
    /// A text that grows beyond this is refused.
    text_max_octets: usize,
    recipients: Choices<'a>,
    messages: Choices<'a>,
}

/// However the wire is cut, the same is said and stored; each command line and each end of data has exactly one reply
/// of three digits, a space and printable text; and what is accepted is what a plain reading of the wire gives.
pub(crate) fn check(input: &Input) {
    let mut choices = input.choices();
    let end = End::choose(&mut choices);
    // Only one of the limits is low: which of two is found first may depend on the pieces.
    let limit = choices.below(64);
    let (message_max, text_max) = match choices.below(3) {
        0 => (u64::MAX, usize::MAX),
        1 => (limit as u64, usize::MAX),
        _ => (u64::MAX, limit),
    };
    let plan = Plan {
        message_max_octets: message_max,
        text_max_octets: text_max,
        recipients: choices.clone(),
        messages: choices.clone(),
    };
    let wire = input.wire.as_slice();
    let whole: &[&[u8]] = if wire.is_empty() { &[] } else { &[wire] };
    let whole = run(&plan, whole, end, usize::MAX);
    check_played(&plan, wire, &whole);

    let pieces = choices.cut(wire);
    let in_pieces = run(&plan, &pieces, end, usize::MAX);
    check_played(&plan, wire, &in_pieces);
    assert_same(&in_pieces.sent, &whole.sent, "in pieces");
    assert_eq!(lasting(&in_pieces), lasting(&whole), "in pieces");

    // The server stops somewhere on the way, and may not wait for an answer.
    let pieces = &pieces[..pieces.len() / (1 + choices.below(4))];
    let stopped = run(&plan, pieces, End::Stopped, choices.below(32));
    check_played(&plan, &pieces.concat(), &stopped);
}

/// Plays the wire; from the answer numbered `patience` on the server does not wait for any.
fn run(plan: &Plan<'_>, pieces: &[&[u8]], end: End, patience: usize) -> Played<Request> {
    let mut plan = plan.clone();
    let mut text_octets = 0;
    let mut asked = 0;
    let session = Session::new(plan.message_max_octets);
    play(session, pieces, end, REPLY_MAX_OCTETS, |request| {
        asked += 1;
        if asked > patience {
            return None;
        }
        Some(match request {
            Request::Recipient(_) => plan.recipient(),
            Request::Text(text) => {
                assert!(!text.is_empty());
                text_octets += text.len();
                if text_octets > plan.text_max_octets {
                    text_octets = 0;
                    Answer::Refused(Refusal { code: 452, text: "Disk full" })
                } else {
                    Answer::Taken
                }
            }
            Request::Accept(_) => {
                text_octets = 0;
                plan.message()
            }
            Request::Discard => {
                text_octets = 0;
                Answer::Taken
            }
        })
    })
}

impl Plan<'_> {
    fn recipient(&mut self) -> Answer {
        answer(&mut self.recipients, Refusal { code: 550, text: "No such mailbox" })
    }

    fn message(&mut self) -> Answer {
        answer(&mut self.messages, Refusal { code: 451, text: "Local error" })
    }
}

fn answer(choices: &mut Choices<'_>, refusal: Refusal) -> Answer {
    if choices.one_in(4) { Answer::Refused(refusal) } else { Answer::Taken }
}

/// What does not depend on the pieces: everything but how the text came.
fn lasting(played: &Played<Request>) -> Vec<&Event<Request>> {
    let passing = |event: &&Event<Request>| matches!(event, Event::Asked(Request::Text(_) | Request::Discard));
    played.events.iter().filter(|event| !passing(event)).collect()
}

/// Follows a conversation along its wire.
struct Reader<'a> {
    plan: Plan<'a>,
    wire: &'a [u8],
    /// The first line is an HTTP request: its reply is the last.
    is_http: bool,
    /// A command line or an end of data has no reply yet.
    unanswered: bool,
    /// The verb of the last command, in upper case.
    verb: Vec<u8>,
    /// The next reply must have this code.
    expected: Option<u16>,
    /// 354 was said and the end of the data has not come.
    in_data: bool,
    greeted: bool,
    /// MAIL was accepted, and nothing has ended the transaction.
    transaction: bool,
    /// The recipients that the backend has.
    recipients: Vec<Address>,
    /// The text that the backend has.
    kept: Vec<u8>,
    /// Why the text is refused at its end.
    refused: Option<u16>,
    closed: bool,
}

fn check_played(plan: &Plan<'_>, wire: &[u8], played: &Played<Request>) {
    let said = played.events.iter().filter_map(|event| match event {
        Event::Noted(Entry::Said(line)) => Some(line.as_slice()),
        _ => None,
    });
    if wire.first() == Some(&0x16) {
        assert!(played.events.is_empty(), "a TLS hello is told nothing");
        return;
    }
    let sent: Vec<u8> = said.flat_map(|line| [line, b"\r\n"].concat()).collect();
    let greeting = played.sent.strip_suffix(sent.as_slice()).expect("what is sent is what is noted");
    assert_eq!(shown(greeting), "220 localhost Pillarbox mail service ready\\r\\n");

    let mut reader = Reader {
        plan: plan.clone(),
        wire,
        is_http: is_http(wire),
        unanswered: false,
        verb: Vec::new(),
        expected: None,
        in_data: false,
        greeted: false,
        transaction: false,
        recipients: Vec::new(),
        kept: Vec::new(),
        refused: None,
        closed: false,
    };
    for event in &played.events {
        assert!(!reader.closed, "{event:?} behind the last reply");
        match event {
            Event::Noted(Entry::Heard(line)) => reader.command(Some(line), line.len() as u64),
            Event::Noted(Entry::HeardOctets(octets)) if reader.in_data => reader.end_of_data(*octets),
            Event::Noted(Entry::HeardOctets(octets)) => reader.command(None, *octets),
            Event::Noted(Entry::Said(reply)) => reader.reply(reply),
            Event::Noted(Entry::SaidOctets(_)) => panic!("SMTP servers send no text"),
            Event::Asked(request) => reader.request(request, played.abandoned),
        }
    }
    if !reader.closed {
        assert!(!reader.unanswered, "a command without reply");
        let left = if reader.in_data { data::plain(reader.wire).is_some() } else { cut_line(reader.wire).is_some() };
        assert!(!left, "not worked off: {}", shown(reader.wire));
    }
}

impl Reader<'_> {
    fn command(&mut self, heard: Option<&[u8]>, octets: u64) {
        assert!(!self.unanswered && !self.in_data);
        let (line, length, rest) = cut_line(self.wire).expect("a whole line is there");
        match heard {
            Some(heard) => assert_same(heard, line, "heard"),
            None => assert_eq!(octets, length as u64),
        }
        assert_eq!(heard.is_some(), length <= LINE_MAX_OCTETS);
        self.verb = line.split(|&octet| octet == b' ').next().unwrap_or_default().to_ascii_uppercase();
        self.expected = (self.is_http || heard.is_none()).then_some(500);
        self.wire = rest;
        self.unanswered = true;
    }

    fn end_of_data(&mut self, octets: u64) {
        let (text, taken) = data::plain(self.wire).expect("the data has ended");
        assert_eq!(octets, text.len() as u64);
        match self.refused {
            None => {
                assert_same(&self.kept, &text, "kept");
                assert!(octets <= self.plan.message_max_octets);
            }
            Some(552) => assert!(octets > self.plan.message_max_octets),
            Some(_) => assert!(octets > self.plan.text_max_octets as u64),
        }
        self.wire = &self.wire[taken..];
        self.in_data = false;
        self.unanswered = true;
        self.expected = self.refused;
        self.verb.clear();
    }

    fn request(&mut self, request: &Request, abandoned: bool) {
        match request {
            Request::Recipient(address) => {
                assert!(self.unanswered && self.verb == b"RCPT");
                match self.plan.recipient() {
                    Answer::Taken => {
                        self.recipients.push(address.clone());
                        self.expected = Some(250);
                    }
                    Answer::Refused(refusal) => self.expected = Some(refusal.code),
                }
            }
            Request::Text(text) => {
                assert!(self.in_data && self.refused.is_none());
                self.kept.extend_from_slice(text);
                if self.kept.len() > self.plan.text_max_octets {
                    self.refused = Some(452);
                    self.recipients.clear();
                }
                assert!(self.kept.len() as u64 <= self.plan.message_max_octets, "nothing is kept beyond the limit");
            }
            Request::Discard => {
                self.recipients.clear();
                if self.in_data {
                    assert!(self.refused.is_none());
                    self.refused = Some(552);
                } else {
                    assert!(!self.unanswered && !self.transaction, "the transaction was given up");
                }
            }
            Request::Accept(envelope) => {
                assert!(self.unanswered && self.refused.is_none());
                assert_eq!(envelope.forward_paths, self.recipients);
                assert!(!self.recipients.is_empty());
                self.recipients.clear();
                self.expected = Some(match self.plan.message() {
                    Answer::Taken => 250,
                    Answer::Refused(refusal) => refusal.code,
                });
            }
        }
        if abandoned {
            // Whatever comes next may be the goodbye.
            self.expected = None;
        }
    }

    fn reply(&mut self, reply: &[u8]) {
        assert!(is_printable(reply), "{}", shown(reply));
        let (code, text) = reply.split_at_checked(3).expect("a reply begins with three digits");
        assert!(text.starts_with(b" "), "{}", shown(reply));
        assert!(code.iter().all(u8::is_ascii_digit) && (b'2'..=b'5').contains(&code[0]), "{}", shown(reply));
        let code: u16 = shown(code).parse().expect("three digits");
        if code == 421 {
            // The one reply that comes unasked.
            self.closed = true;
            return;
        }
        assert!(self.unanswered, "unasked: {}", shown(reply));
        assert_eq!(self.expected.unwrap_or(code), code);
        self.unanswered = false;
        self.expected = None;
        self.closed = self.is_http;
        match (self.verb.as_slice(), code) {
            (b"HELO", 250) => (self.greeted, self.transaction) = (true, false),
            (b"RSET", 250) => self.transaction = false,
            (b"MAIL", 250) => {
                assert!(self.greeted && !self.transaction, "MAIL out of order");
                assert!(self.recipients.is_empty(), "the backend has recipients of another transaction");
                self.transaction = true;
            }
            (b"RCPT", 250) => assert!(self.transaction, "RCPT out of order"),
            (b"DATA", 354) => {
                assert!(self.transaction && !self.recipients.is_empty(), "DATA out of order");
                self.in_data = true;
                self.transaction = false;
                self.kept.clear();
                self.refused = None;
            }
            (b"QUIT", 221) => self.closed = true,
            (verb, 221 | 354) => panic!("{code} to {}", shown(verb)),
            _ => {}
        }
    }
}
