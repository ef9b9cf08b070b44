//! What the sessions say, pinned octet for octet: 10,000 wires for each of them, made of a seed, and which octets leave
//! together. `golden/*.txt` has the first wires as they are, so that a person can read one, and a hash for each ten of all.
//!
//! A difference is a change of behaviour. What was said is written to a file whose name the failure tells: the same file
//! of an earlier commit shows what differs. `UPDATE_GOLDEN=1` takes what is said now for what is to be said.

use std::convert::Infallible;
use std::fmt::{Arguments, Write as _};
use std::path::PathBuf;
use std::{env, fs};

use pillarbox_proto::client::{self, Client};
use pillarbox_proto::{Connection, Entry, Envelope, ReversePath, Session, Todo, echo, pop3, smtp};
use xxhash_rust::xxh3::xxh3_64;

#[path = "properties/mod.rs"]
#[allow(dead_code, reason = "of the properties only the wires are needed")]
mod properties;

use properties::End;
use properties::input::{Choices, shown};
use properties::wires::{ECHO, ECHO_OPENINGS, POP3, POP3_OPENINGS, REPLIES, REPLY_OPENINGS, SMTP, SMTP_OPENINGS};

const WIRES: usize = 10_000;
/// So many have one hash.
const TOGETHER: usize = 10;
/// So many are shown.
const SHOWN: usize = 25;

/// A little generator of numbers (xorshift): the same wires everywhere and for ever.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 16) % (bound as u64)).expect("it is below a usize")
    }

    fn octets(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most)).map(|_| u8::try_from(self.below(256)).expect("an octet")).collect()
    }

    /// An opening and pieces, now and then with a run of any octets or many of one piece.
    fn wire(&mut self, openings: &[&str], pieces: &[&str]) -> Vec<u8> {
        let mut wire = openings[self.below(openings.len())].as_bytes().to_vec();
        for _ in 0..self.below(24) {
            let piece = pieces[self.below(pieces.len())];
            match self.below(83) {
                0 => wire.extend(piece.repeat(self.below(10_000) / piece.len()).into_bytes()),
                1 | 2 => wire.extend(self.octets(4)),
                _ => wire.extend(piece.as_bytes()),
            }
        }
        wire
    }
}

/// Compares what is said with what was said when the file was made. `say` plays one wire.
fn pin(name: &str, openings: &[&str], pieces: &[&str], say: fn(&mut Choices<'_>, &[u8], &mut String)) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut all, mut hashes) = (String::new(), String::new());
    let (mut shown, mut hashed) = (0, 0);
    for number in 0..WIRES {
        let wire = random.wire(openings, pieces);
        let choices = random.octets(24);
        line(&mut all, format_args!("wire {number}"));
        say(&mut Choices::new(&choices), &wire, &mut all);
        if number + 1 == SHOWN {
            shown = all.len();
        }
        if (number + 1) % TOGETHER == 0 {
            line(&mut hashes, format_args!("{number:04} {:016x}", xxh3_64(&all.as_bytes()[hashed..])));
            hashed = all.len();
        }
    }
    let golden = [&all[..shown], &hashes].concat();
    let file: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/golden", &format!("{name}.txt")].iter().collect();
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &golden).expect("the golden file can be written");
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    if golden != expected {
        let said: PathBuf = [env!("CARGO_TARGET_TMPDIR"), &format!("{name}.txt")].iter().collect();
        fs::write(&said, &all).expect("what was said can be written");
        let differs = golden.lines().zip(expected.lines()).find(|(now, before)| now != before);
        panic!("{} is not what is said now, from {differs:?} on; all of it is in {}", file.display(), said.display());
    }
}

fn line(all: &mut String, what: Arguments<'_>) {
    writeln!(all, "{what}").expect("a string takes all");
}

/// A reply that is shown is one line: of long ones the beginning, and a hash.
fn octets(octets: &[u8]) -> String {
    const SHOWN_MAX_OCTETS: usize = 200;
    match octets.get(..SHOWN_MAX_OCTETS) {
        Some(begin) => format!("{} and more: {} octets, {:016x}", shown(begin), octets.len(), xxh3_64(octets)),
        None => shown(octets),
    }
}

