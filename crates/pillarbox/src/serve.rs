//! `pillarbox serve`: SMTP and POP3 over one folder, in one process.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Uid, User};
use pillarbox_server::Transcript;
use pillarbox_store::{Mailbox, MboxStore, is_mailbox_name};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::cli::{DEFAULT_DIR, Serve};
use crate::failure::{Failure, exit};
use crate::forward::Forwarder;
use crate::host::{Host, Workers, say};
use crate::{CLASSIC_PASSWORD, folder, pop3, smtp};

/// Serves until it is told to stop.
///
/// # Errors
/// As the classic servers: DIR that cannot be used, a port that cannot be had.
pub fn run(options: Serve) -> Result<(), Failure> {
    let dir = match options.dir {
        Some(dir) => dir,
        None => default_dir()?,
    };
    let mut host = Host::start(options.verbose, 2, options.max_connections.get(), Workers::EachCore)?;
    let store = folder::open(&dir, true)?;
    host.tell_repairs(&store);
    let mailboxes = store.mailboxes()?;
    let smtp = smtp::Smtp { store: store.clone(), message_max_octets: options.max_size, beside: host.beside() };
    let smtp = host.serve(smtp, &options.smtp.addresses, options.smtp.port, smtp::EXPOSED)?;
    let pop3 = pop3::Pop3 { store: store.clone(), beside: host.beside() };
    let pop3 = host.serve(pop3, &options.pop3.addresses, options.pop3.port, pop3::EXPOSED)?;
    if let Some(interval) = options.forward_every {
        let forwarder = Forwarder::new(store, &options.sending, host.transcript())?;
        let stderr = host.stderr();
        let stop = host.stop();
        host.spawn(forward_every(interval, forwarder, stderr, stop));
    }
    introduce(&dir, &mailboxes, &smtp[0].to_string(), &pop3[0].to_string());
    host.wait();
    Ok(())
}

/// Sends the queue on, again and again, until it is stopped. What is told of a recipient is told once, until it changes.
async fn forward_every(
    interval: Duration,
    forwarder: Forwarder<MboxStore>,
    stderr: Transcript,
    stop: CancellationToken,
) {
    let mut told = HashSet::new();
    while !stop.is_cancelled() {
        let mut now = HashSet::new();
        let result = forwarder
            .run(&stop, |line| {
                let line = line.to_string();
                if !told.contains(&line) {
                    stderr.note(format_args!("{line}"));
                }
                now.insert(line);
            })
            .await;
        if let Err(error) = result {
            stderr.note(format_args!("mqueue: {error}"));
        }
        told = now;
        let _ = timeout(interval, stop.cancelled()).await;
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
fn introduce(dir: &Path, mailboxes: &[Mailbox], smtp: &str, pop3: &str) {
    let names: Vec<_> = mailboxes.iter().take(8).map(Mailbox::name).collect();
    let Some(&name) = names.first() else {
        say(format_args!(
            "\nSMTP on {smtp}, POP3 on {pop3}. There is no mailbox in {dir} yet; this makes one:\n  \
             pillarbox user add NAME --dir {dir}",
            dir = dir.display()
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
         Ctrl+C stops it.",
        dir.display(),
        names.join(", "),
    ));
}
