//! Tests of `md5x4.rs`.

use md5::{Digest, Md5};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn check(texts: [&[u8]; TEXTS]) {
    let expected: [[u8; 16]; TEXTS] = texts.map(|text| Md5::digest(text).into());
    assert_eq!(md5(texts), expected, "of {:?} octets", texts.map(<[u8]>::len));
}

/// holds C-P6
#[test]
fn texts_of_every_length_beside_each_other() {
    let octets: Vec<u8> = (0..1000_u32).map(|number| number.to_le_bytes()[0] ^ 0x5a).collect();
    for length in 0..300 {
        let same = &octets[..length];
        check([same; TEXTS]);
        check([same, &octets[length..2 * length], b"", &octets[..999 - length]]);
        check([b"", &octets[..length / 2], same, &octets[..length + 64]]);
    }
}

proptest! {
    #[test]
    fn the_same_as_one_by_one(texts in vec(vec(any::<u8>(), 0..5000), TEXTS)) {
        check([&texts[0], &texts[1], &texts[2], &texts[3]]);
    }
}
