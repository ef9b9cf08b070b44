//! The MD5 (RFC 1321) of four texts at once. One text cannot be hashed faster, because each step waits for the one before;
//! of four independent ones a processor does each step with one instruction, and needs a third of the time for them.

/// Texts that are hashed together: as many numbers as a register of every x86-64 and `AArch64` processor holds. With more it
/// is no faster.
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

/// The MD5 of many texts, in the order in which they are done. `next` puts a text into an empty buffer and says what it is
/// known by, or `None` when there is no other. A text that is done makes room for the next one, so they may differ in length.
///
/// # Errors
/// That of `next`.
pub(crate) fn of_each<Name, Error>(
    mut next: impl FnMut(&mut Vec<u8>) -> Result<Option<Name>, Error>,
) -> Result<Vec<(Name, [u8; 16])>, Error> {
    let mut texts: [Padded<Name>; TEXTS] = Default::default();
    let mut state: [Lanes; 4] = Default::default();
    let mut sums = Vec::new();
    loop {
        for (lane, text) in texts.iter_mut().enumerate().filter(|(_, text)| text.blocks_left() == 0) {
            if let Some(name) = text.name.take() {
                let mut sum = [0; 16];
                for (octets, lanes) in sum.chunks_exact_mut(4).zip(&state) {
                    octets.copy_from_slice(&lanes[lane].to_le_bytes());
                }
                sums.push((name, sum));
            }
            text.octets.clear();
            text.at = 0;
            text.name = next(&mut text.octets)?;
            if text.name.is_some() {
                text.pad();
                for (lanes, initial) in state.iter_mut().zip(INITIAL) {
                    lanes[lane] = initial;
                }
            }
        }
        let busy = texts.iter().filter(|text| text.name.is_some());
        let Some(blocks) = busy.map(Padded::blocks_left).min() else { return Ok(sums) };
        for _ in 0..blocks {
            compress(&mut state, texts.each_mut().map(Padded::next_block));
        }
    }
}

/// A text with what is added to it (RFC 1321 §3.1, §3.2): whole blocks.
struct Padded<Name> {
    name: Option<Name>,
    octets: Vec<u8>,
    /// So many blocks are hashed.
    at: usize,
}

impl<Name> Default for Padded<Name> {
    fn default() -> Self {
        Self { name: None, octets: Vec::new(), at: 0 }
    }
}

impl<Name> Padded<Name> {
    fn pad(&mut self) {
        let bits = (self.octets.len() as u64).wrapping_mul(8);
        self.octets.push(0x80);
        let octets = (self.octets.len() + 8).next_multiple_of(BLOCK_OCTETS);
        self.octets.resize(octets - 8, 0);
        self.octets.extend_from_slice(&bits.to_le_bytes());
    }

    fn blocks_left(&self) -> usize {
        self.octets.len() / BLOCK_OCTETS - self.at
    }

    /// Any block, where there is no text.
    fn next_block(&mut self) -> &[u8; BLOCK_OCTETS] {
        let block = self.octets.as_chunks().0.get(self.at);
        self.at += usize::from(block.is_some());
        block.unwrap_or(&[0; BLOCK_OCTETS])
    }
}

/// RFC 1321 §3.4, for a block of each text.
fn compress(state: &mut [Lanes; 4], blocks: [&[u8; BLOCK_OCTETS]; TEXTS]) {
    let mut words: [Lanes; 16] = Default::default();
    for (number, lanes) in words.iter_mut().enumerate() {
        *lanes = blocks.map(|block| u32::from_le_bytes(block.as_chunks().0[number]));
    }
    let [first, second, third, fourth] = state;
    // The compiler does this for all texts at once, because what is in the loop has no branches: so it is written out, and
    // all indices and rotations are constants.
    for text in 0..TEXTS {
        let (mut a, mut b, mut c, mut d) = (first[text], second[text], third[text], fourth[text]);
        macro_rules! step {
            ($mix:ident, $a:ident, $b:ident, $c:ident, $d:ident, $word:expr, $number:expr) => {
                let sum = words[$word % 16][text].wrapping_add(SINES[$number]).wrapping_add($a);
                let sum = $mix(sum, $b, $c, $d).rotate_left(ROTATIONS[$number / 16][$number % 4]);
                $a = $b.wrapping_add(sum);
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
        round!(add_f, 1, 0, 0);
        round!(add_g, 5, 1, 16);
        round!(add_h, 3, 5, 32);
        round!(add_i, 7, 0, 48);
        first[text] = first[text].wrapping_add(a);
        second[text] = second[text].wrapping_add(b);
        third[text] = third[text].wrapping_add(c);
        fourth[text] = fourth[text].wrapping_add(d);
    }
}

// The functions of the four rounds, each added to a sum. `b` comes last, because it is what the step before has made.

#[inline]
fn add_f(sum: u32, b: u32, c: u32, d: u32) -> u32 {
    sum.wrapping_add(d ^ (b & (c ^ d)))
}

#[inline]
fn add_g(sum: u32, b: u32, c: u32, d: u32) -> u32 {
    sum.wrapping_add(c & !d).wrapping_add(b & d)
}

#[inline]
fn add_h(sum: u32, b: u32, c: u32, d: u32) -> u32 {
    sum.wrapping_add((c ^ d) ^ b)
}

#[inline]
fn add_i(sum: u32, b: u32, c: u32, d: u32) -> u32 {
    sum.wrapping_add(c ^ (b | !d))
}

#[cfg(test)]
#[path = "md5x4/tests.rs"]
mod tests;
