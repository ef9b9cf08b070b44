//! The text of a message, which may be read more than once.

use std::future::Future;
use std::io;

/// Octets that [`Octets`] gives at once.
pub const OCTETS_AT_ONCE: usize = 64 * 1024;

/// A text that can be read again: the next host gets it from its beginning.
///
/// RFC 5322 octets with CR LF line ends, dots not doubled, the Received line in front (see
/// [`crate::trace::received_line`]).
pub trait Source: Send {
    /// How many octets the whole text has. A peer that knows SIZE is told (RFC 1870 §5).
    fn octets(&self) -> u64;

    /// The next octets, as many as is convenient, at best some tens of kilobytes; `None` at the end.
    ///
    /// # Errors
    /// When the text cannot be read. The connection is then closed before the final dot, and every recipient that is
    /// still to be decided is deferred.
    fn next(&mut self) -> impl Future<Output = io::Result<Option<Vec<u8>>>> + Send;

    /// Goes back to the beginning. Called before each attempt, the first too.
    fn rewind(&mut self);
}

/// A text in memory.
#[derive(Clone, Debug)]
pub struct Octets {
    text: Vec<u8>,
    given: usize,
}

impl Octets {
    /// A source of these octets.
    #[must_use]
    pub fn new(text: impl Into<Vec<u8>>) -> Self {
        Self { text: text.into(), given: 0 }
    }
}

impl Source for Octets {
    fn octets(&self) -> u64 {
        self.text.len() as u64
    }

    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let rest = &self.text[self.given..];
        let block = &rest[..rest.len().min(OCTETS_AT_ONCE)];
        self.given += block.len();
        Ok((!block.is_empty()).then(|| block.to_vec()))
    }

    fn rewind(&mut self) {
        self.given = 0;
    }
}
