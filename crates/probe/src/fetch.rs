//! What `pop3-test` does: fetches the one message that `smtp-test` has sent, and deletes it.
//!
//! This is no conversation file, because what a server answers has to agree with what it has answered before: the
//! octets of STAT, LIST and RETR, the numbers, the unique id. And a server that is not ours may put lines into the header,
//! or say more than it has to where RFC 1939 lets it.

use crate::conversation::{Action, Conversation};
use crate::reply::WayOn;
use crate::talk::{Talk, Wrong};
use crate::text::{Pattern, show_short};

/// Longest unique id (RFC 1939 §7).
const UNIQUE_ID_MAX_OCTETS: usize = 70;
/// Most lines of a message or listing that are read.
const LINES_MAX: usize = 100_000;

/// Fetches and deletes the one message in the mailbox of `user`, which must be `text` (CR LF line ends); its header may
/// have other fields too.
///
/// # Errors
/// The first thing that is wrong.
pub fn fetch(talk: &mut Talk<'_>, user: &str, text: &[u8]) -> Result<(), Wrong> {
    log_in(talk, 1, user)?;
    let octets = stat(talk, 1)?;
    let is_listed = |line: &[u8]| line.strip_prefix(b"1 ").and_then(number) == Some(octets);
    listing(talk, "LIST", is_listed, &format!("`1 {octets}<CR><LF>`"))?;
    let mut unique_id = Vec::new();
    listing(
        talk,
        "UIDL",
        |line| match line.strip_prefix(b"1 ") {
            Some(id) if is_unique_id(id) => {
                unique_id = id.to_vec();
                true
            }
            _ => false,
        },
        "`1 `, a unique id of 1 to 70 printable characters, `<CR><LF>`",
    )?;
    command(talk, 1, "UIDL 1")?;
    let again = [b"+OK 1 ", unique_id.as_slice(), b"\r\n"].concat();
    talk.line(1, &Pattern::exact(&again))?;
    retr(talk, octets, text)?;
    ok(talk, 1, "DELE 1")?;
    listing_is_empty(talk, 1)?;
    ok(talk, 1, "QUIT")?;
    talk.closed(1)?;

    // It is gone for good, and nothing has come in its place.
    log_in(talk, 2, user)?;
    command(talk, 2, "STAT")?;
    talk.line_that(2, "`+OK 0 0<CR><LF>`", |line| {
        line.strip_suffix(b"\r\n").and_then(|line| line.strip_prefix(b"+OK 0 ")).and_then(number) == Some(0)
    })?;
    ok(talk, 2, "QUIT")?;
    talk.closed(2)
}

/// The text of the message in `smtp-test`'s conversation, as RETR has to send it, without byte-stuffing: what stands
/// between the reply 354 and the lone dot.
#[must_use]
pub fn text_sent(conversation: &Conversation) -> Vec<u8> {
    let data = conversation.steps.iter().skip_while(|step| !asks_for_text(&step.action)).skip(1);
    let mut text = Vec::new();
    for step in data {
        let Action::Send { octets, .. } = &step.action else { break };
        if octets == b".\r\n" {
            break;
        }
        text.extend_from_slice(octets.strip_prefix(b".").unwrap_or(octets));
    }
    text
}

fn asks_for_text(action: &Action) -> bool {
    matches!(action, Action::Reply { codes, .. } if codes.contains(*b"354"))
}

fn log_in(talk: &mut Talk<'_>, client: usize, user: &str) -> Result<(), Wrong> {
    status(talk, client, "+OK")?;
    ok(talk, client, &format!("USER {user}"))?;
    ok(talk, client, "PASS cis505")
}

/// `STAT`, which must tell of one message; gives its octets.
fn stat(talk: &mut Talk<'_>, client: usize) -> Result<u64, Wrong> {
    let mut octets = None;
    command(talk, client, "STAT")?;
    talk.line_that(client, "`+OK 1 `, a number of octets, `<CR><LF>`", |line| {
        octets = line.strip_suffix(b"\r\n").and_then(|line| line.strip_prefix(b"+OK 1 ")).and_then(number);
        octets.is_some()
    })?;
    octets.ok_or_else(|| Wrong::fatal("a number", "none"))
}

/// A listing of one message.
fn listing(talk: &mut Talk<'_>, word: &str, mut right: impl FnMut(&[u8]) -> bool, expected: &str) -> Result<(), Wrong> {
    ok(talk, 1, word)?;
    talk.line_that(1, expected, |line| line.strip_suffix(b"\r\n").is_some_and(&mut right))?;
    talk.line(1, &Pattern::exact(b".\r\n")).map(|_| ())
}

/// A listing of nothing, and a message that can no longer be had.
fn listing_is_empty(talk: &mut Talk<'_>, client: usize) -> Result<(), Wrong> {
    ok(talk, client, "LIST")?;
    talk.line(client, &Pattern::exact(b".\r\n"))?;
    command(talk, client, "RETR 1")?;
    status(talk, client, "-ERR")
}

