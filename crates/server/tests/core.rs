//! The server core under clients of every kind, on a clock of its own.

#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use pillarbox_proto::connection::REPLIES_MAX_OCTETS;
use pillarbox_proto::{Connection, Line, Replies, Session, Step, echo, pop3, smtp};
use pillarbox_server::{
    Backend, DESCRIPTORS_KEPT, LINGER, Log, Pool, READ_OCTETS, REPLIES_WAIT_MAX, REQUEST_OCTETS, STOP_GRACE, Server,
    Service, TURN_OCTETS, bind, drive,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Says back what it hears. `WAIT n` asks the backend to wait n seconds, `PANIC` is a bug.
struct Parrot;

/// Waits for so many seconds.
struct Wait;

const IDLE: Duration = Duration::from_secs(300);

impl Session for Parrot {
    type Request = Duration;
    type Answer = ();

    const IDLE: Option<Duration> = Some(IDLE);
    const OTHER_PROTOCOL: Option<&'static str> = Some("what");

    fn open(&mut self, replies: &mut Replies) {
        replies.line(format_args!("hello"));
    }

    fn line(&mut self, line: Line, replies: &mut Replies) -> Step<Duration> {
        let Line::Text(line) = line else { return Step::Continue };
        if let Some(seconds) = line.strip_prefix(b"WAIT ") {
            let seconds = std::str::from_utf8(seconds).unwrap().parse().unwrap();
            return Step::Ask(Duration::from_secs_f64(seconds));
        }
        assert!(line != "PANIC", "as asked for");
        replies.line_octets("", &line);
        if line == "QUIT" { Step::Close } else { Step::Continue }
    }

    fn answer(&mut self, (): (), replies: &mut Replies) -> Step<Duration> {
        replies.line(format_args!("waited"));
        Step::Continue
    }

    fn idle(&mut self, replies: &mut Replies) {
        replies.line(format_args!("idle"));
    }

    fn stop(&mut self, replies: &mut Replies) {
        replies.line(format_args!("stop"));
    }

    fn too_many_connections() -> &'static str {
        "too many"
    }
}

impl Backend<Parrot> for Wait {
    async fn perform(&mut self, time: Duration) {
        sleep(time).await;
    }
}

/// A client of a connection that is driven, over `space` octets in each direction.
fn connect(space: usize, stop: &CancellationToken) -> (DuplexStream, JoinHandle<std::io::Result<()>>) {
    let (client, server) = duplex(space);
    let stop = stop.clone();
    let driven = tokio::spawn(async move { drive(server, Connection::new(Parrot), Wait, &stop, &Log::silent()).await });
    (client, driven)
}

async fn read_to_end(client: &mut DuplexStream) -> String {
    let mut said = String::new();
    client.read_to_string(&mut said).await.unwrap();
    said
}

