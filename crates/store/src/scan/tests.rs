//! Entries of good, odd and damaged mailboxes, cut at every place.

use proptest::prelude::*;

use super::*;
use crate::quote::Quoter;
use crate::quote::tests::{texts, unquote};

const LF: &str = "From a Mon Aug 22 23:00:00 2016\n";
const CRLF: &str = "From a Mon Aug 22 23:00:00 2016\r\n";

const RFC_5322: &str = "From a Mon, 22 Aug 2016 23:00:00 +0200 (a b)\n";

const PIECES: &[&str] =
    &["\n", "\r", ">", "From ", "F", "x", "\u{fc}\0", LF, CRLF, RFC_5322, "Mon ", "22 Aug 2016 23:00"];

fn scanned(mbox: &[u8]) -> Vec<Entry> {
    scan(|buffer, offset| {
        let rest = &mbox[usize::try_from(offset).unwrap()..];
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    })
    .unwrap()
}

/// Scans in two blocks cut at `cut`, as [`scan`] does.
fn scanned_in_two(mbox: &[u8], cut: usize) -> Vec<Entry> {
    let mut scanner = Scanner::new();
    let taken = scanner.take(&mbox[..cut], false);
    assert!(cut - taken <= HELD_MAX_OCTETS);
    let second = taken + scanner.take(&mbox[taken..], false);
    assert_eq!(second + scanner.take(&mbox[second..], true), mbox.len());
    scanner.entries
}

/// Scans in parts, as `update::list_range` does.
fn scanned_in_parts(mbox: &[u8], count: u64) -> Vec<Entry> {
    let read_at = |buffer: &mut [u8], offset| {
        let rest = &mbox[usize::try_from(offset).unwrap()..];
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    };
    let parts = parts(0..mbox.len() as u64, count, read_at).unwrap();
    assert_eq!((parts[0].start, parts[parts.len() - 1].end), (0, mbox.len() as u64));
    assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start && pair[0].start < pair[0].end));
    parts.into_iter().flat_map(|part| scan_range(part, read_at).unwrap()).collect()
}

/// Shows the texts of `mbox` as they go on the wire, and checks that it makes no difference how it is cut, that
/// octets are what is shown, and that entries cover the file to its end.
fn check(mbox: &str, expected: &[&str]) {
    let mbox = mbox.as_bytes();
    let entries = scanned(mbox);
    let range = |from: u64, to: u64| &mbox[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()];
    let shown: Vec<String> = entries
        .iter()
        .map(|entry| {
            let text = unquote(&[range(entry.text, entry.end)]);
            assert_eq!(text.len() as u64, entry.octets, "octets in {:?}", String::from_utf8_lossy(mbox));
            String::from_utf8_lossy(&text).into_owned()
        })
        .collect();
    assert_eq!(shown, expected, "for {:?}", String::from_utf8_lossy(mbox));
    for (entry, next) in entries.iter().zip(&entries[1.min(entries.len())..]) {
        assert_eq!(entry.next, next.start);
    }
    if let Some(last) = entries.last() {
        assert_eq!(last.next, mbox.len() as u64);
    }
    for entry in &entries {
        let mut identifier = Identifier::new();
        identifier.push(range(entry.start, entry.end));
        assert_eq!(identifier.finish(), entry.identity);
    }
    for count in 1..=mbox.len() as u64 + 1 {
        assert_eq!(scanned_in_parts(mbox, count), entries, "in {count} parts: {:?}", String::from_utf8_lossy(mbox));
    }
    for cut in 0..=mbox.len() {
        assert_eq!(scanned_in_two(mbox, cut), entries, "for {:?} cut at {cut}", String::from_utf8_lossy(mbox));
    }
}

/// holds C-P9 C-P5
#[test]
fn entries_of_any_mbox() {
    check("", &[]);
    check(&format!("{LF}a\r\n\n"), &["a\r\n"]);
    check(&format!("{LF}a\n\n{LF}b\n\n"), &["a\r\n", "b\r\n"]);
    check(&format!("{LF}a\n{LF}b\n"), &["a\r\n", "b\r\n"]);
    check(&format!("{LF}a\n\r\n{LF}b\n\r\n"), &["a\r\n", "b\r\n"]);
    check(&format!("{LF}a\n\n\n{LF}b\n\n\n"), &["a\r\n\r\n", "b\r\n\r\n"]);
    check(&format!("{LF}\n{LF}\n"), &["", ""]);
    check(&format!("{LF}{LF}{LF}"), &["", "", ""]);
    check(&format!("{LF}\r\n\n{LF}\n\n"), &["\r\n", "\r\n"]);
    check(&format!("{LF}a"), &["a\r\n"]);
    check(&format!("{LF}a\r"), &["a\r\r\n"]);
    check(&format!("{LF}a\n\r"), &["a\r\n\r\r\n"]);
    check(LF, &[""]);
    check(LF.trim_end(), &[""]);
    check(CRLF.trim_end_matches('\n'), &[""]);
    check(&format!("{LF}a\nFrom here\nb\n\n"), &["a\r\nFrom here\r\nb\r\n"]);
    check(&format!("{LF}a\n>From b\n>>From c\n>d\n\n"), &["a\r\nFrom b\r\n>From c\r\n>d\r\n"]);
    check(&format!("{LF}a\n>{LF}\n"), &[&format!("a\r\n{}\r\n", LF.trim_end())]);
    check(&format!("{LF}F\nFrom\n>F\n>Fro"), &["F\r\nFrom\r\n>F\r\n>Fro\r\n"]);
    check(&format!("{LF}a\n\nFrom"), &["a\r\n\r\nFrom\r\n"]);
}

