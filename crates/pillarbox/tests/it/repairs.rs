//! What is repaired while a program runs is told on its stderr.

use std::fs;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use tempfile::TempDir;

use crate::program::{PATIENCE, Program, binary, read_line};
use crate::stop::read_to_close;

const TOLD: &str = "1 leftover file removed";

/// A program over a folder with one message for linhphan, and the lines of its stderr as they come.
struct Told {
    program: Program,
    lines: mpsc::Receiver<String>,
    dir: TempDir,
}

impl Told {
    fn start(name: &str, options: &[&str], sockets: usize) -> Self {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("linhphan.mbox"), "From <> Mon Aug 22 23:00:00 2016\nx\n\n").unwrap();
        let mut command = Command::new(binary(name));
        command.args(options).arg(dir.path()).stderr(Stdio::piped());
        let mut program = Program::listen(command, sockets);
        let stderr = program.stderr();
        let (tell, lines) = mpsc::channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self { program, lines, dir }
    }

    /// Says lines on a new connection and waits until it is closed.
    fn say(&self, lines: &str) -> String {
        let mut client = self.program.connect();
        read_line(&mut client);
        client.write_all(lines.as_bytes()).unwrap();
        read_to_close(&mut client)
    }

    /// The next line that belongs to no connection. The program still runs.
    fn next(&self) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("a line on stderr");
            if !line.starts_with('[') {
                return line;
            }
        }
    }

    /// Stops the program; gives the lines it had left to tell.
    fn stop(mut self) -> Vec<String> {
        self.program.stop();
        self.lines.iter().filter(|line| !line.starts_with('[')).collect()
    }
}

/// Leaves the dotlock of a process that was killed, and nothing else: a server that keeps mail may have been making a file
/// at that moment.
fn killed_with_the_lock(dir: &Path) {
    let mut program = Program::start("echoserver", None, &[]);
    program.signal(nix::sys::signal::Signal::SIGKILL);
    program.wait();
    fs::write(dir.join("linhphan.mbox.lock"), format!("{}\n", program.pid())).unwrap();
}

const SEND: &str = "HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<linhphan@localhost>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n";
const LOGIN: &str = "USER linhphan\r\nPASS cis505\r\nQUIT\r\n";

/// holds C-P8
#[test]
fn what_a_killed_process_left_is_repaired_and_told_while_the_program_runs() {
    let serve = ["serve", "--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0", "--forward-every", "never"];
    for (name, options, sockets, work) in [
        ("smtp", &["-v", "-p", "0"][..], 1, SEND),
        ("pop3", &["-v", "-p", "0"], 1, LOGIN),
        ("pillarbox", &serve, 2, SEND),
    ] {
        let told = Told::start(name, options, sockets);
        for _ in 0..2 {
            killed_with_the_lock(told.dir.path());
            let said = told.say(work);
            assert!(!said.contains("-ERR") && !said.contains("451"), "{name}: {said}");
            assert_eq!(told.next(), TOLD, "{name}");
        }
        // Nothing is told that did not happen.
        told.say(work);
        assert_eq!(told.stop(), Vec::<String>::new(), "{name}");
    }
}

/// holds C-P8
#[test]
fn what_was_repaired_last_is_told_before_the_exit() {
    let told = Told::start("smtp", &["-v", "-p", "0"], 1);
    killed_with_the_lock(told.dir.path());
    told.say(SEND);
    // It may have been told by itself meanwhile; it is told once.
    assert_eq!(told.stop(), [TOLD]);
}

/// holds C-C8
#[test]
fn without_verbose_nothing_is_told() {
    let told = Told::start("smtp", &["-p", "0"], 1);
    killed_with_the_lock(told.dir.path());
    told.say(SEND);
    assert_eq!(told.stop(), Vec::<String>::new());
}
