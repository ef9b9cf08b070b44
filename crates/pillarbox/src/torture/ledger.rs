//! What was acknowledged, and what was seen.

use std::collections::HashMap;

use super::MAILBOXES;

/// Most problems that are kept in words.
const PROBLEMS_MAX: usize = 50;

/// Everything that is known about every message.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    messages: HashMap<u64, Message>,
    fetched: u64,
    twice: u64,
    torn: u64,
    problems: Vec<String>,
}

#[derive(Debug)]
struct Message {
    mailboxes: Vec<&'static str>,
    is_acknowledged: bool,
    /// By mailbox: removals that were acknowledged, and those of which nobody knows.
    removed: HashMap<&'static str, (u32, u32)>,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) acknowledged: u64,
    /// The mailboxes of these messages, all together.
    pub(super) deliveries: u64,
    pub(super) fetched: u64,
    pub(super) lost: u64,
    pub(super) twice: u64,
    pub(super) torn: u64,
    pub(super) problems: Vec<String>,
}

impl Ledger {
    /// A message is going to be sent.
    pub(super) fn begin(&mut self, number: u64, mailboxes: Vec<&'static str>) {
        self.messages.insert(number, Message { mailboxes, is_acknowledged: false, removed: HashMap::new() });
    }

    /// It was accepted.
    pub(super) fn acknowledge(&mut self, number: u64) {
        if let Some(message) = self.messages.get_mut(&number) {
            message.is_acknowledged = true;
        }
    }

    /// What a session has listed in a mailbox: the numbers, and `None` for what is no whole message.
    pub(super) fn see(&mut self, mailbox: &'static str, numbers: &[Option<u64>]) {
        let mut seen = Vec::new();
        for number in numbers {
            let Some(number) = *number else {
                self.torn += 1;
                self.problem(format!("{mailbox} has a torn message"));
                continue;
            };
            let removed = self.messages.get(&number).filter(|message| message.mailboxes.contains(&mailbox));
            let removed = removed.map(|message| message.removed.get(mailbox).copied().unwrap_or_default().0);
            match removed {
                None => {
                    self.twice += 1;
                    self.problem(format!("{mailbox} has message {number}, which was not sent there"));
                }
                Some(removed) if removed > 0 || seen.contains(&number) => {
                    self.twice += 1;
                    self.problem(format!("{mailbox} has message {number} twice, {removed} of them removed"));
                }
                Some(_) => {}
            }
            seen.push(number);
        }
    }

    /// A session has removed messages, or nobody knows whether it has.
    pub(super) fn remove(&mut self, mailbox: &'static str, numbers: &[u64], is_acknowledged: bool) {
        for number in numbers {
            if let Some(message) = self.messages.get_mut(number) {
                let (known, unknown) = message.removed.entry(mailbox).or_default();
                if is_acknowledged {
                    *known += 1;
                    self.fetched += 1;
                } else {
                    *unknown += 1;
                }
            }
        }
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.messages.values().filter(|message| message.is_acknowledged).count()
    }

    pub(super) fn problems(&self) -> &[String] {
        &self.problems
    }

    fn problem(&mut self, problem: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }

    /// The end: `left` is in the mailboxes.
    pub(super) fn verdict(&mut self, left: &HashMap<&'static str, Vec<u64>>) -> Verdict {
        let mut verdict = Verdict::default();
        let mut lost = Vec::new();
        for (number, message) in &self.messages {
            if !message.is_acknowledged {
                continue;
            }
            verdict.acknowledged += 1;
            for mailbox in message.mailboxes.iter().copied().filter(|mailbox| MAILBOXES.contains(mailbox)) {
                verdict.deliveries += 1;
                let (known, unknown) = message.removed.get(mailbox).copied().unwrap_or_default();
                let is_left = left.get(mailbox).is_some_and(|left| left.contains(number));
                if known == 0 && unknown == 0 && !is_left {
                    lost.push(format!("{mailbox} has lost message {number}"));
                }
            }
        }
        verdict.lost = lost.len() as u64;
        lost.into_iter().for_each(|lost| self.problem(lost));
        Verdict {
            fetched: self.fetched,
            twice: self.twice,
            torn: self.torn,
            problems: self.problems.clone(),
            ..verdict
        }
    }
}

#[cfg(test)]
#[path = "ledger/tests.rs"]
mod tests;