/// holds C-S12
#[tokio::test(start_paused = true)]
async fn octets_without_a_line_do_not_keep_a_connection_open() {
    let (mut client, driven) = connect(4096, &CancellationToken::new());
    let start = Instant::now();
    // A line, and from then on an octet a second.
    client.write_all(b"NOOP\r\n").await.unwrap();
    let mut octets = 0;
    while client.write_all(b"x").await.is_ok() && octets < 1000 {
        octets += 1;
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(read_to_end(&mut client).await, "hello\r\nNOOP\r\nidle\r\n");
    drop(client);
    driven.await.unwrap().unwrap();
    assert!(start.elapsed() >= IDLE && start.elapsed() < IDLE * 2, "after {:?}", start.elapsed());
}

/// holds C-S12
#[tokio::test(start_paused = true)]
async fn whole_lines_keep_it_open() {
    let (mut client, _driven) = connect(4096, &CancellationToken::new());
    for _ in 0..10 {
        sleep(IDLE - Duration::from_secs(1)).await;
        client.write_all(b"NOOP\r\n").await.unwrap();
    }
    client.write_all(b"QUIT\r\n").await.unwrap();
    assert!(read_to_end(&mut client).await.ends_with("NOOP\r\nQUIT\r\n"));
}

/// holds C-S10
#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_read_no_further_and_then_closed() {
    let (mut client, driven) = connect(4096, &CancellationToken::new());
    let line = [b"x".repeat(1000), b"\r\n".to_vec()].concat();
    let mut taken = 0;
    while let Ok(Ok(())) = timeout(IDLE / 10, client.write_all(&line)).await {
        taken += line.len();
        assert!(taken < 10 * REPLIES_MAX_OCTETS, "it goes on taking lines");
    }
    assert_eq!(driven.await.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
}

/// holds C-C9
#[tokio::test(start_paused = true)]
async fn the_command_under_way_is_finished_when_it_is_quick() {
    let stop = CancellationToken::new();
    let (mut client, _driven) = connect(4096, &stop);
    client.write_all(b"WAIT 0\r\nNOOP\r\n").await.unwrap();
    tokio::task::yield_now().await;
    stop.cancel();
    let said = read_to_end(&mut client).await;
    assert!(said == "hello\r\nwaited\r\nstop\r\n" || said == "hello\r\nwaited\r\nNOOP\r\nstop\r\n", "{said:?}");
}

/// holds C-C9
#[tokio::test(start_paused = true)]
async fn the_command_under_way_is_left_when_it_is_not() {
    let stop = CancellationToken::new();
    let (mut client, _driven) = connect(4096, &stop);
    client.write_all(b"WAIT 100\r\n").await.unwrap();
    sleep(Duration::from_secs(50)).await;
    let start = Instant::now();
    stop.cancel();
    assert_eq!(read_to_end(&mut client).await, "hello\r\nstop\r\n");
    assert!(start.elapsed() < STOP_GRACE * 2, "after {:?}", start.elapsed());
}

/// holds C-C9
#[tokio::test(start_paused = true)]
async fn many_quick_commands_under_way_get_no_more_time_than_one() {
    let stop = CancellationToken::new();
    let (mut client, _driven) = connect(4096, &stop);
    client.write_all("WAIT 0.6\r\n".repeat(10).as_bytes()).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    let start = Instant::now();
    stop.cancel();
    assert_eq!(read_to_end(&mut client).await, "hello\r\nwaited\r\nstop\r\n");
    assert!(start.elapsed() < STOP_GRACE + STOP_GRACE / 2, "after {:?}", start.elapsed());
}

/// Who sees the end may log in at once: what the connection held must be free by then.
///
/// holds C-P8
#[tokio::test(start_paused = true)]
async fn what_a_connection_held_is_given_up_before_it_is_closed() {
    let (mut client, server) = duplex(64);
    let (held, mut hears) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        drive(server, Connection::new(Parrot), Telling(held), &CancellationToken::new(), &Log::silent()).await
    });
    client.write_all(b"QUIT\r\n").await.unwrap();
    assert_eq!(read_to_end(&mut client).await, "hello\r\nQUIT\r\n");
    assert_eq!(hears.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
}

/// A backend that says when it has done its work.
struct Telling(mpsc::UnboundedSender<()>);

impl Backend<Parrot> for Telling {
    async fn perform(&mut self, time: Duration) {
        sleep(time).await;
        self.0.send(()).unwrap();
    }
}

/// What a command waits for may be a lock, and others wait for it in turn.
///
/// holds C-C1
#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_replies_does_not_hold_up_its_own_command() {
    let (mut client, server) = duplex(64);
    let (told, mut hears) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        drive(server, Connection::new(Parrot), Telling(told), &CancellationToken::new(), &Log::silent()).await
    });
    // With the greeting this is more than there is space for, and nobody reads.
    client.write_all(format!("{}\r\n", "x".repeat(40)).as_bytes()).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    client.write_all(format!("{}\r\nWAIT 1\r\n", "x".repeat(40)).as_bytes()).await.unwrap();
    let done = timeout(Duration::from_secs(2), hears.recv()).await;
    assert_eq!(done, Ok(Some(())));
}

