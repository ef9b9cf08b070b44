//! Accepts connections, as many as there is room for, until it is told to stop.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use pillarbox_proto::{Connection, Session};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::drive::{Backend, close, drive};
use crate::tide::Tide;
use crate::transcript::{Log, Transcript};

/// Connections that wait to be accepted; the kernel may allow fewer (`net.core.somaxconn`).
pub const LISTEN_BACKLOG: i32 = 4096;

/// Longest pause when no connection can be accepted, e.g. because descriptors have run out.
pub const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Clients beyond the limit that are waited for at once, so that what they have sent does not turn the close into a
/// reset, which could take the line from them. Each has one of [`crate::DESCRIPTORS_KEPT`] for up to [`crate::LINGER`].
pub const TURNED_AWAY_MAX: usize = 50;

const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(10);

/// How long all connections together may take to end once the server stops; what is left then is dropped (C-C9).
pub const STOP_MAX: Duration = Duration::from_millis(1500);

/// A protocol and what stands behind it.
pub trait Service: Send + Sync + 'static {
    /// The protocol's side of one connection.
    type Session: Session<Request: Send, Answer: Send> + Send + 'static;
    /// The other side: storage, queue, DNS.
    type Backend: Backend<Self::Session> + 'static;

    /// Both sides of a new connection. `log` is for what goes wrong behind it.
    fn connect(&self, peer: SocketAddr, log: Log) -> (Self::Session, Self::Backend);
}

/// A service with its sockets.
pub struct Server<S> {
    service: S,
    listeners: Vec<TcpListener>,
    connections_max: usize,
    transcript: Option<Transcript>,
}

impl<S: Service> Server<S> {
    /// A server that serves up to `connections_max` clients at once.
    pub fn new(service: S, listeners: Vec<TcpListener>, connections_max: usize) -> Self {
        Self { service, listeners, connections_max, transcript: None }
    }

    /// Writes what is said into this transcript.
    #[must_use]
    pub fn with_transcript(mut self, transcript: Option<Transcript>) -> Self {
        self.transcript = transcript;
        self
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }

    /// Serves until `stop` is cancelled; then every connection is told, and closed, within [`STOP_MAX`].
    pub async fn run(self, stop: CancellationToken) {
        let shared = Arc::new(Shared::new(self.service, self.connections_max, self.transcript, stop.clone()));
        let accepting = TaskTracker::new();
        for listener in self.listeners {
            accepting.spawn(accept(listener, Arc::clone(&shared)));
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = shared.tide.give_back(pillarbox_memory::give_back) => {}
        }
        accepting.close();
        accepting.wait().await;
        shared.end().await;
    }
}

struct Shared<S> {
    service: S,
    room: Arc<Semaphore>,
    turned_away: Arc<Semaphore>,
    tide: Arc<Tide>,
    transcript: Option<Transcript>,
    connections: TaskTracker,
    stop: CancellationToken,
}

impl<S> Shared<S> {
    fn new(service: S, connections_max: usize, transcript: Option<Transcript>, stop: CancellationToken) -> Self {
        Self {
            service,
            room: Arc::new(Semaphore::new(connections_max)),
            turned_away: Arc::new(Semaphore::new(TURNED_AWAY_MAX)),
            tide: Arc::default(),
            transcript,
            connections: TaskTracker::new(),
            stop,
        }
    }

    /// Waits for the connections to end. What is left behind after [`STOP_MAX`] is dropped with the runtime.
    async fn end(&self) {
        self.connections.close();
        let _ = timeout(STOP_MAX, self.connections.wait()).await;
    }
}

/// What connections come from.
trait Accept: Send {
    /// The next connection.
    fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

impl Accept for TcpListener {
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        Self::accept(self).await
    }
}

async fn accept<S: Service>(listener: impl Accept, shared: Arc<Shared<S>>) {
    let mut pause = ACCEPT_PAUSE_MIN;
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                pause = ACCEPT_PAUSE_MIN;
                admit(socket, peer, &shared);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => {
                // Descriptors or memory have run out: trying again at once would only spin.
                tokio::select! {
                    () = shared.stop.cancelled() => return,
                    () = sleep(pause) => pause = ACCEPT_PAUSE_MAX.min(pause * 2),
                }
            }
        }
    }
}

/// Errors of a connection that was gone before it was accepted (accept(2)); the listener is well.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkDown,
        NetworkUnreachable, TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
            | TimedOut
    )
}

fn admit<S: Service>(socket: TcpStream, peer: SocketAddr, shared: &Arc<Shared<S>>) {
    let Ok(permit) = Arc::clone(&shared.room).try_acquire_owned() else {
        turn_away(socket, shared);
        return;
    };
    // A reply must not wait for the acknowledgement of the one before. Failing to say so costs speed, nothing else.
    let _ = socket.set_nodelay(true);
    let afloat = shared.tide.rises();
    let shared_by_task = Arc::clone(shared);
    shared.connections.spawn(async move {
        serve(socket, peer, &shared_by_task).await;
        drop(permit);
        drop(afloat);
    });
}

/// Tells a client that there is no room, and closes.
fn turn_away<S: Service>(socket: TcpStream, shared: &Arc<Shared<S>>) {
    // Nothing was sent yet, so there is space for the line.
    let _ = socket.try_write(format!("{}\r\n", S::Session::too_many_connections()).as_bytes());
    let Ok(permit) = Arc::clone(&shared.turned_away).try_acquire_owned() else { return };
    let stop = shared.stop.clone();
    shared.connections.spawn(async move {
        // An error means that the client is gone.
        let _ = close(socket, &stop).await;
        drop(permit);
    });
}

async fn serve<S: Service>(mut socket: TcpStream, peer: SocketAddr, shared: &Shared<S>) {
    let log = Log::new(shared.transcript.clone(), socket.as_raw_fd());
    log.note(format_args!("New connection"));
    let (session, backend) = shared.service.connect(peer, log.clone());
    let connection = if log.is_on() { Connection::with_transcript(session) } else { Connection::new(session) };
    // An error means that the client is gone, and leaves nothing to do.
    let _ = drive(&mut socket, connection, backend, &shared.stop, &log).await;
    log.note(format_args!("Connection closed"));
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;

    use pillarbox_proto::echo;
    use tokio::time::Instant;

    use super::*;

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
        accept(scarce, Arc::new(Shared::new(Echo, 10, None, stop))).await;
        let asked = asked.lock().unwrap();
        // The clock of the runtime counts whole milliseconds, and wakes in the next one.
        let pauses: Vec<_> = asked.windows(2).map(|pair| (pair[1] - pair[0]).as_millis() / 10 * 10).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000, 1000, 0, 10, 20]);
        assert_eq!(ACCEPT_PAUSE_MAX.as_millis(), 1000);
    }

    /// holds C-C1
    #[tokio::test]
    async fn so_many_that_are_turned_away_are_waited_for_and_the_others_are_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(Shared::new(Echo, 0, None, CancellationToken::new()));
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

    /// holds C-C9
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_end_is_left_behind() {
        let shared = Shared::new(Echo, 1, None, CancellationToken::new());
        shared.connections.spawn(std::future::pending::<()>());
        let start = Instant::now();
        shared.end().await;
        assert_eq!((start.elapsed().as_millis() / 10 * 10, STOP_MAX.as_millis()), (1500, 1500));
    }
}
