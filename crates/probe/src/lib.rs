//! Conversations with mail servers: a small language, a player, and the testers built on both.
//!
//! A conversation file (`conversations/<protocol>/<name>.talk`) says what a client sends and what must come back, octet
//! by octet. The same file is played against a pure protocol session at several chunk sizes, against a real server
//! over TCP, and, when it is marked `tester`, against anybody's server by `echo-test`, `smtp-test` and `pop3-test`.
//!
//! ```text
//! # Inner and trailing spaces belong to the text.
//! holds C-E2 boundary
//!
//! S~ +OK Server ready *
//! C: ECHO  two  spaces\s
//! S: +OK  two  spaces\s
//! C: QUIT
//! S: +OK Goodbye!
//! closed
//! ```
//!
//! `conversations/README.md` explains every word of the language; [`conversation`] is its meaning as Rust types.
//!
//! # Playing
//!
//! ```no_run
//! use pillarbox_probe::{Conversation, DiskFolder, Player, TcpWire};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let conversation = Conversation::load("conversations/pop3/states.talk".as_ref())?;
//! let mut folder = DiskFolder::new("/tmp/mailtest");
//! let mut wire = TcpWire::new("127.0.0.1:11000".parse()?);
//! Player::new(&mut wire).folder(&mut folder).chunk(3).play(&conversation)?;
//! # Ok(())
//! # }
//! ```
//!
//! A test brings its own [`Wire`] (how octets reach the server) and, where files matter, a [`Folder`] (DIR). Ask
//! [`Conversation::needs_clock`], [`Conversation::needs_stop`] and [`Conversation::needs_folder`] whether a wire can
//! play a file at all.

pub mod conversation;
pub mod fetch;
pub mod folder;
mod parse;
pub mod player;
pub mod reply;
pub mod talk;
pub mod tester;
pub mod text;
pub mod wire;

pub use conversation::{Conversation, conversations_in};
pub use folder::{DiskFolder, Folder};
pub use player::{Failure, Player, play};
pub use wire::{Received, TcpWire, Wire};
