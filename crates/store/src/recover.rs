//! Repairs what dead processes have left: at the start, and whenever a mailbox was locked (`docs/durability.md`,
//! "Recovery").

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::files::not_found;
use crate::journal::restore::{Item, restore};
use crate::journal::segment::{Content, is_of_era};
use crate::locks::{self, Locked};
use crate::place::{Place, is_known_name, is_left_behind, known_as};
use crate::redo::{self, Redone};
use crate::{StoreError, dotlock};

/// Most mailboxes that are repaired together at the start: each takes two descriptors.
const TOGETHER_MAX: usize = 64;

/// Repairs everything in the folder that no living process looks after. What cannot be repaired now becomes a note, and
/// is tried again by the next one to lock the mailbox.
///
/// # Errors
/// The working folder cannot be read.
pub(crate) fn start(place: &Arc<Place>) -> Result<(), StoreError> {
    let or_note = |result| or_note(place, result);
    for file in place.names_in(&place.side)? {
        if let Some(name) = file.strip_suffix(".update").filter(|name| is_known_name(name)) {
            or_note(redo_or_leave(place, name));
        } else if let Some(name) = file.strip_suffix(".update.tmp").filter(|name| is_known_name(name)) {
            or_note(remove_unless_locked(place, name, &place.side.join(&file)));
        }
    }
    or_note(replay_all(place));
    for path in place.journal.strange(place)? {
        let what = "counts for nothing: it has further names, or belongs to somebody else";
        place.note(|notes| notes.problem(format!("{}: {what}", path.display())));
    }
    for file in place.names_in(&place.dir)? {
        if let Some(name) = Place::name_of_dotlock(&file) {
            // Locking removes a stale dotlock, for which programs of others would wait. What is had is given back.
            or_note(lock_now(place, name).map(drop));
        }
    }
    // Behind that: of a dotlock without content the name of another file says whose it is.
    or_note(sweep(place));
    Ok(())
}

/// Repairs what is in journals that are given up. What cannot be repaired now becomes a note.
pub(crate) fn again(place: &Arc<Place>) {
    or_note(place, replay_all(place));
}

fn or_note(place: &Place, result: Result<(), StoreError>) {
    if let Err(error) = result {
        place.note(|notes| notes.problem(format!("not repaired yet: {error}")));
    }
}

/// Repairs what concerns mailboxes that have just been locked. Names one that somebody else is repairing: then nothing
/// may be done with them yet.
///
/// # Errors
/// They must not be touched before they are repaired.
pub(crate) fn repair(place: &Arc<Place>, locked: &mut [Locked]) -> Result<Option<String>, StoreError> {
    for mailbox in &mut *locked {
        redo_locked(place, mailbox)?;
    }
    replay(place, locked)
}

/// Removes temporary files of dead processes.
fn sweep(place: &Place) -> Result<(), StoreError> {
    for (folder, kinds) in [(&*place.side, &[dotlock::KIND, "stale-"][..]), (&place.segments, &["new-"])] {
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
    match locks::lock_now(place, name) {
        Ok(locked) => Ok(Some(locked)),
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
                "the removal that was begun in {} no longer fits the mailbox; what was to remain is in {}",
                known_as(name),
                path.display()
            ));
        }),
    }
}

/// Does again what the journals of dead processes say about mailboxes that are locked. Names one that somebody else is
/// looking after.
fn replay(place: &Place, locked: &mut [Locked]) -> Result<Option<String>, StoreError> {
    let dead = place.journal.dead(place)?;
    if dead.is_empty() {
        return Ok(None);
    }
    // Read under the locks: what a process has written about a mailbox before it gave the lock back is all there.
    let mut contents = Vec::new();
    for found in &dead {
        let is_ours = found.try_recover()?;
        if let Some(content) = found.read()? {
            contents.push((found, is_ours, content));
        }
    }
    for mailbox in &*locked {
        let is_about = |content: &Content| content.is_about(&mailbox.name);
        if contents.iter().any(|(_, is_ours, content)| !is_ours && is_about(content)) {
            return Ok(Some(mailbox.name.clone()));
        }
    }
    for (found, _, content) in contents.iter().filter(|(_, is_ours, _)| *is_ours) {
        if locked.iter().any(|mailbox| content.is_about(&mailbox.name)) {
            place.journal.make_durable(place, found, content)?;
        }
    }
    let mut done = BTreeSet::new();
    let mut result = Ok(());
    for mailbox in &mut *locked {
        let mut items = Vec::new();
        for (_, is_ours, content) in &contents {
            let this_era = is_of_era(&content.header, &place.era());
            let unsettled = content.unsettled().into_iter().filter(|_| *is_ours);
            let about = unsettled.filter(|unsettled| unsettled.placement().name == mailbox.name);
            items.extend(about.map(|unsettled| Item { unsettled, this_era }));
        }
        if items.is_empty() {
            continue;
        }
        match restore(place, mailbox, items) {
            Ok(restored) => {
                place.note(|notes| {
                    notes.deliveries_finished += restored.delivered;
                    notes.deliveries_undone += restored.undone;
                    notes.updates_finished += restored.removals;
                });
                done.insert(mailbox.name.as_str());
            }
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    if !done.is_empty() {
        // Before any of them is unlocked: what is removed then must not come back.
        for (found, _, _) in contents.iter().filter(|(_, is_ours, _)| *is_ours) {
            found.settle(place, &done, || Ok(()))?;
        }
    }
    result?;
    for (found, is_ours, _) in contents {
        if is_ours && found.read()?.is_none_or(|content| content.unsettled().is_empty()) {
            remove(place, &found.path)?;
            place.journal.forget(found);
        }
    }
    Ok(None)
}

/// Does again what the journals of dead processes say, as far as nobody has the mailboxes, who then does.
fn replay_all(place: &Arc<Place>) -> Result<(), StoreError> {
    let mut names = BTreeSet::new();
    for found in place.journal.dead(place)? {
        if let Some(content) = found.read()? {
            names.extend(content.unsettled().iter().map(|unsettled| unsettled.placement().name.clone()));
        } else if found.try_recover()? {
            place.note(|notes| notes.problem(format!("{}: is no journal, or is damaged", found.path.display())));
        }
    }
    let names: Vec<String> = names.into_iter().collect();
    let mut result = Ok(());
    // Many at once, because each time all journals are read.
    for names in names.chunks(TOGETHER_MAX) {
        let mut locked = Vec::new();
        for name in names {
            match lock_now(place, name)? {
                Some(Some(mailbox)) => locked.push(mailbox),
                Some(None) => {}
                None => forget(place, name)?,
            }
        }
        if repair(place, &mut locked).is_err() {
            // One that cannot be repaired is in nobody's way.
            for mailbox in &mut locked {
                result = result.and(repair(place, std::slice::from_mut(mailbox)).map(drop));
            }
        }
    }
    result?;
    replay(place, &mut []).map(drop)
}

/// The mailbox was removed, and the mail with it.
fn forget(place: &Place, name: &str) -> Result<(), StoreError> {
    for found in place.journal.dead(place)? {
        if found.try_recover()? {
            found.settle(place, &BTreeSet::from([name]), || Ok(()))?;
        }
    }
    Ok(())
}
