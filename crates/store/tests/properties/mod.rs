//! What must hold for any mailbox, each property written once: the store's tests try them on a bounded number of
//! cases, the targets `mbox` and `mbox_round_trip` in `fuzz/` for as long as they are left running.
//!
//! They look at parts of the store that nobody else sees, so those are compiled in beside them, not linked.

#[path = "../../../proto/tests/properties/input.rs"]
pub(crate) mod input;
pub(crate) mod mbox;
#[cfg(test)]
mod tests;
