//! How octets are written in conversation files, and how they are shown to people.

use std::fmt;

use pillarbox_proto::shown::is_shown;

/// Most octets one text may stand for: a typing error in a repetition must not fill the memory.
pub const TEXT_MAX_OCTETS: usize = 16 * 1024 * 1024;

/// One octet of a pattern, or a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Octet(u8),
    /// `*`: any octets but LF, also none.
    Any,
}

/// What an answer or a file must be: octets, with `*` standing for any octets that are no LF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern(Vec<Piece>);

impl Pattern {
    /// A pattern that only `octets` match.
    #[must_use]
    pub fn exact(octets: &[u8]) -> Self {
        Self(octets.iter().map(|&octet| Piece::Octet(octet)).collect())
    }

    /// Reads a pattern as conversation files write it: escapes, repetitions, and `*` for a gap.
    ///
    /// # Errors
    /// What is wrong with the text, for people.
    pub fn glob(text: &str) -> Result<Self, String> {
        pieces(text, true).map(Self)
    }

    /// Whether `octets`, all of them, are what the pattern says.
    #[must_use]
    pub fn matches(&self, octets: &[u8]) -> bool {
        // All places of the pattern that can have been reached: one, and one more for each gap passed.
        let mut places = vec![0];
        self.pass_gaps(&mut places);
        for &octet in octets {
            let mut next = Vec::new();
            for place in places {
                match self.0.get(place) {
                    Some(Piece::Octet(wanted)) if *wanted == octet => push_once(&mut next, place + 1),
                    Some(Piece::Any) if octet != b'\n' => push_once(&mut next, place),
                    _ => {}
                }
            }
            self.pass_gaps(&mut next);
            places = next;
        }
        places.contains(&self.0.len())
    }

    /// Appends what `other` says.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// The same pattern with every `from` replaced by `to`; used to put another user name into a conversation.
    #[must_use]
    pub fn replaced(&self, from: &[u8], to: &[u8]) -> Self {
        let (from, to) = (Self::exact(from).0, Self::exact(to).0);
        Self(replaced(&self.0, &from, &to))
    }

    fn pass_gaps(&self, places: &mut Vec<usize>) {
        let mut at = 0;
        while let Some(&place) = places.get(at) {
            if self.0.get(place) == Some(&Piece::Any) {
                push_once(places, place + 1);
            }
            at += 1;
        }
    }
}

/// Shown as [`show`] shows octets, with `*` for gaps.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(|piece| *piece == Piece::Any) {
            let octets: Vec<u8> = part
                .iter()
                .map(|piece| match piece {
                    Piece::Octet(octet) => *octet,
                    Piece::Any => b'*',
                })
                .collect();
            f.write_str(&show(&octets))?;
        }
        Ok(())
    }
}

/// Reads octets as conversation files write them: `\r \n \t \s \\ \{ \} \* \xNN` and repetitions `{text*count}`.
///
/// # Errors
/// What is wrong with the text, for people.
pub fn octets(text: &str) -> Result<Vec<u8>, String> {
    let pieces = pieces(text, false)?;
    Ok(pieces
        .into_iter()
        .map(|piece| match piece {
            Piece::Octet(octet) => octet,
            Piece::Any => b'*',
        })
        .collect())
}

/// Octets as people read them: text as it is, `<CR>`, `<LF>`, and `<0xAB>` for control and format characters and broken
/// UTF-8.
#[must_use]
pub fn show(octets: &[u8]) -> String {
    let mut shown = String::with_capacity(octets.len());
    for chunk in octets.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\r' => shown.push_str("<CR>"),
                '\n' => shown.push_str("<LF>"),
                character if !is_shown(character) => {
                    let mut buffer = [0; 4];
                    push_hex(&mut shown, character.encode_utf8(&mut buffer).as_bytes());
                }
                character => shown.push(character),
            }
        }
        push_hex(&mut shown, chunk.invalid());
    }
    shown
}

