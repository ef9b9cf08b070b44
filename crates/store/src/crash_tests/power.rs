//! Power cuts, simulated: every operation of a workload is recorded, and for the moment behind each of them states are
//! made that a file system may show after the power comes back. What was not flushed may be there or not, in any order
//! and by halves: each sector of a write on its own, a size without its data, a name without its file. The real recovery
//! then has to show every message that was accepted, once and whole, and no other but those that were being accepted.
//!
//! `PILLARBOX_CRASH_STATES` says how many states are made at the most (`make crash`); `PILLARBOX_CRASH_SEED` makes the
//! same ones again.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use nix::libc::EIO;

use super::disk::{Disk, Files, Mood, kept, put};
use super::numbered::PAIRS;
use super::{Case, FROM, Random, run, setting};
use crate::files::tests::{Failing, Fault, Written};
use crate::place::{Place, read_at};
use crate::scan::scan;
use crate::{Claim as _, Mailbox, Queue as _, Severity, Store as _, recover};

/// States of a run that names no number.
const STATES: usize = 10_000;
/// What a message of another program is called.
const FOREIGN: &str = " of another program";
/// After so many that are wrong, no more are tried.
const VIOLATIONS: usize = 20;
/// What messages are made of: one line is quoted, and looks like the beginning of another message then.
const LINES: &str = "line\r\nFrom a Mon Aug 22 23:00:00 2016\r\n";
const MAILBOXES: [&str; 2] = ["alice", "bob"];

/// What the workload did to one message in one mailbox, by the operations that had been recorded then.
#[derive(Clone, Debug)]
struct Message {
    text: String,
    mailboxes: Vec<&'static str>,
    begun: usize,
    /// `usize::MAX`: never.
    accepted: usize,
    /// Where its removal began and was acknowledged, by mailbox.
    removed: BTreeMap<&'static str, (usize, usize)>,
}

/// A workload in progress.
struct Workload {
    case: Case,
    messages: Vec<Message>,
    /// The files that were there at the beginning. They stay open, so that no other gets the number of one.
    old: BTreeMap<&'static str, fs::File>,
}

impl Workload {
    fn new() -> Self {
        let old = |name| format!("{FROM}old {name}\r\n\n");
        let case = Case::new(&[("alice", &old("alice")), ("bob", &old("bob"))]);
        fs::write(case.dir.path().join("mqueue"), "").unwrap();
        let messages = MAILBOXES
            .map(|name| Message {
                text: format!("old {name}\r\n"),
                mailboxes: vec![name],
                begun: 0,
                accepted: 0,
                removed: BTreeMap::new(),
            })
            .to_vec();
        let files = ["alice.mbox", "bob.mbox", "mqueue"];
        let old = files.map(|name| (name, fs::File::open(case.dir.path().join(name)).unwrap())).into();
        Self { case, messages, old }
    }

    fn at(&self) -> usize {
        self.case.store.place.files.recorded()
    }

