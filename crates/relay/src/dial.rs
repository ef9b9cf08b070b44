//! Opening a connection, and closing it for whoever watches.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::deliver::{Event, Observe};

/// A connection to a peer. Whoever watches is told when it opens and when it closes, however that comes about.
pub(crate) struct Link<'a> {
    pub(crate) stream: TcpStream,
    fd: RawFd,
    observe: Observe<'a>,
}

impl<'a> Link<'a> {
    /// Dials `peer`.
    ///
    /// # Errors
    /// When the peer cannot be reached or refuses, or does neither for as long as `patience`.
    pub(crate) async fn dial(peer: SocketAddr, patience: Duration, observe: Observe<'a>) -> io::Result<Self> {
        let stream = match timeout(patience, TcpStream::connect(peer)).await {
            Ok(connected) => connected?,
            Err(_elapsed) => return Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")),
        };
        // The final dot would wait for the acknowledgement of the text.
        stream.set_nodelay(true)?;
        let fd = stream.as_raw_fd();
        observe(fd, Event::Opened(peer));
        Ok(Self { stream, fd, observe })
    }

    pub(crate) fn note(&self) -> impl Fn(pillarbox_proto::Entry) + Send + 'a {
        let Self { fd, observe, .. } = *self;
        move |entry| observe(fd, Event::Entry(entry))
    }
}

impl Drop for Link<'_> {
    fn drop(&mut self) {
        // Before the descriptor is free for the next connection.
        (self.observe)(self.fd, Event::Closed);
    }
}
