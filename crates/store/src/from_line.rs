//! The `From ` line that begins each entry of an mbox file: written (C-S8) and recognised (C-P9).
//!
//! RFC 4155 leaves open what programs put between `From ` and the date, and they put anything there. So a line counts
//! by its end alone: an asctime date, with or without seconds, with a zone before or behind the year or without.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use pillarbox_proto::ReversePath;

/// What every `From ` line begins with, and what is quoted when a line of a text begins with it.
pub(crate) const FROM: &[u8; 5] = b"From ";

/// Longest `From ` line that is recognised, its line end included. A path has 256 octets at most
/// (RFC 5321 §4.5.3.1.3); the rest is for what other programs write. It bounds what a scanner holds back.
pub(crate) const FROM_LINE_MAX_OCTETS: usize = 4096;

const WEEKDAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// The line that begins an entry of ours, LF included: `From <path> Mon Aug 22 23:00:00 2016`, in UTC.
///
/// A path holds printable US-ASCII only, so it cannot end the line.
pub(crate) fn format(reverse_path: &ReversePath, at: Timestamp) -> String {
    let date = at.to_zoned(TimeZone::UTC).strftime("%a %b %e %H:%M:%S %Y").to_string();
    format!("From {reverse_path} {date}\n")
}

/// The date of a `From ` line of ours, as RFC 5322 §3.3 writes dates; `None` if it is written in another way.
pub(crate) fn rfc_5322_date(asctime: &[u8]) -> Option<String> {
    let asctime = std::str::from_utf8(asctime).ok()?;
    let date = jiff::civil::DateTime::strptime("%a %b %e %H:%M:%S %Y", asctime).ok()?;
    Some(date.strftime("%a, %-d %b %Y %H:%M:%S +0000").to_string())
}

/// Whether `line`, with or without its line end, begins an entry. Looks at the end of the line only, so its cost does
/// not depend on its length.
pub(crate) fn is_from_line(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(FROM) else { return false };
    if line.len() > FROM_LINE_MAX_OCTETS {
        return false;
    }
    let mut words = rest.trim_ascii_end().rsplit(|octet| matches!(octet, b' ' | b'\t')).filter(|word| !word.is_empty());
    let mut before = || words.next().unwrap_or_default();
    let mut word = before();
    if is_year(word) {
        word = before();
        if is_zone(word) {
            word = before();
        }
    } else {
        if !is_zone(word) || !is_year(before()) {
            return false;
        }
        word = before();
    }
    is_time(word) && is_day(before()) && MONTHS.contains(&before()) && WEEKDAYS.contains(&before())
}

fn is_year(word: &[u8]) -> bool {
    word.len() == 4 && word.iter().all(u8::is_ascii_digit)
}

/// `GMT`, `CEST`, `+0100`.
fn is_zone(word: &[u8]) -> bool {
    match word {
        [b'+' | b'-', digits @ ..] => digits.len() == 4 && digits.iter().all(u8::is_ascii_digit),
        _ => (1..=6).contains(&word.len()) && word.iter().all(u8::is_ascii_alphabetic),
    }
}

/// `23:00` or `23:00:00`; 60 is a leap second.
fn is_time(word: &[u8]) -> bool {
    let mut parts = word.split(|&octet| octet == b':');
    let mut in_range = |max| parts.next().and_then(two_digits).is_some_and(|number| number <= max);
    in_range(23) && in_range(59) && (word.len() == 5 || in_range(60)) && parts.next().is_none()
}

/// `1`, `01` … `31`.
fn is_day(word: &[u8]) -> bool {
    let day = match word {
        [digit @ b'0'..=b'9'] => Some(digit - b'0'),
        _ => two_digits(word),
    };
    day.is_some_and(|day| (1..=31).contains(&day))
}

fn two_digits(word: &[u8]) -> Option<u8> {
    match word {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some((tens - b'0') * 10 + (ones - b'0')),
        _ => None,
    }
}

#[cfg(test)]
#[path = "from_line/tests.rs"]
mod tests;
