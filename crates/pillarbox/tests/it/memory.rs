//! Every conversation file, against the sessions in memory at several chunk sizes: without sockets and on a clock of their
//! own.
//!
//! `golden/*.txt` has what is said octet for octet, and which octets leave together. A difference is a change of behaviour;
//! `UPDATE_GOLDEN=1` takes what is said now for what is to be said.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{Arguments, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;
use std::{fs, io};

use pillarbox::echo::Echo;
use pillarbox::pop3::Pop3;
use pillarbox::smtp::Smtp;
use pillarbox_probe::{Conversation, Received, Wire};
use pillarbox_proto::smtp::MESSAGE_MAX_OCTETS;
use pillarbox_proto::{Connection, Session as _, Todo};
use pillarbox_server::{Backend as _, Beside, Log, Pool, Service};
use pillarbox_store::MboxStore;
use tokio::runtime::{Builder, Runtime};
use xxhash_rust::xxh3::xxh3_64;

use crate::conversations::play_all;

/// Pieces that the client's octets come in, besides as the conversation has them.
const CHUNKS: [Option<usize>; 4] = [Some(1), Some(2), Some(3), Some(7)];

/// Connections to a service.
struct MemoryWire<V: Service> {
    service: V,
    runtime: Runtime,
    clients: BTreeMap<usize, Client<V>>,
    /// All that was said and done, a line each.
    record: Rc<RefCell<String>>,
}

struct Client<V: Service> {
    connection: Connection<V::Session>,
    /// `None` once the connection is closed.
    backend: Option<V::Backend>,
    said: Vec<u8>,
}

impl<V: Service> MemoryWire<V> {
    fn new(service: V) -> Self {
        Self::recording(service, Rc::default())
    }

    fn recording(service: V, record: Rc<RefCell<String>>) -> Self {
        // Pauses of a session cost no time: the clock jumps when nothing else is left to do.
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        Self { service, runtime, clients: BTreeMap::new(), record }
    }

    /// Writes down what `client` did or was told.
    fn note(&self, client: usize, what: Arguments<'_>) {
        writeln!(self.record.borrow_mut(), "{client} {what}").unwrap();
    }

    /// Does what the connection wants, until it waits for the client.
    fn work(&mut self, number: usize) {
        let client = self.clients.get_mut(&number).unwrap();
        while let Some(backend) = &mut client.backend {
            match client.connection.todo() {
                Todo::Send(octets) => {
                    writeln!(self.record.borrow_mut(), "{number} S {}", shown(&octets)).unwrap();
                    client.said.extend(octets);
                }
                Todo::Perform(request) => {
                    let answer = self.runtime.block_on(backend.perform(request));
                    client.connection.answered(answer);
                }
                Todo::Receive => return,
                Todo::Close => {
                    writeln!(self.record.borrow_mut(), "{number} closed").unwrap();
                    client.backend = None;
                }
            }
        }
    }
}

impl<V: Service> Wire for MemoryWire<V> {
    fn open(&mut self, client: usize) -> io::Result<()> {
        self.note(client, format_args!("connects"));
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let (session, backend) = self.service.connect(peer, Log::silent());
        let connection = Connection::new(session);
        self.clients.insert(client, Client { connection, backend: Some(backend), said: Vec::new() });
        self.work(client);
        Ok(())
    }

    fn send(&mut self, client: usize, octets: &[u8]) -> io::Result<()> {
        self.note(client, format_args!("C {}", shown(octets)));
        if self.clients[&client].backend.is_some() {
            self.clients.get_mut(&client).unwrap().connection.received(octets);
            self.work(client);
        }
        Ok(())
    }

    fn receive(&mut self, client: usize, _: Option<Instant>) -> io::Result<Received> {
        let client = self.clients.get_mut(&client).unwrap();
        Ok(match (std::mem::take(&mut client.said), &client.backend) {
            (said, _) if !said.is_empty() => Received::Octets(said),
            (_, None) => Received::Closed,
            (_, Some(_)) => Received::Nothing,
        })
    }

