//! Says whether the mailboxes and the queue of a folder are sound, and what is wrong where. Changes nothing.
//!
//! No lock is taken, so nobody is held up. What is being written to meanwhile is told apart from what is damaged:
//! a finding counts only if nobody had the lock of the mailbox before and after it was read, and if the file was the
//! same then. What a dead process has left in the middle of its work is told apart too, by the leftovers that recovery
//! goes by: see `docs/fsck.md`.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::unistd::Uid;
use pillarbox_proto::shown;

use crate::locks::{WHOLE, is_locked};
use crate::place::{EXTENSION, Place, QUEUE, open_if_there, open_to_look};
use crate::{StoreError, dotlock, index, is_mailbox_name, queue};

mod content;
mod leftovers;

/// How often a mailbox is looked at that changes meanwhile.
const TRIES: usize = 3;

/// Between two tries. Programs hold the lock of a mailbox for about as long.
const PAUSE: Duration = Duration::from_millis(50);

/// Most findings of one file that are told one by one; a number stands for the others.
const FINDINGS_MAX: usize = 100;

/// What the check of a folder has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Everything that is worth a line, file by file.
    pub findings: Vec<Finding>,
    /// Mailboxes, those that could not be read included.
    pub mailboxes: u64,
    /// Messages in the mailboxes that were read.
    pub messages: u64,
    /// Octets of the mailboxes and of the queue that were read, as they are stored.
    pub octets: u64,
    /// Items in the queue.
    pub queued: u64,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file, from the folder on.
    pub file: String,
    /// Where in the file it begins, in octets from 0.
    pub octet: Option<u64>,
    /// What is to be said about it, in words.
    pub what: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Good to know.
    Info,
    /// It may be meant so, or be harmless; a person should look at it.
    Warning,
    /// Somebody is writing at this moment. Nothing can be said.
    Busy,
    /// A dead process has left it unfinished. The next start finishes or undoes it.
    Pending,
    /// The system does not let it be read.
    Unread,
    /// It is damaged.
    Error,
}

/// What a report says as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong.
    Sound,
    /// Nothing is wrong so far, but something is being written to, or waits for recovery.
    Unsettled,
    /// Nothing is wrong in what could be read.
    Unread,
    /// Something is wrong.
    Damaged,
}

/// How far a check has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Octets read so far; each is read twice.
    pub done: u64,
    /// Octets to be read, as far as is known.
    pub total: u64,
}

/// Checks the folder `dir`, which may be a link. `progress` is told again and again how far it is. Blocks the thread.
///
/// # Errors
/// [`StoreError::Io`] when the folder cannot be listed. A file in it that cannot be read is a finding.
pub fn check(dir: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Report, StoreError> {
    let place = Place::find(dir)?;
    let names = names_in(&place.dir)?;
    let mut check = Check { place: &place, report: Report::default(), done: 0, total: 0, progress };
    let mut mailboxes = Vec::new();
    for file in names.iter().filter(|file| file.as_encoded_bytes().ends_with(EXTENSION.as_bytes())) {
        mailboxes.extend(check.is_mailbox(file).map(|name| (name, file.to_string_lossy().into_owned())));
    }
    check.report.mailboxes = mailboxes.len() as u64;
    let queue = place.mailbox(QUEUE);
    if queue.symlink_metadata().is_ok() {
        mailboxes.extend(check.is_queue(&queue).then(|| (QUEUE.to_owned(), file_of(&queue))));
    }
    let octets = |(name, _): &(String, String)| place.mailbox(name).metadata().map_or(0, |metadata| metadata.len());
    check.total = mailboxes.iter().map(octets).sum::<u64>() * 2;
    for (name, file) in &mailboxes {
        if let Err(error) = check.mailbox(name, file) {
            check.unread(file, error);
        }
    }
    leftovers::dotlocks(&mut check, &names);
    leftovers::working_folder(&mut check);
    Ok(check.report)
}

impl Report {
    /// What all findings come to.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self.findings.iter().map(|finding| finding.severity).max() {
            None | Some(Severity::Info | Severity::Warning) => Verdict::Sound,
            Some(Severity::Busy | Severity::Pending) => Verdict::Unsettled,
            Some(Severity::Unread) => Verdict::Unread,
            Some(Severity::Error) => Verdict::Damaged,
        }
    }

    /// How many findings are of this severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

/// `FILE: octet N: SEVERITY: what`, without line end.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Anybody may have made the file, and what is in it.
        write!(f, "{}: ", shown(self.file.as_bytes()))?;
        if let Some(octet) = self.octet {
            write!(f, "octet {octet}: ")?;
        }
        write!(f, "{}: {}", self.severity, shown(self.what.as_bytes()))
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Busy => "busy",
            Self::Pending => "pending",
            Self::Unread => "unread",
            Self::Error => "error",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sound => "sound",
            Self::Unsettled => "unsettled",
            Self::Unread => "unread",
            Self::Damaged => "damaged",
        })
    }
}

