//! What stands in a journal, octet for octet (`docs/durability.md`, "Journal").
//!
//! A segment begins with a header of one sector; the records follow it without a gap. A record counts if its check sum
//! is right, and the records end where one does not. The check sum begins with a random number that the header names and
//! that changes whenever the segment is used again, so neither an older record nor a text that looks like a record
//! counts.
//!
//! ```text
//! record   magic "pbx1", kind (1 octet), three zeros, octets of the body (8), check sum (8), body
//! numbers  little endian; a string is its length in 4 octets and its octets
//! ```

use xxhash_rust::xxh3::Xxh3;

use crate::place::is_known_name;
use crate::redo::Rest;

/// Octets of the header of a segment: a sector, which disks write whole.
pub(crate) const HEADER_OCTETS: usize = 512;

const TITLE: &str = "pillarbox journal 1";
const MAGIC: &[u8; 4] = b"pbx1";
/// Octets in front of a record's body.
const FRAME_OCTETS: usize = 24;
/// Of a large text, each block of this many octets has its hash in the journal.
pub(crate) const BLOCK_OCTETS: usize = 4 * 1024;

/// The header of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The boot of the system and the mount in which it is written to; empty where the system does not say.
    pub(crate) boot: String,
    /// What check sums begin with.
    pub(crate) seed: u64,
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let text = format!("{TITLE}\nboot {}\nseed {:016x}\n", self.boot, self.seed);
        let mut header = format!("{text}sum {:016x}\n", checksum(0, &[text.as_bytes()])).into_bytes();
        header.resize(HEADER_OCTETS, 0);
        header
    }

    /// `None` when this is no header.
    pub(crate) fn parse(octets: &[u8]) -> Option<Self> {
        let octets = octets.get(..HEADER_OCTETS)?;
        let end = octets.iter().position(|&octet| octet == 0)?;
        let text = std::str::from_utf8(&octets[..end]).ok()?;
        let (said, sum) = text.strip_suffix('\n')?.rsplit_once("sum ")?;
        if u64::from_str_radix(sum, 16).ok()? != checksum(0, &[said.as_bytes()]) {
            return None;
        }
        let mut lines = said.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let boot = lines.next()?.strip_prefix("boot ")?.to_owned();
        let seed = u64::from_str_radix(lines.next()?.strip_prefix("seed ")?, 16).ok()?;
        Some(Self { boot, seed })
    }
}

/// Where a delivery goes in one mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// The mailbox, or the queue.
    pub(crate) name: String,
    /// The file that had this name, by its [`FileId::number`](crate::place::FileId::number).
    pub(crate) file: u64,
    /// Its size before: where the line end or the entry begins.
    pub(crate) at: u64,
    /// Octets of the line end that the mailbox needs in front of the entry: 0, 1 (LF) or 2 (CR LF).
    pub(crate) line_end: u8,
    /// Which of the heads its entry has.
    pub(crate) head: u8,
    /// What stood in front of `at`.
    pub(crate) context: Context,
}

impl Placement {
    /// The line end in front of the entry.
    pub(crate) fn line_end(&self) -> &'static [u8] {
        match self.line_end {
            0 => b"",
            1 => b"\n",
            _ => b"\r\n",
        }
    }
}

/// The last octets in front of a place in a file, as a hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) octets: u16,
    pub(crate) hash: u64,
}

impl Context {
    /// Most octets that count.
    pub(crate) const OCTETS_MAX: usize = 512;

