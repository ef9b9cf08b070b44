//! Whole sessions and whole programs: conversations over memory and over TCP, options, transcript, stop.

#![cfg(feature = "tools")]
#![allow(clippy::unwrap_used)]

mod conversations;
mod descriptors;
#[allow(dead_code, reason = "shared with the tests of the relay")]
#[path = "../../../relay/tests/relay/dns.rs"]
mod dns;
mod documents;
mod forward;
mod fsck;
mod http;
mod memory;
mod options;
mod owner;
mod package;
#[allow(dead_code, reason = "shared with the tests of the relay")]
#[path = "../../../relay/tests/relay/peer.rs"]
mod peer;
mod program;
mod repairs;
mod serve;
mod stop;
mod torture;
mod transcript;
