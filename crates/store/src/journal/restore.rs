//! Makes one mailbox what the journals of dead processes say: each message that was accepted is there once, and none by
//! half. What other programs have done meanwhile stays. The cases are in `docs/durability.md`, "Recovery".

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use memchr::memmem::{self, Finder};

use super::record::{BLOCK_OCTETS, Context, Cut, Delivery, Large, Placement, Shape, block_hash};
use super::segment::Unsettled;
use crate::StoreError;
use crate::append::{append_again, cut_back, file_and_size};
use crate::from_line::{FROM, FROM_LINE_MAX_OCTETS, is_from_line};
use crate::locks::Locked;
use crate::place::{FileId, Place, read_at};
use crate::redo::Source;
use crate::update::rewrite_settled;

/// How much is searched at once.
const SEARCH_OCTETS: usize = if cfg!(test) { 1024 } else { 1024 * 1024 };
/// How much in front of a block is looked at.
const LEAD_OCTETS: usize = 64;
/// How many octets of an entry are searched for; the others are compared where these are found.
const NEEDLE_OCTETS: usize = 256;

/// What a journal says about a mailbox.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    pub(crate) unsettled: Unsettled<'a>,
    /// It was written since the system was started, and the disk mounted: what was written to mailboxes can only be missing because somebody
    /// has removed it.
    pub(crate) this_era: bool,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restored {
    /// Messages that were missing or torn.
    pub(crate) delivered: usize,
    /// Messages that were never accepted, and were cut off.
    pub(crate) undone: usize,
    /// Removals that were decided, and were not done.
    pub(crate) removals: usize,
}

/// Restores a mailbox from all that is unsettled about it, and makes it durable. May be done again at any time, also
/// when it was not finished.
///
/// # Errors
/// The mailbox must not be used before this has succeeded.
pub(crate) fn restore(place: &Place, mailbox: &mut Locked, mut items: Vec<Item<'_>>) -> Result<Restored, StoreError> {
    // A mailbox grows, so this is the order in which they came, whoever wrote them.
    items.sort_by_key(|item| item.unsettled.placement().at);
    // Of a message that a recovery has delivered anew, only the last place counts.
    let mut ids = HashSet::new();
    items.reverse();
    items.retain(|item| ids.insert(item.unsettled.id()));
    items.reverse();
    let mut restored = Restored::default();
    let (file, _) = file_and_size(mailbox)?;
    let is_replaced = items.iter().any(|item| !file.is(item.unsettled.placement().file));
    // Before the end of a mailbox is cut off, all that stands in front of that in the journals is settled. So what comes
    // beside it came later, when it had been done; and it may be the same as what was cut off.
    if items.iter().any(|item| !matches!(item.unsettled, Unsettled::Cut { .. })) {
        items.retain(|item| !matches!(item.unsettled, Unsettled::Cut { .. }));
    }
    // Where messages are that have been found. Two may be the same, octet for octet.
    let mut taken = Vec::new();
    let mut missing = Vec::new();
    for item in items {
        if let Unsettled::Delivery { delivery, placement, .. } = item.unsettled
            && file.is(placement.file)
        {
            let entry = delivery.entry(placement);
            if read(mailbox, placement.at, entry.len())? == entry {
                // A flush of it may have failed, here or in a recovery before this one: only a new one after writing it
                // again counts.
                place.files.write_all_at(&mailbox.file, &mailbox.path, &entry, placement.at)?;
                taken.push(placement.at + u64::from(placement.line_end));
                continue;
            }
        }
        missing.push(item);
    }
    let mut moved = false;
    for item in missing {
        match item.unsettled {
            // Somebody has removed it; it is done.
            Unsettled::Cut { applied: true, .. } if item.this_era => {}
            Unsettled::Delivery { delivery, placement, applied: true }
                if item.this_era && !(file.is(placement.file) && is_lost(mailbox, delivery, placement)?) => {}
            Unsettled::Cut { cut: what, .. } => {
                if cut(place, mailbox, what)? {
                    restored.removals += 1;
                }
            }
            Unsettled::Delivery { delivery, placement, .. } => {
                if deliver(place, mailbox, delivery, placement, &mut taken, &mut moved)? {
                    restored.delivered += 1;
                }
            }
            Unsettled::Large { large, placement } if file.is(placement.file) => {
                if undo(place, mailbox, large, placement)? {
                    restored.undone += 1;
                }
            }
            Unsettled::Large { .. } => {}
        }
    }
    mailbox.sync_data(place)?;
    if is_replaced {
        // Nothing is done in the file that was replaced; so it must not come back.
        place.journal.make_names_durable(place, std::slice::from_ref(mailbox))?;
    }
    Ok(restored)
}

