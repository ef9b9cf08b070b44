//! A load generator: starts the real programs, puts workloads on them, and says what that took.
//!
//! One line of JSON for each run and workload: `{"workload": …, "run": …, "metric": value, …}`. Everything is bounded, in
//! number and in time. One thread makes the load; how busy others kept the machine meanwhile is in `foreign_cpu_share`.

mod client;
mod mail;
mod pop3;
mod served;
mod smtp;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use served::{Busy, Served};

const USAGE: &str =
    "usage: load --smtp PROGRAM --pop3 PROGRAM [--dir DIR] [--runs N] [--seconds N] [--out FILE] WORKLOAD...

workloads: S2 S3 P1 P2 P3, sessions (S2 at 1, 10, 100, 1000 sessions), open (1000 to 1000000 messages)";

/// What a workload measured.
type Values = Vec<(&'static str, f64)>;

/// What the command line says.
struct Options {
    smtp: PathBuf,
    pop3: PathBuf,
    /// Where mailboxes are made; they are removed afterwards.
    dir: PathBuf,
    runs: u32,
    /// Longest time that mail is sent or sessions are begun, in one run.
    seconds: u64,
    out: Option<File>,
    workloads: Vec<String>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            smtp: PathBuf::from("./smtp"),
            pop3: PathBuf::from("./pop3"),
            dir: std::env::temp_dir(),
            runs: 3,
            seconds: 10,
            out: None,
            workloads: Vec::new(),
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument}: what?"));
            match argument.as_str() {
                "--smtp" => options.smtp = value()?.into(),
                "--pop3" => options.pop3 = value()?.into(),
                "--dir" => options.dir = value()?.into(),
                "--runs" => options.runs = value()?.parse().map_err(|_| "--runs: a number")?,
                "--seconds" => options.seconds = value()?.parse().map_err(|_| "--seconds: a number")?,
                "--out" => {
                    let path = value()?;
                    let file = OpenOptions::new().create(true).append(true).open(&path);
                    options.out = Some(file.map_err(|error| format!("{path}: {error}"))?);
                }
                workload if !workload.starts_with('-') => options.workloads.push(argument),
                _ => return Err(USAGE.to_owned()),
            }
        }
        if options.workloads.is_empty() { Err(USAGE.to_owned()) } else { Ok(options) }
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(what) => {
            eprintln!("{what}");
            return ExitCode::from(64);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    for run in 1..=options.runs {
        for workload in &options.workloads {
            match workload.as_str() {
                "S2" => send(options, "S2", run, 50, 1)?,
                "S3" => send(options, "S3", run, 50, 100)?,
                "sessions" => {
                    for (name, sessions) in [("N1", 1), ("N10", 10), ("N100", 100), ("N1000", 1000)] {
                        send(options, name, run, sessions, 1)?;
                    }
                }
                "P1" => log_in(options, run)?,
                "P2" => open(options, ["P2-first", "P2-second"], run, 100_000, 4096)?,
                "open" => {
                    for (names, messages) in [
                        (["O3-first", "O3-second"], 1000),
                        (["O4-first", "O4-second"], 10_000),
                        (["O5-first", "O5-second"], 100_000),
                        (["O6-first", "O6-second"], 1_000_000),
                    ] {
                        open(options, names, run, messages, 1024)?;
                    }
                }
                "P3" => {
                    retrieve(options, ["P3-4K-first", "P3-4K-again"], run, 20_000, 4096)?;
                    retrieve(options, ["P3-10M-first", "P3-10M-again"], run, 20, 10_000_000)?;
                }
                other => return Err(io::Error::other(format!("{other}: no such workload\n{USAGE}"))),
            }
        }
    }
    Ok(())
}

/// Up to 20,000 messages of 4 KB over so many sessions, to so many mailboxes.
fn send(options: &Options, name: &str, run: u32, sessions: usize, mailboxes: usize) -> io::Result<()> {
    let folder = mail::Folder::new(&options.dir, mailboxes)?;
    let served = Served::start(&options.smtp, folder.path())?;
    let busy = Busy::start(&served)?;
    let sent = smtp::send(served.address(), sessions, mailboxes, 20_000, 4096, options.limit())?;
    let mut values = busy.end(&served)?;
    let found = folder.numbers()?;
    let lost = sent.accepted.iter().filter(|number| !found.contains(number)).count();
    let accepted = sent.accepted.len() as f64;
    values.extend([
        ("accepted_per_s", accepted / sent.seconds),
        ("lat_ms_p50", percentile(&sent.latencies, 50)),
        ("lat_ms_p99", percentile(&sent.latencies, 99)),
        ("accepted", accepted),
        ("refused", sent.refused as f64),
        ("lost", lost as f64),
    ]);
    per(&mut values, "cpu_ms_per_msg", accepted);
    report(options, name, run, values)
}

