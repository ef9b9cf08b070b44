//! SIGINT and SIGTERM, whatever the clients are doing (C-C9).

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::program::{Program, read_line};

/// Reads everything until the other side closes; a reset is an end too.
pub(crate) fn read_to_close(stream: &mut TcpStream) -> String {
    let mut octets = Vec::new();
    let _ = stream.read_to_end(&mut octets);
    String::from_utf8_lossy(&octets).into_owned()
}

/// C-C9 says 2 seconds. The bound is wide because machines are slow at times; a lock that is waited for (20 seconds)
/// or a client that never reads (minutes) would break it all the same.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

fn stop_in_time(server: &mut Program, signal: Signal) {
    let start = Instant::now();
    server.signal(signal);
    assert_eq!(server.wait().code(), Some(0));
    assert!(start.elapsed() < ENDS_WITHIN, "it took {:?}", start.elapsed());
}

fn dir_with(name: &str, octets: &[u8]) -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join(name), octets).unwrap();
    dir
}

/// Sends lines and reads one reply to each.
fn say(client: &mut TcpStream, lines: &[&str]) {
    for line in lines {
        client.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        read_line(client);
    }
}

/// holds C-C9
#[test]
fn each_protocol_says_goodbye() {
    let dir = dir_with("linhphan.mbox", b"");
    for (name, signal, line) in [
        ("echoserver", Signal::SIGINT, "-ERR Server shutting down\r\n"),
        ("smtp", Signal::SIGTERM, "421 localhost Server shutting down\r\n"),
        ("pop3", Signal::SIGINT, "-ERR Server shutting down\r\n"),
    ] {
        let mut server = Program::start(name, (name != "echoserver").then_some(dir.path()), &[]);
        let mut clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
        for client in &mut clients {
            read_line(client);
        }
        // Half a command is no command.
        clients[0].write_all(b"QUI").unwrap();
        stop_in_time(&mut server, signal);
        for client in &mut clients {
            assert_eq!(read_to_close(client), line, "{name}");
        }
    }
}

/// holds C-C9
#[test]
fn a_message_that_is_being_sent_is_dropped() {
    let dir = dir_with("linhphan.mbox", b"");
    let mut server = Program::start("smtp", Some(dir.path()), &[]);
    let mut client = server.connect();
    read_line(&mut client);
    say(&mut client, &["HELO c", "MAIL FROM:<>", "RCPT TO:<linhphan@localhost>", "DATA"]);
    client.write_all(&[b'x'; 100_000]).unwrap();
    stop_in_time(&mut server, Signal::SIGTERM);
    assert_eq!(read_to_close(&mut client), "421 localhost Server shutting down\r\n");
    assert_eq!(fs::read(dir.path().join("linhphan.mbox")).unwrap(), b"");
}

/// holds C-C9
#[test]
fn a_lock_held_elsewhere_does_not_delay_the_exit() {
    let dir = dir_with("linhphan.mbox", b"");
    // The lock of a program that lives: ours.
    let mut lock = File::create(dir.path().join("linhphan.mbox.lock")).unwrap();
    writeln!(lock, "{}", std::process::id()).unwrap();
    let mut server = Program::start("smtp", Some(dir.path()), &[]);
    let mut client = server.connect();
    read_line(&mut client);
    say(&mut client, &["HELO c", "MAIL FROM:<>", "RCPT TO:<linhphan@localhost>", "DATA"]);
    client.write_all(b"x\r\n.\r\n").unwrap();
    stop_in_time(&mut server, Signal::SIGTERM);
    assert_eq!(read_to_close(&mut client), "421 localhost Server shutting down\r\n");
    assert_eq!(fs::read(dir.path().join("linhphan.mbox")).unwrap(), b"");
}

/// holds C-C9
#[test]
fn a_client_that_does_not_read_does_not_delay_the_exit() {
    let mut mailbox = b"From <> Mon Aug 22 23:00:00 2016\n".to_vec();
    mailbox.extend_from_slice("x\r\n".repeat(10_000_000).as_bytes());
    let dir = dir_with("linhphan.mbox", &mailbox);
    let mut server = Program::start("pop3", Some(dir.path()), &[]);
    let mut client = server.connect();
    read_line(&mut client);
    say(&mut client, &["USER linhphan", "PASS cis505", "RETR 1"]);
    // 30 MB are on their way now, and nobody reads them.
    stop_in_time(&mut server, Signal::SIGINT);
    let rest = read_to_close(&mut client);
    assert!(!rest.ends_with("\r\n.\r\n") && !rest.contains("-ERR"), "a text that is cut off must not look whole");
}
