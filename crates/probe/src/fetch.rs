//! What `pop3-test` does: fetches the one message that `smtp-test` has sent, and deletes it.
//!
//! This is no conversation file, because what a server answers has to agree with what it has answered before: the
//! octets of STAT, LIST and RETR, the numbers, the unique id. And a server that is not ours may put lines in front.

use std::fmt::Write as _;

use crate::conversation::{Action, Conversation};
use crate::talk::{Talk, Wrong};
use crate::text::Pattern;

/// Longest unique id (RFC 1939 §7).
const UNIQUE_ID_MAX_OCTETS: usize = 70;
/// Most lines of a message or listing that are read.
const LINES_MAX: usize = 100_000;

/// Fetches and deletes the one message in the mailbox of `user`, whose text must end in `text` (CR LF line ends).
///
/// # Errors
/// The first thing that is wrong.
pub fn fetch(talk: &mut Talk<'_>, user: &str, text: &[u8]) -> Result<(), Wrong> {
    log_in(talk, 1, user)?;
    let octets = stat(talk, 1)?;
    let listed = format!("1 {octets}");
    listing(talk, "LIST", |line| line == listed.as_bytes(), &format!("`{listed}<CR><LF>`"))?;
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
    talk.line(2, &glob("+OK 0 0*")?)?;
    ok(talk, 2, "QUIT")?;
    talk.closed(2)
}

/// The text of the message in `smtp-test`'s conversation, as RETR has to send it, without byte-stuffing: what stands
/// between the reply 354 and the lone dot.
#[must_use]
pub fn text_sent(conversation: &Conversation) -> Vec<u8> {
    let data = conversation.steps.iter().skip_while(|step| !is_reply(&step.action, b"354\r\n")).skip(1);
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

fn is_reply(action: &Action, reply: &[u8]) -> bool {
    matches!(action, Action::Line { pattern, .. } if pattern.matches(reply))
}

fn log_in(talk: &mut Talk<'_>, client: usize, user: &str) -> Result<(), Wrong> {
    talk.line(client, &glob("+OK*")?)?;
    ok(talk, client, &format!("USER {user}"))?;
    ok(talk, client, "PASS cis505")
}

/// `STAT`, which must tell of one message; gives its octets.
fn stat(talk: &mut Talk<'_>, client: usize) -> Result<u64, Wrong> {
    let mut octets = None;
    command(talk, client, "STAT")?;
    talk.line_that(client, "`+OK 1 `, a number of octets, `<CR><LF>`", |line| {
        let number = line.strip_suffix(b"\r\n").and_then(|line| line.strip_prefix(b"+OK 1 "));
        octets = number.and_then(|number| std::str::from_utf8(number).ok()).and_then(|number| number.parse().ok());
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
    talk.line(client, &glob("-ERR*")?).map(|_| ())
}

/// `RETR 1`: as many octets as were promised, and the text that was sent at their end.
fn retr(talk: &mut Talk<'_>, octets: u64, text: &[u8]) -> Result<(), Wrong> {
    ok(talk, 1, "RETR 1")?;
    let mut got = Vec::new();
    for _ in 0..LINES_MAX {
        let line = talk.line_that(1, "a line that ends in `<CR><LF>`", |line| line.ends_with(b"\r\n"))?;
        if line == b".\r\n" {
            break;
        }
        got.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
    if !got.ends_with(text) {
        return Err(Wrong::fatal("the message that smtp-test sends", "another one"));
    }
    if got.len() as u64 != octets {
        return Err(Wrong::fatal(format!("{octets} octets, as STAT and LIST said"), format!("{} octets", got.len())));
    }
    Ok(())
}

fn ok(talk: &mut Talk<'_>, client: usize, text: &str) -> Result<(), Wrong> {
    command(talk, client, text)?;
    talk.line(client, &glob("+OK*")?).map(|_| ())
}

fn command(talk: &mut Talk<'_>, client: usize, text: &str) -> Result<(), Wrong> {
    talk.send(client, format!("{text}\r\n").as_bytes())
}

/// A pattern of one line, from its beginning.
fn glob(text: &str) -> Result<Pattern, Wrong> {
    let mut line = text.to_owned();
    let _ = write!(line, "\\r\\n");
    Pattern::glob(&line).map_err(|complaint| Wrong::fatal("a pattern", complaint))
}

fn is_unique_id(id: &[u8]) -> bool {
    (1..=UNIQUE_ID_MAX_OCTETS).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

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
