//! Options: one definition of each flag feeds parsing, help and man pages.

use std::ffi::OsString;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, Args, CommandFactory, Parser, Subcommand};
use pillarbox_proto::smtp::MESSAGE_MAX_OCTETS;
use pillarbox_relay::deliver::SMTP_PORT;
use pillarbox_server::{CONNECTIONS_MAX, loopback};

use crate::author::AUTHOR;
use crate::failure::{Failure, exit, report};
use crate::results::Results;

/// The options that all servers of the classic suite share (C-C6, C-C7).
#[derive(Args, Debug)]
pub struct Common {
    /// Print the author's name and login, and exit
    #[arg(short, long)]
    pub author: bool,
    /// Write what clients and server say to stderr
    #[arg(short, long)]
    pub verbose: bool,
    /// Listen on this address instead of loopback (repeatable)
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<IpAddr>,
}

impl Common {
    /// Where to listen.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        if self.listen.is_empty() { loopback().to_vec() } else { self.listen.clone() }
    }
}

/// An echo server: ECHO sends a text back, QUIT ends.
#[derive(Parser, Debug)]
#[command(name = "echoserver", version, args_override_self = true)]
pub struct Echoserver {
    /// Port to listen on; 0 lets the system choose
    #[arg(short, long, default_value_t = 10000)]
    pub port: u16,
    /// What all servers share.
    #[command(flatten)]
    pub common: Common,
}

/// An SMTP server that appends mail for user@localhost to DIR/user.mbox.
#[derive(Parser, Debug)]
#[command(name = "smtp", version, args_override_self = true, override_usage = "smtp [OPTIONS] <DIR>")]
pub struct Smtp {
    /// Port to listen on; 0 lets the system choose
    #[arg(short, long, default_value_t = 2500)]
    pub port: u16,
    /// Largest message that is taken, in octets
    #[arg(long, value_name = "OCTETS", default_value_t = MESSAGE_MAX_OCTETS)]
    pub max_size: u64,
    /// What all servers share.
    #[command(flatten)]
    pub common: Common,
    /// Folder with the mailboxes: DIR/user.mbox for each user
    #[arg(value_name = "DIR", required_unless_present = "author")]
    pub dir: Option<PathBuf>,
}

/// A POP3 server for the mailboxes DIR/user.mbox.
///
/// Every password is `cis505`.
#[derive(Parser, Debug)]
#[command(name = "pop3", version, args_override_self = true, override_usage = "pop3 [OPTIONS] <DIR>")]
pub struct Pop3 {
    /// Port to listen on; 0 lets the system choose
    #[arg(short, long, default_value_t = 11000)]
    pub port: u16,
    /// What all servers share.
    #[command(flatten)]
    pub common: Common,
    /// Folder with the mailboxes: DIR/user.mbox for each user
    #[arg(value_name = "DIR", required_unless_present = "author")]
    pub dir: Option<PathBuf>,
}

/// Tries once to deliver the mail for other domains that `smtp` has put into DIR/mqueue.
///
/// Exits 0 when the queue is empty at the end, 75 when something remains in it.
#[derive(Parser, Debug)]
#[command(name = "forward", version, args_override_self = true, override_usage = "forward [OPTIONS] <DIR>")]
pub struct Forward {
    /// Print the author's name and login, and exit
    #[arg(short, long)]
    pub author: bool,
    /// Write what is said to other hosts, and what they say, to stderr
    #[arg(short, long)]
    pub verbose: bool,
    /// How mail is sent on.
    #[command(flatten)]
    pub sending: Sending,
    /// Port to which other hosts are dialed
    #[arg(long, value_name = "PORT", default_value_t = SMTP_PORT)]
    pub port: u16,
    /// Folder with the mailboxes and the queue
    #[arg(value_name = "DIR", required_unless_present = "author")]
    pub dir: Option<PathBuf>,
}

/// How mail is sent on (C-F3, C-F6).
#[derive(Args, Debug)]
pub struct Sending {
    /// Ask this DNS server instead of the system's
    #[arg(long, value_name = "ADDR:PORT")]
    pub resolver: Option<SocketAddr>,
    /// Cap on every time limit: of a question to a DNS server, of connecting, of each reply
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub timeout: Option<Duration>,
}

