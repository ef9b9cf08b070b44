//! Work on all cores: what a large mailbox takes is done by as many threads as there are, and what many take at once by no
//! more than as many again.

use std::num::NonZero;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{io, thread};

use crate::StoreError;

/// It takes several system calls to find out.
static CORES: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(1, NonZero::get));

/// A thread of its kind. In a process there are as many of a kind at once as it has cores.
struct OneOf(&'static AtomicUsize);

/// The threads that help, whatever they help with.
static HELPERS: AtomicUsize = AtomicUsize::new(0);
/// Those that close files: who has work for these holds locks, and must not wait for what others compute.
static CLOSERS: AtomicUsize = AtomicUsize::new(0);

impl OneOf {
    fn new(kind: &'static AtomicUsize) -> Option<Self> {
        let one_more = |threads| (threads < *CORES).then_some(threads + 1);
        kind.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Self(kind))
    }
}

impl Drop for OneOf {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Does `work` on up to `most` threads, this one among them, and no more than there are cores: what each has done, in any
/// order. Each takes from what there is to do until nothing is left. Blocks the thread.
///
/// # Errors
/// The first of `work`. `path` is named if it panics.
pub(crate) fn on_all_cores<T: Send>(
    path: &Path,
    most: usize,
    work: impl Fn() -> Result<T, StoreError> + Sync,
) -> Result<Vec<T>, StoreError> {
    let threads = if most > 1 { most.min(*CORES) } else { 1 };
    thread::scope(|scope| {
        let work = &work;
        // Those that cannot be started leave their work to the others.
        let start = |_| {
            let helper = OneOf::new(&HELPERS)?;
            let help = move || {
                let _helper = helper;
                work()
            };
            thread::Builder::new().name("mailbox".to_owned()).spawn_scoped(scope, help).ok()
        };
        let others: Vec<_> = (1..threads).filter_map(start).collect();
        let mut done = vec![work()];
        for other in others {
            let panicked = |_| Err(StoreError::io(path, io::Error::other("a thread has panicked")));
            done.push(other.join().unwrap_or_else(panicked));
        }
        done.into_iter().collect()
    })
}

/// Drops this on another thread: to close the last name of a long file takes the system as long as to write it, and nobody
/// need wait for that.
pub(crate) fn drop_aside<T: Send + 'static>(last: T) {
    // Where no thread can be started it is dropped at once.
    let Some(closer) = OneOf::new(&CLOSERS) else { return };
    let _ = thread::Builder::new().name("closing".to_owned()).spawn(move || drop((last, closer)));
}

#[cfg(test)]
#[path = "threads/tests.rs"]
mod tests;
