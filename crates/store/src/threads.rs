//! Work on all cores: what a large mailbox takes is done by as many threads as there are, and what many take at once by no
//! more than as many again.

use std::io;
use std::num::NonZero;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use crate::StoreError;

/// It takes several system calls to find out.
static CORES: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(1, NonZero::get));

/// What a thread is for. In a process there are as many of a kind at once as it has cores.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Helps with whatever takes long.
    Helper,
    /// Closes a file: who has work for it holds locks, and must not wait for what others compute.
    Closer,
    /// Has a file written back.
    Writer,
}

/// How many threads there are of each kind.
#[derive(Debug)]
pub(crate) struct Threads([AtomicUsize; 3]);

/// Those of this process. Tests that need all of a kind have their own.
pub(crate) static THREADS: Threads = Threads::new();

impl Kind {
    /// Its name, for who looks at the process.
    fn name(self) -> &'static str {
        match self {
            Self::Helper => "mailbox",
            Self::Closer => "closing",
            Self::Writer => "writing back",
        }
    }
}

/// A thread, among these of its kind.
struct OneOf(&'static AtomicUsize);

impl Drop for OneOf {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Threads {
    const fn new() -> Self {
        Self([const { AtomicUsize::new(0) }; 3])
    }

    fn one_of(&'static self, kind: Kind) -> Option<OneOf> {
        let threads = &self.0[kind as usize];
        let one_more = |threads| (threads < *CORES).then_some(threads + 1);
        threads.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| OneOf(threads))
    }

    /// Does `work` on up to `most` threads, this one among them, and no more than there are cores: what each has done,
    /// in any order. Each takes from what there is to do until nothing is left. Blocks the thread.
    ///
    /// # Errors
    /// The first of `work`. `path` is named if it panics.
    pub(crate) fn on_all_cores<T: Send>(
        &'static self,
        path: &Path,
        most: usize,
        work: impl Fn() -> Result<T, StoreError> + Sync,
    ) -> Result<Vec<T>, StoreError> {
        let threads = if most > 1 { most.min(*CORES) } else { 1 };
        thread::scope(|scope| {
            let work = &work;
            // Those that cannot be started leave their work to the others.
            let start = |_| {
                let helper = self.one_of(Kind::Helper)?;
                let help = move || {
                    let _helper = helper;
                    work()
                };
                thread::Builder::new().name(Kind::Helper.name().to_owned()).spawn_scoped(scope, help).ok()
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

    /// Does this on a thread of its own. Where none can be had nothing is done, and what `work` owns is dropped at once.
    pub(crate) fn aside<T: Send + 'static>(
        &'static self,
        kind: Kind,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<JoinHandle<T>> {
        let one = self.one_of(kind)?;
        let work = move || {
            let _one = one;
            work()
        };
        thread::Builder::new().name(kind.name().to_owned()).spawn(work).ok()
    }

    /// Drops this on another thread: to close the last name of a long file takes the system as long as to write it, and
    /// nobody need wait for that. Where no thread can be had it is dropped at once.
    pub(crate) fn drop_aside<T: Send + 'static>(&'static self, last: T) {
        self.aside(Kind::Closer, move || drop(last));
    }
}

#[cfg(test)]
#[path = "threads/tests.rs"]
mod tests;
