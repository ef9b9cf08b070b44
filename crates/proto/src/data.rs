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
#[path = "data/tests.rs"]
mod tests;
