//! `pillarbox torture`: kills servers while clients send and fetch, and looks whether a message is lost, twice or torn.
//!
//! Two servers work on one folder. Clients send numbered messages to several mailboxes at once; others fetch, compare
//! each octet, and delete; and something that is none of our programs appends under locks of its own. Meanwhile one of the
//! servers is killed (SIGKILL), again and again, and started anew. Who remembers what was acknowledged is this process,
//! which is never killed.

use std::collections::HashMap;
use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use pillarbox_store::{Verdict as Verdicts, check};

use crate::cli::Torture;
use crate::failure::{Failure, exit};
use crate::folder;
use crate::results::Results;

mod client;
mod ledger;
mod letter;
mod other;
mod servers;

use ledger::{Ledger, Verdict};
use letter::Random;
use servers::{SERVERS, Servers};

/// The mailboxes that mail goes to.
const MAILBOXES: [&str; 6] = ["ada", "bert", "cleo", "dora", "emil", "fay"];

/// Longest pause between two kills.
const KILL_PAUSE_MAX: Duration = Duration::from_millis(600);
/// How long a server may take to be busy before it is killed idle.
const BUSY_WAIT: Duration = Duration::from_millis(500);

/// What all threads share.
struct Shared {
    seed: u64,
    servers: Servers,
    ledger: Mutex<Ledger>,
    next: AtomicU64,
    stop: AtomicBool,
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Runs for the time that was asked for, and says what was found.
///
/// # Errors
/// DIR that is in use already, servers that do not start, and above all: a message that was lost, twice or torn.
pub fn run(options: &Torture) -> Result<(), Failure> {
    prepare(&options.dir)?;
    let seed = options.seed.unwrap_or_else(seed_of_now);
    let mut results = Results::default();
    results.tell(format_args!("torture of {} for {} s, seed {seed}", options.dir.display(), options.time.as_secs()));
    let shared = Arc::new(Shared {
        seed,
        servers: Servers::start(&options.dir)?,
        ledger: Mutex::default(),
        next: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    });
    let clients = start_clients(&shared, options)?;
    let kills = kill_for(&shared, options.time);
    shared.stop.store(true, Ordering::Relaxed);
    for client in clients {
        let _ = client.join();
    }
    let kills = kills?;
    // A last one, and what is left is read from a server that has recovered.
    shared.servers.restart(0)?;
    shared.servers.restart(1)?;
    let left = read_what_is_left(&shared)?;
    shared.servers.end();
    let mut verdict = shared.ledger().verdict(&left);
    verdict.problems.extend(damage(&options.dir)?);
    let outcome = tell(&mut results, options, seed, kills, &verdict);
    results.close(outcome)
}

/// What the checker says once everything is recovered.
fn damage(dir: &Path) -> Result<Vec<String>, Failure> {
    drop(folder::open(dir, true)?);
    let report = check(dir, &mut |_| ())?;
    let is_sound = report.verdict() == Verdicts::Sound;
    Ok(if is_sound { Vec::new() } else { report.findings.iter().map(|finding| format!("fsck: {finding}")).collect() })
}

fn prepare(dir: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::new(exit::CANNOT_CREATE, format_args!("{}: {error}", dir.display()));
    fs::create_dir_all(dir).map_err(failed)?;
    if fs::read_dir(dir).map_err(failed)?.next().is_some() {
        let what = "is not empty; name a new folder, because torture fills it with mail of its own";
        return Err(Failure::new(exit::CANNOT_CREATE, format_args!("{}: {what}", dir.display())));
    }
    let store = folder::open(dir, true)?;
    for name in MAILBOXES {
        store.create_mailbox(name)?;
    }
    Ok(())
}

fn seed_of_now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.as_secs() ^ u64::from(now.subsec_nanos())
}

fn start_clients(shared: &Arc<Shared>, options: &Torture) -> Result<Vec<JoinHandle<()>>, Failure> {
    let mut clients = Vec::new();
    let mut start = |work: fn(&Shared, Random)| {
        let random = Random::new(shared.seed ^ (clients.len() as u64 + 1) << 32);
        let shared = Arc::clone(shared);
        let client = thread::Builder::new().spawn(move || work(&shared, random));
        clients.push(client.map_err(|error| Failure::new(exit::OS_ERROR, format_args!("cannot start: {error}")))?);
        Ok::<_, Failure>(())
    };
    for _ in 0..options.clients {
        start(client::send)?;
    }
    // Each mailbox takes one session at a time.
    for _ in 0..MAILBOXES.len() {
        start(client::fetch)?;
    }
    start(other::append)?;
    Ok(clients)
}

