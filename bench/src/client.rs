//! One connection of the load.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A connection that says one thing at a time.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    line: String,
}

impl Client {
    /// Connects and hears the greeting.
    pub(crate) async fn connect(address: SocketAddr, greeting: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream: BufReader::with_capacity(64 * 1024, stream), line: String::new() };
        client.hear(greeting).await?;
        Ok(client)
    }

    /// Says this and hears one line.
    ///
    /// # Errors
    /// It does not begin with `expected`.
    pub(crate) async fn ask(&mut self, octets: &[u8], expected: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(octets).await?;
        self.hear(expected).await
    }

    async fn hear(&mut self, expected: &str) -> io::Result<()> {
        self.line.clear();
        self.stream.read_line(&mut self.line).await?;
        if self.line.starts_with(expected) {
            return Ok(());
        }
        Err(io::Error::other(format!("heard {:?} instead of {expected}", self.line.trim_end())))
    }

    /// Says this and hears a reply of several lines. Its octets, and how many of them ended a line.
    pub(crate) async fn ask_all(&mut self, octets: &[u8]) -> io::Result<(u64, usize)> {
        self.stream.get_mut().write_all(octets).await?;
        let (mut octets, mut lines) = (0, 0);
        let mut last = [0; 5];
        // Nothing else was asked for: where the last octets are the end of a reply, they are the end of this one.
        loop {
            let block = self.stream.fill_buf().await?;
            if block.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if octets == 0 && block[0] != b'+' {
                return Err(io::Error::other(String::from_utf8_lossy(block).trim_end().to_owned()));
            }
            octets += block.len() as u64;
            lines += block.iter().filter(|octet| **octet == b'\n').count();
            for octet in &block[block.len().saturating_sub(last.len())..] {
                last.rotate_left(1);
                last[4] = *octet;
            }
            let taken = block.len();
            self.stream.consume(taken);
            if last == *b"\r\n.\r\n" {
                return Ok((octets, lines));
            }
        }
    }

    /// Says goodbye, and waits until the other side has closed.
    pub(crate) async fn quit(mut self, expected: &str) -> io::Result<()> {
        self.ask(b"QUIT\r\n", expected).await?;
        while !self.stream.fill_buf().await?.is_empty() {
            let taken = self.stream.buffer().len();
            self.stream.consume(taken);
        }
        Ok(())
    }
}

/// Runs so many sessions side by side, on this thread. `session` is one of them, known by its number.
pub(crate) fn side_by_side<T: Send + 'static, F: Future<Output = io::Result<T>> + Send + 'static>(
    sessions: usize,
    session: impl Fn(usize) -> F,
) -> io::Result<Vec<T>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let running: Vec<_> = (0..sessions).map(|number| tokio::spawn(session(number))).collect();
        let mut done = Vec::with_capacity(sessions);
        for session in running {
            done.push(session.await??);
        }
        Ok(done)
    })
}
