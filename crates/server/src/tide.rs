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
mod tests {
    use super::*;

    static GIVEN_BACK: AtomicUsize = AtomicUsize::new(0);

    /// holds C-C1
    #[tokio::test(start_paused = true)]
    async fn memory_is_given_back_when_a_crowd_has_gone_and_not_for_a_few() {
        let tide = Arc::new(Tide::default());
        let ours = Arc::clone(&tide);
        let giving = tokio::spawn(async move {
            ours.give_back(|| {
                GIVEN_BACK.fetch_add(1, Ordering::Relaxed);
            })
            .await;
        });
        // Enough for what was begun: the clock is ours.
        let settled = || sleep(10 * TIDE_SETTLES);
        let given_back = || GIVEN_BACK.load(Ordering::Relaxed);

        let crowd = |size| (0..size).map(|_| tide.rises()).collect::<Vec<_>>();

        (0..10 * TIDE_TURNS).for_each(|_| drop(tide.rises()));
        let mut people = crowd(TIDE_TURNS);
        let last = people.pop();
        drop(people);
        settled().await;
        assert_eq!(given_back(), 0, "one after another, and one fewer than a crowd");

        drop(last);
        settled().await;
        assert_eq!(given_back(), 1, "a crowd");
        drop(crowd(TIDE_TURNS - 1));
        settled().await;
        assert_eq!(given_back(), 1, "what had gone by then does not count twice");

        let (some, others) = (crowd(TIDE_TURNS), crowd(TIDE_TURNS));
        drop(some);
        sleep(TIDE_SETTLES / 2).await;
        drop(others);
        settled().await;
        assert_eq!(given_back(), 3, "again, because more went meanwhile");
        giving.abort();
    }
}
