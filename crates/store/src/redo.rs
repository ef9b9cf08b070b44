//! The redo record of a removal: what remains of a mailbox behind the first gap, on its own, until the mailbox itself
//! is right.
//!
//! Its name is the decision: once `user.update` is durable, the removal happens, by whoever locks the mailbox next. The
//! cases are in `docs/durability.md` under "Removal at QUIT".

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::StoreError;
use crate::append::file_and_size;
use crate::files::{is_not_ours, not_found};
use crate::locks::Locked;
use crate::place::{FileId, Place, open_if_there, read_at};
use crate::write_back::WriteBack;

/// First line of a record.
const TITLE: &str = "pillarbox update 2";
/// Longest header of a record; seven short lines.
const HEADER_MAX_OCTETS: usize = 512;
/// Octets of a hash in hexadecimal digits.
const HASH_OCTETS: usize = 16;
/// How much is copied at once; little in tests, so that few octets take several steps.
const COPY_OCTETS: usize = if cfg!(test) { 1024 } else { 256 * 1024 };

/// What is to be copied.
#[derive(Debug)]
pub(crate) enum Source<'a> {
    /// A part of a file.
    Part { file: &'a File, path: &'a Path, range: Range<u64> },
    /// Something new.
    New(&'a [u8]),
}

/// A record that is durable.
#[derive(Debug)]
pub(crate) struct Record {
    header: Header,
    path: PathBuf,
    file: File,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    /// Which file it is about, by its [`FileId::number`].
    file: u64,
    /// Its size when the record was written.
    size: u64,
    /// Where the tail is to go.
    gap: u64,
    /// Octets of the tail.
    tail: u64,
    /// What stood from gap + tail to size. Copying does not touch it, cutting the file removes it.
    rest: Rest,
    /// Octets of the header itself: where the tail begins in the record.
    octets: u64,
}

/// The end of a file that is to be cut off. A power cut while it is may leave zeros up to the end of a block, and the rest
/// as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rest {
    /// Up to the end of the block in which it begins.
    pub(crate) first: Vec<u8>,
    /// Hash of what is behind that.
    pub(crate) hash: u64,
}

impl Rest {
    /// Largest block of a file system that counts.
    const BLOCK_OCTETS: u64 = 4096;

    /// Reads what stands in `range`.
    pub(crate) fn read(file: &File, path: &Path, range: Range<u64>) -> Result<Self, StoreError> {
        let block = range.start.next_multiple_of(Self::BLOCK_OCTETS).min(range.end);
        // At most a block.
        let mut first = vec![0; usize::try_from(block - range.start).unwrap_or(0)];
        let read = read_at(file, &mut first, range.start).map_err(|source| StoreError::io(path, source))?;
        first.truncate(read);
        Ok(Self { first, hash: hash(file, path, block..range.end)? })
    }

    /// Whether it still stands in `range`, though there may be zeros in its first block.
    pub(crate) fn is_in(&self, file: &File, path: &Path, range: Range<u64>) -> Result<bool, StoreError> {
        let now = Self::read(file, path, range)?;
        let is_same = now.first.iter().zip(&self.first).all(|(now, then)| now == then || *now == 0);
        Ok(now.hash == self.hash && now.first.len() == self.first.len() && is_same)
    }
}

/// What became of a record that a dead process had left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Redone {
    /// There was none.
    Nothing,
    Finished,
    /// It does not fit the mailbox. It was put aside; mail is in it.
    PutAside(PathBuf),
}