/// A check under way.
struct Check<'a> {
    place: &'a Place,
    report: Report,
    done: u64,
    total: u64,
    progress: &'a mut dyn FnMut(Progress),
}

/// What became of one look at a mailbox.
enum Look {
    /// It was the same all the time, and nobody had it.
    Settled(content::Content),
    /// Somebody has it, or had it meanwhile.
    Busy(String),
    /// It is gone.
    Gone,
}

impl Check<'_> {
    fn find(&mut self, severity: Severity, file: &str, octet: Option<u64>, what: impl Into<String>) {
        self.report.findings.push(Finding { severity, file: file.to_owned(), octet, what: what.into() });
    }

    fn unread(&mut self, file: &str, error: StoreError) {
        let what = match error {
            // The path is said already.
            StoreError::Io { source, .. } | StoreError::Full { source, .. } => source.to_string(),
            other => other.to_string(),
        };
        self.find(Severity::Unread, file, None, what);
    }

    /// So many octets more were read.
    fn step(&mut self, octets: u64) {
        self.done += octets;
        (self.progress)(Progress { done: self.done, total: self.total.max(self.done) });
    }

    /// The name of the mailbox that this file is, if it is one (C-S6). If not, it looks as if it were.
    fn is_mailbox(&mut self, file: &OsString) -> Option<String> {
        let shown = file.to_string_lossy();
        let name = file.to_str().and_then(|file| file.strip_suffix(EXTENSION));
        let why_not = match name.filter(|name| is_mailbox_name(name)) {
            None => "its name is none of a mailbox".to_owned(),
            Some(name) => match self.place.mailbox(name).symlink_metadata().map(|metadata| why_no_mailbox(&metadata)) {
                Ok(None) => return Some(name.to_owned()),
                Ok(Some(why_not)) => why_not,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
                Err(source) => {
                    self.unread(&shown, StoreError::io(&self.place.dir.join(file), source));
                    return None;
                }
            },
        };
        self.find(Severity::Warning, &shown, None, format!("no mailbox: {why_not}"));
        None
    }

    fn is_queue(&mut self, path: &Path) -> bool {
        match path.symlink_metadata().map(|metadata| why_no_mailbox(&metadata)) {
            Ok(None) => return true,
            Ok(Some(why_not)) => self.find(Severity::Warning, &file_of(path), None, format!("no queue: {why_not}")),
            Err(source) => self.unread(&file_of(path), StoreError::io(path, source)),
        }
        false
    }

    /// Checks a mailbox, or the queue.
    fn mailbox(&mut self, name: &str, file: &str) -> Result<(), StoreError> {
        let mut busy = String::new();
        for attempt in 0..TRIES {
            if attempt > 0 {
                thread::sleep(PAUSE);
            }
            match self.look(name)? {
                Look::Gone => return Ok(()),
                Look::Busy(why) => busy = why,
                Look::Settled(content) => {
                    self.report.octets += content.octets;
                    self.index(name, &content);
                    let entries = content.entries.len() as u64;
                    let mut claims = Ok(());
                    if name == QUEUE {
                        self.report.queued = entries;
                        claims = self.claims(file, &content);
                    } else {
                        self.report.messages += entries;
                    }
                    self.tell(file, content);
                    return claims;
                }
            }
        }
        self.find(Severity::Busy, file, None, format!("{busy}; not checked"));
        Ok(())
    }

    /// Whether the index of a mailbox says what is there, if it is about the file as it was read.
    fn index(&mut self, name: &str, content: &content::Content) {
        let path = self.place.mailbox(name);
        let metadata = path.symlink_metadata().ok().filter(|metadata| metadata.len() == content.octets);
        if let Ok(Some(index::Seen::Current(entries))) = index::look(self.place, name, metadata.as_ref())
            && *entries != *content.entries
        {
            let shown = format!("{}/{}", file_of(&self.place.side), file_of(&self.place.index(name)));
            self.find(Severity::Warning, &shown, None, "says other things than its mailbox; remove it");
        }
    }

    fn look(&mut self, name: &str) -> Result<Look, StoreError> {
        let path = self.place.mailbox(name);
        let Some(file) = open_if_there(&path)? else { return Ok(Look::Gone) };
        let before = file.metadata().map_err(|source| StoreError::io(&path, source))?;
        if let Some(holder) = holder(self.place, name, &file)? {
            return Ok(Look::Busy(holder));
        }
        let content = self.read(name, &file, &before);
        if let Some(holder) = holder(self.place, name, &file)? {
            return Ok(Look::Busy(holder));
        }
        if !self.is_same(name, &file, &before)? {
            return Ok(Look::Busy("it changes".to_owned()));
        }
        content.map(Look::Settled)
    }

    fn read(&mut self, name: &str, file: &File, metadata: &Metadata) -> Result<content::Content, StoreError> {
        let again = file.try_clone().map_err(|source| StoreError::io(&self.place.mailbox(name), source))?;
        let mut content = content::read(self, name, again)?;
        if !content.faults.is_empty() {
            // Looked for behind the reading: whoever died meanwhile has left them behind by now, and whoever cleaned up
            // has changed the file.
            content.unsettled = leftovers::unsettled_from(self.place, name, file, metadata)?;
        }
        Ok(content)
    }

    /// Whether the file that was opened is unchanged, and the mailbox.
    fn is_same(&self, name: &str, file: &File, before: &Metadata) -> Result<bool, StoreError> {
        let path = self.place.mailbox(name);
        let state = |metadata: &Metadata| {
            let times = (metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec());
            (metadata.dev(), metadata.ino(), metadata.len(), times)
        };
        let now = file.metadata().map_err(|source| StoreError::io(&path, source))?;
        let is_named = path.symlink_metadata().is_ok_and(|named| state(&named) == state(&now));
        Ok(is_named && state(&now) == state(before))
    }

    /// What is wrong with the content of a file, as far as it is settled.
    fn tell(&mut self, file: &str, mut content: content::Content) {
        content.faults.sort_by_key(|(octet, _)| *octet);
        let all = content.faults.len();
        let unsettled = content.unsettled.filter(|(from, _)| {
            content.faults.retain(|(octet, _)| octet < from);
            content.faults.len() < all
        });
        let mut faults = content.faults.into_iter();
        for (octet, fault) in faults.by_ref().take(FINDINGS_MAX) {
            self.find(fault.severity(), file, Some(octet), fault.to_string());
        }
        let rest: Vec<_> = faults.collect();
        if let (Some((octet, _)), Some(worst)) = (rest.first(), rest.iter().map(|(_, fault)| fault.severity()).max()) {
            self.find(worst, file, Some(*octet), format!("and {} more findings from here on", rest.len()));
        }
        if let Some((from, severity)) = unsettled {
            let what = match severity {
                Severity::Busy => "what follows is being written",
                _ => "what follows was not finished; the next start puts it right",
            };
            self.find(severity, file, Some(from), what);
        }
    }

    /// Which items somebody is sending.
    fn claims(&mut self, file: &str, content: &content::Content) -> Result<(), StoreError> {
        let path = self.place.claims();
        let Some(claims) = open_if_there(&path)? else { return Ok(()) };
        for entry in &content.entries {
            if queue::is_claimed(&claims, &path, entry.identity)? {
                self.find(Severity::Info, file, Some(entry.start), "the item is being sent");
            }
        }
        Ok(())
    }
}

