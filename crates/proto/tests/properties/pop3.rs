//! The POP3 server's session (C-P), driven by any octets, with any answers of the backend.

use std::collections::BTreeSet;

use pillarbox_proto::Entry;
use pillarbox_proto::lines::LINE_MAX_OCTETS;
use pillarbox_proto::pop3::{Answer, Request, Session, UniqueId, WRONG_PASSWORDS_MAX};

use super::input::{Choices, Input, assert_same, cut_line, is_http, is_printable, shown, take_line};
use super::{End, Event, Played, play};

/// Longest reply that is written at once: a piece of a listing, or of a text with every octet of it doubled.
const REPLY_MAX_OCTETS: usize = 256 * 1024;
/// More messages than are listed at once.
const MESSAGES_MANY: usize = 1030;

/// Everything that the backend decides.
#[derive(Clone, Debug)]
struct Plan<'a> {
    texts: Vec<Vec<u8>>,
    answers: Choices<'a>,
}

/// However the wire is cut, the same is said and asked for; each command line has exactly one reply, `+OK` or `-ERR`;
/// listings and texts end in a lone dot and hold what the maildrop holds; and what is removed is what was marked.
pub(crate) fn check(input: &Input) {
    let mut choices = input.choices();
    let end = End::choose(&mut choices);
    let texts = match choices.next() {
        248.. => vec![choices.text(); MESSAGES_MANY],
        count => (0..count % 8).map(|_| choices.text()).collect(),
    };
    let plan = Plan { texts, answers: choices.clone() };
    let wire = input.wire.as_slice();
    let whole: &[&[u8]] = if wire.is_empty() { &[] } else { &[wire] };
    let whole = run(&plan, whole, end, usize::MAX);
    check_played(&plan, wire, &whole);

    let pieces = choices.cut(wire);
    let in_pieces = run(&plan, &pieces, end, usize::MAX);
    assert_same(&in_pieces.sent, &whole.sent, "in pieces");
    assert_eq!(in_pieces.events, whole.events, "in pieces");

    // The server stops somewhere on the way, and may not wait for an answer.
    let pieces = &pieces[..pieces.len() / (1 + choices.below(4))];
    let stopped = run(&plan, pieces, End::Stopped, choices.below(32));
    check_played(&plan, &pieces.concat(), &stopped);
}

/// Plays the wire; from the answer numbered `patience` on the server does not wait for any.
fn run(plan: &Plan<'_>, pieces: &[&[u8]], end: End, patience: usize) -> Played<Request> {
    let mut answers = plan.answers.clone();
    let mut reading: &[u8] = &[];
    let mut asked = 0;
    play(Session::default(), pieces, end, REPLY_MAX_OCTETS, |request| {
        asked += 1;
        if asked > patience {
            return None;
        }
        let failed = Answer::Failed("Maildrop is not readable");
        Some(match request {
            Request::Login { .. } => match answers.below(8) {
                0..3 => Answer::Denied,
                3 => failed,
                _ => Answer::Opened(plan.texts.iter().map(|text| text.len() as u64).collect()),
            },
            Request::Pause(_) => Answer::Paused,
            Request::Commit(_) | Request::UniqueIds(_) | Request::Read(_) | Request::ReadOn if answers.one_in(8) => {
                failed
            }
            Request::UniqueIds(range) => Answer::UniqueIds(range.clone().map(unique_id).collect()),
            Request::Commit(_) => Answer::Committed,
            Request::Read(_) | Request::ReadOn => {
                if let Request::Read(index) = request {
                    reading = &plan.texts[*index];
                }
                let piece;
                (piece, reading) = reading.split_at(answers.size().min(reading.len()));
                Answer::Text((!piece.is_empty()).then(|| piece.to_vec()))
            }
        })
    })
}

fn unique_id(index: usize) -> UniqueId {
    let mut octets = [0xa5; 16];
    octets[..8].copy_from_slice(&(index as u64).to_le_bytes());
    UniqueId(octets)
}

