//! Quoting of `From ` lines, reversible (mboxrd, C-S8, C-P5).
//!
//! A line that matches `^>*From ` gets one more `>` when it is stored, and loses one when it is read. Both directions
//! work on blocks cut anywhere and hold back no more than a few octets: whether a `>` is put in front of a run of
//! them or behind it is the same, so runs of any length pass through.

use memchr::memchr;

use crate::from_line::FROM;

/// Turns a message's text into what is stored. Line ends stay as they are; a line begins behind each LF.
#[derive(Debug)]
pub(crate) struct Quoter {
    at: At,
}

/// Turns what is stored into text: takes one `>` off, makes a bare LF CR LF, and ends the last line.
#[derive(Debug)]
pub(crate) struct Unquoter {
    at: At,
    /// A `>` at the start of the line is held back until it is known whether it is a quote.
    held: bool,
    /// The last octet given out, if any.
    last: Option<u8>,
}

/// Where in a line we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// At its start, behind any number of `>` and this many octets of [`FROM`]. Those octets are held back.
    Start(usize),
    Inside,
}

impl Quoter {
    pub(crate) fn new() -> Self {
        Self { at: At::Start(0) }
    }

    /// Quotes a block of text to the end of `out`.
    pub(crate) fn push(&mut self, block: &[u8], out: &mut Vec<u8>) {
        let mut rest = block;
        while let Some(&octet) = rest.first() {
            match self.at {
                At::Inside => rest = copy_line(rest, out, &mut self.at),
                At::Start(0) if octet == b'>' => rest = copy_run(rest, out),
                At::Start(matched) if octet == FROM[matched] => {
                    rest = &rest[1..];
                    self.at = At::Start(matched + 1);
                    if matched + 1 == FROM.len() {
                        out.push(b'>');
                        out.extend_from_slice(FROM);
                        self.at = At::Inside;
                    }
                }
                At::Start(matched) => {
                    out.extend_from_slice(&FROM[..matched]);
                    self.at = At::Inside;
                }
            }
        }
    }

    /// The text is complete: gives out what was held back.
    pub(crate) fn finish(self, out: &mut Vec<u8>) {
        if let At::Start(matched) = self.at {
            out.extend_from_slice(&FROM[..matched]);
        }
    }
}

impl Unquoter {
    pub(crate) fn new() -> Self {
        Self { at: At::Start(0), held: false, last: None }
    }

    /// Unquotes a block to the end of `out`.
    pub(crate) fn push(&mut self, block: &[u8], out: &mut Vec<u8>) {
        let mut rest = block;
        while let Some(&octet) = rest.first() {
            match self.at {
                At::Inside => {
                    let line = match memchr(b'\n', rest) {
                        Some(lf) => {
                            self.at = At::Start(0);
                            &rest[..lf]
                        }
                        None => rest,
                    };
                    out.extend_from_slice(line);
                    self.last = line.last().copied().or(self.last);
                    if let At::Start(_) = self.at {
                        self.end_line(out);
                        rest = &rest[line.len() + 1..];
                    } else {
                        rest = &[];
                    }
                }
                At::Start(0) if octet == b'>' => {
                    let run = if self.held {
                        rest
                    } else {
                        self.held = true;
                        &rest[1..]
                    };
                    let before = out.len();
                    rest = copy_run(run, out);
                    self.last = if out.len() > before { Some(b'>') } else { self.last };
                }
                At::Start(matched) if octet == FROM[matched] => {
                    rest = &rest[1..];
                    self.at = At::Start(matched + 1);
                    if matched + 1 == FROM.len() {
                        self.held = false;
                        self.give_held(FROM.len(), out);
                    }
                }
                At::Start(matched) => self.give_held(matched, out),
            }
        }
    }

    /// The text is complete: gives out what was held back, and ends a last line that has no end.
    pub(crate) fn finish(mut self, out: &mut Vec<u8>) {
        if let At::Start(matched) = self.at
            && (self.held || matched > 0)
        {
            self.give_held(matched, out);
        }
        if self.last.is_some_and(|last| last != b'\n') {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// The start of the line is decided: gives out what was held back of it.
    fn give_held(&mut self, matched: usize, out: &mut Vec<u8>) {
        if self.held {
            out.push(b'>');
            self.last = Some(b'>');
            self.held = false;
        }
        out.extend_from_slice(&FROM[..matched]);
        self.last = FROM[..matched].last().copied().or(self.last);
        self.at = At::Inside;
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        if self.last != Some(b'\r') {
            out.push(b'\r');
        }
        out.push(b'\n');
        self.last = Some(b'\n');
    }
}

/// Copies up to the end of the line, gives back what follows.
fn copy_line<'a>(octets: &'a [u8], out: &mut Vec<u8>, at: &mut At) -> &'a [u8] {
    let end = match memchr(b'\n', octets) {
        Some(lf) => {
            *at = At::Start(0);
            lf + 1
        }
        None => octets.len(),
    };
    out.extend_from_slice(&octets[..end]);
    &octets[end..]
}