    fn half_close(&mut self, client: usize) -> io::Result<()> {
        self.note(client, format_args!("ends"));
        self.clients.get_mut(&client).unwrap().connection.ended();
        self.work(client);
        Ok(())
    }

    fn drop_client(&mut self, client: usize) -> io::Result<()> {
        self.note(client, format_args!("goes"));
        self.clients.remove(&client);
        Ok(())
    }

    fn idle(&mut self, client: usize) -> io::Result<()> {
        self.note(client, format_args!("is silent"));
        // Where the protocol has no limit, silence changes nothing.
        if V::Session::IDLE.is_some() {
            self.clients.get_mut(&client).unwrap().connection.idle();
            self.work(client);
        }
        Ok(())
    }

    fn stop(&mut self) -> io::Result<()> {
        self.record.borrow_mut().push_str("the server stops\n");
        let clients: Vec<_> = self.clients.keys().copied().collect();
        for client in clients {
            self.clients.get_mut(&client).unwrap().connection.stop();
            self.work(client);
        }
        Ok(())
    }
}

fn store(dir: &Path) -> MboxStore {
    MboxStore::open(dir).unwrap().0
}

fn beside() -> Beside {
    Pool::new(10_000, 1).beside()
}

/// Octets as a line; of many the beginning, and a hash.
fn shown(octets: &[u8]) -> String {
    const SHOWN_MAX_OCTETS: usize = 500;
    match octets.get(..SHOWN_MAX_OCTETS) {
        Some(begin) => {
            format!("{} and more: {} octets, {:016x}", begin.escape_ascii(), octets.len(), xxh3_64(octets))
        }
        None => octets.escape_ascii().to_string(),
    }
}

/// Plays the conversations of a protocol at all chunk sizes and as they are, and compares what is said then with what was
/// said when the golden file was made.
fn play_in_memory<V: Service>(protocol: &str, service: impl Fn(&Conversation, &Path) -> V) {
    play_all(protocol, &CHUNKS, |_| true, |conversation, dir| (MemoryWire::new(service(conversation, dir)), ()));

    let golden = RefCell::new(String::new());
    play_all(
        protocol,
        &[None],
        |_| true,
        |conversation, dir| {
            let record = Rc::default();
            let name = conversation.file.file_stem().unwrap().to_string_lossy().into_owned();
            let gathered = Gathered { name, record: Rc::clone(&record), golden: &golden };
            (MemoryWire::recording(service(conversation, dir), record), gathered)
        },
    );
    let golden = golden.into_inner();
    let file: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/golden", &format!("{protocol}.txt")].iter().collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &golden).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    let differs = (1..).zip(golden.lines().zip(expected.lines())).find(|(_, (now, before))| now != before);
    assert!(golden == expected, "{} is not what is said now: {differs:?}", file.display());
}

/// Puts what a conversation has recorded behind those before it, when it is over.
struct Gathered<'a> {
    name: String,
    record: Rc<RefCell<String>>,
    golden: &'a RefCell<String>,
}

impl Drop for Gathered<'_> {
    fn drop(&mut self) {
        write!(self.golden.borrow_mut(), "--- {}\n{}", self.name, self.record.borrow()).unwrap();
    }
}

#[test]
fn echo_in_memory() {
    play_in_memory("echo", |_, _| Echo);
}

#[test]
fn smtp_in_memory() {
    play_in_memory("smtp", |conversation, dir| {
        let message_max_octets = conversation.size_max_octets.unwrap_or(MESSAGE_MAX_OCTETS);
        Smtp { store: store(dir), message_max_octets, beside: beside() }
    });
}

#[test]
fn pop3_in_memory() {
    play_in_memory("pop3", |_, dir| Pop3 { store: store(dir), beside: beside() });
}
