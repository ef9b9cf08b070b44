//! A message's text on its way in: in memory while it is small, in a temporary file when it is not.
//!
//! Writing happens on the blocking pool, in blocks of at least [`TEXT_IN_MEMORY_MAX_OCTETS`]. The temporary file has no
//! name, so it is gone with its last handle, however the process ends (C-S11).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::StoreError;
use crate::place::Place;

/// A text up to this size stays in memory; a longer one goes to a file, so that memory per connection is bounded
/// whatever a client sends (C-S10).
pub const TEXT_IN_MEMORY_MAX_OCTETS: usize = 64 * 1024;

/// How much of a text in a file is in memory when it is read through.
const BLOCK_OCTETS: usize = 256 * 1024;

/// A text that is still being received. Dropping it leaves no trace.
///
/// Text is what lies between DATA and the final dot: dot-stuffing removed, line ends CR LF, no bare LF.
#[derive(Debug)]
pub struct Draft {
    /// Where a long text goes.
    place: Arc<Place>,
    /// Octets taken so far, those in `pending` included.
    octets: u64,
    /// The octets that are not in the file yet.
    pending: Vec<u8>,
    spill: Spill,
}

/// Where the first part of a draft is.
#[derive(Debug)]
enum Spill {
    /// All of it is in memory.
    None,
    Open(Spilled),
    /// An `append` failed or was dropped half way: nobody knows what the file holds.
    Lost,
}

#[derive(Debug)]
struct Spilled {
    file: File,
    octets: u64,
}

impl Draft {
    pub(crate) fn new(place: Arc<Place>) -> Self {
        Self { place, octets: 0, pending: Vec::new(), spill: Spill::None }
    }

    /// Octets of the text so far. Beyond [`TEXT_IN_MEMORY_MAX_OCTETS`] they are in a file.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Adds octets to the text.
    ///
    /// # Errors
    /// [`StoreError::Full`] or [`StoreError::Io`] when the temporary file cannot be written. After an error, and
    /// after this future was dropped before it was ready, the draft is of no use any more.
    pub async fn append(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        self.octets += chunk.len() as u64;
        self.pending.extend_from_slice(chunk);
        if self.pending.len() > TEXT_IN_MEMORY_MAX_OCTETS { self.flush().await } else { Ok(()) }
    }

    /// The text is complete. Nothing of it is durable yet; [`crate::Store::accept`] sees to that.
    ///
    /// # Errors
    /// As [`Draft::append`].
    pub async fn finish(mut self) -> Result<Text, StoreError> {
        if self.is_spilled() && !self.pending.is_empty() {
            self.flush().await?;
        }
        self.into_text()
    }

    fn is_spilled(&self) -> bool {
        !matches!(self.spill, Spill::None)
    }

    fn into_text(self) -> Result<Text, StoreError> {
        let octets = self.octets;
        match self.spill {
            Spill::None => Ok(Text { octets, body: Body::Memory(self.pending) }),
            Spill::Open(Spilled { file, .. }) => {
                Ok(Text { octets, body: Body::File { file, dir: Arc::clone(&self.place.side) } })
            }
            Spill::Lost => Err(lost(&self.place.side)),
        }
    }

    /// Moves what is pending to the file.
    async fn flush(&mut self) -> Result<(), StoreError> {
        let place = Arc::clone(&self.place);
        let mut pending = std::mem::take(&mut self.pending);
        let spill = std::mem::replace(&mut self.spill, Spill::Lost);
        (self.spill, self.pending) = crate::blocking(&self.place.side, move || {
            let spill = spill.write(&place, &pending)?;
            pending.clear();
            Ok((spill, pending))
        })
        .await?;
        Ok(())
    }
}

