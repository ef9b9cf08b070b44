//! Deliveries: the message is in every mailbox or in none (C-S9).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use nix::libc::{EDQUOT, EIO, EMFILE, ENOSPC};

use super::{Case, FROM, has_entry};
use crate::files::tests::{Failing, Fault, Operation, Written};
use crate::journal::segment::IDLE_OCTETS;
use crate::journal::{FULL_MAX, SEGMENT_MAX_OCTETS, UNFLUSHED_MAX};
use crate::place::Place;
use crate::{Mailbox, Maildrop as _, MboxStore, Store as _, StoreError, locks, recover};

const ALICE: &str = "From a Mon Aug 22 23:00:00 2016\nold\n\n";
const BOB: &str = "From b Mon Aug 22 23:00:00 2016\nwithout end";

/// A text that goes into the journal, and one that does not.
fn texts() -> [String; 2] {
    // Some lines are quoted, and look like the beginning of another message then.
    let line = "0123456789".repeat(7)
        + "\r\nFrom a Mon Aug 22 23:00:00 2016\r\n"
        + &("0123456789".repeat(7) + "\r\n").repeat(9);
    [line.clone(), line.repeat(500)]
}

fn two_mailboxes() -> Case {
    Case::new(&[("alice", ALICE), ("bob", BOB)])
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
    for text in texts() {
        for errno in [ENOSPC, EIO, EDQUOT, EMFILE] {
            for number in 0.. {
                let case = two_mailboxes();
                case.store.place.files.inject(Fault::Fail(number, errno));
                let result = case.deliver(&["bob", "alice"], &text);
                let failed = case.store.place.files.done() > number;
                case.store.place.files.inject(Fault::None);
                assert_eq!(both_or_none(&case, &text), result.is_ok(), "operation {number}: {result:?}");
                match &result {
                    Err(StoreError::Full { .. }) => assert!([ENOSPC, EDQUOT].contains(&errno)),
                    Err(StoreError::Io { .. }) => assert!([EIO, EMFILE].contains(&errno)),
                    other => assert!(other.is_ok(), "{other:?}"),
                }
                // The next one works, and removes what the failure left; whoever refused a message does not bring it
                // back when it is killed.
                let (alice, bob) = (case.content("alice"), case.content("bob"));
                case.deliver(&["alice", "bob"], "next\r\n").unwrap();
                assert!(has_entry(&case.content("alice"), &alice, "next\r\n"));
                assert!(has_entry(&case.content("bob"), &bob, "next\r\n"));
                let after = [case.content("alice"), case.content("bob")];
                if number % 2 == 0 {
                    case.reboot();
                }
                case.recover(Fault::None);
                assert_eq!([case.content("alice"), case.content("bob")], after, "operation {number}");
                case.assert_tidy();
                if !failed {
                    assert!(number > 15, "all operations are counted: {number}");
                    break;
                }
            }
        }
    }
}

/// A failure while a failure is undone: the message may be there although it was refused, but in both or in none.
///
/// holds C-S9
#[test]
fn a_delivery_with_two_operations_failing() {
    let text = &texts()[0];
    for first in 0.. {
        let mut failed = false;
        for second in first + 1..first + 12 {
            let case = two_mailboxes();
            let failing = |at| Failing { at, errno: EIO, written: Written::Half };
            case.store.place.files.inject(Fault::FailTwice([first, second].map(failing)));
            let result = case.deliver(&["bob", "alice"], text);
            failed |= case.store.place.files.done() > first;
            case.recover(Fault::None);
            let delivered = both_or_none(&case, text);
            assert!(delivered || result.is_err(), "operations {first} and {second}");
            case.assert_tidy();
        }
        if !failed {
            assert!(first > 15, "all operations are counted: {first}");
            break;
        }
    }
}

