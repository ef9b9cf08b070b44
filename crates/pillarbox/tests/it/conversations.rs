//! Every conversation file, against the real programs.

use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use pillarbox_probe::{Conversation, DiskFolder, Player, TcpWire, Wire, conversations_in};
use tempfile::TempDir;

use crate::program::Program;

fn conversations(protocol: &str) -> Vec<Conversation> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../probe/conversations", protocol].iter().collect();
    let conversations = conversations_in(&folder).unwrap();
    assert!(conversations.len() > 1, "there are conversations in {}", folder.display());
    conversations
}

/// Plays all conversations of a protocol, each in a fresh folder, over the wire that `wire` makes. What `wire` gives
/// beside it is dropped when the conversation is over.
pub(crate) fn play_all<W: Wire, G>(
    protocol: &str,
    chunks: &[Option<usize>],
    plays: impl Fn(&Conversation) -> bool,
    mut wire: impl FnMut(&Conversation, &Path) -> (W, G),
) {
    let mut failures = Vec::new();
    for conversation in conversations(protocol).iter().filter(|conversation| plays(conversation)) {
        for &chunk in chunks {
            let dir = TempDir::new().unwrap();
            let (mut wire, _server) = wire(conversation, dir.path());
            let mut folder = DiskFolder::new(dir.path());
            let player = Player::new(&mut wire).folder(&mut folder);
            let player = match chunk {
                Some(octets) => player.chunk(octets),
                None => player,
            };
            if let Err(failure) = player.play(conversation) {
                failures.push(format!("in pieces of {chunk:?}: {failure}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

/// A program that has to end well when its conversation is over.
struct Running(Program);

impl Drop for Running {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.stop();
        }
    }
}

/// The real program, and a wire to it.
fn run(name: &str, dir: Option<&Path>, options: &[&str]) -> (TcpWire, Running) {
    let program = Program::start(name, dir, options);
    let pid = program.pid();
    (TcpWire::new(program.listening[0]).on_stop(move || Ok(kill(pid, Signal::SIGTERM)?)), Running(program))
}

/// The real programs keep real time: what waits for minutes is played in memory only.
fn in_real_time(conversation: &Conversation) -> bool {
    !conversation.needs_clock()
}

#[test]
fn echo_over_tcp() {
    play_all("echo", &[None], in_real_time, |_, _| run("echoserver", None, &[]));
}

#[test]
fn smtp_over_tcp() {
    play_all("smtp", &[None], in_real_time, |conversation, dir| match conversation.size_max_octets {
        Some(octets) => run("smtp", Some(dir), &["--max-size", &octets.to_string()]),
        None => run("smtp", Some(dir), &[]),
    });
}

#[test]
fn pop3_over_tcp() {
    play_all("pop3", &[None], in_real_time, |_, dir| run("pop3", Some(dir), &[]));
}
