//! Runs services until the program is told to stop.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::thread::available_parallelism;
use std::time::Duration;

use pillarbox_proto::shown;
use pillarbox_server::{Beside, Pool, Server, Service, Transcript, bind, raise_descriptor_limit, stop_on_signals};
use pillarbox_store::{Listening, MboxStore};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, exit};

/// How long mail that is being sent may take to come to an end after the stop signal: a host that has the whole message
/// may still say so, and that is recorded.
pub const SENDING_ENDS: Duration = Duration::from_millis(1200);

/// How long commits that have begun may take after the last connection is closed (C-C9).
const COMMITS_END: Duration = Duration::from_millis(300);

/// How long the last lines of the transcript may take.
const TRANSCRIPT_ENDS: Duration = Duration::from_millis(100);

/// How often is looked for repairs that were made.
const REPAIRS_LOOK: Duration = Duration::from_secs(1);

/// On how many threads connections are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One for each core.
    EachCore,
    /// One core is left to the thread that delivers what they take in: as many again would wake each other, and make it
    /// wait.
    LeaveOne,
}

impl Workers {
    fn of(self, cores: usize) -> usize {
        match self {
            Self::EachCore => cores,
            Self::LeaveOne => cores.saturating_sub(1).max(1),
        }
    }
}

/// A process that serves: its worker threads, its stop signal, its transcript.
pub struct Host {
    runtime: Runtime,
    stop: CancellationToken,
    stderr: Transcript,
    verbose: bool,
    pool: Pool,
    beside: Beside,
    /// Connections of each service at once, if there are places for them.
    connections: usize,
    serving: Vec<JoinHandle<()>>,
    /// Stores whose repairs are told.
    stores: Vec<MboxStore>,
    listening: Vec<Listening>,
}

impl Host {
    /// Starts the worker threads and listens to SIGINT and SIGTERM. `verbose` writes the transcript to stderr. `services`
    /// is how many will be served, each for up to so many `connections` at once: they share the descriptors.
    ///
    /// # Errors
    /// When the system gives no threads or takes no signal handlers.
    pub fn start(verbose: bool, services: usize, connections: usize, workers: Workers) -> Result<Self, Failure> {
        let failed = |error| Failure::new(exit::OS_ERROR, format_args!("cannot start: {error}"));
        let pool = Pool::new(raise_descriptor_limit(), services);
        let workers = workers.of(available_parallelism().map_or(1, NonZero::get));
        let runtime = Builder::new_multi_thread().worker_threads(workers).enable_all().build().map_err(failed)?;
        let stop = {
            let _inside = runtime.enter();
            stop_on_signals().map_err(failed)?
        };
        let stderr = Transcript::on_stderr().map_err(failed)?;
        let beside = pool.beside();
        Ok(Self {
            runtime,
            stop,
            stderr,
            verbose,
            pool,
            beside,
            connections,
            serving: Vec::new(),
            stores: Vec::new(),
            listening: Vec::new(),
        })
    }

    /// Serves on `port` of each address, and says so on stdout: one line for each socket, once it listens. Addresses
    /// that others can reach get a warning on stderr; `exposed` says in it what those may then do. A server that takes mail
    /// in says where it listens in the store that it takes it `into`: mail for elsewhere must not come back (C-F7).
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn serve<S: Service>(
        &mut self,
        service: S,
        addresses: &[IpAddr],
        port: u16,
        exposed: &str,
        into: Option<&MboxStore>,
    ) -> Result<Vec<SocketAddr>, Failure> {
        let _inside = self.runtime.enter();
        let server = Server::new(service, bind(addresses, port)?, self.pool.room(self.connections))
            .with_transcript(self.transcript());
        let listening = server.addresses().map_err(|error| Failure::new(exit::OS_ERROR, error))?;
        match into.map(|store| store.listen_at(&listening)).transpose() {
            Ok(said) => self.listening.extend(said),
            Err(error) => self.stderr.note(format_args!("warning: {error}; mail that comes back here is not noticed")),
        }
        self.serving.push(self.runtime.spawn(server.run(self.stop.clone())));
        for address in &listening {
            say(format_args!("listening on {address}"));
            if !address.ip().is_loopback() {
                self.stderr.note(format_args!("warning: {address} can be reached from elsewhere, and {exposed}"));
            }
        }
        Ok(listening)
    }

    /// Room for what the connections of all services have open beside their sockets.
    #[must_use]
    pub fn beside(&self) -> Beside {
        self.beside.clone()
    }

    /// Where the transcript goes, if there is one.
    #[must_use]
    pub fn transcript(&self) -> Option<Transcript> {
        self.verbose.then(|| self.stderr.clone())
    }

    /// What is printed on stderr while services run goes through this: a reader that is stuck stops nothing (C-C8).
    #[must_use]
    pub fn stderr(&self) -> Transcript {
        self.stderr.clone()
    }

    /// From now on repairs of this store are told on stderr, in one line each time that something was repaired: another
    /// process may die at any time, and whoever locks its mailboxes next repairs them.
    pub fn tell_repairs(&mut self, store: &MboxStore) {
        self.stores.push(store.clone());
        let (store, stderr, stop) = (store.clone(), self.stderr(), self.stop());
        self.spawn(async move {
            while timeout(REPAIRS_LOOK, stop.cancelled()).await.is_err() {
                tell_repairs(&store, &stderr);
            }
        });
    }

    /// The token that is cancelled at the stop signal. Whoever has it is to end then, and has [`SENDING_ENDS`] for it.
    #[must_use]
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs a task beside the services. If it has not ended [`SENDING_ENDS`] after the stop signal it is dropped, wherever
    /// it is.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop();
        self.serving.push(self.runtime.spawn(async move { until_stopped(stop, task).await.unwrap_or_default() }));
    }

    /// Runs a task to its end; `None` if it has not ended [`SENDING_ENDS`] after the stop signal.
    pub fn run<T: Send + 'static>(self, task: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let result = self.runtime.block_on(until_stopped(self.stop(), task));
        // What runs beside it ends with it.
        self.stop.cancel();
        self.wait();
        result
    }

    /// Waits for the stop signal, if anything is served, and for everything to end after it.
    pub fn wait(self) {
        let serving = self.serving;
        self.runtime.block_on(async {
            for server in serving {
                // A server that panicked has ended too.
                let _ = server.await;
            }
        });
        self.runtime.shutdown_timeout(COMMITS_END);
        self.stores.iter().for_each(|store| tell_repairs(store, &self.stderr));
        self.stderr.finish(TRANSCRIPT_ENDS);
    }
}

fn tell_repairs(store: &MboxStore, stderr: &Transcript) {
    let recovery = store.take_recovery();
    if !recovery.is_nothing() {
        stderr.note(format_args!("{recovery}"));
    }
}

async fn until_stopped<T>(stop: CancellationToken, task: impl Future<Output = T>) -> Option<T> {
    let stopped = async {
        stop.cancelled().await;
        sleep(SENDING_ENDS).await;
    };
    tokio::select! {
        biased;
        result = task => Some(result),
        () = stopped => None,
    }
}

/// Prints a line, or several, on stdout; what strangers have named in it steers no terminal. That nobody reads it is no
/// reason to stop.
pub fn say(lines: std::fmt::Arguments<'_>) {
    let lines = lines.to_string();
    let lines: Vec<_> = lines.split('\n').map(|line| shown(line.as_bytes())).collect();
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{}", lines.join("\n")).and_then(|()| stdout.flush());
}

#[cfg(test)]
#[path = "host/tests.rs"]
mod tests;