    /// The context of a place that `before` stands in front of.
    pub(crate) fn of(before: &[u8]) -> Self {
        let last = &before[before.len().saturating_sub(Self::OCTETS_MAX)..];
        // At most 512.
        Self { octets: u16::try_from(last.len()).unwrap_or(0), hash: checksum(0, &[last]) }
    }
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// A message that is accepted: once this is durable, it is delivered to all its mailboxes.
    Delivery(Delivery),
    /// The end of a mailbox is cut off.
    Cut(Cut),
    /// A long message is being appended. It is not accepted before [`Record::Committed`].
    Large(Large),
    /// What the records with these ids say has been done to the mailboxes, though not durably. Counts within one boot.
    Applied { first: u64, last: u64 },
    /// The long message with this id is accepted, and durable in its mailboxes.
    Committed { id: u64 },
    /// The deliveries with these ids are not accepted, and not in their mailboxes.
    Revoked { first: u64, last: u64 },
    /// Whatever stands in front of this about this mailbox is durable there, or was removed again.
    Settled { name: String },
}

/// A message that is accepted. An entry is the line end that is missing, a head and the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) id: u64,
    pub(crate) placements: Vec<Placement>,
    pub(crate) heads: Vec<Vec<u8>>,
    pub(crate) body: Vec<u8>,
}

impl Delivery {
    /// What is to stand at the place.
    pub(crate) fn entry(&self, placement: &Placement) -> Vec<u8> {
        let head = self.heads.get(usize::from(placement.head)).map_or(&[][..], Vec::as_slice);
        [placement.line_end(), head, &self.body].concat()
    }
}

/// Messages at the end of a mailbox are removed: the file gets the size `placement.at`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) id: u64,
    /// Where the mailbox is to end.
    pub(crate) placement: Placement,
    /// Where it ended.
    pub(crate) size: u64,
    /// What goes.
    pub(crate) rest: Rest,
}

/// A message that is being appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Large {
    pub(crate) id: u64,
    pub(crate) placements: Vec<Placement>,
    pub(crate) shapes: Vec<Shape>,
}

/// An entry without its line end, by its size and the hashes of its blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) octets: u64,
    /// The `From ` line, which tells the beginning of our message from that of another.
    pub(crate) from_line: Vec<u8>,
    pub(crate) blocks: Vec<u64>,
}

/// Hash of a block of a long message.
pub(crate) fn block_hash(block: &[u8]) -> u64 {
    checksum(0, &[block])
}

impl Record {
    /// Whether it says what is to be done; the others say what became of that.
    pub(crate) fn is_to_be_done(&self) -> bool {
        matches!(self, Self::Delivery(_) | Self::Cut(_) | Self::Large(_))
    }