/// Copies a run of `>`, gives back what follows.
fn copy_run<'a>(octets: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let end = octets.iter().position(|&octet| octet != b'>').unwrap_or(octets.len());
    out.extend_from_slice(&octets[..end]);
    &octets[end..]
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quote(blocks: &[&[u8]]) -> Vec<u8> {
        let mut quoter = Quoter::new();
        let mut out = Vec::new();
        blocks.iter().for_each(|block| quoter.push(block, &mut out));
        quoter.finish(&mut out);
        out
    }

    pub(crate) fn unquote(blocks: &[&[u8]]) -> Vec<u8> {
        let mut unquoter = Unquoter::new();
        let mut out = Vec::new();
        blocks.iter().for_each(|block| unquoter.push(block, &mut out));
        unquoter.finish(&mut out);
        out
    }

    /// Quotes `text`, cut at every place and into single octets; then unquotes it the same ways.
    fn check(text: &str, expected: &str) {
        check_unquoted(expected, text);
        every_cut(text.as_bytes(), expected.as_bytes(), quote);
    }

    fn check_unquoted(stored: &str, expected: &str) {
        every_cut(stored.as_bytes(), expected.as_bytes(), unquote);
    }

    fn every_cut(input: &[u8], expected: &[u8], work: fn(&[&[u8]]) -> Vec<u8>) {
        let shown = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        for cut in 0..=input.len() {
            let (one, two) = input.split_at(cut);
            assert_eq!(shown(&work(&[one, two])), shown(expected), "for {:?} cut at {cut}", shown(input));
        }
        let single: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(shown(&work(&single)), shown(expected), "for {:?} in single octets", shown(input));
    }

    /// holds C-S8
    #[test]
    fn from_lines_get_one_more() {
        check("", "");
        check("From me\r\n", ">From me\r\n");
        check(">From me\r\n", ">>From me\r\n");
        check(">>>>>>From me\r\n", ">>>>>>>From me\r\n");
        check("a\r\nFrom me\r\nb\r\n", "a\r\n>From me\r\nb\r\n");
        check("From \r\n>From \r\n", ">From \r\n>>From \r\n");
    }

    /// holds C-S8
    #[test]
    fn everything_else_is_stored_as_it_came() {
        for text in [
            "\r\n",
            "\r\n\r\n",
            "From\r\n",
            "From:\r\n",
            ">Fro\r\n",
            "FFrom \r\n",
            "FrFrom \r\n",
            "> From \r\n",
            " From \r\n",
            "from me\r\n",
            ">\r\n>>\r\n",
            "a\rFrom me\r\n",
            "x > From me\r\n",
            "\0\u{ff}\r\n",
        ] {
            check(text, text);
        }
    }

    /// holds C-P5 C-P9
    #[test]
    fn what_others_stored_is_shown_with_cr_lf() {
        check_unquoted("a\nb\n", "a\r\nb\r\n");
        check_unquoted("\n\n", "\r\n\r\n");
        check_unquoted("a", "a\r\n");
        check_unquoted(">", ">\r\n");
        check_unquoted(">F", ">F\r\n");
        check_unquoted("Fro", "Fro\r\n");
        check_unquoted(">From", ">From\r\n");
        check_unquoted(">From ", "From \r\n");
        check_unquoted(">>From x\n", ">From x\r\n");
        check_unquoted("From x\n", "From x\r\n");
        check_unquoted("a\rb\r\r\nc\r", "a\rb\r\r\nc\r\r\n");
        check_unquoted(">\n>\n", ">\r\n>\r\n");
        check_unquoted("\r\n>\nF\n", "\r\n>\r\nF\r\n");
        check_unquoted("F\nFr\nFrom\n", "F\r\nFr\r\nFrom\r\n");
    }

    /// What a text may be made of so that the difficult cases are frequent. Bare LF does not come (C-S7).
    pub(crate) fn texts() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just("\r\n".to_owned()),
            Just("From ".to_owned()),
            Just("From a Mon Aug 22 23:00:00 2016\r\n".to_owned()),
            Just(">".to_owned()),
            Just("F".to_owned()),
            Just("\r".to_owned()),
            "[a-z ]{0,8}",
        ];
        prop::collection::vec(piece, 0..24).prop_map(|pieces| {
            let mut text = pieces.concat();
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            text.into_bytes()
        })
    }

    proptest! {
        /// holds C-S8 C-P5
        #[test]
        fn texts_come_back(text in texts(), cut in any::<prop::sample::Index>()) {
            let cut = cut.index(text.len() + 1);
            let stored = quote(&[&text[..cut], &text[cut..]]);
            prop_assert!(!stored.split(|&octet| octet == b'\n').any(|line| line.starts_with(FROM)));
            let cut = cut.min(stored.len());
            prop_assert_eq!(unquote(&[&stored[..cut], &stored[cut..]]), text);
        }
    }
}
