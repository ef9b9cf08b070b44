//! What properties are tried on, and a few ways to look at octets.

#![allow(dead_code, reason = "not every user of this file needs all of it")]

use std::iter;

/// Most octets of a wire that [`Input::parse`] makes of the few that it is given.
const WIRE_MAX_OCTETS: usize = 24 * 1024;
/// Most lines of it. Enough replies to reach their limit, and more recipients than a message may have.
const WIRE_MAX_LINES: usize = 2500;
/// Stands in front of a repetition in what [`Input::parse`] takes.
const REPEAT: u8 = 0xff;

/// What a property is tried on.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// Decide everything that is not on the wire: where it is cut, what is answered, how it ends.
    pub(crate) choices: Vec<u8>,
    /// What the other side sends.
    pub(crate) wire: Vec<u8>,
}

impl Input {
    /// Reads what a fuzzer has made: the first octet says how many choices follow, the rest is the wire. In it
    /// `0xff n x` stands for `x` repeated 2^(n mod 14) times, or for the line before it if `x` is `0xff`, so that a few
    /// octets reach the limits on long lines and many commands.
    pub(crate) fn parse(octets: &[u8]) -> Self {
        let (&count, rest) = octets.split_first().unwrap_or((&0, &[]));
        let (choices, mut rest) = rest.split_at(usize::from(count).min(rest.len()));
        let mut wire = Vec::with_capacity(rest.len());
        while let Some((&octet, behind)) = rest.split_first() {
            rest = behind;
            match *behind {
                [exponent, repeated, ..] if octet == REPEAT => {
                    let times = 1 << (exponent % 14);
                    if repeated == REPEAT {
                        let line =
                            wire.split_inclusive(|&octet| octet == b'\n').next_back().unwrap_or_default().to_vec();
                        wire.extend(iter::repeat_n(line, times).flatten().take(WIRE_MAX_OCTETS));
                    } else {
                        wire.extend(iter::repeat_n(repeated, times));
                    }
                    rest = &behind[2..];
                }
                _ => wire.push(octet),
            }
            wire.truncate(WIRE_MAX_OCTETS);
        }
        if let Some((last, _)) = wire.iter().enumerate().filter(|(_, octet)| **octet == b'\n').nth(WIRE_MAX_LINES) {
            wire.truncate(last);
        }
        Self { choices: choices.to_vec(), wire }
    }

    pub(crate) fn choices(&self) -> Choices<'_> {
        Choices::new(&self.choices)
    }
}

/// Gives choices one after another, from the beginning again when they are used up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choices<'a> {
    octets: &'a [u8],
    at: usize,
}

impl<'a> Choices<'a> {
    pub(crate) fn new(octets: &'a [u8]) -> Self {
        Self { octets, at: 0 }
    }
}

impl Choices<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    pub(crate) fn next(&mut self) -> u8 {
        let octet = self.octets.get(self.at).copied().unwrap_or_default();
        self.at = (self.at + 1) % self.octets.len().max(1);
        octet
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.next()) % end
    }

    pub(crate) fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == many - 1
    }

    /// The size of a piece: mostly small, up to 16,384.
    pub(crate) fn size(&mut self) -> usize {
        match usize::from(self.next()) {
            small @ 0..128 => small % 16 + 1,
            large => (large - 127).pow(2),
        }
    }

    /// Cuts octets into pieces, none of them empty.
    pub(crate) fn cut<'o>(&mut self, mut octets: &'o [u8]) -> Vec<&'o [u8]> {
        let mut pieces = Vec::new();
        while !octets.is_empty() {
            let piece;
            (piece, octets) = octets.split_at(self.size().min(octets.len()));
            pieces.push(piece);
        }
        pieces
    }

    /// A text as a store gives it: CR LF line ends and no bare LF, with dots and CRs where they are difficult.
    pub(crate) fn text(&mut self) -> Vec<u8> {
        const PIECES: [&str; 10] = [".", "\r\n", "a", "\r", "..", "From ", "\r\n.\r\n", "\r\n.", "x\0\u{fc}", ". "];
        let mut text = Vec::new();
        for _ in 0..self.below(24) {
            text.extend_from_slice(PIECES[self.below(PIECES.len())].as_bytes());
        }
        if self.one_in(32) {
            text.extend_from_slice(&b".lorem ipsum\r\n".repeat(1024));
        }
        if !text.is_empty() {
            text.extend_from_slice(b"\r\n");
        }
        text
    }
}

/// Cuts the next line off, CR LF and LF alike as C-C3 has it: the line, its octets with its end, and the rest.
pub(crate) fn cut_line(octets: &[u8]) -> Option<(&[u8], usize, &[u8])> {
    let lf = octets.iter().position(|&octet| octet == b'\n')?;
    let line = octets[..lf].strip_suffix(b"\r").unwrap_or(&octets[..lf]);
    Some((line, lf + 1, &octets[lf + 1..]))
}

/// Whether a wire begins with an HTTP request, by the words of C-C12.
pub(crate) fn is_http(wire: &[u8]) -> bool {
    const METHODS: [&str; 10] =
        ["CONNECT ", "DELETE ", "GET ", "HEAD ", "OPTIONS ", "PATCH ", "POST ", "PRI ", "PUT ", "TRACE "];
    let Some((line, ..)) = cut_line(wire) else { return false };
    let begins =
        |method: &str| line.len() >= method.len() && line[..method.len()].eq_ignore_ascii_case(method.as_bytes());
    let digit = u8::is_ascii_digit;
    METHODS.into_iter().any(begins)
        || line
            .strip_suffix(b".0")
            .or(line.strip_suffix(b".1"))
            .unwrap_or(line)
            .split_last()
            .is_some_and(|(version, line)| digit(version) && line.ends_with(b" HTTP/"))
}

/// Takes a line off that ends in CR LF.
pub(crate) fn take_line<'a>(octets: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = octets.windows(2).position(|two| two == b"\r\n")?;
    let line = &octets[..end];
    *octets = &octets[end + 2..];
    Some(line)
}

/// Whether all of it is printable US-ASCII: no stray octets, and nothing that could end a line.
pub(crate) fn is_printable(octets: &[u8]) -> bool {
    octets.iter().all(|octet| (b' '..=b'~').contains(octet))
}

/// Compares octets, and shows them to people only where they differ.
#[track_caller]
pub(crate) fn assert_same(left: &[u8], right: &[u8], what: &str) {
    if left != right {
        assert_eq!(shown(left), shown(right), "{what}");
    }
}

/// Octets for people.
pub(crate) fn shown(octets: &[u8]) -> String {
    octets.escape_ascii().to_string()
}
