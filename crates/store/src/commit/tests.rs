//! Tests of `commit.rs`.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::Draft;
use crate::files::tests::Operation;

async fn message(place: &Arc<Place>, names: &[&str]) -> Message {
    let text = Draft::new(Arc::clone(place)).finish().await.unwrap();
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Message { names, from_line: "From a Mon Aug 22 23:00:00 2016\n".to_owned(), queued: None, text }
}

/// A mailbox that another program has locked holds up only what is for it, and costs the others nothing.
///
/// holds C-S9
#[tokio::test]
async fn a_busy_mailbox_does_not_divide_the_others() {
    let flushes = async |is_busy: bool| {
        let dir = tempfile::tempdir().unwrap();
        let place = Arc::new(Place::open(dir.path()).unwrap());
        for name in ["alice", "bob", "carol"] {
            std::fs::write(place.mailbox(name), "").unwrap();
        }
        if is_busy {
            std::fs::write(place.dotlock("bob"), format!("{}\n", std::os::unix::process::parent_id())).unwrap();
        }
        let (mut group, mut outcomes) = (Vec::new(), Vec::new());
        for names in [&["alice"][..], &["alice", "bob"], &["carol"], &["bob"], &["alice", "carol"], &["carol"]] {
            let (reply, outcome) = oneshot::channel();
            group.push(Pending { message: message(&place, names).await, reply });
            outcomes.push((names.contains(&"bob"), outcome));
        }
        place.files.start_recording();
        deliver_group(&place, group);
        for (is_for_bob, mut outcome) in outcomes {
            match outcome.try_recv().unwrap() {
                Outcome::Done(result) => {
                    result.unwrap();
                    assert!(!is_busy || !is_for_bob);
                }
                Outcome::Busy(message, name) => {
                    assert!(is_busy && is_for_bob && message.names.contains(&name));
                    assert_eq!(name, "bob");
                }
            }
        }
        let counts = ["alice", "bob", "carol"]
            .map(|name| std::fs::read_to_string(place.mailbox(name)).unwrap().matches("From a").count());
        assert_eq!(counts, if is_busy { [2, 0, 3] } else { [3, 2, 3] });
        place.files.stop_recording().iter().filter(|operation| matches!(operation, Operation::Sync(_))).count()
    };
    assert_eq!(flushes(true).await, flushes(false).await);
}

/// A leader that has ended takes nothing away from the one that came after it.
#[tokio::test]
async fn the_end_of_a_leader_stops_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let place = Arc::new(Place::open(dir.path()).unwrap());
    place.waiting.state().is_led = true;
    let mut first = Leader { place: Arc::clone(&place), is_over: false };
    first.lead();
    // Another one has begun before the first is gone.
    let (reply, mut outcome) = oneshot::channel();
    let message = message(&place, &[]).await;
    *place.waiting.state() = State { messages: [Pending { message, reply }].into(), is_led: true, ..State::default() };
    drop(first);
    assert!(place.waiting.state().is_led);
    assert_eq!(outcome.try_recv().unwrap_err(), oneshot::error::TryRecvError::Empty);
    // One that could not begin leaves nobody waiting.
    drop(Leader { place: Arc::clone(&place), is_over: false });
    assert!(!place.waiting.state().is_led);
    assert_eq!(outcome.try_recv().unwrap_err(), oneshot::error::TryRecvError::Closed);
}

/// A group that is smaller than those before it waits for the others: as long as the last one took, while that is recent.
#[test]
fn company_is_waited_for_by_a_part_of_a_crowd_and_for_a_time() {
    let begun = Instant::now();
    let crowd = |messages, took| Crowd::after(None, messages, begun, begun + Duration::from_micros(took));
    let wanted = |messages, took| Some((messages, Duration::from_micros(took)));
    let done = begun + Duration::from_micros(600);
    for (waiting, company) in
        [(0, None), (1, wanted(4, 600)), (2, wanted(4, 600)), (3, wanted(4, 600)), (4, None), (9, None)]
    {
        assert_eq!(crowd(4, 600).company(waiting, done), company, "{waiting} wait");
    }
    assert_eq!(crowd(4, 600).company(1, done + GATHER_MAX), wanted(4, 600));
    assert_eq!(crowd(4, 600).company(1, done + GATHER_MAX + Duration::from_micros(1)), None);
    assert_eq!(crowd(3, 600).company(1, done), wanted(3, 600));
    assert_eq!(crowd(2, 600).company(1, done), None);
    let late = begun + Duration::from_secs(3600);
    assert_eq!(crowd(3, 3_600_000_000).company(2, late), Some((3, GATHER_MAX)));
}

