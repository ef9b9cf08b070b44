//! Whether a worker looks for a client's next octets, or sleeps until they come.
//!
//! To wake a core takes as long as a client on the same host does, and a client that asks for one thing after another
//! waits for it each time. Where cores do not sleep, because others use them, looking only takes time from the client. So
//! both are tried now and then, and what is quicker is kept.

use std::num::NonZero;
use std::sync::LazyLock;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

/// Waits for one client after which either way is judged.
pub const TRIAL_WAITS: u32 = 32;
/// Waits for it until both ways are tried again.
pub const KEPT_WAITS: u32 = 1024;

/// On one core a client cannot send while it is looked for.
static CORES: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(1, NonZero::get));

/// What is known of one client.
#[derive(Debug)]
pub(crate) struct Look {
    /// How long it is looked for, if it is.
    longest: Duration,
    stage: Stage,
    /// Waits of this stage.
    waits: u32,
    /// How long they took together.
    spent: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    TrySleeping,
    /// Sleeping took this long on average.
    TryLooking(Duration),
    Keep {
        looks: bool,
    },
}

impl Look {
    /// `longest` is how long a client is looked for; zero if never.
    pub(crate) fn new(longest: Duration) -> Self {
        let longest = if *CORES > 1 { longest } else { Duration::ZERO };
        Self { longest, stage: Stage::TrySleeping, waits: 0, spent: Duration::ZERO }
    }

    /// Until when the client is looked for that is waited for from now on.
    pub(crate) fn ends(&self, now: Instant) -> Instant {
        match self.stage {
            Stage::TryLooking(_) | Stage::Keep { looks: true } => now + self.longest,
            Stage::TrySleeping | Stage::Keep { looks: false } => now,
        }
    }

    /// It was waited for so long.
    pub(crate) fn waited(&mut self, wait: Duration) {
        if self.longest.is_zero() {
            return;
        }
        self.waits += 1;
        self.spent += wait;
        let end = if matches!(self.stage, Stage::Keep { .. }) { KEPT_WAITS } else { TRIAL_WAITS };
        if self.waits < end {
            return;
        }
        let mean = self.spent / self.waits;
        self.stage = match self.stage {
            // Not even by half could it be found in time.
            Stage::TrySleeping if mean > self.longest * 2 => Stage::Keep { looks: false },
            Stage::TrySleeping => Stage::TryLooking(mean),
            // It costs processor time: for a quarter less.
            Stage::TryLooking(slept) => Stage::Keep { looks: mean < self.longest && mean < slept * 3 / 4 },
            Stage::Keep { .. } => Stage::TrySleeping,
        };
        (self.waits, self.spent) = (0, Duration::ZERO);
    }
}

#[cfg(test)]
#[path = "look/tests.rs"]
mod tests;