/// `RETR 1`: the text that was sent, line by line, and as many octets as were promised. After a wrong line the others are
/// judged too.
fn retr(talk: &mut Talk<'_>, octets: u64, text: &[u8]) -> Result<(), Wrong> {
    ok(talk, 1, "RETR 1")?;
    let mut message = Message::new(text);
    let mut got = 0;
    let mut first = None;
    for _ in 0..LINES_MAX {
        let mut is_end = false;
        let mut expected = format!("`{}`", show_short(message.expected()));
        if message.is_complete() && got != octets {
            expected += &format!(" behind {octets} octets, as STAT and LIST said; there were {got}");
        }
        let judged = talk.line_that(1, &expected, |line| {
            is_end = line == b".\r\n";
            if is_end {
                return message.is_complete() && got == octets;
            }
            // Dots are counted before they are stuffed.
            got += (line.len() - usize::from(line.starts_with(b"."))) as u64;
            message.is_right(line)
        });
        match judged {
            Err(wrong) if wrong.way_on == WayOn::None => return Err(first.unwrap_or(wrong)),
            Err(wrong) => drop(first.get_or_insert(wrong)),
            Ok(_) => {}
        }
        if is_end {
            return first.map_or(Ok(()), Err);
        }
    }
    Err(Wrong::fatal("a lone dot", format!("{LINES_MAX} lines")))
}

/// The message that was sent, while it is compared line by line with what comes.
struct Message<'a> {
    /// What has to come, as it is sent: with CR LF and stuffed dots.
    lines: Vec<Vec<u8>>,
    /// The names of the fields of its header.
    fields: Vec<&'a [u8]>,
    /// How many of the lines have come or are taken for missing.
    at: usize,
    /// The header has not ended.
    in_header: bool,
    /// The last line was of a field that somebody has put in: lines that continue it are right too.
    in_foreign_field: bool,
    /// What was expected in place of the last line, if that was wrong. It may still come.
    expected_before: Option<usize>,
}

impl<'a> Message<'a> {
    fn new(text: &'a [u8]) -> Self {
        let lines: Vec<&[u8]> = text.split_inclusive(|&octet| octet == b'\n').collect();
        let fields = lines.iter().map_while(|line| field_name(line)).collect();
        let stuffed = |line: &&[u8]| [if line.starts_with(b".") { &b"."[..] } else { b"" }, line].concat();
        Self {
            lines: lines.iter().map(stuffed).collect(),
            fields,
            at: 0,
            in_header: true,
            in_foreign_field: false,
            expected_before: None,
        }
    }

    fn is_complete(&self) -> bool {
        self.at == self.lines.len()
    }

    /// What should come next.
    fn expected(&self) -> &[u8] {
        self.lines.get(self.at).map_or(b".\r\n", Vec::as_slice)
    }

    /// Judges the next line. After a wrong one it finds out whether that was too much, or stood for another, or whether
    /// others are missing, so that the right ones behind it are right.
    fn is_right(&mut self, line: &[u8]) -> bool {
        if self.is_foreign(line) {
            return true;
        }
        let expected_before = self.expected_before.take();
        let is_next = self.lines.get(self.at).is_some_and(|expected| expected == line);
        if is_next {
            self.pass(self.at);
            return true;
        }
        if let Some(at) = expected_before.filter(|&at| self.lines[at] == line) {
            self.pass(at);
            return true;
        }
        if !self.is_complete() {
            self.expected_before = Some(self.at);
            // There are several empty lines: one that is not the next proves little.
            let look = if line == b"\r\n" { 2 } else { self.lines.len() };
            let missing = self.lines.iter().skip(self.at).take(look).position(|expected| expected == line);
            self.pass(self.at + missing.unwrap_or(0));
        }
        false
    }

    fn pass(&mut self, line: usize) {
        self.in_header &= self.lines[line] != b"\r\n";
        self.at = line + 1;
    }

    /// Whether the line belongs to a field that is none of ours: servers put a trace into the header, a date, an id.
    fn is_foreign(&mut self, line: &[u8]) -> bool {
        let continues = line.starts_with(b" ") || line.starts_with(b"\t");
        let is_foreign = match field_name(line) {
            Some(name) => !self.fields.iter().any(|field| field.eq_ignore_ascii_case(name)),
            None => continues && self.in_foreign_field,
        };
        self.in_foreign_field = self.in_header && line.ends_with(b"\r\n") && is_foreign;
        self.in_foreign_field
    }
}

/// The name of a field, if the line begins one (RFC 5322 §2.2).
fn field_name(line: &[u8]) -> Option<&[u8]> {
    let name = &line[..line.iter().position(|&octet| octet == b':')?];
    (!name.is_empty() && name.iter().all(u8::is_ascii_graphic)).then_some(name)
}

fn ok(talk: &mut Talk<'_>, client: usize, text: &str) -> Result<(), Wrong> {
    command(talk, client, text)?;
    status(talk, client, "+OK")
}

/// A line that is this status indicator, alone or with a text behind a space (RFC 1939 §3).
fn status(talk: &mut Talk<'_>, client: usize, indicator: &str) -> Result<(), Wrong> {
    let judged = talk.line_that(client, &format!("`{indicator}`"), |line| {
        let text = line.strip_suffix(b"\r\n").and_then(|line| line.strip_prefix(indicator.as_bytes()));
        text.is_some_and(|text| matches!(text.first(), None | Some(b' ')))
    });
    judged.map(|_| ())
}

