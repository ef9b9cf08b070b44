//! The programs of pillarbox: options, wiring, and the backends in which protocols and storage meet.
//!
//! Each program in `src/bin` is a short `main`: flags, wiring, run. `echoserver`, `smtp` and `pop3` are the classic
//! suite, whose behaviour never changes; `pillarbox` runs everything in one process.

pub mod author;
pub mod cli;
pub mod echo;
pub mod failure;
pub mod folder;
pub mod forward;
#[cfg(feature = "tools")]
pub mod fsck;
pub mod host;
pub mod pop3;
pub mod refusal;
pub mod results;
pub mod serve;
pub mod smtp;
#[cfg(feature = "tools")]
pub mod torture;
pub mod user;

/// The classic password of every user (C-P3). Everybody knows it: that is why servers listen on loopback only.
pub const CLASSIC_PASSWORD: &str = "cis505";
