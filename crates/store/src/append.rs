//! Delivery: appends messages to mailboxes, each to all of its own or to none (C-S8, C-S9).
//!
//! What is on disk at which moment, and what a crash makes of it, is in `docs/durability.md` under "Delivery".

use std::fs::File;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::error::Failed;
use crate::index::Growing;
use crate::journal::record::{BLOCK_OCTETS, Context, Cut, Delivery, Large, Placement, Record, Shape, block_hash};
use crate::journal::segment::Segment;
use crate::locks::Locked;
use crate::place::{FileId, Place, QUEUE, read_at};
use crate::quote::Quoter;
use crate::redo::Rest;
use crate::scan::missing_end;
use crate::{StoreError, Text};

/// How much of a long message is written at once.
const WRITE_OCTETS: usize = 256 * 1024;

/// A message for several mailboxes.
#[derive(Debug)]
pub(crate) struct Message {
    /// The mailboxes, and the queue; sorted and different.
    pub(crate) names: Vec<String>,
    /// What begins its entry in a mailbox: the `From ` line.
    pub(crate) from_line: String,
    /// What begins its entry in the queue: the same and the envelope.
    pub(crate) queued: Option<String>,
    pub(crate) text: Text,
}

impl Message {
    fn heads(&self) -> impl Iterator<Item = &str> {
        [self.from_line.as_str()].into_iter().chain(self.queued.as_deref())
    }

    /// Which of the heads its entry has in this mailbox.
    fn head_in(name: &str) -> u8 {
        u8::from(name == QUEUE)
    }
}

/// Delivers several messages with one flush of the journal. `mailboxes` are sorted by name; all that the messages name
/// are among them. On `Ok` they are durable; what could be neither written to its mailbox nor taken back is only in the
/// journal then, for whoever locks the mailbox next.
///
/// # Errors
/// Of what is [`Failed::Left`] each message may be there or not, whole.
pub(crate) fn deliver(place: &Place, mailboxes: &mut [Locked], messages: &[Message]) -> Result<(), Failed> {
    let in_use = place.journal.begin(place)?;
    let segment = &in_use.0;
    let first = place.journal.ids(messages.len());
    let last = first + (messages.len() as u64).saturating_sub(1);
    let mut growths = mailboxes.iter().map(Growth::new).collect::<Result<Vec<_>, _>>()?;
    let mut records = Vec::with_capacity(messages.len());
    for (id, message) in (first..).zip(messages) {
        let heads = message.heads().map(|head| head.as_bytes().to_vec()).collect();
        let mut delivery =
            Delivery { id, placements: Vec::with_capacity(message.names.len()), heads, body: Vec::new() };
        stored(&message.text, &mut delivery.body, usize::MAX, |_| Ok(()))?;
        for (mailbox, growth) in mailboxes.iter().zip(&mut growths) {
            if message.names.binary_search(&mailbox.name).is_ok() {
                let placement = growth.placement(&mailbox.name);
                growth.grown.extend_from_slice(&delivery.entry(&placement));
                delivery.placements.push(placement);
            }
        }
        records.push(Record::Delivery(delivery));
    }
    let growing = all_growing(place, mailboxes);
    commit(place, segment, mailboxes, &growths, &records, first..=last)?;
    drop(records);
    for (mailbox, growth) in mailboxes.iter().zip(&growths) {
        segment.grown(mailbox, growth.file, growth.end());
    }
    let applied = mailboxes.iter().zip(&growths).filter(|(_, growth)| !growth.grown.is_empty()).try_for_each(
        |(mailbox, growth)| place.files.write_all_at(&mailbox.file, &mailbox.path, &growth.grown, growth.old),
    );
    if let Err(error) = applied {
        return match undo(place, segment, mailboxes, &growths, first, last) {
            Undone::Yes => Err(Failed::Undone(error)),
            Undone::No => {
                place.journal.note_left(place, &error);
                Ok(())
            }
            Undone::Unsure => Err(Failed::Left(error)),
        };
    }
    // Not durable: it counts for who finds the journal of a process that was killed. Without it, that one looks itself.
    let _ = segment.append(place, &[Record::Applied { first, last }]);
    place.journal.have_changed(mailboxes);
    for ((mailbox, growth), growing) in mailboxes.iter().zip(&growths).zip(growing) {
        if let Some(index) = growing {
            index.finish(place, mailbox, Some(&growth.grown));
        }
    }
    Ok(())
}

