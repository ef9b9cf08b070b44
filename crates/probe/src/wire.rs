//! How a conversation reaches a server: the trait, and TCP.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// What a [`Wire`] has received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// At least one octet.
    Octets(Vec<u8>),
    /// The server has closed the connection; nothing more will ever come.
    Closed,
    /// Nothing (yet).
    Nothing,
}

/// Connections to one server, numbered by the conversation.
///
/// A wire carries octets and has no opinion about them. Over memory, `send` may run the session to the end of its
/// work, and `receive` hands out what the session has said; `deadline` is then of no use. The player cuts what it sends
/// into chunks itself ([`crate::Player::chunk`]).
pub trait Wire {
    /// Opens connection `client`. Called once for each number, before anything else with it.
    ///
    /// # Errors
    /// When there is no connection.
    fn open(&mut self, client: usize) -> io::Result<()>;

    /// Sends octets, as one piece where the wire knows pieces. Sending on a connection that the server has closed is
    /// no error, as it is none in TCP: what the server should have said is missed later.
    ///
    /// # Errors
    /// When the wire is at fault, or the server takes nothing for too long.
    fn send(&mut self, client: usize, octets: &[u8]) -> io::Result<()>;

    /// Returns octets that the server has sent, in any portions. Without a deadline: only what is here already. With a
    /// deadline: waits for it until then when nothing is here.
    ///
    /// # Errors
    /// When the wire is at fault; a reset connection is [`Received::Closed`].
    fn receive(&mut self, client: usize, deadline: Option<Instant>) -> io::Result<Received>;

    /// Ends the client's side; the server's answers still come.
    ///
    /// # Errors
    /// When the wire is at fault.
    fn half_close(&mut self, client: usize) -> io::Result<()>;

    /// The client goes away and reads nothing more. When this returns the server has noticed, so that what the
    /// conversation does next does not race with it.
    ///
    /// # Errors
    /// When the wire is at fault.
    fn drop_client(&mut self, client: usize) -> io::Result<()>;

    /// The client is silent for as long as its protocol allows.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where the clock is not ours; see [`crate::Conversation::needs_clock`].
    fn idle(&mut self, client: usize) -> io::Result<()>;

    /// Asks the server to stop, as SIGTERM does.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where the server is not ours; see [`crate::Conversation::needs_stop`].
    fn stop(&mut self) -> io::Result<()>;
}

/// How long opening a connection or sending may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Octets taken from a socket at once.
const READ_OCTETS: usize = 64 * 1024;

/// Asks a server to stop.
type StopServer = Box<dyn FnMut() -> io::Result<()>>;

/// Connections over TCP to a server that runs.
pub struct TcpWire {
    address: SocketAddr,
    streams: BTreeMap<usize, TcpStream>,
    /// A connection that is there already, for the first client.
    first: Option<TcpStream>,
    stop: Option<StopServer>,
}

impl TcpWire {
    /// Will connect to `address`, once for each client of the conversation.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, streams: BTreeMap::new(), first: None, stop: None }
    }

    /// Uses `stream` for the first client: who has looked whether there is a server need not connect twice.
    #[must_use]
    pub fn first(mut self, stream: Option<TcpStream>) -> Self {
        self.first = stream;
        self
    }

    /// Says how the server is stopped (a signal to its process), for conversations that want it.
    #[must_use]
    pub fn on_stop(mut self, stop: impl FnMut() -> io::Result<()> + 'static) -> Self {
        self.stop = Some(Box::new(stop));
        self
    }

    fn stream(&mut self, client: usize) -> io::Result<&mut TcpStream> {
        self.streams.get_mut(&client).ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
    }
}

impl Wire for TcpWire {
    fn open(&mut self, client: usize) -> io::Result<()> {
        let stream = match self.first.take() {
            Some(stream) => stream,
            None => TcpStream::connect_timeout(&self.address, TIMEOUT)?,
        };
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        self.streams.insert(client, stream);
        Ok(())
    }

    fn send(&mut self, client: usize, octets: &[u8]) -> io::Result<()> {
        match self.stream(client)?.write_all(octets) {
            Err(error) if is_gone(&error) => Ok(()),
            other => other,
        }
    }

    fn receive(&mut self, client: usize, deadline: Option<Instant>) -> io::Result<Received> {
        let stream = self.stream(client)?;
        let mut octets = vec![0; READ_OCTETS];
        // A process that was stopped and goes on is interrupted in what it waits for, and waits on.
        let read = loop {
            match read(stream, &mut octets, deadline) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        Ok(match read {
            Some(0) => Received::Closed,
            Some(length) => {
                octets.truncate(length);
                Received::Octets(octets)
            }
            None => Received::Nothing,
        })
    }

    fn half_close(&mut self, client: usize) -> io::Result<()> {
        match self.stream(client)?.shutdown(Shutdown::Write) {
            Err(error) if is_gone(&error) || error.kind() == io::ErrorKind::NotConnected => Ok(()),
            other => other,
        }
    }

    /// Ends the client's side and reads, unheard, until the server has ended its own.
    fn drop_client(&mut self, client: usize) -> io::Result<()> {
        self.half_close(client)?;
        let deadline = Instant::now() + TIMEOUT;
        while let Received::Octets(_) = self.receive(client, Some(deadline))? {}
        self.streams.remove(&client);
        Ok(())
    }

    fn idle(&mut self, _client: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn stop(&mut self) -> io::Result<()> {
        self.stop.as_mut().map_or_else(|| Err(io::ErrorKind::Unsupported.into()), |stop| stop())
    }
}

/// Reads once, waiting until the deadline if there is one: how many octets, 0 at the end; `None`: nothing came.
fn read(stream: &mut TcpStream, octets: &mut [u8], deadline: Option<Instant>) -> io::Result<Option<usize>> {
    let read = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
        // A time of zero would mean "for ever" to the kernel.
        Some(time) if !time.is_zero() => {
            stream.set_read_timeout(Some(time))?;
            stream.read(octets)
        }
        _ => {
            stream.set_nonblocking(true)?;
            let read = stream.read(octets);
            stream.set_nonblocking(false)?;
            read
        }
    };
    match read {
        Ok(length) => Ok(Some(length)),
        Err(error) if is_gone(&error) => Ok(Some(0)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the other side is no longer there.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
    )
}
