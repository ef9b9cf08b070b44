//! Programs of ours that run: started, awaited, stopped by their own id.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Far longer than anything here takes: a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Where the binary of this name is.
pub(crate) fn binary(name: &str) -> PathBuf {
    PathBuf::from(match name {
        "echoserver" => env!("CARGO_BIN_EXE_echoserver"),
        "smtp" => env!("CARGO_BIN_EXE_smtp"),
        "forward" => env!("CARGO_BIN_EXE_forward"),
        "pop3" => env!("CARGO_BIN_EXE_pop3"),
        "pillarbox" => env!("CARGO_BIN_EXE_pillarbox"),
        _ => panic!("no program {name}"),
    })
}

/// A server that runs. Dropping it kills it.
pub(crate) struct Program {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// Where it said that it listens.
    pub(crate) listening: Vec<SocketAddr>,
}

impl Program {
    /// Starts a classic server on a port of the system's choice and waits until it listens. `dir` is its operand.
    pub(crate) fn start(name: &str, dir: Option<&Path>, options: &[&str]) -> Self {
        let mut command = Command::new(binary(name));
        command.args(["-p", "0"]).args(options).args(dir);
        Self::listen(command, 1)
    }

    /// Runs a command and waits until it has said `sockets` times where it listens.
    pub(crate) fn listen(mut command: Command, sockets: usize) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut program = Self { stdout: BufReader::new(child.stdout.take().unwrap()), child, listening: Vec::new() };
        while program.listening.len() < sockets {
            let line = program.line().expect("it ended before it listened");
            let address = line.strip_prefix("listening on ").expect("a line that says where it listens");
            program.listening.push(address.parse().unwrap());
        }
        program
    }

    /// The next line of its output; `None` at the end.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line).unwrap();
        (read > 0).then(|| line.trim_end_matches('\n').to_owned())
    }

    /// A connection to it.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.listening[0]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Its standard error, if it was piped.
    pub(crate) fn stderr(&mut self) -> BufReader<std::process::ChildStderr> {
        BufReader::new(self.child.stderr.take().unwrap())
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::yield_now();
        }
    }

    /// Stops it with SIGTERM; it must exit 0.
    pub(crate) fn stop(&mut self) {
        // It may have been told already, and have ended.
        let _ = kill(self.pid(), Signal::SIGTERM);
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{status}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads one line, octet by octet, and takes nothing beyond it.
pub(crate) fn read_line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    let mut octet = [0];
    while !line.ends_with(b"\n") {
        // A read with a time limit is interrupted when a child of another test ends; this one goes on then.
        match stream.read_exact(&mut octet) {
            Ok(()) => line.push(octet[0]),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => panic!("{error}"),
        }
    }
    String::from_utf8(line).unwrap()
}
