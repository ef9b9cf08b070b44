//! The messages: each follows from the seed and its number, so that whoever has it can tell whether it is whole.

use std::fmt::Write as _;

/// A little generator of numbers (xorshift), the same everywhere.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Self(seed ^ 0x9E37_79B9_7F4A_7C15 | 1);
        (0..8).for_each(|_| {
            random.next();
        });
        random
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// One of them.
    pub(super) fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap_or(0)]
    }
}

/// What begins the message, in front of its number.
const SUBJECT: &str = "Subject: torture ";

/// The message with this number: CR LF line ends, not byte-stuffed.
pub(super) fn text(seed: u64, number: u64) -> String {
    let mut random = Random::new(seed ^ number.rotate_left(17));
    let octets = match random.below(100) {
        0 => 1_000_000 + random.below(2_000_000),
        1..=5 => 70_000 + random.below(200_000),
        _ => 100 + random.below(4_000),
    };
    let octets = usize::try_from(octets).unwrap_or(0);
    let mut text = format!("{SUBJECT}{number}\r\n\r\n");
    while text.len() < octets {
        match random.below(20) {
            0 => text.push_str("From here on Mon Aug 22 23:00:00 2016\r\n"),
            1 => text.push_str(".dots.\r\n.\r\n..\r\n"),
            2 => text.push_str("\r\n"),
            _ => {
                let width = 1 + random.below(70);
                let octet = char::from(b'a' + u8::try_from(random.below(26)).unwrap_or(0));
                text.extend((0..width).map(|_| octet));
                // Writing to a string does not fail.
                let _ = write!(text, " {number}\r\n");
            }
        }
    }
    let _ = write!(text, "end of {number}\r\n");
    text
}

/// The number that a message says to have.
pub(super) fn number(text: &str) -> Option<u64> {
    text.strip_prefix(SUBJECT)?.split("\r\n").next()?.parse().ok()
}
