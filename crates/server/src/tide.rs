//! When many connections have gone, their memory is given back to the system.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// So many connections fewer than there were, and memory is given back. What fewer of them had is not worth the work.
pub const TIDE_TURNS: usize = 256;

/// How long is waited for more connections to go, before memory is given back.
pub const TIDE_SETTLES: Duration = Duration::from_millis(250);

/// How many connections there are, and were.
#[derive(Default)]
pub(crate) struct Tide {
    open: AtomicUsize,
    /// Most connections open since memory was last given back.
    high: AtomicUsize,
    turned: Notify,
}

impl Tide {
    /// A connection begins; it ends when what this gives is dropped.
    pub(crate) fn rises(self: &Arc<Self>) -> Afloat {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.high.fetch_max(open, Ordering::Relaxed);
        Afloat(Arc::clone(self))
    }

    fn has_turned(&self, open: usize) -> bool {
        open + TIDE_TURNS <= self.high.load(Ordering::Relaxed)
    }

    /// Calls `give_back`, on a thread that may block, each time that [`TIDE_TURNS`] connections have gone, and again
    /// until no more of them go. Never ends.
    pub(crate) async fn give_back(&self, give_back: fn()) {
        loop {
            self.turned.notified().await;
            let mut before = self.open.load(Ordering::Relaxed);
            if !self.has_turned(before) {
                // What was told meanwhile is done.
                continue;
            }
            loop {
                sleep(TIDE_SETTLES).await;
                // It can only fail by a panic or because the runtime ends.
                let _ = spawn_blocking(give_back).await;
                let open = self.open.load(Ordering::Relaxed);
                self.high.store(open, Ordering::Relaxed);
                if open >= before {
                    break;
                }
                before = open;
            }
        }
    }
}

/// One connection.
pub(crate) struct Afloat(Arc<Tide>);

impl Drop for Afloat {
    fn drop(&mut self) {
        let open = self.0.open.fetch_sub(1, Ordering::Relaxed) - 1;
        if self.0.has_turned(open) {
            self.0.turned.notify_one();
        }
    }
}

#[cfg(test)]
#[path = "tide/tests.rs"]
mod tests;