/// holds C-C2
#[tokio::test(start_paused = true)]
async fn slow_work_does_not_hold_back_the_replies_before_it() {
    let (mut client, _driven) = connect(4096, &CancellationToken::new());
    client.write_all(b"one\r\ntwo\r\nWAIT 100\r\n").await.unwrap();
    let start = Instant::now();
    let mut said = [0; 17];
    client.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"hello\r\none\r\ntwo\r\n");
    assert_eq!((start.elapsed().as_millis() / 10 * 10, REPLIES_WAIT_MAX.as_millis()), (20, 20));
    client.write_all(b"QUIT\r\n").await.unwrap();
    assert_eq!(read_to_end(&mut client).await, "waited\r\nQUIT\r\n");
}

/// holds C-C11
#[tokio::test(start_paused = true)]
async fn a_tls_client_is_closed_at_once() {
    let (mut client, _driven) = connect(4096, &CancellationToken::new());
    let mut greeting = [0; 7];
    client.read_exact(&mut greeting).await.unwrap();
    client.write_all(b"\x16\x03\x01\x07\x52\r\nNOOP\r\n").await.unwrap();
    let start = Instant::now();
    assert_eq!(read_to_end(&mut client).await, "");
    assert!(start.elapsed().is_zero());
    // Only the first octet counts.
    let (mut client, _driven) = connect(4096, &CancellationToken::new());
    client.write_all(b"NOOP\r\n\x16\r\nQUIT\r\n").await.unwrap();
    assert_eq!(read_to_end(&mut client).await, "hello\r\nNOOP\r\n\x16\r\nQUIT\r\n");
}

/// A client that fills whatever space there is to read into, `left` times in all, and takes whatever is sent.
struct Flood {
    octets: Vec<u8>,
    left: usize,
    /// Octets that went to and fro.
    passed: Arc<AtomicUsize>,
}

