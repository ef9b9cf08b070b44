//! Finds the entries of an mbox file (C-P9), in one pass and in bounded memory.
//!
//! An entry begins with a `From ` line and ends where the next one begins. One empty line at its end separates it from
//! the next and is no part of the text, unless its `From ` line ends in CR LF. Nothing but the entry itself decides
//! where its text ends, so ids do not change when its neighbours go.
//!
//! What stands in front of the first `From ` line is an entry as well, unless it is all empty lines: a damaged mailbox
//! is shown as well as possible.

use std::io;

use memchr::memchr;
use xxhash_rust::xxh3::Xxh3;

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
    hash: u64,
    length: u64,
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
pub(crate) fn scan(mut read_at: impl FnMut(&mut [u8], u64) -> io::Result<usize>) -> io::Result<Vec<Entry>> {
    let mut scanner = Scanner::new();
    let mut buffer = vec![0; HELD_MAX_OCTETS + SCAN_BLOCK_OCTETS];
    let mut held = 0;
    let mut offset = 0;
    loop {
        let read = read_at(&mut buffer[held..held + SCAN_BLOCK_OCTETS], offset)?;
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
                Line::Inside => match memchr(b'\n', rest) {
                    Some(lf) => {
                        let before = (at + lf).checked_sub(1).map_or(self.last, |before| octets[before]);
                        self.current(at).bare += u64::from(before != b'\r');
                        at += lf + 1;
                        self.line = Line::Start;
                    }
                    None => at = octets.len(),
                },
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quote::Quoter;
    use crate::quote::tests::{texts, unquote};

    const LF: &str = "From a Mon Aug 22 23:00:00 2016\n";
    const CRLF: &str = "From a Mon Aug 22 23:00:00 2016\r\n";

    const PIECES: &[&str] = &["\n", "\r", ">", "From ", "F", "x", "\u{fc}\0", LF, CRLF];

    fn scanned(mbox: &[u8]) -> Vec<Entry> {
        scan(|buffer, offset| {
            let rest = &mbox[usize::try_from(offset).unwrap()..];
            let read = rest.len().min(buffer.len());
            buffer[..read].copy_from_slice(&rest[..read]);
            Ok(read)
        })
        .unwrap()
    }

    /// Scans in two blocks cut at `cut`, as [`scan`] does.
    fn scanned_in_two(mbox: &[u8], cut: usize) -> Vec<Entry> {
        let mut scanner = Scanner::new();
        let taken = scanner.take(&mbox[..cut], false);
        assert!(cut - taken <= HELD_MAX_OCTETS);
        let second = taken + scanner.take(&mbox[taken..], false);
        assert_eq!(second + scanner.take(&mbox[second..], true), mbox.len());
        scanner.entries
    }

    /// Shows the texts of `mbox` as they go on the wire, and checks that it makes no difference how it is cut, that
    /// octets are what is shown, and that entries cover the file to its end.
    fn check(mbox: &str, expected: &[&str]) {
        let mbox = mbox.as_bytes();
        let entries = scanned(mbox);
        let range = |from: u64, to: u64| &mbox[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()];
        let shown: Vec<String> = entries
            .iter()
            .map(|entry| {
                let text = unquote(&[range(entry.text, entry.end)]);
                assert_eq!(text.len() as u64, entry.octets, "octets in {:?}", String::from_utf8_lossy(mbox));
                String::from_utf8_lossy(&text).into_owned()
            })
            .collect();
        assert_eq!(shown, expected, "for {:?}", String::from_utf8_lossy(mbox));
        for (entry, next) in entries.iter().zip(&entries[1.min(entries.len())..]) {
            assert_eq!(entry.next, next.start);
        }
        if let Some(last) = entries.last() {
            assert_eq!(last.next, mbox.len() as u64);
        }
        for entry in &entries {
            let mut identifier = Identifier::new();
            identifier.push(range(entry.start, entry.end));
            assert_eq!(identifier.finish(), entry.identity);
        }
        for cut in 0..=mbox.len() {
            assert_eq!(scanned_in_two(mbox, cut), entries, "for {:?} cut at {cut}", String::from_utf8_lossy(mbox));
        }
    }

    /// holds C-P9 C-P5
    #[test]
    fn entries_of_any_mbox() {
        check("", &[]);
        check(&format!("{LF}a\r\n\n"), &["a\r\n"]);
        check(&format!("{LF}a\n\n{LF}b\n\n"), &["a\r\n", "b\r\n"]);
        check(&format!("{LF}a\n{LF}b\n"), &["a\r\n", "b\r\n"]);
        check(&format!("{LF}a\n\r\n{LF}b\n\r\n"), &["a\r\n", "b\r\n"]);
        check(&format!("{LF}a\n\n\n{LF}b\n\n\n"), &["a\r\n\r\n", "b\r\n\r\n"]);
        check(&format!("{LF}\n{LF}\n"), &["", ""]);
        check(&format!("{LF}{LF}{LF}"), &["", "", ""]);
        check(&format!("{LF}\r\n\n{LF}\n\n"), &["\r\n", "\r\n"]);
        check(&format!("{LF}a"), &["a\r\n"]);
        check(&format!("{LF}a\r"), &["a\r\r\n"]);
        check(&format!("{LF}a\n\r"), &["a\r\n\r\r\n"]);
        check(LF, &[""]);
        check(LF.trim_end(), &[""]);
        check(CRLF.trim_end_matches('\n'), &[""]);
        check(&format!("{LF}a\nFrom here\nb\n\n"), &["a\r\nFrom here\r\nb\r\n"]);
        check(&format!("{LF}a\n>From b\n>>From c\n>d\n\n"), &["a\r\nFrom b\r\n>From c\r\n>d\r\n"]);
        check(&format!("{LF}a\n>{LF}\n"), &[&format!("a\r\n{}\r\n", LF.trim_end())]);
        check(&format!("{LF}F\nFrom\n>F\n>Fro"), &["F\r\nFrom\r\n>F\r\n>Fro\r\n"]);
        check(&format!("{LF}a\n\nFrom"), &["a\r\n\r\nFrom\r\n"]);
    }

    /// holds C-P9
    #[test]
    fn a_from_line_in_cr_lf_has_no_separator() {
        check(&format!("{CRLF}a\r\n\r\n"), &["a\r\n\r\n"]);
        check(&format!("{CRLF}a\r\n\r\n{CRLF}b\r\n"), &["a\r\n\r\n", "b\r\n"]);
        check(&format!("{CRLF}a\r\n\n{LF}b\r\n\n"), &["a\r\n\r\n", "b\r\n"]);
        check(&format!("{CRLF}{CRLF}\r\n{LF}\r\n"), &["", "\r\n", ""]);
    }

    /// holds C-P9
    #[test]
    fn what_stands_in_front() {
        check("\n", &[]);
        check("\r\n\n\n", &[]);
        check(&format!("\n\n{LF}a\n\n"), &["a\r\n"]);
        check("lost\n", &["lost\r\n"]);
        check("\r", &["\r\r\n"]);
        check("\n\nlost\n\n", &["\r\n\r\nlost\r\n"]);
        check(&format!("\nlost\n\n{LF}a\n"), &["\r\nlost\r\n", "a\r\n"]);
        check(&format!(">From x\n{LF}a\n"), &["From x\r\n", "a\r\n"]);
        check("From here on\n", &["From here on\r\n"]);
        check("From", &["From\r\n"]);
    }

    /// holds C-P9
    #[test]
    fn lines_without_end_are_not_kept() {
        let date = " Mon Aug 22 23:00:00 2016\n";
        let long = format!("{LF}a\nFrom {}{date}b\n\n", "x".repeat(FROM_LINE_MAX_OCTETS));
        assert_eq!(scanned(long.as_bytes()).len(), 1);
        let fits = format!("{LF}a\nFrom {}{date}b\n\n", "x".repeat(FROM_LINE_MAX_OCTETS - 5 - date.len()));
        assert_eq!(scanned(fits.as_bytes()).len(), 2);
        for cut in [LF.len() + 7, LF.len() + 4090, LF.len() + 4096, LF.len() + 4100] {
            assert_eq!(scanned_in_two(fits.as_bytes(), cut), scanned(fits.as_bytes()));
            assert_eq!(scanned_in_two(long.as_bytes(), cut), scanned(long.as_bytes()));
        }
        for run in ["x", ">", "From ", "\n", "\r", "\r\n", ">From ", "F", "From x\n"] {
            let mbox = format!("{LF}{}", run.repeat(1_000_000 / run.len()));
            let mut asked = 0;
            let entries = scan(|buffer, offset| {
                let rest = &mbox.as_bytes()[usize::try_from(offset).unwrap()..];
                let read = rest.len().min(buffer.len());
                buffer[..read].copy_from_slice(&rest[..read]);
                asked += 1;
                Ok(read)
            });
            assert_eq!(entries.unwrap().len(), 1, "for many {run:?}");
            assert_eq!(asked, mbox.len().div_ceil(SCAN_BLOCK_OCTETS) + 1, "each block is read once");
        }
    }

    /// holds C-P6 C-P9
    #[test]
    fn an_entry_is_the_same_wherever_it_stands() {
        let identity = |mbox: String, index: usize| scanned(mbox.as_bytes())[index].identity;
        let alone = identity(format!("{LF}a\n\n"), 0);
        assert_eq!(identity(format!("{LF}b\n\n{LF}a\n\n{LF}c\n\n"), 1), alone);
        assert_eq!(identity(format!("{LF}a\n"), 0), alone);
        // A delivery ends a line that had no end.
        assert_eq!(identity(format!("{LF}a"), 0), alone);
        assert_eq!(identity(format!("{LF}a\r"), 0), identity(format!("{LF}a\r\r\n"), 0));
        assert_ne!(identity(format!("{LF}a\r\n\n"), 0), alone);
        assert_ne!(identity(format!("{CRLF}a\n"), 0), alone);
    }

    proptest! {
        /// holds C-S8 C-P5 C-P9
        #[test]
        fn what_is_stored_is_found(texts in prop::collection::vec(texts(), 0..5), cut in any::<prop::sample::Index>()) {
            let mut mbox = Vec::new();
            for text in &texts {
                mbox.extend_from_slice(LF.as_bytes());
                let mut quoter = Quoter::new();
                quoter.push(text, &mut mbox);
                quoter.finish(&mut mbox);
                mbox.push(b'\n');
            }
            let entries = scanned(&mbox);
            let found: Vec<Vec<u8>> = entries
                .iter()
                .map(|entry| unquote(&[&mbox[usize::try_from(entry.text).unwrap()..usize::try_from(entry.end).unwrap()]]))
                .collect();
            prop_assert_eq!(&found, &texts);
            prop_assert!(entries.iter().zip(&texts).all(|(entry, text)| entry.octets == text.len() as u64));
            prop_assert_eq!(scanned_in_two(&mbox, cut.index(mbox.len() + 1)), entries);
        }

        /// holds C-P9
        #[test]
        fn any_octets_make_some_mailbox(
            pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40),
            cut in any::<prop::sample::Index>(),
        ) {
            let mbox = pieces.concat().into_bytes();
            let entries = scanned(&mbox);
            for entry in &entries {
                let raw = &mbox[usize::try_from(entry.text).unwrap()..usize::try_from(entry.end).unwrap()];
                prop_assert_eq!(unquote(&[raw]).len() as u64, entry.octets);
            }
            prop_assert_eq!(scanned_in_two(&mbox, cut.index(mbox.len() + 1)), entries);
        }
    }
}