/// Follows a conversation along what was sent.
struct Reader<'a> {
    plan: &'a Plan<'a>,
    sent: &'a [u8],
    logged_in: bool,
    wrong_passwords: u32,
    deleted: BTreeSet<usize>,
    /// What was asked for in answer to the command.
    asked: Vec<&'a Request>,
    /// Nothing may follow.
    closed: bool,
}

fn check_played(plan: &Plan<'_>, mut wire: &[u8], played: &Played<Request>) {
    if wire.first() == Some(&0x16) {
        assert!(played.events.is_empty(), "a TLS hello is told nothing");
        return;
    }
    let is_http = is_http(wire);
    let mut sent = played.sent.as_slice();
    assert_eq!(take_line(&mut sent).map(shown).as_deref(), Some("+OK POP3 ready [localhost]"));
    let asked = Vec::new();
    let mut reader =
        Reader { plan, sent, logged_in: false, wrong_passwords: 0, deleted: BTreeSet::new(), asked, closed: false };
    let mut events = played.events.iter().peekable();
    while let Some(event) = events.next() {
        let Event::Noted(Entry::Heard(_) | Entry::HeardOctets(_)) = event else { continue };
        assert!(!reader.closed, "{event:?} behind the last reply");
        let (line, octets, rest) = cut_line(wire).expect("a whole line is there");
        wire = rest;
        reader.asked.clear();
        while let Some(event) =
            events.next_if(|event| !matches!(event, Event::Noted(Entry::Heard(_) | Entry::HeardOctets(_))))
        {
            if let Event::Asked(request) = event {
                reader.asked.push(request);
            }
        }
        match event {
            _ if is_http => {
                assert_eq!(reader.status(), Some(Err("Not supported".to_owned())));
                reader.closed = true;
            }
            Event::Noted(Entry::Heard(heard)) => {
                assert!(octets <= LINE_MAX_OCTETS);
                assert_same(heard, line, "heard");
                reader.command(line);
            }
            _ => {
                assert!(octets > LINE_MAX_OCTETS);
                assert_eq!(reader.status(), Some(Err("Line too long".to_owned())));
            }
        }
    }
    match reader.sent {
        b"" => assert!(reader.closed || cut_line(wire).is_none(), "not worked off: {}", shown(wire)),
        goodbye => {
            assert!(!reader.closed, "behind the last reply: {}", shown(goodbye));
            assert_eq!(shown(goodbye), "-ERR Server shutting down\\r\\n");
        }
    }
}

