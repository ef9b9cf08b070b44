//! Whole sessions and whole programs: conversations over memory and over TCP, options, transcript, stop.

#![allow(clippy::unwrap_used)]

mod conversations;
#[cfg(feature = "tools")]
#[allow(dead_code, reason = "shared with the tests of the relay")]
#[path = "../../../relay/tests/relay/dns.rs"]
mod dns;
#[cfg(feature = "tools")]
mod forward;
#[cfg(feature = "tools")]
mod fsck;
#[cfg(feature = "tools")]
mod memory;
#[cfg(feature = "tools")]
mod options;
#[cfg(feature = "tools")]
mod package;
#[cfg(feature = "tools")]
#[allow(dead_code, reason = "shared with the tests of the relay")]
#[path = "../../../relay/tests/relay/peer.rs"]
mod peer;
#[cfg_attr(not(feature = "tools"), allow(dead_code, reason = "shared with tests that are left out"))]
mod program;
#[cfg(feature = "tools")]
mod repairs;
#[cfg(feature = "tools")]
mod serve;
#[cfg(feature = "tools")]
mod stop;
#[cfg(feature = "tools")]
mod torture;
#[cfg(feature = "tools")]
mod transcript;