    /// Adds the record to `out`.
    pub(crate) fn encode(&self, seed: u64, out: &mut Vec<u8>) {
        let mut body = Writer(Vec::new());
        let kind = match self {
            Self::Delivery(Delivery { id, placements, heads, body: text }) => {
                body.number(*id);
                body.placements(placements);
                body.count(heads.len());
                heads.iter().for_each(|head| body.octets(head));
                body.octets(text);
                b'D'
            }
            Self::Cut(Cut { id, placement, size, rest }) => {
                body.number(*id);
                body.placements(std::slice::from_ref(placement));
                body.number(*size);
                body.octets(&rest.first);
                body.number(rest.hash);
                b'T'
            }
            Self::Large(Large { id, placements, shapes }) => {
                body.number(*id);
                body.placements(placements);
                body.count(shapes.len());
                for shape in shapes {
                    body.number(shape.octets);
                    body.octets(&shape.from_line);
                    body.count(shape.blocks.len());
                    shape.blocks.iter().for_each(|block| body.number(*block));
                }
                b'L'
            }
            Self::Applied { first, last } => {
                body.number(*first);
                body.number(*last);
                b'A'
            }
            Self::Committed { id } => {
                body.number(*id);
                b'C'
            }
            Self::Revoked { first, last } => {
                body.number(*first);
                body.number(*last);
                b'R'
            }
            Self::Settled { name } => {
                body.octets(name.as_bytes());
                b'S'
            }
        };
        let Writer(body) = body;
        let length = (body.len() as u64).to_le_bytes();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[kind, 0, 0, 0]);
        out.extend_from_slice(&length);
        out.extend_from_slice(&checksum(seed, &[&[kind], &length, &body]).to_le_bytes());
        out.extend_from_slice(&body);
    }

    /// The record that `octets` begin with, and how many octets it has; `None` when they begin with none.
    pub(crate) fn parse(seed: u64, octets: &[u8]) -> Option<(Self, usize)> {
        let frame = octets.get(..FRAME_OCTETS)?;
        let kind = frame[4];
        let length = u64::from_le_bytes(frame[8..16].try_into().ok()?);
        let sum = u64::from_le_bytes(frame[16..24].try_into().ok()?);
        let end = FRAME_OCTETS.checked_add(usize::try_from(length).ok()?)?;
        let body = octets.get(FRAME_OCTETS..end)?;
        if frame[..4] != *MAGIC || sum != checksum(seed, &[&[kind], &frame[8..16], body]) {
            return None;
        }
        let mut reader = Reader(body);
        let record = match kind {
            b'D' => Self::Delivery(Delivery {
                id: reader.number()?,
                placements: reader.placements()?,
                heads: reader.list(|reader| reader.octets().map(<[u8]>::to_vec))?,
                body: reader.octets()?.to_vec(),
            }),
            b'T' => Self::Cut(Cut {
                id: reader.number()?,
                placement: reader.placements()?.pop()?,
                size: reader.number()?,
                rest: Rest { first: reader.octets()?.to_vec(), hash: reader.number()? },
            }),
            b'L' => Self::Large(Large {
                id: reader.number()?,
                placements: reader.placements()?,
                shapes: reader.list(|reader| {
                    Some(Shape {
                        octets: reader.number()?,
                        from_line: reader.octets()?.to_vec(),
                        blocks: reader.list(Reader::number)?,
                    })
                })?,
            }),
            b'A' => Self::Applied { first: reader.number()?, last: reader.number()? },
            b'C' => Self::Committed { id: reader.number()? },
            b'R' => Self::Revoked { first: reader.number()?, last: reader.number()? },
            b'S' => Self::Settled { name: reader.name()? },
            _ => return None,
        };
        reader.0.is_empty().then_some((record, end))
    }
}

fn checksum(seed: u64, parts: &[&[u8]]) -> u64 {
    let mut hash = Xxh3::with_seed(seed);
    parts.iter().for_each(|part| hash.update(part));
    hash.digest()
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// Lengths of what is in memory and below the limits of messages, recipients and texts fit into 32 bits.
    fn count(&mut self, count: usize) {
        self.0.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
    }

    fn octets(&mut self, octets: &[u8]) {
        self.count(octets.len());
        self.0.extend_from_slice(octets);
    }

    fn placements(&mut self, placements: &[Placement]) {
        self.count(placements.len());
        for Placement { name, file, at, line_end, head, context } in placements {
            self.octets(name.as_bytes());
            self.number(*file);
            self.number(*at);
            self.0.extend_from_slice(&[*line_end, *head]);
            self.0.extend_from_slice(&context.octets.to_le_bytes());
            self.number(context.hash);
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const OCTETS: usize>(&mut self) -> Option<[u8; OCTETS]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn octets(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(u32::from_le_bytes(self.take()?)).ok()?;
        let (octets, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(octets)
    }

    fn name(&mut self) -> Option<String> {
        let name = std::str::from_utf8(self.octets()?).ok()?;
        is_known_name(name).then(|| name.to_owned())
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = u32::from_le_bytes(self.take()?);
        (0..count).map(|_| item(self)).collect()
    }

    fn placements(&mut self) -> Option<Vec<Placement>> {
        self.list(|reader| {
            Some(Placement {
                name: reader.name()?,
                file: reader.number()?,
                at: reader.number()?,
                line_end: reader.take::<1>()?[0],
                head: reader.take::<1>()?[0],
                context: Context { octets: u16::from_le_bytes(reader.take()?), hash: reader.number()? },
            })
        })
    }
}

#[cfg(test)]
#[path = "record/tests.rs"]
mod tests;
