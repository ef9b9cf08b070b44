//! What must hold for any mailbox, on a bounded number of cases; `fuzz/` tries the same for as long as it is left running.
//!
//! It looks at parts of the store that nobody else sees, so they are compiled in here once more.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub, reason = "parts of the store, for tests")]

#[path = "../src/from_line.rs"]
mod from_line;
#[path = "properties/mod.rs"]
mod properties;
#[path = "../src/quote.rs"]
mod quote;
#[path = "../src/scan.rs"]
mod scan;
