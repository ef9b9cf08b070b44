//! Finds the entries of an mbox file (C-P9), in one pass and in bounded memory.
//!
//! An entry begins with a `From ` line and ends where the next one begins. One empty line at its end separates it from
//! the next and is no part of the text, unless its `From ` line ends in CR LF. Nothing but the entry itself decides
//! where its text ends, so ids do not change when its neighbours go.
//!
//! What stands in front of the first `From ` line is an entry as well, unless it is all empty lines: a damaged mailbox
//! is shown as well as possible.

use std::io;
use std::ops::Range;

use memchr::{memchr, memchr_iter};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::from_line::{FROM, FROM_LINE_MAX_OCTETS, is_from_line};

/// How much is read at once.
pub(crate) const SCAN_BLOCK_OCTETS: usize = 256 * 1024;
/// Most octets that wait for more: an empty line and a `From ` line that is not complete.
const HELD_MAX_OCTETS: usize = 2 + FROM_LINE_MAX_OCTETS;

/// One message in an mbox file. All positions are offsets from the beginning of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where its `From ` line begins.
    pub(crate) start: u64,
    /// Where its text begins; same as `start` for what stands in front of the first `From ` line.
    pub(crate) text: u64,
    /// Where its text ends, as it is stored, in front of the separator.
    pub(crate) end: u64,
    /// Where the next entry begins, or the file ends.
    pub(crate) next: u64,
    /// Octets of the text on the wire: unquoted, CR LF line ends.
    pub(crate) octets: u64,
    /// What it is known by when it is looked for again.
    pub(crate) identity: Identity,
}

/// What tells entries apart: a hash and the length of `From ` line and text, as stored. Equal ones are interchangeable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) hash: u64,
    pub(crate) length: u64,
}

impl Identity {
    /// That of an entry that is here as a whole.
    pub(crate) fn of(entry: &[u8]) -> Self {
        match missing_end(entry.last().copied().unwrap_or(b'\n')) {
            b"" => Self { hash: xxh3_64(entry), length: entry.len() as u64 },
            _ => {
                let mut identifier = Identifier::new();
                identifier.push(entry);
                identifier.finish()
            }
        }
    }
}

/// Computes an [`Identity`].
///
/// An entry without a final line end counts as if it had one, because the next delivery adds it.
pub(crate) struct Identifier {
    hash: Xxh3,
    length: u64,
    last: u8,
}

impl Identifier {
    pub(crate) fn new() -> Self {
        Self { hash: Xxh3::new(), length: 0, last: b'\n' }
    }

    pub(crate) fn push(&mut self, octets: &[u8]) {
        if let Some(&last) = octets.last() {
            self.hash.update(octets);
            self.length += octets.len() as u64;
            self.last = last;
        }
    }

    pub(crate) fn finish(mut self) -> Identity {
        self.push(missing_end(self.last));
        Identity { hash: self.hash.digest(), length: self.length }
    }
}

/// What a file that ends in `last` needs before anything is appended: nothing, or a line end. Behind a CR that is
/// CR LF, so that the CR stays a character of the text.
pub(crate) fn missing_end(last: u8) -> &'static [u8] {
    match last {
        b'\n' => b"",
        b'\r' => b"\r\n",
        _ => b"\n",
    }
}

/// Lists the entries of a file that `read_at` reads: it fills a buffer from an offset on, and gives 0 at the end.
///
/// # Errors
/// Those of `read_at`.
pub(crate) fn scan(read_at: impl FnMut(&mut [u8], u64) -> io::Result<usize>) -> io::Result<Vec<Entry>> {
    scan_range(0..u64::MAX, read_at)
}

