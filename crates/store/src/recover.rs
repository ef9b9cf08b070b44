//! Repairs what dead processes have left: at the start, and whenever a mailbox was locked (`docs/durability.md`,
//! "Recovery").

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::StoreError;
use crate::append::{cut_back, inode_and_size};
use crate::files::not_found;
use crate::from_line::FROM;
use crate::intent::{Found, Target, is_live};
use crate::locks::{Locked, Turn};
use crate::place::{Place, is_known_name, is_left_behind, read_at};
use crate::redo::{self, Redone};
use crate::scan::scan;

/// Repairs everything in the folder that no living process looks after. What cannot be repaired now becomes a note, and
/// is tried again by the next one to lock the mailbox.
///
/// # Errors
/// The working folder cannot be read.
pub(crate) fn start(place: &Arc<Place>) -> Result<(), StoreError> {
    let or_note = |result: Result<(), StoreError>| {
        if let Err(error) = result {
            place.note(|notes| notes.problem(format!("not repaired yet: {error}")));
        }
    };
    or_note(sweep(place));
    for file in place.names_in(&place.side)? {
        if let Some(name) = file.strip_suffix(".update").filter(|name| is_known_name(name)) {
            or_note(redo_or_leave(place, name));
        } else if let Some(name) = file.strip_suffix(".update.tmp").filter(|name| is_known_name(name)) {
            or_note(remove_unless_locked(place, name, &place.side.join(&file)));
        }
    }
    or_note(settle_intents(place, &[]).map(drop));
    for file in place.names_in(&place.dir)? {
        if let Some(name) = Place::name_of_dotlock(&file) {
            // Locking removes a stale dotlock, for which programs of others would wait. What is had is given back.
            or_note(lock_now(place, name).map(drop));
        }
    }
    Ok(())
}

/// Repairs what concerns mailboxes that have just been locked. Names a mailbox that has to be locked as well and cannot
/// be now: then nothing may be done with these either.
///
/// # Errors
/// They must not be touched before they are repaired.
pub(crate) fn repair(place: &Arc<Place>, locked: &mut [Locked]) -> Result<Option<String>, StoreError> {
    for mailbox in &mut *locked {
        redo_locked(place, mailbox)?;
    }
    settle_intents(place, locked)
}

/// Removes temporary files of dead processes.
fn sweep(place: &Place) -> Result<(), StoreError> {
    for (folder, kinds) in [(&*place.side, &["lock-", "stale-"][..]), (&place.appends, &["new-"])] {
        for file in place.names_in(folder)? {
            let left_behind = kinds.iter().any(|kind| file.strip_prefix(kind).is_some_and(is_left_behind));
            // `tempfile` makes these for a moment where a file system knows no files without a name.
            if left_behind || file.starts_with(".tmp") {
                remove(place, &folder.join(&file))?;
            }
        }
    }
    Ok(())
}