/// Decides a removal: `tail` is to follow at `gap`, in a mailbox that has `size` octets now. When this is `Ok`, the
/// decision is durable.
///
/// # Errors
/// Nothing is decided. If the folder could not be flushed and the record cannot be removed again, it stays, and the
/// removal will happen.
pub(crate) fn decide(
    place: &Place,
    mailbox: &mut Locked,
    file: FileId,
    size: u64,
    gap: u64,
    tail: &[Source<'_>],
) -> Result<Record, StoreError> {
    let write = || write(place, mailbox, file, size, gap, tail);
    let record = write().or_else(|error| {
        place.journal.make_room_for(place, error)?;
        write()
    })?;
    if let Err(error) = place.sync_side() {
        if place.files.remove(&record.path).is_err() {
            mailbox.leave_dotlock();
        }
        return Err(error);
    }
    Ok(record)
}

/// Does what the record says, and removes it. May be done again from its beginning at any time.
///
/// # Errors
/// The record and the dotlock stay for the next one to lock the mailbox.
pub(crate) fn finish(place: &Place, mailbox: &mut Locked, record: &Record) -> Result<(), StoreError> {
    let Record { header, path, file } = record;
    let finish = || {
        let files = &place.files;
        let tail = Source::Part { file, path, range: header.octets..header.octets + header.tail };
        copy(&tail, |block, done| files.write_all_at(&mailbox.file, &mailbox.path, block, header.gap + done))?;
        // The tail must be in place for good before the old rest, which says that it may not be, is cut off.
        mailbox.sync_all(place)?;
        files.set_len(&mailbox.file, &mailbox.path, header.gap + header.tail)?;
        close(place, mailbox, path)
    };
    finish().inspect_err(|_| mailbox.leave_dotlock())
}

/// Finishes the removal that a dead process had begun in this mailbox, if there is one.
///
/// # Errors
/// The record stays.
pub(crate) fn redo(place: &Place, mailbox: &mut Locked) -> Result<Redone, StoreError> {
    let path = place.update(&mailbox.name);
    let file = match place.files.open_ours(&path, false) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(Redone::Nothing),
        // Whoever made it decides no removal.
        Err(error) if is_not_ours(&error) => return put_aside(place, &mailbox.name),
        Err(error) => return Err(error),
    };
    let (id, size) = file_and_size(mailbox)?;
    let Some((header, tail_hash)) = read(&file, &path)? else {
        return put_aside(place, &mailbox.name);
    };
    let Some(progress) = header.progress(tail_hash, &mailbox.file, &mailbox.path, (id, size))? else {
        return put_aside(place, &mailbox.name);
    };
    if progress == Progress::NotCut {
        let record = if size > header.size {
            // What another program has added is to move down with the tail. Only a record that has it can be redone.
            let tail = Source::Part { file: &file, path: &path, range: header.octets..header.octets + header.tail };
            let mailbox_file = Arc::clone(&mailbox.file);
            let mailbox_path = mailbox.path.clone();
            let added = Source::Part { file: &mailbox_file, path: &mailbox_path, range: header.size..size };
            let record = write(place, mailbox, id, size, header.gap, &[tail, added])?;
            place.sync_side()?;
            record
        } else {
            // Whoever wrote it may have died in front of that: what is begun now must not be forgotten half-way.
            place.files.sync_all(&file, &path)?;
            place.sync_side()?;
            Record { header, path, file }
        };
        finish(place, mailbox, &record)?;
    } else {
        close(place, mailbox, &path)?;
    }
    Ok(Redone::Finished)
}

/// A record of anybody, looked at without touching it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The next one to lock the mailbox finishes the removal. Up to here the mailbox is right.
    Waits(u64),
    /// It was written to its end, and is about another file or another content.
    Unfit,
    /// It is not complete, or not what was written.
    Broken,
}

/// Looks at the record of a mailbox, if there is one; `mailbox` is that file, if there is one.
///
/// # Errors
/// [`StoreError::Io`], also when the mailbox is cut meanwhile.
pub(crate) fn look(place: &Place, name: &str, mailbox: Option<&File>) -> Result<Option<Seen>, StoreError> {
    let (path, mailbox_path) = (place.update(name), place.mailbox(name));
    let Some(file) = open_if_there(&path)? else { return Ok(None) };
    let Some((header, tail_hash)) = read(&file, &path)? else { return Ok(Some(Seen::Broken)) };
    let Some(mailbox) = mailbox else { return Ok(Some(Seen::Unfit)) };
    let metadata = mailbox.metadata().map_err(|source| StoreError::io(&mailbox_path, source))?;
    let progress = header.progress(tail_hash, mailbox, &mailbox_path, (FileId::of(&metadata), metadata.len()))?;
    Ok(Some(progress.map_or(Seen::Unfit, |_| Seen::Waits(header.gap))))
}