/// Does `work` in as many fresh cases as it has operations, and dies within each. `work` says whether it succeeded.
fn at_each_death<W: Fn(&Case) -> bool>(fresh: impl Fn() -> Case, work: W, mut check: impl FnMut(&Case, usize, bool)) {
    for number in 0.. {
        let case = fresh();
        case.store.place.files.inject(Fault::Die(number));
        let acknowledged = work(&case);
        let died = case.store.place.files.done() > number;
        case.die();
        check(&case, number, acknowledged);
        if !died {
            assert!(number > 10, "all operations are counted");
            return;
        }
    }
}

/// holds C-S9 C-P8
#[test]
fn a_delivery_that_dies_anywhere_is_settled_at_the_next_start() {
    for text in texts() {
        for reboot in [false, true] {
            let work = |case: &Case| case.deliver(&["alice", "bob"], &text).is_ok();
            let mut seen = [false; 2];
            at_each_death(two_mailboxes, work, |case, number, acknowledged| {
                if reboot {
                    case.reboot();
                }
                case.assert_waits();
                case.recover(Fault::None);
                let delivered = both_or_none(case, &text);
                seen[usize::from(delivered)] = true;
                assert!(delivered || !acknowledged, "operation {number}: acknowledged and lost");
                let (again, _) = case.recover(Fault::None);
                assert!(again.is_nothing(), "operation {number}: {again}");
                case.assert_tidy();
            });
            assert_eq!(seen, [true; 2]);
        }
    }
}