/// Who sends alone waits for nobody, and soon for nobody where a crowd has gone; a small group does not end a crowd.
#[test]
fn a_crowd_is_forgotten_little_by_little() {
    let now = Instant::now();
    let mut crowd = None;
    let mut sizes = Vec::new();
    for messages in [1, 1, 20, 3, 17, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1] {
        let after = Crowd::after(crowd, messages, now, now);
        sizes.push(after.messages);
        crowd = Some(after);
    }
    assert_eq!(sizes, [1, 1, 20, 15, 17, 12, 9, 6, 4, 3, 2, 1, 1, 1, 1]);
    assert_eq!(crowd.and_then(|crowd| crowd.company(1, now)), None);
}

/// What was delivered together is what the next group waits for.
#[tokio::test]
async fn a_group_tells_the_next_one_how_many_came() {
    let dir = tempfile::tempdir().unwrap();
    let place = Arc::new(Place::open(dir.path()).unwrap());
    let mut replies = Vec::new();
    for _ in 0..3 {
        let (reply, outcome) = oneshot::channel();
        let message = message(&place, &[]).await;
        place.waiting.state().messages.push_back(Pending { message, reply });
        replies.push(outcome);
    }
    place.waiting.state().is_led = true;
    Leader { place: Arc::clone(&place), is_over: false }.lead();
    let state = place.waiting.state();
    assert_eq!(state.crowd.map(|crowd| crowd.messages), Some(3));
    assert!(!state.is_led);
}

/// The message that makes a group large enough ends its wait; one that leaves it too small does not.
#[tokio::test]
async fn a_group_that_waits_begins_when_it_is_large_enough() {
    let dir = tempfile::tempdir().unwrap();
    let place = Arc::new(Place::open(dir.path()).unwrap());
    let mut messages = Vec::new();
    for _ in 0..4 {
        messages.push(message(&place, &[]).await);
    }
    let mut add = || drop(submit(&place, messages.pop().unwrap()));
    // Somebody leads: this test.
    place.waiting.state().is_led = true;
    add();
    add();
    let (begun, begins) = std::sync::mpsc::channel();
    let waiting = Arc::clone(&place);
    let wanted = (4, Duration::from_secs(3600));
    let leader = std::thread::spawn(move || {
        let state = waiting.waiting.wait_for(waiting.waiting.state(), wanted);
        begun.send(state.messages.len()).unwrap();
    });
    wait_until(|| place.waiting.state().wanted.is_some(), "it does not wait");
    add();
    assert_eq!(begins.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty));
    add();
    assert_eq!(begins.recv_timeout(Duration::from_secs(60)), Ok(4));
    leader.join().unwrap();
    assert_eq!(place.waiting.state().wanted, None);
}

/// A message that comes while a leader ends is taken by it, or has one of its own: nobody waits for ever. A leader that has
/// nothing to do, and a message, begin at the same moment, again and again.
#[test]
fn a_message_that_comes_at_the_end_of_a_leader_is_delivered() {
    const ROUNDS: usize = 1000;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let place = Arc::new(Place::open(dir.path()).unwrap());
    let (begun, round) = (Instant::now(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for led in 1..=ROUNDS {
                // Spins first, so as to begin with the other.
                while round.load(Ordering::Acquire) < led {
                    (0..1000).take_while(|_| round.load(Ordering::Acquire) < led).for_each(|_| std::hint::spin_loop());
                    std::thread::yield_now();
                }
                if round.load(Ordering::Acquire) > ROUNDS {
                    return;
                }
                Leader { place: Arc::clone(&place), is_over: false }.lead();
            }
        });
        // It ends with this, however that ends.
        let _end = Round(&round, ROUNDS + 1);
        // A busy machine does fewer.
        for number in (1..=ROUNDS).take_while(|_| begun.elapsed() < Duration::from_secs(5)) {
            let message = runtime.block_on(message(&place, &[]));
            let lead = || !std::mem::replace(&mut place.waiting.state().is_led, true);
            wait_until(lead, "a leader does not end");
            round.store(number, Ordering::Release);
            (0..number % 100).for_each(|_| std::hint::spin_loop());
            let _entered = runtime.enter();
            let mut outcome = submit(&place, message);
            let is_delivered = || match outcome.try_recv() {
                Ok(outcome) => {
                    assert!(matches!(outcome, Outcome::Done(Ok(()))), "{outcome:?}");
                    true
                }
                Err(error) => {
                    assert_eq!(error, oneshot::error::TryRecvError::Empty);
                    false
                }
            };
            wait_until(is_delivered, "nobody delivers it");
        }
    });
}

/// Sets a number when it is dropped.
struct Round<'a>(&'a AtomicUsize, usize);

impl Drop for Round<'_> {
    fn drop(&mut self) {
        self.0.store(self.1, Ordering::Release);
    }
}

fn wait_until(mut is_so: impl FnMut() -> bool, otherwise: &str) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{otherwise}");
        std::thread::yield_now();
    }
}
