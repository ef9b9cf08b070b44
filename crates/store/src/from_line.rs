//! The `From ` line that begins each entry of an mbox file: written (C-S8) and recognised (C-P9).
//!
//! RFC 4155 leaves open what programs put between `From ` and the date, and they put anything there. So a line counts
//! by its end alone: a date with weekday, month, day, time and year, in one of the orders in which programs write it.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use memchr::memrchr;
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

/// The orders of a date: asctime's; with the year in front of the time, as JavaScript writes it, and so Thunderbird; that
/// of RFC 5322 §3.3, without and with the comma. The letters are those of [`kind`].
const DATES: [&[u8; 5]; 4] = [b"WMDTY", b"WMDYT", b"WDMYT", b",DMYT"];

/// Whether `line`, with or without its line end, begins an entry. Looks at its words from the last one on, and at no more
/// of them than make a date.
pub(crate) fn is_from_line(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(FROM).filter(|_| line.len() <= FROM_LINE_MAX_OCTETS) else { return false };
    let mut rest = rest.trim_ascii_end();
    let mut date = [0; 5];
    let mut has_zone = false;
    for (behind, place) in date.iter_mut().rev().enumerate() {
        // One zone: behind time and year, between them or in front of them.
        if behind <= 2 && !has_zone {
            let name = if rest.ends_with(b")") { memrchr(b'(', rest) } else { None };
            let (before, zone) = cut_last_word(name.map_or(rest, |at| rest[..at].trim_ascii_end()));
            has_zone = is_zone(zone);
            rest = if has_zone { before } else { rest };
        }
        let (before, word) = cut_last_word(rest);
        rest = before;
        *place = kind(word);
        if *place == 0 {
            return false;
        }
    }
    DATES.contains(&&date)
}

/// What is in front of the last word and the blanks before it, and that word.
fn cut_last_word(line: &[u8]) -> (&[u8], &[u8]) {
    let is_blank = |octet: &u8| matches!(octet, b' ' | b'\t');
    let (before, word) = line.split_at(line.iter().rposition(is_blank).map_or(0, |blank| blank + 1));
    (&before[..before.iter().rposition(|octet| !is_blank(octet)).map_or(0, |last| last + 1)], word)
}

/// What a word may be in a date, as a letter of [`DATES`]; 0 if nothing.
fn kind(word: &[u8]) -> u8 {
    match word {
        _ if is_four_digits(word) => b'Y',
        _ if is_time(word) => b'T',
        _ if is_day(word) => b'D',
        _ if MONTHS.contains(&word) => b'M',
        _ if WEEKDAYS.contains(&word) => b'W',
        [weekday @ .., b','] if WEEKDAYS.contains(&weekday) => b',',
        _ => 0,
    }
}

fn is_four_digits(word: &[u8]) -> bool {
    word.len() == 4 && word.iter().all(u8::is_ascii_digit)
}

/// `GMT`, `CEST`, `+0100`, `GMT-0700`; no word that has its place in a date, and none of prose.
fn is_zone(word: &[u8]) -> bool {
    let (name, offset) = word.split_at(word.iter().take_while(|octet| octet.is_ascii_uppercase()).count());
    let is_named = (1..=6).contains(&name.len()) && kind(name) == 0;
    match offset {
        [] => is_named,
        [b'+' | b'-', digits @ ..] => (name.is_empty() || is_named) && is_four_digits(digits),
        _ => false,
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
