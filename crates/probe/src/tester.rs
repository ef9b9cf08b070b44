//! What `echo-test`, `smtp-test` and `pop3-test` share: options, output and exit codes (C-T).
//!
//! Every line that goes over the wire is shown as the assignment's section 2.2 shows it: `S: +OK a<CR><LF> [OK]`,
//! `C: QUIT<CR><LF>`. A wrong line has in its brackets what was expected instead.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser};

use crate::conversation::Conversation;
use crate::player::Player;
use crate::talk::Watcher;
use crate::text::show;
use crate::wire::TcpWire;

/// The server was wrong.
pub const EXIT_WRONG: u8 = 1;
/// The command line was wrong (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;
/// There is no server (`EX_UNAVAILABLE`).
pub const EXIT_UNAVAILABLE: u8 = 69;
/// What was said cannot be shown (`EX_IOERR`).
pub const EXIT_IO_ERROR: u8 = 74;

/// How long a server may take to be reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A conversation that is part of the program: its file's name and text.
pub type Embedded = (&'static str, &'static str);

/// Where the server is, and what to do with it: the options of `smtp-test` and `pop3-test`.
#[derive(Args, Clone, Debug)]
pub struct Plan {
    /// The server's port.
    #[arg(allow_negative_numbers = true)]
    pub port: u16,
    /// The server's host.
    #[arg(long, default_value = "localhost")]
    pub host: String,
    /// The mailbox at localhost; it must be empty before smtp-test.
    #[arg(long, default_value = "linhphan")]
    pub user: String,
    /// Play more conversations.
    #[arg(long)]
    pub all: bool,
}

/// Tests an echo server, and shows what is said.
#[derive(Debug, Parser)]
#[command(name = "echo-test", version)]
pub struct EchoTest {
    /// The server's port.
    #[arg(default_value_t = 10000, allow_negative_numbers = true)]
    pub port: u16,
    /// The server's host.
    #[arg(long, default_value = "localhost")]
    pub host: String,
    /// Play more conversations than the one of the assignment.
    #[arg(long)]
    pub all: bool,
}

/// Tests an SMTP server, and shows what is said.
///
/// A message is sent to the mailbox, for pop3-test, and another is tried to a mailbox that does not exist.
#[derive(Debug, Parser)]
#[command(name = "smtp-test", version)]
pub struct SmtpTest {
    /// Where, and what.
    #[command(flatten)]
    pub plan: Plan,
}

/// Tests a POP3 server, and shows what is said.
///
/// The message that smtp-test has sent to the mailbox, which was empty before, is fetched and deleted. The password is
/// `cis505`.
#[derive(Debug, Parser)]
#[command(name = "pop3-test", version)]
pub struct Pop3Test {
    /// Where, and what.
    #[command(flatten)]
    pub plan: Plan,
}

/// A server that has been reached.
pub struct Server {
    address: SocketAddr,
    /// The connection that showed it.
    first: Option<TcpStream>,
}

impl Server {
    /// A wire to it. The first uses the connection that is there already.
    #[must_use]
    pub fn wire(&mut self) -> TcpWire {
        TcpWire::new(self.address).first(self.first.take())
    }
}

/// Reads the options `O`. The error is an exit code, and what it is about has been printed.
///
/// # Errors
/// 64 for a wrong command line; 0 after `--help` and `--version`, 74 when those cannot be printed.
pub fn options<O: Parser>(arguments: impl IntoIterator<Item = OsString>) -> Result<O, ExitCode> {
    O::try_parse_from(arguments).map_err(|error| {
        let text = error.render().to_string();
        if !error.use_stderr() {
            let mut print = Print::new(io::stdout());
            print.line(text.trim_end());
            return verdict(true, print);
        }
        // When nobody reads it there is nobody to tell.
        let _ = write!(io::stderr(), "{text}");
        if !text.contains("Usage:") {
            let _ = writeln!(io::stderr(), "{}", O::command().render_usage());
        }
        ExitCode::from(EXIT_USAGE)
    })
}

