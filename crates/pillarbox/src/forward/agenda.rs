//! What is sent next, and what waits: pure.

use std::collections::{HashMap, HashSet};

use pillarbox_store::Item;

use super::{ITEMS_AT_ONCE, domains};

/// Items that are sent to one domain at the same time. A domain whose hosts are silent then leaves room for others.
pub const DOMAIN_AT_ONCE: usize = 5;

/// What is to be done with the items of a queue. Each is tried once, and once more after each [`Agenda::renew`].
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// What waits for its turn, with its domains, in the order of the queue.
    waiting: Vec<(Item, Vec<String>)>,
    under_way: HashMap<Item, Vec<String>>,
    /// How many are under way to each domain.
    busy: HashMap<String, usize>,
    /// What waits, is under way or was tried.
    known: HashSet<Item>,
    /// What was seen more than once: it may be in the queue twice.
    seen_again: HashSet<Item>,
}

impl Agenda {
    /// From now on what has been tried is tried again, behind what still waits: otherwise hosts that are silent would have
    /// their turn again and again, and what is behind them in the queue never.
    pub(super) fn renew(&mut self) {
        self.seen_again.clear();
        let waiting = self.waiting.iter().map(|(item, _)| item);
        self.known = self.under_way.keys().chain(waiting).cloned().collect();
    }

    /// This is in the queue.
    pub(super) fn listed(&mut self, items: Vec<Item>) {
        for item in items {
            let Some(envelope) = &item.envelope else { continue };
            if self.known.insert(item.clone()) {
                let domains = domains(envelope).into_iter().collect();
                self.waiting.push((item, domains));
            } else {
                self.seen_again.insert(item);
            }
        }
    }

    /// What to begin with now, if there is room for it.
    pub(super) fn next(&mut self) -> Option<Item> {
        if self.under_way.len() >= ITEMS_AT_ONCE {
            return None;
        }
        let has_room = |domain| self.busy.get(domain).is_none_or(|busy| *busy < DOMAIN_AT_ONCE);
        let at = self.waiting.iter().position(|(_, domains)| domains.iter().all(has_room))?;
        let (item, domains) = self.waiting.remove(at);
        domains.iter().for_each(|domain| *self.busy.entry(domain.clone()).or_default() += 1);
        self.under_way.insert(item.clone(), domains);
        Some(item)
    }

    /// An item is no longer under way; `left` is what remains of it. Whether the queue is to be listed again: there may
    /// be another one like it.
    pub(super) fn ended(&mut self, item: &Item, left: Option<Item>) -> bool {
        for domain in self.under_way.remove(item).unwrap_or_default() {
            if let Some(busy) = self.busy.get_mut(&domain) {
                *busy -= 1;
                if *busy == 0 {
                    self.busy.remove(&domain);
                }
            }
        }
        let seen_again = self.seen_again.remove(item);
        if left.as_ref() != Some(item) {
            self.known.remove(item);
        }
        let is_over = left.is_none();
        self.known.extend(left);
        seen_again && is_over
    }
}

#[cfg(test)]
#[path = "agenda/tests.rs"]
mod tests;