/// Gives the record of a mailbox a name under which nobody redoes it.
pub(crate) fn put_aside(place: &Place, name: &str) -> Result<Redone, StoreError> {
    let path = place.update(name);
    for number in 1_u64.. {
        let aside = place.side.join(format!("{name}.update.orphan-{number}"));
        if !place.files.exists(&aside) {
            place.files.rename(&path, &aside)?;
            place.sync_side()?;
            return Ok(Redone::PutAside(aside));
        }
    }
    Ok(Redone::Nothing)
}

/// The mailbox is right: makes that durable and removes the record.
fn close(place: &Place, mailbox: &Locked, path: &Path) -> Result<(), StoreError> {
    mailbox.sync_all(place)?;
    place.files.remove(path)?;
    place.sync_side()
}

/// Writes the record, which replaces an older one. Its content is durable, its name is not yet.
fn write(
    place: &Place,
    mailbox: &Locked,
    file: FileId,
    size: u64,
    gap: u64,
    tail: &[Source<'_>],
) -> Result<Record, StoreError> {
    let octets: u64 = tail.iter().map(Source::octets).sum();
    let rest = Rest::read(&mailbox.file, &mailbox.path, gap + octets..size)?;
    let header = Header { file: file.number(), size, gap, tail: octets, rest, octets: 0 };
    let (tmp, path) = (place.update_tmp(&mailbox.name), place.update(&mailbox.name));
    remove_if_there(place, &tmp)?;
    let file = place.files.create_new(&tmp)?;
    let written = write_content(place, &file, &tmp, header, tail).and_then(|header| {
        place.files.sync_all(&file, &tmp)?;
        place.files.rename(&tmp, &path)?;
        Ok(header)
    });
    let header = written.inspect_err(|_| {
        // If this fails the next record replaces it.
        let _ = place.files.remove(&tmp);
    })?;
    Ok(Record { header, path, file })
}

fn write_content(
    place: &Place,
    file: &File,
    path: &Path,
    mut header: Header,
    tail: &[Source<'_>],
) -> Result<Header, StoreError> {
    let text = header.show();
    place.files.write_all_at(file, path, text.as_bytes(), 0)?;
    header.octets = text.len() as u64;
    let mut at = header.octets;
    let mut hash = Xxh3::new();
    // A tail may consist of very many small parts; they are written together.
    let mut pending = Vec::new();
    let mut write_back = WriteBack::new(place, path);
    let mut write = |pending: &mut Vec<u8>| {
        place.files.write_all_at(file, path, pending, at)?;
        at += pending.len() as u64;
        pending.clear();
        Ok::<_, StoreError>(at)
    };
    for source in tail {
        copy(source, |block, _| {
            hash.update(block);
            pending.extend_from_slice(block);
            if pending.len() >= COPY_OCTETS {
                write_back.written(write(&mut pending)?);
            }
            Ok(())
        })?;
    }
    pending.extend_from_slice(format!("{:016x}", hash.digest()).as_bytes());
    pending.extend_from_slice(&header.rest.first);
    pending.extend_from_slice(format!("{:016x}", xxh3_64(&header.rest.first)).as_bytes());
    write(&mut pending)?;
    Ok(header)
}

/// Reads a record: its header and the hash of its tail. `None` if it is not complete, or not what was written.
fn read(file: &File, path: &Path) -> Result<Option<(Header, u64)>, StoreError> {
    let failed = |source| StoreError::io(path, source);
    let mut begin = vec![0; HEADER_MAX_OCTETS];
    let filled = read_at(file, &mut begin, 0).map_err(failed)?;
    let Some(mut header) = Header::parse(&begin[..filled]) else { return Ok(None) };
    let end = header.octets + header.tail;
    let first = header.rest.first.len();
    if file.metadata().map_err(failed)?.len() != end + 2 * HASH_OCTETS as u64 + first as u64 {
        return Ok(None);
    }
    let tail = hash(file, path, header.octets..end)?;
    let mut behind = vec![0; first + 2 * HASH_OCTETS];
    read_at(file, &mut behind, end).map_err(failed)?;
    let (said_tail, rest) = behind.split_at(HASH_OCTETS);
    let (rest, said_rest) = rest.split_at(first);
    let is_as_said = |said: &[u8], hash: u64| *said == *format!("{hash:016x}").as_bytes();
    header.rest.first.copy_from_slice(rest);
    Ok((is_as_said(said_tail, tail) && is_as_said(said_rest, xxh3_64(rest))).then_some((header, tail)))
}

impl Source<'_> {
    fn octets(&self) -> u64 {
        match self {
            Self::Part { range, .. } => range.end - range.start,
            Self::New(octets) => octets.len() as u64,
        }
    }
}

/// How far a removal has come in its mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// The old rest is still there.
    NotCut,
    /// The tail is in place, and the old rest is gone.
    Cut,
}

