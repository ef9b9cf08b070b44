//! The clients: who sends, and who fetches and deletes.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::letter::{self, Random};
use super::servers::SERVERS;
use super::{MAILBOXES, Shared};
use crate::CLASSIC_PASSWORD;

/// Longest wait for a reply; a server that is killed closes the connection.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause when a server is away or a mailbox in use.
const RETRY: Duration = Duration::from_millis(5);
/// Most messages that one session fetches and deletes.
const FETCHED_MAX: u64 = 60;

/// Sends messages, one after another, until it is over.
pub(super) fn send(shared: &Shared, mut random: Random) {
    while !shared.is_over() {
        let which = usize::try_from(random.below(SERVERS as u64)).unwrap_or(0);
        let Some(addresses) = shared.servers.addresses(which) else { continue };
        // Errors are what is to happen: the server was killed.
        if send_some(shared, which, addresses.smtp, &mut random).is_err() {
            thread::sleep(RETRY);
        }
    }
}

fn send_some(shared: &Shared, which: usize, smtp: SocketAddr, random: &mut Random) -> io::Result<()> {
    let mut connection = Connection::open(smtp)?;
    connection.expect("220")?;
    connection.command("HELO localhost", "250")?;
    for _ in 0..random.below(20) {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let mut mailboxes = vec![random.choose(&MAILBOXES)];
        while random.below(3) == 0 {
            mailboxes.push(random.choose(&MAILBOXES));
        }
        mailboxes.sort_unstable();
        mailboxes.dedup();
        let text = letter::text(shared.seed, number);
        shared.ledger().begin(number, mailboxes.clone());
        connection.command("MAIL FROM:<torture@localhost>", "250")?;
        for mailbox in mailboxes {
            connection.command(&format!("RCPT TO:<{mailbox}@localhost>"), "250")?;
        }
        connection.command("DATA", "354")?;
        let stuffed = text.replace("\r\n.", "\r\n..");
        let _busy = shared.servers.wait_on(which);
        connection.stream.get_mut().write_all(stuffed.as_bytes())?;
        // The server answers with 4xx when it cannot, and then the message is nowhere, or whole.
        if connection.command(".", "")?.starts_with("250") {
            shared.ledger().acknowledge(number);
        }
        if shared.is_over() {
            break;
        }
    }
    connection.command("QUIT", "221").map(drop)
}

/// Fetches and deletes, in one mailbox after another, until it is over.
pub(super) fn fetch(shared: &Shared, mut random: Random) {
    while !shared.is_over() {
        let mailbox = random.choose(&MAILBOXES);
        let which = usize::try_from(random.below(SERVERS as u64)).unwrap_or(0);
        let Some(addresses) = shared.servers.addresses(which) else { continue };
        if fetch_some(shared, which, addresses.pop3, mailbox, &mut random).is_err() {
            thread::sleep(RETRY);
        }
    }
}

fn fetch_some(
    shared: &Shared,
    which: usize,
    pop3: SocketAddr,
    mailbox: &'static str,
    random: &mut Random,
) -> io::Result<()> {
    let mut session = Session::open(pop3, mailbox)?;
    let first = 1 + random.below(session.count.max(1));
    let last = session.count.min(first + random.below(FETCHED_MAX));
    let mut numbers = Vec::new();
    for index in first..=last {
        numbers.push(session.retrieve(shared, index)?);
    }
    shared.ledger().see(mailbox, &numbers);
    let mut deleted = Vec::new();
    for (index, number) in (first..).zip(&numbers) {
        // Most of them, so that there are gaps.
        if let Some(number) = number.filter(|_| random.below(5) > 0) {
            session.connection.command(&format!("DELE {index}"), "+OK")?;
            deleted.push(number);
        }
    }
    if random.below(8) == 0 {
        // Without QUIT nothing is removed.
        return Ok(());
    }
    let quit = {
        let _busy = shared.servers.wait_on(which);
        session.connection.command("QUIT", "+OK")
    };
    shared.ledger().remove(mailbox, &deleted, quit.is_ok());
    quit.map(drop)
}

/// The numbers of all messages in a mailbox, at the end.
pub(super) fn list_all(shared: &Shared, mailbox: &'static str) -> io::Result<Vec<u64>> {
    let deadline = Instant::now() + REPLY_TIMEOUT;
    loop {
        let addresses = shared.servers.addresses(0).ok_or_else(|| io::Error::other("no server"))?;
        let read = Session::open(addresses.pop3, mailbox).and_then(|mut session| {
            (1..=session.count).map(|index| session.retrieve(shared, index)).collect::<io::Result<Vec<_>>>()
        });
        match read {
            Ok(numbers) => {
                shared.ledger().see(mailbox, &numbers);
                return Ok(numbers.into_iter().flatten().collect());
            }
            // Somebody may hold a lock for a moment.
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => thread::sleep(RETRY),
        }
    }
}

struct Session {
    connection: Connection,
    count: u64,
}

impl Session {
    fn open(pop3: SocketAddr, mailbox: &str) -> io::Result<Self> {
        let mut connection = Connection::open(pop3)?;
        connection.expect("+OK")?;
        connection.command(&format!("USER {mailbox}"), "+OK")?;
        connection.command(&format!("PASS {CLASSIC_PASSWORD}"), "+OK")?;
        let stat = connection.command("STAT", "+OK")?;
        let count = stat.split(' ').nth(1).and_then(|count| count.parse().ok());
        Ok(Self { connection, count: count.ok_or_else(|| io::Error::other(stat))? })
    }

    /// The number of a message, if it is whole.
    fn retrieve(&mut self, shared: &Shared, index: u64) -> io::Result<Option<u64>> {
        self.connection.command(&format!("RETR {index}"), "+OK")?;
        let mut text = String::new();
        loop {
            let line = self.connection.line()?;
            match line.as_str() {
                ".\r\n" => break,
                line => text.push_str(line.strip_prefix('.').unwrap_or(line)),
            }
        }
        Ok(letter::number(&text).filter(|number| letter::text(shared.seed, *number) == text))
    }
}

struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 || !line.ends_with('\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line)
    }

    /// The last line of a reply, which has to begin like this.
    fn expect(&mut self, begin: &str) -> io::Result<String> {
        let line = loop {
            let line = self.line()?;
            if line.as_bytes().get(3) != Some(&b'-') || line.starts_with('-') {
                break line;
            }
        };
        if line.starts_with(begin) { Ok(line) } else { Err(io::Error::other(line)) }
    }

    fn command(&mut self, command: &str, begin: &str) -> io::Result<String> {
        self.stream.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
        self.expect(begin)
    }
}
