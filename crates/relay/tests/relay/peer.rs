//! SMTP servers that behave as they are told, on loopback addresses and one port.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What a peer does where it does not just behave well: what it hears (the beginning of a command; `GREETING`, `TEXT`,
/// `.` for the moments that have none), and what it then says: reply lines, or one of [`CLOSE`], [`SILENT`],
/// [`ENDLESS`].
pub(crate) type Rules = &'static [(&'static str, &'static str)];

/// Closes the connection.
pub(crate) const CLOSE: &str = "close";
/// Says nothing and reads nothing any more.
pub(crate) const SILENT: &str = "silent";
/// Says reply lines without end.
pub(crate) const ENDLESS: &str = "endless";

/// A peer and what it has heard.
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    heard: Arc<Mutex<Heard>>,
}

/// What a peer has heard, over all its connections.
#[derive(Clone, Default)]
pub(crate) struct Heard {
    pub(crate) connections: usize,
    /// Commands, without their line ends.
    pub(crate) commands: Vec<String>,
    /// Texts as they are meant: dots halved, up to the final dot.
    pub(crate) texts: Vec<Vec<u8>>,
}

/// Running peers; they stop when they are dropped.
pub(crate) struct Peers {
    pub(crate) port: u16,
    pub(crate) all: Vec<Peer>,
    _tasks: JoinSet<()>,
}

impl Peers {
    /// Starts a peer on each of these addresses.
    pub(crate) async fn start(peers: &[(&str, Rules)]) -> Self {
        let (port, listeners) = loop {
            if let Some(listeners) = listen(0, peers).await {
                break listeners;
            }
        };
        Self::serve(port, listeners, peers)
    }

    /// Starts them at this port; `None` if somebody else has it on one of the addresses.
    pub(crate) async fn at(port: u16, peers: &[(&str, Rules)]) -> Option<Self> {
        let (port, listeners) = listen(port, peers).await?;
        Some(Self::serve(port, listeners, peers))
    }

    fn serve(port: u16, listeners: Vec<TcpListener>, peers: &[(&str, Rules)]) -> Self {
        let mut all = Vec::new();
        let mut tasks = JoinSet::new();
        for (listener, &(_, rules)) in listeners.into_iter().zip(peers) {
            let heard = Arc::new(Mutex::new(Heard::default()));
            all.push(Peer { address: listener.local_addr().unwrap().ip(), heard: Arc::clone(&heard) });
            tasks.spawn(serve(listener, rules, heard));
        }
        Self { port, all, _tasks: tasks }
    }

    /// What the peer at this address has heard.
    pub(crate) fn heard(&self, address: &str) -> Heard {
        let address: IpAddr = address.parse().unwrap();
        let peer = self.all.iter().find(|peer| peer.address == address).unwrap();
        peer.heard.lock().unwrap().clone()
    }
}

/// All listeners on one port, or `None` if somebody else has it on one of the addresses.
async fn listen(mut port: u16, peers: &[(&str, Rules)]) -> Option<(u16, Vec<TcpListener>)> {
    let mut listeners = Vec::new();
    for (address, _) in peers {
        let address: IpAddr = address.parse().unwrap();
        let listener = TcpListener::bind(SocketAddr::new(address, port)).await;
        let listener = if port == 0 { listener.unwrap() } else { listener.ok()? };
        port = listener.local_addr().unwrap().port();
        listeners.push(listener);
    }
    Some((port, listeners))
}

async fn serve(listener: TcpListener, rules: Rules, heard: Arc<Mutex<Heard>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        heard.lock().unwrap().connections += 1;
        let heard = Arc::clone(&heard);
        connections.spawn(async move { converse(BufReader::new(stream), rules, &heard).await.unwrap_or_default() });
    }
}

async fn converse(mut io: BufReader<TcpStream>, rules: Rules, heard: &Mutex<Heard>) -> std::io::Result<()> {
    let mut said = "GREETING".to_owned();
    loop {
        let rule = rules.iter().find(|(when, _)| said.starts_with(when));
        let reply = rule.map_or_else(|| politely(&said), |(_, reply)| reply);
        match reply {
            CLOSE => return Ok(()),
            SILENT => std::future::pending().await,
            ENDLESS => loop {
                io.write_all(b"250-and another thing\r\n").await?;
            },
            _ => io.write_all(format!("{reply}\r\n").as_bytes()).await?,
        }
        if said == "QUIT" {
            return Ok(());
        }
        if reply.starts_with("354") {
            if let Some((_, CLOSE)) = rules.iter().find(|(when, _)| *when == "TEXT") {
                // Some of the text is there, so that closing loses it.
                io.fill_buf().await?;
                return Ok(());
            }
            let text = read_text(&mut io).await?;
            heard.lock().unwrap().texts.push(text);
            said = ".".to_owned();
            continue;
        }
        said.clear();
        if io.read_line(&mut said).await? == 0 {
            return Ok(());
        }
        said.truncate(said.trim_end_matches("\r\n").len());
        heard.lock().unwrap().commands.push(said.clone());
    }
}

fn politely(said: &str) -> &'static str {
    match said.get(..4).unwrap_or(said) {
        "GREE" => "220 peer ready",
        "EHLO" => "250-peer\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE",
        "DATA" => "354 go on",
        "QUIT" => "221 bye",
        "." => "250 taken",
        _ => "250 OK",
    }
}

async fn read_text(io: &mut BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        let mut line = Vec::new();
        if io.read_until(b'\n', &mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line == b".\r\n" {
            return Ok(text);
        }
        text.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}
