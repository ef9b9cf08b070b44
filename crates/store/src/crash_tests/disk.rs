//! A disk, simulated: it knows what of each file and folder was flushed and what was not, and says what a file system may
//! show when the power comes back. States are put into a real folder, so that the real recovery finds them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::{Case, Random};
use crate::files::tests::Operation;

/// What disks write whole.
const SECTOR: usize = 512;
/// What file systems clear when a file is cut.
const BLOCK: usize = 4096;

/// A file as the disk has it, and what has been done to it since it was flushed.
#[derive(Clone, Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    /// What a flush that failed was to write, and what later flushes have written; whether it is certain.
    doubtful: Vec<(Change, bool)>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(Vec<u8>, usize),
    SetLen(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(octets, at) => {
                if content.len() < at + octets.len() {
                    content.resize(at + octets.len(), 0);
                }
                content[*at..at + octets.len()].copy_from_slice(octets);
            }
            Self::SetLen(octets) => content.resize(*octets, 0),
        }
    }
}

/// A change of names in one folder.
#[derive(Clone, Debug)]
enum Naming {
    Add(PathBuf, u64),
    Remove(PathBuf),
    Replace { from: PathBuf, to: PathBuf, inode: u64 },
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Add(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
            Self::Replace { from, to, inode } => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

/// A file system while the workload goes on.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    inodes: BTreeMap<u64, Inode>,
    durable_names: BTreeMap<PathBuf, u64>,
    /// As programs see them.
    names: BTreeMap<PathBuf, u64>,
    pending_names: BTreeMap<PathBuf, Vec<Naming>>,
}

impl Disk {
    /// All that is there is durable; the files have the inodes that they have now.
    pub(super) fn durable(state: &Files) -> Self {
        let mut disk = Self::default();
        for path in state.keys() {
            disk.add(path.clone(), path.metadata().unwrap().ino(), fs::read(path).unwrap());
        }
        disk
    }

    /// A file that is durable.
    pub(super) fn add(&mut self, path: PathBuf, inode: u64, durable: Vec<u8>) {
        self.inodes.insert(inode, Inode { durable, ..Inode::default() });
        self.names.insert(path.clone(), inode);
        self.durable_names.insert(path, inode);
    }

    /// The same, where the files have the inodes now that they were put into.
    pub(super) fn moved(&self, case: &Case, state: &Files) -> Self {
        // Of other files without a name nobody asks for the number.
        let number = |inode: u64| if kept(case, inode).exists() { inode } else { inode | 1 << 62 };
        let mut inodes: BTreeMap<u64, u64> = self.inodes.keys().map(|inode| (*inode, number(*inode))).collect();
        for (path, (inode, _)) in state {
            inodes.insert(*inode, path.metadata().unwrap().ino());
        }
        let named = |names: &BTreeMap<PathBuf, u64>| {
            names.iter().map(|(path, inode)| (path.clone(), inodes[inode])).collect::<BTreeMap<_, _>>()
        };
        let naming = |naming: &Naming| match naming.clone() {
            Naming::Add(path, inode) => Naming::Add(path, inodes[&inode]),
            Naming::Replace { from, to, inode } => Naming::Replace { from, to, inode: inodes[&inode] },
            remove @ Naming::Remove(_) => remove,
        };
        let pending = self.pending_names.iter();
        Self {
            inodes: self.inodes.iter().map(|(inode, file)| (inodes[inode], file.clone())).collect(),
            durable_names: named(&self.durable_names),
            names: named(&self.names),
            pending_names: pending.map(|(dir, all)| (dir.clone(), all.iter().map(naming).collect())).collect(),
        }
    }

    fn name(&mut self, naming: Naming) {
        let (Naming::Add(path, _) | Naming::Remove(path) | Naming::Replace { to: path, .. }) = &naming;
        let dir = path.parent().unwrap().to_owned();
        naming.apply(&mut self.names);
        self.pending_names.entry(dir).or_default().push(naming);
    }

