//! Every conversation file, against the sessions in memory at several chunk sizes: without sockets and on a clock of their
//! own.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Instant;

use pillarbox::echo::Echo;
use pillarbox::pop3::Pop3;
use pillarbox::smtp::Smtp;
use pillarbox_probe::{Received, Wire};
use pillarbox_proto::smtp::MESSAGE_MAX_OCTETS;
use pillarbox_proto::{Connection, Session as _, Todo};
use pillarbox_server::{Backend as _, Beside, Log, Pool, Service};
use pillarbox_store::MboxStore;
use tokio::runtime::{Builder, Runtime};

use crate::conversations::play_all;

/// Pieces that the client's octets come in; `None`: as the conversation has them.
const CHUNKS: [Option<usize>; 5] = [Some(1), Some(2), Some(3), Some(7), None];

/// Connections to a service.
struct MemoryWire<V: Service> {
    service: V,
    runtime: Runtime,
    clients: BTreeMap<usize, Client<V>>,
}

struct Client<V: Service> {
    connection: Connection<V::Session>,
    /// `None` once the connection is closed.
    backend: Option<V::Backend>,
    said: Vec<u8>,
}

impl<V: Service> MemoryWire<V> {
    fn new(service: V) -> Self {
        // Pauses of a session cost no time: the clock jumps when nothing else is left to do.
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        Self { service, runtime, clients: BTreeMap::new() }
    }

    /// Does what the connection wants, until it waits for the client.
    fn work(&mut self, client: usize) {
        let client = self.clients.get_mut(&client).unwrap();
        while let Some(backend) = &mut client.backend {
            match client.connection.todo() {
                Todo::Send(octets) => client.said.extend(octets),
                Todo::Perform(request) => {
                    let answer = self.runtime.block_on(backend.perform(request));
                    client.connection.answered(answer);
                }
                Todo::Receive => return,
                Todo::Close => client.backend = None,
            }
        }
    }
}

impl<V: Service> Wire for MemoryWire<V> {
    fn open(&mut self, client: usize) -> io::Result<()> {
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let (session, backend) = self.service.connect(peer, Log::silent());
        let connection = Connection::new(session);
        self.clients.insert(client, Client { connection, backend: Some(backend), said: Vec::new() });
        self.work(client);
        Ok(())
    }

    fn send(&mut self, client: usize, octets: &[u8]) -> io::Result<()> {
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
        self.clients.get_mut(&client).unwrap().connection.ended();
        self.work(client);
        Ok(())
    }

    fn drop_client(&mut self, client: usize) -> io::Result<()> {
        self.clients.remove(&client);
        Ok(())
    }

    fn idle(&mut self, client: usize) -> io::Result<()> {
        // Where the protocol has no limit, silence changes nothing.
        if V::Session::IDLE.is_some() {
            self.clients.get_mut(&client).unwrap().connection.idle();
            self.work(client);
        }
        Ok(())
    }

    fn stop(&mut self) -> io::Result<()> {
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

#[test]
fn echo_in_memory() {
    play_all("echo", &CHUNKS, |_| true, |_, _| (MemoryWire::new(Echo), ()));
}

#[test]
fn smtp_in_memory() {
    play_all(
        "smtp",
        &CHUNKS,
        |_| true,
        |conversation, dir| {
            let message_max_octets = conversation.size_max_octets.unwrap_or(MESSAGE_MAX_OCTETS);
            (MemoryWire::new(Smtp { store: store(dir), message_max_octets, beside: beside() }), ())
        },
    );
}

#[test]
fn pop3_in_memory() {
    play_all("pop3", &CHUNKS, |_| true, |_, dir| (MemoryWire::new(Pop3 { store: store(dir), beside: beside() }), ()));
}
