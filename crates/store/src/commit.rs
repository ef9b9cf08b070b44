//! Group commit: messages that wait at the same time are delivered together, with one flush of the journal.
//!
//! The first message to come is delivered at once, by a job that goes on as long as there are more; whatever comes
//! meanwhile is the next group. If that is smaller than those a moment ago, whose senders have not sent their next message
//! yet, it waits a little for them: fewer flushes for the same mail. Who sends alone does not wait, once a crowd
//! is forgotten.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::{self, sleep_until};

use crate::append::{self, Message};
use crate::error::Failed;
use crate::locks::{Locked, TIMEOUT_MAX, jitter, lock_now, with_mailboxes};
use crate::place::Place;
use crate::{StoreError, recover};

/// Most messages of a group.
const GROUP_MAX: usize = 512;
/// Most octets of a group, each message counted for each of its mailboxes.
const GROUP_MAX_OCTETS: u64 = 4 * 1024 * 1024;
/// Most mailboxes of a group: each takes two descriptors.
const GROUP_MAX_MAILBOXES: usize = 64;
/// A message with more octets, counted for each of its mailboxes, is long: it is not written to the journal.
const SMALL_MAX_OCTETS: u64 = 1024 * 1024;
/// First wait for a mailbox that somebody else has; doubled until it is as long as that for other locks.
const FIRST_RETRY: Duration = Duration::from_millis(2);

/// Longest wait of a group for more messages, and how long a group is remembered. Where a flush takes longer than this,
/// enough come by themselves.
const GATHER_MAX: Duration = Duration::from_millis(5);
/// Fewer are no crowd: two that waited for each other would gain little, and each message would take longer.
const CROWD_MIN: usize = 3;
/// By this part of it a crowd is thought smaller after each group that had fewer messages. By all that were missing, one
/// small group by chance would make the next ones small.
const CROWD_LEAVES: usize = 4;

/// The messages that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    state: Mutex<State>,
    /// As many wait as are `wanted`.
    enough: Condvar,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Pending>,
    /// A job is delivering, and will look for more.
    is_led: bool,
    /// It begins when so many wait, or it has waited long enough.
    wanted: Option<usize>,
    /// Those who sent the groups before.
    crowd: Option<Crowd>,
}

#[derive(Debug)]
struct Pending {
    message: Message,
    reply: oneshot::Sender<Outcome>,
}

#[derive(Debug)]
enum Outcome {
    Done(Result<(), StoreError>),
    /// Somebody else has this mailbox.
    Busy(Message, String),
}

impl Waiting {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until as many messages are there as the next group wants, or its time is over.
    fn gather(&self) -> MutexGuard<'_, State> {
        let state = self.state();
        match state.crowd.and_then(|crowd| crowd.company(state.messages.len(), Instant::now())) {
            Some(company) => self.wait_for(state, company),
            None => state,
        }
    }

    fn wait_for<'a>(&'a self, mut state: MutexGuard<'a, State>, (wanted, at_most): Company) -> MutexGuard<'a, State> {
        state.wanted = Some(wanted);
        let is_short = |state: &mut State| state.messages.len() < wanted;
        let waited = self.enough.wait_timeout_while(state, at_most, is_short);
        (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.wanted = None;
        state
    }
}

/// How many messages a group waits for, and how long at most.
type Company = (usize, Duration);

/// Those who send at the same time, as far as the groups before tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Crowd {
    /// How many messages came together.
    messages: usize,
    /// How long the delivery of the last group took.
    took: Duration,
    /// When that was done.
    seen: Instant,
}

impl Crowd {
    /// As it is thought to be after a group of so many messages.
    fn after(before: Option<Self>, messages: usize, begun: Instant, done: Instant) -> Self {
        let left = before.map_or(0, |Self { messages, .. }| messages - messages.div_ceil(CROWD_LEAVES));
        Self { messages: messages.max(left), took: done - begun, seen: done }
    }

    /// What the next group waits for where so many messages wait already: for the others, as long as the last one took.
    fn company(self, waiting: usize, now: Instant) -> Option<Company> {
        let is_crowd = self.messages >= CROWD_MIN && now - self.seen <= GATHER_MAX;
        (is_crowd && (1..self.messages).contains(&waiting)).then(|| (self.messages, self.took.min(GATHER_MAX)))
    }
}

