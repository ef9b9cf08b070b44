//! Removals: all that was named is gone, or nothing (C-P7).

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::libc::{EIO, ENOSPC};
use pillarbox_proto::Envelope;

use super::{Case, FROM, has_entry, run};
use crate::files::tests::{Fault, Operation};
use crate::{Mailbox, Maildrop as _, MboxStore, Store as _};

fn message(number: usize) -> String {
    // The second is large, so that what is moved takes several writes.
    format!("{FROM}message {number}\r\n{}\n", "x\r\n".repeat(if number == 1 { 400 } else { 10 * number }))
}

fn messages(numbers: impl IntoIterator<Item = usize>) -> String {
    numbers.into_iter().map(message).collect()
}

fn one_mailbox() -> Case {
    Case::new(&[("alice", &messages(0..5))])
}

/// holds C-P7
#[test]
fn a_removal_with_any_operation_failing() {
    for (delete, after) in
        [(&[0, 2][..], messages([1, 3, 4])), (&[3, 4], messages([0, 1, 2])), (&[1], messages([0, 2, 3, 4]))]
    {
        for errno in [ENOSPC, EIO] {
            let mut number = 0;
            loop {
                let case = one_mailbox();
                let before = case.content("alice");
                let files = &case.store.place.files;
                let result = case.remove("alice", delete, || files.inject(Fault::Fail(number, errno)));
                let failed = files.done() > number;
                files.inject(Fault::None);
                // Behind the commit point the next one to lock the mailbox finishes.
                case.remove("alice", &[], || ()).unwrap();
                let content = case.content("alice");
                match result {
                    Ok(()) => assert!(content == after, "operation {number}"),
                    Err(_) => assert!(content == before || content == after, "operation {number}"),
                }
                case.assert_tidy();
                if !failed {
                    break;
                }
                number += 1;
            }
        }
    }
}

/// The journal is flushed before the end of a mailbox is cut off, and the mailbox behind that; nothing else is, if there is
/// a segment that says nothing of the mailbox yet.
///
/// holds C-P7
#[test]
fn a_removal_at_the_end_takes_two_flushes() {
    let case = one_mailbox();
    let place = &case.store.place;
    case.remove("alice", &[4], || ()).unwrap();
    place.journal.checkpoint(place);
    let files = &place.files;
    case.remove("alice", &[3], || files.start_recording()).unwrap();
    let mailbox = fs::metadata(place.mailbox("alice")).unwrap().ino();
    let done = files.stop_recording().into_iter().filter_map(|operation| match operation {
        Operation::Sync(inode) if inode == mailbox => Some("mailbox"),
        Operation::Sync(_) => Some("journal"),
        Operation::SyncDir(_) => Some("folder"),
        Operation::SetLen(inode, _) if inode == mailbox => Some("cut"),
        _ => None,
    });
    assert_eq!(done.collect::<Vec<_>>(), ["journal", "cut", "mailbox"]);
}

/// Where there is no room to write down what remains, the journal gives back its space, and it is tried once more.
///
/// holds C-P7
#[test]
fn a_removal_gets_the_space_of_the_journal() {
    let mut tried_again = 0;
    for number in 0.. {
        let case = one_mailbox();
        let place = &case.store.place;
        let result = case.remove("alice", &[0, 2], || place.files.inject(Fault::Fail(number, ENOSPC)));
        let failed = place.files.done() > number;
        place.files.inject(Fault::None);
        if place.journal.is_short_of_space() {
            result.unwrap();
            assert!(case.content("alice") == messages([1, 3, 4]), "operation {number}");
            tried_again += 1;
        }
        if !failed {
            break;
        }
    }
    // The file is made, written, flushed and named.
    assert!(tried_again >= 4, "{tried_again}");
}

/// Deletes two of five; the start of the session is no part of what may fail.
fn remove_two(case: &Case, number: usize) -> (bool, bool) {
    let files = &case.store.place.files;
    let acknowledged = case.remove("alice", &[0, 2], || files.inject(Fault::Die(number))).is_ok();
    let died = files.done() > number;
    files.inject(Fault::None);
    case.assert_waits();
    (acknowledged, died)
}

/// holds C-P7
#[test]
fn a_removal_that_dies_anywhere_happened_or_not() {
    let (before, after) = (messages(0..5), messages([1, 3, 4]));
    let mut seen = [false; 2];
    for number in 0.. {
        let case = one_mailbox();
        let (acknowledged, died) = remove_two(&case, number);
        case.recover(Fault::None);
        let content = case.content("alice");
        assert!(content == after || content == before && !acknowledged, "operation {number}");
        seen[usize::from(content == after)] = true;
        assert!(case.recover(Fault::None).0.is_nothing());
        case.assert_tidy();
        if !died {
            assert!(number > 12, "all operations are counted");
            break;
        }
    }
    assert_eq!(seen, [true; 2]);
}