/// Looks the server up and sees that it can be reached; `localhost` may mean IPv4 or IPv6.
///
/// # Errors
/// 69 when it cannot; a line on stderr says why.
pub fn reach(plan: &Plan) -> Result<Server, ExitCode> {
    let refused = |why: &dyn std::fmt::Display| {
        let _ = writeln!(io::stderr(), "cannot connect to {} port {}: {why}", plan.host, plan.port);
        ExitCode::from(EXIT_UNAVAILABLE)
    };
    let addresses = (plan.host.as_str(), plan.port).to_socket_addrs().map_err(|error| refused(&error))?;
    // Of several addresses IPv4 first: each connection to be judged is then made to the one that answers.
    let mut addresses: Vec<SocketAddr> = addresses.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(Server { address, first: Some(stream) }),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| refused(&"no address"), |error| refused(&error)))
}

/// Plays conversations one after another, shows them, and says whether the server was right in all of them.
///
/// # Errors
/// 70 (`EX_SOFTWARE`) when an embedded conversation is malformed: a fault of the program, found by its tests.
pub fn play<W: Write>(
    plan: &Plan,
    server: &mut Server,
    embedded: &[Embedded],
    print: &mut Print<W>,
) -> Result<bool, ExitCode> {
    const EXIT_SOFTWARE: u8 = 70;
    let mut all_right = true;
    for (file, source) in embedded {
        let conversation = Conversation::parse(*file, source).map_err(|error| {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::from(EXIT_SOFTWARE)
        })?;
        // Without --all the output is the assignment's and nothing else.
        if plan.all {
            print.line(&format!("--- {}", conversation.name()));
        }
        let mut wire = server.wire();
        let played = Player::new(&mut wire).watcher(print).goes_on().play(&conversation.with_user(&plan.user));
        if let Err(failure) = played {
            all_right = false;
            print.line(&format!("wrong: {}", failure.wrong));
        }
    }
    Ok(all_right)
}

/// The exit code of a tester that has finished. A reader that has gone has seen what it wanted; anything else that keeps
/// the output from being read is told.
#[must_use]
pub fn verdict<W>(all_right: bool, print: Print<W>) -> ExitCode {
    let failed = print.failed.filter(|error| error.kind() != io::ErrorKind::BrokenPipe);
    if let Some(error) = &failed {
        let _ = writeln!(io::stderr(), "stdout: {error}, so not all is shown");
    }
    match (all_right, failed) {
        (false, _) => ExitCode::from(EXIT_WRONG),
        (true, Some(_)) => ExitCode::from(EXIT_IO_ERROR),
        (true, None) => ExitCode::SUCCESS,
    }
}

/// Shows what is said.
pub struct Print<W> {
    out: W,
    /// Why a line could not be printed, and none since.
    failed: Option<io::Error>,
}

impl<W: Write> Print<W> {
    /// Shows it there.
    pub fn new(out: W) -> Self {
        Self { out, failed: None }
    }

    /// Prints a line. That it cannot is no reason to stop: the exit code still counts.
    pub fn line(&mut self, text: &str) {
        if self.failed.is_none() {
            self.failed = writeln!(self.out, "{text}").and_then(|()| self.out.flush()).err();
        }
    }
}

impl<W: Write> Watcher for Print<W> {
    fn sent(&mut self, client: usize, octets: &[u8]) {
        self.line(&format!("{}: {}", name("C", client), show(octets)));
    }

    fn received(&mut self, client: usize, octets: &[u8], expected: Option<&str>) {
        let verdict = expected.map_or_else(|| "OK".to_owned(), |expected| format!("expected {expected}"));
        self.line(&format!("{}: {} [{verdict}]", name("S", client), show(octets)));
    }
}

fn name(who: &str, client: usize) -> String {
    match client {
        1 => who.to_owned(),
        _ => format!("{who}{client}"),
    }
}

#[cfg(test)]
#[path = "tester/tests.rs"]
mod tests;
