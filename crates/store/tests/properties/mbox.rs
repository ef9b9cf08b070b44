//! Mailboxes as files: finding entries, quoting and unquoting (C-S8, C-P5, C-P9).

use jiff::Timestamp;
use pillarbox_proto::ReversePath;

use super::input::{Choices, Input, assert_same};
use crate::from_line::{self, FROM, FROM_LINE_MAX_OCTETS, is_from_line};
use crate::quote::{Quoter, Unquoter};
use crate::scan::{Entry, missing_end, scan};

/// Any octets make some mailbox: the entries that a plain reading finds, in order and up to the end of the file,
/// whatever pieces it is read in; and an entry is the same wherever it stands.
pub(crate) fn check(input: &Input) {
    let mbox = input.wire.as_slice();
    let mut choices = input.choices();
    let entries = scanned(mbox, &mut Choices::default());
    assert_eq!(scanned(mbox, &mut choices), entries, "in pieces");

    let plain = plain(mbox);
    assert_eq!(entries.len(), plain.len());
    let mut next = None;
    for (entry, text) in entries.iter().zip(&plain) {
        assert!(next.is_none_or(|next| next == entry.start), "entries leave nothing out");
        assert!(entry.start <= entry.text && entry.text <= entry.end && entry.end <= entry.next);
        next = Some(entry.next);
        let stored = range(mbox, entry.text, entry.end);
        let shown = unquoted(stored, &mut choices);
        assert_same(&shown, text, "text");
        assert_eq!(entry.octets, shown.len() as u64);
        assert!(shown.is_empty() || shown.ends_with(b"\r\n"));
    }
    match entries.first() {
        None => assert!(mbox.iter().all(|octet| b"\r\n".contains(octet)), "nothing else is left out"),
        Some(first) => {
            assert!(range(mbox, 0, first.start).iter().all(|octet| b"\r\n".contains(octet)));
            assert_eq!(next, Some(mbox.len() as u64));
        }
    }

    if let Some(entry) = entries.get(choices.below(entries.len().max(1))) {
        let alone = scanned(range(mbox, entry.start, entry.next), &mut choices);
        let alone: Vec<_> = alone.iter().map(|entry| (entry.identity, entry.octets)).collect();
        assert_eq!(alone, [(entry.identity, entry.octets)], "alone");
    }
}

/// Texts that are stored behind any mailbox come out as they went in, and what was there before stays what it was.
pub(crate) fn check_round_trip(input: &Input) {
    let mut choices = input.choices();
    let (before, texts) = input.wire.split_at(choices.size().min(input.wire.len()));
    let before = if choices.one_in(2) { before } else { b"" };
    let texts: Vec<Vec<u8>> = choices.cut(texts).into_iter().map(text).collect();

    let mut mbox = before.to_vec();
    if let Some(&last) = before.last() {
        mbox.extend_from_slice(missing_end(last));
    }
    for text in &texts {
        let from = [None, Some("a@b"), Some("\"From a \\\"b\"@[127.0.0.1]")][choices.below(3)];
        let reverse_path = ReversePath(from.map(|from| from.parse().expect("an address")));
        let from_line = from_line::format(&reverse_path, Timestamp::UNIX_EPOCH);
        assert!(is_from_line(from_line.as_bytes()));
        mbox.extend_from_slice(from_line.as_bytes());
        let quoted = quoted(text, &mut choices);
        assert!(!quoted.split(|&octet| octet == b'\n').any(|line| line.starts_with(FROM)), "a line begins an entry");
        mbox.extend_from_slice(&quoted);
        mbox.push(b'\n');
    }

    let entries = scanned(&mbox, &mut choices);
    let older = scanned(before, &mut choices);
    assert_eq!(entries.len(), older.len() + texts.len());
    let (kept, new) = entries.split_at(older.len());
    for (kept, older) in kept.iter().zip(&older) {
        assert_eq!((kept.identity, kept.octets), (older.identity, older.octets), "a delivery changes what is there");
    }
    for (entry, text) in new.iter().zip(&texts) {
        assert_same(&unquoted(range(&mbox, entry.text, entry.end), &mut choices), text, "text");
        assert_eq!(entry.octets, text.len() as u64);
    }
}

/// A text as SMTP accepts it: CR LF line ends, and one at its end (C-S7).
fn text(octets: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for &octet in octets {
        if octet == b'\n' && text.last() != Some(&b'\r') {
            text.push(b'\r');
        }
        text.push(octet);
    }
    if !text.is_empty() && !text.ends_with(b"\r\n") {
        text.extend_from_slice(b"\r\n");
    }
    text
}

fn range(mbox: &[u8], from: u64, to: u64) -> &[u8] {
    let at = |offset: u64| usize::try_from(offset).expect("within the file");
    &mbox[at(from)..at(to)]
}

/// Scans a file that is read in pieces; as much at once as fits when there are no choices.
fn scanned(mbox: &[u8], choices: &mut Choices<'_>) -> Vec<Entry> {
    let mut read_up_to = 0;
    let entries = scan(|buffer, offset| {
        assert_eq!(offset, read_up_to, "each octet is read once");
        let rest = range(mbox, offset, mbox.len() as u64);
        let wanted = if choices.is_empty() { rest.len() } else { choices.size() };
        let read = wanted.min(rest.len()).min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        read_up_to += read as u64;
        Ok(read)
    });
    entries.expect("reading does not fail")
}

fn quoted(text: &[u8], choices: &mut Choices<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut quoter = Quoter::new();
    choices.cut(text).iter().for_each(|piece| quoter.push(piece, &mut out));
    quoter.finish(&mut out);
    out
}

fn unquoted(stored: &[u8], choices: &mut Choices<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut unquoter = Unquoter::new();
    choices.cut(stored).iter().for_each(|piece| unquoter.push(piece, &mut out));
    unquoter.finish(&mut out);
    out
}

/// Reads a mailbox line by line, by the words of C-P9 and C-P5: the texts as they are shown.
fn plain(mbox: &[u8]) -> Vec<Vec<u8>> {
    /// The lines of an entry.
    struct Lines<'a> {
        from_line: Option<&'a [u8]>,
        text: Vec<&'a [u8]>,
    }
    let is_empty = |line: &[u8]| line == b"\n" || line == b"\r\n";
    let mut entries = vec![Lines { from_line: None, text: Vec::new() }];
    for line in mbox.split_inclusive(|&octet| octet == b'\n') {
        if line.len() <= FROM_LINE_MAX_OCTETS && is_from_line(line) {
            entries.push(Lines { from_line: Some(line), text: Vec::new() });
        } else if let Some(entry) = entries.last_mut() {
            entry.text.push(line);
        }
    }
    if entries[0].text.iter().all(|line| is_empty(line)) {
        entries.remove(0);
    }
    let shown = |entry: Lines<'_>| {
        let separates = !entry.from_line.is_some_and(|line| line.ends_with(b"\r\n"));
        let mut lines = entry.text;
        if separates && lines.last().is_some_and(|line| is_empty(line)) {
            lines.pop();
        }
        text(&lines.into_iter().map(plain_unquoted).collect::<Vec<_>>().concat())
    };
    entries.into_iter().map(shown).collect()
}

/// Takes one `>` off a line that matches `^>+From `.
fn plain_unquoted(line: &[u8]) -> &[u8] {
    let quotes = line.iter().take_while(|&&octet| octet == b'>').count();
    if quotes > 0 && line[quotes..].starts_with(FROM) { &line[1..] } else { line }
}