    pub(super) fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Create(path, inode) => {
                self.inodes.insert(*inode, Inode::default());
                self.name(Naming::Add(path.clone(), *inode));
            }
            Operation::Write(inode, octets, at) => {
                let at = usize::try_from(*at).unwrap();
                self.inodes.get_mut(inode).unwrap().pending.push(Change::Write(octets.clone(), at));
            }
            Operation::SetLen(inode, octets) => {
                let octets = usize::try_from(*octets).unwrap();
                self.inodes.get_mut(inode).unwrap().pending.push(Change::SetLen(octets));
            }
            Operation::Sync(inode) => {
                let Inode { durable, doubtful, pending } = self.inodes.get_mut(inode).unwrap();
                if doubtful.is_empty() {
                    pending.drain(..).for_each(|change| change.apply(durable));
                } else {
                    doubtful.extend(pending.drain(..).map(|change| (change, true)));
                    // A file system that cannot write down how long a file is says so, again and again.
                    doubtful.push((Change::Write(Vec::new(), 0), true));
                }
            }
            Operation::FailedSync(inode) => {
                let Inode { doubtful, pending, .. } = self.inodes.get_mut(inode).unwrap();
                doubtful.extend(pending.drain(..).map(|change| (change, false)));
            }
            Operation::Rename(from, to) => {
                let inode = self.names[from];
                self.name(Naming::Replace { from: from.clone(), to: to.clone(), inode });
            }
            Operation::Link(from, to) => self.name(Naming::Add(to.clone(), self.names[from])),
            Operation::Remove(path) => self.name(Naming::Remove(path.clone())),
            Operation::SyncDir(dir) => {
                let pending = self.pending_names.remove(dir).unwrap_or_default();
                pending.iter().for_each(|naming| naming.apply(&mut self.durable_names));
            }
        }
    }

    /// All that failed flushes were to write is on the disk. Whether there was any.
    pub(super) fn end_doubt(&mut self) -> bool {
        let mut doubts = self.inodes.values_mut().flat_map(|file| &mut file.doubtful).peekable();
        let were_any = doubts.peek().is_some();
        doubts.for_each(|(_, is_certain)| *is_certain = true);
        were_any
    }

    /// What may be there when the power comes back. `mood` says how much of what was not flushed is.
    pub(super) fn after_power_cut(&self, random: &mut Random, mood: Mood) -> Files {
        let mut names = self.durable_names.clone();
        for pending in self.pending_names.values() {
            // A folder's changes come to the disk in their order, as journalling file systems write them.
            let kept = match mood {
                Mood::All => pending.len(),
                Mood::Nothing => 0,
                _ => random.below(pending.len() + 1),
            };
            pending[..kept].iter().for_each(|naming| naming.apply(&mut names));
        }
        let mut contents: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for inode in names.values().collect::<BTreeSet<_>>() {
            contents.insert(*inode, self.inodes[inode].after_power_cut(random, mood));
        }
        names.into_iter().map(|(path, inode)| (path, (inode, contents[&inode].clone()))).collect()
    }
}

/// How a power cut takes what was not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    All,
    Nothing,
    /// Each sector and each size on its own.
    Sectors,
    /// The size is the newest, as if it had been written first; the data is there sector by sector.
    SizeFirst,
    /// Up to some operation, as if they had been written in order; the last one by half.
    Prefix,
}

