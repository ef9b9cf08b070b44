//! Numbered faults: each operation of each kind of work fails once with each error of the system, each fails together with
//! each later one, and the process dies once within each. What is in the mailboxes and in the queue afterwards is what was there before, or what the work
//! makes of it when nothing goes wrong; nothing else.
//!
//! A write that fails leaves half of what was to be written, of a pair nothing or all of it as well; a flush is one of the
//! operations.
//!
//! `PILLARBOX_CRASH_PAIRS` says of how many pairs one is tried, `PILLARBOX_CRASH_SEED` which (`make crash` tries all).

use std::fs;

use nix::libc::{EDQUOT, EIO, EMFILE, ENOSPC};
use pillarbox_proto::{Address, Envelope, ReversePath};

use super::{Case, FROM, Random, run, setting};
use crate::append::{self, Message};
use crate::files::tests::{Failing, Fault, Written};
use crate::locks::lock_now;
use crate::place::QUEUE;
use crate::{Claim as _, Mailbox, Queue as _, Store as _, Text, recover};

const ERRORS: [i32; 4] = [EIO, ENOSPC, EDQUOT, EMFILE];
/// What other programs have written without an end, with one, and what waits to be sent.
const ALICE: &str = "From a Mon Aug 22 23:00:00 2016\nold\n\n";
const BOB: &str = "From b Mon Aug 22 23:00:00 2016\nwithout end";
const QUEUED: &str = "From <x@localhost> Mon Aug 22 23:00:00 2016\nX-Envelope-To: <z@x.org>\n\nbefore\r\n\n";
const QUEUED_TWICE: &str = "From <x@localhost> Mon Aug 22 23:00:00 2016\nX-Envelope-To: <a@x.org>\n\
                            X-Envelope-To: <b@x.org>\n\ntext\r\n\n";

/// A kind of work.
struct Work {
    what: &'static str,
    fresh: fn() -> Case,
    /// Does it, with a fault; says whether it succeeded.
    run: fn(&Case, Fault) -> bool,
    /// It is there before or after even where it was refused: an error behind the commit point.
    may_happen_though_refused: bool,
    /// Fewest operations that it must have.
    operations: usize,
    /// Does so many parts of it. If the process dies, each number of them is right: nothing of the work is accepted then.
    parts: Option<fn(&Case, usize)>,
}

/// A message with so many lines, some of which are quoted.
fn text(lines: usize) -> String {
    "line\r\nFrom a Mon Aug 22 23:00:00 2016\r\n".repeat(lines)
}

fn fresh() -> Case {
    let case = Case::new(&[("alice", ALICE), ("bob", BOB)]);
    fs::write(case.dir.path().join("mqueue"), QUEUED).unwrap();
    case
}

/// Messages of different lengths, so that what is moved takes several writes.
fn five_messages() -> Case {
    let entry = |number: usize| format!("{FROM}message {number}\r\n{}\n", "x\r\n".repeat(100 * number));
    Case::new(&[("alice", &(0..5).map(entry).collect::<String>()), ("bob", BOB)])
}

fn with_queue(content: &str) -> Case {
    let case = Case::new(&[("alice", ALICE), ("bob", BOB)]);
    fs::write(case.dir.path().join("mqueue"), content).unwrap();
    case
}

fn finished(case: &Case, text: &str) -> Text {
    run(async {
        let mut draft = case.store.draft();
        draft.append(text.as_bytes()).await.unwrap();
        draft.finish().await.unwrap()
    })
}

/// For both mailboxes and the queue.
fn accept(case: &Case, lines: usize, fault: Fault) -> bool {
    let text = finished(case, &text(lines));
    case.store.place.files.inject(fault);
    let reverse_path = ReversePath(Some("x@localhost".parse::<Address>().unwrap()));
    let envelope = Envelope { reverse_path, forward_paths: Vec::new() };
    let local = ["alice", "bob"].map(|name| Mailbox(name.to_owned()));
    run(case.store.accept(&envelope, text, &local, &["z@x.org".parse().unwrap()])).is_ok()
}