/// What another process has accepted, and this one removes, does not come back when the power is cut: the journal of the
/// other one still has it.
///
/// holds C-P7 C-S9
#[test]
fn what_another_process_has_delivered_and_this_one_removes_does_not_come_back() {
    for delete in [&[5][..], &[0, 5]] {
        let case = one_mailbox();
        let (other, _) = MboxStore::open(case.dir.path()).unwrap();
        run(async {
            let mut draft = other.draft();
            draft.append(b"new\r\n").await?;
            other.accept(&Envelope::default(), draft.finish().await?, &[Mailbox("alice".to_owned())], &[]).await
        })
        .unwrap();
        case.remove("alice", delete, || ()).unwrap();
        let after = case.content("alice");
        assert!(!after.contains("new\r\n"));
        other.place.journal.die();
        case.die();
        case.reboot();
        case.recover(Fault::None);
        assert_eq!(case.content("alice"), after);
        case.assert_tidy();
    }
}

/// holds C-P7 C-S9
#[test]
fn a_removal_that_died_is_finished_by_the_next_delivery() {
    let (before, after) = (messages(0..5), messages([1, 3, 4]));
    for number in 0.. {
        let case = one_mailbox();
        let (acknowledged, died) = remove_two(&case, number);
        case.deliver(&["alice"], "next\r\n").unwrap();
        let content = case.content("alice");
        let removed = content.starts_with(&after);
        assert!(removed || !acknowledged, "operation {number}");
        assert!(has_entry(&content, if removed { &after } else { &before }, "next\r\n"), "operation {number}");
        if !died {
            break;
        }
    }
}

/// holds C-P7
#[test]
fn recovery_of_a_removal_may_die_anywhere_while_others_append() {
    let (before, after) = (messages(0..5), messages([1, 3, 4]));
    // Nothing; less than what was removed; more than the whole mailbox.
    for added in [String::new(), messages([7]), messages([8, 1, 1, 9])] {
        let mut deepest = 0;
        for second in 0.. {
            let mut second_died = false;
            for number in 0.. {
                let case = one_mailbox();
                let (_, died) = remove_two(&case, number);
                case.append("alice", &added);
                let (_, done) = case.recover(Fault::Die(second));
                second_died |= done > second;
                case.assert_waits();
                case.append("alice", &added);
                case.recover(Fault::None);
                let content = case.content("alice");
                let expected = [&before, &after].map(|mailbox| format!("{mailbox}{added}{added}"));
                assert!(expected.contains(&content), "operation {number}, then {second}, adding {}", added.len());
                case.assert_tidy();
                if !died {
                    break;
                }
            }
            if !second_died {
                break;
            }
            deepest = second;
        }
        assert!(deepest > 8, "all operations of recovery are counted");
    }
}

/// holds C-P7 C-P8
#[test]
fn a_record_that_fits_no_mailbox_is_put_aside() {
    // The mailbox is another file; is gone; was rewritten.
    let replace = |case: &Case| {
        fs::write(case.dir.path().join("new"), "").unwrap();
        fs::rename(case.dir.path().join("new"), case.dir.path().join("alice.mbox")).unwrap();
    };
    let delete = |case: &Case| fs::remove_file(case.dir.path().join("alice.mbox")).unwrap();
    let rewrite = |case: &Case| fs::write(case.dir.path().join("alice.mbox"), messages([4])).unwrap();
    let changes: [&dyn Fn(&Case); 3] = [&replace, &delete, &rewrite];
    for change in changes {
        let mut put_aside = 0;
        for number in 0.. {
            let case = one_mailbox();
            let (_, died) = remove_two(&case, number);
            change(&case);
            let mailbox = fs::read(case.dir.path().join("alice.mbox")).ok();
            let (recovery, _) = case.recover(Fault::None);
            assert_eq!(fs::read(case.dir.path().join("alice.mbox")).ok(), mailbox, "left alone");
            let aside = case.dir.path().join(".pillarbox/alice.update.orphan-1");
            if aside.exists() {
                put_aside += 1;
                assert!(fs::read_to_string(&aside).unwrap().contains(&messages([3, 4])), "its mail is kept");
                assert!(recovery.problems()[0].contains("alice.update.orphan-1"), "{recovery}");
                let findings = case.check().findings;
                assert!(findings.iter().any(|finding| finding.file.ends_with("alice.update.orphan-1")), "{findings:?}");
            }
            assert!(case.recover(Fault::None).0.is_nothing());
            if !died {
                break;
            }
        }
        assert!(put_aside > 3);
    }
}