fn remove(place: &Place, path: &Path) -> Result<(), StoreError> {
    match place.files.remove(path) {
        Ok(()) => {
            place.note(|notes| notes.files_removed += 1);
            Ok(())
        }
        Err(error) if not_found(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes a record that was never completed, unless somebody has the mailbox, who may be writing it.
fn remove_unless_locked(place: &Arc<Place>, name: &str, path: &Path) -> Result<(), StoreError> {
    match lock_now(place, name)? {
        Some(None) => Ok(()),
        Some(Some(_)) | None => remove(place, path),
    }
}

/// Locks a mailbox without waiting: `None` if there is no such mailbox, `Some(None)` if it cannot be locked now.
fn lock_now(place: &Arc<Place>, name: &str) -> Result<Option<Option<Locked>>, StoreError> {
    let Some(turn) = Turn::try_take(place, name) else { return Ok(Some(None)) };
    match Locked::try_new(place, turn) {
        Ok(locked) => Ok(Some(locked.ok())),
        Err(StoreError::NoSuchMailbox { .. }) => Ok(None),
        // It may become a mailbox again.
        Err(StoreError::HardLinked { .. }) => Ok(Some(None)),
        Err(error) => Err(error),
    }
}

/// Finishes a removal, unless somebody else has the mailbox, who then does.
fn redo_or_leave(place: &Arc<Place>, name: &str) -> Result<(), StoreError> {
    match lock_now(place, name)? {
        Some(Some(mut mailbox)) => redo_locked(place, &mut mailbox),
        Some(None) => Ok(()),
        None => {
            let redone = redo::put_aside(place, name)?;
            note_redone(place, name, redone);
            Ok(())
        }
    }
}

fn redo_locked(place: &Place, mailbox: &mut Locked) -> Result<(), StoreError> {
    let redone = redo::redo(place, mailbox)?;
    note_redone(place, &mailbox.name, redone);
    Ok(())
}

fn note_redone(place: &Place, name: &str, redone: Redone) {
    match redone {
        Redone::Nothing => {}
        Redone::Finished => place.note(|notes| notes.updates_finished += 1),
        Redone::PutAside(path) => place.note(|notes| {
            notes.problem(format!(
                "the removal that was begun in {name} no longer fits the mailbox; what was to remain is in {}",
                path.display()
            ));
        }),
    }
}

/// Settles the intents of dead processes: those that name one of the mailboxes `locked`, or all, if there are none of
/// these. Other mailboxes they name are locked for the purpose. Names one that cannot be locked now; then its intent
/// stays as it is.
fn settle_intents(place: &Arc<Place>, locked: &[Locked]) -> Result<Option<String>, StoreError> {
    let ours = |target: &&Target| locked.iter().any(|mailbox| mailbox.name == target.name);
    let mut busy = None;
    for file in place.names_in(&place.appends)? {
        let path = place.appends.join(&file);
        // Those that are still being written, and anything that is not ours.
        if !file.starts_with(|first: char| first.is_ascii_digit()) || is_live(&path) {
            continue;
        }
        let Some(intent) = Found::open(&path)? else { continue };
        match (&intent.targets, &intent.lock) {
            (None, None) => {}
            (None, Some(_)) => {
                remove(place, &intent.path)?;
                place.note(|notes| {
                    notes.problem(format!("{file}: an intent of an earlier boot; a mailbox may end in a torn message"));
                });
            }
            // Its owner would have these mailboxes locked. So its owner is dead, and somebody else is settling it.
            (Some(targets), None) => busy = targets.iter().find(ours).map(|target| target.name.clone()).or(busy),
            (Some(targets), Some(_)) if locked.is_empty() || targets.iter().any(|target| ours(&target)) => {
                match settle(place, locked, targets)? {
                    Some(name) => busy = Some(name),
                    None => place.files.remove(&intent.path)?,
                }
            }
            (Some(_), Some(_)) => {}
        }
    }
    Ok(busy)
}

/// Keeps a delivery that is complete, and undoes one that is not. Names a mailbox that cannot be locked now.
fn settle(place: &Arc<Place>, locked: &[Locked], targets: &[Target]) -> Result<Option<String>, StoreError> {
    let mut others = Vec::new();
    for target in targets {
        if !locked.iter().any(|mailbox| mailbox.name == target.name) {
            match lock_now(place, &target.name)? {
                Some(Some(mailbox)) => others.push(mailbox),
                Some(None) => return Ok(Some(target.name.clone())),
                None => {}
            }
        }
    }
    let mut found = Vec::new();
    let mut are_whole = true;
    for target in targets {
        if let Some(mailbox) = locked.iter().chain(&others).find(|mailbox| mailbox.name == target.name) {
            let (inode, size) = inode_and_size(mailbox)?;
            if inode == target.inode {
                are_whole = are_whole && size >= target.new && is_whole(mailbox, target)?;
                found.push((mailbox, target, size));
            }
        }
    }
    if found.len() == targets.len() && are_whole {
        for (mailbox, ..) in &found {
            place.files.sync_data(&mailbox.file, &mailbox.path)?;
        }
        place.note(|notes| notes.deliveries_kept += 1);
        return Ok(None);
    }
    for (mailbox, target, size) in found {
        if size <= target.old {
            continue;
        }
        if size <= target.new && is_ours(mailbox, target.old).map_err(|source| StoreError::io(&mailbox.path, source))? {
            cut_back(place, mailbox, target.old)?;
        } else {
            place.note(|notes| {
                notes.problem(format!(
                    "{}: another program has written behind a message that may be torn, which begins at octet {}; both stay",
                    mailbox.path.display(),
                    target.old
                ));
            });
        }
    }
    place.note(|notes| notes.deliveries_undone += 1);
    Ok(None)
}

/// Whether the message stands there as it was to be. Another program may have written behind a torn one.
fn is_whole(mailbox: &Locked, target: &Target) -> Result<bool, StoreError> {
    let range = target.new - target.octets..target.new;
    Ok(redo::hash(&mailbox.file, &mailbox.path, range)? == target.hash)
}

/// Whether what stands behind `old` can be the beginning of one entry: another program would have begun a second.
fn is_ours(mailbox: &Locked, old: u64) -> io::Result<bool> {
    let file: &File = &mailbox.file;
    // A line end may come first, if the mailbox had none; then our `From ` line.
    let mut begin = [0; FROM.len() + 2];
    let filled = read_at(file, &mut begin, old)?;
    let begin = &begin[..filled];
    let line = begin.trim_ascii_start();
    let skipped = (begin.len() - line.len()) as u64;
    if !line.starts_with(&FROM[..FROM.len().min(line.len())]) {
        return Ok(false);
    }
    let entries = scan(|buffer, offset| read_at(file, buffer, old + skipped + offset))?;
    Ok(entries.len() <= 1)
}
