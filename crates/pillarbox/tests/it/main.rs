//! Whole sessions and whole programs: conversations over memory and over TCP, options, transcript, stop.

#![allow(clippy::unwrap_used)]

mod conversations;
mod memory;
mod options;
mod package;
mod program;
mod stop;
mod transcript;
