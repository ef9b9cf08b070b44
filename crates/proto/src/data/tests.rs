//! Tests of `data.rs`.

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