impl AsyncRead for Flood {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, space: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.left > 0 {
            assert_eq!(space.remaining(), READ_OCTETS);
            space.put_slice(&self.octets);
            self.left -= 1;
            self.passed.fetch_add(READ_OCTETS, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Flood {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<std::io::Result<usize>> {
        self.passed.fetch_add(octets.len(), Ordering::Relaxed);
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// holds C-C1
#[tokio::test]
async fn a_client_that_sends_without_end_is_read_in_turn_with_others() {
    const ROUNDS: usize = 20;
    // What may be read, or sent, in one go when a turn is nearly over.
    const ONCE: usize = if READ_OCTETS > REPLIES_MAX_OCTETS { READ_OCTETS } else { REPLIES_MAX_OCTETS };
    for piece in [&b"x"[..], b"x\n"] {
        let passed = Arc::new(AtomicUsize::new(0));
        let octets = piece.repeat(READ_OCTETS / piece.len());
        let flood = Flood { octets, left: ROUNDS, passed: Arc::clone(&passed) };
        let driven = tokio::spawn(async move {
            drive(flood, Connection::new(Parrot), Wait, &CancellationToken::new(), &Log::silent()).await
        });
        let (mut turns, mut seen) = (0, 0);
        while !driven.is_finished() {
            tokio::task::yield_now().await;
            let now = passed.load(Ordering::Relaxed);
            assert!(now - seen < TURN_OCTETS + ONCE + 100, "{} octets in one turn", now - seen);
            (turns, seen) = (turns + 1, now);
        }
        driven.await.unwrap().unwrap();
        assert!(seen >= ROUNDS * READ_OCTETS && turns >= ROUNDS, "{seen} octets in {turns} turns");
    }
}

/// Counts what it performs, each at once.
struct AtOnce(Arc<AtomicUsize>);

impl Backend<Parrot> for AtOnce {
    async fn perform(&mut self, _: Duration) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Requests that are performed at once and have short replies are no reason to keep others waiting.
///
/// holds C-C1
#[tokio::test]
async fn a_client_that_asks_without_end_is_answered_in_turn_with_others() {
    const IN_TURN: usize = TURN_OCTETS / REQUEST_OCTETS;
    let line = b"WAIT 0000000000\n";
    let octets = line.repeat(READ_OCTETS / line.len());
    let asked = octets.len() / line.len();
    let flood = Flood { octets, left: 1, passed: Arc::default() };
    let performed = Arc::new(AtomicUsize::new(0));
    let backend = AtOnce(Arc::clone(&performed));
    let driven = tokio::spawn(async move {
        drive(flood, Connection::new(Parrot), backend, &CancellationToken::new(), &Log::silent()).await
    });
    let mut seen = 0;
    while !driven.is_finished() {
        tokio::task::yield_now().await;
        let now = performed.load(Ordering::Relaxed);
        assert!(now - seen <= IN_TURN, "{} requests in one turn", now - seen);
        seen = now;
    }
    driven.await.unwrap().unwrap();
    assert_eq!(seen, asked);
}

/// The space to read into is there while something is read, not while a connection waits.
///
/// holds C-C1
#[tokio::test]
async fn a_connection_that_waits_holds_no_space_to_read_into() {
    let (_client, server) = duplex(64);
    let (stop, log) = (CancellationToken::new(), Log::silent());
    let connection = drive(server, Connection::new(Parrot), Wait, &stop, &log);
    assert!(size_of_val(&connection) < READ_OCTETS / 16, "{} octets", size_of_val(&connection));
}

/// holds C-C5
#[tokio::test(start_paused = true)]
async fn a_closed_connection_is_read_from_for_so_long() {
    let (mut client, driven) = connect(4096, &CancellationToken::new());
    let start = Instant::now();
    client.write_all(b"QUIT\r\n").await.unwrap();
    assert_eq!(read_to_end(&mut client).await, "hello\r\nQUIT\r\n");
    assert!(start.elapsed().is_zero());
    // It has heard the end and keeps its own side open.
    driven.await.unwrap().unwrap();
    assert_eq!((start.elapsed().as_millis() / 10 * 10, LINGER.as_millis()), (1000, 1000));
}

/// However much it sends: what is not read would reset the connection, and might take the reply from it.
///
/// holds C-C5
#[tokio::test(start_paused = true)]
async fn a_closed_connection_is_read_from_again_and_again() {
    let (mut client, driven) = connect(64, &CancellationToken::new());
    client.write_all(b"QUIT\r\n").await.unwrap();
    assert_eq!(read_to_end(&mut client).await, "hello\r\nQUIT\r\n");
    for _ in 0..1000 {
        client.write_all(&[b'x'; 64]).await.unwrap();
    }
    drop(client);
    driven.await.unwrap().unwrap();
}

/// Stands behind sessions that ask for nothing.
struct Nobody;

impl<S: Session<Request: Send>> Backend<S> for Nobody {
    async fn perform(&mut self, _: S::Request) -> S::Answer {
        unreachable!("nothing is asked for")
    }
}

/// What a silent client of this session is told after the greeting, and when.
async fn silence<S: Session<Request: Send> + Send + 'static>(session: S) -> (String, Duration) {
    let (mut client, server) = duplex(4096);
    let start = Instant::now();
    let (stop, log) = (CancellationToken::new(), Log::silent());
    let driven = drive(server, Connection::new(session), Nobody, &stop, &log);
    let (_, said) = tokio::join!(driven, async {
        let said = read_to_end(&mut client).await;
        drop(client);
        said
    });
    (said.split_once("\r\n").unwrap().1.to_owned(), Duration::from_secs(start.elapsed().as_secs()))
}

/// holds C-S12 and C-P10
#[tokio::test(start_paused = true)]
async fn silence_is_borne_for_so_long() {
    let (said, after) = silence(smtp::Session::new(1000)).await;
    assert_eq!((said.as_str(), after), ("421 localhost Idle for too long, closing\r\n", Duration::from_secs(300)));
    assert_eq!(silence(pop3::Session::default()).await, (String::new(), Duration::from_secs(600)));
}

struct Parrots;

impl Service for Parrots {
    type Session = Parrot;
    type Backend = Wait;

    fn connect(&self, _: SocketAddr, _: Log) -> (Parrot, Wait) {
        (Parrot, Wait)
    }
}

/// Places for so many clients of so many servers.
fn pool(places: usize, servers: usize) -> Pool {
    Pool::new(DESCRIPTORS_KEPT + places, servers)
}

/// A server of parrots on loopback with room for so many clients.
fn serve(clients: usize) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
    serve_out_of(&pool(clients, 1), clients)
}

/// A server of parrots on loopback that takes places for up to so many clients out of a pool.
fn serve_out_of(pool: &Pool, clients: usize) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
    let listeners = bind(&[IpAddr::V4(Ipv4Addr::LOCALHOST)], 0).unwrap();
    let server = Server::new(Parrots, listeners, pool.room(clients));
    let address = server.addresses().unwrap()[0];
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));
    (address, stop, running)
}

async fn hear(client: &mut TcpStream, octets: usize) -> String {
    let mut said = vec![0; octets];
    client.read_exact(&mut said).await.unwrap();
    String::from_utf8(said).unwrap()
}

/// holds C-C1
#[tokio::test]
async fn one_client_too_many_is_told_and_closed_and_room_comes_back() {
    let (address, stop, running) = serve(2);
    let mut first = TcpStream::connect(address).await.unwrap();
    let mut second = TcpStream::connect(address).await.unwrap();
    hear(&mut first, 7).await;
    hear(&mut second, 7).await;
    let mut third = TcpStream::connect(address).await.unwrap();
    let mut said = String::new();
    third.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "too many\r\n");
    // A client that leaves makes room for the next, however many come one after another.
    for _ in 0..100 {
        first.write_all(b"QUIT\r\n").await.unwrap();
        hear(&mut first, 6).await;
        drop(first);
        first = come_until_served(address).await;
    }
    stop.cancel();
    running.await.unwrap();
    assert_eq!(hear(&mut second, 6).await, "stop\r\n");
}

