//! Parts of the store that it shows to nobody, compiled in once more so that they can be measured.

use std::io;

#[allow(dead_code, reason = "the store uses more of it")]
#[path = "../../crates/store/src/from_line.rs"]
mod from_line;
#[path = "../../crates/store/src/quote.rs"]
mod quote;
#[allow(dead_code, reason = "the store uses more of it")]
#[path = "../../crates/store/src/scan.rs"]
mod scan;

/// Adds a text to `out` as it is stored, block by block.
pub fn quote<'a>(blocks: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    let mut quoter = quote::Quoter::new();
    blocks.for_each(|block| quoter.push(block, out));
    quoter.finish(out);
}

/// Adds what is stored to `out` as it is sent.
pub fn unquote<'a>(blocks: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    let mut unquoter = quote::Unquoter::new();
    blocks.for_each(|block| unquoter.push(block, out));
    unquoter.finish(out);
}

/// How many messages a mailbox holds.
///
/// # Errors
/// Those of `read_at`, which fills the space it is given with what stands at an offset.
pub fn count(read_at: impl FnMut(&mut [u8], u64) -> io::Result<usize>) -> io::Result<usize> {
    scan::scan(read_at).map(|entries| entries.len())
}