impl Header {
    /// How far the mailbox has come, this file of this size; `None` if the record does not fit it.
    fn progress(
        &self,
        tail_hash: u64,
        mailbox: &File,
        path: &Path,
        (id, size): (FileId, u64),
    ) -> Result<Option<Progress>, StoreError> {
        let end = self.gap + self.tail;
        Ok(if !id.is(self.file) {
            None
        } else if size >= self.size && self.rest.is_in(mailbox, path, end..self.size)? {
            Some(Progress::NotCut)
        } else if size >= end && hash(mailbox, path, self.gap..end)? == tail_hash {
            Some(Progress::Cut)
        } else {
            None
        })
    }

    fn show(&self) -> String {
        let Self { file, size, gap, tail, rest: Rest { first, hash }, .. } = self;
        let first = first.len();
        format!("{TITLE}\ninode {file}\nsize {size}\ngap {gap}\ntail {tail}\nfirst {first}\nrest {hash:016x}\n\n")
    }

    fn parse(record: &[u8]) -> Option<Self> {
        let end = memchr::memmem::find(record, b"\n\n")? + 2;
        let text = std::str::from_utf8(&record[..end]).ok()?;
        let mut lines = text.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let header = Self {
            file: field("inode")?.parse().ok()?,
            size: field("size")?.parse().ok()?,
            gap: field("gap")?.parse().ok()?,
            tail: field("tail")?.parse().ok()?,
            rest: Rest {
                first: vec![
                    0;
                    field("first")?.parse().ok().filter(|first: &usize| *first as u64 <= Rest::BLOCK_OCTETS)?
                ],
                hash: u64::from_str_radix(field("rest")?, 16).ok()?,
            },
            octets: end as u64,
        };
        let fits = header.gap.checked_add(header.tail).is_some_and(|end| end <= header.size);
        (fits && header.size < i64::MAX as u64).then_some(header)
    }
}

/// Hash of a part of a file.
pub(crate) fn hash(file: &File, path: &Path, range: Range<u64>) -> Result<u64, StoreError> {
    let mut hash = Xxh3::new();
    copy(&Source::Part { file, path, range }, |block, _| {
        hash.update(block);
        Ok(())
    })?;
    Ok(hash.digest())
}

/// Gives the octets of `source` to `take`, in blocks, each with its offset from the beginning of the range.
fn copy(source: &Source<'_>, mut take: impl FnMut(&[u8], u64) -> Result<(), StoreError>) -> Result<(), StoreError> {
    let (file, path, range) = match source {
        Source::Part { file, path, range } => (file, path, range),
        Source::New(octets) => return take(octets, 0),
    };
    let octets = range.end - range.start;
    let mut block = vec![0; usize::try_from(octets).map_or(COPY_OCTETS, |octets| octets.min(COPY_OCTETS))];
    let mut done = 0;
    while done < octets {
        let want = usize::try_from(octets - done).map_or(block.len(), |rest| rest.min(block.len()));
        let read =
            read_at(file, &mut block[..want], range.start + done).map_err(|error| StoreError::io(path, error))?;
        if read < want {
            let error = io::Error::new(io::ErrorKind::UnexpectedEof, "shorter than a moment ago");
            return Err(StoreError::io(path, error));
        }
        take(&block[..want], done)?;
        done += want as u64;
    }
    Ok(())
}

fn remove_if_there(place: &Place, path: &Path) -> Result<(), StoreError> {
    if !place.files.exists(path) {
        return Ok(());
    }
    match place.files.remove(path) {
        Err(error) if !not_found(&error) => Err(error),
        _ => Ok(()),
    }
}
