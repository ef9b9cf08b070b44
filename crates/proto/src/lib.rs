//! Mail protocols without I/O.
//!
//! Everything here is a pure function of the octets and answers that come in: no socket, file, clock or thread. A
//! session says what it wants done and is told the answer, so every path of it can be tested by typing a conversation.

pub mod address;

pub use address::{Address, AddressError, Envelope, ReversePath};
