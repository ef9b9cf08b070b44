//! Deliveries: the message is in every mailbox or in none (C-S9).

use std::fs;

use nix::libc::{EDQUOT, EIO, ENOSPC};

use super::{Case, FROM, has_entry, names_in};
use crate::StoreError;
use crate::files::tests::Fault;

const ALICE: &str = "From a Mon Aug 22 23:00:00 2016\nold\n\n";
const BOB: &str = "From b Mon Aug 22 23:00:00 2016\nwithout end";

fn two_mailboxes() -> Case {
    Case::new(&[("alice", ALICE), ("bob", BOB)])
}

/// Long enough to be written in several pieces.
fn long_text() -> String {
    ("0123456789".repeat(7) + "\r\n").repeat(5_000)
}

/// Whether the message is in both mailboxes; it must be in both or in none.
fn both_or_none(case: &Case, text: &str) -> bool {
    let [alice, bob] = [("alice", ALICE), ("bob", BOB)].map(|(name, old)| has_entry(&case.content(name), old, text));
    assert_eq!(alice, bob, "in one mailbox only");
    alice
}

/// holds C-S9
#[test]
fn a_delivery_with_any_operation_failing() {
    let text = long_text();
    for errno in [ENOSPC, EIO, EDQUOT] {
        let mut number = 0;
        loop {
            let case = two_mailboxes();
            case.store.place.files.inject(Fault::Fail(number, errno));
            let result = case.deliver(&["bob", "alice"], &text);
            let failed = case.store.place.files.done() > number;
            assert_eq!(both_or_none(&case, &text), result.is_ok(), "operation {number}: {result:?}");
            match &result {
                Err(StoreError::Full { .. }) => assert_ne!(errno, EIO),
                Err(StoreError::Io { .. }) => assert_eq!(errno, EIO),
                other => assert!(other.is_ok(), "{other:?}"),
            }
            if result.is_ok() {
                // Otherwise somebody may undo what was acknowledged.
                assert_eq!(names_in(&case.store.place.appends), [""; 0], "operation {number}");
            }
            // The next one works, and removes what the failure left.
            case.store.place.files.inject(Fault::None);
            let (alice, bob) = (case.content("alice"), case.content("bob"));
            case.deliver(&["alice", "bob"], "next\r\n").unwrap();
            assert!(has_entry(&case.content("alice"), &alice, "next\r\n"));
            assert!(has_entry(&case.content("bob"), &bob, "next\r\n"));
            case.assert_tidy();
            if !failed {
                assert!(number > 15, "all operations are counted");
                break;
            }
            number += 1;
        }
    }
}

/// Does `work` in as many fresh cases as it has operations, and dies within each. `work` says whether it succeeded.
fn at_each_death<W: Fn(&Case) -> bool>(fresh: impl Fn() -> Case, work: W, mut check: impl FnMut(&Case, usize, bool)) {
    let mut number = 0;
    loop {
        let case = fresh();
        case.store.place.files.inject(Fault::Die(number));
        let acknowledged = work(&case);
        let died = case.store.place.files.done() > number;
        case.store.place.files.inject(Fault::None);
        check(&case, number, acknowledged);
        if !died {
            assert!(number > 10, "all operations are counted");
            return;
        }
        number += 1;
    }
}

/// holds C-S9 C-P8
#[test]
fn a_delivery_that_dies_anywhere_is_settled_at_the_next_start() {
    let text = long_text();
    let work = |case: &Case| case.deliver(&["alice", "bob"], &text).is_ok();
    at_each_death(two_mailboxes, work, |case, number, acknowledged| {
        case.assert_waits();
        case.recover(Fault::None);
        let delivered = both_or_none(case, &text);
        assert!(delivered || !acknowledged, "operation {number}: acknowledged and lost");
        let (again, _) = case.recover(Fault::None);
        assert!(again.is_nothing(), "operation {number}: {again}");
        case.assert_tidy();
    });
}

/// holds C-S9 C-P8
#[test]
fn a_delivery_that_dies_anywhere_is_settled_by_the_next_delivery() {
    let text = long_text();
    let work = |case: &Case| case.deliver(&["alice", "bob"], &text).is_ok();
    at_each_death(two_mailboxes, work, |case, number, acknowledged| {
        // It only goes to one of the two; the other is put right as well.
        case.deliver(&["bob"], "next\r\n").unwrap();
        let alice = has_entry(&case.content("alice"), ALICE, &text);
        assert!(alice || !acknowledged, "operation {number}: acknowledged and lost");
        let bob = case.content("bob");
        let (bob, next) = bob.rsplit_once("From <x@localhost>").unwrap();
        assert!(next.ends_with("\nnext\r\n\n"), "operation {number}: {next:?}");
        // Behind a message that was undone, the missing line end comes with the next one.
        let bob = if bob.len() == BOB.len() + 1 { BOB } else { bob };
        assert_eq!(has_entry(bob, BOB, &text), alice, "operation {number}");
    });
}

