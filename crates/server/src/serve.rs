//! Accepts connections, as many as there is room for, until it is told to stop.

use std::fs::File;
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
use crate::limits::Room;
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
    room: Room,
    transcript: Option<Transcript>,
}

impl<S: Service> Server<S> {
    /// A server that serves as many clients at once as it has room for.
    pub fn new(service: S, listeners: Vec<TcpListener>, room: Room) -> Self {
        Self { service, listeners, room, transcript: None }
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
        let shared = Arc::new(Shared::new(self.service, self.room, self.transcript, stop.clone()));
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
    room: Room,
    turned_away: Arc<Semaphore>,
    tide: Arc<Tide>,
    transcript: Option<Transcript>,
    connections: TaskTracker,
    stop: CancellationToken,
}

impl<S> Shared<S> {
    fn new(service: S, room: Room, transcript: Option<Transcript>, stop: CancellationToken) -> Self {
        Self {
            service,
            room,
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
    // Where all others are taken, one client after the other gets this one, is told so, and is closed.
    let mut kept = descriptor();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                pause = ACCEPT_PAUSE_MIN;
                kept = kept.or_else(descriptor);
                if kept.is_some() {
                    admit(socket, peer, &shared);
                } else {
                    say_too_many::<S::Session>(&socket);
                    drop(socket);
                    kept = descriptor();
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) if kept.take().is_some() => {}
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

/// Any descriptor, if there is one left.
fn descriptor() -> Option<File> {
    File::open("/").ok()
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
    let Some(place) = shared.room.take(peer.ip()) else {
        turn_away(socket, shared);
        return;
    };
    // A reply must not wait for the acknowledgement of the one before. Failing to say so costs speed, nothing else.
    let _ = socket.set_nodelay(true);
    let afloat = shared.tide.rises();
    let shared_by_task = Arc::clone(shared);
    shared.connections.spawn(async move {
        serve(socket, peer, &shared_by_task).await;
        drop(place);
        drop(afloat);
    });
}

/// Tells a client that there is no room, and closes.
fn turn_away<S: Service>(socket: TcpStream, shared: &Arc<Shared<S>>) {
    say_too_many::<S::Session>(&socket);
    let Ok(permit) = Arc::clone(&shared.turned_away).try_acquire_owned() else { return };
    let stop = shared.stop.clone();
    shared.connections.spawn(async move {
        // An error means that the client is gone.
        let _ = close(socket, &stop).await;
        drop(permit);
    });
}

fn say_too_many<S: Session>(socket: &TcpStream) {
    // Nothing was sent yet, so there is space for the line.
    let _ = socket.try_write(format!("{}\r\n", S::too_many_connections()).as_bytes());
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
#[path = "serve/tests.rs"]
mod tests;
