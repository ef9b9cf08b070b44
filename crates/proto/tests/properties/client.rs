//! The SMTP client's session (C-F3, C-F4), fed the replies of a hostile server.

use pillarbox_proto::client::{Client, OUTCOME_MAX_OCTETS, Outcome, REPLY_LINE_MAX_OCTETS, REPLY_LINES_MAX, Todo};
use pillarbox_proto::{Address, Entry, Envelope, ReversePath};

use super::data;
use super::input::{Choices, Input, assert_same, cut_line, is_printable, shown, take_line};

/// The message and the driver's part of it.
#[derive(Clone, Debug)]
struct Plan<'a> {
    envelope: Envelope,
    text: Vec<u8>,
    /// The text cannot be read beyond so many pieces.
    readable: usize,
    /// Silence, not a closed connection, follows the last reply.
    silent: bool,
    pieces: Choices<'a>,
}

/// What one session did.
#[derive(Debug, PartialEq, Eq)]
struct Spoken {
    outcomes: Vec<(Address, Outcome)>,
    sent: Vec<u8>,
    /// Where in `sent` the text begins.
    text_at: Option<usize>,
    text_ended: bool,
    text_failed: bool,
    /// All replies were heard, and there were too few.
    left_alone: bool,
    transcript: Vec<Entry>,
}

/// Whatever the server says: the session ends; it says commands in order, each whole and once, and a text that nobody
/// can misread; each recipient has exactly one outcome, and it is the one that the replies give.
pub(crate) fn check(input: &Input) {
    let mut choices = input.choices();
    let count = [1, 1, 2, 2, 3, 0, 60, 120][choices.below(8)];
    let path = |index: usize| format!("r{index}@example.org").parse().expect("an address");
    let sender = [None, Some("a@localhost"), Some("\"a > b\"@[127.0.0.1]")][choices.below(3)];
    let reverse_path = ReversePath(sender.map(|sender| sender.parse().expect("an address")));
    let plan = Plan {
        envelope: Envelope { reverse_path, forward_paths: (0..count).map(path).collect() },
        text: choices.text(),
        readable: if choices.one_in(4) { choices.below(4) } else { usize::MAX },
        silent: choices.one_in(2),
        pieces: choices.clone(),
    };
    // Pieces as they come: replies may be there before they are due.
    speak(&plan, &choices.cut(&input.wire));

    // One line after another, whole or in pieces: that makes no difference.
    let lines: Vec<&[u8]> = input.wire.split_inclusive(|&octet| octet == b'\n').collect();
    let pieces: Vec<&[u8]> = lines.iter().flat_map(|line| choices.cut(line)).collect();
    assert_eq!(speak(&plan, &pieces), speak(&plan, &lines), "in pieces");
}

/// Runs a session as its driver does, and checks it.
fn speak(plan: &Plan<'_>, pieces: &[&[u8]]) -> Spoken {
    let mut client = Client::new("client.example", &plan.envelope, plan.text.len() as u64);
    let mut spoken = Spoken {
        outcomes: Vec::new(),
        sent: Vec::new(),
        text_at: None,
        text_ended: false,
        text_failed: false,
        left_alone: false,
        transcript: Vec::new(),
    };
    let mut choices = plan.pieces.clone();
    let mut text = plan.text.as_slice();
    let mut text_pieces = 0;
    let mut fed = 0;
    loop {
        let todo = client.todo();
        spoken.transcript.extend(client.take_transcript());
        match todo {
            Todo::Send(octets) => {
                assert!(!octets.is_empty(), "nothing to send");
                spoken.sent.extend_from_slice(&octets);
            }
            Todo::Receive { .. } => {
                assert!(!spoken.left_alone, "it waits for more behind the end");
                match pieces.get(fed) {
                    Some(piece) => {
                        client.received(piece);
                        fed += 1;
                    }
                    None => {
                        spoken.left_alone = true;
                        if plan.silent { client.timed_out() } else { client.lost("closed by the peer") }
                    }
                }
            }
            Todo::Text => {
                spoken.text_at.get_or_insert(spoken.sent.len());
                assert!(!spoken.text_ended, "the text has ended");
                let piece;
                (piece, text) = text.split_at(choices.size().min(text.len()));
                if text_pieces == plan.readable {
                    client.text_fails("the text cannot be read");
                    spoken.text_failed = true;
                } else if piece.is_empty() {
                    client.text_ends();
                    spoken.text_ended = true;
                } else {
                    client.text(piece);
                }
                text_pieces += 1;
            }
            Todo::Close => break,
        }
    }
    assert!(matches!(client.todo(), Todo::Close), "closed once is closed for good");
    assert!(client.is_settled(), "a recipient without outcome");
    spoken.outcomes = client.into_outcomes();
    check_spoken(plan, &pieces[..fed].concat(), &spoken);
    spoken
}