/// How often servers were killed.
#[derive(Clone, Copy, Debug, Default)]
struct Kills {
    all: u64,
    /// While a client waited for the reply to a message or to QUIT.
    busy: u64,
}

fn kill_for(shared: &Shared, time: Duration) -> Result<Kills, Failure> {
    let mut random = Random::new(shared.seed);
    let mut kills = Kills::default();
    let begin = Instant::now();
    let mut told = begin;
    while begin.elapsed() < time {
        // Now and then at once: the server is recovering then.
        let pause = random.below(u64::try_from(KILL_PAUSE_MAX.as_millis()).unwrap_or(1));
        thread::sleep(Duration::from_millis(if random.below(8) == 0 { pause / 50 } else { pause }));
        let which = usize::try_from(random.below(SERVERS as u64)).unwrap_or(0);
        let waited = Instant::now();
        while !shared.servers.is_busy(which) && waited.elapsed() < BUSY_WAIT {
            thread::sleep(Duration::from_micros(200));
        }
        kills.busy += u64::from(shared.servers.is_busy(which));
        kills.all += 1;
        shared.servers.restart(which)?;
        if told.elapsed() > Duration::from_secs(1) {
            told = Instant::now();
            progress(begin.elapsed(), time, kills, &shared.ledger());
        }
    }
    if io::stderr().is_terminal() {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    Ok(kills)
}

fn progress(passed: Duration, time: Duration, kills: Kills, ledger: &Ledger) {
    let line = format!(
        "{} of {} s: {} kills, {} of them of busy servers; {} messages acknowledged; {} problems",
        passed.as_secs(),
        time.as_secs(),
        kills.all,
        kills.busy,
        ledger.acknowledged(),
        ledger.problems().len()
    );
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[K{line}");
    } else if passed.as_secs().is_multiple_of(30) {
        let _ = writeln!(stderr, "{line}");
    }
}

/// The numbers of the messages that are in each mailbox at the end.
fn read_what_is_left(shared: &Shared) -> Result<HashMap<&'static str, Vec<u64>>, Failure> {
    let mut left = HashMap::new();
    for mailbox in MAILBOXES {
        let numbers = client::list_all(shared, mailbox).map_err(|error| {
            Failure::new(exit::IO_ERROR, format_args!("{mailbox}: cannot be read at the end: {error}"))
        })?;
        left.insert(mailbox, numbers);
    }
    Ok(left)
}

fn tell(results: &mut Results, options: &Torture, seed: u64, kills: Kills, verdict: &Verdict) -> Result<(), Failure> {
    let Verdict { acknowledged, deliveries, fetched, lost, twice, torn, problems } = verdict;
    if options.json {
        results.tell(format_args!(
            "{{\"seed\": {seed}, \"seconds\": {}, \"kills\": {}, \"kills_while_busy\": {}, \"acknowledged\": {acknowledged}, \
             \"deliveries\": {deliveries}, \"fetched\": {fetched}, \"lost\": {lost}, \"twice\": {twice}, \"torn\": {torn}, \
             \"problems\": {}}}",
            options.time.as_secs(),
            kills.all,
            kills.busy,
            problems.len()
        ));
    } else {
        for problem in problems {
            results.tell(problem);
        }
        results.tell(format_args!(
            "{} kills, {} of them of busy servers; {acknowledged} messages acknowledged for {deliveries} mailboxes, \
             {fetched} fetched and deleted meanwhile: {lost} lost, {twice} twice, {torn} torn (seed {seed})",
            kills.all, kills.busy
        ));
    }
    if lost + twice + torn > 0 || !problems.is_empty() {
        let what = format!("mail was lost, doubled or torn; {} is left as it is", options.dir.display());
        return Err(Failure::new(exit::SOFTWARE, what));
    }
    Ok(())
}
