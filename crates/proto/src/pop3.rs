//! The POP3 session of the classic suite (C-P; RFC 1939, without its optional commands TOP and APOP).
//!
//! The states are the RFC's: *Authorization* until a login succeeds, *Transaction* until QUIT, then *Update*. What is
//! wrong in its state, or has a bad argument, is `-ERR` and changes nothing (C-P2).

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use crate::data::DotStuffer;
use crate::lines::Line;
use crate::replies::{Entry, Replies};
use crate::session::{self, Step, command};

/// Wrong passwords until the connection is closed (C-P3).
pub const WRONG_PASSWORDS_MAX: u32 = 3;

/// What each wrong password costs its connection (C-P3).
pub const WRONG_PASSWORD_PAUSE: Duration = Duration::from_secs(1);

const UNKNOWN_COMMAND: &str = "-ERR Not supported";

/// Unique ids asked for at once.
const UNIQUE_IDS_AT_ONCE: usize = 1024;

/// Lines of a listing that are written at once.
const LISTED_AT_ONCE: usize = 1024;

/// What a POP3 session asks for. Messages are named by their index, from 0.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// Open the maildrop of this user. [`Answer::Opened`], [`Answer::Denied`] or [`Answer::Failed`].
    Login {
        /// As USER named it: UTF-8 or not.
        name: Vec<u8>,
        /// As PASS gave it, not trimmed.
        password: Vec<u8>,
    },
    /// Wait for so long. [`Answer::Paused`].
    Pause(Duration),
    /// The unique ids of these messages. [`Answer::UniqueIds`] or [`Answer::Failed`].
    UniqueIds(Range<usize>),
    /// Begin to read a message. [`Answer::Text`] or [`Answer::Failed`].
    Read(usize),
    /// Go on reading it. [`Answer::Text`] or [`Answer::Failed`].
    ReadOn,
    /// Remove these messages durably, all or none, and give the maildrop up. [`Answer::Committed`] or
    /// [`Answer::Failed`].
    Commit(Vec<usize>),
}

/// What became of a [`Request`].
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The maildrop is open and holds messages of so many octets.
    Opened(Vec<u64>),
    /// No such user, or a wrong password: the session does not learn which.
    Denied,
    /// The pause is over.
    Paused,
    /// One id for each message asked for.
    UniqueIds(Vec<UniqueId>),
    /// Octets of the message: CR LF line ends, not byte-stuffed. `None`: it is complete.
    Text(Option<Vec<u8>>),
    /// The messages are gone for good.
    Committed,
    /// It was not done, and what the client is told.
    Failed(&'static str),
}

/// A unique id: the MD5 of the message (C-P6). Shown as 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UniqueId(pub [u8; 16]);

impl fmt::Display for UniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut shown = String::with_capacity(2 * self.0.len());
        let digits = self.0.iter().flat_map(|octet| [octet >> 4, octet & 15]);
        shown.extend(digits.map(|digit| char::from(DIGITS[usize::from(digit)])));
        f.write_str(&shown)
    }
}

/// A POP3 session.
#[derive(Debug)]
pub struct Session {
    state: State,
    activity: Activity,
    wrong_passwords: u32,
}

#[derive(Debug)]
enum State {
    /// Who USER named, if it was said.
    Authorization {
        name: Option<Vec<u8>>,
    },
    Transaction(Listing),
    /// QUIT was said; nothing more is taken.
    Update,
}

/// The messages of a maildrop and the marks of DELE.
#[derive(Debug)]
struct Listing {
    octets: Vec<u64>,
    deleted: Vec<bool>,
}

/// What a session is in the middle of.
#[derive(Debug)]
enum Activity {
    /// Nothing: the next line may come.
    None,
    LoggingIn,
    /// The pause after a wrong password.
    Pausing,
    /// LIST of everything; the next index.
    Listing(usize),
    /// UIDL of everything; the next index. `+OK` is only said when the first ids are there.
    UniqueIds(usize),
    /// UIDL of one.
    UniqueId(usize),
    /// RETR; `+OK` is only said when the first octets are there.
    Reading(Reading),
    Committing,
}

#[derive(Debug)]
struct Reading {
    octets: u64,
    started: bool,
    stuffer: DotStuffer,
}