/// holds C-P7
#[test]
fn a_broken_record_is_put_aside() {
    for cut in [0, 10, 60, 130, 1000] {
        let case = one_mailbox();
        let record = case.dir.path().join(".pillarbox/alice.update");
        // The first operation behind the renaming and the flush of the folder.
        let number = (0..).find(|number| {
            let case = one_mailbox();
            remove_two(&case, *number);
            case.dir.path().join(".pillarbox/alice.update").exists()
        });
        remove_two(&case, number.unwrap());
        let content = fs::read(&record).unwrap();
        fs::write(&record, &content[..cut]).unwrap();
        let (recovery, _) = case.recover(Fault::None);
        assert_eq!(case.content("alice"), messages(0..5));
        assert_eq!(recovery.problems().len(), 1, "{recovery}");
    }
}

/// Work is counted, not timed.
///
/// holds C-P7
#[test]
fn a_removal_costs_what_is_moved() {
    let entry = format!("{FROM}x\n\n");
    let case = Case::new(&[("alice", &entry.repeat(10_000))]);
    let delete: Vec<usize> = (0..10_000).step_by(2).collect();
    let files = &case.store.place.files;
    case.remove("alice", &delete, || files.inject(Fault::None)).unwrap();
    assert_eq!(case.content("alice"), entry.repeat(5_000));
    // Tests copy a kilobyte at a time; each goes into the record and out of it.
    let moved = entry.len() * 5_000 / 1024 + 1;
    assert!(files.done() < 2 * moved + 20, "{} operations", files.done());
}

/// Where there is no room even for what a dotlock says, mail can be listed and removed all the same.
///
/// holds C-P8
#[test]
fn a_full_disk_can_be_emptied() {
    let case = one_mailbox();
    let files = &case.store.place.files;
    // Behind the file of the session and the making of the file that dotlocks are names of, or first: that is written.
    files.inject(Fault::Fail(2, ENOSPC));
    let all: Vec<usize> =
        run(async { (0..case.store.open(&Mailbox("alice".to_owned())).await.unwrap().octets().len()).collect() });
    assert_eq!(files.done(), 8, "one operation more than otherwise; two make the index");
    // It is tried again at each lock.
    files.inject(Fault::Fail(1, ENOSPC));
    case.remove("alice", &all, || files.inject(Fault::Fail(0, ENOSPC))).unwrap();
    assert!(files.done() > 1);
    assert_eq!(case.content("alice"), "");
    case.assert_tidy();
}

/// A message that is the same as one that was removed before it, octet for octet and at the same place.
///
/// holds C-P7 C-S9
#[test]
fn the_same_message_again_is_not_taken_for_what_was_removed() {
    for reboot in [false, true] {
        let is_same = (0..20).any(|_| {
            let case = one_mailbox();
            case.deliver(&["alice"], "same\r\n").unwrap();
            let first = case.content("alice");
            case.remove("alice", &[5], || ()).unwrap();
            case.deliver(&["alice"], "same\r\n").unwrap();
            let second = case.content("alice");
            case.die();
            if reboot {
                case.reboot();
            }
            case.recover(Fault::None);
            assert!(case.content("alice") == second, "an accepted message is gone");
            case.assert_tidy();
            // Unless a second has passed.
            first == second
        });
        assert!(is_same);
    }
}

/// A recovery that finds another file in the place of a mailbox makes its name durable before the journal says that all is
/// over: a power cut does not bring back the old file, to which the mail may not have been written yet.
///
/// holds C-S9
#[test]
fn a_file_that_was_replaced_does_not_come_back_behind_a_recovery() {
    let case = one_mailbox();
    case.deliver(&["alice"], "accepted\r\n").unwrap();
    case.die();
    let path = case.store.place.mailbox("alice");
    let new = case.dir.path().join("new");
    fs::copy(&path, &new).unwrap();
    fs::rename(&new, &path).unwrap();
    let place = std::sync::Arc::new(crate::place::Place::open(case.dir.path()).unwrap());
    place.files.start_recording();
    crate::recover::start(&place).unwrap();
    let mailbox = fs::metadata(&path).unwrap().ino();
    let done = place.files.stop_recording().into_iter().filter_map(|operation| match operation {
        Operation::Sync(inode) if inode == mailbox => Some("mailbox"),
        Operation::Sync(_) => Some("journal"),
        Operation::SyncDir(dir) if dir == place.dir => Some("folder"),
        _ => None,
    });
    assert_eq!(done.collect::<Vec<_>>(), ["journal", "mailbox", "folder", "journal"]);
}

