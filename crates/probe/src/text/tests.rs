//! Tests of `text.rs`.

use super::*;

#[test]
fn escapes_and_repetitions_are_read() {
    assert_eq!(octets(r"a\r\n\t\s\\\x00\xff").unwrap(), b"a\r\n\t \\\0\xff");
    assert_eq!(octets(r"<{a*3}{.\r\n*2}>\{\}*").unwrap(), b"<aaa.\r\n.\r\n>{}*");
    assert_eq!(octets("{x*0}grün").unwrap(), "grün".as_bytes());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (text, complaint) in [
        ("a\\", "backslash at the end"),
        (r"\q", r"unknown escape \q"),
        (r"\x1", "two hexadecimal"),
        (r"\x+1", "two hexadecimal"),
        ("{a", "{text*count}"),
        ("{a*b}", "{text*count}"),
        ("{a*3", "{text*count}"),
        ("a}", "ends nothing"),
        ("a\tb", r"\x09"),
        ("{aa*99999999}", "more than"),
    ] {
        let error = octets(text).unwrap_err();
        assert!(error.contains(complaint), "{text}: {error}");
    }
}

#[test]
fn globs_match_all_or_nothing() {
    for (glob, text, matched) in [
        ("250 OK", "250 OK", true),
        ("250 OK", "250 OK ", false),
        ("250*", "250", true),
        ("250*", "250 \0OK", true),
        ("*", "", true),
        ("* */*", "a b/c", true),
        ("* */*", "a b", false),
        ("a*b*c", "abbc", true),
        (r"\*", "*", true),
        (r"\*", "x", false),
        ("a*c", "a\nc", false),
        (r"a*\nb*\n", "aa\nbb\n", true),
        (r"a*\nb*\n", "aa\nbb\n\n", false),
    ] {
        assert_eq!(Pattern::glob(glob).unwrap().matches(text.as_bytes()), matched, "{glob} {text:?}");
    }
}

#[test]
fn what_is_shown_hides_nothing() {
    assert_eq!(show(b"+OK\0 \xc3\xbc\xab\r\n\x7f"), "+OK<0x00> ü<0xAB><CR><LF><0x7F>");
    assert_eq!(show("\u{202e}KO+".as_bytes()), "<0xE2><0x80><0xAE>KO+");
    assert_eq!(Pattern::glob(r"5*\r\n").unwrap().to_string(), "5*<CR><LF>");
    assert!(show_short(&[b'a'; 301]).ends_with("a... (301 octets)"));
}
