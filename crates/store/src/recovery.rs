//! What recovery did, for the log.

use std::fmt;

/// Most problems that are kept in words; a number stands for the others.
const PROBLEMS_MAX: usize = 20;

/// What recovery did: at the start, or when a mailbox was locked whose last holder had died.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Messages that had been accepted and were missing or torn in a mailbox, and are there now.
    pub deliveries_finished: usize,
    /// Torn messages that had not been accepted, and were cut off a mailbox.
    pub deliveries_undone: usize,
    /// Removals that had been decided, and were finished.
    pub updates_finished: usize,
    /// Dotlocks and temporary files of dead processes that were removed.
    pub files_removed: usize,
    problems: Vec<String>,
    problems_unsaid: usize,
}

impl Recovery {
    /// Whether there was nothing to do.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What a person should look at, in words that name the files. Empty after every ordinary crash.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    pub(crate) fn problem(&mut self, problem: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        } else {
            self.problems_unsaid += 1;
        }
    }
}

/// One line, without line end.
impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.deliveries_finished, "delivery finished", "deliveries finished"),
            (self.deliveries_undone, "torn delivery undone", "torn deliveries undone"),
            (self.updates_finished, "removal finished", "removals finished"),
            (self.files_removed, "leftover file removed", "leftover files removed"),
        ];
        let mut parts: Vec<String> = counts
            .iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, one, many)| format!("{count} {}", if *count == 1 { one } else { many }))
            .collect();
        parts.extend(self.problems.iter().cloned());
        if self.problems_unsaid > 0 {
            parts.push(format!("and {} more problems", self.problems_unsaid));
        }
        if parts.is_empty() {
            return f.write_str("nothing to recover");
        }
        f.write_str(&parts.join("; "))
    }
}

#[cfg(test)]
#[path = "recovery/tests.rs"]
mod tests;