    /// Delivers messages that wait together.
    fn deliver(&mut self, deliveries: &[(&[&'static str], usize)]) {
        assert!(self.try_deliver(Fault::None, deliveries).iter().all(|is_accepted| *is_accepted));
    }

    /// [`Workload::deliver`], while something goes wrong: which are accepted.
    fn try_deliver(&mut self, fault: Fault, deliveries: &[(&[&'static str], usize)]) -> Vec<bool> {
        let begun = self.at();
        let first = self.messages.len();
        let texts: Vec<String> = deliveries
            .iter()
            .enumerate()
            .map(|(number, (_, lines))| format!("message {}\r\n{}", first + number, LINES.repeat(*lines)))
            .collect();
        let store = &self.case.store;
        store.place.files.inject(fault);
        let are_accepted = run(async {
            let mut waiting = Vec::new();
            for ((names, _), text) in deliveries.iter().zip(&texts) {
                let mut draft = store.draft();
                draft.append(text.as_bytes()).await.unwrap();
                let text = draft.finish().await.unwrap();
                let envelope = pillarbox_proto::Envelope {
                    reverse_path: pillarbox_proto::ReversePath(Some("x@localhost".parse().unwrap())),
                    forward_paths: Vec::new(),
                };
                let local: Vec<Mailbox> =
                    names.iter().filter(|name| **name != "mqueue").map(|name| Mailbox((*name).to_owned())).collect();
                let is_remote = local.len() < names.len();
                let store = store.clone();
                waiting.push(tokio::spawn(async move {
                    let remote = ["z@x.org".parse().unwrap()];
                    store.accept(&envelope, text, &local, if is_remote { &remote } else { &[] }).await
                }));
            }
            let mut are_accepted = Vec::new();
            for delivery in waiting {
                are_accepted.push(delivery.await.unwrap().is_ok());
            }
            are_accepted
        });
        store.place.files.inject(Fault::None);
        let now = self.at();
        for (((names, _), text), is_accepted) in deliveries.iter().zip(texts).zip(&are_accepted) {
            let accepted = if *is_accepted { now } else { usize::MAX };
            self.messages.push(Message { text, mailboxes: names.to_vec(), begun, accepted, removed: BTreeMap::new() });
        }
        are_accepted
    }

    /// Removes the messages that `which` names, by their place in the mailbox.
    fn remove(&mut self, name: &'static str, which: &[usize]) {
        let begun = self.at();
        let before = texts(&self.case.dir.path().join(format!("{name}.mbox"))).unwrap();
        self.case.remove(name, which, || ()).unwrap();
        let done = self.at();
        for index in which {
            let removed = self.messages.iter_mut().find(|message| message.text == before[*index]).unwrap();
            removed.removed.insert(name, (begun, done));
        }
    }

    /// Sends the first item of the queue.
    fn send(&mut self) {
        let begun = self.at();
        let store = &self.case.store;
        run(async {
            let items = store.browse().await.unwrap();
            let mut claim = store.claim(&items[0]).await.unwrap().unwrap();
            claim.settle(&["z@x.org".parse().unwrap()]).await.unwrap();
        });
        let done = self.at();
        let sent = self
            .messages
            .iter_mut()
            .find(|message| message.mailboxes.contains(&"mqueue") && !message.removed.contains_key("mqueue"))
            .unwrap();
        sent.removed.insert("mqueue", (begun, done));
    }

    /// Another program appends, and flushes or not: then its message may be lost, and is not looked at.
    fn foreign(&mut self, name: &'static str, flushes: bool) {
        let begun = self.at();
        let path = self.case.dir.path().join(format!("{name}.mbox"));
        let text = format!("message {}{FOREIGN}\r\n", self.messages.len());
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let files = &self.case.store.place.files;
        files.write_all_at(&file, &path, format!("{FROM}{text}\n").as_bytes(), file.metadata().unwrap().len()).unwrap();
        if flushes {
            files.sync_data(&file, &path).unwrap();
        }
        let accepted = if flushes { self.at() } else { usize::MAX };
        self.messages.push(Message { text, mailboxes: vec![name], begun, accepted, removed: BTreeMap::new() });
    }

    /// Another program puts a new file in the place of a mailbox, with a message in front of the others, and does not
    /// flush the folder.
    fn replace(&mut self, name: &'static str) {
        self.replace_by(name, |message, others| format!("{message}{others}"));
    }

    /// [`Workload::replace`], with the message behind the others.
    fn replace_longer(&mut self, name: &'static str) {
        self.replace_by(name, |message, others| format!("{others}{message}"));
    }

    fn replace_by(&mut self, name: &'static str, content: fn(&str, &str) -> String) {
        let begun = self.at();
        let text = format!("message {}{FOREIGN}\r\n", self.messages.len());
        let content = content(&format!("{FROM}{text}\n"), &self.case.content(name));
        let place = &self.case.store.place;
        let new = place.dir.join("new");
        let file = place.files.create_new(&new).unwrap();
        place.files.write_all_at(&file, &new, content.as_bytes(), 0).unwrap();
        place.files.sync_data(&file, &new).unwrap();
        // A power cut may bring the old one back.
        fs::hard_link(place.mailbox(name), kept(&self.case, fs::metadata(place.mailbox(name)).unwrap().ino())).unwrap();
        place.files.rename(&new, &place.mailbox(name)).unwrap();
        let accepted = usize::MAX;
        self.messages.push(Message { text, mailboxes: vec![name], begun, accepted, removed: BTreeMap::new() });
    }

    fn checkpoint(&self) {
        self.case.store.place.journal.checkpoint(&self.case.store.place);
    }
}

/// The texts in a mailbox or the queue, without what is in front of them.
fn texts(path: &Path) -> Result<Vec<String>, String> {
    let content = fs::read(path).map_err(|error| error.to_string())?;
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let entries = scan(|buffer, offset| read_at(&file, buffer, offset)).map_err(|error| error.to_string())?;
    // An item whose only recipient is struck out is over.
    let is_over = |text: &String| text.starts_with("#-Envelope-To: ");
    let texts = entries
        .iter()
        .map(|entry| {
            let text = &content[usize::try_from(entry.text).unwrap()..usize::try_from(entry.end).unwrap()];
            let text = String::from_utf8(text.to_vec()).map_err(|error| error.to_string())?;
            let text = text.replace("\n>From ", "\nFrom ");
            Ok(text.strip_prefix("X-Envelope-To: <z@x.org>\n\n").unwrap_or(&text).to_owned())
        })
        .collect::<Result<Vec<_>, String>>();
    texts.map(|texts| texts.into_iter().filter(|text| !is_over(text)).collect())
}

fn workloads() -> Vec<(&'static str, Workload)> {
    let make = |what: &'static str, work: fn(&mut Workload)| {
        let mut workload = Workload::new();
        workload.case.store.place.files.start_recording();
        work(&mut workload);
        (what, workload)
    };
    vec![
        make("one by one", |work| {
            work.deliver(&[(&["alice"], 3)]);
            work.deliver(&[(&MAILBOXES, 40)]);
            work.deliver(&[(&["bob"], 3)]);
        }),
        make("together", |work| {
            work.deliver(&[(&["alice"], 3), (&MAILBOXES, 25), (&["alice"], 60), (&["bob"], 1)]);
            work.deliver(&[(&["bob"], 3), (&["alice"], 25), (&MAILBOXES, 3)]);
        }),
        make("with checkpoints", |work| {
            work.deliver(&[(&MAILBOXES, 25)]);
            work.checkpoint();
            work.deliver(&[(&MAILBOXES, 20)]);
            work.deliver(&[(&["alice"], 20)]);
            work.checkpoint();
            work.checkpoint();
            work.deliver(&[(&["alice"], 3)]);
        }),
        make("long", |work| {
            work.deliver(&[(&["alice"], 3)]);
            work.deliver(&[(&MAILBOXES, 1_800)]);
            work.deliver(&[(&MAILBOXES, 3)]);
        }),
        make("removals", |work| {
            work.deliver(&[(&MAILBOXES, 30), (&["alice"], 25), (&["alice"], 3)]);
            work.remove("alice", &[1, 2]);
            work.deliver(&[(&MAILBOXES, 3)]);
            work.remove("bob", &[0, 1]);
            work.remove("alice", &[2]);
            work.deliver(&[(&["alice"], 3)]);
            work.remove("alice", &[0, 1, 2]);
            work.deliver(&[(&MAILBOXES, 3)]);
        }),
        make("the queue", |work| {
            work.deliver(&[(&["alice", "mqueue"], 3)]);
            work.deliver(&[(&["mqueue"], 40), (&["alice", "mqueue"], 3)]);
            work.send();
            work.deliver(&[(&["mqueue"], 3)]);
            work.send();
            work.send();
        }),
        make("other programs", |work| {
            work.foreign("alice", false);
            work.deliver(&[(&MAILBOXES, 25)]);
            work.foreign("alice", true);
            work.deliver(&[(&["alice"], 3)]);
            work.foreign("bob", false);
            work.deliver(&[(&MAILBOXES, 3)]);
            work.remove("alice", &[0]);
        }),
        make("removals at the end", |work| {
            work.deliver(&[(&["alice"], 3), (&["alice"], 25), (&["alice"], 40), (&["bob"], 3), (&["bob"], 120)]);
            work.remove("bob", &[2]);
            work.remove("alice", &[3]);
            work.remove("bob", &[1]);
            work.remove("alice", &[2]);
            work.remove("alice", &[1]);
            work.remove("bob", &[0]);
        }),
        make("a new file", |work| {
            work.replace("alice");
            work.deliver(&[(&MAILBOXES, 25)]);
            work.deliver(&[(&["alice"], 3)]);
        }),
        make("a removal at the end of a new file", |work| {
            work.deliver(&[(&["alice"], 25)]);
            work.replace_longer("alice");
            work.remove("alice", &[2]);
            work.deliver(&[(&["bob"], 3)]);
        }),
        make("a removal in a new file", |work| {
            work.deliver(&[(&["bob"], 25)]);
            work.replace("bob");
            work.remove("bob", &[0]);
            work.deliver(&[(&["alice"], 3)]);
        }),
        make("removals in front of others", |work| {
            // Behind what goes is a message that nobody takes for it.
            work.deliver(&[(&["alice"], 3)]);
            work.foreign("alice", true);
            work.remove("alice", &[1]);
            work.deliver(&[(&MAILBOXES, 25)]);
            work.foreign("bob", true);
            work.foreign("alice", true);
            work.remove("bob", &[1]);
            work.remove("alice", &[2]);
        }),
        make("removals behind checkpoints", |work| {
            work.deliver(&[(&["alice"], 3)]);
            work.foreign("alice", true);
            work.checkpoint();
            work.remove("alice", &[1]);
            work.deliver(&[(&MAILBOXES, 3), (&["alice"], 25), (&["alice"], 3)]);
            work.checkpoint();
            work.remove("alice", &[3]);
            work.remove("alice", &[1]);
            work.deliver(&[(&MAILBOXES, 3)]);
            work.checkpoint();
            work.remove("bob", &[2]);
            work.remove("bob", &[0]);
        }),
    ]
}

/// Takes off what a power cut has left of a message of another program: zeros, and the empty line in front of them.
fn strip_torn(text: &mut String) {
    if text.ends_with('\0') {
        let kept = text.trim_end_matches('\0').len();
        text.truncate(kept);
        if let Some(kept) = text.strip_suffix("\n\n").map(|kept| kept.len() + 1) {
            text.truncate(kept);
        }
    }
}

/// What is wrong after a recovery, if anything is. `at` operations had been done.
fn judge(work: &Workload, at: usize) -> Result<(), String> {
    let place = &work.case.store.place;
    let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for name in ["alice", "bob", "mqueue"] {
        let path = if name == "mqueue" { place.dir.join(name) } else { place.mailbox(name) };
        let texts = texts(&path)?;
        let mut texts = texts;
        if work.messages.iter().any(|message| message.text.contains(FOREIGN) && message.accepted > at) {
            // What another program did not flush may be torn, and then looks like the end of what is before it.
            texts.iter_mut().for_each(strip_torn);
            texts.retain(|text| !text.is_empty());
        }
        for text in &texts {
            if !work.messages.iter().any(|message| message.text == *text && message.mailboxes.contains(&name)) {
                return Err(format!("{name} has a torn message: {:?}", text.chars().take(200).collect::<String>()));
            }
        }
        found.insert(name, texts);
    }
    for message in work.messages.iter().filter(|message| message.begun <= at) {
        let count = |name: &str| found[name].iter().filter(|text| **text == message.text).count();
        for name in &message.mailboxes {
            let may_be_gone = message.removed.get(name).is_some_and(|(begun, _)| *begun <= at);
            let is_gone = message.removed.get(name).is_some_and(|(_, done)| *done <= at);
            let expected = match (message.accepted <= at, is_gone, may_be_gone) {
                (_, true, _) => 0..=0,
                (true, false, false) => 1..=1,
                _ => 0..=1,
            };
            if !expected.contains(&count(name)) {
                return Err(format!("{name} has {:?} {} times", message.text.lines().next(), count(name)));
            }
        }
        // All or nothing, where nobody has removed it.
        let kept: Vec<usize> = message
            .mailboxes
            .iter()
            .filter(|name| !message.removed.contains_key(*name))
            .map(|name| count(name))
            .collect();
        if kept.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err(format!("{:?} is in some of its mailboxes only", message.text.lines().next()));
        }
    }
    // A removal happens or not.
    for name in ["alice", "bob", "mqueue"] {
        let mut removals: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
        for message in &work.messages {
            if let Some(removal) = message.removed.get(name) {
                removals
                    .entry(*removal)
                    .or_default()
                    .push(found[name].iter().filter(|text| **text == message.text).count());
            }
        }
        for ((begun, _), counts) in removals {
            if begun <= at && counts.windows(2).any(|pair| pair[0] != pair[1]) {
                return Err(format!("{name}: a removal happened by half"));
            }
        }
    }
    Ok(())
}

/// Whether the power is cut again while the system recovers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    No,
    /// It is, but what had been done then is all there.
    NothingIsLost,
    /// It is, and what was not flushed is taken like this.
    Lost(Mood),
    /// The power was not cut before: the process was killed, and what it had written is there, flushed or not.
    Killed(Mood),
}

/// Recovers a state, and again, and says what is wrong.
fn try_state(
    work: &Workload,
    (at, disk): (usize, &Disk),
    state: &Files,
    again: Again,
    random: &mut Random,
) -> Result<(), String> {
    put(&work.case, state);
    let begin = || Place::open(work.case.dir.path()).map(Arc::new).map_err(|error| error.to_string());
    match again {
        Again::No => {}
        Again::NothingIsLost => {
            let place = begin()?;
            place.files.inject(Fault::Die(random.below(30)));
            let _ = recover::start(&place);
            place.journal.die();
            drop(place);
            work.case.reboot();
        }
        Again::Lost(mood) | Again::Killed(mood) => {
            let disk = if let Again::Killed(_) = again { disk.moved(&work.case, state) } else { Disk::durable(state) };
            if let Again::Killed(_) = again {
                work.case.same_boot();
            }
            let place = begin()?;
            place.files.start_recording();
            recover::start(&place).map_err(|error| error.to_string())?;
            let operations = place.files.stop_recording();
            place.journal.die();
            drop(place);
            let mut disk = disk;
            let done = random.below(operations.len() + 1);
            operations[..done].iter().for_each(|operation| disk.apply(operation));
            put(&work.case, &disk.after_power_cut(random, mood));
        }
    }
    let (recovery, _) = work.case.recover(Fault::None);
    judge(work, at).map_err(|wrong| format!("{wrong} (recovery: {recovery})"))?;
    if !recovery.problems().is_empty() {
        return Err(format!("recovery has a problem: {recovery}"));
    }
    // The checker sees damage where another program has not flushed its message; that is not ours.
    if !work.messages.iter().any(|message| message.text.contains(FOREIGN) && message.accepted == usize::MAX) {
        let damage = work.case.check().findings.into_iter().find(|finding| finding.severity >= Severity::Busy);
        if let Some(damage) = damage {
            return Err(format!("fsck: {damage} (recovery: {recovery})"));
        }
    }
    let before = [work.case.content("alice"), work.case.content("bob")];
    let (again, _) = work.case.recover(Fault::None);
    if [work.case.content("alice"), work.case.content("bob")] != before || again.updates_finished > 0 {
        return Err(format!("a second recovery did something: {again}"));
    }
    Ok(())
}

/// What was on the disk when the workload began.
fn start(work: &Workload) -> Disk {
    let mut start = Disk::default();
    for (name, file) in &work.old {
        let path = work.case.store.place.dir.join(name);
        let inode = file.metadata().unwrap().ino();
        let old = |who: &str| format!("{FROM}old {who}\r\n\n").into_bytes();
        let durable = name.strip_suffix(".mbox").map_or_else(Vec::new, old);
        start.add(path, inode, durable);
    }
    start
}

/// holds C-S9 C-P7 C-F1
#[test]
#[expect(clippy::print_stdout, reason = "how many states there were is a result")]
fn power_cuts() {
    let wanted = usize::try_from(setting("PILLARBOX_CRASH_STATES", STATES as u64)).unwrap();
    let seed = setting("PILLARBOX_CRASH_SEED", 0x5eed);
    let mut seen = HashSet::new();
    let (mut tried, mut violations) = (0, Vec::new());
    let mut workloads: Vec<_> = workloads()
        .into_iter()
        .map(|(what, work)| {
            let operations = work.case.store.place.files.stop_recording();
            work.case.die();
            (what, work, operations)
        })
        .collect();
    let disks: Vec<Disk> = workloads.iter().map(|(_, work, _)| start(work)).collect();
    let moments: usize = workloads.iter().map(|(_, _, operations)| operations.len() + 1).sum();
    let each = wanted.div_ceil(moments).max(4);
    let mut random = Random::new(seed);
    'all: for ((what, work, operations), start) in workloads.iter_mut().zip(disks) {
        let mut disk = start;
        for at in 0..=operations.len() {
            if let Some(before) = at.checked_sub(1) {
                disk.apply(&operations[before]);
            }
            for number in 0..each {
                let mood = match number {
                    0 => Mood::All,
                    1 => Mood::Nothing,
                    _ => [Mood::Sectors, Mood::SizeFirst, Mood::Prefix][number % 3],
                };
                let state = disk.after_power_cut(&mut random, mood);
                let mut hash = DefaultHasher::new();
                (&*what, at, &state).hash(&mut hash);
                if !seen.insert(hash.finish()) {
                    continue;
                }
                tried += 1;
                let again = match number % 5 {
                    2 => Again::Lost([Mood::Nothing, Mood::Sectors, Mood::SizeFirst, Mood::Prefix][random.below(4)]),
                    4 => Again::NothingIsLost,
                    _ => Again::No,
                };
                let mut tries = vec![again];
                if mood == Mood::All {
                    tries.extend([Mood::Nothing, Mood::Sectors, Mood::Prefix].map(Again::Killed));
                }
                for again in tries {
                    if let Err(wrong) = try_state(work, (at, &disk), &state, again, &mut random) {
                        let of = operations.len();
                        violations.push(format!("{what}, {at} of {of} operations, {mood:?}, again {again:?}: {wrong}"));
                        if violations.len() == VIOLATIONS {
                            break 'all;
                        }
                    }
                }
            }
        }
    }
    println!("{tried} different states after power cuts, seed {seed}: {} violations", violations.len());
    assert!(violations.is_empty(), "{} of {tried} states, seed {seed}:\n{}", violations.len(), violations.join("\n"));
    assert!(tried >= wanted.min(1_000), "only {tried} states");
}

/// Workloads in which two operations of a delivery fail.
fn with_failures(random: &mut Random) -> (Fault, Workload) {
    let mut work = Workload::new();
    work.case.store.place.files.start_recording();
    let [one, other] = PAIRS[random.below(PAIRS.len())];
    let first = random.below(45);
    // In half of the cases that comes first with which it is undone.
    let second = first + 1 + random.below(2) * random.below(24);
    let failing = |(at, (errno, written))| Failing { at, errno, written };
    let fault = match random.below(8) {
        0 => Fault::FullFrom(first),
        _ => Fault::FailTwice([(first, one), (second, other)].map(failing)),
    };
    match random.below(4) {
        0 => drop(work.try_deliver(fault, &[(&MAILBOXES, 3)])),
        1 => {
            work.deliver(&[(&["alice"], 3)]);
            work.try_deliver(fault, &[(&MAILBOXES, 1_800)]);
        }
        _ => drop(work.try_deliver(fault, &[(&["alice"], 3), (&MAILBOXES, 25), (&["alice", "mqueue"], 1)])),
    }
    match random.below(3) {
        0 => work.checkpoint(),
        1 => work.deliver(&[(&MAILBOXES, 3)]),
        _ => {}
    }
    work.deliver(&[(&MAILBOXES, 2), (&["mqueue"], 1)]);
    (fault, work)
}

/// Each operation fails, and the next one too, which is what comes first to undo it; nobody knows then what of it is on the
/// disk. Each message is in both mailboxes or in none, once at the most, whenever the power is cut then.
fn check_in_doubt(deliveries: &[(&[&'static str], usize)]) {
    let mut random = Random::new(1);
    let mut in_doubt = 0;
    for first in 0.. {
        let failing = |at| Failing { at, errno: EIO, written: Written::All };
        let mut work = Workload::new();
        work.case.store.place.files.start_recording();
        work.try_deliver(Fault::FailTwice([first, first + 1].map(failing)), deliveries);
        let operations = work.case.store.place.files.stop_recording();
        work.case.die();
        if operations.len() < first {
            break;
        }
        let mut disk = start(&work);
        for at in 0..=operations.len() {
            if let Some(before) = at.checked_sub(1) {
                disk.apply(&operations[before]);
            }
            if at <= first {
                continue;
            }
            // Of what is in doubt all is on the disk; of what was not flushed yet, nothing.
            let mut certain = disk.clone();
            in_doubt += usize::from(certain.end_doubt());
            let state = certain.after_power_cut(&mut random, Mood::Nothing);
            try_state(&work, (at, &disk), &state, Again::No, &mut random)
                .unwrap_or_else(|wrong| panic!("operations {first} and the next, {at} done: {wrong}"));
        }
    }
    assert!(in_doubt > 5, "{in_doubt}");
}

/// holds C-S9
#[test]
fn a_long_message_in_doubt() {
    check_in_doubt(&[(&MAILBOXES, 1_800)]);
}

/// holds C-S9 C-F1
#[test]
fn messages_in_doubt_that_came_together() {
    check_in_doubt(&[(&MAILBOXES, 3), (&["alice"], 25), (&["alice", "mqueue"], 1), (&MAILBOXES, 2)]);
}

/// holds C-S9 C-F1
#[test]
#[expect(clippy::print_stdout, reason = "how many states there were is a result")]
fn power_cuts_after_failures() {
    /// States that are tried of each workload.
    const EACH: usize = 25;
    let wanted = usize::try_from(setting("PILLARBOX_CRASH_STATES", STATES as u64)).unwrap() / 4;
    let seed = setting("PILLARBOX_CRASH_SEED", 0x5eed);
    let mut random = Random::new(seed);
    let (mut tried, mut refused, mut violations) = (0, 0, Vec::new());
    while tried < wanted && violations.len() < VIOLATIONS {
        let (fault, work) = with_failures(&mut random);
        let operations = work.case.store.place.files.stop_recording();
        work.case.die();
        refused += work.messages.iter().filter(|message| message.accepted == usize::MAX).count();
        let mut moments: Vec<usize> = (0..EACH).map(|_| random.below(operations.len() + 1)).collect();
        moments.sort_unstable();
        let (mut disk, mut done) = (start(&work), 0);
        for at in moments {
            operations[done..at].iter().for_each(|operation| disk.apply(operation));
            done = at;
            let mood =
                [Mood::All, Mood::Nothing, Mood::Sectors, Mood::SizeFirst, Mood::Prefix, Mood::All][random.below(6)];
            let state = disk.after_power_cut(&mut random, mood);
            let again = match random.below(3) {
                0 => Again::NothingIsLost,
                1 if mood == Mood::All => Again::Killed([Mood::Nothing, Mood::Sectors][random.below(2)]),
                _ => Again::No,
            };
            tried += 1;
            if let Err(wrong) = try_state(&work, (at, &disk), &state, again, &mut random) {
                violations.push(format!(
                    "{fault:?}, {at} of {} operations, {mood:?}, again {again:?}: {wrong}",
                    operations.len()
                ));
            }
        }
    }
    println!(
        "{tried} states after failures and power cuts, seed {seed}, {refused} messages refused: {} violations",
        violations.len()
    );
    assert!(violations.is_empty(), "seed {seed}:\n{}", violations.join("\n"));
    assert!(refused > 0, "something fails");
}
