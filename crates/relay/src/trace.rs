//! The trace field that we put in front of a text (RFC 5321 §4.4).

/// The Received line of a message that was taken from this host: which host took it, and when.
///
/// `by` is a domain or an address literal, `at` a date as RFC 5322 §3.3 has it, e.g. `Wed, 25 Nov 2026 10:00:00 +0000`.
/// Folded, with CR LF at the end of each line; no line is longer than 78 octets unless `by` alone is (RFC 5322 §2.1.1).
///
/// ```
/// let line = pillarbox_relay::trace::received_line("mail.example.org", "Wed, 25 Nov 2026 10:00:00 +0000");
/// assert!(line.starts_with("Received: from localhost (localhost [127.0.0.1])\r\n\tby mail.example.org "));
/// ```
#[must_use]
pub fn received_line(by: &str, at: &str) -> String {
    let with = "(Pillarbox) with SMTP";
    let fold = if "\tby  ;".len() + by.len() + with.len() > LINE_OCTETS { "\r\n\t" } else { " " };
    format!("Received: from localhost (localhost [127.0.0.1])\r\n\tby {by}{fold}{with};\r\n\t{at}\r\n")
}

/// Received lines of a text that are no sign of a loop yet (RFC 5321 §6.3): "normally at least 100" is for those who
/// have no other sign; hardly any mail comes through more than twenty hosts.
pub const RECEIVED_MAX: usize = 50;

/// Counts the Received lines in the header of a text that comes in pieces.
#[derive(Debug, Default)]
pub struct ReceivedLines {
    count: usize,
    /// How the line begins that has begun.
    line: Vec<u8>,
    is_over: bool,
}

impl ReceivedLines {
    const FIELD: &[u8] = b"Received:";

    /// Takes the next octets; whether that was the whole header, or there are more than [`RECEIVED_MAX`].
    pub fn is_enough(&mut self, octets: &[u8]) -> bool {
        for &octet in octets {
            if self.is_over || self.is_loop() {
                break;
            }
            if octet != b'\n' {
                self.line.extend((self.line.len() < Self::FIELD.len()).then_some(octet));
                continue;
            }
            self.is_over = matches!(&self.line[..], b"" | b"\r");
            self.count += usize::from(self.line.eq_ignore_ascii_case(Self::FIELD));
            self.line.clear();
        }
        self.is_over || self.is_loop()
    }

    /// Whether the text must have come here before.
    #[must_use]
    pub fn is_loop(&self) -> bool {
        self.count > RECEIVED_MAX
    }
}

/// Longest line that is not folded, in octets, without its CR LF; below the 78 of RFC 5322 §2.1.1.
const LINE_OCTETS: usize = 77;

#[cfg(test)]
#[path = "trace/tests.rs"]
mod tests;
