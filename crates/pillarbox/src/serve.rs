//! `pillarbox serve`: SMTP and POP3 over one folder, in one process.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Uid, User};
use pillarbox_proto::client::Outcome;
use pillarbox_relay::Report;
use pillarbox_store::{Mailbox, is_mailbox_name};
use tokio::time::Instant;

use crate::cli::{DEFAULT_DIR, Serve};
use crate::failure::{Failure, exit};
use crate::forward::{Forwarder, Line};
use crate::host::{Host, Workers, say};
use crate::{CLASSIC_PASSWORD, folder, pop3, smtp};

/// Serves until it is told to stop.
///
/// # Errors
/// As the classic servers: DIR that cannot be used, a port that cannot be had.
pub fn run(options: Serve) -> Result<(), Failure> {
    let dir = match &options.dir {
        Some(dir) => dir.clone(),
        None => default_dir()?,
    };
    let mut host = Host::start(options.verbose, 2, options.max_connections.get(), Workers::EachCore)?;
    let store = folder::open(&dir, true)?;
    host.tell_repairs(&store);
    let mailboxes = store.mailboxes()?;
    let Serve { smtp: smtp_at, pop3: pop3_at, .. } = &options;
    if smtp_at.port == pop3_at.port
        && smtp_at.port != 0
        && smtp_at.addresses.iter().any(|ip| pop3_at.addresses.contains(ip))
    {
        let what = format_args!("SMTP and POP3 cannot both have port {}; choose another with --pop3", pop3_at.port);
        return Err(Failure::new(exit::USAGE, what));
    }
    let smtp = smtp::Smtp { store: store.clone(), message_max_octets: options.max_size, beside: host.beside() };
    let smtp = host.serve(smtp, &smtp_at.addresses, smtp_at.port, smtp::EXPOSED, Some(&store));
    let smtp = smtp.map_err(|failure| failure.with_option("--smtp"))?;
    let pop3 = pop3::Pop3 { store: store.clone(), beside: host.beside() };
    let pop3 = host.serve(pop3, &pop3_at.addresses, pop3_at.port, pop3::EXPOSED, None);
    let pop3 = pop3.map_err(|failure| failure.with_option("--pop3"))?;
    if let Some(interval) = options.forward_every {
        let forwarder = Forwarder::new(store, &options.sending, options.remote_port, host.transcript());
        let stderr = host.stderr();
        let stop = host.stop();
        host.spawn(async move {
            let mut told = Told::default();
            let tell = |line: Line| {
                if told.is_new(&line) {
                    stderr.note(format_args!("{line}"));
                }
            };
            forwarder.watch(interval, &stop, tell).await;
        });
    }
    introduce(&dir, &mailboxes, &smtp[0].to_string(), &pop3[0].to_string(), options.forward_every.is_some());
    host.wait();
    Ok(())
}

/// What was said of those who stay in the queue: each round says it again, and it is told once.
#[derive(Debug, Default)]
struct Told {
    /// When each line was said last.
    lines: HashMap<String, Instant>,
    /// Old lines are forgotten when there are so many.
    forget_at: usize,
}

/// A line that was not said for so long is new again.
const TOLD: Duration = Duration::from_secs(60 * 60);

impl Told {
    fn is_new(&mut self, line: &Line) -> bool {
        if matches!(line, Line::Recipient(_, Report { outcome: Outcome::Delivered(_), .. })) {
            return true;
        }
        let now = Instant::now();
        let is_old = |said: &Instant| now.duration_since(*said) >= TOLD;
        if self.lines.len() >= self.forget_at {
            self.lines.retain(|_, said| !is_old(said));
            self.forget_at = self.lines.len() * 2 + 64;
        }
        self.lines.insert(line.to_string(), now).is_none_or(|said| is_old(&said))
    }
}

/// `mailtest` in the current folder; when there is none it is made, with one mailbox named after the login name.
fn default_dir() -> Result<PathBuf, Failure> {
    let dir = PathBuf::from(DEFAULT_DIR);
    if !dir.exists() {
        fs::create_dir(&dir).map_err(|error| {
            let what = format_args!("{}: {error}; name a folder to use another", dir.display()).to_string();
            Failure::new(exit::CANNOT_CREATE, what)
        })?;
        folder::open(&dir, false)?.create_mailbox(&login_name())?;
    }
    Ok(dir)
}

/// The name of the user who runs us, or `user` where that cannot name a mailbox.
fn login_name() -> String {
    let login = User::from_uid(Uid::current()).ok().flatten().map(|user| user.name);
    login.filter(|name| is_mailbox_name(name)).unwrap_or_else(|| "user".to_owned())
}

/// Says how to try it.
fn introduce(dir: &Path, mailboxes: &[Mailbox], smtp: &str, pop3: &str, forwards: bool) {
    let program = PathBuf::from(env::args_os().next().unwrap_or_else(|| "pillarbox".into()));
    let quoted = quoted(dir);
    let remote = if forwards {
        "Mail for other domains is sent to them.".to_owned()
    } else {
        format!(
            "Mail for other domains waits in {}; this sends it (serve --forward-every 1m does so by itself):\n  {} {quoted}",
            dir.join("mqueue").display(),
            self::quoted(&program.with_file_name("forward")),
        )
    };
    let names: Vec<_> = mailboxes.iter().take(8).map(Mailbox::name).collect();
    let Some(&name) = names.first() else {
        say(format_args!(
            "\nSMTP on {smtp}, POP3 on {pop3}. There is no mailbox in {} yet; this makes one:\n  \
             {} user add NAME --dir {quoted}\n{remote}",
            dir.display(),
            self::quoted(&program),
        ));
        return;
    };
    let more = if mailboxes.len() > names.len() { ", …" } else { "" };
    say(format_args!(
        "\nSMTP on {smtp}, POP3 on {pop3}, mail in {}, mailboxes {}{more}, password {CLASSIC_PASSWORD}.\n\
         Send a mail, then read it:\n  \
         printf 'Subject: hello\\r\\n\\r\\nIt works.\\r\\n' | \
         curl smtp://{smtp} --mail-from {name}@localhost --mail-rcpt {name}@localhost -T -\n  \
         curl pop3://{pop3}/1 --user {name}:{CLASSIC_PASSWORD}\n\
         {remote}\n\
         Ctrl+C stops it.",
        dir.display(),
        names.join(", "),
    ));
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"_-+./,:=@%".contains(&octet);
    if !text.is_empty() && text.bytes().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
#[path = "serve/tests.rs"]
mod tests;
