//! Tests of `locks.rs`.

use super::*;

/// holds C-C1
#[test]
fn the_table_of_turns_does_not_grow() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::open(dir.path()).unwrap();
    let kept = Turn::try_take(&place, "kept").unwrap();
    for number in 0..10_000 {
        let name = format!("user{number}");
        let turn = Turn::try_take(&place, &name).unwrap();
        assert!(Turn::try_take(&place, &name).is_none(), "one at a time");
        drop(turn);
    }
    assert!(Turn::try_take(&place, "kept").is_none(), "what is in use is not pruned");
    drop(kept);
    assert!(TURNS.lock().unwrap().locks.len() < 1000);
}

#[test]
fn jitter_stays_within_its_bounds() {
    let waits: Vec<u64> = (0..1000).map(|_| u64::try_from(jitter().as_millis()).unwrap()).collect();
    assert!(waits.iter().all(|wait| (RETRY_MS.0..=RETRY_MS.1).contains(wait)));
    assert!(waits.iter().any(|wait| *wait != waits[0]));
}
