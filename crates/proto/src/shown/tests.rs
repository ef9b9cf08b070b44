//! Tests of `shown.rs`.

use super::*;

/// holds C-C8
#[test]
fn text_is_shown_and_the_rest_escaped() {
    assert_eq!(
        shown("ECHO Gr\u{fc}\u{df}e \\ \u{1f600}\u{4e2d}\u{5d0}e\u{301}".as_bytes()),
        "ECHO Gr\u{fc}\u{df}e \\ \u{1f600}\u{4e2d}\u{5d0}e\u{301}"
    );
    assert_eq!(shown(b"a\0\x1b\xff\xc3(\t\x7f\r\n"), "a\\x00\\x1B\\xFF\\xC3(\\x09\\x7F\\x0D\\x0A");
    assert_eq!(shown("\u{85}".as_bytes()), "\\xC2\\x85");
}

/// What turns the text around, hides a part of it or ends its line.
///
/// holds C-C8
#[test]
fn format_characters_are_escaped() {
    let text = "a\u{202e}b\u{2028}c\u{2029}d\u{200b}e\u{feff}f\u{2066}g\u{ad}";
    let escaped = r"a\xE2\x80\xAEb\xE2\x80\xA8c\xE2\x80\xA9d\xE2\x80\x8Be\xEF\xBB\xBFf\xE2\x81\xA6g\xC2\xAD";
    assert_eq!(shown(text.as_bytes()), escaped);
    assert_eq!(shown("\u{e0041}".as_bytes()), r"\xF3\xA0\x81\x81");
    for (first, last) in [
        ('\0', '\u{1f}'),
        ('\u{7f}', '\u{9f}'),
        ('\u{ad}', '\u{ad}'),
        ('\u{600}', '\u{605}'),
        ('\u{61c}', '\u{61c}'),
        ('\u{6dd}', '\u{6dd}'),
        ('\u{70f}', '\u{70f}'),
        ('\u{890}', '\u{891}'),
        ('\u{8e2}', '\u{8e2}'),
        ('\u{180e}', '\u{180e}'),
        ('\u{200b}', '\u{200f}'),
        ('\u{2028}', '\u{202e}'),
        ('\u{2060}', '\u{206f}'),
        ('\u{e000}', '\u{f8ff}'),
        ('\u{fdd0}', '\u{fdef}'),
        ('\u{feff}', '\u{feff}'),
        ('\u{fff9}', '\u{fffb}'),
        ('\u{fffe}', '\u{ffff}'),
        ('\u{110bd}', '\u{110bd}'),
        ('\u{110cd}', '\u{110cd}'),
        ('\u{13430}', '\u{1343f}'),
        ('\u{1bca0}', '\u{1bca3}'),
        ('\u{1d173}', '\u{1d17a}'),
        ('\u{1fffe}', '\u{1ffff}'),
        ('\u{dfffe}', '\u{10ffff}'),
    ] {
        assert!((first..=last).all(|character| !is_shown(character)), "{first:?} to {last:?}");
        let around = [u32::from(first).checked_sub(1), Some(u32::from(last) + 1)];
        // Where one range begins behind another, or no character lies there, nothing is to be seen.
        for character in around.into_iter().flatten().filter_map(char::from_u32) {
            assert!(is_shown(character), "{character:?}");
        }
    }
}