/// Delivers a message that was accepted by another process, and has lost its place in this mailbox. Its id stays. Where
/// it begins then.
///
/// # Errors
/// It may be there all the same; the journal knows.
pub(crate) fn append_again(place: &Place, mailbox: &mut Locked, id: u64, message: &[u8]) -> Result<u64, StoreError> {
    let in_use = place.journal.begin(place)?;
    let segment = &in_use.0;
    let mut growth = Growth::new(mailbox)?;
    let placement = Placement { head: 0, ..growth.placement(&mailbox.name) };
    let delivery = Delivery { id, placements: vec![placement.clone()], heads: Vec::new(), body: message.to_vec() };
    growth.grown = delivery.entry(&placement);
    let mailboxes = std::slice::from_mut(mailbox);
    commit(place, segment, mailboxes, std::slice::from_ref(&growth), &[Record::Delivery(delivery)], id..=id)?;
    let mailbox = &mailboxes[0];
    segment.grown(mailbox, growth.file, growth.end());
    if let Err(error) = place.files.write_all_at(&mailbox.file, &mailbox.path, &growth.grown, growth.old) {
        // The next try appends it once more, and nobody must see a part of it until then. Its id is the same.
        let _ = undo(place, segment, mailboxes, std::slice::from_ref(&growth), id, id);
        return Err(error);
    }
    Ok(placement.at + u64::from(placement.line_end))
}

/// Delivers a long message: it goes to the disk once, and only what is needed to undo it goes to the journal.
///
/// # Errors
/// As [`deliver`].
pub(crate) fn deliver_large(place: &Place, mailboxes: &mut [Locked], message: &Message) -> Result<(), Failed> {
    let in_use = place.journal.begin(place)?;
    let segment = &in_use.0;
    let id = place.journal.ids(1);
    let growths = mailboxes.iter().map(Growth::new).collect::<Result<Vec<_>, _>>()?;
    let placements =
        mailboxes.iter().zip(&growths).map(|(mailbox, growth)| growth.placement(&mailbox.name)).collect::<Vec<_>>();
    let shapes = message.heads().map(|head| shape(head, &message.text)).collect::<Result<_, _>>()?;
    let record = Record::Large(Large { id, placements: placements.clone(), shapes });
    let growing = all_growing(place, mailboxes);
    commit(place, segment, mailboxes, &growths, &[record], id..=id)?;
    let heads: Vec<&str> = message.heads().collect();
    let write = |(mailbox, placement): (&Locked, &Placement)| {
        let mut at = placement.at;
        let mut out = placement.line_end().to_vec();
        out.extend_from_slice(heads.get(usize::from(placement.head)).map_or(&[][..], |head| head.as_bytes()));
        stored(&message.text, &mut out, WRITE_OCTETS, |out| {
            place.files.write_all_at(&mailbox.file, &mailbox.path, out, at)?;
            at += out.len() as u64;
            out.clear();
            Ok(())
        })
    };
    let written = mailboxes
        .iter()
        .zip(&placements)
        .try_for_each(write)
        .and_then(|()| mailboxes.iter().try_for_each(|mailbox| mailbox.sync_data(place)))
        .map_err(Failed::Undone)
        .and_then(|()| segment.append(place, &[Record::Committed { id }]));
    let committed = written.and_then(|at| {
        // Where nobody knows whether the journal says that it is accepted, no mailbox may lose it: the others might not.
        segment.sync(place).map_err(|error| match segment.withdraw(place, at, None) {
            Ok(()) => Failed::Undone(error),
            Err(_) => Failed::Left(error),
        })
    });
    match committed {
        Ok(()) => {}
        Err(Failed::Undone(error)) => {
            return Err(match undo(place, segment, mailboxes, &growths, id, id) {
                Undone::Yes => Failed::Undone(error),
                Undone::No | Undone::Unsure => Failed::Left(error),
            });
        }
        Err(left) => {
            leave(place, segment, mailboxes);
            return Err(left);
        }
    }
    place.journal.have_changed(mailboxes);
    for (mailbox, index) in mailboxes.iter().zip(growing) {
        if let Some(index) = index {
            index.finish(place, mailbox, None);
        }
    }
    Ok(())
}

/// The indexes of mailboxes that are about to grow.
fn all_growing(place: &Place, mailboxes: &[Locked]) -> Vec<Option<Growing>> {
    mailboxes.iter().map(|mailbox| Growing::new(place, mailbox)).collect()
}

