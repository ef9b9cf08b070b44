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

use pillarbox_proto::{Address, Envelope, ReversePath};
use tempfile::TempDir;

use crate::files::tests::Fault;
use crate::journal::record::{HEADER_OCTETS, Header};
use crate::place::Place;
use crate::{
    Mailbox, Maildrop, MboxStore, Recovery, Report, Severity, Store, StoreError, Text, Verdict, check, recover,
};

mod delivery;
mod disk;
pub(crate) mod golden;
#[cfg(feature = "check")]
mod index;
mod numbered;
mod power;
mod queue;
mod removal;

const FROM: &str = "From <x@localhost> Mon Aug 22 23:00:00 2016\n";

/// A little generator of numbers (xorshift), so that a seed gives the same states everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        // Zero would stay zero; every other seed is another sequence.
        Self(seed.max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound as u64)).unwrap()
    }
}

/// What the environment says, or else `default`.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().unwrap())
}

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
            self.store.accept(&envelope, text, &mailboxes, &[]).await
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

    /// The process is dead: what is locked is free, and nothing is cleaned up.
    fn die(&self) {
        self.store.place.files.inject(Fault::None);
        self.store.place.journal.die();
    }

    /// The system was started anew since the journals were written.
    fn reboot(&self) {
        self.with_boots(|boot| format!("{boot}-before"));
    }

    /// Journals say that they are of this boot instead.
    fn with_boots(&self, boot: fn(&str) -> String) {
        for name in names_in(&self.store.place.segments) {
            let path = self.store.place.segments.join(name);
            let mut content = fs::read(&path).unwrap();
            // One that was being made has half a header.
            let Some(mut header) = Header::parse(&content) else { continue };
            header.boot = boot(&header.boot);
            content[..HEADER_OCTETS].copy_from_slice(&header.encode());
            fs::write(&path, content).unwrap();
        }
    }

    /// The system was not started anew after all.
    fn same_boot(&self) {
        self.with_boots(|boot| boot.trim_end_matches("-before").to_owned());
    }

    /// What a new process does at its start; `fault` goes wrong on the way.
    fn recover(&self, fault: Fault) -> (Recovery, usize) {
        self.die();
        let place = Arc::new(Place::open(self.dir.path()).unwrap());
        place.files.inject(fault);
        recover::start(&place).unwrap();
        let done = (place.take_notes(), place.files.done());
        place.files.inject(Fault::None);
        done
    }

    /// Nothing is left but mailboxes, and files of ours that mean nothing.
    fn assert_tidy(&self) {
        // An end in good order.
        self.store.place.journal.close(&self.store.place);
        self.store.place.lock_file.close(&self.store.place);
        let left: Vec<String> = [self.dir.path(), &self.dir.path().join(".pillarbox/journal")]
            .into_iter()
            .chain([self.dir.path().join(".pillarbox").as_path()])
            .flat_map(names_in)
            .filter(|name| ![".mbox", ".maildrop", ".index"].iter().any(|kind| name.ends_with(kind)))
            .filter(|name| ![".pillarbox", "journal", "mqueue", "mqueue.claims"].contains(&name.as_str()))
            .filter(|name| !["lock-", "stale-", "new-"].iter().any(|kind| name.starts_with(kind)))
            .collect();
        assert_eq!(left, [""; 0]);
        // What is there is sound as well.
        let report = self.check();
        assert_eq!(report.verdict(), Verdict::Sound, "{:?}", report.findings);
    }

    fn check(&self) -> Report {
        check(self.dir.path(), &mut |_| ()).unwrap()
    }

    /// What a death leaves waits for recovery, and is not taken for damage; if there is something to be finished or
    /// undone, that is said.
    fn assert_waits(&self) {
        self.die();
        let report = self.check();
        let is_told = |severity| [Severity::Info, Severity::Warning, Severity::Pending].contains(&severity);
        assert!(report.findings.iter().all(|finding| is_told(finding.severity)), "{:?}", report.findings);
        let dead = self.store.place.journal.dead(&self.store.place).unwrap();
        let is_unfinished = dead.iter().any(|found| !found.read().unwrap().unwrap().unsettled().is_empty())
            || names_in(&self.store.place.side).iter().any(|name| name.ends_with(".update"));
        assert_eq!(report.count(Severity::Pending) > 0, is_unfinished, "{:?}", report.findings);
    }
}

fn names_in(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

/// A file system in memory, where there is one: the cases are many, and what they test is the order of operations.
pub(crate) fn memory_or_disk() -> PathBuf {
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
            assert_eq!(rest, format!("{}\n", text.replace("\nFrom ", "\n>From ")), "a torn message");
            true
        }
        None => panic!("{content:?} does not begin with {before:?}"),
    }
}