/// holds C-P9
#[test]
fn a_from_line_in_cr_lf_has_no_separator() {
    check(&format!("{CRLF}a\r\n\r\n"), &["a\r\n\r\n"]);
    check(&format!("{CRLF}a\r\n\r\n{CRLF}b\r\n"), &["a\r\n\r\n", "b\r\n"]);
    check(&format!("{CRLF}a\r\n\n{LF}b\r\n\n"), &["a\r\n\r\n", "b\r\n"]);
    check(&format!("{CRLF}{CRLF}\r\n{LF}\r\n"), &["", "\r\n", ""]);
}

/// holds C-P9
#[test]
fn what_stands_in_front() {
    check("\n", &[]);
    check("\r\n\n\n", &[]);
    check(&format!("\n\n{LF}a\n\n"), &["a\r\n"]);
    check("lost\n", &["lost\r\n"]);
    check("\r", &["\r\r\n"]);
    check("\n\nlost\n\n", &["\r\n\r\nlost\r\n"]);
    check(&format!("\nlost\n\n{LF}a\n"), &["\r\nlost\r\n", "a\r\n"]);
    check(&format!(">From x\n{LF}a\n"), &["From x\r\n", "a\r\n"]);
    check("From here on\n", &["From here on\r\n"]);
    check("From", &["From\r\n"]);
}

/// holds C-P9
#[test]
fn lines_without_end_are_not_kept() {
    let date = " Mon Aug 22 23:00:00 2016\n";
    let long = format!("{LF}a\nFrom {}{date}b\n\n", "x".repeat(FROM_LINE_MAX_OCTETS));
    assert_eq!(scanned(long.as_bytes()).len(), 1);
    let fits = format!("{LF}a\nFrom {}{date}b\n\n", "x".repeat(FROM_LINE_MAX_OCTETS - 5 - date.len()));
    assert_eq!(scanned(fits.as_bytes()).len(), 2);
    for cut in [LF.len() + 7, LF.len() + 4090, LF.len() + 4096, LF.len() + 4100] {
        assert_eq!(scanned_in_two(fits.as_bytes(), cut), scanned(fits.as_bytes()));
        assert_eq!(scanned_in_two(long.as_bytes(), cut), scanned(long.as_bytes()));
    }
    for run in ["x", ">", "From ", "\n", "\r", "\r\n", ">From ", "F", "From x\n"] {
        let mbox = format!("{LF}{}", run.repeat(1_000_000 / run.len()));
        let mut asked = 0;
        let entries = scan(|buffer, offset| {
            let rest = &mbox.as_bytes()[usize::try_from(offset).unwrap()..];
            let read = rest.len().min(buffer.len());
            buffer[..read].copy_from_slice(&rest[..read]);
            asked += 1;
            Ok(read)
        });
        assert_eq!(entries.unwrap().len(), 1, "for many {run:?}");
        assert_eq!(asked, mbox.len().div_ceil(SCAN_BLOCK_OCTETS) + 1, "each block is read once");
    }
}

/// holds C-P9
#[test]
fn a_mailbox_is_cut_where_entries_begin() {
    let entry = format!("{LF}Subject: x\n\n>From there\n{}\n\n", "text \n".repeat(100));
    let mbox = entry.repeat(1000);
    let count_of = |mbox: &str, count| {
        let read_at = |buffer: &mut [u8], offset| {
            let rest = &mbox.as_bytes()[usize::try_from(offset).unwrap()..];
            let read = rest.len().min(buffer.len());
            buffer[..read].copy_from_slice(&rest[..read]);
            Ok(read)
        };
        let parts = parts(0..mbox.len() as u64, count, read_at).unwrap();
        assert!(parts.iter().all(|part| mbox[usize::try_from(part.start).unwrap()..].starts_with(LF)));
        parts.len()
    };
    assert_eq!(count_of(&mbox, 8), 8);
    assert_eq!(scanned_in_parts(mbox.as_bytes(), 8), scanned(mbox.as_bytes()));
    // No beginning is near: it is not looked for through the whole message.
    let long = format!("{LF}{}", "text \n".repeat(4 * SCAN_BLOCK_OCTETS / 6));
    assert_eq!(count_of(&(long + &mbox), 3), 2);
}