/// Who has a mailbox now, in words: by the lock of the open `file`, or by the dotlock.
fn holder(place: &Place, name: &str, file: &File) -> Result<Option<String>, StoreError> {
    if is_locked(file, &place.mailbox(name), WHOLE)? {
        return Ok(Some("a program has locked it".to_owned()));
    }
    // A program of ours that has the dotlock has the other lock as well: so a dotlock of this process is a leftover.
    let dotlock = dotlock::Found::look(place, name)?.filter(|dotlock| !dotlock.is_stale(false));
    Ok(dotlock.map(|dotlock| match dotlock.owner {
        Some(pid) if pid > 0 => format!("process {pid} has its dotlock"),
        _ => "a program has its dotlock".to_owned(),
    }))
}

/// Why this is no mailbox, if it is none (C-S6).
fn why_no_mailbox(metadata: &Metadata) -> Option<String> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return (metadata.nlink() > 1).then(|| format!("it has {} hard links", metadata.nlink()));
    }
    let kind = if kind.is_symlink() {
        "a link"
    } else if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a pipe"
    } else {
        "a device or a socket"
    };
    Some(format!("it is {kind}"))
}

/// What is wrong with a working folder, if anything: `ours` are the users it may belong to.
fn why_not_private(metadata: &Metadata, ours: [u32; 2]) -> Option<String> {
    if !metadata.is_dir() {
        return Some("is no folder; move it out of the way".to_owned());
    }
    if !ours.contains(&metadata.uid()) {
        return Some(format!("belongs to user {}, who can change what recovery does", metadata.uid()));
    }
    let mode = metadata.mode() & 0o7777;
    (mode & 0o022 != 0).then(|| format!("others may write to it (mode {mode:04o}), and change what recovery does"))
}

/// The users whose working folder this may be: the owner of the folder, and the one who checks.
fn users(place: &Place) -> [u32; 2] {
    let us = Uid::effective().as_raw();
    [place.dir.metadata().map_or(us, |metadata| metadata.uid()), us]
}

/// The names of the files in a folder, sorted.
fn names_in(folder: &Path) -> Result<Vec<OsString>, StoreError> {
    let failed = |source| StoreError::io(folder, source);
    let mut names = Vec::new();
    for file in fs::read_dir(folder).map_err(failed)? {
        names.push(file.map_err(failed)?.file_name());
    }
    names.sort_unstable();
    Ok(names)
}

/// The last part of a path of ours.
fn file_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A mailbox that can be read; `None` if there is none of this name.
fn open_mailbox(place: &Place, name: &str) -> Option<File> {
    open_to_look(&place.mailbox(name)).ok().filter(|file| file.metadata().is_ok_and(|metadata| metadata.is_file()))
}
