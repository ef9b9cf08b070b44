//! What programs of ours have left behind: what is under way, what waits for recovery, and what nobody will look at.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Check, Severity, file_of, holder, names_in, open_mailbox, users, why_not_private};
use crate::journal::is_segment;
use crate::journal::segment::Found;
use crate::locks::{WHOLE, is_locked};
use crate::place::{FileId, Place, is_known_name, is_left_behind, known_as};
use crate::{StoreError, dotlock, index, redo};

/// What a file in `.pillarbox` is, by its name. A new kind of file gets a variant here and a judgement in
/// [`judge_side_file`].
enum SideFile<'a> {
    /// The redo record of this mailbox.
    Record(&'a str),
    /// A redo record of this mailbox that is being written.
    RecordTmp(&'a str),
    /// A redo record that fits no mailbox.
    Orphan,
    /// Made for a moment by a process that lives.
    Passing,
    /// Made for a moment by a process that is gone.
    Left,
    /// There for its locks.
    Lock,
    /// The index of this mailbox.
    Index(&'a str),
    /// The folder of the journals.
    Journal,
    Unknown,
}

impl<'a> SideFile<'a> {
    fn of(file: &'a str) -> Self {
        let known = |suffix| file.strip_suffix(suffix).filter(|name| is_known_name(name));
        if file == "journal" {
            Self::Journal
        } else if ["mqueue.claims", "listening"].contains(&file) || known(".maildrop").is_some() {
            Self::Lock
        } else if let Some(name) = known(".index") {
            Self::Index(name)
        } else if let Some(name) = known(".update") {
            Self::Record(name)
        } else if let Some(name) = known(".update.tmp") {
            Self::RecordTmp(name)
        } else if is_orphan(file) {
            Self::Orphan
        } else if let Some(of) = file.strip_prefix("lock-").or(file.strip_prefix("stale-")) {
            if is_left_behind(of) { Self::Left } else { Self::Passing }
        } else if file.starts_with(".tmp") {
            // A text that is being received, where a file system knows no files without a name.
            Self::Passing
        } else {
            Self::Unknown
        }
    }
}

/// `NAME.update.orphan-N`.
fn is_orphan(file: &str) -> bool {
    let Some((name, number)) = file.rsplit_once(".update.orphan-") else { return false };
    is_known_name(name) && number.parse::<u64>().is_ok()
}

/// Dotlocks that nobody will give back. The living ones are told with their mailboxes.
pub(super) fn dotlocks(check: &mut Check<'_>, names: &[OsString]) {
    for file in names.iter().filter_map(|file| file.to_str()) {
        let Some(name) = Place::name_of_dotlock(file) else { continue };
        match is_stale(check.place, name) {
            Ok(true) => check.find(Severity::Warning, file, None, "stale dotlock: its owner is gone, or it is old"),
            Ok(false) => {}
            Err(error) => check.unread(file, error),
        }
    }
}

fn is_stale(place: &Place, name: &str) -> Result<bool, StoreError> {
    let path = place.mailbox(name);
    let is_ours = open_mailbox(place, name).map_or(Ok(false), |file| is_locked(&file, &path, WHOLE))?;
    Ok(dotlock::Found::look(place, name)?.is_some_and(|dotlock| dotlock.is_stale(is_ours)))
}

/// Everything in the working folder.
pub(super) fn working_folder(check: &mut Check<'_>) {
    let place = check.place;
    let side = file_of(&place.side);
    if !is_ours(check, &place.side, &side) {
        return;
    }
    let files = match names_in(&place.side) {
        Ok(files) => files,
        Err(error) => return check.unread(&side, error),
    };
    for file in files {
        let shown = format!("{side}/{}", file.to_string_lossy());
        if let Err(error) = judge_side_file(check, SideFile::of(&file.to_string_lossy()), &shown) {
            check.unread(&shown, error);
        }
    }
}

/// Whether there is such a folder, and it can be looked into. Tells if it is not as it should be.
fn is_ours(check: &mut Check<'_>, folder: &Path, shown: &str) -> bool {
    // Where there is none, no server has run yet.
    let Ok(metadata) = folder.symlink_metadata() else { return false };
    if let Some(why) = why_not_private(&metadata, users(check.place)) {
        check.find(Severity::Error, shown, None, why);
    }
    metadata.is_dir()
}

fn judge_side_file(check: &mut Check<'_>, file: SideFile<'_>, shown: &str) -> Result<(), StoreError> {
    let (severity, what) = match file {
        SideFile::Passing | SideFile::Lock => return Ok(()),
        SideFile::Journal => return segments(check, shown),
        SideFile::Record(name) => return record(check, name, shown),
        SideFile::Index(name) => return judge_index(check, name, shown),
        SideFile::RecordTmp(name) => {
            let mailbox = open_mailbox(check.place, name);
            match mailbox.map_or(Ok(None), |mailbox| holder(check.place, name, &mailbox))? {
                Some(_) => return Ok(()),
                None => (Severity::Info, "a removal that was never decided; the next start removes this"),
            }
        }
        SideFile::Orphan => {
            (Severity::Warning, "what a removal was to leave of a mailbox that it did not fit; mail is in it")
        }
        SideFile::Left => (Severity::Info, "of a process that is gone; the next start removes it"),
        SideFile::Unknown => (Severity::Info, "none of our files"),
    };
    check.find(severity, shown, None, what);
    Ok(())
}

/// Judges a redo record: is the removal under way, does it wait to be finished, or can nobody finish it.
fn record(check: &mut Check<'_>, name: &str, shown: &str) -> Result<(), StoreError> {
    let place = check.place;
    let mailbox = open_mailbox(place, name);
    let is_held =
        || mailbox.as_ref().map_or(Ok(None), |mailbox| holder(place, name, mailbox)).map(|held| held.is_some());
    let before = state(&place.update(name));
    let was_held = is_held()?;
    let seen = redo::look(place, name, mailbox.as_ref());
    if was_held || is_held()? || state(&place.update(name)) != before {
        if state(&place.update(name)).is_some() {
            check.find(Severity::Busy, shown, None, format!("a removal in {} is under way", known_as(name)));
        }
        return Ok(());
    }
    let (severity, what) = match seen? {
        None => return Ok(()),
        Some(redo::Seen::Waits(gap)) => (
            Severity::Pending,
            format!("a removal in {}, from octet {gap} on, is not finished; the next start does it", known_as(name)),
        ),
        Some(redo::Seen::Unfit) => {
            (Severity::Error, format!("a removal that no longer fits the mailbox {}; mail is in it", known_as(name)))
        }
        Some(redo::Seen::Broken) => (
            Severity::Error,
            format!("a removal in {} that cannot be read to its end; mail may be in it", known_as(name)),
        ),
    };
    check.find(severity, shown, None, what);
    Ok(())
}

/// Judges an index by itself. What it says about the mailbox is judged with that.
fn judge_index(check: &mut Check<'_>, name: &str, shown: &str) -> Result<(), StoreError> {
    let place = check.place;
    let metadata = open_mailbox(place, name).and_then(|mailbox| mailbox.metadata().ok());
    if metadata.is_none() {
        check.find(Severity::Info, shown, None, "the index of a mailbox that is gone");
        return Ok(());
    }
    let before = state(&place.index(name));
    let is_broken = matches!(index::look(place, name, metadata.as_ref())?, Some(index::Seen::Broken));
    // It may have been written meanwhile, or be in the middle of that.
    let is_held = open_mailbox(place, name).map_or(Ok(None), |mailbox| holder(place, name, &mailbox))?.is_some();
    if is_broken && !is_held && state(&place.index(name)) == before {
        check.find(
            Severity::Info,
            shown,
            None,
            "an index that is not what was written; the next session makes it anew",
        );
    }
    Ok(())
}

/// What a file is now; `None` if it is gone.
fn state(path: &Path) -> Option<(u64, u64, i64, i64)> {
    path.symlink_metadata().ok().map(|now| (now.ino(), now.len(), now.mtime(), now.mtime_nsec()))
}

/// Judges the segments of the journals: what is under way, and what waits to be done again.
fn segments(check: &mut Check<'_>, folder: &str) -> Result<(), StoreError> {
    let place = check.place;
    if !is_ours(check, &place.segments, folder) {
        return Ok(());
    }
    for file in names_in(&place.segments)? {
        let shown = format!("{folder}/{}", file.to_string_lossy());
        let found = match file.to_str() {
            Some(name) if is_segment(name) => judge_segment(&place.segments.join(name)),
            Some(name) if name.strip_prefix("new-").is_some_and(is_left_behind) => {
                Ok(Some((Severity::Info, "of a process that is gone; the next start removes it".to_owned())))
            }
            Some(name) if name.starts_with("new-") => Ok(None),
            _ => Ok(Some((Severity::Info, "none of our files".to_owned()))),
        };
        match found {
            Ok(None) => {}
            Ok(Some((severity, what))) => check.find(severity, &shown, None, what),
            Err(error) => check.unread(&shown, error),
        }
    }
    Ok(())
}

fn judge_segment(path: &Path) -> Result<Option<(Severity, String)>, StoreError> {
    let Some(found) = Found::look(path)? else { return Ok(None) };
    let is_live = found.is_live()?;
    let Some(content) = found.read()? else {
        // It is gone now, or used again, if its writer lives.
        let what = "a journal that cannot be read; accepted mail may be in it";
        return Ok((!is_live).then(|| (Severity::Error, what.to_owned())));
    };
    let mut unsettled = content.unsettled();
    if is_live {
        unsettled.retain(|unsettled| !unsettled.is_applied());
    }
    let names: BTreeSet<&str> = unsettled.iter().map(|unsettled| known_as(&unsettled.placement().name)).collect();
    let names = names.into_iter().collect::<Vec<_>>().join(", ");
    Ok(match (is_live, names.is_empty()) {
        (true, true) => None,
        (true, false) => Some((Severity::Busy, format!("{names}: being written to"))),
        (false, true) => Some((Severity::Info, "of a process that is gone; the next start removes it".to_owned())),
        (false, false) => {
            Some((Severity::Pending, format!("{names}: accepted mail or a removal that the next start looks after")))
        }
    })
}

/// From which octet on a mailbox is not settled, and why, if something of ours says so.
pub(super) fn unsettled_from(
    place: &Place,
    name: &str,
    file: &File,
    metadata: &Metadata,
) -> Result<Option<(u64, Severity)>, StoreError> {
    let mut unsettled: Option<(u64, Severity)> = None;
    let mut add = |from, severity| {
        let earlier = unsettled.is_none_or(|(earliest, _)| from < earliest);
        unsettled = if earlier { Some((from, severity)) } else { unsettled };
    };
    if let Some(redo::Seen::Waits(gap)) = redo::look(place, name, Some(file))? {
        add(gap, Severity::Pending);
    }
    if !place.segments.is_dir() {
        return Ok(unsettled);
    }
    for segment in names_in(&place.segments)?.iter().filter_map(|file| file.to_str()).filter(|file| is_segment(file)) {
        let Some(found) = Found::look(&place.segments.join(segment))? else { continue };
        let is_live = found.is_live()?;
        let severity = if is_live { Severity::Busy } else { Severity::Pending };
        let Some(content) = found.read()? else { continue };
        for unsettled in content.unsettled() {
            let placement = unsettled.placement();
            let waits = !(is_live && unsettled.is_applied());
            if placement.name == name && FileId::of(metadata).is(placement.file) && waits {
                add(placement.at, severity);
            }
        }
    }
    Ok(unsettled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_working_folder_is_ours_alone() {
        let dir = tempfile::tempdir().unwrap();
        let metadata = dir.path().metadata().unwrap();
        let user = metadata.uid();
        assert_eq!(why_not_private(&metadata, [user, user + 1]), None);
        assert_eq!(why_not_private(&metadata, [user + 1, user]), None);
        let why = why_not_private(&metadata, [user + 1, user + 2]).unwrap();
        assert!(why.contains(&format!("belongs to user {user}")), "{why}");
    }
}
