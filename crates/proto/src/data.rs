//! Message data on the wire: where it ends, and its dots (RFC 5321 §4.1.1.4 and §4.5.2, RFC 1939 §3; C-S7).

use memchr::memchr;

/// Reads message data: finds its end, takes the dot-stuffing off, and turns a bare LF into CR LF.
///
/// Data ends with CR LF `.` CR LF and with nothing else; the CR LF of the DATA line counts as the first. Lines are
/// found by CR LF, then a leading dot is taken off, then a bare LF in the text becomes CR LF; a bare CR stays a
/// character. So nothing that is stored or sent on can hide an end of data from us or from the next server ("SMTP
/// smuggling", e.g. CVE-2023-51764).
///
/// Works on whatever chunks arrive and holds none of them:
///
/// | state | what has been seen | kept back |
/// |---|---|---|
/// | `LineStart` | CR LF, or nothing at all | nothing |
/// | `Dot` | a dot at the start of a line | the dot, until it is known whether it ends the data |
/// | `DotCr` | dot CR at the start of a line | the CR (the dot is stuffing or end, and gone either way) |
/// | `Inside` | anything else; whether its last octet was CR | nothing |
/// | `Ended` | the end | nothing |
#[derive(Clone, Debug)]
pub struct DataReader {
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    LineStart,
    Dot,
    DotCr,
    Inside { after_cr: bool },
    Ended,
}

impl Default for DataReader {
    fn default() -> Self {
        Self { state: State::LineStart }
    }
}

impl DataReader {
    /// Reads a chunk: adds the text in it to `text` and says how many octets of it were data. Once
    /// [`DataReader::ended`], what stands behind is the next command and is not taken.
    pub fn read(&mut self, octets: &[u8], text: &mut Vec<u8>) -> usize {
        let mut at = 0;
        while at < octets.len() && self.state != State::Ended {
            let octet = octets[at];
            self.state = match (self.state, octet) {
                (State::LineStart, b'.') => {
                    at += 1;
                    State::Dot
                }
                (State::Dot, b'\r') => {
                    at += 1;
                    State::DotCr
                }
                (State::DotCr, b'\n') => {
                    at += 1;
                    State::Ended
                }
                (State::DotCr, _) => {
                    text.push(b'\r');
                    State::Inside { after_cr: true }
                }
                (State::LineStart | State::Dot, _) => State::Inside { after_cr: false },
                (State::Inside { after_cr }, _) => {
                    let (taken, state) = read_inside(&octets[at..], after_cr, text);
                    at += taken;
                    state
                }
                (State::Ended, _) => State::Ended,
            };
        }
        at
    }

    /// Whether the end of the data was read.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.state == State::Ended
    }
}

/// Copies text up to the first line that starts with a dot, or to the end of the chunk. Whole runs of lines are copied
/// at once: only an LF needs a look, at the octet before it and at the one behind it.
fn read_inside(octets: &[u8], after_cr: bool, text: &mut Vec<u8>) -> (usize, State) {
    let mut copied = 0;
    let mut searched = 0;
    while let Some(found) = memchr(b'\n', &octets[searched..]) {
        let lf = searched + found;
        searched = lf + 1;
        let ends_line = if lf == 0 { after_cr } else { octets[lf - 1] == b'\r' };
        if !ends_line {
            text.extend_from_slice(&octets[copied..lf]);
            text.extend_from_slice(b"\r\n");
            copied = searched;
        } else if octets.get(searched).is_none_or(|&next| next == b'.') {
            text.extend_from_slice(&octets[copied..searched]);
            return (searched, State::LineStart);
        }
    }
    text.extend_from_slice(&octets[copied..]);
    let after_cr = if octets.is_empty() { after_cr } else { octets.ends_with(b"\r") };
    (octets.len(), State::Inside { after_cr })
}

/// Doubles a dot at the start of each line and ends the text with the dot line (RFC 5321 §4.5.2, RFC 1939 §3).
///
/// The text has CR LF line ends, or none at its end: then the line is ended first.
#[derive(Clone, Debug)]
pub struct DotStuffer {
    /// The last octets were CR LF, or there were none.
    line_start: bool,
    after_cr: bool,
}

impl Default for DotStuffer {
    fn default() -> Self {
        Self { line_start: true, after_cr: false }
    }
}

impl DotStuffer {
    /// Adds a chunk of text to `out`.
    pub fn stuff(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        let Some(&last) = octets.last() else { return };
        if self.line_start && octets[0] == b'.' {
            out.push(b'.');
        }
        let mut copied = 0;
        let mut searched = 0;
        // Only an LF that is not the last octet can have a dot behind it in this chunk.
        while let Some(found) = memchr(b'\n', &octets[searched..octets.len() - 1]) {
            let lf = searched + found;
            searched = lf + 1;
            let after_cr = if lf == 0 { self.after_cr } else { octets[lf - 1] == b'\r' };
            if after_cr && octets[searched] == b'.' {
                out.extend_from_slice(&octets[copied..searched]);
                out.push(b'.');
                copied = searched;
            }
        }
        out.extend_from_slice(&octets[copied..]);
        let before_last = if octets.len() > 1 { octets[octets.len() - 2] == b'\r' } else { self.after_cr };
        self.line_start = last == b'\n' && before_last;
        self.after_cr = last == b'\r';
    }