/// The commands of RFC 1939 §5 to §7 that the seed lists.
#[derive(Clone, Copy)]
enum Verb {
    User,
    Pass,
    Stat,
    List,
    Retr,
    Dele,
    Noop,
    Rset,
    Quit,
    Uidl,
}

impl Verb {
    fn parse(word: &[u8]) -> Option<Self> {
        Some(match word.to_ascii_uppercase().as_slice() {
            b"USER" => Self::User,
            b"PASS" => Self::Pass,
            b"STAT" => Self::Stat,
            b"LIST" => Self::List,
            b"RETR" => Self::Retr,
            b"DELE" => Self::Dele,
            b"NOOP" => Self::Noop,
            b"RSET" => Self::Rset,
            b"QUIT" => Self::Quit,
            b"UIDL" => Self::Uidl,
            _ => return None,
        })
    }
}

impl Listing {
    /// How many messages are left, and their octets together.
    fn summary(&self) -> (usize, u64) {
        let left = self.octets.iter().zip(&self.deleted).filter(|(_, deleted)| !**deleted);
        left.fold((0, 0), |(count, sum), (octets, _)| (count + 1, sum + octets))
    }

    /// The index of the message with this number, or what is wrong with it.
    fn index(&self, argument: &[u8]) -> Result<usize, &'static str> {
        let digits = std::str::from_utf8(argument).ok().filter(|text| text.bytes().all(|octet| octet.is_ascii_digit()));
        let number: usize = digits.and_then(|digits| digits.parse().ok()).ok_or("Not a message number")?;
        let index = number.checked_sub(1).filter(|&index| index < self.octets.len()).ok_or("No such message")?;
        if self.deleted[index] { Err("Message is deleted") } else { Ok(index) }
    }
}

impl Default for Session {
    fn default() -> Self {
        Self { state: State::Authorization { name: None }, activity: Activity::None, wrong_passwords: 0 }
    }
}

impl Session {
    fn authorization(&mut self, verb: Verb, argument: Option<&[u8]>, replies: &mut Replies) -> Step<Request> {
        let State::Authorization { name } = &mut self.state else { return Step::Continue };
        match verb {
            Verb::User => match argument.map(<[u8]>::trim_ascii) {
                None | Some(b"") => err(replies, "Which user?"),
                Some(user) => {
                    *name = Some(user.to_vec());
                    replies.line(format_args!("+OK Send the password"));
                    Step::Continue
                }
            },
            Verb::Pass => {
                let Some(password) = argument else { return err(replies, "Which password?") };
                let Some(name) = name.take() else { return err(replies, "Say USER first") };
                self.activity = Activity::LoggingIn;
                Step::Ask(Request::Login { name, password: password.to_vec() })
            }
            Verb::Quit if is_absent(argument) => {
                replies.line(format_args!("+OK Goodbye"));
                self.state = State::Update;
                Step::Close
            }
            Verb::Quit => no_argument(replies),
            _ => err(replies, "Log in first"),
        }
    }

    fn transaction(&mut self, verb: Verb, argument: Option<&[u8]>, replies: &mut Replies) -> Step<Request> {
        let State::Transaction(listing) = &mut self.state else { return Step::Continue };
        match verb {
            Verb::User | Verb::Pass => err(replies, "Already logged in"),
            Verb::Stat | Verb::Noop | Verb::Rset | Verb::Quit if !is_absent(argument) => no_argument(replies),
            Verb::Stat => {
                let (count, octets) = listing.summary();
                // Exactly these: clients parse the line (C-P4).
                replies.line(format_args!("+OK {count} {octets}"));
                Step::Continue
            }
            Verb::Noop => {
                replies.line(format_args!("+OK"));
                Step::Continue
            }
            Verb::Rset => {
                listing.deleted.fill(false);
                let (count, octets) = listing.summary();
                replies.line(format_args!("+OK {count} messages ({octets} octets)"));
                Step::Continue
            }
            Verb::List if is_absent(argument) => {
                let (count, octets) = listing.summary();
                replies.line(format_args!("+OK {count} messages ({octets} octets)"));
                self.activity = Activity::Listing(0);
                Step::More
            }
            Verb::Uidl if is_absent(argument) => {
                self.activity = Activity::UniqueIds(0);
                self.ask_unique_ids(0, replies)
            }
            Verb::List | Verb::Uidl | Verb::Retr | Verb::Dele => {
                match listing.index(argument.unwrap_or_default().trim_ascii()) {
                    Err(what) => err(replies, what),
                    Ok(index) => self.on_message(verb, index, replies),
                }
            }
            Verb::Quit => {
                let marked = listing.deleted.iter().enumerate().filter(|(_, deleted)| **deleted);
                let marked = marked.map(|(index, _)| index).collect();
                self.state = State::Update;
                self.activity = Activity::Committing;
                Step::Ask(Request::Commit(marked))
            }
        }
    }