impl Spill {
    /// Adds octets to the file; blocks the thread.
    fn write(self, place: &Place, octets: &[u8]) -> Result<Self, StoreError> {
        let failed = |source| StoreError::io(&place.side, source);
        let mut spilled = match self {
            Self::None => {
                // The folder that is open may be another one by now.
                let anew = |error| place.journal.prove(place).and(Err(error));
                Spilled { file: place.files.temporary(&place.side).or_else(anew)?, octets: 0 }
            }
            Self::Open(spilled) => spilled,
            Self::Lost => return Err(lost(&place.side)),
        };
        spilled.file.write_all_at(octets, spilled.octets).map_err(failed)?;
        spilled.octets += octets.len() as u64;
        Ok(Self::Open(spilled))
    }
}

/// A complete text, ready to be accepted.
#[derive(Debug)]
pub struct Text {
    octets: u64,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Memory(Vec<u8>),
    File {
        file: File,
        /// Where the file is, for error messages.
        dir: Arc<Path>,
    },
}

impl Text {
    /// Octets of the text, CR LF line ends included.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Whether no part of it is in a file.
    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.body, Body::Memory(_))
    }

    /// Reads the text through, in blocks; blocks the thread. May be called as often as there are mailboxes.
    ///
    /// # Errors
    /// Those of `take`, and [`StoreError::Io`] when the temporary file cannot be read.
    pub(crate) fn read_through(&self, mut take: impl FnMut(&[u8]) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let (file, dir) = match &self.body {
            Body::Memory(octets) => return take(octets),
            Body::File { file, dir } => (file, dir),
        };
        let mut block = vec![0; BLOCK_OCTETS];
        let mut at = 0;
        while at < self.octets {
            let want = usize::try_from(self.octets - at).map_or(BLOCK_OCTETS, |rest| rest.min(BLOCK_OCTETS));
            file.read_exact_at(&mut block[..want], at).map_err(|source| StoreError::io(dir, source))?;
            take(&block[..want])?;
            at += want as u64;
        }
        Ok(())
    }
}

impl Text {
    /// Collects the octets that `next` gives until it gives none; blocks the thread. A long text goes to the working folder.
    pub(crate) fn collect(
        place: &Arc<Place>,
        mut next: impl FnMut() -> Result<Option<Vec<u8>>, StoreError>,
    ) -> Result<Self, StoreError> {
        let mut draft = Draft::new(Arc::clone(place));
        loop {
            let chunk = next()?;
            draft.pending.extend_from_slice(chunk.as_deref().unwrap_or_default());
            draft.octets += chunk.as_ref().map_or(0, Vec::len) as u64;
            let is_long = draft.pending.len() > TEXT_IN_MEMORY_MAX_OCTETS;
            if is_long || chunk.is_none() && draft.is_spilled() {
                draft.spill = std::mem::replace(&mut draft.spill, Spill::Lost).write(place, &draft.pending)?;
                draft.pending.clear();
            }
            if chunk.is_none() {
                return draft.into_text();
            }
        }
    }

    /// The next block, up to 256 KiB, from `at` on; none at the end.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the temporary file cannot be read.
    pub async fn block(self: &Arc<Self>, at: u64) -> Result<Vec<u8>, StoreError> {
        let left = self.octets.saturating_sub(at);
        let want = usize::try_from(left).map_or(BLOCK_OCTETS, |left| left.min(BLOCK_OCTETS));
        match &self.body {
            Body::Memory(octets) => {
                // What is in memory has a `usize` length, and `at` is not beyond it here.
                let at = octets.len() - usize::try_from(left).unwrap_or(octets.len());
                Ok(octets[at..at + want].to_vec())
            }
            Body::File { dir, .. } => {
                let text = Arc::clone(self);
                crate::blocking(dir, move || {
                    let mut block = vec![0; want];
                    match &text.body {
                        Body::File { file, dir } => {
                            file.read_exact_at(&mut block, at).map_err(|source| StoreError::io(dir, source))?;
                        }
                        Body::Memory(_) => block.clear(),
                    }
                    Ok(block)
                })
                .await
            }
        }
    }
}

fn lost(dir: &Path) -> StoreError {
    StoreError::Io { path: PathBuf::from(dir), source: io::Error::other("an earlier part of the text was lost") }
}
