//! Tests of `content.rs`.

use super::*;

#[test]
fn runs_of_zeros_are_found_wherever_blocks_are_cut() {
    let mut octets = vec![b'x'; 100];
    octets.extend(vec![0; 511]);
    octets.push(b'x');
    octets.extend(vec![0; 512]);
    octets.push(b'x');
    octets.extend(vec![0; 5000]);
    for block in [1, 2, 3, 7, 511, 512, 513, 7000] {
        let mut zeros = Zeros::default();
        octets.chunks(block).for_each(|block| zeros.push(block));
        assert_eq!(zeros.finish(), [(612, 512), (1125, 5000)], "in blocks of {block}");
    }
    assert_eq!(Zeros::default().finish(), []);
}