/// Several messages for several mailboxes, with one flush.
fn group(case: &Case, count: usize, fault: Fault) -> bool {
    let texts = [3, 100, 1, 30].map(|lines| finished(case, &text(lines)));
    let names: [&[&str]; 4] = [&["alice", "bob"], &["alice"], &[QUEUE, "bob"], &[QUEUE, "alice"]];
    let mut messages: Vec<Message> = texts
        .into_iter()
        .zip(names)
        .map(|(text, names)| Message {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            from_line: "From <x@localhost> Mon Aug 22 23:00:00 2016\n".to_owned(),
            queued: Some(format!("{FROM}X-Envelope-To: <z@x.org>\n\n")),
            text,
        })
        .collect();
    messages.truncate(count);
    let place = &case.store.place;
    place.files.inject(fault);
    let mut locked = Vec::new();
    for name in [QUEUE, "alice", "bob"] {
        match lock_now(place, name) {
            Ok(Some(mailbox)) => locked.push(mailbox),
            Ok(None) | Err(_) => return false,
        }
    }
    recover::repair(place, &mut locked).is_ok_and(|busy| busy.is_none())
        && append::deliver(place, &mut locked, &messages).is_ok()
}

fn remove(case: &Case, which: &[usize], fault: Fault) -> bool {
    case.remove("alice", which, || case.store.place.files.inject(fault)).is_ok()
}

/// The first recipient of the first item has got it.
fn settle(case: &Case, fault: Fault) -> bool {
    run(async {
        let items = case.store.browse().await.unwrap();
        let mut claim = case.store.claim(&items[0]).await.unwrap().unwrap();
        case.store.place.files.inject(fault);
        claim.settle(&["a@x.org".parse().unwrap()]).await.is_ok()
    })
}

fn delivery() -> Work {
    Work {
        what: "a delivery",
        fresh,
        run: |case, fault| accept(case, 20, fault),
        may_happen_though_refused: false,
        operations: 20,
        parts: None,
    }
}

fn long_delivery() -> Work {
    Work { what: "a long delivery", run: |case, fault| accept(case, 1_800, fault), operations: 22, ..delivery() }
}

/// There is no room in the journal but what is written for this message.
fn delivery_without_room() -> Work {
    Work {
        what: "a delivery with little room",
        fresh: || {
            let case = fresh();
            case.store.place.journal.is_now_short_of_space();
            case
        },
        ..delivery()
    }
}

fn group_delivery() -> Work {
    Work {
        what: "a group of deliveries",
        run: |case, fault| group(case, 4, fault),
        parts: Some(|case, count| assert!(group(case, count, Fault::None))),
        ..delivery()
    }
}

fn removal() -> Work {
    Work {
        what: "a removal in the middle",
        fresh: five_messages,
        run: |case, fault| remove(case, &[0, 2], fault),
        may_happen_though_refused: true,
        operations: 12,
        parts: None,
    }
}

fn removal_at_the_end() -> Work {
    Work { what: "a removal at the end", run: |case, fault| remove(case, &[3, 4], fault), operations: 8, ..removal() }
}

/// Of a mailbox that this process has delivered to, so that the journal is about it.
fn removal_behind_a_delivery() -> Work {
    Work {
        what: "a removal behind a delivery",
        fresh: || {
            let case = five_messages();
            case.deliver(&["alice"], &text(4)).unwrap();
            case
        },
        ..removal()
    }
}

fn checkpoint() -> Work {
    Work {
        what: "a checkpoint",
        fresh: || {
            let case = fresh();
            assert!(accept(&case, 20, Fault::None));
            assert!(accept(&case, 3, Fault::None));
            case
        },
        run: |case, fault| {
            case.store.place.files.inject(fault);
            case.store.place.journal.checkpoint(&case.store.place);
            true
        },
        may_happen_though_refused: false,
        operations: 4,
        parts: None,
    }
}

fn settling() -> Work {
    Work {
        what: "settling",
        fresh: || with_queue(&format!("{QUEUED_TWICE}{QUEUED}")),
        run: settle,
        may_happen_though_refused: true,
        operations: 8,
        parts: None,
    }
}

/// In which the recipient is struck out, in place.
fn settling_in_a_long_queue() -> Work {
    Work {
        what: "settling in a long queue",
        fresh: || with_queue(&format!("{QUEUED_TWICE}{FROM}X-Envelope-To: <z@x.org>\n\n{}\n", "x\r\n".repeat(40_000))),
        operations: 1,
        ..settling()
    }
}

/// What is in the mailboxes and the queue, with one date in all lines that say when something came.
fn contents(case: &Case) -> [String; 3] {
    if case.dir.path().join("mqueue").exists() {
        // Takes out what is struck out.
        run(async { case.store.browse().await.map(drop) }).unwrap();
    }
    ["alice.mbox", "bob.mbox", "mqueue"]
        .map(|name| dated(&fs::read_to_string(case.dir.path().join(name)).unwrap_or_default()))
}