/// Delivers a message, together with others. On `Ok` it is durable.
///
/// # Errors
/// [`StoreError::Locked`] when its mailboxes were not had within `timeout`; otherwise as [`append::deliver`].
pub(crate) async fn deliver(place: &Arc<Place>, message: Message, timeout: Duration) -> Result<(), StoreError> {
    let octets = message.text.octets().saturating_mul(message.names.len() as u64);
    if !message.text.is_in_memory() || octets > SMALL_MAX_OCTETS {
        let names = message.names.clone();
        let ours = Arc::clone(place);
        return with_mailboxes(place, &names, timeout, move |locked| {
            or_make_room(&ours, || append::deliver_large(&ours, locked, &message)).map_err(StoreError::from)
        })
        .await;
    }
    let deadline = time::Instant::now() + timeout.min(TIMEOUT_MAX);
    let mut message = message;
    let mut pause = FIRST_RETRY;
    loop {
        let busy = match submit(place, message).await {
            Ok(Outcome::Done(result)) => return result,
            Ok(Outcome::Busy(ours, name)) => {
                message = ours;
                name
            }
            Err(_) => return Err(StoreError::io(&place.dir, io::Error::other("the delivery was stopped"))),
        };
        if time::Instant::now() >= deadline {
            return Err(StoreError::Locked { path: place.mailbox(&busy) });
        }
        sleep_until(deadline.min(time::Instant::now() + pause.min(jitter()))).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// Tries again when the disk is full, if the journal can give some of it back.
fn or_make_room(place: &Place, mut work: impl FnMut() -> Result<(), Failed>) -> Result<(), Failed> {
    match work() {
        Err(Failed::Undone(StoreError::Full { .. })) => {
            place.journal.make_room(place);
            work()
        }
        result => result,
    }
}

fn submit(place: &Arc<Place>, message: Message) -> oneshot::Receiver<Outcome> {
    let (reply, outcome) = oneshot::channel();
    let mut state = place.waiting.state();
    state.messages.push_back(Pending { message, reply });
    if state.wanted.is_some_and(|wanted| state.messages.len() >= wanted) {
        place.waiting.enough.notify_one();
    }
    if !std::mem::replace(&mut state.is_led, true) {
        let mut leader = Leader { place: Arc::clone(place), is_over: false };
        drop(state);
        tokio::task::spawn_blocking(move || leader.lead());
    }
    outcome
}

/// The job that delivers.
struct Leader {
    place: Arc<Place>,
    /// It found nothing more to deliver. There may be another one by now.
    is_over: bool,
}

impl Leader {
    fn lead(&mut self) {
        loop {
            let group = {
                let mut state = self.place.waiting.gather();
                let group = next_group(&mut state.messages);
                if group.is_empty() {
                    state.is_led = false;
                    self.is_over = true;
                    return;
                }
                group
            };
            let (messages, begun) = (group.len(), Instant::now());
            deliver_group(&self.place, group);
            let crowd = &mut self.place.waiting.state().crowd;
            *crowd = Some(Crowd::after(*crowd, messages, begun, Instant::now()));
        }
    }
}

impl Drop for Leader {
    /// If it panicked, or never ran, nobody delivers what waits.
    fn drop(&mut self) {
        if !self.is_over {
            let mut state = self.place.waiting.state();
            state.is_led = false;
            state.messages.clear();
        }
    }
}

fn next_group(messages: &mut VecDeque<Pending>) -> Vec<Pending> {
    let mut group: Vec<Pending> = Vec::new();
    let (mut octets, mut names) = (0, 0);
    while let Some(next) = messages.pop_front() {
        // Nobody waits for it any more.
        if next.reply.is_closed() {
            continue;
        }
        octets += next.message.text.octets() * next.message.names.len() as u64;
        names += next.message.names.len();
        let is_one_more = group.len() == GROUP_MAX || octets > GROUP_MAX_OCTETS || names > GROUP_MAX_MAILBOXES;
        if is_one_more && !group.is_empty() {
            messages.push_front(next);
            break;
        }
        group.push(next);
    }
    group
}

/// Delivers the messages whose mailboxes can be had now.
fn deliver_group(place: &Arc<Place>, group: Vec<Pending>) {
    let (messages, replies): (Vec<Message>, Vec<_>) =
        group.into_iter().map(|Pending { message, reply }| (message, reply)).unzip();
    match try_group(place, messages) {
        Group::Done(messages) => {
            drop(messages);
            replies.into_iter().for_each(|reply| drop(reply.send(Outcome::Done(Ok(())))));
        }
        Group::Busy(messages, name) => {
            let mut others = Vec::new();
            for (message, reply) in messages.into_iter().zip(replies) {
                if message.names.contains(&name) {
                    let _ = reply.send(Outcome::Busy(message, name.clone()));
                } else {
                    others.push(Pending { message, reply });
                }
            }
            // Together, as before: who waits for a mailbox tries again and again, and costs the others no flush.
            if !others.is_empty() {
                deliver_group(place, others);
            }
        }
        // One of them is in the way of the others.
        Group::Failed(messages, Failed::Undone(_)) if messages.len() > 1 => {
            for (message, reply) in messages.into_iter().zip(replies) {
                deliver_group(place, vec![Pending { message, reply }]);
            }
        }
        Group::Failed(_, failed) => {
            let error = StoreError::from(failed);
            let what = error.to_string();
            let mut error = Some(error);
            for reply in replies {
                let same = || StoreError::io(&place.dir, io::Error::other(what.clone()));
                let _ = reply.send(Outcome::Done(Err(error.take().unwrap_or_else(same))));
            }
        }
    }
}

enum Group {
    Done(Vec<Message>),
    Busy(Vec<Message>, String),
    Failed(Vec<Message>, Failed),
}

fn try_group(place: &Arc<Place>, messages: Vec<Message>) -> Group {
    let mut names: Vec<&String> = messages.iter().flat_map(|message| &message.names).collect();
    names.sort_unstable();
    names.dedup();
    let mut locked: Vec<Locked> = Vec::with_capacity(names.len());
    for name in names {
        match lock_now(place, name) {
            Ok(Some(mailbox)) => locked.push(mailbox),
            Ok(None) => {
                let name = name.clone();
                return Group::Busy(messages, name);
            }
            Err(error) => return Group::Failed(messages, error.into()),
        }
    }
    match recover::repair(place, &mut locked) {
        Ok(None) => {}
        Ok(Some(name)) => return Group::Busy(messages, name),
        Err(error) => return Group::Failed(messages, error.into()),
    }
    let result = or_make_room(place, || append::deliver(place, &mut locked, &messages));
    // The locks go before anybody hears of it.
    drop(locked);
    match result {
        Ok(()) => Group::Done(messages),
        Err(failed) => Group::Failed(messages, failed),
    }
}

#[cfg(test)]
#[path = "commit/tests.rs"]
mod tests;