fn entries(entries: Vec<Entry>, all: &mut String) {
    for entry in entries {
        match entry {
            Entry::Heard(text) => line(all, format_args!("  heard {}", octets(&text))),
            Entry::HeardOctets(count) => line(all, format_args!("  heard {count} octets")),
            Entry::Said(text) => line(all, format_args!("  said {}", octets(&text))),
            Entry::SaidOctets(count) => line(all, format_args!("  said {count} octets")),
        }
    }
}

/// Runs a connection as the server's driver does. `perform` gives `None` where the server stops and does not wait.
fn converse<S: Session>(
    session: S,
    choices: &mut Choices<'_>,
    wire: &[u8],
    all: &mut String,
    mut perform: impl FnMut(S::Request, &mut String) -> Option<S::Answer>,
) {
    let end = End::choose(choices);
    let pieces = if choices.one_in(2) { vec![wire] } else { choices.cut(wire) };
    let mut pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
    let mut connection = Connection::with_transcript(session);
    loop {
        let todo = connection.todo();
        entries(connection.take_transcript(), all);
        match todo {
            Todo::Send(said) => line(all, format_args!("S {}", octets(&said))),
            Todo::Perform(request) => {
                if choices.one_in(2) && connection.has_replies() {
                    line(all, format_args!("S {} (ahead)", octets(&connection.take_replies())));
                }
                match perform(request, all) {
                    Some(answer) => connection.answered(answer),
                    None => {
                        line(all, format_args!("abandoned"));
                        connection.abandon();
                    }
                }
            }
            Todo::Receive => {
                if let Some(piece) = pieces.next() {
                    line(all, format_args!("C {}", octets(piece)));
                    connection.received(piece);
                } else {
                    line(all, format_args!("{end:?}"));
                    match end {
                        End::Closed => connection.ended(),
                        End::Idle => connection.idle(),
                        End::Stopped => connection.stop(),
                    }
                }
            }
            Todo::Close => break line(all, format_args!("closed; progress {}", connection.take_progress())),
        }
    }
}

fn say_echo(choices: &mut Choices<'_>, wire: &[u8], all: &mut String) {
    converse(echo::Session::new("a name / a login"), choices, wire, all, |request, _| -> Option<Infallible> {
        match request {}
    });
}

fn say_smtp(choices: &mut Choices<'_>, wire: &[u8], all: &mut String) {
    let message_max_octets = [u64::MAX, 10_000, 40][choices.below(3)];
    let mut answers = choices.clone();
    converse(smtp::Session::new(message_max_octets), choices, wire, all, |request, all| {
        match &request {
            smtp::Request::Recipient(address) => line(all, format_args!("? recipient {address}")),
            smtp::Request::Text(text) => line(all, format_args!("? text {}", octets(text))),
            smtp::Request::Accept(Envelope { reverse_path, forward_paths }) => {
                line(all, format_args!("? accept from {reverse_path}"));
                forward_paths.iter().for_each(|path| line(all, format_args!("?   to {path}")));
            }
            smtp::Request::Discard => line(all, format_args!("? discard")),
        }
        let refused = smtp::Answer::Refused(smtp::Refusal { code: 451, text: "Not now" });
        match answers.below(40) {
            0 => None,
            1..8 if !matches!(request, smtp::Request::Discard) => Some(refused),
            _ => Some(smtp::Answer::Taken),
        }
    });
}

