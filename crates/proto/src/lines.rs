//! Line framing: cuts command lines out of what has arrived (C-C2, C-C3, C-C4).

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

/// Longest command line that is kept, in octets, line end included. RFC 5321 §4.5.3.1.4 asks for 512 and the seed for
/// 1,000 characters.
pub const LINE_MAX_OCTETS: usize = 8192;

/// What is kept of a longer one: enough to tell whether it is the first of an HTTP request, `OPTIONS ` to ` HTTP/1.1` and
/// the line end (C-C12).
const HEAD_OCTETS: usize = 8;
const TAIL_OCTETS: usize = 11;

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The line without its line end.
    Text(Bytes),
    /// A line of more than [`LINE_MAX_OCTETS`]: it was swallowed up to its end and not kept.
    TooLong {
        /// How long it was, in octets, line end included.
        octets: u64,
        /// Its first octets and its last, without its line end.
        ends: Bytes,
    },
}

/// The octets of one connection that no one has taken yet.
///
/// CR LF or LF ends a command line, because people test with `nc`. The data of a message has a reader of its own
/// ([`crate::data::DataReader`]), which takes its octets from here too: both see the same stream.
#[derive(Debug, Default)]
pub struct Lines {
    waiting: BytesMut,
    /// Octets of `waiting` that are known to hold no line end, so that a slow line is not searched again and again.
    searched: usize,
    /// Octets already swallowed of a line that is too long; 0 when there is none.
    swallowed: u64,
}

impl Lines {
    /// Takes what has arrived. Of a line that is too long only its length and its two ends are kept.
    pub fn push(&mut self, octets: &[u8]) {
        self.waiting.extend_from_slice(octets);
    }

    /// Cuts the next line off, if one is complete.
    pub fn cut(&mut self) -> Option<Line> {
        let Some(end) = memchr(b'\n', &self.waiting[self.searched..]) else {
            self.searched = self.waiting.len();
            if self.swallowed > 0 || self.waiting.len() >= LINE_MAX_OCTETS {
                self.swallowed += (self.waiting.len() - HEAD_OCTETS - TAIL_OCTETS) as u64;
                self.waiting = BytesMut::from(ends(&self.waiting).as_slice());
                self.searched = self.waiting.len();
            }
            return None;
        };
        let length = self.searched + end + 1;
        self.searched = 0;
        let line = self.waiting.split_to(length).freeze();
        self.release();
        if self.swallowed > 0 || length > LINE_MAX_OCTETS {
            let octets = std::mem::take(&mut self.swallowed) + length as u64;
            return Some(Line::TooLong { octets, ends: without_end(ends(&line).into()) });
        }
        Some(Line::Text(without_end(line)))
    }

    /// What is waiting, for the reader of message data.
    #[must_use]
    pub fn waiting(&self) -> &[u8] {
        &self.waiting
    }

    /// Drops the first octets, which the reader of message data has taken.
    pub fn consume(&mut self, octets: usize) {
        self.waiting.advance(octets);
        self.searched = 0;
        self.release();
    }

    /// Gives the memory back when nothing waits: an idle connection costs next to nothing.
    fn release(&mut self) {
        if self.waiting.is_empty() {
            self.waiting = BytesMut::new();
        }
    }
}

/// The two ends of a line that is too long.
fn ends(line: &[u8]) -> Vec<u8> {
    [&line[..HEAD_OCTETS], &line[line.len() - TAIL_OCTETS..]].concat()
}

/// A line without its CR LF, or LF.
fn without_end(mut line: Bytes) -> Bytes {
    line.truncate(line.len() - 1);
    if line.last() == Some(&b'\r') {
        line.truncate(line.len() - 1);
    }
    line
}

#[cfg(test)]
#[path = "lines/tests.rs"]
mod tests;