/// Whether a file is flushed behind a flush that failed, and was not written at this place in between: that says nothing.
fn is_trusted_again(operations: &[Operation], inode: u64, at: u64) -> bool {
    let mut has_failed = false;
    operations.iter().any(|operation| match operation {
        Operation::FailedSync(file) if *file == inode => {
            has_failed = true;
            false
        }
        Operation::Write(file, octets, begin) if *file == inode => {
            has_failed &= !(*begin..begin + octets.len() as u64).contains(&at);
            false
        }
        Operation::Sync(file) => *file == inode && has_failed,
        _ => false,
    })
}

/// A recovery writes a message, and its flush fails; or that of a checkpoint does, where nobody knows which boot is which.
/// The next one finds the message in its place, and writes it again.
///
/// holds C-S9
#[test]
fn no_recovery_trusts_a_flush_that_failed() {
    for is_checkpoint in [false, true] {
        for number in 0..60 {
            let case = Case::new(&[("alice", "")]);
            case.deliver(&["alice"], "one\r\n").unwrap();
            let path = case.store.place.mailbox("alice");
            let inode = fs::metadata(&path).unwrap().ino();
            let place = if is_checkpoint {
                case.with_boots(|_| String::new());
                std::sync::Arc::clone(&case.store.place)
            } else {
                case.die();
                case.reboot();
                fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
                std::sync::Arc::new(crate::place::Place::open(case.dir.path()).unwrap())
            };
            place.files.start_recording();
            place.files.inject(Fault::Fail(number, EIO));
            if is_checkpoint {
                place.journal.checkpoint(&place);
            } else {
                crate::recover::start(&place).unwrap();
            }
            let done = place.files.done();
            place.files.inject(Fault::None);
            crate::recover::again(&place);
            let operations = place.files.stop_recording();
            assert!(!is_trusted_again(&operations, inode, 0), "operation {number}: {operations:?}");
            assert!(case.content("alice").ends_with("one\r\n\n"));
            if done <= number {
                assert!(number > 2);
                break;
            }
        }
    }
}

/// No removal tries a flush again that failed for want of room, as if there had been none for its record.
///
/// holds C-S9 C-P7
#[test]
fn no_removal_trusts_a_flush_that_failed_for_want_of_room() {
    for number in 0.. {
        let case = Case::new(&[("alice", "")]);
        let place = &case.store.place;
        case.deliver(&["alice"], "one\r\n").unwrap();
        case.deliver(&["alice"], "two\r\n").unwrap();
        let inode = fs::metadata(place.mailbox("alice")).unwrap().ino();
        place.files.start_recording();
        place.files.inject(Fault::Fail(number, ENOSPC));
        let removed = case.remove("alice", &[1], || ());
        let done = place.files.done();
        place.files.inject(Fault::None);
        let operations = place.files.stop_recording();
        // Behind the cut it makes no difference.
        let until = operations.iter().position(|done| matches!(done, Operation::SetLen(file, _) if *file == inode));
        let until = until.unwrap_or(operations.len());
        assert!(!is_trusted_again(&operations[..until], inode, 0), "operation {number}, {removed:?}: {operations:?}");
        if done <= number {
            assert!(number > 8);
            break;
        }
    }
}

/// Who finds a redo record makes it durable before anything of what it says is done: its writer may have died in front of
/// that, and a power cut must not take it away half-way.
///
/// holds C-P7
#[test]
fn a_record_is_durable_before_it_is_obeyed() {
    let mut obeyed = 0;
    for number in 0.. {
        let entry = |number: usize| format!("{FROM}message {number}\r\n{}\n", "x\r\n".repeat(600));
        let case = Case::new(&[("alice", &(0..4).map(entry).collect::<String>())]);
        let inode = fs::metadata(case.store.place.mailbox("alice")).unwrap().ino();
        let _ = case.remove("alice", &[0, 2], || case.store.place.files.inject(Fault::Die(number)));
        let died = case.store.place.files.done() > number;
        case.die();
        if !died {
            break;
        }
        let place = std::sync::Arc::new(crate::place::Place::open(case.dir.path()).unwrap());
        place.files.start_recording();
        crate::recover::start(&place).unwrap();
        let operations = place.files.stop_recording();
        let is_about = |done: &Operation| matches!(done, Operation::Write(file, ..) if *file == inode);
        if let Some(first) = operations.iter().position(is_about) {
            let is_side = |done: &Operation| matches!(done, Operation::SyncDir(dir) if **dir == *place.side);
            let flushed = operations[..first].iter().position(is_side).expect("its name is durable");
            let is_sync = |done: &Operation| matches!(done, Operation::Sync(_));
            assert!(operations[..flushed].iter().any(is_sync), "operation {number}: {operations:?}");
            obeyed += 1;
        }
    }
    assert!(obeyed > 2, "{obeyed}");
}