/// Puts a message into the mailbox, unless it is there or somebody has removed it. Whether it was put there. `moved` says
/// whether one before it had to go to another place, and is set when this one has to.
fn deliver(
    place: &Place,
    mailbox: &mut Locked,
    delivery: &Delivery,
    placement: &Placement,
    taken: &mut Vec<u64>,
    moved: &mut bool,
) -> Result<bool, StoreError> {
    let (file, size) = file_and_size(mailbox)?;
    let entry = delivery.entry(placement);
    let message = &entry[usize::from(placement.line_end)..];
    // What stood in front of it was durable, or has been restored by now. So if it is not there, somebody who had read
    // this message has rewritten the mailbox.
    if !file.is(placement.file) || !is_in_context(mailbox, placement)? {
        if take_if_found(mailbox, message, taken)? || !*moved {
            return Ok(false);
        }
        return append(place, mailbox, delivery.id, message, taken);
    }
    let there = read(mailbox, placement.at, entry.len())?;
    // What is on the disk already is ours; what is not there yet reads as zeros.
    let foreign = there.iter().zip(&entry).position(|(there, ours)| there != ours && *there != 0);
    let Some(differs) = foreign else {
        let written = place.files.write_all_at(&mailbox.file, &mailbox.path, &entry, placement.at);
        // Until it is whole, other programs keep off.
        written.inspect_err(|_| mailbox.leave_dotlock())?;
        taken.push(placement.at + u64::from(placement.line_end));
        return Ok(true);
    };
    let is_holed = there[..differs] != entry[..differs];
    let theirs = match from_line_before(mailbox, placement.at, differs)? {
        Some(theirs) => Some(theirs),
        None if is_holed => Some(placement.at + differs as u64),
        // Nothing of ours is here: it was never written.
        None if differs < usize::from(placement.line_end) + first_line(message) => None,
        // Somebody has edited the message.
        None => return Ok(false),
    };
    if take_if_found(mailbox, message, taken)? {
        return Ok(false);
    }
    *moved = true;
    if let Some(theirs) = theirs {
        cut_out(place, mailbox, (file, size), placement, theirs)?;
    }
    append(place, mailbox, delivery.id, message, taken)
}

/// Whether there is room for a message in its place, and nothing but zeros is in the way. So it is when it could not be
/// brought to the disk, and the system has read the mailbox from there since.
fn is_lost(mailbox: &Locked, delivery: &Delivery, placement: &Placement) -> Result<bool, StoreError> {
    let entry = delivery.entry(placement);
    let there = read(mailbox, placement.at, entry.len())?;
    let is_ours = |(there, ours): (&u8, &u8)| there == ours || *there == 0;
    Ok(there.len() == entry.len() && there.iter().zip(&entry).all(is_ours))
}

/// Whether the mailbox still has in front of a place what it had.
fn is_in_context(mailbox: &Locked, placement: &Placement) -> Result<bool, StoreError> {
    let octets = usize::from(placement.context.octets);
    let before = read(mailbox, placement.at.saturating_sub(octets as u64), octets)?;
    Ok(file_and_size(mailbox)?.1 >= placement.at && Context::of(&before) == placement.context)
}

