//! Tests of `lines.rs`.

use super::*;

/// Feeds the input in chunks of every size and compares the lines: `text`, or the length of a long one.
fn check(input: &[u8], expected: &[&str]) {
    for size in [1, 2, 3, 7, 4096, usize::MAX] {
        let mut lines = Lines::default();
        let mut cut = Vec::new();
        for chunk in input.chunks(size.min(input.len().max(1))) {
            lines.push(chunk);
            while let Some(line) = lines.cut() {
                cut.push(match line {
                    Line::Text(text) => String::from_utf8_lossy(&text).into_owned(),
                    Line::TooLong { octets, ends } => format!("{octets} {}", String::from_utf8_lossy(&ends)),
                });
            }
            assert!(lines.waiting().len() < LINE_MAX_OCTETS, "kept no more than a line");
        }
        assert_eq!(cut, expected, "in chunks of {size}");
    }
}

/// holds C-C2
#[test]
fn lines_arrive_in_pieces() {
    check(b"ECHO a\r\nECHO b\r\nQU", &["ECHO a", "ECHO b"]);
    check(b"", &[]);
    check(b"\r\n\n", &["", ""]);
}

/// holds C-C3
#[test]
fn a_bare_lf_ends_a_command_and_a_bare_cr_does_not() {
    check(b"a\nb\r\nc\rd\r\n\r\r\n", &["a", "b", "c\rd", "\r"]);
}

/// holds C-C4
#[test]
fn a_line_at_the_limit_is_kept_and_one_octet_more_is_not() {
    let fits = "x".repeat(LINE_MAX_OCTETS - 2);
    check(format!("{fits}\r\n").as_bytes(), &[&fits]);
    check(format!("{fits}x\n").as_bytes(), &[&format!("{fits}x")]);
    check(format!("{fits}x\r\nNOOP\r\n").as_bytes(), &["8193 xxxxxxxxxxxxxxxxx", "NOOP"]);
    for (end, expected) in [("\r\n", "100002 01234567bcdefghij"), ("\n", "100001 01234567abcdefghij")] {
        let long = format!("0123456789{}abcdefghij{end}NOOP\r\n", "x".repeat(99_980));
        check(long.as_bytes(), &[expected, "NOOP"]);
    }
}

#[test]
fn memory_is_given_back() {
    let mut lines = Lines::default();
    lines.push(&[b'x'; 5000]);
    lines.push(b"\n");
    assert!(lines.cut().is_some());
    assert_eq!(lines.waiting.capacity(), 0);
}
