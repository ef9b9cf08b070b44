//! Every operation of a delivery and of a removal fails once, and the process dies within every one: what is on disk
//! then, and what recovery makes of it.
//!
//! The states are enumerated, not sampled: the operations are counted, and each number has its turn. A process that
//! "dies" does nothing more, not even clean up; its locks on open files go, as those of a dead process do.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::libc::{EDQUOT, EIO, ENOSPC};
use pillarbox_proto::{Address, Envelope, ReversePath};
use tempfile::TempDir;

use crate::files::tests::Fault;
use crate::place::Place;
use crate::{Mailbox, Maildrop, MboxStore, Recovery, Store, StoreError, Text, recover};

const FROM: &str = "From <x@localhost> Mon Aug 22 23:00:00 2016\n";

/// A folder of mailboxes and a store on it that tries each lock once.
struct Case {
    dir: TempDir,
    store: MboxStore,
}

impl Case {
    fn new(mailboxes: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir_in(memory_or_disk()).unwrap();
        for (name, content) in mailboxes {
            fs::write(dir.path().join(format!("{name}.mbox")), content).unwrap();
        }
        let (store, recovery) = MboxStore::open(dir.path()).unwrap();
        assert!(recovery.is_nothing(), "{recovery}");
        Self { store: store.with_lock_timeout(Duration::ZERO), dir }
    }

    fn content(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(format!("{name}.mbox"))).unwrap()
    }

    fn append(&self, name: &str, content: &str) {
        let mut file = OpenOptions::new().append(true).open(self.dir.path().join(format!("{name}.mbox"))).unwrap();
        file.write_all(content.as_bytes()).unwrap();
    }

    fn deliver(&self, names: &[&str], text: &str) -> Result<(), StoreError> {
        run(async {
            let reverse_path = ReversePath(Some("x@localhost".parse::<Address>().unwrap()));
            let envelope = Envelope { reverse_path, forward_paths: Vec::new() };
            let mut draft = self.store.draft();
            draft.append(text.as_bytes()).await?;
            let text: Text = draft.finish().await?;
            let mailboxes: Vec<Mailbox> = names.iter().map(|name| Mailbox((*name).to_owned())).collect();
            self.store.accept(&envelope, text, &mailboxes).await
        })
    }

    /// Opens the maildrop, does `meanwhile`, and removes.
    fn remove(&self, name: &str, delete: &[usize], meanwhile: impl FnOnce()) -> Result<(), StoreError> {
        run(async {
            let maildrop = self.store.open(&Mailbox(name.to_owned())).await?;
            meanwhile();
            maildrop.commit(delete).await
        })
    }

    /// What a new process does at its start; `fault` goes wrong on the way.
    fn recover(&self, fault: Fault) -> (Recovery, usize) {
        let place = Arc::new(Place::open(self.dir.path()).unwrap());
        place.files.inject(fault);
        recover::start(&place).unwrap();
        (place.take_notes(), place.files.done())
    }

    /// Nothing is left but mailboxes, and files of ours that mean nothing.
    fn assert_tidy(&self) {
        let left: Vec<String> = [self.dir.path(), &self.dir.path().join(".pillarbox/append")]
            .into_iter()
            .chain([self.dir.path().join(".pillarbox").as_path()])
            .flat_map(names_in)
            .filter(|name| !name.ends_with(".mbox") && !name.ends_with(".maildrop"))
            .filter(|name| ![".pillarbox", "append"].contains(&name.as_str()))
            .filter(|name| !["lock-", "stale-", "new-"].iter().any(|kind| name.starts_with(kind)))
            .collect();
        assert_eq!(left, [""; 0]);
    }
}

fn names_in(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

/// A file system in memory, where there is one: the cases are many, and what they test is the order of operations.
fn memory_or_disk() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Whether `content` is `before` and, perhaps, an entry with this text behind it.
fn has_entry(content: &str, before: &str, text: &str) -> bool {
    let separator = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    match content.strip_prefix(before) {
        Some("") => false,
        Some(added) => {
            let entry = added.strip_prefix(separator).unwrap();
            let (from_line, rest) = entry.split_once('\n').unwrap();
            assert!(from_line.starts_with("From <x@localhost> "), "{content:?}");
            assert_eq!(rest, format!("{text}\n"), "a torn message");
            true
        }
        None => panic!("{content:?} does not begin with {before:?}"),
    }
}

const ALICE: &str = "From a Mon Aug 22 23:00:00 2016\nold\n\n";
const BOB: &str = "From b Mon Aug 22 23:00:00 2016\nwithout end";

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
    // Long enough to be written in several pieces.
    let text = "0123456789\r\n".repeat(50_000);
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
fn at_each_death<W: Fn(&Case) -> bool>(fresh: impl Fn() -> Case, work: W, check: impl Fn(&Case, usize, bool)) {
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
    let text = "0123456789\r\n".repeat(30_000);
    let work = |case: &Case| case.deliver(&["alice", "bob"], &text).is_ok();
    at_each_death(two_mailboxes, work, |case, number, acknowledged| {
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
    let text = "0123456789\r\n".repeat(30_000);
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
    let text = "0123456789\r\n".repeat(30_000);
    let work = |case: &Case| case.deliver(&["alice", "bob"], &text).is_ok();
    for second in 0.. {
        let died = std::cell::Cell::new(false);
        at_each_death(two_mailboxes, work, |case, number, acknowledged| {
            let (_, done) = case.recover(Fault::Die(second));
            died.set(died.get() || done > second);
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

/// Deletes two of five; the start of the session is no part of what may fail.
fn remove_two(case: &Case, number: usize) -> (bool, bool) {
    let files = &case.store.place.files;
    let acknowledged = case.remove("alice", &[0, 2], || files.inject(Fault::Die(number))).is_ok();
    let died = files.done() > number;
    files.inject(Fault::None);
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