impl Inode {
    /// What is on the disk without what is pending. Of what a flush did not bring there for certain each sector may be.
    fn settled(&self, random: &mut Random, mood: Mood) -> Vec<u8> {
        let mut content = self.durable.clone();
        let last = self.doubtful.iter().rposition(|(_, is_certain)| *is_certain);
        for (number, (change, is_certain)) in self.doubtful.iter().enumerate() {
            // A later flush of the file brings at least its length to the disk.
            let is_sized = last.is_some_and(|last| number < last);
            match change {
                _ if *is_certain || mood == Mood::All => change.apply(&mut content),
                Change::SetLen(_) if is_sized || random.below(2) == 0 => change.apply(&mut content),
                Change::SetLen(_) => {}
                Change::Write(octets, at) => {
                    if is_sized && content.len() < at + octets.len() {
                        content.resize(at + octets.len(), 0);
                    }
                    for (number, sector) in octets.chunks(SECTOR).enumerate() {
                        if mood != Mood::Nothing && random.below(3) > 0 {
                            Change::Write(sector.to_vec(), at + number * SECTOR).apply(&mut content);
                        }
                    }
                }
            }
        }
        content
    }

    fn after_power_cut(&self, random: &mut Random, mood: Mood) -> Vec<u8> {
        let mut states = vec![self.settled(random, mood)];
        for change in &self.pending {
            let mut next = states.last().unwrap().clone();
            change.apply(&mut next);
            states.push(next);
        }
        let newest = states.last().unwrap().clone();
        match mood {
            Mood::All => return newest,
            Mood::Nothing => return states.swap_remove(0),
            Mood::Prefix => {
                let kept = random.below(states.len());
                let mut content = states[kept].clone();
                if let Some(Change::Write(octets, at)) = self.pending.get(kept) {
                    let sectors = random.below(octets.len() / SECTOR + 1) * SECTOR;
                    Change::Write(octets[..sectors].to_vec(), *at).apply(&mut content);
                }
                return content;
            }
            Mood::Sectors | Mood::SizeFirst => {}
        }
        let chosen = if mood == Mood::SizeFirst { states.len() - 1 } else { random.below(states.len()) };
        let mut content = vec![0; states[chosen].len()];
        for (number, sector) in content.chunks_mut(SECTOR).enumerate() {
            let begin = number * SECTOR;
            let mut from = random.below(states.len());
            // Cutting a file writes zeros up to the end of a block, and the size later; it takes nothing else away.
            let is_zeroed = begin < states[from].len().next_multiple_of(BLOCK);
            if from > chosen && states[from].len() < begin + sector.len() && !is_zeroed {
                from = chosen;
            }
            let state = &states[from];
            let (begin, end) = (begin.min(state.len()), (begin + sector.len()).min(state.len()));
            sector[..end - begin].copy_from_slice(&state[begin..end]);
        }
        content
    }
}

/// Where a mailbox is kept while another file is in its place.
pub(super) fn kept(case: &Case, inode: u64) -> PathBuf {
    let folder = case.dir.path().join("kept");
    fs::create_dir_all(&folder).unwrap();
    folder.join(inode.to_string())
}

/// The files there may be after a power cut: the inode that each had, and its content.
pub(super) type Files = BTreeMap<PathBuf, (u64, Vec<u8>)>;

/// Puts a state into the folder. Mailboxes have the inodes they had, because journals name them.
pub(super) fn put(case: &Case, state: &Files) {
    let place = &case.store.place;
    for folder in [&place.dir, &*place.side, &place.segments] {
        for name in super::names_in(folder) {
            let path = folder.join(name);
            if path.is_file() && !(state.contains_key(&path) && folder == place.dir.as_path()) {
                fs::remove_file(path).unwrap();
            }
        }
    }
    for (path, (inode, content)) in state {
        if path.extension().is_some_and(|extension| extension == "mbox") && kept(case, *inode).exists() {
            fs::rename(path, kept(case, path.metadata().unwrap().ino())).unwrap();
            fs::rename(kept(case, *inode), path).unwrap();
        }
        fs::write(path, content).unwrap();
        if path.extension().is_some_and(|extension| extension == "lock") {
            // It is of before the system was started.
            let made = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
            OpenOptions::new().write(true).open(path).unwrap().set_modified(made).unwrap();
        }
    }
    // The system has been started since.
    case.reboot();
}
