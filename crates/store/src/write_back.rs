//! Writing a long file back while more of it is written.

use std::io;
use std::path::Path;
use std::thread::JoinHandle;

use crate::place::Place;
use crate::threads::{Kind, THREADS};

/// Each time a file has grown by so many octets, the system is asked to write it back.
pub(crate) const WRITE_BACK_OCTETS: u64 = 2 * 1024 * 1024;

/// Has a long file written back by another thread while it is written, so that its flush has less to wait for.
///
/// It promises nothing: durable is what was flushed by `Files` afterwards. That is told of pages that could not be written
/// here, too: the file is opened anew for this, and the system tells each open file of such an error (`fsync(2)`).
pub(crate) struct WriteBack<'a> {
    place: &'a Place,
    path: &'a Path,
    /// Octets of the file that were written when it was asked for last.
    asked: u64,
    /// The thread that was asked last.
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl<'a> WriteBack<'a> {
    /// Nothing is written yet to the file with this name.
    pub(crate) fn new(place: &'a Place, path: &'a Path) -> Self {
        Self { place, path, asked: 0, thread: None }
    }

    /// So many octets have been written to it, and more will be. Waits for nothing.
    pub(crate) fn written(&mut self, octets: u64) {
        let is_due = octets.saturating_sub(self.asked) >= WRITE_BACK_OCTETS;
        if is_due && self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            // Opened anew: of a flush that fails each open file is told once, and the one that is waited for must be.
            let Ok(Some(file)) = self.place.files.open_ours(self.path, false) else { return };
            self.thread = THREADS.aside(Kind::Writer, move || file.sync_data());
            if self.thread.is_some() {
                self.asked = octets;
                #[cfg(test)]
                tests::ASKED.set(tests::ASKED.get() + 1);
            }
        }
    }
}

#[cfg(test)]
#[path = "write_back/tests.rs"]
pub(crate) mod tests;
