//! Tests of `serve.rs`.

use std::convert::Infallible;
use std::sync::Mutex;

use pillarbox_proto::echo;
use tokio::time::Instant;

use super::*;
use crate::limits::{DESCRIPTORS_KEPT, Pool};

struct Echo;

impl Service for Echo {
    type Session = echo::Session;
    type Backend = Self;

    fn connect(&self, _: SocketAddr, _: Log) -> (echo::Session, Self) {
        (echo::Session::new("A / a"), Self)
    }
}

impl Backend<echo::Session> for Echo {
    async fn perform(&mut self, request: Infallible) -> Infallible {
        match request {}
    }
}

/// Room for so many connections.
fn room(connections: usize) -> Room {
    Pool::new(DESCRIPTORS_KEPT + 10, 1).room(connections)
}

/// A listener for which there is no descriptor, but for one in the middle. At its end it stops the server.
struct Scarce {
    asked: Arc<Mutex<Vec<Instant>>>,
    one: Mutex<Option<(TcpStream, SocketAddr)>>,
    stop: CancellationToken,
}

const FAILURES: usize = 12;

impl Accept for Scarce {
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let mut asked = self.asked.lock().unwrap();
        asked.push(Instant::now());
        if asked.len() == FAILURES {
            return Ok(self.one.lock().unwrap().take().unwrap());
        }
        if asked.len() > FAILURES + 2 {
            self.stop.cancel();
        }
        Err(io::Error::from_raw_os_error(nix::libc::EMFILE))
    }
}

/// holds C-C1
#[tokio::test]
async fn without_descriptors_it_pauses_ever_longer_and_then_begins_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let one = Mutex::new(Some(listener.accept().await.unwrap()));
    tokio::time::pause();
    let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), CancellationToken::new());
    let scarce = Scarce { asked: Arc::clone(&asked), one, stop: stop.clone() };
    accept(scarce, Arc::new(Shared::new(Echo, room(10), None, stop))).await;
    let asked = asked.lock().unwrap();
    // At once with the descriptor that is kept for it. The clock of the runtime counts whole milliseconds, and wakes in the next one.
    let pauses: Vec<_> = asked.windows(2).map(|pair| (pair[1] - pair[0]).as_millis() / 10 * 10).collect();
    assert_eq!(pauses, [0, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000, 0, 0, 10]);
    assert_eq!(ACCEPT_PAUSE_MAX.as_millis(), 1000);
}

/// holds C-C1
#[tokio::test]
async fn so_many_that_are_turned_away_are_waited_for_and_the_others_are_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shared = Arc::new(Shared::new(Echo, room(0), None, CancellationToken::new()));
    let mut clients = Vec::new();
    for _ in 0..TURNED_AWAY_MAX + 10 {
        clients.push(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
        let (socket, peer) = listener.accept().await.unwrap();
        admit(socket, peer, &shared);
    }
    assert_eq!((shared.connections.len(), TURNED_AWAY_MAX), (50, 50));
    for mut client in clients {
        let mut said = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut client, &mut said).await.unwrap();
        assert_eq!(said, "-ERR Too many connections, try again later\r\n");
    }
}

/// holds C-C13
#[tokio::test]
async fn from_one_address_the_eleventh_is_told_and_others_are_served() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let room = Pool::new(DESCRIPTORS_KEPT + 100, 1).room(100);
    let shared = Arc::new(Shared::new(Echo, room, None, CancellationToken::new()));
    let mut served = Vec::new();
    for (address, most) in [("192.0.2.1", 10), ("::ffff:192.0.2.2", 10), ("2001:db8::1", 10), ("127.0.0.1", 30)] {
        for number in 1..=most + 1 {
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (socket, _) = listener.accept().await.unwrap();
            admit(socket, SocketAddr::new(address.parse().unwrap(), 1), &shared);
            let mut said = [0; 4];
            tokio::io::AsyncReadExt::read_exact(&mut client, &mut said).await.unwrap();
            let is_refused = said == *b"-ERR";
            assert_eq!(is_refused, number > most && address != "127.0.0.1", "{number} of {address}");
            if is_refused {
                let mut rest = String::new();
                tokio::io::AsyncReadExt::read_to_string(&mut client, &mut rest).await.unwrap();
                assert_eq!(rest, " Too many connections, try again later\r\n");
            } else {
                served.push(client);
            }
        }
    }
    assert_eq!(served.len(), 61);
}

/// holds C-C9
#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_end_is_left_behind() {
    let shared = Shared::new(Echo, room(1), None, CancellationToken::new());
    shared.connections.spawn(std::future::pending::<()>());
    let start = Instant::now();
    shared.end().await;
    assert_eq!((start.elapsed().as_millis() / 10 * 10, STOP_MAX.as_millis()), (1500, 1500));
}