fn dated(content: &str) -> String {
    let lines = content.split_inclusive('\n');
    lines.map(|line| if line.starts_with("From <x@localhost> ") { FROM } else { line }).collect()
}

/// What there is before and after, and each with a message that comes next.
struct Expected {
    before: [[String; 3]; 2],
    after: [[String; 3]; 2],
    /// When only a part is done, if it has parts.
    parts: Vec<[[String; 3]; 2]>,
}

impl Expected {
    fn new(work: &Work) -> Self {
        let of = |case: &Case| {
            let now = contents(case);
            next(case);
            [now, contents(case)]
        };
        let before = of(&(work.fresh)());
        let case = (work.fresh)();
        assert!((work.run)(&case, Fault::None), "{} works", work.what);
        assert!(case.store.place.files.done() >= work.operations, "{}: all operations are counted", work.what);
        let part = |count: usize| {
            let case = (work.fresh)();
            (work.parts.unwrap())(&case, count);
            of(&case)
        };
        let parts = work.parts.map_or_else(Vec::new, |_| (1..4).map(part).collect());
        Self { before, after: of(&case), parts }
    }

    /// What is in the two mailboxes when it has been done, or not.
    fn after_or_before(&self, is_done: bool) -> [String; 2] {
        let [alice, bob, _] = if is_done { self.after[0].clone() } else { self.before[0].clone() };
        [alice, bob]
    }

    /// Whether the work has been done. `is_next`: with the next message; `has_died`: a part of it may be.
    fn is_done(&self, now: &[String; 3], is_next: bool, has_died: bool, when: &str) -> bool {
        let is_next = usize::from(is_next);
        let is_done = *now == self.after[is_next];
        // What is refused is not there at all.
        let is_part = has_died && self.parts.iter().any(|part| *now == part[is_next]);
        assert!(is_done || is_part || *now == self.before[is_next], "{when}: {now:?}");
        is_done
    }
}

/// A delivery afterwards, which also puts right what was left in the mailboxes.
fn next(case: &Case) {
    case.deliver(&["alice", "bob"], "next\r\n").unwrap();
}

/// Whether something is the same before and after.
fn is_told_apart(expected: &Expected) -> bool {
    expected.before[0] != expected.after[0]
}

/// Each operation fails with each error. How many cases that are.
fn fails_anywhere(work: &Work) -> usize {
    let expected = Expected::new(work);
    let mut cases = 0;
    for (round, errno) in ERRORS.into_iter().enumerate() {
        for number in 0.. {
            let case = (work.fresh)();
            let fault = Fault::Fail(number, errno);
            let accepted = (work.run)(&case, fault);
            let failed = case.store.place.files.done() > number;
            case.store.place.files.inject(Fault::None);
            if !failed {
                assert!(accepted && number >= work.operations, "{}: {number} operations", work.what);
                break;
            }
            cases += 1;
            // The same process goes on, puts right what was left, and dies.
            // For each operation once with another message, and once without.
            let is_next = (number + round) % 2 == 0;
            if is_next {
                next(&case);
            }
            run(async { case.store.open(&Mailbox("alice".to_owned())).await.map(drop) }).unwrap();
            let now = contents(&case);
            let when = format!("{}, operation {number}, {fault:?}", work.what);
            let is_done = expected.is_done(&now, is_next, false, &when);
            assert!(is_done || !accepted, "{when}: accepted, and not done");
            let is_strange = is_done && !accepted && !work.may_happen_though_refused && is_told_apart(&expected);
            assert!(!is_strange, "{when}: refused, and done");
            case.die();
            if number % 3 == 0 {
                case.reboot();
            }
            case.recover(Fault::None);
            assert_eq!(contents(&case), now, "{when}: a later start");
            case.assert_tidy();
        }
    }
    cases
}

/// What the two operations of a pair fail with, and how much of a write is done.
pub(super) const PAIRS: [[(i32, Written); 2]; 6] = [
    [(ENOSPC, Written::Half), (ENOSPC, Written::Half)],
    [(ENOSPC, Written::Nothing), (EIO, Written::All)],
    [(EIO, Written::Half), (EIO, Written::Half)],
    [(EIO, Written::All), (ENOSPC, Written::Nothing)],
    [(ENOSPC, Written::Half), (EIO, Written::Nothing)],
    [(EIO, Written::All), (EIO, Written::All)],
];