/// holds C-S9 C-P8
#[test]
fn a_delivery_that_dies_anywhere_is_settled_by_the_next_delivery() {
    for text in texts() {
        let work = |case: &Case| case.deliver(&["alice", "bob"], &text).is_ok();
        at_each_death(two_mailboxes, work, |case, number, acknowledged| {
            // It only goes to one of the two; the other is put right by whoever locks it.
            case.deliver(&["bob"], "next\r\n").unwrap();
            case.remove("alice", &[], || ()).unwrap();
            run_open(case);
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
}

fn run_open(case: &Case) {
    super::run(async { case.store.open(&crate::Mailbox("alice".to_owned())).await.map(drop) }).unwrap();
}

/// holds C-S9
#[test]
fn recovery_of_a_delivery_may_die_anywhere() {
    for text in texts() {
        let work = |case: &Case| case.deliver(&["alice", "bob"], &text).is_ok();
        for second in 0.. {
            let mut died = false;
            at_each_death(two_mailboxes, work, |case, number, acknowledged| {
                let (_, done) = case.recover(Fault::Die(second));
                died |= done > second;
                case.assert_waits();
                case.recover(Fault::None);
                let delivered = both_or_none(case, &text);
                assert!(delivered || !acknowledged, "operation {number}, then {second}: acknowledged and lost");
                case.assert_tidy();
            });
            if !died {
                assert!(second > 8, "all operations of recovery are counted");
                break;
            }
        }
    }
}

/// Dies in the middle of writing to the first mailbox.
fn torn(case: &Case, text: &str) {
    for number in 0.. {
        case.store.place.files.inject(Fault::Die(number));
        // If the journal has it, it would be accepted by who cannot take it back.
        let _ = case.deliver(&["alice", "bob"], text);
        case.die();
        // A piece of it, and not more.
        if case.content("alice").len() > ALICE.len() + text.len() / 4 {
            return;
        }
        case.recover(Fault::None);
        if case.content("alice") != ALICE {
            // The journal had it; from the beginning, and one step further.
            fs::write(case.dir.path().join("alice.mbox"), ALICE).unwrap();
            fs::write(case.dir.path().join("bob.mbox"), BOB).unwrap();
        }
    }
}

/// holds C-S9 C-P8
#[test]
fn a_mailbox_that_is_locked_is_put_right_later() {
    for (text, kept) in texts().into_iter().zip([true, false]) {
        let case = two_mailboxes();
        torn(&case, &text);
        // Somebody else has the other one now.
        let lock = case.dir.path().join("bob.mbox.lock");
        fs::remove_file(&lock).unwrap();
        fs::write(&lock, format!("{}\n", std::os::unix::process::parent_id())).unwrap();
        case.recover(Fault::None);
        assert_eq!(has_entry(&case.content("alice"), ALICE, &text), kept);
        assert_eq!(case.content("bob"), BOB);
        fs::remove_file(lock).unwrap();
        case.recover(Fault::None);
        assert_eq!(both_or_none(&case, &text), kept);
        case.assert_tidy();
    }
}

/// What another program has written behind our torn message stays, and ours is whole or gone.
///
/// holds C-S9 C-P8
#[test]
fn what_other_programs_write_behind_a_torn_message_stays() {
    let foreign = format!("{FROM}foreign\n\n");
    for (text, kept) in texts().into_iter().zip([true, false]) {
        for added in [foreign.clone(), format!("\n{foreign}"), foreign.repeat(100)] {
            for reboot in [false, true] {
                let case = two_mailboxes();
                torn(&case, &text);
                case.append("alice", &added);
                if reboot {
                    case.reboot();
                }
                let (recovery, _) = case.recover(Fault::None);
                let alice = case.content("alice");
                // Ours is behind theirs now.
                let theirs = format!("{ALICE}{}", added.trim_start());
                assert_eq!(has_entry(&alice, &theirs, &text), kept, "{recovery}");
                assert_eq!(has_entry(&case.content("bob"), BOB, &text), kept);
                case.assert_tidy();
            }
        }
    }
}

/// holds C-S9
#[test]
fn a_mailbox_that_is_another_file_now_is_not_touched() {
    for text in texts() {
        let case = two_mailboxes();
        torn(&case, &text);
        let other = format!("{ALICE}{FROM}oth");
        fs::write(case.dir.path().join("new"), &other).unwrap();
        fs::rename(case.dir.path().join("new"), case.dir.path().join("alice.mbox")).unwrap();
        case.recover(Fault::None);
        assert_eq!(case.content("alice"), other);
        case.assert_tidy();
    }
}

/// What other programs and our own sessions remove after a delivery does not come back, whatever is lost of the process.
///
/// holds C-S9 C-P7
#[test]
fn what_was_removed_does_not_come_back() {
    let remove_all = |case: &Case| case.remove("alice", &[0, 1, 2], || ()).unwrap();
    let remove_last = |case: &Case| case.remove("alice", &[2], || ()).unwrap();
    let remove_first = |case: &Case| case.remove("alice", &[0, 1], || ()).unwrap();
    let rewritten = |case: &Case| fs::write(case.dir.path().join("alice.mbox"), format!("{FROM}new\n\n")).unwrap();
    let edited = |case: &Case| {
        let content = case.content("alice").replace("one\r\n", "Status: RO\r\none\r\n");
        fs::write(case.dir.path().join("alice.mbox"), content).unwrap();
    };
    let moved = |case: &Case| {
        let content = case.content("alice");
        fs::write(case.dir.path().join("alice.mbox"), content.strip_prefix(ALICE).unwrap()).unwrap();
    };
    let changes: [&dyn Fn(&Case); 6] = [&remove_all, &remove_last, &remove_first, &rewritten, &edited, &moved];
    for (what, change) in changes.into_iter().enumerate() {
        for reboot in [false, true] {
            let case = two_mailboxes();
            case.deliver(&["alice"], "one\r\n").unwrap();
            case.deliver(&["alice", "bob"], "two\r\n").unwrap();
            change(&case);
            case.deliver(&["bob"], "three\r\n").unwrap();
            let before = [case.content("alice"), case.content("bob")];
            case.die();
            if reboot {
                case.reboot();
            }
            case.recover(Fault::None);
            assert_eq!([case.content("alice"), case.content("bob")], before, "change {what}, reboot: {reboot}");
            case.assert_tidy();
        }
    }
}

/// What another program cuts off the end of a mailbox does not come back when the process is killed: the journal says that
/// it had been there.
///
/// holds C-S9
#[test]
fn what_another_program_cuts_off_does_not_come_back_after_a_kill() {
    let case = two_mailboxes();
    case.deliver(&["alice"], "one\r\n").unwrap();
    let kept = case.content("alice");
    case.deliver(&["alice", "bob"], "two\r\n").unwrap();
    let bob = case.content("bob");
    fs::OpenOptions::new()
        .write(true)
        .open(case.dir.path().join("alice.mbox"))
        .unwrap()
        .set_len(kept.len() as u64)
        .unwrap();
    case.recover(Fault::None);
    assert_eq!([case.content("alice"), case.content("bob")], [kept, bob]);
    case.assert_tidy();
}

/// A message that another program has moved is found after a power cut, and is not delivered again.
///
/// holds C-S9
#[test]
fn what_another_program_has_moved_is_not_delivered_again() {
    let case = two_mailboxes();
    case.deliver(&["alice"], "one\r\n").unwrap();
    let ours = case.content("alice").strip_prefix(ALICE).unwrap().to_owned();
    let moved = format!("{ALICE}From c Mon Aug 22 23:00:00 2016\nforeign\n\n{ours}");
    fs::write(case.dir.path().join("alice.mbox"), &moved).unwrap();
    case.die();
    case.reboot();
    case.recover(Fault::None);
    assert_eq!(case.content("alice"), moved);
    case.assert_tidy();
}

/// Messages that were accepted and are lost with the power come back, each once, also when two are the same.
///
/// holds C-S9
#[test]
fn what_a_power_cut_takes_comes_back() {
    for lost in 0..200 {
        let case = two_mailboxes();
        for text in ["same\r\n", "same\r\n", "other\r\n"] {
            case.deliver(&["alice", "bob"], text).unwrap();
        }
        let whole = case.content("alice");
        let keep = whole.len().saturating_sub(lost).max(ALICE.len());
        case.die();
        case.reboot();
        fs::OpenOptions::new()
            .write(true)
            .open(case.dir.path().join("alice.mbox"))
            .unwrap()
            .set_len(keep as u64)
            .unwrap();
        case.recover(Fault::None);
        assert_eq!(case.content("alice"), whole, "{lost} octets lost");
        case.assert_tidy();
    }
}

/// After a checkpoint nothing is left to recover, and the journal is small.
///
/// holds C-S9
#[test]
fn a_checkpoint_frees_the_journal() {
    let case = two_mailboxes();
    for _ in 0..10 {
        case.deliver(&["alice", "bob"], &"x\r\n".repeat(10_000)).unwrap();
    }
    let octets = || -> u64 {
        let names = super::names_in(&case.store.place.segments);
        names.iter().map(|name| fs::metadata(case.store.place.segments.join(name)).unwrap().len()).sum()
    };
    assert!(octets() > 300_000);
    case.store.place.journal.checkpoint(&case.store.place);
    case.store.place.journal.checkpoint(&case.store.place);
    assert!(octets() <= IDLE_OCTETS, "an idle journal has {} octets", octets());
    let before = case.content("alice");
    case.deliver(&["alice"], "next\r\n").unwrap();
    assert!(has_entry(&case.content("alice"), &before, "next\r\n"));
    case.assert_tidy();
    assert_eq!(super::names_in(&case.store.place.segments), [""; 0]);
}

/// Without checkpoints in the background, deliveries do them: the journal has so many segments of so many octets, and
/// keeps so many mailboxes open.
///
/// holds C-S9
#[test]
fn the_journal_is_bounded() {
    let case = two_mailboxes();
    let text = "x\r\n".repeat(20_000);
    let mut most = 0;
    for _ in 0..40 {
        case.deliver(&["alice"], &text).unwrap();
        let names = super::names_in(&case.store.place.segments);
        let octets = |name: &String| fs::metadata(case.store.place.segments.join(name)).unwrap().len();
        let longest = names.iter().map(octets).max().unwrap();
        assert!(longest < SEGMENT_MAX_OCTETS + 2 * text.len() as u64, "a segment has {longest} octets");
        most = most.max(names.len());
    }
    // The active one, and those that wait.
    assert_eq!(most, FULL_MAX + 1);
    assert_eq!(case.content("alice").matches("From <x@localhost> ").count(), 40);

    let names: Vec<String> = (0..=UNFLUSHED_MAX).map(|number| format!("user{number}")).collect();
    let mailboxes: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let case = Case::new(&mailboxes);
    let (last, first) = names.split_last().unwrap();
    first.iter().for_each(|name| case.deliver(&[name], "x\r\n").unwrap());
    assert_eq!(super::names_in(&case.store.place.segments).len(), 1);
    case.deliver(&[last], "x\r\n").unwrap();
    assert_eq!(super::names_in(&case.store.place.segments).len(), 2, "so many mailboxes fill a segment");
}

/// Every operation of a checkpoint fails, or the process dies within it: nothing is lost or twice.
///
/// holds C-S9
#[test]
fn a_checkpoint_with_any_operation_failing_or_dying() {
    for make in [|number| Fault::Fail(number, EIO), |number| Fault::Fail(number, ENOSPC), Fault::Die] {
        for number in 0.. {
            let case = two_mailboxes();
            case.deliver(&["alice", "bob"], "one\r\n").unwrap();
            case.store.place.files.inject(make(number));
            case.store.place.journal.checkpoint(&case.store.place);
            let failed = case.store.place.files.done() > number;
            case.store.place.files.inject(Fault::None);
            if !matches!(make(number), Fault::Die(_)) {
                case.deliver(&["alice", "bob"], "two\r\n").unwrap();
            }
            let before = [case.content("alice"), case.content("bob")];
            case.die();
            case.reboot();
            case.recover(Fault::None);
            assert_eq!([case.content("alice"), case.content("bob")], before, "operation {number}");
            case.assert_tidy();
            if !failed {
                assert!(number > 3, "all operations are counted: {number}");
                break;
            }
        }
    }
}

/// Wherever a delivery dies, other programs may be there before anybody recovers: what they append stays.
///
/// holds C-S9 C-P8
#[test]
fn what_other_programs_append_after_a_death_stays() {
    for text in texts() {
        for count in [1, 2, 40] {
            // Who delivered has died, and the dotlocks are gone.
            let foreign = format!("{FROM}foreign\n\n").repeat(count);
            let fresh = || Case::new(&[("alice", ALICE), ("bob", ALICE)]);
            let work = |case: &Case| case.deliver(&["alice", "bob"], &text).is_ok();
            at_each_death(fresh, work, |case, number, acknowledged| {
                case.append("alice", &foreign);
                case.append("bob", &foreign);
                case.recover(Fault::None);
                for name in ["alice", "bob"] {
                    let content = case.content(name);
                    let what = format!("operation {number}, {name}, {count} messages, {} octets", text.len());
                    assert_eq!(content.matches(&foreign).count(), 1, "{what}");
                    let ours = content.replacen(&foreign, "", 1);
                    assert!(has_entry(&ours, ALICE, &text) || !acknowledged, "{what}: acknowledged and lost");
                }
                case.assert_tidy();
            });
        }
    }
}

/// The disk is full while a recovery writes: no part of a message is left for other programs to see, and none for the
/// next try, which delivers it once.
///
/// holds C-S9
#[test]
fn recovery_may_fail_anywhere() {
    let foreign = format!("{FROM}foreign\n\n");
    for text in texts() {
        for added in ["", &foreign] {
            for number in 0.. {
                let case = two_mailboxes();
                torn(&case, &text);
                case.append("alice", added);
                case.die();
                // One process, which tries again when there is room.
                let place = Arc::new(Place::open(case.dir.path()).unwrap());
                place.files.inject(Fault::Fail(number, ENOSPC));
                recover::start(&place).unwrap();
                let failed = place.files.done() > number;
                place.files.inject(Fault::None);
                recover::start(&place).unwrap();
                let alice = case.content("alice");
                let what = format!("operation {number}, {} octets, {alice:.200}", text.len());
                assert_eq!(alice.matches(&foreign).count(), usize::from(!added.is_empty()), "{what}");
                let kept = has_entry(&alice, &format!("{ALICE}{added}"), &text);
                assert_eq!(kept, text.len() < 100_000, "{what}");
                if !failed {
                    assert!(number > 5, "all operations of recovery are counted: {number}");
                    break;
                }
            }
        }
    }
}

/// Work is counted, not timed: journals are read and settled once for many mailboxes.
///
/// holds C-S9
#[test]
fn recovery_costs_what_is_recovered() {
    let names: Vec<String> = (0..40).map(|number| format!("user{number:02}")).collect();
    let case = Case::new(&names.iter().map(|name| (name.as_str(), ALICE)).collect::<Vec<_>>());
    case.deliver(&names.iter().map(String::as_str).collect::<Vec<_>>(), "text\r\n").unwrap();
    let (_, done) = case.recover(Fault::None);
    // A mailbox takes two for its dotlock and two to put that of the dead process aside, a write and a flush.
    assert!(done < 7 * names.len(), "{done} operations");
    assert!(names.iter().all(|name| has_entry(&case.content(name), ALICE, "text\r\n")));
    case.assert_tidy();
}

/// How many deliveries to alice a recovery would look after, if the process died now.
fn unsettled(case: &Case) -> usize {
    case.die();
    let dead = case.store.place.journal.dead(&case.store.place).unwrap();
    dead.iter().map(|found| found.read().unwrap().unwrap().unsettled().len()).sum()
}

/// The system tells once for each open file that a flush has failed, and a mailbox is open only once: what it says to a
/// delivery, it does not say to the checkpoint.
///
/// holds C-S9
#[test]
fn a_checkpoint_does_not_rely_on_a_flush_that_failed_before() {
    let case = two_mailboxes();
    case.deliver(&["alice"], "first\r\n").unwrap();
    // So the next one flushes the mailbox.
    case.append("alice", "From c Mon Aug 22 23:00:00 2016\nforeign\n\n");
    case.store.place.files.inject(Fault::Fail(1, EIO));
    let before = case.content("alice");
    case.deliver(&["alice"], "second\r\n").unwrap_err();
    case.store.place.files.inject(Fault::None);
    assert_eq!(case.content("alice"), before);
    case.store.place.journal.checkpoint(&case.store.place);
    assert_eq!(unsettled(&case), 1);
}

/// Nor does it say it to the next segment what it has said to the first.
///
/// holds C-S9
#[test]
fn a_flush_that_failed_concerns_all_segments_about_the_mailbox() {
    let case = two_mailboxes();
    let long = "0123456789012345678901234567890123456789012345678901234567890123456789\r\n".repeat(800);
    let segments = || std::fs::read_dir(&case.store.place.segments).unwrap().count();
    let mut delivered = 0;
    while segments() < 2 {
        case.deliver(&["alice"], &long).unwrap();
        delivered += 1;
    }
    case.store.place.files.inject(Fault::Fail(0, EIO));
    case.store.place.journal.checkpoint(&case.store.place);
    assert_eq!(unsettled(&case), delivered);
}

/// What waits in the journal because the mailbox could not be flushed is not over when a later flush succeeds: the
/// octets may be missing on the disk, and are written again first.
///
/// holds C-P7 C-S9
#[test]
fn a_removal_does_not_rely_on_a_flush_that_failed_before() {
    let case = two_mailboxes();
    case.deliver(&["alice"], "first\r\n").unwrap();
    case.store.place.files.inject(Fault::Fail(0, EIO));
    case.store.place.journal.checkpoint(&case.store.place);
    case.store.place.files.inject(Fault::None);
    case.store.place.files.start_recording();
    if case.remove("alice", &[0], || ()).is_err() {
        case.remove("alice", &[0], || ()).unwrap();
    }
    let written = |operation: &Operation| {
        matches!(operation, Operation::Write(_, octets, at)
        if *at == ALICE.len() as u64 && octets.ends_with(b"\nfirst\r\n\n"))
    };
    assert!(case.store.place.files.stop_recording().iter().any(written));
    assert!(has_entry(&case.content("alice"), "", "first\r\n"));
    assert_eq!(unsettled(&case), 0);
    case.assert_tidy();
}

/// Delivers to alice, and a checkpoint fails to flush that.
fn deliver_unflushed(case: &Case, text: &str) {
    case.deliver(&["alice"], text).unwrap();
    case.store.place.files.inject(Fault::Fail(0, EIO));
    case.store.place.journal.checkpoint(&case.store.place);
    case.store.place.files.inject(Fault::None);
}

/// Nor does another process take a flush of its own for it: it opened the mailbox when the failure had been told.
///
/// holds C-P7 C-S9
#[test]
fn another_process_does_not_rely_on_a_flush_that_failed_before() {
    let case = two_mailboxes();
    let (theirs, _) = MboxStore::open(case.dir.path()).unwrap();
    deliver_unflushed(&case, "first\r\n");
    theirs.place.files.start_recording();
    super::run(async { theirs.open(&Mailbox("alice".to_owned())).await?.commit(&[0]).await }).unwrap();
    let written = |operation: &Operation| {
        matches!(operation, Operation::Write(_, octets, at)
        if *at == ALICE.len() as u64 && octets.ends_with(b"\nfirst\r\n\n"))
    };
    assert!(theirs.place.files.stop_recording().iter().any(written));
    assert!(has_entry(&case.content("alice"), "", "first\r\n"));
    assert_eq!(unsettled(&case), 0);
    drop(theirs);
    case.assert_tidy();
}

/// What could not be written may be gone from memory before the process ends: the system drops it, and reads zeros.
///
/// holds C-S9
#[test]
fn what_could_not_be_flushed_comes_back_without_a_power_cut() {
    for reboot in [false, true] {
        for kept in 0..60 {
            let case = two_mailboxes();
            deliver_unflushed(&case, "first\r\n");
            let whole = case.content("alice");
            let kept = (ALICE.len() + kept).min(whole.len());
            let lost = format!("{}{}", &whole[..kept], "\0".repeat(whole.len() - kept));
            fs::write(case.dir.path().join("alice.mbox"), lost).unwrap();
            if reboot {
                case.reboot();
            }
            case.recover(Fault::None);
            assert_eq!(case.content("alice"), whole, "{kept} octets were kept");
            case.assert_tidy();
        }
    }
}

/// A mailbox that fails again and again costs no more than one segment, and is put right while the process lives.
///
/// holds C-S9
#[test]
fn what_cannot_be_flushed_is_bounded() {
    let case = two_mailboxes();
    for number in 1..=20 {
        deliver_unflushed(&case, "text\r\n");
        assert!(super::names_in(&case.store.place.segments).len() <= 2, "after {number} failures");
    }
    // It is written again, and everything else goes on.
    case.deliver(&["bob"], "text\r\n").unwrap();
    case.deliver(&["alice"], "text\r\n").unwrap();
    assert_eq!(case.content("alice").matches("\ntext\r\n\n").count(), 21);
    assert_eq!(super::names_in(&case.store.place.segments).len(), 1);
    recover::again(&case.store.place);
    assert_eq!(unsettled(&case), 2);
}

/// What is given up is recovered by whoever comes first, also when nobody locks the mailbox again.
///
/// holds C-S9
#[test]
fn what_was_given_up_is_recovered_in_the_background() {
    let case = two_mailboxes();
    deliver_unflushed(&case, "first\r\n");
    let before = case.content("alice");
    assert_eq!(super::names_in(&case.store.place.segments).len(), 1);
    recover::again(&case.store.place);
    assert_eq!(case.content("alice"), before);
    assert_eq!(super::names_in(&case.store.place.segments), [""; 0]);
    assert!(case.store.take_recovery().problems().len() == 1);
    case.assert_tidy();
}

/// What a message stands behind is on the disk, or it would not find its place after a power cut. If another program has
/// written it, and a flush of it has failed, the next one says nothing.
///
/// holds C-S9
#[test]
fn what_could_not_be_flushed_is_written_again_before_a_message_is_put_behind_it() {
    let case = two_mailboxes();
    let path = case.dir.path().join("alice.mbox");
    let foreign = "From c Mon Aug 22 23:00:00 2016\nforeign\n\n";
    case.deliver(&["bob"], "text\r\n").unwrap();
    case.append("alice", foreign);
    case.store.place.files.inject(Fault::Fail(1, EIO));
    case.deliver(&["alice"], "text\r\n").unwrap_err();
    case.store.place.files.inject(Fault::None);
    assert_eq!(case.content("alice"), format!("{ALICE}{foreign}"));
    case.store.place.files.start_recording();
    case.deliver(&["alice"], "text\r\n").unwrap();
    let whole = case.content("alice");
    // What the disk has then.
    let mut disk = format!("{ALICE}{}", "\0".repeat(foreign.len())).into_bytes();
    let inode = fs::metadata(&path).unwrap().ino();
    let mut written = Vec::new();
    for operation in case.store.place.files.stop_recording() {
        match operation {
            Operation::Write(of, octets, at) if of == inode => written.push((octets, usize::try_from(at).unwrap())),
            Operation::Sync(of) if of == inode => {
                for (octets, at) in written.drain(..) {
                    disk[at..at + octets.len()].copy_from_slice(&octets);
                }
            }
            _ => {}
        }
    }
    fs::write(&path, disk).unwrap();
    case.die();
    case.reboot();
    case.recover(Fault::None);
    assert_eq!(case.content("alice"), whole);
    case.assert_tidy();
}

/// Whoever has written to a mailbox before somebody else fails to flush it is told so by his own flush: the system says
/// nothing any more.
///
/// holds C-S9 C-P7
#[test]
fn a_flush_that_failed_is_told_to_who_has_the_lock() {
    let case = two_mailboxes();
    let place = &case.store.place;
    case.deliver(&["alice"], "first\r\n").unwrap();
    let lock = || locks::lock_now(place, "alice").unwrap().unwrap();
    let mailbox = lock();
    place.files.inject(Fault::Fail(0, EIO));
    place.journal.checkpoint(place);
    place.files.inject(Fault::None);
    mailbox.sync_data(place).unwrap_err();
    mailbox.sync_all(place).unwrap();
    let file = Arc::clone(&mailbox.file);
    drop(mailbox);
    let mailbox = lock();
    assert!(Arc::ptr_eq(&mailbox.file, &file));
    mailbox.sync_data(place).unwrap();
}

/// Another program puts a file in the place of a mailbox and then the old one back, without flushing DIR: the first of the
/// two names may be what a power cut leaves. So the next delivery makes the name durable anew.
///
/// holds C-S9
#[test]
fn a_name_that_was_given_again_is_not_durable() {
    let case = two_mailboxes();
    let folders = |case: &Case| {
        case.store.place.files.start_recording();
        case.deliver(&["alice"], "text\r\n").unwrap();
        let done = case.store.place.files.stop_recording();
        done.iter().filter(|done| matches!(done, Operation::SyncDir(dir) if *dir == case.store.place.dir)).count()
    };
    assert_eq!([folders(&case), folders(&case)], [1, 0]);
    let path = case.store.place.mailbox("alice");
    let [kept, new] = ["kept", "new"].map(|name| case.dir.path().join(name));
    fs::hard_link(&path, &kept).unwrap();
    fs::copy(&path, &new).unwrap();
    fs::rename(&new, &path).unwrap();
    fs::rename(&kept, &path).unwrap();
    assert_eq!([folders(&case), folders(&case)], [1, 0]);
}