/// Removes the end of a mailbox, from `gap` on. Nothing of the mailbox is to be settled. On `Ok` it is durable.
///
/// # Errors
/// What is [`Failed::Left`] may happen: then the next one to lock the mailbox does it.
pub(crate) fn cut(place: &Place, mailbox: &mut Locked, gap: u64) -> Result<(), Failed> {
    let in_use = place.journal.begin(place)?;
    let segment = &in_use.0;
    let id = place.journal.ids(1);
    let (file, size) = file_and_size(mailbox)?;
    let rest = Rest::read(&mailbox.file, &mailbox.path, gap..size)?;
    // It is known by what is to go, and by nothing in front of that.
    let context = Context::default();
    let placement =
        Placement { name: mailbox.name.clone(), file: file.number(), at: gap, line_end: 0, head: 0, context };
    let record = Record::Cut(Cut { id, placement, size, rest });
    // Its name need not be durable: where another file is in its place after a power cut, this says nothing.
    make_durable(place, segment, [mailbox.name.clone()].into_iter(), &[record], id..=id)?;
    // Flushed, so that what comes next is never mixed with what was here.
    let done = place.files.set_len(&mailbox.file, &mailbox.path, gap).and_then(|()| mailbox.sync_all(place));
    if let Err(error) = done {
        leave(place, segment, std::slice::from_mut(mailbox));
        return Err(Failed::Left(error));
    }
    let _ = segment.append(place, &[Record::Applied { first: id, last: id }]);
    segment.grown(mailbox, file, gap);
    Ok(())
}

/// Makes deliveries durable, before anything of what they say is done.
fn commit(
    place: &Place,
    segment: &Arc<Segment>,
    mailboxes: &[Locked],
    growths: &[Growth],
    records: &[Record],
    ids: RangeInclusive<u64>,
) -> Result<(), Failed> {
    for (mailbox, growth) in mailboxes.iter().zip(growths) {
        // A recovery relies on what stands in front of a message: it is durable, or in a journal as well.
        if growth.old > 0 && segment.end_of(&mailbox.name, growth.file) != Some(growth.old) {
            let is_doubtful = place.journal.is_doubtful(&mailbox.name);
            if is_doubtful {
                // Another program may have written it, and no flush says any more that it is not on the disk.
                let at = growth.old - growth.before.len() as u64;
                place.files.write_all_at(&mailbox.file, &mailbox.path, &growth.before, at)?;
            }
            mailbox.sync_data(place)?;
            if is_doubtful {
                place.journal.is_doubtful_no_more(&mailbox.name);
            }
        }
    }
    place.journal.make_names_durable(place, mailboxes)?;
    make_durable(place, segment, mailboxes.iter().map(|mailbox| mailbox.name.clone()), records, ids)
}

/// Makes records about these mailboxes durable.
fn make_durable(
    place: &Place,
    segment: &Arc<Segment>,
    names: impl Iterator<Item = String>,
    records: &[Record],
    ids: RangeInclusive<u64>,
) -> Result<(), Failed> {
    segment.names(names);
    let made = segment.append(place, records).and_then(|at| {
        // Never flushed again: it would seem to succeed.
        segment.sync(place).map_err(|error| match segment.withdraw(place, at, Some(ids)) {
            Ok(()) => Failed::Undone(error),
            Err(_) => Failed::Left(error),
        })
    });
    made.inspect_err(|failed| {
        if let Failed::Left(_) = failed {
            place.journal.abandon(segment);
        }
    })
}

/// What became of an attempt to undo something.
enum Undone {
    Yes,
    /// It stands in the journal as before, durably, and whoever locks the mailboxes next does what that says.
    No,
    /// The same, but for what the journal says: nobody knows.
    Unsure,
}

/// Undoes deliveries that could not be finished, durably.
fn undo(
    place: &Place,
    segment: &Arc<Segment>,
    mailboxes: &mut [Locked],
    growths: &[Growth],
    first: u64,
    last: u64,
) -> Undone {
    let mut cut = Ok(());
    for (mailbox, growth) in mailboxes.iter().zip(growths) {
        // All of them, even if one fails.
        cut = cut.and(cut_back(place, mailbox, growth.old));
    }
    let undone = if cut.is_err() {
        Undone::No
    } else {
        match segment.append(place, &[Record::Revoked { first, last }]) {
            Ok(_) if segment.sync(place).is_ok() => return Undone::Yes,
            Err(Failed::Undone(_)) => Undone::No,
            Ok(_) | Err(Failed::Left(_)) => Undone::Unsure,
        }
    };
    leave(place, segment, mailboxes);
    undone
}