/// Prints author and login to stderr, as `-a` asks.
pub fn print_author() {
    let _ = writeln!(std::io::stderr(), "{AUTHOR}");
}

/// The whole of a `main`: parses the command line, runs, and reports.
///
/// `-h` and `-V` answer on stdout and exit 0; a wrong command line gets a usage line on stderr and exit code 64.
pub fn run<P: Parser>(program: &str, run: impl FnOnce(P) -> Result<(), Failure>) -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    parse(&arguments).map_or_else(
        |error| {
            let text = error.render().to_string();
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
                let mut results = Results::default();
                results.print(format_args!("{text}"));
                return report(program, results.close(Ok(())));
            }
            let mut stderr = std::io::stderr();
            let _ = write!(stderr, "{text}");
            if !text.contains("Usage:") {
                let _ = writeln!(stderr, "{}", command_of(command::<P>(), &arguments).render_usage());
            }
            ExitCode::from(exit::USAGE)
        },
        |options| report(program, run(options)),
    )
}

fn parse<P: Parser>(arguments: &[OsString]) -> Result<P, clap::Error> {
    let mut matches = command::<P>().try_get_matches_from(arguments)?;
    P::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command::<P>()))
}

/// What is parsed: as it is defined, but `-1` behind an option is its value, and the complaint is about that.
fn command<P: CommandFactory>() -> clap::Command {
    fn tuned(command: clap::Command) -> clap::Command {
        let takes_values = |argument: &Arg| !argument.is_positional() && argument.get_action().takes_values();
        let tune = |argument: Arg| match takes_values(&argument) {
            true => argument.allow_negative_numbers(true),
            false => argument,
        };
        command.mut_args(tune).mut_subcommands(tuned)
    }
    tuned(P::command())
}

/// The subcommand that a command line is about, or the command itself.
fn command_of(mut command: clap::Command, arguments: &[OsString]) -> clap::Command {
    // So that subcommands know the words in front of them.
    command.build();
    let mut chosen = &command;
    for argument in arguments.iter().skip(1) {
        let Some(subcommand) = argument.to_str().and_then(|word| chosen.find_subcommand(word)) else { break };
        chosen = subcommand;
    }
    chosen.clone()
}

/// A mail server: SMTP in, POP3 out, mail kept in plain mbox files.
#[derive(Parser, Debug)]
#[command(
    name = "pillarbox",
    version,
    args_override_self = true,
    subcommand_required = true,
    arg_required_else_help = false
)]
pub struct Pillarbox {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `pillarbox` can do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run SMTP and POP3 in one process
    ///
    /// Every password is `cis505`.
    Serve(Serve),
    /// Kill servers while they work, and look whether mail is lost, twice or torn
    #[cfg(feature = "tools")]
    Torture(Torture),
    /// Mailboxes
    #[command(subcommand)]
    User(User),
    /// Check the mailboxes and the queue; changes nothing
    ///
    /// Prints a line for each finding, and counts at the end. Exits 0 when all is sound, 65 when something is wrong,
    /// 66 when DIR is no folder, 74 when something cannot be read, 75 when nothing is wrong but something is being
    /// written to or waits for the next start.
    #[cfg(feature = "tools")]
    Fsck(Fsck),
}

