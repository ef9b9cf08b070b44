//! The transcript of `-v` (C-C8).

use std::collections::HashMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tempfile::TempDir;

use crate::program::{Program, binary, read_line};
use crate::stop::read_to_close;

fn start_verbose(name: &str, dir: Option<&TempDir>) -> Program {
    let mut command = Command::new(binary(name));
    command.args(["-v", "-p", "0"]).args(dir.map(TempDir::path)).stderr(Stdio::piped());
    Program::listen(command, 1)
}

/// Stops the server and gives the lines of each connection, in order, by its number.
fn transcripts(mut program: Program) -> HashMap<String, Vec<String>> {
    let mut stderr = program.stderr();
    program.stop();
    let mut text = String::new();
    stderr.read_to_string(&mut text).unwrap();
    let mut connections: HashMap<String, Vec<String>> = HashMap::new();
    for line in text.lines() {
        let (number, rest) = line.strip_prefix('[').and_then(|line| line.split_once("] ")).expect(line);
        number.parse::<u32>().expect("the connection's descriptor");
        connections.entry(number.to_owned()).or_default().push(rest.to_owned());
    }
    connections
}

/// holds C-C8
#[test]
fn the_seeds_transcript() {
    let server = start_verbose("echoserver", None);
    let mut client = server.connect();
    client.write_all(b"ECHO Hello world\r\nTEST \xff\x01\r\nQUIT\r\n").unwrap();
    read_to_close(&mut client);
    drop(client);
    let connections = transcripts(server);
    assert_eq!(connections.len(), 1);
    let lines = connections.values().next().unwrap();
    assert_eq!(
        lines,
        &[
            "New connection",
            "C: ECHO Hello world",
            "S: +OK Hello world",
            "C: TEST \\xFF\\x01",
            "S: -ERR Unknown command",
            "C: QUIT",
            "S: +OK Goodbye!",
            "Connection closed",
        ]
    );
}

/// holds C-C8
#[test]
fn message_texts_are_summarised() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("linhphan.mbox"), "").unwrap();
    let server = start_verbose("smtp", Some(&dir));
    let mut client = server.connect();
    client.write_all(b"HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<linhphan@localhost>\r\nDATA\r\n").unwrap();
    for _ in 0..5 {
        read_line(&mut client);
    }
    client.write_all(b"secret\r\n..\r\n.\r\nQUIT\r\n").unwrap();
    read_to_close(&mut client);
    drop(client);
    let connections = transcripts(server);
    let lines = connections.values().next().unwrap();
    assert_eq!(lines[8], "S: 354 Start mail input; end with <CRLF>.<CRLF>");
    assert_eq!(lines[9], "C: <11 octets>");
    assert_eq!(lines[10], "S: 250 OK");

    let server = start_verbose("pop3", Some(&dir));
    let mut client = server.connect();
    client.write_all(b"USER linhphan\r\nPASS cis505\r\nRETR 1\r\nQUIT\r\n").unwrap();
    assert!(read_to_close(&mut client).contains("secret\r\n..\r\n.\r\n"));
    drop(client);
    let connections = transcripts(server);
    let lines = connections.values().next().unwrap();
    assert_eq!(lines[5..8], ["C: RETR 1", "S: +OK 11 octets", "S: <11 octets>"]);
}

/// holds C-C8
#[test]
fn without_it_stderr_stays_silent() {
    let mut command = Command::new(binary("echoserver"));
    command.args(["-p", "0"]).stderr(Stdio::piped());
    let mut server = Program::listen(command, 1);
    let mut client = server.connect();
    client.write_all(b"ECHO x\r\nQUIT\r\n").unwrap();
    read_to_close(&mut client);
    let mut stderr = server.stderr();
    server.stop();
    let mut text = String::new();
    stderr.read_to_string(&mut text).unwrap();
    assert_eq!(text, "");
}

/// holds C-C8
#[test]
fn a_reader_of_stderr_that_does_not_read_stops_nothing() {
    let mut command = Command::new(binary("echoserver"));
    command.args(["-v", "-p", "0"]).stderr(Stdio::piped());
    let mut server = Program::listen(command, 1);
    let unread = server.stderr();
    let mut client = server.connect();
    read_line(&mut client);
    // Far more than a pipe holds (64 KiB).
    for round in 0..1000 {
        let text = format!("{round}{}", "x".repeat(1000));
        client.write_all(format!("ECHO {text}\r\n").as_bytes()).unwrap();
        assert_eq!(read_line(&mut client), format!("+OK {text}\r\n"));
    }
    server.stop();
    drop(unread);
}

/// holds C-C8 and C-C9
#[test]
fn a_warning_that_nobody_reads_stops_nothing() {
    let (unread, mut stderr) = std::io::pipe().unwrap();
    fcntl(&stderr, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while stderr.write(&[b'x'; 4096]).is_ok() {}
    fcntl(&stderr, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    let mut command = Command::new(binary("echoserver"));
    command.args(["-p", "0", "--listen", "0.0.0.0"]).stderr(stderr);
    let mut server = Program::listen(command, 1);
    assert!(read_line(&mut server.connect()).starts_with("+OK "));
    server.stop();
    drop(unread);
}