/// Login, STAT, QUIT, at 1 and at 50 sessions; 100 mailboxes with 10 messages each.
fn log_in(options: &Options, run: u32) -> io::Result<()> {
    let folder = mail::Folder::new(&options.dir, 100)?;
    (0..100).try_for_each(|mailbox| folder.fill(mailbox, 10, 4096))?;
    let served = Served::start(&options.pop3, folder.path())?;
    // Every mailbox has been opened once.
    pop3::log_in(served.address(), 4, 100, 200, options.limit())?;
    for (name, sessions, count) in [("P1-1", 1, 1000), ("P1-50", 50, 4000)] {
        let busy = Busy::start(&served)?;
        let done = pop3::log_in(served.address(), sessions, 100, count, options.limit())?;
        let mut values = busy.end(&served)?;
        let count = done.latencies.len() as f64;
        values.extend([
            ("sessions_per_s", count / done.seconds),
            ("lat_ms_p50", percentile(&done.latencies, 50)),
            ("lat_ms_p99", percentile(&done.latencies, 99)),
            ("failed", done.failed as f64),
        ]);
        per(&mut values, "cpu_ms_per_session", count);
        report(options, name, run, values)?;
    }
    Ok(())
}

/// Login, STAT, LIST, UIDL, QUIT of one large mailbox, twice.
fn open(options: &Options, names: [&str; 2], run: u32, messages: usize, octets: usize) -> io::Result<()> {
    let folder = mail::Folder::new(&options.dir, 1)?;
    folder.fill(0, messages, octets)?;
    let served = Served::start(&options.pop3, folder.path())?;
    for name in names {
        let busy = Busy::start(&served)?;
        let took = pop3::list(served.address(), messages)?;
        let mut values = busy.end(&served)?;
        values.extend([
            ("messages", messages as f64),
            ("login_s", took.login),
            ("list_s", took.list),
            ("uidl_s", took.uidl),
            ("until_list_done_s", took.login + took.list + took.uidl),
        ]);
        report(options, name, run, values)?;
    }
    Ok(())
}

/// RETR of every message, one command at a time, twice.
fn retrieve(options: &Options, names: [&str; 2], run: u32, messages: usize, octets: usize) -> io::Result<()> {
    let folder = mail::Folder::new(&options.dir, 1)?;
    folder.fill(0, messages, octets)?;
    let served = Served::start(&options.pop3, folder.path())?;
    for name in names {
        let busy = Busy::start(&served)?;
        let done = pop3::retrieve(served.address(), messages)?;
        let mut values = busy.end(&served)?;
        values.extend([
            ("mb_per_s", done.octets as f64 / done.seconds / 1e6),
            ("msgs_per_s", messages as f64 / done.seconds),
        ]);
        per(&mut values, "cpu_ms_per_msg", messages as f64);
        report(options, name, run, values)?;
    }
    Ok(())
}

/// Adds the processor time of the server by item.
fn per(values: &mut Values, name: &'static str, count: f64) {
    let cpu = values.iter().find(|(name, _)| *name == "cpu_s").map_or(0.0, |(_, cpu)| *cpu);
    values.push((name, cpu * 1e3 / count.max(1.0)));
}

fn percentile(latencies: &[Duration], percent: usize) -> f64 {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    sorted
        .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
        .map_or(0.0, |at| at.as_secs_f64() * 1e3)
}

fn report(options: &Options, workload: &str, run: u32, values: Values) -> io::Result<()> {
    let values: Vec<_> = values.iter().map(|(name, value)| format!("\"{name}\": {value:.4}")).collect();
    let line = format!("{{\"workload\": \"{workload}\", \"run\": {run}, {}}}\n", values.join(", "));
    print!("{line}");
    if let Some(out) = &options.out {
        let mut out: &File = out;
        out.write_all(line.as_bytes())?;
    }
    Ok(())
}

/// Reads a small file of the system.
fn read(path: &str) -> io::Result<String> {
    fs::read_to_string(path).map_err(|error| io::Error::other(format!("{path}: {error}")))
}
