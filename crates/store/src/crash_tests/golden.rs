//! What is done to the disk, pinned: each operation of a delivery, a removal and a forwarded item in its order, and every
//! octet of mailboxes, the queue and redo records; of the journal, the records of each write and their lengths.
//! `tests/golden/disk.txt` has it, and `tests/golden/journal.txt` the octets of records (`journal/record/tests.rs`).
//!
//! A difference is a change of the format or of what is durable when. `UPDATE_GOLDEN=1` takes what is done now for what
//! is to be done.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;

use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::files::tests::Operation;
use crate::{Claim as _, Queue as _};

/// So much of what is written is shown; of more there is a hash.
const SHOWN_MAX_OCTETS: usize = 400;

/// Shows operations, and everything that differs from run to run as `#`.
struct Shown<'a> {
    case: &'a Case,
    /// Names by inode.
    names: BTreeMap<u64, String>,
    lines: String,
}

impl Shown<'_> {
    fn name(&self, path: &Path) -> String {
        let shown = path.strip_prefix(self.case.dir.path()).unwrap().to_string_lossy().into_owned();
        let mut name = String::new();
        for letter in shown.chars() {
            match letter {
                '0'..='9' if name.ends_with('#') => {}
                '0'..='9' => name.push('#'),
                _ => name.push(letter),
            }
        }
        name
    }

    fn octets(name: &str, octets: &[u8]) -> String {
        match name {
            _ if name.contains("journal/") => return records(octets),
            // The numbers of files and processes are in them, and sums of dates.
            _ if name.contains("lock-") || name.contains(".update") => return "its content".to_owned(),
            _ => {}
        }
        let lines = octets.split_inclusive(|&octet| octet == b'\n').map(|line| match line.strip_suffix(b"\n") {
            // A date has 24 octets.
            Some(whole) if whole.starts_with(b"From <") => format!("{}#\\n", whole[..whole.len() - 24].escape_ascii()),
            _ => line.escape_ascii().to_string(),
        });
        let shown: String = lines.collect();
        match shown.get(..SHOWN_MAX_OCTETS) {
            Some(begin) => format!("{begin} and more: {} octets, {:016x}", octets.len(), xxh3_64(shown.as_bytes())),
            None => shown,
        }
    }

    fn add(&mut self, operation: &Operation) {
        let name = |inode: &u64| self.names.get(inode).cloned().unwrap_or_else(|| "?".to_owned());
        let line = match operation {
            Operation::Create(path, inode) => {
                let name = self.name(path);
                self.names.insert(*inode, name.clone());
                format!("create {name}")
            }
            Operation::Write(inode, octets, at) => {
                let name = name(inode);
                let at = if name.contains("journal/") || name.contains("lock") {
                    String::new()
                } else {
                    format!(" at {at}")
                };
                format!("write  {name}{at}: {}", Self::octets(&name, octets))
            }
            Operation::SetLen(inode, octets) => format!("cut    {} to {octets}", name(inode)),
            Operation::Sync(inode) => format!("flush  {}", name(inode)),
            Operation::FailedSync(inode) => format!("flush  {} fails", name(inode)),
            Operation::Rename(from, to) => {
                let (from, to) = (self.name(from), self.name(to));
                if let Some(named) = self.names.values_mut().find(|name| **name == from) {
                    named.clone_from(&to);
                }
                format!("rename {from} to {to}")
            }
            Operation::Link(from, to) => format!("link   {} to {}", self.name(from), self.name(to)),
            Operation::Remove(path) => format!("remove {}", self.name(path)),
            Operation::SyncDir(path) => format!("flush  {}/", self.name(path)),
        };
        self.lines.push_str(&line);
        self.lines.push('\n');
    }
}

/// Writes that go on where the one before them has ended are one: how large a piece is copied at once is of no account.
fn joined(operations: Vec<Operation>) -> Vec<Operation> {
    let mut joined: Vec<Operation> = Vec::new();
    for operation in operations {
        match (joined.last_mut(), operation) {
            (Some(Operation::Write(file, octets, at)), Operation::Write(same, more, next))
                if *file == same && *at + octets.len() as u64 == next =>
            {
                octets.extend(more);
            }
            (_, operation) => joined.push(operation),
        }
    }
    joined
}