    /// Ends the text.
    pub fn end(self, out: &mut Vec<u8>) {
        if !self.line_start {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads data in chunks of every size: the text, and what is left behind the end (`None`: no end was found).
    fn check(data: &[u8], text: &[u8], left: Option<&[u8]>) {
        for size in [1, 2, 3, 7, usize::MAX] {
            let mut reader = DataReader::default();
            let mut read = Vec::new();
            let mut at = 0;
            for chunk in data.chunks(size.min(data.len().max(1))) {
                let taken = reader.read(chunk, &mut read);
                at += taken;
                if taken < chunk.len() || reader.ended() {
                    break;
                }
            }
            assert_eq!(read.escape_ascii().to_string(), text.escape_ascii().to_string(), "text, in chunks of {size}");
            assert_eq!(reader.ended().then_some(&data[at..]), left, "rest, in chunks of {size}");
        }
    }

    /// holds C-S7
    #[test]
    fn data_ends_with_a_lone_dot_between_crlfs() {
        check(b".\r\nQUIT\r\n", b"", Some(b"QUIT\r\n"));
        check(b"\r\n.\r\n", b"\r\n", Some(b""));
        check(b"a\r\n.\r\nNOOP\r\n", b"a\r\n", Some(b"NOOP\r\n"));
        check(b"a\r\nb\r\n\r\n.\r\n", b"a\r\nb\r\n\r\n", Some(b""));
    }

    /// holds C-S7
    #[test]
    fn leading_dots_are_unstuffed() {
        check(b"..\r\n...a\r\n.b\r\nc.\r\n.\r\n", b".\r\n..a\r\nb\r\nc.\r\n", Some(b""));
        check(b"..\r\n..\r\n.\r\n", b".\r\n.\r\n", Some(b""));
    }

    /// holds C-S7
    #[test]
    fn a_bare_lf_becomes_crlf_after_the_dots_and_a_bare_cr_stays() {
        check(b"a\nb\r\n.\r\n", b"a\r\nb\r\n", Some(b""));
        check(b"\n\r\n.\r\n", b"\r\n\r\n", Some(b""));
        // The dot behind a bare LF starts no line of the wire: it is text.
        check(b"a\n..b\r\n.\r\n", b"a\r\n..b\r\n", Some(b""));
        check(b".\n\r\n.\r\n", b"\r\n\r\n", Some(b""));
        check(b"a\rb\r\r\n.\r\n", b"a\rb\r\r\n", Some(b""));
        check(b".\rb\r\n.\r\n", b"\rb\r\n", Some(b""));
    }

    /// holds C-S7
    #[test]
    fn nothing_else_ends_the_data() {
        for mark in [
            "\n.\n",
            "\n.\r\n",
            "\r\n.\n",
            "\r.\r",
            "\r\n.\r",
            "\r.\r\n",
            "\n.\r",
            "\r\n.\r\r\n",
            "\r\r\n.\r\r\n",
            "\r\0\n.\r\n",
            "\n\n.\r\n",
            "\r\n.\n\r",
            "\r\n .\r\n",
            "\r\n. \r\n",
            "\r\n.\0\r\n",
            "\r\n..\r\n",
            "\n\r.\r\n",
            "\r\n.\r\0\n",
            "\u{85}.\r\n",
            "\r\n\u{ff0e}\r\n",
        ] {
            let data = format!("a{mark}QUIT\r\n");
            let mut reader = DataReader::default();
            reader.read(data.as_bytes(), &mut Vec::new());
            assert!(!reader.ended(), "{mark:?}");
        }
        // The same right behind the DATA line.
        for mark in [".\n", ".\r\r\n", ". \r\n", "\r.\r\n"] {
            let mut reader = DataReader::default();
            reader.read(mark.as_bytes(), &mut Vec::new());
            assert!(!reader.ended(), "{mark:?}");
        }
    }

    /// Octets in which everything that matters is frequent.
    fn tricky() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(&b"\r\n.a\0"[..]), 0..60)
    }

    proptest! {
        #[test]
        fn how_data_is_cut_makes_no_difference(data in tricky(), cuts in prop::collection::vec(0usize..60, 0..6)) {
            let mut whole = (DataReader::default(), Vec::new());
            let end = whole.0.read(&data, &mut whole.1);
            let mut cut = (DataReader::default(), Vec::new());
            let mut at = 0;
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(data.len())).collect();
            cuts.extend([0, data.len()]);
            cuts.sort_unstable();
            for pair in cuts.windows(2) {
                at += cut.0.read(&data[pair[0].max(at)..pair[1].max(at)], &mut cut.1);
            }
            prop_assert_eq!((at, cut.1, cut.0.ended()), (end, whole.1, whole.0.ended()));
        }

        #[test]
        fn what_was_read_has_no_bare_lf(data in tricky()) {
            let mut text = Vec::new();
            DataReader::default().read(&data, &mut text);
            let bare = text.iter().enumerate().any(|(at, &octet)| octet == b'\n' && (at == 0 || text[at - 1] != b'\r'));
            prop_assert!(!bare);
        }

        #[test]
        fn stuffed_text_reads_back(lines in prop::collection::vec("[.a\r]{0,5}", 0..10), size in 1usize..20) {
            let text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let mut wire = Vec::new();
            let mut stuffer = DotStuffer::default();
            for chunk in text.as_bytes().chunks(size) {
                stuffer.stuff(chunk, &mut wire);
            }
            stuffer.end(&mut wire);
            let mut reader = DataReader::default();
            let mut read = Vec::new();
            prop_assert_eq!(reader.read(&wire, &mut read), wire.len());
            prop_assert!(reader.ended());
            prop_assert_eq!(read, text.into_bytes());
        }
    }

    #[test]
    fn a_text_without_a_last_line_end_gets_one() {
        let mut wire = Vec::new();
        let mut stuffer = DotStuffer::default();
        stuffer.stuff(b".a", &mut wire);
        stuffer.end(&mut wire);
        assert_eq!(wire, b"..a\r\n.\r\n");
    }
}
