//! Tests of `quote.rs`.

use proptest::prelude::*;

use super::*;

fn quote(blocks: &[&[u8]]) -> Vec<u8> {
    let mut quoter = Quoter::new();
    let mut out = Vec::new();
    blocks.iter().for_each(|block| quoter.push(block, &mut out));
    quoter.finish(&mut out);
    out
}

pub(crate) fn unquote(blocks: &[&[u8]]) -> Vec<u8> {
    let mut unquoter = Unquoter::new();
    let mut out = Vec::new();
    blocks.iter().for_each(|block| unquoter.push(block, &mut out));
    unquoter.finish(&mut out);
    out
}

/// Quotes `text`, cut at every place and into single octets; then unquotes it the same ways.
fn check(text: &str, expected: &str) {
    check_unquoted(expected, text);
    every_cut(text.as_bytes(), expected.as_bytes(), quote);
}

fn check_unquoted(stored: &str, expected: &str) {
    every_cut(stored.as_bytes(), expected.as_bytes(), unquote);
}

fn every_cut(input: &[u8], expected: &[u8], work: fn(&[&[u8]]) -> Vec<u8>) {
    let shown = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    for cut in 0..=input.len() {
        let (one, two) = input.split_at(cut);
        assert_eq!(shown(&work(&[one, two])), shown(expected), "for {:?} cut at {cut}", shown(input));
    }
    let single: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(shown(&work(&single)), shown(expected), "for {:?} in single octets", shown(input));
}

/// holds C-S8
#[test]
fn from_lines_get_one_more() {
    check("", "");
    check("From me\r\n", ">From me\r\n");
    check(">From me\r\n", ">>From me\r\n");
    check(">>>>>>From me\r\n", ">>>>>>>From me\r\n");
    check("a\r\nFrom me\r\nb\r\n", "a\r\n>From me\r\nb\r\n");
    check("From \r\n>From \r\n", ">From \r\n>>From \r\n");
}

/// holds C-S8
#[test]
fn everything_else_is_stored_as_it_came() {
    for text in [
        "\r\n",
        "\r\n\r\n",
        "From\r\n",
        "From:\r\n",
        ">Fro\r\n",
        "FFrom \r\n",
        "FrFrom \r\n",
        "> From \r\n",
        " From \r\n",
        "from me\r\n",
        ">\r\n>>\r\n",
        "a\rFrom me\r\n",
        "x > From me\r\n",
        "\0\u{ff}\r\n",
    ] {
        check(text, text);
    }
}

/// holds C-P5 C-P9
#[test]
fn what_others_stored_is_shown_with_cr_lf() {
    check_unquoted("a\nb\n", "a\r\nb\r\n");
    check_unquoted("\n\n", "\r\n\r\n");
    check_unquoted("a", "a\r\n");
    check_unquoted(">", ">\r\n");
    check_unquoted(">F", ">F\r\n");
    check_unquoted("Fro", "Fro\r\n");
    check_unquoted(">From", ">From\r\n");
    check_unquoted(">From ", "From \r\n");
    check_unquoted(">>From x\n", ">From x\r\n");
    check_unquoted("From x\n", "From x\r\n");
    check_unquoted("a\rb\r\r\nc\r", "a\rb\r\r\nc\r\r\n");
    check_unquoted(">\n>\n", ">\r\n>\r\n");
    check_unquoted("\r\n>\nF\n", "\r\n>\r\nF\r\n");
    check_unquoted("F\nFr\nFrom\n", "F\r\nFr\r\nFrom\r\n");
}

/// What a text may be made of so that the difficult cases are frequent. Bare LF does not come (C-S7).
pub(crate) fn texts() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("\r\n".to_owned()),
        Just("From ".to_owned()),
        Just("From a Mon Aug 22 23:00:00 2016\r\n".to_owned()),
        Just(">".to_owned()),
        Just("F".to_owned()),
        Just("\r".to_owned()),
        "[a-z ]{0,8}",
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| {
        let mut text = pieces.concat();
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        text.into_bytes()
    })
}

proptest! {
    /// holds C-S8 C-P5
    #[test]
    fn texts_come_back(text in texts(), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(text.len() + 1);
        let stored = quote(&[&text[..cut], &text[cut..]]);
        prop_assert!(!stored.split(|&octet| octet == b'\n').any(|line| line.starts_with(FROM)));
        let cut = cut.min(stored.len());
        prop_assert_eq!(unquote(&[&stored[..cut], &stored[cut..]]), text);
    }
}