/// A client that is served; `None` if it was told that there are too many.
async fn come(address: SocketAddr) -> Option<TcpStream> {
    let mut client = TcpStream::connect(address).await.unwrap();
    if hear(&mut client, 7).await == "hello\r\n" {
        return Some(client);
    }
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "y\r\n");
    None
}

/// Comes again until it is served: the place of who has left is free a moment later.
async fn come_until_served(address: SocketAddr) -> TcpStream {
    for _ in 0..10_000 {
        if let Some(client) = come(address).await {
            return client;
        }
    }
    panic!("no place became free");
}

/// holds C-C1
#[tokio::test]
async fn a_crowd_at_one_server_leaves_room_at_the_other_and_together_they_have_no_more_than_there_is() {
    let pool = pool(8, 2);
    let ((one, ..), (other, ..)) = (serve_out_of(&pool, 100), serve_out_of(&pool, 100));
    let mut crowd = Vec::new();
    while let Some(client) = come(one).await {
        crowd.push(client);
    }
    assert_eq!(crowd.len(), 6);
    let mut others = Vec::new();
    while let Some(client) = come(other).await {
        others.push(client);
    }
    assert_eq!(others.len(), 2);
    // Each that leaves the crowd makes room at either, for one.
    for address in [one, other, other, one, other, other] {
        drop(crowd.pop());
        let next = come_until_served(address).await;
        if address == one { &mut crowd } else { &mut others }.push(next);
        assert_eq!(crowd.len() + others.len(), 8);
        assert!(come(one).await.is_none() && come(other).await.is_none());
    }
    // The other has its share now, and no more when the crowd has gone.
    assert_eq!((crowd.len(), others.len()), (2, 6));
    drop(crowd);
    let _back = come_until_served(one).await;
    assert!(come(other).await.is_none());
}