/// As [`show`], but of long texts only the beginning and the length.
#[must_use]
pub fn show_short(octets: &[u8]) -> String {
    const SHOWN_OCTETS: usize = 300;
    if octets.len() <= SHOWN_OCTETS {
        return show(octets);
    }
    format!("{}... ({} octets)", show(&octets[..SHOWN_OCTETS]), octets.len())
}

/// `whole` with every `from` replaced by `to`.
pub(crate) fn replaced<T: Clone + PartialEq>(whole: &[T], from: &[T], to: &[T]) -> Vec<T> {
    let mut result = Vec::with_capacity(whole.len());
    let mut rest = whole;
    while let Some((first, tail)) = rest.split_first() {
        match rest.strip_prefix(from) {
            Some(behind) if !from.is_empty() => {
                result.extend_from_slice(to);
                rest = behind;
            }
            _ => {
                result.push(first.clone());
                rest = tail;
            }
        }
    }
    result
}

fn push_hex(shown: &mut String, octets: &[u8]) {
    for octet in octets {
        shown.push_str(&format!("<0x{octet:02X}>"));
    }
}

fn push_once(places: &mut Vec<usize>, place: usize) {
    if !places.contains(&place) {
        places.push(place);
    }
}

fn pieces(text: &str, gaps: bool) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'\\' => pieces.push(Piece::Octet(escape(&mut rest)?)),
            b'{' => {
                let (unit, count) = repetition(&mut rest)?;
                if unit.len().saturating_mul(count).saturating_add(pieces.len()) > TEXT_MAX_OCTETS {
                    return Err(format!("a repetition of more than {TEXT_MAX_OCTETS} octets"));
                }
                for _ in 0..count {
                    pieces.extend(unit.iter().map(|&octet| Piece::Octet(octet)));
                }
            }
            b'}' => return Err("a `}` that ends nothing; a plain one is written \\}".to_owned()),
            b'*' if gaps => pieces.push(Piece::Any),
            octet => pieces.push(Piece::Octet(plain(octet)?)),
        }
    }
    Ok(pieces)
}

fn plain(octet: u8) -> Result<u8, String> {
    if octet.is_ascii_control() {
        return Err(format!("a control octet that nobody can see; write \\x{octet:02x}"));
    }
    Ok(octet)
}

/// Reads what stands behind a backslash.
fn escape(rest: &mut &[u8]) -> Result<u8, String> {
    let Some((&letter, tail)) = rest.split_first() else {
        return Err("a backslash at the end of the line; a plain one is written \\\\".to_owned());
    };
    *rest = tail;
    match letter {
        b'r' => Ok(b'\r'),
        b'n' => Ok(b'\n'),
        b't' => Ok(b'\t'),
        b's' => Ok(b' '),
        b'\\' | b'{' | b'}' | b'*' => Ok(letter),
        b'x' => {
            let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
            let value = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
            let value = value.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            *rest = tail.get(2..).unwrap_or_default();
            value.ok_or_else(|| "\\x wants two hexadecimal digits".to_owned())
        }
        _ => Err(format!("an unknown escape \\{}", char::from(letter))),
    }
}

/// Reads what stands behind a `{`, up to and with the `}`.
fn repetition(rest: &mut &[u8]) -> Result<(Vec<u8>, usize), String> {
    let mut unit = Vec::new();
    while let Some((&first, tail)) = rest.split_first() {
        *rest = tail;
        match first {
            b'\\' => unit.push(escape(rest)?),
            b'*' => {
                let end = rest.iter().position(|&octet| octet == b'}').unwrap_or(rest.len());
                let count = std::str::from_utf8(&rest[..end]).ok().and_then(|digits| digits.parse().ok());
                let (Some(count), Some(behind)) = (count, rest.get(end + 1..)) else { break };
                *rest = behind;
                return Ok((unit, count));
            }
            octet => unit.push(plain(octet)?),
        }
    }
    Err("a repetition is written {text*count}; a plain brace \\{".to_owned())
}

#[cfg(test)]
#[path = "text/tests.rs"]
mod tests;