    /// A command that names one message, which is there and not deleted.
    fn on_message(&mut self, verb: Verb, index: usize, replies: &mut Replies) -> Step<Request> {
        let State::Transaction(listing) = &mut self.state else { return Step::Continue };
        let number = index + 1;
        match verb {
            Verb::Uidl => {
                self.activity = Activity::UniqueId(index);
                return Step::Ask(Request::UniqueIds(index..number));
            }
            Verb::Retr => {
                let octets = listing.octets[index];
                self.activity = Activity::Reading(Reading { octets, started: false, stuffer: DotStuffer::default() });
                return Step::Ask(Request::Read(index));
            }
            Verb::Dele => {
                listing.deleted[index] = true;
                replies.line(format_args!("+OK message {number} deleted"));
            }
            _ => replies.line(format_args!("+OK {number} {}", listing.octets[index])),
        }
        Step::Continue
    }

    fn logged_in(&mut self, answer: Answer, replies: &mut Replies) -> Step<Request> {
        match answer {
            Answer::Opened(octets) => {
                let deleted = vec![false; octets.len()];
                replies.line(format_args!("+OK Maildrop has {} messages", octets.len()));
                self.state = State::Transaction(Listing { octets, deleted });
                Step::Continue
            }
            Answer::Denied => {
                self.wrong_passwords += 1;
                self.activity = Activity::Pausing;
                Step::Ask(Request::Pause(WRONG_PASSWORD_PAUSE))
            }
            Answer::Failed(what) => err(replies, what),
            _ => Step::Continue,
        }
    }

    fn ask_unique_ids(&mut self, from: usize, replies: &mut Replies) -> Step<Request> {
        let State::Transaction(listing) = &self.state else { return Step::Continue };
        let end = listing.octets.len().min(from + UNIQUE_IDS_AT_ONCE);
        if from < end {
            return Step::Ask(Request::UniqueIds(from..end));
        }
        if from == 0 {
            replies.line(format_args!("+OK 0 messages"));
        }
        self.end_listing(replies)
    }

    fn list_unique_ids(&mut self, from: usize, answer: Answer, replies: &mut Replies) -> Step<Request> {
        let State::Transaction(listing) = &self.state else { return Step::Continue };
        match answer {
            Answer::UniqueIds(ids) => {
                if from == 0 {
                    replies.line(format_args!("+OK {} messages", listing.summary().0));
                }
                for (offset, id) in ids.iter().enumerate() {
                    if !listing.deleted[from + offset] {
                        replies.line(format_args!("{} {id}", from + offset + 1));
                    }
                }
                let next = from + ids.len();
                self.activity = Activity::UniqueIds(next);
                self.ask_unique_ids(next, replies)
            }
            Answer::Failed(what) if from == 0 => {
                self.activity = Activity::None;
                err(replies, what)
            }
            // The listing is half said: without its last line the client knows that it is not whole.
            _ => Step::Close,
        }
    }

    fn one_unique_id(&mut self, index: usize, answer: Answer, replies: &mut Replies) -> Step<Request> {
        match answer {
            Answer::UniqueIds(ids) if !ids.is_empty() => {
                replies.line(format_args!("+OK {} {}", index + 1, ids[0]));
                Step::Continue
            }
            Answer::Failed(what) => err(replies, what),
            _ => err(replies, "No unique id"),
        }
    }

    fn reading(&mut self, mut reading: Reading, answer: Answer, replies: &mut Replies) -> Step<Request> {
        match answer {
            Answer::Text(text) => {
                if !reading.started {
                    replies.line(format_args!("+OK {} octets", reading.octets));
                    reading.started = true;
                }
                let Some(text) = text else {
                    replies.text(0, |wire| reading.stuffer.end(wire));
                    replies.note(|| Entry::SaidOctets(reading.octets));
                    return Step::Continue;
                };
                replies.text(text.len() + text.len() / 64, |wire| reading.stuffer.stuff(&text, wire));
                self.activity = Activity::Reading(reading);
                Step::Ask(Request::ReadOn)
            }
            Answer::Failed(what) if !reading.started => err(replies, what),
            // The text is half sent: without its last line the client knows that it is not whole.
            _ => {
                self.activity = Activity::Reading(reading);
                Step::Close
            }
        }
    }