impl Reader<'_> {
    /// Takes the first line of a reply; `None` where the connection was closed in place of it.
    fn status(&mut self) -> Option<Result<String, String>> {
        let line = take_line(&mut self.sent)?;
        assert!(is_printable(line), "{}", shown(line));
        let line = std::str::from_utf8(line).expect("printable");
        if line == "-ERR Server shutting down" {
            self.closed = true;
        }
        Some(match line.strip_prefix("-ERR ") {
            Some(text) => Err(text.to_owned()),
            None => Ok(line.strip_prefix("+OK").expect("+OK or -ERR").trim_start().to_owned()),
        })
    }

    fn command(&mut self, line: &[u8]) {
        let (verb, argument) = match line.iter().position(|&octet| octet == b' ') {
            Some(space) => (&line[..space], line[space..].trim_ascii()),
            None => (line, &b""[..]),
        };
        let verb = String::from_utf8_lossy(verb).to_ascii_uppercase();
        let index = std::str::from_utf8(argument).ok().and_then(|number| number.parse::<usize>().ok());
        let index = index.and_then(|number| number.checked_sub(1));
        let known = ["USER", "PASS", "STAT", "LIST", "RETR", "DELE", "NOOP", "RSET", "QUIT", "UIDL"];
        let Some(status) = self.status() else {
            // Nothing is said in place of a text that fails; the first reply is always there.
            panic!("no reply to {}", shown(line));
        };
        let text = match status {
            Ok(text) => text,
            Err(text) => return self.refused(&verb, &text, known.contains(&verb.as_str())),
        };
        let allowed: &[&str] = if self.logged_in { &known[2..] } else { &["USER", "PASS", "QUIT"] };
        assert!(allowed.contains(&verb.as_str()), "+OK to {}", shown(line));
        match verb.as_str() {
            "PASS" => self.logged_in = true,
            "STAT" => assert_eq!(text, format!("{} {}", self.left().count(), self.octets_left())),
            "LIST" if argument.is_empty() => self.listing(&|plan, index| plan.texts[index].len().to_string()),
            "UIDL" if argument.is_empty() => self.listing(&|_, index| unique_id(index).to_string()),
            "LIST" => {
                let index = self.present(index);
                assert_eq!(text, format!("{} {}", index + 1, self.plan.texts[index].len()));
            }
            "UIDL" => {
                let index = self.present(index);
                assert_eq!(text, format!("{} {}", index + 1, unique_id(index)));
            }
            "RETR" => {
                let index = self.present(index);
                assert_eq!(text, format!("{} octets", self.plan.texts[index].len()));
                self.text(index);
            }
            "DELE" => {
                let index = self.present(index);
                self.deleted.insert(index);
            }
            "RSET" => self.deleted.clear(),
            "QUIT" => {
                let commit = Request::Commit(self.deleted.iter().copied().collect());
                let expected: &[&Request] = if self.logged_in { &[&commit] } else { &[] };
                assert_eq!(self.asked, expected);
                self.closed = true;
            }
            _ => {}
        }
    }

    fn refused(&mut self, verb: &str, text: &str, known: bool) {
        assert_eq!(text == "Not supported", !known, "-ERR {text} to {verb}");
        if text == "Wrong user name or password" {
            self.wrong_passwords += 1;
            self.closed |= self.wrong_passwords == WRONG_PASSWORDS_MAX;
        }
        // A removal that fails ends the session; everything else that is refused changes nothing.
        self.closed |= self.asked.iter().any(|request| matches!(request, Request::Commit(_)));
    }

    fn left(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.plan.texts.len()).filter(|index| !self.deleted.contains(index))
    }

    fn octets_left(&self) -> usize {
        self.left().map(|index| self.plan.texts[index].len()).sum()
    }

    /// A message that was named: it is there and not deleted.
    fn present(&self, index: Option<usize>) -> usize {
        index.filter(|index| self.left().any(|left| left == *index)).expect("+OK for a message that is not there")
    }

    /// Takes a listing of all messages that are left.
    fn listing(&mut self, shows: &dyn Fn(&Plan<'_>, usize) -> String) {
        let left: Vec<usize> = self.left().collect();
        for index in left {
            match take_line(&mut self.sent) {
                Some(line) => {
                    assert_same(line, format!("{} {}", index + 1, shows(self.plan, index)).as_bytes(), "listed")
                }
                None => return self.cut_off(),
            }
        }
        match take_line(&mut self.sent) {
            Some(line) => assert_eq!(shown(line), "."),
            None => self.cut_off(),
        }
    }

    /// Takes the text of a message, up to the lone dot.
    fn text(&mut self, index: usize) {
        let mut text = Vec::new();
        while let Some(line) = take_line(&mut self.sent) {
            if line == b"." {
                assert_same(&text, &self.plan.texts[index], "text");
                return;
            }
            text.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            text.extend_from_slice(b"\r\n");
        }
        // Part of a line may be left; no goodbye garbles it.
        text.extend_from_slice(self.sent.strip_prefix(b".").unwrap_or(self.sent));
        assert!(self.plan.texts[index].starts_with(&text), "{} is no part of the text", shown(&text));
        self.sent = &[];
        self.cut_off();
    }

    /// The connection was closed in the middle of a listing or text, without its last line.
    fn cut_off(&mut self) {
        assert_eq!(shown(self.sent), "");
        assert!(!self.asked.is_empty(), "nothing could have failed");
        self.closed = true;
    }
}
