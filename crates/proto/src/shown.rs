//! Octets of strangers as people may see them.
//!
//! Whatever is printed for people, on a terminal or in a log, goes through this: control and format characters turn text
//! around, hide it, end its line or steer the terminal.

use std::fmt::Write as _;

/// Text as it is; octets that are no UTF-8, and characters for which [`is_shown`] does not hold, as `\xNN` (C-C8).
#[must_use]
pub fn shown(octets: &[u8]) -> String {
    let mut shown = String::with_capacity(octets.len());
    for chunk in octets.utf8_chunks() {
        for character in chunk.valid().chars() {
            if is_shown(character) {
                shown.push(character);
            } else {
                escape(character.encode_utf8(&mut [0; 4]).as_bytes(), &mut shown);
            }
        }
        escape(chunk.invalid(), &mut shown);
    }
    shown
}

fn escape(octets: &[u8], shown: &mut String) {
    for octet in octets {
        // Writing into a String cannot fail.
        let _ = write!(shown, "\\x{octet:02X}");
    }
}

/// Whether a character stands for itself. Controls do not, nor do format characters (Cf), line and paragraph separators,
/// private use and noncharacters: the ranges of these categories in `DerivedGeneralCategory.txt` of Unicode 17, joined
/// where nothing that can be seen lies in between (from U+E0000 on: tags and variation selectors, then private use).
#[must_use]
pub fn is_shown(character: char) -> bool {
    let is_hidden = matches!(
        character,
        '\u{ad}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{890}'..='\u{891}'
            | '\u{8e2}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{e000}'..='\u{f8ff}'
            | '\u{fdd0}'..='\u{fdef}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{110bd}'
            | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..
    );
    !character.is_control() && !is_hidden && u32::from(character) & 0xfffe != 0xfffe
}

#[cfg(test)]
#[path = "shown/tests.rs"]
mod tests;