/// The kinds and lengths of the records in a write, and what stands behind them.
fn records(mut octets: &[u8]) -> String {
    let mut shown = Vec::new();
    while let Some((b"pbx1", rest)) = octets.split_at_checked(4) {
        let length = usize::try_from(u64::from_le_bytes(rest[4..12].try_into().unwrap())).unwrap() + 24;
        shown.push(format!("{} {length}", char::from(rest[0])));
        octets = &octets[length..];
    }
    if !octets.is_empty() {
        let what = if octets.iter().all(|&octet| octet == 0) { "zeros" } else { "octets" };
        shown.push(format!("{} {what}", octets.len()));
    }
    shown.join(", ")
}

async fn accept(store: &MboxStore, text: &str, to: &[&str], remote: &[&str]) {
    let envelope =
        Envelope { reverse_path: ReversePath(Some("x@localhost".parse().unwrap())), forward_paths: Vec::new() };
    let mut draft = store.draft();
    draft.append(text.as_bytes()).await.unwrap();
    let text = draft.finish().await.unwrap();
    let local: Vec<Mailbox> = to.iter().map(|name| Mailbox((*name).to_owned())).collect();
    let remote: Vec<Address> = remote.iter().map(|path| path.parse().unwrap()).collect();
    store.accept(&envelope, text, &local, &remote).await.unwrap();
}

#[test]
fn the_same_is_done_to_the_disk_as_before() {
    let mut case = Case::new(&[("alice", &format!("{FROM}old\r\n\n")), ("bob", "From b\nno line end"), ("carl", "")]);
    // Whether there is an index depends on the kernel.
    case.store = case.store.clone().with_index_from(u64::MAX);
    let store = &case.store;
    let files = &store.place.files;
    let inode = |name: &str| (case.dir.path().join(name).metadata().unwrap().ino(), name.to_owned());
    let names = ["alice.mbox", "bob.mbox", "carl.mbox"].map(inode).into();
    let mut shown = Shown { case: &case, names, lines: String::new() };
    let mut step = |what: &str, work: &dyn Fn()| {
        files.start_recording();
        work();
        shown.lines.push_str(&format!("--- {what}\n"));
        joined(files.stop_recording()).iter().for_each(|operation| shown.add(operation));
    };
    let long = format!("long\r\n{}", "From the middle of it\r\n".repeat(4000));
    step("a message for alice", &|| run(accept(store, "one\r\nFrom me\r\n>From you\r\n.\r\n", &["alice"], &[])));
    step("one without a line end, for bob and carl", &|| run(accept(store, "two", &["bob", "carl"], &[])));
    step("an empty one, for alice and two elsewhere", &|| {
        run(accept(store, "", &["alice"], &["a@x.org", "\"b c\"@[127.0.0.1]"]));
    });
    step("a long one for bob and elsewhere", &|| run(accept(store, &long, &["bob"], &["z@x.org"])));
    step("a short one behind it", &|| run(accept(store, "three\r\n\0\u{fc}\r", &["bob"], &["z@x.org"])));
    step("a checkpoint", &|| store.place.journal.checkpoint(&store.place));
    step("alice removes the first and the last", &|| case.remove("alice", &[0, 2], || ()).unwrap());
    step("bob removes the last", &|| case.remove("bob", &[3], || ()).unwrap());
    step("carl removes all", &|| case.remove("carl", &[0], || ()).unwrap());
    step("one of two recipients of the first item has it", &|| {
        run(async {
            let items = store.browse().await.unwrap();
            store.claim(&items[0]).await.unwrap().unwrap().settle(&["a@x.org".parse().unwrap()]).await.unwrap();
        });
    });
    step("the items behind it are delivered", &|| {
        run(async {
            for item in &store.browse().await.unwrap()[1..] {
                store.claim(item).await.unwrap().unwrap().settle(&["z@x.org".parse().unwrap()]).await.unwrap();
            }
        });
    });
    step("the queue is looked at", &|| drop(run(store.browse()).unwrap()));
    step("the end", &|| {
        store.place.journal.close(&store.place);
        store.place.lock_file.close(&store.place);
    });
    let mut lines = shown.lines;
    for name in ["alice.mbox", "bob.mbox", "carl.mbox", "mqueue"] {
        let content = fs::read(case.dir.path().join(name)).unwrap();
        lines.push_str(&format!("--- {name}, {} octets\n{}\n", content.len(), Shown::octets(name, &content)));
    }
    compare("disk", &lines);
}

/// Compares with what was when the golden file was made.
pub(crate) fn compare(name: &str, now: &str) {
    let file: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/golden", &format!("{name}.txt")].iter().collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, now).unwrap();
    }
    let before = fs::read_to_string(&file).unwrap_or_default();
    let differs = (1..).zip(now.lines().zip(before.lines())).find(|(_, (now, before))| now != before);
    assert!(now == before, "{} is not what is now: {differs:?}", file.display());
}
