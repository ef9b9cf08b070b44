//! The intent of a delivery: a small file that says which mailboxes are being appended to, and how long they were.
//!
//! It covers processes that are killed. It is complete by its name: it is written and locked under another name first.
//! Its owner holds a lock on it, so that others know whether the owner lives. It is not flushed, and counts for one boot
//! only: after a power cut a file system may bring back an intent that had been removed, and cutting by it could cut
//! newer mail.

use std::collections::HashSet;
use std::fmt::Write;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::StoreError;
use crate::locks::{WHOLE, is_locked, try_lock};
use crate::place::{Place, is_known_name, open_if_there};

/// First line of an intent.
const TITLE: &str = "pillarbox append 2";
/// Last line of an intent.
const END: &str = "end";

/// An intent of this process, while the delivery lasts.
#[derive(Debug)]
pub(crate) struct Intent {
    path: PathBuf,
    _locked: File,
    _live: Live,
}

/// What is to become of one mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) inode: u64,
    /// Octets before.
    pub(crate) old: u64,
    /// Octets when the delivery is complete.
    pub(crate) new: u64,
    /// Octets of the entry, which ends at `new`; in front of it there may be a line end.
    pub(crate) octets: u64,
    /// Hash of the entry. Another program may write behind a torn one, so the length alone says nothing.
    pub(crate) hash: u64,
}

/// An intent of anybody.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    /// The mailboxes, or `None` if it is of an earlier boot or cannot be read: then it says nothing.
    pub(crate) targets: Option<Vec<Target>>,
    /// The lock on it: its owner is dead. `None`: its owner lives, or somebody else is settling it.
    pub(crate) lock: Option<File>,
}

impl Intent {
    /// Announces a delivery.
    pub(crate) fn create(place: &Place, targets: &[Target]) -> Result<Self, StoreError> {
        let written = place.unique(&place.appends, "new-");
        let path = place.unique(&place.appends, "");
        let live = Live::new(&path);
        let file = place.files.create_new(&written)?;
        // Nobody else can have a lock on it yet.
        let announced = try_lock(&file, &written)
            .and_then(|_| place.files.write_all_at(&file, &written, show(targets).as_bytes(), 0))
            .and_then(|()| place.files.rename(&written, &path));
        match announced {
            Ok(()) => Ok(Self { path, _locked: file, _live: live }),
            Err(error) => {
                // If this fails the next start removes it.
                let _ = place.files.remove(&written);
                Err(error)
            }
        }
    }

    /// The delivery is over.
    pub(crate) fn remove(&self, place: &Place) -> Result<(), StoreError> {
        place.files.remove(&self.path)
    }
}

/// Whether this is an intent of a delivery that is under way in this process. Such deliveries are many, and whoever has
/// the turn of a mailbox knows that none of them is about it, without reading them all.
pub(crate) fn is_live(path: &Path) -> bool {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner).contains(path)
}

static LIVE: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

/// An entry of [`LIVE`].
#[derive(Debug)]
struct Live(PathBuf);

impl Live {
    fn new(path: &Path) -> Self {
        LIVE.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
        Self(path.to_owned())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        LIVE.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

impl Found {
    /// The intent at `path`, if it is still there.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, StoreError> {
        let failed = |source| StoreError::io(path, source);
        let is_there = |result: io::Result<_>| match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some).map_err(failed),
        };
        let Some(mut file) = is_there(File::options().read(true).write(true).open(path))? else { return Ok(None) };
        let locked = try_lock(&file, path)?;
        // Whoever removes it has the lock. So if it is still there now, it stays as long as we have the lock.
        if is_there(File::open(path))?.is_none() {
            return Ok(None);
        }
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(failed)?;
        let targets = std::str::from_utf8(&content).ok().and_then(parse);
        Ok(Some(Self { path: path.to_owned(), targets, lock: locked.then_some(file) }))
    }
}

/// An intent of anybody, looked at without touching it.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The mailboxes, or `None` if it is of an earlier boot or cannot be read: then it says nothing.
    pub(crate) targets: Option<Vec<Target>>,
    /// Its owner lives, or somebody else is settling it.
    pub(crate) is_live: bool,
}

impl Seen {
    /// The intent at `path`, if it is still there.
    pub(crate) fn look(path: &Path) -> Result<Option<Self>, StoreError> {
        let Some(mut file) = open_if_there(path)? else { return Ok(None) };
        let is_live = is_locked(&file, path, WHOLE)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(|source| StoreError::io(path, source))?;
        // Whoever removes it has the lock: without one, and there all the same, it is nobody's.
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        Ok(Some(Self { targets: std::str::from_utf8(&content).ok().and_then(parse), is_live }))
    }
}

/// What tells one boot of the system from another; empty where the system does not say, and then all are one.
static BOOT: LazyLock<String> = LazyLock::new(|| {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or_else(|_| String::new(), |id| id.trim().to_owned())
});

fn show(targets: &[Target]) -> String {
    let mut content = format!("{TITLE}\nboot {}\n", *BOOT);
    for Target { name, inode, old, new, octets, hash } in targets {
        // Writing to a string does not fail.
        let _ = writeln!(content, "mailbox {name} inode {inode} old {old} new {new} octets {octets} hash {hash:016x}");
    }
    content + END + "\n"
}

fn parse(content: &str) -> Option<Vec<Target>> {
    let mut lines = content.strip_suffix('\n')?.lines();
    if lines.next()? != TITLE || lines.next()?.strip_prefix("boot ")? != *BOOT || lines.next_back()? != END {
        return None;
    }
    lines.map(parse_target).collect()
}

fn parse_target(line: &str) -> Option<Target> {
    match line.split(' ').collect::<Vec<_>>()[..] {
        ["mailbox", name, "inode", inode, "old", old, "new", new, "octets", octets, "hash", hash]
            if is_known_name(name) =>
        {
            let target = Target {
                name: name.to_owned(),
                inode: inode.parse().ok()?,
                old: old.parse().ok()?,
                new: new.parse().ok()?,
                octets: octets.parse().ok()?,
                hash: u64::from_str_radix(hash, 16).ok()?,
            };
            (target.new.checked_sub(target.octets)? >= target.old).then_some(target)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_is_read_as_it_was_written_or_not_at_all() {
        let targets = vec![
            Target { name: "alice".to_owned(), inode: 7, old: 0, new: 100, octets: 100, hash: 1 },
            Target { name: "bob.b+c_d-e".to_owned(), inode: u64::MAX, old: 5, new: 106, octets: 100, hash: u64::MAX },
        ];
        let content = show(&targets);
        assert_eq!(parse(&content), Some(targets));
        for cut in 0..content.len() {
            assert_eq!(parse(&content[..cut]), None, "cut at {cut}");
        }
        assert_eq!(parse(&content.replace("boot ", "boot x")), None, "another boot");
        assert_eq!(parse(&content.replace("alice", "../alice")), None, "no name of a mailbox");
        assert_eq!(parse(&content.replace("old 0", "old -1")), None, "no length");
        assert_eq!(parse(&content.replace("octets 100", "octets 107")), None, "longer than what was added");
    }
}