/// Leaves these mailboxes to whoever locks them next, who does what the journal says; other programs keep off until then.
fn leave(place: &Place, segment: &Arc<Segment>, mailboxes: &mut [Locked]) {
    mailboxes.iter_mut().for_each(Locked::leave_dotlock);
    place.journal.abandon(segment);
}

/// How a mailbox grows.
struct Growth {
    file: FileId,
    /// Octets before.
    old: u64,
    /// The last of them, as far as they are needed.
    before: Vec<u8>,
    /// What is to follow.
    grown: Vec<u8>,
}

impl Growth {
    fn new(mailbox: &Locked) -> Result<Self, StoreError> {
        let (id, old) = file_and_size(mailbox)?;
        let octets = usize::try_from(old).map_or(Context::OCTETS_MAX, |old| old.min(Context::OCTETS_MAX));
        let mut before = vec![0; octets];
        let file: &File = &mailbox.file;
        let read =
            read_at(file, &mut before, old - octets as u64).map_err(|source| StoreError::io(&mailbox.path, source))?;
        before.truncate(read);
        Ok(Self { file: id, old, before, grown: Vec::new() })
    }

    /// Octets afterwards.
    fn end(&self) -> u64 {
        self.old + self.grown.len() as u64
    }

    /// Where the next entry goes.
    fn placement(&self, name: &str) -> Placement {
        let before = if self.grown.is_empty() { &self.before } else { &self.grown };
        let line_end = missing_end(before.last().copied().unwrap_or(b'\n'));
        Placement {
            name: name.to_owned(),
            file: self.file.number(),
            at: self.end(),
            // Two octets at the most.
            line_end: u8::try_from(line_end.len()).unwrap_or(0),
            head: Message::head_in(name),
            context: Context::of(before),
        }
    }
}

/// Cuts a mailbox that has grown back to `octets`, and makes that durable.
pub(crate) fn cut_back(place: &Place, mailbox: &Locked, octets: u64) -> Result<(), StoreError> {
    if file_and_size(mailbox)?.1 <= octets {
        return Ok(());
    }
    place.files.set_len(&mailbox.file, &mailbox.path, octets)?;
    mailbox.sync_all(place)
}

/// Which file a mailbox is, and its size.
pub(crate) fn file_and_size(mailbox: &Locked) -> Result<(FileId, u64), StoreError> {
    let metadata = mailbox.file.metadata().map_err(|source| StoreError::io(&mailbox.path, source))?;
    Ok((FileId::of(&metadata), metadata.len()))
}

/// What an entry will be, block by block.
fn shape(head: &str, text: &Text) -> Result<Shape, StoreError> {
    let from_line = head.split_inclusive('\n').next().unwrap_or_default().as_bytes().to_vec();
    let mut shape = Shape { from_line, ..Shape::default() };
    let mut out = head.as_bytes().to_vec();
    let mut take = |out: &mut Vec<u8>, is_last: bool| {
        let whole = if is_last { out.len() } else { out.len() - out.len() % BLOCK_OCTETS };
        shape.octets += whole as u64;
        shape.blocks.extend(out[..whole].chunks(BLOCK_OCTETS).map(block_hash));
        out.drain(..whole);
    };
    stored(text, &mut out, WRITE_OCTETS, |out| {
        take(out, false);
        Ok(())
    })?;
    take(&mut out, true);
    Ok(shape)
}

/// Adds the quoted text and the separator to `out`; whenever that has at least `piece` octets, and at the end, `take`
/// may take something away.
fn stored(
    text: &Text,
    out: &mut Vec<u8>,
    piece: usize,
    mut take: impl FnMut(&mut Vec<u8>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut quoter = Quoter::new();
    let mut last = b'\n';
    text.read_through(|block| {
        quoter.push(block, out);
        last = block.last().copied().unwrap_or(last);
        if out.len() >= piece { take(out) } else { Ok(()) }
    })?;
    quoter.finish(out);
    if last != b'\n' {
        // A text of SMTP ends its last line; any other gets what a reader would add.
        out.extend_from_slice(b"\r\n");
    }
    out.push(b'\n');
    take(out)
}