fn check_spoken(plan: &Plan<'_>, heard: &[u8], spoken: &Spoken) {
    let addresses = spoken.outcomes.iter().map(|(address, _)| address);
    assert!(addresses.eq(&plan.envelope.forward_paths), "each recipient has one outcome");

    let commands = spoken.text_at.map_or(spoken.sent.as_slice(), |at| &spoken.sent[..at]);
    let behind = spoken.text_at.map_or(&b""[..], |at| check_text(plan, spoken.text_ended, &spoken.sent[at..]));
    let said = check_commands(plan, &[commands, behind].concat());
    let noted = spoken.transcript.iter().filter_map(|entry| match entry {
        Entry::Said(line) => Some(line.as_slice()),
        _ => None,
    });
    assert!(said.iter().map(String::as_bytes).eq(noted), "what is said is what is noted");

    // The n-th reply answers what was asked as the n-th: the greeting, the commands, the final dot.
    let asked: Vec<&[u8]> = [&b"greeting"[..]]
        .into_iter()
        .chain(spoken.transcript.iter().filter_map(|entry| match entry {
            Entry::Said(line) => Some(line.as_slice()),
            Entry::SaidOctets(_) => Some(&b"."[..]),
            _ => None,
        }))
        .collect();
    let (codes, sound) = codes(heard);
    let answered_to_the_end = asked.last() == Some(&&b"QUIT"[..]) && codes.len() == asked.len();
    let reason = spoken.left_alone || spoken.text_failed || !sound || codes.len() > asked.len() || codes.contains(&421);
    assert!(answered_to_the_end || reason, "it went away after {codes:?}");
    let code = |wanted: &dyn Fn(&[u8]) -> bool| {
        asked.iter().position(|asked| wanted(asked)).and_then(|index| codes.get(index).copied())
    };
    let positive = |code: Option<u16>| code.is_some_and(|code| code / 100 == 2);
    let accepted = |asked: &[u8]| asked.starts_with(b"RCPT") && positive(code(&|other| other == asked));
    if asked.contains(&&b"DATA"[..]) {
        assert!(asked.iter().any(|asked| accepted(asked)), "no text is offered for nobody");
    }
    if spoken.text_at.is_some() {
        assert_eq!(code(&|asked| asked == b"DATA"), Some(354), "no text unless asked for");
    }
    let taken = positive(code(&|asked| asked.starts_with(b"MAIL"))) && positive(code(&|asked| asked == b"."));
    for (address, outcome) in &spoken.outcomes {
        let rcpt = code(&|asked| asked == format!("RCPT TO:<{address}>").as_bytes());
        let delivered = matches!(outcome, Outcome::Delivered(_));
        assert_eq!(delivered, taken && positive(rcpt), "{address} is {outcome} after {codes:?}");
        if matches!(outcome, Outcome::Failed(_)) {
            assert!(codes.iter().any(|code| code / 100 == 5), "{address} failed after {codes:?}");
        }
        let (Outcome::Delivered(text) | Outcome::Deferred(text) | Outcome::Failed(text)) = outcome;
        assert!(is_printable(text.as_bytes()), "{text:?}");
        assert!(text.len() <= OUTCOME_MAX_OCTETS, "{} octets", text.len());
    }
    let mut away = false;
    for entry in &spoken.transcript {
        if let Entry::Heard(line) = entry {
            assert!(is_printable(line), "{}", shown(line));
            assert!(line.len() <= REPLY_LINE_MAX_OCTETS + 1);
            away |= line.starts_with(b"421");
        } else {
            assert!(!away, "{entry:?} to a server that goes away");
        }
    }
}

