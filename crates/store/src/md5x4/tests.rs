//! Tests of `md5x4.rs`.

use std::convert::Infallible;

use md5::{Digest, Md5};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn check(texts: &[&[u8]]) {
    let mut waiting = texts.iter().enumerate();
    let next = |buffer: &mut Vec<u8>| {
        assert!(buffer.is_empty());
        let next = waiting.next();
        buffer.extend(next.iter().flat_map(|(_, text)| text.iter()));
        Ok::<_, Infallible>(next.map(|(number, _)| number))
    };
    let Ok(mut sums) = of_each(next);
    sums.sort_unstable();
    let expected: Vec<_> = texts.iter().map(|text| Md5::digest(text).into()).enumerate().collect();
    assert_eq!(sums, expected, "of {:?} octets", texts.iter().map(|text| text.len()).collect::<Vec<_>>());
}

/// holds C-P6
#[test]
fn texts_of_every_length_beside_each_other() {
    let octets: Vec<u8> = (0..1000_u32).map(|number| number.to_le_bytes()[0] ^ 0x5a).collect();
    for length in 0..300 {
        let text = &octets[..length];
        check(&[text]);
        check(&[text, &octets[length..2 * length]]);
        check(&[text, &octets[1..=length], &octets[2..length + 2], &octets[3..length + 3]]);
        check(&[text, &octets[length..2 * length], b"", &octets[..999 - length], text, b"x", &octets[..length / 2]]);
    }
    check(&[]);
}

#[test]
fn an_error_ends_it() {
    let mut left = 6;
    let next = |text: &mut Vec<u8>| {
        text.push(b'x');
        left -= 1;
        if left == 0 { Err("no more") } else { Ok(Some(left)) }
    };
    assert_eq!(of_each(next), Err("no more"));
}

proptest! {
    #[test]
    fn the_same_as_one_by_one(texts in vec(vec(any::<u8>(), 0..5000), 0..12)) {
        check(&texts.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }
}