    fn committed(answer: Answer, replies: &mut Replies) -> Step<Request> {
        match answer {
            Answer::Failed(what) => err(replies, what),
            _ => {
                replies.line(format_args!("+OK Goodbye"));
                Step::Close
            }
        };
        Step::Close
    }

    fn end_listing(&mut self, replies: &mut Replies) -> Step<Request> {
        self.activity = Activity::None;
        replies.line(format_args!("."));
        Step::Continue
    }
}

impl session::Session for Session {
    type Request = Request;
    type Answer = Answer;

    /// C-P10, RFC 1939 §3.
    const IDLE: Option<Duration> = Some(Duration::from_secs(10 * 60));
    const OTHER_PROTOCOL: Option<&'static str> = Some(UNKNOWN_COMMAND);

    fn open(&mut self, replies: &mut Replies) {
        replies.line(format_args!("+OK POP3 ready [localhost]"));
    }

    fn line(&mut self, line: Line, replies: &mut Replies) -> Step<Request> {
        let Line::Text(line) = line else {
            return err(replies, "Line too long");
        };
        let (word, argument) = command(&line);
        let Some(verb) = Verb::parse(word) else {
            replies.line(format_args!("{UNKNOWN_COMMAND}"));
            return Step::Continue;
        };
        match self.state {
            State::Authorization { .. } => self.authorization(verb, argument, replies),
            State::Transaction(_) => self.transaction(verb, argument, replies),
            State::Update => Step::Close,
        }
    }

    fn answer(&mut self, answer: Answer, replies: &mut Replies) -> Step<Request> {
        match std::mem::replace(&mut self.activity, Activity::None) {
            Activity::LoggingIn => self.logged_in(answer, replies),
            Activity::Pausing => {
                replies.line(format_args!("-ERR Wrong user name or password"));
                if self.wrong_passwords >= WRONG_PASSWORDS_MAX { Step::Close } else { Step::Continue }
            }
            Activity::UniqueIds(from) => self.list_unique_ids(from, answer, replies),
            Activity::UniqueId(index) => self.one_unique_id(index, answer, replies),
            Activity::Reading(reading) => self.reading(reading, answer, replies),
            Activity::Committing => Self::committed(answer, replies),
            Activity::None | Activity::Listing(_) => Step::Continue,
        }
    }

    fn more(&mut self, replies: &mut Replies) -> Step<Request> {
        let (State::Transaction(listing), Activity::Listing(from)) = (&self.state, &self.activity) else {
            return Step::Continue;
        };
        let end = listing.octets.len().min(from + LISTED_AT_ONCE);
        for index in *from..end {
            if !listing.deleted[index] {
                replies.line(format_args!("{} {}", index + 1, listing.octets[index]));
            }
        }
        if end == listing.octets.len() {
            return self.end_listing(replies);
        }
        self.activity = Activity::Listing(end);
        Step::More
    }

    /// RFC 1939 §3: the connection is closed without a reply.
    fn idle(&mut self, _: &mut Replies) {}

    fn stop(&mut self, replies: &mut Replies) {
        let midway = match &self.activity {
            Activity::Listing(_) => true,
            Activity::UniqueIds(next) => *next > 0,
            Activity::Reading(reading) => reading.started,
            _ => false,
        };
        if !midway {
            err(replies, "Server shutting down");
        }
    }

    fn too_many_connections() -> &'static str {
        "-ERR Too many connections, try again later"
    }
}

fn err(replies: &mut Replies, text: &str) -> Step<Request> {
    replies.line(format_args!("-ERR {text}"));
    Step::Continue
}

fn no_argument(replies: &mut Replies) -> Step<Request> {
    err(replies, "This command takes no argument")
}

/// No argument, or only spaces.
fn is_absent(argument: Option<&[u8]>) -> bool {
    argument.is_none_or(|argument| argument.trim_ascii().is_empty())
}

#[cfg(test)]
#[path = "pop3/tests.rs"]
mod tests;