/// holds C-S9
#[test]
fn recovery_of_a_delivery_may_die_anywhere() {
    let text = long_text();
    let work = |case: &Case| case.deliver(&["alice", "bob"], &text).is_ok();
    for second in 0.. {
        let died = std::cell::Cell::new(false);
        at_each_death(two_mailboxes, work, |case, number, acknowledged| {
            let (_, done) = case.recover(Fault::Die(second));
            died.set(died.get() || done > second);
            case.assert_waits();
            case.recover(Fault::None);
            let delivered = both_or_none(case, &text);
            assert!(delivered || !acknowledged, "operation {number}, then {second}: acknowledged and lost");
            case.assert_tidy();
        });
        if !died.get() {
            assert!(second > 8, "all operations of recovery are counted");
            break;
        }
    }
}

/// holds C-S9 C-P8
#[test]
fn a_torn_delivery_waits_for_all_of_its_mailboxes() {
    let case = two_mailboxes();
    // Two dotlocks of 4 operations each, and 3 for the intent; then the first mailbox is written.
    case.store.place.files.inject(Fault::Die(12));
    case.deliver(&["alice", "bob"], "torn\r\n").unwrap_err();
    case.store.place.files.inject(Fault::None);
    assert_ne!(case.content("alice"), ALICE);
    // Somebody else has the other one now.
    fs::write(case.dir.path().join("bob.mbox.lock"), format!("{}\n", std::os::unix::process::parent_id())).unwrap();
    let torn = case.content("alice");
    let refused = case.deliver(&["alice"], "next\r\n").unwrap_err();
    assert!(matches!(&refused, StoreError::Locked { path } if path.ends_with("bob.mbox")), "{refused:?}");
    assert_eq!(case.content("alice"), torn, "untouched until it can be undone everywhere");
    fs::remove_file(case.dir.path().join("bob.mbox.lock")).unwrap();
    case.deliver(&["alice"], "next\r\n").unwrap();
    assert!(has_entry(&case.content("alice"), ALICE, "next\r\n"));
    assert_eq!(case.content("bob"), BOB);
    assert_eq!(case.store.take_recovery().deliveries_undone, 1);
}

/// holds C-S9
#[test]
fn only_what_is_ours_is_cut() {
    let foreign = format!("{FROM}foreign\n\n");
    for added in [foreign.clone(), format!("\n{foreign}"), format!("\n{foreign}").repeat(100)] {
        let case = two_mailboxes();
        case.store.place.files.inject(Fault::Die(12));
        case.deliver(&["alice", "bob"], &"line\r\n".repeat(100)).unwrap_err();
        case.append("alice", &added);
        let alice = case.content("alice");
        let (recovery, _) = case.recover(Fault::None);
        if added.starts_with('\n') {
            assert_eq!(case.content("alice"), alice, "mail of another program was cut");
            assert_eq!(recovery.problems().len(), 1, "{recovery}");
        }
        assert_eq!(case.content("bob"), BOB);
        case.assert_tidy();
    }
    // A mailbox that is another file now is not touched at all.
    let case = two_mailboxes();
    case.store.place.files.inject(Fault::Die(12));
    case.deliver(&["alice", "bob"], "torn\r\n").unwrap_err();
    let other = format!("{ALICE}{FROM}oth");
    fs::write(case.dir.path().join("new"), &other).unwrap();
    fs::rename(case.dir.path().join("new"), case.dir.path().join("alice.mbox")).unwrap();
    case.recover(Fault::None);
    assert_eq!(case.content("alice"), other);
}

/// holds C-S9
#[test]
fn an_intent_of_an_earlier_boot_cuts_nothing() {
    let case = two_mailboxes();
    case.store.place.files.inject(Fault::Die(12));
    case.deliver(&["alice", "bob"], "torn\r\n").unwrap_err();
    let intents = case.dir.path().join(".pillarbox/append");
    for name in names_in(&intents) {
        let content = fs::read_to_string(intents.join(&name)).unwrap().replace("boot ", "boot x");
        fs::write(intents.join(&name), content).unwrap();
    }
    let torn = case.content("alice");
    let (recovery, _) = case.recover(Fault::None);
    assert_eq!(case.content("alice"), torn);
    assert_eq!(recovery.problems().len(), 1, "{recovery}");
    case.assert_tidy();
}

/// A program that takes no dotlock writes behind a torn message, until the mailbox is as long as it was to be.
///
/// holds C-S9 C-P8
#[test]
fn a_torn_message_is_not_complete_because_of_what_is_behind_it() {
    let text = "0123456789\r\n".repeat(10);
    for foreign in [format!("\n{FROM}{}\n", "x\n".repeat(200)), "x".repeat(400)] {
        let mut torn = 0;
        at_each_death(
            two_mailboxes,
            |case| case.deliver(&["alice", "bob"], &text).is_ok(),
            |case, number, _| {
                let before = case.content("alice");
                case.append("alice", &foreign);
                let (recovery, _) = case.recover(Fault::None);
                let alice = case.content("alice");
                assert!(alice.starts_with(ALICE) && alice.ends_with(&foreign), "operation {number}");
                let is_whole = before.ends_with(&format!("{text}\n"));
                let bob = has_entry(&case.content("bob"), BOB, &text);
                assert!(is_whole || !bob, "operation {number}: kept in bob, torn in alice");
                if before != ALICE && !is_whole {
                    torn += 1;
                    assert_eq!(recovery.deliveries_kept, 0, "operation {number}");
                    assert_eq!(recovery.problems().len(), 1, "operation {number}: {recovery}");
                }
            },
        );
        assert!(torn > 0);
    }
}