/// Each operation fails, and one that comes later; or the disk is full from each on. Of the pairs one in `every` is tried.
/// How many cases that are.
fn fails_in_pairs(work: &Work, every: usize, random: &mut Random) -> usize {
    let expected = Expected::new(work);
    let mut cases = 0;
    for first in 0.. {
        let full = Fault::FullFrom(first);
        let case = (work.fresh)();
        let accepted = (work.run)(&case, full);
        let operations = case.store.place.files.done();
        goes_on(work, &expected, case, accepted, full, first);
        cases += 1;
        if operations <= first {
            return cases;
        }
        for (kind, pair) in PAIRS.into_iter().enumerate() {
            for second in first + 1.. {
                if random.below(every) != 0 && second < first + work.operations {
                    continue;
                }
                let failing = |(at, (errno, written))| Failing { at, errno, written };
                let fault = Fault::FailTwice([(first, pair[0]), (second, pair[1])].map(failing));
                let case = (work.fresh)();
                let accepted = (work.run)(&case, fault);
                let is_over = case.store.place.files.done() <= second;
                goes_on(work, &expected, case, accepted, fault, first + second + kind);
                cases += 1;
                if is_over {
                    break;
                }
            }
        }
    }
    cases
}

/// Behind two failures: the same process puts right what was left, and dies. What was accepted is done; what was refused
/// may be done, whole, where it could not be undone.
fn goes_on(work: &Work, expected: &Expected, case: Case, accepted: bool, fault: Fault, number: usize) {
    let when = format!("{}, {fault:?}", work.what);
    if matches!(fault, Fault::FullFrom(_)) && !work.may_happen_though_refused && is_told_apart(expected) {
        // While the disk is full: nothing of what was refused is there, and nothing is accepted that has no room.
        let now =
            ["alice.mbox", "bob.mbox"].map(|name| dated(&fs::read_to_string(case.dir.path().join(name)).unwrap()));
        assert_eq!(now, expected.after_or_before(accepted), "{when}");
    }
    case.store.place.files.inject(Fault::None);
    let is_next = number.is_multiple_of(2);
    if number % 3 != 1 {
        if is_next {
            next(&case);
        }
        for name in ["alice", "bob"] {
            run(async { case.store.open(&Mailbox(name.to_owned())).await.map(drop) }).unwrap();
        }
        let now = contents(&case);
        let is_done = expected.is_done(&now, is_next, true, &when);
        assert!(is_done || !accepted, "{when}: accepted, and not done");
        let is_full = matches!(fault, Fault::FullFrom(_));
        let is_strange = is_done && !accepted && !work.may_happen_though_refused && is_told_apart(expected);
        assert!(!(is_full && is_strange), "{when}: refused, and done");
    }
    let before = (number % 3 != 1).then(|| contents(&case));
    case.die();
    if number % 5 < 2 {
        case.reboot();
    }
    case.recover(Fault::None);
    let now = contents(&case);
    if let Some(before) = before {
        assert_eq!(now, before, "{when}: a later start");
    } else {
        let is_done = expected.is_done(&now, false, true, &when);
        assert!(is_done || !accepted, "{when}: accepted, and lost");
    }
    case.assert_tidy();
}

/// The process dies within each operation. How many cases that are.
fn dies_anywhere(work: &Work) -> usize {
    let expected = Expected::new(work);
    let mut seen = [false; 2];
    for number in 0.. {
        let case = (work.fresh)();
        let fault = Fault::Die(number);
        let accepted = (work.run)(&case, fault);
        let died = case.store.place.files.done() > number;
        case.die();
        if !died {
            assert!(accepted && number >= work.operations, "{}: {number} operations", work.what);
            assert!(!is_told_apart(&expected) || seen == [true; 2], "{}: it came to pass, and not", work.what);
            return number;
        }
        case.assert_waits();
        if number % 3 == 0 {
            case.reboot();
        }
        case.recover(Fault::None);
        let now = contents(&case);
        let when = format!("{}, operation {number}", work.what);
        let is_done = expected.is_done(&now, false, true, &when);
        seen[usize::from(is_done)] = true;
        assert!(is_done || !accepted, "{when}: accepted, and lost");
        assert!(case.recover(Fault::None).0.is_nothing(), "{when}");
        case.assert_tidy();
    }
    0
}

