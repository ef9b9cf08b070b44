//! Tests of `ledger.rs`.

use super::*;

fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    for number in 0..4 {
        ledger.begin(number, vec!["ada", "bert"]);
        if number != 3 {
            ledger.acknowledge(number);
        }
    }
    ledger
}

fn verdict(ledger: &mut Ledger, ada: &[u64], bert: &[u64]) -> (u64, u64, u64) {
    let left = HashMap::from([("ada", ada.to_vec()), ("bert", bert.to_vec())]);
    ledger.see("ada", &ada.iter().copied().map(Some).collect::<Vec<_>>());
    ledger.see("bert", &bert.iter().copied().map(Some).collect::<Vec<_>>());
    let verdict = ledger.verdict(&left);
    (verdict.lost, verdict.twice, verdict.torn)
}

#[test]
fn all_is_well() {
    let mut ledger = ledger();
    ledger.remove("ada", &[0], true);
    ledger.remove("bert", &[0, 1], false);
    assert_eq!(verdict(&mut ledger, &[1, 2, 3], &[1, 2]), (0, 0, 0));
}

#[test]
fn what_is_lost_twice_or_torn_is_found() {
    assert_eq!(verdict(&mut ledger(), &[0, 1], &[0, 1, 2]), (1, 0, 0), "2 is not in ada");
    assert_eq!(verdict(&mut ledger(), &[0, 1, 2, 2], &[0, 1, 2]), (0, 1, 0), "2 is in ada twice");
    let mut back = ledger();
    back.remove("ada", &[0], true);
    assert_eq!(verdict(&mut back, &[0, 1, 2], &[0, 1, 2]), (0, 1, 0), "0 has come back");
    let mut torn = ledger();
    torn.see("ada", &[None]);
    assert_eq!(verdict(&mut torn, &[0, 1, 2], &[0, 1, 2]), (0, 0, 1));
    assert_eq!(verdict(&mut ledger(), &[0, 1, 2, 9], &[0, 1, 2]), (0, 1, 0), "9 was never sent");
}
