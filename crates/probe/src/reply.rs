//! SMTP replies (RFC 5321 §4.2): which codes are right, and the lines that make one reply.

use std::fmt;
use std::str::FromStr;

/// The three digits of a reply.
pub type Code = [u8; 3];

/// The codes that are right: `250 251`, or `5yz` for any that begins with 5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codes(Vec<Code>);

impl Codes {
    /// Whether this code is one of them.
    #[must_use]
    pub fn contains(&self, code: Code) -> bool {
        let is_digit = |wanted: u8, got: u8| wanted == got || wanted.is_ascii_lowercase();
        self.0.iter().any(|wanted| wanted.iter().zip(code).all(|(&wanted, got)| is_digit(wanted, got)))
    }

    /// What can be done after a reply with this code, which is none of them. `None`: there was no code at all.
    pub(crate) fn way_on(&self, code: Option<Code>) -> WayOn {
        let wants = |first: u8| self.0.iter().any(|code| code[0] == first);
        match code {
            Some([b'3', ..]) => WayOn::None,
            Some([b'4', b'2', b'1']) => WayOn::None,
            Some([first, ..]) if wants(first) => WayOn::Next,
            _ if wants(b'2') || wants(b'3') => WayOn::Farewell,
            _ => WayOn::Next,
        }
    }
}

/// Reads them as conversation files write them.
impl FromStr for Codes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let code = |word: &str| -> Option<Code> {
            let code: Code = word.as_bytes().try_into().ok()?;
            let is_code =
                matches!(code[0], b'2'..=b'5') && (code[1..] == *b"yz" || code.iter().all(u8::is_ascii_digit));
            is_code.then_some(code)
        };
        let codes: Option<Vec<Code>> = text.split(' ').map(code).collect();
        codes.map(Self).ok_or_else(|| format!("`{text}` is not one reply code or more, like `250 251` or `5yz`"))
    }
}

impl fmt::Display for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codes: Vec<_> = self.0.iter().map(|code| format!("`{}`", String::from_utf8_lossy(code))).collect();
        write!(f, "a reply {}", codes.join(" or "))
    }
}

/// What is left of a conversation after something was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayOn {
    /// All of it: only a text was wrong.
    Next,
    /// The last that the client has to say: what was refused would have been needed for the rest.
    Farewell,
    /// Nothing.
    None,
}

/// One line of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplyLine {
    /// Its code, if it begins with one.
    pub(crate) code: Option<Code>,
    /// Another line of the same reply follows.
    pub(crate) goes_on: bool,
    /// It is as the RFC has it: nothing or a text behind the code, CR LF at its end, and no control octets before.
    pub(crate) is_sound: bool,
}

impl ReplyLine {
    /// Reads a line with its line end.
    pub(crate) fn read(line: &[u8]) -> Self {
        let code = line.first_chunk().copied().filter(|code: &Code| code.iter().all(u8::is_ascii_digit));
        let text = line.strip_suffix(b"\r\n").and_then(|line| line.get(3..));
        let goes_on = code.is_some() && line.get(3) == Some(&b'-');
        let is_sound = code.is_some()
            && text.is_some_and(|text| {
                matches!(text.first(), None | Some(b' ' | b'-'))
                    && text.iter().all(|octet| !octet.is_ascii_control() || *octet == b'\t')
            });
        Self { code, goes_on, is_sound }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Codes {
        text.parse().unwrap()
    }

    #[test]
    fn codes_are_read_and_compared() {
        assert!(codes("250 251").contains(*b"251") && !codes("250 251").contains(*b"252"));
        assert!(codes("5yz").contains(*b"554") && !codes("5yz").contains(*b"450"));
        assert_eq!(codes("250 5yz").to_string(), "a reply `250` or `5yz`");
        for text in ["", "25", "2500", "150", "650", "25z", "yyz", "250  251", "250,251"] {
            assert!(text.parse::<Codes>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn lines_of_replies() {
        let read = |line: &[u8]| {
            let ReplyLine { code, goes_on, is_sound } = ReplyLine::read(line);
            (code.is_some(), goes_on, is_sound)
        };
        for sound in [&b"250\r\n"[..], b"250 OK\r\n", b"250 \r\n", b"250 2.1.0 a\tb\r\n", "250 für\r\n".as_bytes()] {
            assert_eq!(read(sound), (true, false, true), "{sound:?}");
        }
        assert_eq!(read(b"250-a\r\n"), (true, true, true));
        assert_eq!(read(b"250-\r\n"), (true, true, true));
        for wrong in [&b"250 OK\n"[..], b"2500\r\n", b"250OK\r\n", b"250 a\0\r\n", b"250 a\rb\r\n"] {
            assert_eq!(read(wrong), (true, false, false), "{wrong:?}");
        }
        for wrong in [&b"OK\r\n"[..], b"\r\n", b"\n", b"25\r\n", b"-250 OK\r\n", b"\x00250 OK\r\n"] {
            assert_eq!(read(wrong), (false, false, false), "{wrong:?}");
        }
    }

    #[test]
    fn what_was_refused_ends_what_needs_it() {
        for (wanted, got, way_on) in [
            ("250 251", Some(*b"252"), WayOn::Next),
            ("250", Some(*b"550"), WayOn::Farewell),
            ("354", Some(*b"503"), WayOn::Farewell),
            ("354", Some(*b"250"), WayOn::Farewell),
            ("250", None, WayOn::Farewell),
            ("503", Some(*b"250"), WayOn::Next),
            ("503", Some(*b"450"), WayOn::Next),
            ("5yz", None, WayOn::Next),
            // A command would be taken for text.
            ("5yz", Some(*b"354"), WayOn::None),
            // The server closes.
            ("250", Some(*b"421"), WayOn::None),
        ] {
            assert_eq!(codes(wanted).way_on(got), way_on, "{wanted} {got:?}");
        }
    }
}
