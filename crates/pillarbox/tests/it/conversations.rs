//! Every conversation file, against the sessions in memory at several chunk sizes, and against the real programs.

use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use pillarbox::echo::Echo;
use pillarbox::pop3::Pop3;
use pillarbox::smtp::Smtp;
use pillarbox_probe::{Conversation, DiskFolder, Player, TcpWire, Wire, conversations_in};
use pillarbox_proto::smtp::MESSAGE_MAX_OCTETS;
use pillarbox_store::MboxStore;
use tempfile::TempDir;

use crate::memory::MemoryWire;
use crate::program::Program;

/// Pieces that the client's octets come in; `None`: as the conversation has them.
const CHUNKS: [Option<usize>; 5] = [Some(1), Some(2), Some(3), Some(7), None];

fn conversations(protocol: &str) -> Vec<Conversation> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../probe/conversations", protocol].iter().collect();
    let conversations = conversations_in(&folder).unwrap();
    assert!(conversations.len() > 1, "there are conversations in {}", folder.display());
    conversations
}

/// Plays all conversations of a protocol, each in a fresh folder, over the wire that `wire` makes.
fn play_all<W: Wire>(
    protocol: &str,
    chunks: &[Option<usize>],
    plays: impl Fn(&Conversation) -> bool,
    mut wire: impl FnMut(&Path) -> W,
) {
    let mut failures = Vec::new();
    for conversation in conversations(protocol).iter().filter(|conversation| plays(conversation)) {
        for &chunk in chunks {
            let dir = TempDir::new().unwrap();
            let mut wire = wire(dir.path());
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

fn store(dir: &Path) -> MboxStore {
    MboxStore::open(dir).unwrap().0
}

#[test]
fn echo_in_memory() {
    play_all("echo", &CHUNKS, |_| true, |_| MemoryWire::new(Echo));
}

#[test]
fn smtp_in_memory() {
    let wire = |dir: &Path| MemoryWire::new(Smtp { store: store(dir), message_max_octets: MESSAGE_MAX_OCTETS });
    play_all("smtp", &CHUNKS, |_| true, wire);
}

#[test]
fn pop3_in_memory() {
    play_all("pop3", &CHUNKS, |_| true, |dir| MemoryWire::new(Pop3 { store: store(dir) }));
}

/// A wire to a program that lives as long as the wire does.
struct Running {
    wire: TcpWire,
    program: Program,
}

impl Running {
    fn start(name: &str, dir: Option<&Path>) -> Self {
        let program = Program::start(name, dir, &[]);
        let pid = program.pid();
        let wire = TcpWire::new(program.listening[0]).on_stop(move || Ok(kill(pid, Signal::SIGTERM)?));
        Self { wire, program }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.program.stop();
        }
    }
}

impl Wire for Running {
    fn open(&mut self, client: usize) -> std::io::Result<()> {
        self.wire.open(client)
    }

    fn send(&mut self, client: usize, octets: &[u8]) -> std::io::Result<()> {
        self.wire.send(client, octets)
    }

    fn receive(
        &mut self,
        client: usize,
        deadline: Option<std::time::Instant>,
    ) -> std::io::Result<pillarbox_probe::Received> {
        self.wire.receive(client, deadline)
    }

    fn half_close(&mut self, client: usize) -> std::io::Result<()> {
        self.wire.half_close(client)
    }

    fn drop_client(&mut self, client: usize) -> std::io::Result<()> {
        self.wire.drop_client(client)
    }

    fn idle(&mut self, client: usize) -> std::io::Result<()> {
        self.wire.idle(client)
    }

    fn stop(&mut self) -> std::io::Result<()> {
        self.wire.stop()
    }
}

/// The real programs keep real time: what waits for minutes is played in memory only.
fn in_real_time(conversation: &Conversation) -> bool {
    !conversation.needs_clock()
}

#[test]
fn echo_over_tcp() {
    play_all("echo", &[None], in_real_time, |_| Running::start("echoserver", None));
}

#[test]
fn smtp_over_tcp() {
    play_all("smtp", &[None], in_real_time, |dir| Running::start("smtp", Some(dir)));
}

#[test]
fn pop3_over_tcp() {
    play_all("pop3", &[None], in_real_time, |dir| Running::start("pop3", Some(dir)));
}
