//! What is in a mailbox or in the queue: does it list, does each entry read, does anything look torn.

use std::fmt;
use std::fs::File;
use std::sync::Arc;

use memchr::memchr;

use super::{Check, Severity};
use crate::StoreError;
use crate::maildrop::{Passage, Snapshot};
use crate::place::{QUEUE, read_at};
use crate::queue::Head;
use crate::scan::{Entry, scan};

/// A run of so many octets 0 is a block that was never written: a power cut leaves such, mail does not.
const ZEROS_MIN: u64 = 512;

/// What a file holds, and what is wrong with it.
pub(super) struct Content {
    pub(super) entries: Vec<Entry>,
    pub(super) octets: u64,
    /// By the octet at which they begin, in no order.
    pub(super) faults: Vec<(u64, Fault)>,
    /// From here on nothing is settled, and why that is so.
    pub(super) unsettled: Option<(u64, Severity)>,
}

/// What is wrong at one place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// So many octets belong to no `From ` line.
    NoFromLine(u64),
    /// Empty lines before the first entry.
    EmptyLines,
    /// An entry does not end with a line end.
    NoLineEnd,
    /// An entry does not end with an empty line.
    NoEmptyLine,
    /// So many octets 0.
    Zeros(u64),
    /// An entry cannot be read as it was listed.
    Unreadable(String),
    /// An entry was listed with so many octets, and gives so many.
    Octets(u64, u64),
    /// An item of the queue has no envelope.
    NoEnvelope,
}

impl Fault {
    pub(super) fn severity(&self) -> Severity {
        match self {
            Self::EmptyLines | Self::NoLineEnd | Self::NoEmptyLine => Severity::Warning,
            Self::NoFromLine(_) | Self::Zeros(_) | Self::Unreadable(_) | Self::Octets(..) | Self::NoEnvelope => {
                Severity::Error
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFromLine(octets) => write!(f, "{octets} octets in front of the first From line"),
            Self::EmptyLines => f.write_str("empty lines in front of the first From line"),
            Self::NoLineEnd => f.write_str("the entry that begins here has no line end; it may be torn"),
            Self::NoEmptyLine => f.write_str("the entry that begins here ends without an empty line; it may be torn"),
            Self::Zeros(octets) => write!(f, "{octets} octets 0, as a power cut leaves them"),
            Self::Unreadable(why) => write!(f, "the entry that begins here cannot be read: {why}"),
            Self::Octets(listed, read) => {
                write!(f, "the entry that begins here was listed with {listed} octets, and has {read}")
            }
            Self::NoEnvelope => f.write_str("the item that begins here has no envelope (X-Envelope-To:)"),
        }
    }
}

/// Reads the mailbox `name`, or the queue, which is open in `file`.
///
/// # Errors
/// Those of the system.
pub(super) fn read(check: &mut Check<'_>, name: &str, file: File) -> Result<Content, StoreError> {
    let path = check.place.mailbox(name);
    let failed = |source| StoreError::io(&path, source);
    let mut zeros = Zeros::default();
    let mut octets = 0;
    let entries = scan(|buffer, offset| {
        let read = read_at(&file, buffer, offset)?;
        zeros.push(&buffer[..read]);
        octets = offset + read as u64;
        check.step(read as u64);
        Ok(read)
    })
    .map_err(failed)?;
    let mut faults: Vec<(u64, Fault)> =
        zeros.finish().into_iter().map(|(at, octets)| (at, Fault::Zeros(octets))).collect();
    match entries.first() {
        Some(first) if first.start == first.text => {
            faults.push((first.start, Fault::NoFromLine(first.next - first.start)))
        }
        Some(first) if first.start > 0 => faults.push((0, Fault::EmptyLines)),
        None if octets > 0 => faults.push((0, Fault::EmptyLines)),
        _ => {}
    }
    let mailbox = Snapshot { file: Arc::new(crate::locks::OpenMailbox::new(file)), path: path.clone() };
    for entry in &entries {
        faults.extend(end_of(&mailbox.file, *entry).map_err(failed)?.map(|fault| (entry.start, fault)));
        faults.extend(passage(check, &mailbox, *entry)?.map(|fault| (entry.start, fault)));
        if name == QUEUE && Head::read(&mailbox.file, &path, *entry)?.is_none() {
            faults.push((entry.start, Fault::NoEnvelope));
        }
    }
    Ok(Content { entries, octets, faults, unsettled: None })
}

/// Whether an entry ends as it should. Where the `From ` line ends in CR LF, no empty line is asked for: it would be
/// part of the text.
fn end_of(file: &File, entry: Entry) -> std::io::Result<Option<Fault>> {
    if entry.next > entry.end {
        return Ok(None);
    }
    let ends_in = |end: u64, what: &[u8]| {
        let mut octets = [0; 2];
        let octets = &mut octets[..what.len()];
        let Some(at) = end.checked_sub(what.len() as u64) else { return Ok(false) };
        Ok::<_, std::io::Error>(read_at(file, octets, at)? == what.len() && octets == what)
    };
    Ok(if !ends_in(entry.end, b"\n")? {
        Some(Fault::NoLineEnd)
    } else if entry.text > entry.start && ends_in(entry.text, b"\r\n")? {
        None
    } else {
        Some(Fault::NoEmptyLine)
    })
}

/// Reads an entry as a session would.
fn passage(check: &mut Check<'_>, mailbox: &Snapshot, entry: Entry) -> Result<Option<Fault>, StoreError> {
    let mut passage = Passage::new(mailbox.clone(), entry);
    let mut octets = 0;
    // Of the entry as it is stored, which is a little shorter or longer.
    let mut left = entry.next - entry.start;
    let fault = loop {
        match passage.next() {
            Ok(Some(chunk)) => {
                octets += chunk.len() as u64;
                let stored = left.min(chunk.len() as u64);
                left -= stored;
                check.step(stored);
            }
            Ok(None) if octets == entry.octets => break None,
            Ok(None) => break Some(Fault::Octets(entry.octets, octets)),
            Err(StoreError::Changed { .. }) => break Some(Fault::Unreadable("its content changes".to_owned())),
            Err(error) => return Err(error),
        }
    };
    check.step(left);
    Ok(fault)
}

/// Finds runs of octets 0, in blocks cut anywhere.
#[derive(Default)]
struct Zeros {
    /// Octets taken so far.
    at: u64,
    /// Octets 0 at the end of these.
    run: u64,
    found: Vec<(u64, u64)>,
}

impl Zeros {
    fn push(&mut self, block: &[u8]) {
        let mut rest = block;
        while !rest.is_empty() {
            if self.run == 0 {
                let skipped = memchr(0, rest).unwrap_or(rest.len());
                rest = &rest[skipped..];
                self.at += skipped as u64;
            }
            let run = rest.iter().position(|octet| *octet != 0).unwrap_or(rest.len());
            self.run += run as u64;
            self.at += run as u64;
            rest = &rest[run..];
            if !rest.is_empty() {
                self.end();
            }
        }
    }

    fn finish(mut self) -> Vec<(u64, u64)> {
        self.end();
        self.found
    }

    /// The run is over.
    fn end(&mut self) {
        if self.run >= ZEROS_MIN {
            self.found.push((self.at - self.run, self.run));
        }
        self.run = 0;
    }
}

#[cfg(test)]
#[path = "content/tests.rs"]
mod tests;
