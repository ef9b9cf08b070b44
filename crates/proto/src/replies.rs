//! Replies that wait to be sent, and what the transcript says of them.

use std::fmt;
use std::io::Write as _;

/// One line of the transcript (C-C8). Message text is summarised by its length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A command line the client sent, without its line end.
    Heard(Vec<u8>),
    /// So many octets the client sent: message data, or a line too long to keep.
    HeardOctets(u64),
    /// A reply line, without its line end.
    Said(Vec<u8>),
    /// So many octets of message text.
    SaidOctets(u64),
}

/// The replies of one connection that are not sent yet.
///
/// A session writes here and nowhere else, so every reply line ends in CR LF and holds no stray octets (C-C5).
#[derive(Debug, Default)]
pub struct Replies {
    octets: Vec<u8>,
    transcript: Option<Vec<Entry>>,
}

impl Replies {
    /// Replies that also keep a transcript, which [`Replies::take_transcript`] empties.
    #[must_use]
    pub fn with_transcript() -> Self {
        Self { transcript: Some(Vec::new()), ..Self::default() }
    }

    /// Adds one reply line; CR LF is put behind it.
    pub fn line(&mut self, line: fmt::Arguments<'_>) {
        let start = self.octets.len();
        // Writing into a Vec cannot fail, and none of our texts has a `Display` that does.
        let _ = self.octets.write_fmt(line);
        self.end_line(start);
    }

    /// Adds one reply line of a prefix and octets the client has sent.
    pub fn line_octets(&mut self, prefix: &str, octets: &[u8]) {
        let start = self.octets.len();
        self.octets.extend_from_slice(prefix.as_bytes());
        self.octets.extend_from_slice(octets);
        self.end_line(start);
    }

    /// Adds octets of a message, about so many: what `write` adds, byte-stuffed and with line ends of its own.
    pub fn text(&mut self, octets: usize, write: impl FnOnce(&mut Vec<u8>)) {
        self.octets.reserve(octets);
        write(&mut self.octets);
    }

    /// Notes for the transcript what the client said.
    pub fn note(&mut self, entry: impl FnOnce() -> Entry) {
        if let Some(transcript) = &mut self.transcript {
            transcript.push(entry());
        }
    }

    /// Notes nothing of what `write` adds: the greeting is not part of the transcript (C-C8).
    pub(crate) fn unnoted(&mut self, write: impl FnOnce(&mut Self)) {
        let noted = self.transcript.as_ref().map_or(0, Vec::len);
        write(self);
        if let Some(transcript) = &mut self.transcript {
            transcript.truncate(noted);
        }
    }

    /// Octets that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.octets.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// What waits, to be sent now.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.octets)
    }

    /// What the transcript has gained since it was last asked.
    pub fn take_transcript(&mut self) -> Vec<Entry> {
        self.transcript.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn end_line(&mut self, start: usize) {
        if let Some(transcript) = &mut self.transcript {
            transcript.push(Entry::Said(self.octets[start..].to_vec()));
        }
        self.octets.extend_from_slice(b"\r\n");
    }
}
