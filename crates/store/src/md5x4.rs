//! The MD5 (RFC 1321) of four texts at once. One text cannot be hashed faster, because each step waits for the one before;
//! of four independent ones a processor does each step together, and needs less than half of the time for them.

/// Texts that are hashed together. With more the registers do not suffice.
pub(crate) const TEXTS: usize = 4;

const BLOCK_OCTETS: usize = 64;
/// RFC 1321 §3.3.
const INITIAL: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
/// By how much each round rotates, in turn (§3.4).
const ROTATIONS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
/// The whole parts of 2^32 |sin(i)| (§3.4).
#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// One number of each text.
type Lanes = [u32; TEXTS];

/// The MD5 of each. It takes as long as four of the longest, so they should be of about the same length.
pub(crate) fn md5(texts: [&[u8]; TEXTS]) -> [[u8; 16]; TEXTS] {
    let ends = texts.map(End::new);
    let blocks = std::array::from_fn::<_, TEXTS, _>(|text| texts[text].len() / BLOCK_OCTETS + ends[text].blocks);
    let mut state = INITIAL.map(|number| [number; TEXTS]);
    let mut sums = [[0; 16]; TEXTS];
    for number in 0..blocks.into_iter().max().unwrap_or(0) {
        compress(&mut state, std::array::from_fn(|text| block(texts[text], &ends[text], number)));
        for (text, sum) in sums.iter_mut().enumerate().filter(|(text, _)| blocks[*text] == number + 1) {
            for (octets, lanes) in sum.chunks_exact_mut(4).zip(&state) {
                octets.copy_from_slice(&lanes[text].to_le_bytes());
            }
        }
    }
    sums
}

/// The last octets of a text, which fill no block, and what is added to them (RFC 1321 §3.1, §3.2).
struct End {
    octets: [u8; 2 * BLOCK_OCTETS],
    blocks: usize,
}

impl End {
    fn new(text: &[u8]) -> Self {
        let (_, rest) = text.as_chunks::<BLOCK_OCTETS>();
        let mut octets = [0; 2 * BLOCK_OCTETS];
        octets[..rest.len()].copy_from_slice(rest);
        octets[rest.len()] = 0x80;
        let blocks = if rest.len() + 9 <= BLOCK_OCTETS { 1 } else { 2 };
        let bits = (text.len() as u64).wrapping_mul(8);
        octets[blocks * BLOCK_OCTETS - 8..blocks * BLOCK_OCTETS].copy_from_slice(&bits.to_le_bytes());
        Self { octets, blocks }
    }
}

/// The block with this number; any block when the text is over.
fn block<'a>(text: &'a [u8], end: &'a End, number: usize) -> &'a [u8; BLOCK_OCTETS] {
    let (whole, _) = text.as_chunks();
    let (last, _) = end.octets.as_chunks();
    whole.get(number).unwrap_or_else(|| &last[(number - whole.len()).min(1)])
}

/// RFC 1321 §3.4, for a block of each text.
fn compress(state: &mut [Lanes; 4], blocks: [&[u8; BLOCK_OCTETS]; TEXTS]) {
    let mut words = [[0; TEXTS]; 16];
    for (text, block) in blocks.into_iter().enumerate() {
        for (word, octets) in words.iter_mut().zip(block.as_chunks().0) {
            word[text] = u32::from_le_bytes(*octets);
        }
    }
    let [mut a, mut b, mut c, mut d] = *state;
    // Written out, because the compiler then knows all indices and rotations, and keeps the four in registers.
    macro_rules! step {
        ($mix:ident, $a:ident, $b:ident, $c:ident, $d:ident, $word:expr, $number:expr) => {
            for text in 0..TEXTS {
                let sum = $a[text]
                    .wrapping_add($mix($b[text], $c[text], $d[text]))
                    .wrapping_add(SINES[$number])
                    .wrapping_add(words[$word % 16][text]);
                $a[text] = $b[text].wrapping_add(sum.rotate_left(ROTATIONS[$number / 16][$number % 4]));
            }
        };
    }
    macro_rules! four_steps {
        ($mix:ident, $times:expr, $plus:expr, $number:expr) => {
            step!($mix, a, b, c, d, ($times * $number + $plus), $number);
            step!($mix, d, a, b, c, ($times * ($number + 1) + $plus), ($number + 1));
            step!($mix, c, d, a, b, ($times * ($number + 2) + $plus), ($number + 2));
            step!($mix, b, c, d, a, ($times * ($number + 3) + $plus), ($number + 3));
        };
    }
    macro_rules! round {
        ($mix:ident, $times:expr, $plus:expr, $number:expr) => {
            four_steps!($mix, $times, $plus, $number);
            four_steps!($mix, $times, $plus, ($number + 4));
            four_steps!($mix, $times, $plus, ($number + 8));
            four_steps!($mix, $times, $plus, ($number + 12));
        };
    }
    round!(mix_1, 1, 0, 0);
    round!(mix_2, 5, 1, 16);
    round!(mix_3, 3, 5, 32);
    round!(mix_4, 7, 0, 48);
    for (before, now) in state.iter_mut().zip([a, b, c, d]) {
        for (before, now) in before.iter_mut().zip(now) {
            *before = before.wrapping_add(now);
        }
    }
}

#[inline]
fn mix_1(b: u32, c: u32, d: u32) -> u32 {
    d ^ (b & (c ^ d))
}

#[inline]
fn mix_2(b: u32, c: u32, d: u32) -> u32 {
    c ^ (d & (b ^ c))
}

#[inline]
fn mix_3(b: u32, c: u32, d: u32) -> u32 {
    b ^ c ^ d
}

#[inline]
fn mix_4(b: u32, c: u32, d: u32) -> u32 {
    c ^ (b | !d)
}

#[cfg(test)]
#[path = "md5x4/tests.rs"]
mod tests;