/// `pillarbox torture`.
#[cfg(feature = "tools")]
#[derive(Args, Debug)]
pub struct Torture {
    /// How long: 30s, 10m, 1h
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = parse_time)]
    pub time: Duration,
    /// Repeats the messages and the order of kills of an earlier run
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// Clients that send at the same time
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    pub clients: u16,
    /// Print the figures as a JSON object
    #[arg(long)]
    pub json: bool,
    /// A new folder for the mail
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// `pillarbox serve`.
#[derive(Args, Debug)]
pub struct Serve {
    /// Where SMTP listens: a port, or a loopback address and port
    #[arg(long, value_name = "[ADDR:]PORT", default_value = "2500")]
    pub smtp: LoopbackPort,
    /// Where POP3 listens: a port, or a loopback address and port
    #[arg(long, value_name = "[ADDR:]PORT", default_value = "11000")]
    pub pop3: LoopbackPort,
    /// Largest message that is taken, in octets
    #[arg(long, value_name = "OCTETS", default_value_t = MESSAGE_MAX_OCTETS)]
    pub max_size: u64,
    /// Clients of SMTP, and of POP3, that are served at once
    #[arg(long, value_name = "NUMBER", default_value_t = CONNECTIONS_USUAL, value_parser = parse_connections)]
    pub max_connections: NonZero<usize>,
    /// Send mail for other domains on: each at once, and what could not be sent again after 30s, 1m, 2h; or never
    #[arg(long, value_name = "TIME", default_value = "never", value_parser = parse_interval)]
    pub forward_every: Interval,
    /// How mail is sent on.
    #[command(flatten)]
    pub sending: Sending,
    /// Port to which other hosts are dialed
    #[arg(long, value_name = "PORT", default_value_t = SMTP_PORT)]
    pub remote_port: u16,
    /// Write what clients and server say to stderr
    #[arg(short, long)]
    pub verbose: bool,
    /// Folder with the mailboxes; without it `mailtest` here, which is made with a mailbox for you
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// `pillarbox user`.
#[derive(Subcommand, Debug)]
pub enum User {
    /// Create an empty mailbox: NAME@localhost receives mail at once
    ///
    /// Every password is `cis505`.
    Add {
        /// Letters, digits and `.` `_` `+` `-`, not starting with `.`
        name: String,
        /// Where.
        #[command(flatten)]
        dir: UserDir,
    },
    /// List the mailboxes; writes nothing
    List {
        /// Where.
        #[command(flatten)]
        dir: UserDir,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
}

/// The folder that `pillarbox user` is about: as an operand, where all other programs have it, or as an option.
#[derive(Args, Debug)]
pub struct UserDir {
    /// Folder with the mailboxes
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DIR)]
    dir: PathBuf,
    /// Folder with the mailboxes, too
    #[arg(value_name = "DIR", conflicts_with = "dir")]
    operand: Option<PathBuf>,
}

impl UserDir {
    /// Where it is.
    #[must_use]
    pub fn path(self) -> PathBuf {
        self.operand.unwrap_or(self.dir)
    }
}

/// `pillarbox fsck`.
#[cfg(feature = "tools")]
#[derive(Args, Debug)]
pub struct Fsck {
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    /// Folder with the mailboxes and the queue
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// How often something happens; `None`: never.
pub type Interval = Option<Duration>;

/// Reads `90s`, `1m`, `2h`, or a number of seconds; not zero.
fn parse_time(text: &str) -> Result<Duration, String> {
    let (number, seconds) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) if text.ends_with('m') => (number, 60),
        Some(number) if text.ends_with('h') => (number, 3600),
        Some(number) => (number, 1),
        None => (text, 1),
    };
    match number.parse::<u32>() {
        Ok(number) if number > 0 => Ok(Duration::from_secs(u64::from(number) * seconds)),
        _ => Err("not a time like 30s, 1m or 2h".to_owned()),
    }
}

/// Reads how many clients are served at once.
fn parse_connections(text: &str) -> Result<NonZero<usize>, String> {
    text.parse().map_err(|_| format!("not a number from 1 on; {CONNECTIONS_USUAL} is usual"))
}

fn parse_interval(text: &str) -> Result<Interval, String> {
    if text == "never" { Ok(None) } else { parse_time(text).map(Some) }
}

/// Clients that are served at once where no number is given.
const CONNECTIONS_USUAL: NonZero<usize> = match NonZero::new(CONNECTIONS_MAX) {
    Some(connections) => connections,
    None => NonZero::<usize>::MIN,
};

/// The folder used where none is named: in the current folder, as in the seed's example.
pub const DEFAULT_DIR: &str = "mailtest";

/// A port on both loopback addresses, or on the one that is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoopbackPort {
    /// Where to listen.
    pub addresses: Vec<IpAddr>,
    /// The port; 0 lets the system choose.
    pub port: u16,
}

impl FromStr for LoopbackPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(port) = text.parse() {
            return Ok(Self { addresses: loopback().to_vec(), port });
        }
        let address: SocketAddr = text.parse().map_err(|_| "not a port, nor an address and port".to_owned())?;
        if !address.ip().is_loopback() {
            return Err("not a loopback address: the password is public, so only this host may connect".to_owned());
        }
        Ok(Self { addresses: vec![address.ip()], port: address.port() })
    }
}

#[cfg(test)]
#[path = "cli/tests.rs"]
mod tests;