fn say_pop3(choices: &mut Choices<'_>, wire: &[u8], all: &mut String) {
    let texts: Vec<Vec<u8>> = match choices.next() {
        255 => vec![choices.text(); 1030],
        count => (0..count % 8).map(|_| choices.text()).collect(),
    };
    let mut answers = choices.clone();
    let mut reading: &[u8] = &[];
    converse(pop3::Session::default(), choices, wire, all, |request, all| {
        let failed = Some(pop3::Answer::Failed("Maildrop is not readable"));
        let what = answers.below(40);
        let fails = (1..5).contains(&what);
        match request {
            _ if what == 0 => None,
            pop3::Request::Login { name, password } => {
                line(all, format_args!("? login {} {}", octets(&name), octets(&password)));
                match what {
                    1..5 => failed,
                    5..13 => Some(pop3::Answer::Denied),
                    _ => Some(pop3::Answer::Opened(texts.iter().map(|text| text.len() as u64).collect())),
                }
            }
            pop3::Request::Pause(pause) => {
                line(all, format_args!("? pause {} ms", pause.as_millis()));
                Some(pop3::Answer::Paused)
            }
            pop3::Request::UniqueIds(range) => {
                line(all, format_args!("? unique ids {} to {}", range.start, range.end));
                let id = |index: usize| pop3::UniqueId(((index as u128) << 64 | 0xa5).to_le_bytes());
                if fails { failed } else { Some(pop3::Answer::UniqueIds(range.map(id).collect())) }
            }
            pop3::Request::Commit(indices) => {
                line(all, format_args!("? commit {indices:?}"));
                if fails { failed } else { Some(pop3::Answer::Committed) }
            }
            request @ (pop3::Request::Read(_) | pop3::Request::ReadOn) => {
                if let pop3::Request::Read(index) = request {
                    line(all, format_args!("? read {index}"));
                    reading = &texts[index];
                } else {
                    line(all, format_args!("? read on"));
                }
                let piece;
                (piece, reading) = reading.split_at(answers.size().min(reading.len()));
                if fails { failed } else { Some(pop3::Answer::Text((!piece.is_empty()).then(|| piece.to_vec()))) }
            }
        }
    });
}

fn say_client(choices: &mut Choices<'_>, wire: &[u8], all: &mut String) {
    let count = [1, 1, 2, 2, 3, 0, 60, 120][choices.below(8)];
    let path = |index: usize| format!("r{index}@example.org").parse().expect("an address");
    let sender = [None, Some("a@localhost"), Some("\"a > b\"@[127.0.0.1]")][choices.below(3)];
    let reverse_path = ReversePath(sender.map(|sender| sender.parse().expect("an address")));
    let envelope = Envelope { reverse_path, forward_paths: (0..count).map(path).collect() };
    let text = choices.text();
    let readable = if choices.one_in(4) { choices.below(4) } else { usize::MAX };
    let is_silent = choices.one_in(2);
    let pieces = choices.cut(wire);
    let (mut pieces, mut text, mut read) = (pieces.into_iter(), text.as_slice(), 0);
    let mut client = Client::new("client.example", &envelope, text.len() as u64);
    loop {
        let todo = client.todo();
        entries(client.take_transcript(), all);
        match todo {
            client::Todo::Send(said) => line(all, format_args!("S {}", octets(&said))),
            client::Todo::Receive { within, reply } => {
                line(all, format_args!("reply {reply} within {} s", within.as_secs()));
                match pieces.next() {
                    Some(piece) => {
                        line(all, format_args!("R {}", octets(piece)));
                        client.received(piece);
                    }
                    None if is_silent => client.timed_out(),
                    None => client.lost("closed by the peer"),
                }
            }
            client::Todo::Text => {
                let piece;
                (piece, text) = text.split_at(choices.size().min(text.len()));
                match piece {
                    _ if read == readable => client.text_fails("the text cannot be read"),
                    [] => client.text_ends(),
                    _ => client.text(piece),
                }
                read += 1;
            }
            client::Todo::Close => break,
        }
        line(all, format_args!("settled {}", client.is_settled()));
    }
    client.into_outcomes().iter().for_each(|(path, outcome)| line(all, format_args!("{path} {outcome}")));
}

#[test]
fn echo_sessions_say_what_they_said() {
    pin("echo", ECHO_OPENINGS, ECHO, say_echo);
}

#[test]
fn smtp_sessions_say_what_they_said() {
    pin("smtp", SMTP_OPENINGS, SMTP, say_smtp);
}

#[test]
fn pop3_sessions_say_what_they_said() {
    pin("pop3", POP3_OPENINGS, POP3, say_pop3);
}

#[test]
fn smtp_client_sessions_say_what_they_said() {
    pin("client", REPLY_OPENINGS, REPLIES, say_client);
}
