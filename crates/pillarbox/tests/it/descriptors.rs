//! Where descriptors are scarce, whoever comes is told so, and what was accepted is done.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use pillarbox_server::DESCRIPTORS_BESIDE;
use tempfile::TempDir;

use crate::program::{PATIENCE, Program, binary, read_line};
use crate::stop::read_to_close;

/// A classic server on IPv4 that may have so many descriptors.
fn start(name: &str, descriptors: usize, dir: Option<&Path>) -> Program {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"")]).arg(binary(name));
    command.args(["-p", "0", "--listen", "127.0.0.1"]).args(dir);
    Program::listen(command, 1)
}

/// Sends a line and gives the reply.
fn say(client: &mut TcpStream, line: &str) -> String {
    client.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    read_line(client).trim_end().to_owned()
}

/// How many RCPT commands are accepted for these mailboxes, and what is said to the message.
fn deliver(client: &mut TcpStream, names: impl Iterator<Item = String>) -> (usize, String) {
    assert_eq!(say(client, "MAIL FROM:<>"), "250 OK");
    let mut accepted = 0;
    for name in names {
        match say(client, &format!("RCPT TO:<{name}@localhost>")).as_str() {
            "250 OK" => accepted += 1,
            refused => assert_eq!(refused, "452 Too many recipients"),
        }
    }
    assert!(say(client, "DATA").starts_with("354 "));
    (accepted, say(client, "text\r\n."))
}

/// holds C-S5 and C-S9
#[test]
fn one_message_has_as_many_mailboxes_as_there_are_descriptors_for() {
    let dir = TempDir::new().unwrap();
    let name = |number| format!("u{number}");
    let path = |number| dir.path().join(name(number) + ".mbox");
    (0..900).for_each(|number| fs::write(path(number), "").unwrap());
    let mut program = start("smtp", 256, Some(dir.path()));
    let mut client = program.connect();
    read_line(&mut client);
    say(&mut client, "HELO localhost");
    // One after the other: what is accepted is kept open until it is flushed.
    for part in 0..3 {
        assert_eq!(deliver(&mut client, (0..200).map(|number| name(part * 200 + number))), (200, "250 OK".to_owned()));
    }
    let (accepted, reply) = deliver(&mut client, (600..900).map(name));
    assert!((200..300).contains(&accepted), "{accepted} are too many");
    assert_eq!(reply, "250 OK");
    program.stop();
    let octets = |number| fs::metadata(path(number)).unwrap().len();
    assert!((0..900).all(|number| (octets(number) > 0) == (number < 600 + accepted)));
}

/// holds C-C1 and C-S10
#[test]
fn clients_with_long_texts_leave_descriptors_to_tell_the_next_one() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("u.mbox"), "").unwrap();
    let mut program = start("smtp", 400, Some(dir.path()));
    let text = [b"x".repeat(998), b"\r\n".to_vec()].concat().repeat(100);
    let mut clients = Vec::new();
    let refused = loop {
        let mut client = program.connect();
        if read_line(&mut client).starts_with("421 localhost Too many connections") {
            break client;
        }
        for line in ["HELO localhost", "MAIL FROM:<>", "RCPT TO:<u@localhost>", "DATA"] {
            say(&mut client, line);
        }
        client.write_all(&text).unwrap();
        clients.push(client);
        assert!(clients.len() <= 200, "there are 200 places at most");
    };
    assert_eq!(read_to_close(&mut { refused }), "");
    // Those who were let in are served, but for the last ones perhaps, whose texts found the places taken by others.
    let mut accepted = 0;
    for client in &mut clients {
        match say(client, ".").as_str() {
            "250 OK" => accepted += 1,
            refused => assert_eq!(refused, "452 Too many long messages at once, try again later"),
        }
    }
    assert!(accepted >= DESCRIPTORS_BESIDE, "{accepted} of {}", clients.len());
    program.stop();
}

/// The last descriptor is kept for the listener: with it each client is told that there are too many.
///
/// holds C-C1
#[test]
fn the_last_descriptor_tells_one_client_after_the_other() {
    for descriptors in (0..40).rev() {
        let mut program = start("echoserver", descriptors, None);
        let folder = format!("/proc/{}/fd", program.pid());
        let has_kept_one = || {
            let mut open = fs::read_dir(&folder).unwrap();
            open.any(|file| fs::read_link(file.unwrap().path()).is_ok_and(|path| path == Path::new("/")))
        };
        let deadline = Instant::now() + PATIENCE;
        while !has_kept_one() {
            assert!(Instant::now() < deadline, "it keeps none of {descriptors}");
            std::thread::yield_now();
        }
        let mut client = program.connect();
        let greeting = read_line(&mut client);
        if greeting.starts_with("+OK ") {
            program.stop();
            continue;
        }
        assert_eq!(greeting, "-ERR Too many connections, try again later\r\n");
        assert_eq!(read_to_close(&mut client), "");
        for _ in 0..10 {
            let mut next = program.connect();
            assert_eq!(read_line(&mut next), greeting);
        }
        program.stop();
        return;
    }
    panic!("descriptors do not run out");
}