/// holds C-C1
#[tokio::test]
async fn one_client_too_many_is_told_although_it_has_spoken_first() {
    let (address, _stop, _running) = serve(1);
    let mut first = TcpStream::connect(address).await.unwrap();
    hear(&mut first, 7).await;
    // Here is one thread only: the server does not see the client before it has sent this.
    let mut second = std::net::TcpStream::connect(address).unwrap();
    std::io::Write::write_all(&mut second, b"NOOP\r\n").unwrap();
    second.set_nonblocking(true).unwrap();
    let mut said = String::new();
    TcpStream::from_std(second).unwrap().read_to_string(&mut said).await.expect("closed, not reset");
    assert_eq!(said, "too many\r\n");
}

/// holds C-C1
#[tokio::test]
async fn a_bug_in_one_session_ends_that_session_only() {
    let (address, _stop, _running) = serve(2);
    let mut healthy = TcpStream::connect(address).await.unwrap();
    hear(&mut healthy, 7).await;
    for _ in 0..5 {
        let mut broken = TcpStream::connect(address).await.unwrap();
        broken.write_all(b"PANIC\r\n").await.unwrap();
        let mut said = Vec::new();
        let _ = broken.read_to_end(&mut said).await;
    }
    healthy.write_all(b"still here\r\n").await.unwrap();
    assert_eq!(hear(&mut healthy, 12).await, "still here\r\n");
}

/// holds C-C5
#[tokio::test]
async fn the_last_reply_arrives_although_the_client_said_more() {
    let (address, _stop, _running) = serve(1000);
    for _ in 0..50 {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"QUIT\r\n").await.unwrap();
        client.write_all(&b"more\r\n".repeat(10_000)).await.unwrap();
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "hello\r\nQUIT\r\n");
    }
}

/// An echo session has no idle limit: a clock that jumps by years does not end it.
///
/// holds C-E3
#[tokio::test(start_paused = true)]
async fn an_echo_client_may_be_silent() {
    struct Nothing;
    impl Backend<echo::Session> for Nothing {
        async fn perform(&mut self, request: Infallible) -> Infallible {
            match request {}
        }
    }
    let (mut client, server) = duplex(4096);
    tokio::spawn(async move {
        let connection = Connection::new(echo::Session::new("A / a"));
        drive(server, connection, Nothing, &CancellationToken::new(), &Log::silent()).await
    });
    sleep(Duration::from_secs(3600 * 24 * 365)).await;
    client.write_all(b"QUIT\r\n").await.unwrap();
    assert!(read_to_end(&mut client).await.ends_with("+OK Goodbye!\r\n"));
}

/// Where two threads meet; neither goes on before the other is there.
#[derive(Default)]
struct Meeting {
    there: Mutex<usize>,
    changed: Condvar,
}

impl Meeting {
    /// Whether somebody came.
    fn meet(&self) -> bool {
        let mut there = self.there.lock().unwrap();
        *there += 1;
        self.changed.notify_all();
        let alone = |there: &mut usize| *there < 2;
        !self.changed.wait_timeout_while(there, Duration::from_secs(60), alone).unwrap().1.timed_out()
    }
}

/// holds C-D1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_different_clients_run_in_parallel() {
    struct Guest(Arc<Meeting>);
    impl Backend<Parrot> for Guest {
        async fn perform(&mut self, _: Duration) {
            // Keeps the thread, not just the task, until the other session is served on another.
            assert!(tokio::task::block_in_place(|| self.0.meet()), "nobody came");
        }
    }
    struct Meetings(Arc<Meeting>);
    impl Service for Meetings {
        type Session = Parrot;
        type Backend = Guest;

        fn connect(&self, _: SocketAddr, _: Log) -> (Parrot, Guest) {
            (Parrot, Guest(Arc::clone(&self.0)))
        }
    }
    let listeners = bind(&[IpAddr::V4(Ipv4Addr::LOCALHOST)], 0).unwrap();
    let server = Server::new(Meetings(Arc::default()), listeners, pool(10, 1).room(10));
    let address = server.addresses().unwrap()[0];
    tokio::spawn(server.run(CancellationToken::new()));
    let mut clients = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
    for client in &mut clients {
        client.write_all(b"WAIT 0\r\n").await.unwrap();
    }
    for client in &mut clients {
        assert_eq!(hear(client, 15).await, "hello\r\nwaited\r\n");
    }
}