/// Removes the beginning of our message, behind which another program has written its own.
fn cut_out(
    place: &Place,
    mailbox: &mut Locked,
    which: (FileId, u64),
    placement: &Placement,
    theirs: u64,
) -> Result<(), StoreError> {
    let (file, path) = (Arc::clone(&mailbox.file), mailbox.path.clone());
    let part = Source::Part { file: &file, path: &path, range: theirs..which.1 };
    let tail = [Source::New(placement.line_end()), part];
    rewrite_settled(place, mailbox, which, placement.at, &tail)
}

/// Delivers a message anew, at the end of the mailbox. The journal of this process says so first, under the same id: this
/// may be cut short as well.
fn append(
    place: &Place,
    mailbox: &mut Locked,
    id: u64,
    message: &[u8],
    taken: &mut Vec<u64>,
) -> Result<bool, StoreError> {
    let at = append_again(place, mailbox, id, message)?;
    taken.push(at);
    Ok(true)
}

/// Octets of the first line, its line end included.
fn first_line(message: &[u8]) -> usize {
    memchr::memchr(b'\n', message).map_or(message.len(), |lf| lf + 1)
}

/// Where another program has begun its message behind our torn one, of which `octets` are there at the most.
fn from_line_before(mailbox: &Locked, at: u64, octets: usize) -> Result<Option<u64>, StoreError> {
    // A line end may come first, and look like ours or not.
    let skip = octets.saturating_sub(FROM_LINE_MAX_OCTETS).max(3);
    let start = at + skip as u64;
    let window = read(mailbox, start, octets.saturating_sub(skip) + 2 + FROM_LINE_MAX_OCTETS)?;
    Ok(last_from_line(&window, octets.saturating_sub(skip)).map(|found| start + found as u64))
}

/// The last place where a `From ` line begins, also in the middle of a line, that reaches beyond `end`. One that does not
/// is a line of our own text.
fn last_from_line(window: &[u8], end: usize) -> Option<usize> {
    let lines = memmem::find_iter(window, FROM).take_while(|begin| *begin <= end + 2);
    lines.filter(|begin| from_line(&window[*begin..]).is_some_and(|line| begin + line.len() > end)).last()
}

/// The `From ` line that something begins with, if it is one.
fn from_line(octets: &[u8]) -> Option<&[u8]> {
    let line = &octets[..first_line(octets)];
    is_from_line(line).then_some(line)
}

/// Looks for a message in the whole mailbox, where no other has been found.
fn take_if_found(mailbox: &Locked, message: &[u8], taken: &mut Vec<u64>) -> Result<bool, StoreError> {
    let finder = Finder::new(&message[..message.len().min(NEEDLE_OCTETS)]);
    let mut at = 0;
    loop {
        let block = read(mailbox, at, SEARCH_OCTETS + NEEDLE_OCTETS)?;
        for found in finder.find_iter(&block) {
            let found = at + found as u64;
            if !taken.contains(&found) && read(mailbox, found, message.len())? == message {
                taken.push(found);
                return Ok(true);
            }
        }
        if block.len() < SEARCH_OCTETS + NEEDLE_OCTETS {
            return Ok(false);
        }
        at += SEARCH_OCTETS as u64;
    }
}

/// Cuts off what was to be removed, if it is still there. What has come behind it stays. Whether it was there.
fn cut(place: &Place, mailbox: &mut Locked, cut: &Cut) -> Result<bool, StoreError> {
    let (file, size) = file_and_size(mailbox)?;
    let Cut { placement, size: old, rest, .. } = cut;
    let is_there =
        file.is(placement.file) && size >= *old && rest.is_in(&mailbox.file, &mailbox.path, placement.at..*old)?;
    if is_there && size == *old {
        cut_back(place, mailbox, placement.at)?;
    } else if is_there {
        cut_out(place, mailbox, (file, size), placement, *old)?;
    }
    Ok(is_there)
}

