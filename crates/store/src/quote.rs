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
                    // What was held back comes behind it.
                    rest = copy_run(run, out);
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
#[path = "quote/tests.rs"]
pub(crate) mod tests;