/// A part is read in blocks from where it begins, so blocks end elsewhere than in a mailbox that is read in one go.
///
/// holds C-P9
#[test]
fn a_block_of_a_part_may_end_anywhere() {
    for (line, separator) in [(LF, "\n"), (LF, "\r\n"), (CRLF, "")] {
        let first = format!("{line}{}\n{separator}", "a".repeat(SCAN_BLOCK_OCTETS / 2));
        for beyond in [0, 1, 2, 3, 4, 7, 20, line.len(), line.len() + 1, line.len() + 2, line.len() + 3] {
            let fill = SCAN_BLOCK_OCTETS - line.len() - beyond;
            let second = format!("{line}{}\n{separator}", "b".repeat(fill));
            let mbox = format!("{first}{second}{line}>From c\n{separator}").repeat(2);
            for count in [3, 5] {
                assert_eq!(scanned_in_parts(mbox.as_bytes(), count), scanned(mbox.as_bytes()), "{beyond} in {count}");
            }
        }
    }
}

/// Work is counted, not timed: each octet is read once, and little is looked at again.
///
/// holds C-P9
#[test]
fn a_large_mailbox_takes_one_pass() {
    let entry = format!("{LF}Subject: x\n\nFrom here\n>From there\n{}\n\n", "text \n".repeat(10));
    let mbox = entry.repeat(100_000);
    let mut scanner = Scanner::new();
    let mut given = 0;
    let mut at = 0;
    while at < mbox.len() {
        let block = &mbox.as_bytes()[at..mbox.len().min(at + SCAN_BLOCK_OCTETS)];
        given += block.len();
        at += scanner.take(block, at + block.len() == mbox.len());
    }
    assert_eq!(scanner.entries.len(), 100_000);
    assert!(scanner.entries.iter().all(|entry| entry.identity == scanner.entries[0].identity));
    let blocks = mbox.len().div_ceil(SCAN_BLOCK_OCTETS) + 1;
    assert!(given <= mbox.len() + blocks * entry.len(), "no more than an entry is looked at twice for each block");
}

/// holds C-P6 C-P9
#[test]
fn an_entry_is_the_same_wherever_it_stands() {
    let identity = |mbox: String, index: usize| scanned(mbox.as_bytes())[index].identity;
    let alone = identity(format!("{LF}a\n\n"), 0);
    assert_eq!(identity(format!("{LF}b\n\n{LF}a\n\n{LF}c\n\n"), 1), alone);
    assert_eq!(identity(format!("{LF}a\n"), 0), alone);
    // A delivery ends a line that had no end.
    assert_eq!(identity(format!("{LF}a"), 0), alone);
    assert_eq!(identity(format!("{LF}a\r"), 0), identity(format!("{LF}a\r\r\n"), 0));
    assert_ne!(identity(format!("{LF}a\r\n\n"), 0), alone);
    assert_ne!(identity(format!("{CRLF}a\n"), 0), alone);
}

proptest! {
    /// holds C-S8 C-P5 C-P9
    #[test]
    fn what_is_stored_is_found(texts in prop::collection::vec(texts(), 0..5), cut in any::<prop::sample::Index>()) {
        let mut mbox = Vec::new();
        for text in &texts {
            mbox.extend_from_slice(LF.as_bytes());
            let mut quoter = Quoter::new();
            quoter.push(text, &mut mbox);
            quoter.finish(&mut mbox);
            mbox.push(b'\n');
        }
        let entries = scanned(&mbox);
        let found: Vec<Vec<u8>> = entries
            .iter()
            .map(|entry| unquote(&[&mbox[usize::try_from(entry.text).unwrap()..usize::try_from(entry.end).unwrap()]]))
            .collect();
        prop_assert_eq!(&found, &texts);
        prop_assert!(entries.iter().zip(&texts).all(|(entry, text)| entry.octets == text.len() as u64));
        prop_assert_eq!(scanned_in_two(&mbox, cut.index(mbox.len() + 1)), entries);
    }

    /// holds C-P9
    #[test]
    fn any_octets_make_some_mailbox(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40),
        cut in any::<prop::sample::Index>(),
    ) {
        let mbox = pieces.concat().into_bytes();
        let entries = scanned(&mbox);
        for count in [2, 3, 7, 100] {
            prop_assert_eq!(scanned_in_parts(&mbox, count), entries.clone());
        }
        for entry in &entries {
            let raw = &mbox[usize::try_from(entry.text).unwrap()..usize::try_from(entry.end).unwrap()];
            prop_assert_eq!(unquote(&[raw]).len() as u64, entry.octets);
        }
        prop_assert_eq!(scanned_in_two(&mbox, cut.index(mbox.len() + 1)), entries);
    }
}