/// Cuts a message off that was never accepted. Whether there was anything of it.
fn undo(place: &Place, mailbox: &mut Locked, large: &Large, placement: &Placement) -> Result<bool, StoreError> {
    let (file, size) = file_and_size(mailbox)?;
    let start = placement.at;
    if size <= start {
        return Ok(false);
    }
    let Some(shape) = large.shapes.get(usize::from(placement.head)) else { return Ok(false) };
    if !is_in_context(mailbox, placement)? {
        return Ok(false);
    }
    let entry = start + u64::from(placement.line_end);
    let end = entry + shape.octets;
    let Some(theirs) = theirs(mailbox, shape, entry..end, size)? else {
        cut_back(place, mailbox, start)?;
        return Ok(true);
    };
    if theirs <= entry {
        // There is nothing of ours.
        return Ok(false);
    }
    cut_out(place, mailbox, (file, size), placement, theirs)?;
    Ok(true)
}

/// Where another program's message begins behind the beginning of ours, if there is one.
fn theirs(mailbox: &Locked, shape: &Shape, ours: Range<u64>, size: u64) -> Result<Option<u64>, StoreError> {
    let begin = read(mailbox, ours.start, 2 * FROM_LINE_MAX_OCTETS)?;
    let same = begin.iter().zip(&shape.from_line).take_while(|(there, ours)| there == ours).count();
    // What our own program wrote may read as zeros after a power cut.
    if same < shape.from_line.len() && begin.get(same).is_some_and(|octet| *octet != 0) {
        // Less than our first line is there, or nothing.
        let mut begins = memmem::find_iter(&begin, FROM).filter(|begin| (1..=same + 2).contains(begin));
        let found = begins.find(|found| from_line(&begin[*found..]).is_some());
        return Ok(Some(ours.start + found.unwrap_or(0) as u64));
    }
    let mut at = ours.start;
    for hash in &shape.blocks {
        let octets = usize::try_from(ours.end - at).map_or(BLOCK_OCTETS, |left| left.min(BLOCK_OCTETS));
        let block = read(mailbox, at, octets)?;
        if block.len() < octets || block_hash(&block) != *hash {
            // Not our own line, and none that is quoted in our text: that shows in front of it.
            let lead = usize::try_from(at - ours.start).map_or(LEAD_OCTETS, |before| before.min(LEAD_OCTETS));
            let window = read(mailbox, at - lead as u64, lead + octets + FROM_LINE_MAX_OCTETS)?;
            let is_theirs = |begin: &usize| *begin >= lead.max(1) && !is_quoted(&window[..*begin]);
            let mut begins = memmem::find_iter(&window, FROM).filter(is_theirs);
            let found = begins.find(|begin| from_line(&window[*begin..]).is_some()).map(|begin| begin - lead);
            if let Some(found) = found {
                return Ok(Some(at + found as u64));
            }
        }
        at += octets as u64;
        if at >= size {
            return Ok(None);
        }
    }
    Ok((size > ours.end).then_some(ours.end))
}

/// Whether what follows is quoted: `>` and perhaps more of them stand in front of it, at the start of a line.
fn is_quoted(before: &[u8]) -> bool {
    let kept = before.iter().rposition(|octet| *octet != b'>').map_or(0, |last| last + 1);
    let line = &before[..kept];
    line.len() < before.len() && line.last().is_none_or(|octet| *octet == b'\n')
}

/// Up to `octets` octets from `at` on, as far as the file goes.
fn read(mailbox: &Locked, at: u64, octets: usize) -> Result<Vec<u8>, StoreError> {
    let mut there = vec![0; octets];
    let read = read_at(&mailbox.file, &mut there, at).map_err(|source| StoreError::io(&mailbox.path, source))?;
    there.truncate(read);
    Ok(there)
}