/// [`scan`] of a part of a file: it begins where an entry does, and what is behind it is not looked at.
///
/// # Errors
/// Those of `read_at`.
pub(crate) fn scan_range(
    range: Range<u64>,
    mut read_at: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<Vec<Entry>> {
    let mut scanner = Scanner { offset: range.start, ..Scanner::new() };
    let left = |offset: u64| {
        usize::try_from(range.end.saturating_sub(offset)).map_or(SCAN_BLOCK_OCTETS, |left| left.min(SCAN_BLOCK_OCTETS))
    };
    let mut buffer = vec![0; HELD_MAX_OCTETS + left(range.start)];
    let mut held = 0;
    let mut offset = range.start;
    loop {
        let want = left(offset);
        let read = if want == 0 { 0 } else { read_at(&mut buffer[held..held + want], offset)? };
        offset += read as u64;
        let filled = held + read;
        let taken = scanner.take(&buffer[..filled], read == 0);
        if read == 0 {
            return Ok(scanner.entries);
        }
        buffer.copy_within(taken..filled, 0);
        held = filled - taken;
    }
}

/// Cuts a part of a file into up to `count` parts of about the same length, each of which begins where an entry does and can
/// be scanned by itself. A part may be longer where there is no beginning near the place to cut at.
///
/// # Errors
/// Those of `read_at`.
pub(crate) fn parts(
    range: Range<u64>,
    count: u64,
    mut read_at: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<Vec<Range<u64>>> {
    let length = range.end.saturating_sub(range.start).div_ceil(count.max(1));
    let mut buffer = Vec::new();
    let mut parts = Vec::new();
    let mut start = range.start;
    for number in 1..count {
        let at = range.start.saturating_add(length.saturating_mul(number));
        let left =
            usize::try_from(range.end.saturating_sub(at)).map_or(SCAN_BLOCK_OCTETS, |left| left.min(SCAN_BLOCK_OCTETS));
        if at < start || left == 0 {
            continue;
        }
        buffer.resize(left, 0);
        let read = read_at(&mut buffer, at)?;
        if let Some(found) = beginning(&buffer[..read]) {
            let end = at + found as u64;
            parts.push(start..end);
            start = end;
        }
    }
    parts.push(start..range.end);
    Ok(parts)
}

/// Where an entry begins behind the first LF of these octets: a `From ` line at the start of a line does begin one, whatever
/// stands in front of it.
fn beginning(octets: &[u8]) -> Option<usize> {
    memchr_iter(b'\n', octets)
        .map(|lf| lf + 1)
        .find(|start| matches!(from_line(&octets[*start..], false), FromLine::Yes(_)))
}

/// The state between two blocks.
struct Scanner {
    entries: Vec<Entry>,
    current: Option<Current>,
    line: Line,
    /// Offset of the next octet to be taken.
    offset: u64,
    /// The octet before it.
    last: u8,
}

/// The entry that has begun.
struct Current {
    start: u64,
    text: u64,
    identifier: Identifier,
    /// An empty line at its end is a separator: its `From ` line does not end in CR LF.
    separates: bool,
    /// It stands in front of the first `From ` line and has only empty lines so far.
    blank: bool,
    /// Lines that lose a `>` when they are shown.
    quoted: u64,
    /// Lines that end in a bare LF, and get a CR.
    bare: u64,
}

/// Where in a line we are.
#[derive(Clone, Copy)]
enum Line {
    Start,
    /// Behind at least one `>` at its start, and this many octets of [`FROM`].
    Quoted(usize),
    Inside,
}

/// What stands at the start of a line.
enum Begin {
    /// It takes more octets to tell.
    More,
    /// A `From ` line of this many octets, behind a separator of so many.
    Entry { separator: usize, from_line: usize },
    /// A separator of this many octets, and the end of the file.
    End { separator: usize },
    /// An empty line of this many octets that is part of the text.
    Empty(usize),
    /// Any other line.
    Text,
}

impl Scanner {
    fn new() -> Self {
        Self { entries: Vec::new(), current: None, line: Line::Start, offset: 0, last: b'\n' }
    }

    /// Takes what can be decided and says how many octets that were; all of them if the file is `complete` with them.
    /// The others are to be given again, with more behind them.
    fn take(&mut self, octets: &[u8], complete: bool) -> usize {
        let mut at = 0;
        // What of the current entry is not hashed yet begins here.
        let mut unhashed = 0;
        while let Some(&octet) = octets.get(at) {
            let rest = &octets[at..];
            match self.line {
                Line::Start => match begin(rest, complete, self.current.as_ref().is_none_or(|entry| entry.separates)) {
                    Begin::More => break,
                    Begin::Entry { separator, from_line } => {
                        self.close(&octets[unhashed..at], at, separator);
                        unhashed = at + separator;
                        at = unhashed + from_line;
                        let ends_in_cr_lf = octets[unhashed..at].ends_with(b"\r\n");
                        self.open(unhashed, at, !ends_in_cr_lf);
                    }
                    Begin::End { separator } => {
                        self.close(&octets[unhashed..at], at, separator);
                        at += separator;
                        unhashed = at;
                    }
                    Begin::Empty(length) => {
                        self.current(at).bare += u64::from(length == 1);
                        at += length;
                    }
                    Begin::Text => {
                        self.current(at).blank = false;
                        self.line = if octet == b'>' { Line::Quoted(0) } else { Line::Inside };
                    }
                },
                Line::Quoted(0) if octet == b'>' => {
                    at += rest.iter().position(|&octet| octet != b'>').unwrap_or(rest.len());
                }
                Line::Quoted(matched) if octet == FROM[matched] => {
                    at += 1;
                    self.line = Line::Quoted(matched + 1);
                    if matched + 1 == FROM.len() {
                        self.current(at).quoted += 1;
                        self.line = Line::Inside;
                    }
                }
                Line::Quoted(_) => self.line = Line::Inside,
                Line::Inside => {
                    let before = at.checked_sub(1).map_or(self.last, |before| octets[before]);
                    let (lines, bare) = plain_lines(rest, before);
                    self.current(at).bare += bare;
                    match lines {
                        Some(taken) => {
                            at += taken;
                            self.line = Line::Start;
                        }
                        None => at = octets.len(),
                    }
                }
            }
        }
        if let Some(entry) = &mut self.current {
            entry.identifier.push(&octets[unhashed..at]);
        }
        if let Some(before) = at.checked_sub(1) {
            self.last = octets[before];
        }
        if complete {
            self.close(&[], at, 0);
        }
        self.offset += at as u64;
        at
    }

    /// The entry that the line at `at` of this block belongs to. The first line of a file that is no `From ` line
    /// begins one.
    fn current(&mut self, at: usize) -> &mut Current {
        let start = self.offset + at as u64;
        self.current.get_or_insert_with(|| Current::new(start, start, true, true))
    }

    fn open(&mut self, start: usize, text: usize, separates: bool) {
        let (start, text) = (self.offset + start as u64, self.offset + text as u64);
        self.current = Some(Current::new(start, text, separates, false));
    }

    /// The current entry, if any, ends at `at` of this block, in front of a separator. `rest` of it is not hashed yet.
    fn close(&mut self, rest: &[u8], at: usize, separator: usize) {
        let Some(mut entry) = self.current.take() else { return };
        if entry.blank {
            return;
        }
        entry.identifier.push(rest);
        let end = self.offset + at as u64;
        let unended = end > entry.text && entry.identifier.last != b'\n';
        self.entries.push(Entry {
            start: entry.start,
            text: entry.text,
            end,
            next: end + separator as u64,
            octets: end - entry.text + entry.bare - entry.quoted + if unended { 2 } else { 0 },
            identity: entry.identifier.finish(),
        });
    }
}

impl Current {
    fn new(start: u64, text: u64, separates: bool, blank: bool) -> Self {
        Self { start, text, identifier: Identifier::new(), separates, blank, quoted: 0, bare: 0 }
    }
}

/// Goes on inside a line, through all lines behind it that begin with nothing that means anything. How many octets that
/// were, up to the start of a line that has to be looked at, if there is one; and how many of the lines end in a bare LF.
/// `before` is the octet in front of them.
fn plain_lines(octets: &[u8], before: u8) -> (Option<usize>, u64) {
    let mut bare = 0;
    for lf in memchr_iter(b'\n', octets) {
        let before = lf.checked_sub(1).map_or(before, |before| octets[before]);
        bare += u64::from(before != b'\r');
        if matches!(octets.get(lf + 1), None | Some(b'F' | b'>' | b'\r' | b'\n')) {
            return (Some(lf + 1), bare);
        }
    }
    (None, bare)
}

/// Looks at the start of a line, and at the line behind it if it is an empty one that may be a separator.
fn begin(rest: &[u8], complete: bool, separates: bool) -> Begin {
    let empty = match rest {
        [b'\n', ..] => 1,
        [b'\r', b'\n', ..] => 2,
        [b'\r'] if !complete => return Begin::More,
        _ => 0,
    };
    if empty > 0 && !separates {
        return Begin::Empty(empty);
    }
    match from_line(&rest[empty..], complete) {
        FromLine::More => Begin::More,
        FromLine::Yes(octets) => Begin::Entry { separator: empty, from_line: octets },
        FromLine::No if empty == 0 => Begin::Text,
        FromLine::No if empty == rest.len() => Begin::End { separator: empty },
        FromLine::No => Begin::Empty(empty),
    }
}

/// Whether a line is a `From ` line.
enum FromLine {
    More,
    Yes(usize),
    No,
}

fn from_line(line: &[u8], complete: bool) -> FromLine {
    if !line.starts_with(FROM) {
        return if FROM.starts_with(line) && !complete { FromLine::More } else { FromLine::No };
    }
    let window = &line[..line.len().min(FROM_LINE_MAX_OCTETS)];
    let octets = match memchr(b'\n', window) {
        Some(lf) => lf + 1,
        None if line.len() >= FROM_LINE_MAX_OCTETS => return FromLine::No,
        None if complete => line.len(),
        None => return FromLine::More,
    };
    if is_from_line(&line[..octets]) { FromLine::Yes(octets) } else { FromLine::No }
}

#[cfg(test)]
#[path = "scan/tests.rs"]
mod tests;