fn command(talk: &mut Talk<'_>, client: usize, text: &str) -> Result<(), Wrong> {
    talk.send(client, format!("{text}\r\n").as_bytes())
}

/// A number of octets, alone or with something behind a space: RFC 1939 §5 says nothing of what follows a size.
fn number(text: &[u8]) -> Option<u64> {
    let digits = text.split(|&octet| octet == b' ').next()?;
    let digits = std::str::from_utf8(digits).ok()?;
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn is_unique_id(id: &[u8]) -> bool {
    (1..=UNIQUE_ID_MAX_OCTETS).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"From: a\r\nTo: b\r\n\r\none\r\n.two\r\n\r\nthree: 3\r\n";

    /// Which of these lines, without line ends, are wrong, and what is expected behind them.
    fn judged(lines: &[&str]) -> (Vec<usize>, String) {
        let mut message = Message::new(TEXT);
        let wrong = (0..lines.len()).filter(|&at| !message.is_right(format!("{}\r\n", lines[at]).as_bytes()));
        let wrong = wrong.collect();
        (wrong, String::from_utf8_lossy(message.expected()).trim_end().to_owned())
    }

    /// holds C-T1
    #[test]
    fn each_line_of_a_message_is_judged_by_itself() {
        let all = |wrong: &[usize]| (wrong.to_vec(), ".".to_owned());
        // As it was sent.
        assert_eq!(judged(&["From: a", "To: b", "", "one", "..two", "", "three: 3"]), all(&[]));
        // With fields of the server's before, between and behind ours.
        let more = ["X: y", " z", "From: a", "Date: d", "\tmore", "To: b", "Id: i", "", "one", "..two", "", "three: 3"];
        assert_eq!(judged(&more), all(&[]));
        // A field of ours that is another, or there twice.
        assert_eq!(judged(&["From: x", "To: b", "", "one", "..two", "", "three: 3"]), all(&[0]));
        assert_eq!(judged(&["From: a", "to: b", "", "one", "..two", "", "three: 3"]), all(&[1]));
        assert_eq!(judged(&["From: a", "From: a", "To: b", "", "one", "..two", "", "three: 3"]), all(&[1]));
        // What continues no foreign field.
        assert_eq!(judged(&[" x", "From: a", "To: b", "", "one", "..two", "", "three: 3"]), all(&[0]));
        // Missing, replaced, too much; a dot that is not stuffed.
        assert_eq!(judged(&["From: a", "", "one", "..two", "", "three: 3"]), all(&[1]));
        assert_eq!(judged(&["From: a", "To: b", "", "..two", "", "three: 3"]), all(&[3]));
        assert_eq!(judged(&["From: a", "To: b", "", "one", "", "three: 3"]), all(&[4]));
        assert_eq!(judged(&["From: a", "To: b", "", "three: 3"]), all(&[3]));
        assert_eq!(judged(&["From: a", "To: b", "", "", "one", "..two", "", "three: 3"]), all(&[3]));
        assert_eq!(judged(&["From: a", "To: b", "", "one", "", "..two", "", "three: 3"]), all(&[4]));
        assert_eq!(judged(&["From: a", "To: b", "", "one", "..two", "", "", "three: 3"]), all(&[6]));
        assert_eq!(judged(&["From: a", "To: b", "", "One", "..two", "", "three: 3"]), all(&[3]));
        assert_eq!(judged(&["From: a", "To: b", "", "x: y", "one", "..two", "", "three: 3"]), all(&[3]));
        assert_eq!(judged(&["From: a", "To: b", "", "one", ".two", "", "three: 3"]), all(&[4]));
        assert_eq!(judged(&["From: a", "To: b", "", "one", "..two", "", "three: 3", "", "x"]), all(&[7, 8]));
        // Too early an end.
        let cut = judged(&["From: a", "To: b", "", "one", "..two"]);
        assert_eq!(cut, (vec![], String::new()));
        assert!(!Message::new(TEXT).is_right(b"From: a\n"), "a bare LF is no line end");
    }

    #[test]
    fn sizes_may_be_followed_by_more() {
        for (text, size) in [("264", Some(264)), ("264 octets", Some(264)), ("0264", Some(264)), ("264 ", Some(264))] {
            assert_eq!(number(text.as_bytes()), size, "{text}");
        }
        for text in ["", " 264", "+264", "264octets", "99999999999999999999", "-1"] {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
    }

    /// holds C-T2
    #[test]
    fn the_text_that_was_sent_is_read_from_the_conversation() {
        let source = include_str!("../conversations/smtp/send.talk");
        let text = text_sent(&Conversation::parse("smtp/send.talk", source).unwrap());
        assert_eq!(text.len(), 264);
        assert!(text.starts_with(b"From: <linhphan@localhost>\r\n"));
        assert!(text.windows(8).any(|octets| octets == b":\r\n.this"), "dots are unstuffed");
    }
}