/// Checks that the commands are whole lines in their order, each at most once; gives them.
fn check_commands(plan: &Plan<'_>, mut octets: &[u8]) -> Vec<String> {
    let mail = format!("MAIL FROM:{}", plan.envelope.reverse_path);
    let with_size = format!("{mail} SIZE={}", plan.text.len());
    let mut expected = vec!["EHLO client.example".to_owned(), "HELO client.example".to_owned()];
    let mails = [&mail, &with_size].map(|mail| [mail.clone(), format!("{mail} BODY=8BITMIME")]).concat();
    expected.extend(mails);
    expected.extend(plan.envelope.forward_paths.iter().map(|path| format!("RCPT TO:<{path}>")));
    expected.extend(["DATA".to_owned(), "QUIT".to_owned()]);
    let mut expected = expected.iter();
    let mut said = Vec::new();
    while let Some(line) = take_line(&mut octets) {
        assert!(expected.any(|command| command.as_bytes() == line), "{} is out of order", shown(line));
        said.push(String::from_utf8_lossy(line).into_owned());
    }
    assert_eq!(shown(octets), "", "part of a command");
    assert!(said.iter().filter(|command| command.starts_with("MAIL")).count() <= 1);
    said
}

/// Checks the text as it was sent: the message's, each bare CR a space, and nothing in it that could be taken for a
/// line end or for the end. Gives what was said behind it.
fn check_text<'a>(plan: &Plan<'_>, ended: bool, sent: &'a [u8]) -> &'a [u8] {
    let mut spaced = plan.text.clone();
    for at in 0..spaced.len() {
        if spaced[at] == b'\r' && spaced.get(at + 1) != Some(&b'\n') {
            spaced[at] = b' ';
        }
    }
    let end = data::plain(sent);
    assert_eq!(end.is_some(), ended, "the final dot is sent behind the whole text and only there");
    match end {
        Some((text, taken)) => {
            assert_same(&text, &spaced, "text");
            &sent[taken..]
        }
        None => {
            let mut rest = sent;
            while take_line(&mut rest).is_some() {}
            assert!(!rest.contains(&b'\n') && sent.len() <= 2 * plan.text.len());
            &[]
        }
    }
}

/// The codes of the replies, up to the first that is none (RFC 5321 §4.2), and whether all of them were sound.
fn codes(mut heard: &[u8]) -> (Vec<u16>, bool) {
    let mut codes = Vec::new();
    let mut open: Option<(u16, usize)> = None;
    while let Some((_, octets, rest)) = cut_line(heard) {
        let line = heard[..octets].trim_ascii_end();
        heard = rest;
        let digits = line.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit));
        let Some(code) = digits.and_then(|digits| shown(digits).parse().ok()) else { return (codes, false) };
        let (first, lines) = open.unwrap_or((code, 0));
        let whole = matches!(line.get(3), None | Some(b' '));
        let sound = (whole || line[3] == b'-') && (200..600).contains(&code) && first == code;
        if !sound || octets > REPLY_LINE_MAX_OCTETS || lines == REPLY_LINES_MAX {
            return (codes, false);
        }
        open = (!whole).then_some((code, lines + 1));
        if whole {
            codes.push(code);
        }
    }
    (codes, heard.len() < REPLY_LINE_MAX_OCTETS)
}
