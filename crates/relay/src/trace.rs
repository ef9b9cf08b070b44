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

/// Longest line that is not folded, in octets, without its CR LF; below the 78 of RFC 5322 §2.1.1.
const LINE_OCTETS: usize = 77;

#[cfg(test)]
#[path = "trace/tests.rs"]
mod tests;
