//! Delivery: appends one message to several mailboxes, all or nothing (C-S8, C-S9).
//!
//! The states on disk, and what a crash makes of each, are in `docs/durability.md` under "Delivery".

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use xxhash_rust::xxh3::Xxh3;

use crate::intent::{Intent, Target};
use crate::locks::Locked;
use crate::place::{Place, read_at};
use crate::quote::Quoter;
use crate::scan::missing_end;
use crate::{StoreError, Text};

/// How much is written at once.
const WRITE_OCTETS: usize = 256 * 1024;

/// Appends an entry (head, quoted text, separator) to each mailbox and makes it durable. `head` gives, by the name of
/// the mailbox, what begins the entry: the `From ` line, and for the queue the envelope.
///
/// # Errors
/// On any error every mailbox is as it was, or if that fails too, an intent and the dotlocks stay, and the next one to
/// lock one of them cuts it back.
pub(crate) fn deliver<'a>(
    place: &Place,
    mailboxes: &mut [Locked],
    head: impl Fn(&str) -> &'a str,
    text: &Text,
) -> Result<(), StoreError> {
    // There are two kinds of heads at the most: that of mailboxes, and that of the queue.
    let mut measured: Vec<(&str, u64, u64)> = Vec::new();
    let mut ends = Vec::with_capacity(mailboxes.len());
    let mut targets = Vec::with_capacity(mailboxes.len());
    for mailbox in &*mailboxes {
        let (inode, old) = inode_and_size(mailbox)?;
        let end = missing_end(last_octet(mailbox, old)?);
        let head = head(&mailbox.name);
        let (octets, hash) = match measured.iter().find(|(of, ..)| *of == head) {
            Some((_, octets, hash)) => (*octets, *hash),
            None => {
                let (octets, hash) = measure(head, text)?;
                measured.push((head, octets, hash));
                (octets, hash)
            }
        };
        let new = old + end.len() as u64 + octets;
        targets.push(Target { name: mailbox.name.clone(), inode, old, new, octets, hash });
        ends.push(end);
    }
    let intent = Intent::create(place, &targets)?;
    // As long as there is an intent, somebody may undo it. So what it says is not true before it is gone.
    let written = write_all(place, mailboxes, &targets, &ends, &head, text).and_then(|()| intent.remove(place));
    let mut undone = Ok(());
    if written.is_err() {
        for (mailbox, target) in mailboxes.iter().zip(&targets) {
            // All of them, even if one fails.
            undone = undone.and(cut_back(place, mailbox, target.old));
        }
    }
    if undone.is_err() {
        mailboxes.iter_mut().for_each(Locked::leave_dotlock);
    } else if written.is_err() {
        // If this fails, the next one to lock a mailbox finds nothing to undo and removes it.
        let _ = intent.remove(place);
    }
    written
}

/// Cuts a mailbox that has grown back to `octets`, and makes that durable.
pub(crate) fn cut_back(place: &Place, mailbox: &Locked, octets: u64) -> Result<(), StoreError> {
    if inode_and_size(mailbox)?.1 <= octets {
        return Ok(());
    }
    place.files.set_len(&mailbox.file, &mailbox.path, octets)?;
    place.files.sync_all(&mailbox.file, &mailbox.path)
}

/// The inode number and the size of a mailbox.
pub(crate) fn inode_and_size(mailbox: &Locked) -> Result<(u64, u64), StoreError> {
    let metadata = mailbox.file.metadata().map_err(|source| StoreError::io(&mailbox.path, source))?;
    Ok((metadata.ino(), metadata.len()))
}

/// Octets of an entry as it is stored, and their hash.
fn measure(head: &str, text: &Text) -> Result<(u64, u64), StoreError> {
    let mut octets = 0;
    let mut hash = Xxh3::new();
    let mut out = head.as_bytes().to_vec();
    stored(text, &mut out, |out| {
        octets += out.len() as u64;
        hash.update(out);
        out.clear();
        Ok(())
    })?;
    Ok((octets, hash.digest()))
}

fn write_all<'a>(
    place: &Place,
    mailboxes: &[Locked],
    targets: &[Target],
    ends: &[&[u8]],
    head: impl Fn(&str) -> &'a str,
    text: &Text,
) -> Result<(), StoreError> {
    for ((mailbox, target), end) in mailboxes.iter().zip(targets).zip(ends) {
        let mut at = target.old;
        let mut out = Vec::new();
        out.extend_from_slice(end);
        out.extend_from_slice(head(&mailbox.name).as_bytes());
        stored(text, &mut out, |out| {
            place.files.write_all_at(&mailbox.file, &mailbox.path, out, at)?;
            at += out.len() as u64;
            out.clear();
            Ok(())
        })?;
    }
    for (mailbox, target) in mailboxes.iter().zip(targets) {
        place.files.sync_data(&mailbox.file, &mailbox.path)?;
        if target.old == 0 {
            // It may have been made a moment ago, by somebody who did not make its name durable.
            place.files.sync_dir(&place.dir)?;
        }
    }
    Ok(())
}

/// Gives the quoted text and the separator to `take`, behind what is in `out` already, in large pieces.
fn stored(
    text: &Text,
    out: &mut Vec<u8>,
    mut take: impl FnMut(&mut Vec<u8>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut quoter = Quoter::new();
    let mut last = b'\n';
    text.read_through(|block| {
        quoter.push(block, out);
        last = block.last().copied().unwrap_or(last);
        if out.len() >= WRITE_OCTETS { take(out) } else { Ok(()) }
    })?;
    quoter.finish(out);
    if last != b'\n' {
        // A text of SMTP ends its last line; any other gets what a reader would add.
        out.extend_from_slice(b"\r\n");
    }
    out.push(b'\n');
    take(out)
}

/// The last octet of a mailbox; of an empty one, what needs no line end.
fn last_octet(mailbox: &Locked, size: u64) -> Result<u8, StoreError> {
    let file: &File = &mailbox.file;
    let mut last = *b"\n";
    if let Some(before) = size.checked_sub(1) {
        read_at(file, &mut last, before).map_err(|source| StoreError::io(&mailbox.path, source))?;
    }
    Ok(last[0])
}
