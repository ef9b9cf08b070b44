//! Where the servers of a folder listen: `.pillarbox/listening`, one `ADDR:PORT` per line (C-F7).
//!
//! Each server has the octets of its lines locked for as long as it lives; a line that nobody has locked says nothing, and
//! its place is used again. So nothing has to be removed or flushed, whatever a process or the power dies of.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::libc;

use crate::locks::{Part, is_locked, try_lock_part, unlock};
use crate::place::read_at;
use crate::{MboxStore, StoreError, blocking};

/// Octets of the file that are looked at: the lines of a thousand servers.
pub const LISTENING_MAX_OCTETS: usize = 64 * 1024;

/// How often a place for lines is looked for while others take theirs, and the pause after each time.
const TRIES: (usize, Duration) = (100, Duration::from_millis(10));

/// The lines of a server; they count until this is dropped, or the process ends.
#[derive(Debug)]
pub struct Listening {
    file: File,
    lines: Part,
}

impl Drop for Listening {
    fn drop(&mut self) {
        // Closing the file is not enough while a child that has not called `exec` yet has it as well.
        unlock(&self.file, self.lines);
    }
}

impl MboxStore {
    /// Says that a server over this folder listens there. Blocks the thread.
    ///
    /// # Errors
    /// [`StoreError`] when that cannot be written down.
    pub fn listen_at(&self, addresses: &[SocketAddr]) -> Result<Listening, StoreError> {
        let path = self.listening_file();
        let files = &self.place.files;
        // Opened anew: locks of one open file do not keep each other out.
        let file = files.open_or_create(&path)?;
        let lines: String = addresses.iter().map(|address| format!("{address}\n")).collect();
        for _ in 0..TRIES.0 {
            let before = content(&file, &path)?;
            let at = room(&before, lines.len(), |part| is_locked(&file, &path, part))?;
            let ours = part(at, lines.len());
            // Whoever can have all that follows cuts off what dead servers have left there.
            let rest = Part { octets: 0, ..ours };
            let is_last = try_lock_part(&file, &path, rest)?;
            if is_last || try_lock_part(&file, &path, ours)? {
                // Somebody may have come and gone before it was locked.
                if content(&file, &path)? == before {
                    files.write_all_at(&file, &path, lines.as_bytes(), at as u64)?;
                    if is_last {
                        files.set_len(&file, &path, (at + lines.len()) as u64)?;
                        unlock(&file, part(at + lines.len(), 0));
                    }
                    return Ok(Listening { file, lines: ours });
                }
                unlock(&file, rest);
            }
            thread::sleep(TRIES.1);
        }
        Err(StoreError::Locked { path })
    }

    /// Where servers over this folder listen, whichever process they belong to.
    pub(crate) async fn who_listens(&self) -> Result<Vec<SocketAddr>, StoreError> {
        let path = self.listening_file();
        let place = Arc::clone(&self.place);
        blocking(&self.place.dir, move || {
            let mut listening = Vec::new();
            let Some(file) = place.files.open_ours(&path, false)? else { return Ok(listening) };
            for (at, line) in lines(&content(&file, &path)?) {
                let address = std::str::from_utf8(line).ok().and_then(|line| line.trim().parse().ok());
                if let Some(address) = address
                    && is_locked(&file, &path, part(at, line.len()))?
                {
                    listening.push(address);
                }
            }
            Ok(listening)
        })
        .await
    }

    fn listening_file(&self) -> PathBuf {
        self.place.side.join("listening")
    }
}

/// Where so many octets can be written that no living server needs: a gap between lines, or the end.
fn room(
    content: &[u8],
    octets: usize,
    is_locked: impl Fn(Part) -> Result<bool, StoreError>,
) -> Result<usize, StoreError> {
    let mut gap = 0;
    for (at, line) in lines(content) {
        let end = at + line.len();
        if is_locked(part(at, line.len()))? {
            gap = end;
        } else if end - gap >= octets {
            break;
        }
    }
    Ok(gap)
}

/// The lines and where they begin, each with its end.
fn lines(content: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = content.split_inclusive(|&octet| octet == b'\n');
    lines.scan(0, |at, line| {
        let begins = *at;
        *at += line.len();
        Some((begins, line))
    })
}

fn content(file: &File, path: &Path) -> Result<Vec<u8>, StoreError> {
    let mut content = vec![0; LISTENING_MAX_OCTETS];
    let read = read_at(file, &mut content, 0).map_err(|source| StoreError::io(path, source))?;
    content.truncate(read);
    Ok(content)
}

fn part(at: usize, octets: usize) -> Part {
    // Neither is more than the octets that are looked at, and the lines of one server.
    let [at, octets] = [at, octets].map(|octets| libc::off_t::try_from(octets).unwrap_or(0));
    Part { at, octets }
}

#[cfg(test)]
#[path = "listening/tests.rs"]
mod tests;
