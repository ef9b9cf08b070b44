//! Tests of `look.rs`.

use super::*;

const LONGEST: Duration = Duration::from_micros(50);

/// Waits so often for a client that takes so long, in microseconds, when it is slept for and when it is looked for. Whether
/// it is looked for after each of them.
fn waits(look: &mut Look, count: u32, slept: u64, looked: u64) -> Vec<bool> {
    let now = Instant::now();
    let wait = |_| {
        let looks = look.ends(now) > now;
        look.waited(Duration::from_micros(if looks { looked } else { slept }));
        look.ends(now) > now
    };
    (0..count).map(wait).collect()
}

/// A client of which `longest` is known to be looked for, on however many cores this machine has.
fn look(longest: Duration) -> Look {
    Look { longest, ..Look::new(longest) }
}

/// What happens after both ways were tried.
fn kept(slept: u64, looked: u64) -> bool {
    let mut look = look(LONGEST);
    waits(&mut look, 2 * TRIAL_WAITS, slept, looked);
    let kept = waits(&mut look, KEPT_WAITS - 1, slept, looked);
    assert!(kept.iter().all(|looks| *looks == kept[0]));
    kept[0]
}

#[test]
fn a_client_is_looked_for_where_that_is_quicker() {
    assert!(kept(60, 30));
    // Where cores are busy.
    assert!(!kept(30, 60));
    assert!(!kept(30, 30));
    assert!(!kept(40, 30));
    // It comes when nobody looks any more.
    assert!(!kept(90, 60));
}

#[test]
fn both_ways_are_tried_in_turn() {
    let mut look = look(LONGEST);
    let turns = waits(&mut look, 2 * TRIAL_WAITS + KEPT_WAITS + TRIAL_WAITS, 60, 30);
    let changes: Vec<usize> = (1..turns.len()).filter(|at| turns[*at] != turns[at - 1]).map(|at| at + 1).collect();
    let (trial, kept) = (TRIAL_WAITS as usize, KEPT_WAITS as usize);
    assert_eq!(changes, [trial, 2 * trial + kept, 3 * trial + kept]);
    assert!(!turns[0] && turns[trial]);
}

#[test]
fn a_slow_client_is_never_looked_for_and_none_where_that_is_not_wanted() {
    assert!(!waits(&mut look(LONGEST), 3 * KEPT_WAITS, 101, 1).contains(&true));
    assert!(!waits(&mut look(Duration::ZERO), 3 * KEPT_WAITS, 60, 0).contains(&true));
}
