//! A server under load, and what it takes of the machine.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{Values, read};

/// Ticks of `/proc` in a second, on every Linux in use.
const TICKS: f64 = 100.0;

/// A running server. Killed when dropped: nothing is needed of it then.
pub(crate) struct Served {
    child: Child,
    address: SocketAddr,
}

impl Served {
    /// Starts `PROGRAM -p 0 DIR` and waits until it listens.
    pub(crate) fn start(program: &Path, dir: &Path) -> io::Result<Self> {
        let mut command = Command::new(program);
        let mut child = command
            .args(["-p", "0"])
            .arg(dir)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", program.display())))?;
        let Some(stdout) = child.stdout.take() else { return Err(io::Error::other("no standard output")) };
        let address = BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on ").and_then(|address| address.parse().ok()));
        let mut served = Self { child, address: ([127, 0, 0, 1], 0).into() };
        served.address = address.ok_or_else(|| io::Error::other(format!("{} does not listen", program.display())))?;
        Ok(served)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    fn cpu(&self) -> io::Result<f64> {
        cpu(&self.child.id().to_string())
    }

    /// A line of its status, in MB.
    fn status(&self, name: &str) -> io::Result<f64> {
        let status = read(&format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let kilobytes = line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0.0);
        Ok(kilobytes * 1024.0 / 1e6)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// The machine since the start of a run.
pub(crate) struct Busy {
    server: f64,
    ours: f64,
    machine: (f64, f64),
}

impl Busy {
    pub(crate) fn start(served: &Served) -> io::Result<Self> {
        Ok(Self { server: served.cpu()?, ours: cpu("self")?, machine: machine()? })
    }

    /// What the server took: processor time in seconds, the peak of its resident memory in MB. Beside it the processor
    /// time of the load, and the share of the machine that others had.
    pub(crate) fn end(&self, served: &Served) -> io::Result<Values> {
        let (server, ours) = (served.cpu()? - self.server, cpu("self")? - self.ours);
        let (busy, all) = machine()?;
        let (busy, all) = (busy - self.machine.0, all - self.machine.1);
        Ok(vec![
            ("cpu_s", server),
            ("peak_rss_mb", served.status("VmHWM")?),
            ("load_cpu_s", ours),
            ("foreign_cpu_share", ((busy - server - ours) / all.max(0.01)).max(0.0)),
        ])
    }
}

/// Processor time of a process, in seconds.
fn cpu(process: &str) -> io::Result<f64> {
    let stat = read(&format!("/proc/{process}/stat"))?;
    // The name may hold anything, but what follows the last `)`.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS)
}

/// Busy processor time of the machine, and all of it, in seconds.
fn machine() -> io::Result<(f64, f64)> {
    let stat = read("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let fields: Vec<f64> = line.split_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()).collect();
    let all: f64 = fields.iter().sum();
    // The fourth and fifth are idle time.
    let idle: f64 = fields.iter().skip(3).take(2).sum();
    Ok(((all - idle) / TICKS, all / TICKS))
}
