//! The servers, which are killed and started anew.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::failure::{Failure, exit};

/// How many there are.
pub(super) const SERVERS: usize = 2;

/// Where a server listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) smtp: SocketAddr,
    pub(super) pop3: SocketAddr,
}

/// Two servers on one folder.
pub(super) struct Servers {
    dir: PathBuf,
    servers: [Server; SERVERS],
}

#[derive(Default)]
struct Server {
    running: Mutex<Option<Running>>,
    /// Clients that wait for a reply that means something.
    busy: AtomicUsize,
}

struct Running {
    child: Child,
    addresses: Addresses,
}

/// A client that waits for such a reply.
pub(super) struct Busy<'a>(&'a AtomicUsize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Servers {
    pub(super) fn start(dir: &Path) -> Result<Self, Failure> {
        let servers = Self { dir: dir.to_owned(), servers: Default::default() };
        for which in 0..SERVERS {
            servers.restart(which)?;
        }
        Ok(servers)
    }

    fn running(&self, which: usize) -> MutexGuard<'_, Option<Running>> {
        self.servers[which].running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a server listens at the moment.
    pub(super) fn addresses(&self, which: usize) -> Option<Addresses> {
        self.running(which).as_ref().map(|running| running.addresses)
    }

    /// The caller begins to wait for a reply.
    pub(super) fn wait_on(&self, which: usize) -> Busy<'_> {
        let busy = &self.servers[which].busy;
        busy.fetch_add(1, Ordering::Relaxed);
        Busy(busy)
    }

    pub(super) fn is_busy(&self, which: usize) -> bool {
        self.servers[which].busy.load(Ordering::Relaxed) > 0
    }

    /// Kills a server, and starts it anew.
    pub(super) fn restart(&self, which: usize) -> Result<(), Failure> {
        let mut running = self.running(which);
        kill(running.take());
        *running = Some(start(&self.dir)?);
        Ok(())
    }

    /// Kills all.
    pub(super) fn end(&self) {
        (0..SERVERS).for_each(|which| kill(self.running(which).take()));
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.end();
    }
}

fn kill(running: Option<Running>) {
    if let Some(mut running) = running {
        // It may be dead already.
        let _ = running.child.kill();
        let _ = running.child.wait();
    }
}

fn start(dir: &Path) -> Result<Running, Failure> {
    let failed =
        |what: &dyn std::fmt::Display| Failure::new(exit::OS_ERROR, format_args!("a server did not start: {what}"));
    let program = env::current_exe().map_err(|error| failed(&error))?;
    let mut child = Command::new(program)
        .args(["serve", "--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0", "--forward-every", "never"])
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(&error))?;
    let mut addresses = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout).lines();
        while addresses.len() < 2
            && let Some(Ok(line)) = lines.next()
        {
            addresses.extend(line.strip_prefix("listening on ").and_then(|address| address.parse::<SocketAddr>().ok()));
        }
        // It goes on writing.
        thread::spawn(move || lines.for_each(drop));
    }
    match addresses[..] {
        [smtp, pop3] => Ok(Running { child, addresses: Addresses { smtp, pop3 } }),
        _ => {
            kill(Some(Running {
                child,
                addresses: Addresses { smtp: ([127, 0, 0, 1], 0).into(), pop3: ([127, 0, 0, 1], 0).into() },
            }));
            Err(failed(&"it ended; start it by hand with `pillarbox serve` to see why"))
        }
    }
}