/// The process dies within each operation, and each operation of the recovery fails, with one error after the other, or
/// dies; of the pairs, every so many. How many cases that are.
fn recovery_fails_anywhere(work: &Work, every: usize) -> usize {
    let expected = Expected::new(work);
    let mut cases = 0;
    for second in 0.. {
        let mut failed = false;
        for number in (0..).filter(|number| (number + second) % every == 0) {
            let case = (work.fresh)();
            let accepted = (work.run)(&case, Fault::Die(number));
            let died = case.store.place.files.done() > number;
            case.die();
            if !died {
                break;
            }
            if number % 2 == 0 {
                case.reboot();
            }
            // Another error for each death; two of six recoveries die.
            let fault = match ERRORS.get((number + second) % 6) {
                Some(errno) => Fault::Fail(second, *errno),
                None => Fault::Die(second),
            };
            let (_, done) = case.recover(fault);
            if done <= second {
                continue;
            }
            failed = true;
            cases += 1;
            // Put right by the next start, or by who locks the mailboxes next.
            let is_next = number % 3 == 0;
            if is_next {
                next(&case);
            }
            case.recover(Fault::None);
            let now = contents(&case);
            let when = format!("{}, operation {number}, then {fault:?}", work.what);
            let is_done = expected.is_done(&now, is_next, true, &when);
            assert!(is_done || !accepted, "{when}: accepted, and lost");
            case.assert_tidy();
        }
        if !failed {
            assert!(second > 8, "{}: all operations of the recovery are counted", work.what);
            return cases;
        }
    }
    0
}

#[expect(clippy::print_stdout, reason = "how many cases there were is a result")]
fn tell(work: &Work, how: &str, cases: usize) {
    println!("numbered faults: {}, {how}: {cases} cases", work.what);
}

fn in_pairs(works: &[fn() -> Work]) {
    let every = usize::try_from(setting("PILLARBOX_CRASH_PAIRS", 10)).unwrap();
    let mut random = Random::new(setting("PILLARBOX_CRASH_SEED", 0x5eed));
    for work in works {
        let work = work();
        tell(&work, "two operations fail", fails_in_pairs(&work, every, &mut random));
    }
}

fn anywhere(works: &[fn() -> Work]) {
    for work in works {
        let work = work();
        tell(&work, "an operation fails", fails_anywhere(&work));
        tell(&work, "it dies", dies_anywhere(&work));
    }
}

fn in_recovery(works: &[fn() -> Work], every: usize) {
    for work in works {
        let work = work();
        tell(&work, "it dies, and an operation of the recovery fails", recovery_fails_anywhere(&work, every));
    }
}

/// holds C-S9 C-F1
#[test]
fn of_deliveries() {
    anywhere(&[delivery, group_delivery]);
}

/// holds C-S9 C-F1
#[test]
fn of_long_deliveries() {
    anywhere(&[long_delivery]);
}

/// holds C-S9
#[test]
fn of_checkpoints() {
    anywhere(&[checkpoint]);
}

/// holds C-P7
#[test]
fn of_removals() {
    anywhere(&[removal, removal_at_the_end, removal_behind_a_delivery]);
}

/// holds C-F4
#[test]
fn of_settling() {
    anywhere(&[settling, settling_in_a_long_queue]);
}

/// holds C-S9 C-P7 C-P8 C-F4
#[test]
fn of_recoveries() {
    in_recovery(&[delivery, removal, removal_at_the_end, settling], 1);
}

/// holds C-S9 C-P8
#[test]
fn of_recoveries_of_groups_and_long_deliveries() {
    in_recovery(&[group_delivery, long_delivery], 5);
}

/// holds C-S9 C-F1
#[test]
fn in_pairs_of_deliveries() {
    in_pairs(&[delivery, delivery_without_room, group_delivery]);
}

/// holds C-S9 C-F1
#[test]
fn in_pairs_of_long_deliveries() {
    in_pairs(&[long_delivery]);
}

/// holds C-S9 C-P7
#[test]
fn in_pairs_of_checkpoints_and_removals() {
    in_pairs(&[checkpoint, removal, removal_at_the_end, removal_behind_a_delivery]);
}

/// holds C-F4
#[test]
fn in_pairs_of_settling() {
    in_pairs(&[settling, settling_in_a_long_queue]);
}
