//! `pillarbox serve` and `pillarbox user`: how many are served, the folder that is made, the mailboxes that are listed.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::options::run;
use crate::program::{Program, binary, read_line};
use crate::stop::read_to_close;

/// holds C-C1
#[test]
fn serve_takes_as_many_clients_as_it_is_told() {
    let home = TempDir::new().unwrap();
    let mut command = Command::new(binary("pillarbox"));
    command.args(["serve", "--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0", "--max-connections", "2"]);
    command.current_dir(home.path());
    let mut program = Program::listen(command, 2);
    let greeted = || {
        let mut client = program.connect();
        (read_line(&mut client), client)
    };
    let clients = [greeted(), greeted()];
    assert!(clients.iter().all(|(greeting, _)| greeting.starts_with("220 ")));
    let (refusal, mut third) = greeted();
    assert_eq!(refusal, "421 localhost Too many connections, try again later\r\n");
    assert_eq!(read_to_close(&mut third), "");
    // POP3 has as many for itself.
    let pop3 = std::net::TcpStream::connect(program.listening[1]).unwrap();
    assert_eq!(read_line(&mut { pop3 }), "+OK POP3 ready [localhost]\r\n");
    drop(clients);
    program.stop();
}

/// holds C-C1
#[test]
fn serve_leaves_a_quarter_of_scarce_descriptors_to_pop3() {
    let home = TempDir::new().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 208 && exec \"$0\" \"$@\""]).arg(binary("pillarbox"));
    command.args(["serve", "--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0"]).current_dir(home.path());
    let mut program = Program::listen(command, 2);
    // SMTP may have six of these eight, POP3 what is left.
    let mut clients = Vec::new();
    for (server, served) in [(0, 6), (1, 2)] {
        for n in 0..=served {
            let mut client = std::net::TcpStream::connect(program.listening[server]).unwrap();
            assert_eq!(read_line(&mut client).contains("Too many connections"), n == served, "client {n} of {server}");
            clients.push(client);
        }
    }
    program.stop();
}

/// Without DIR, `pillarbox serve` makes one with a mailbox; the hints it prints are true.
#[test]
fn serve_makes_a_folder_and_says_how_to_try_it() {
    let home = TempDir::new().unwrap();
    let mut command = Command::new(binary("pillarbox"));
    command.args(["serve", "--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0"]).current_dir(home.path());
    let mut program = Program::listen(command, 2);
    let mailboxes: Vec<_> = fs::read_dir(home.path().join("mailtest"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".mbox"))
        .collect();
    assert_eq!(mailboxes.len(), 1);
    let name = mailboxes[0].trim_end_matches(".mbox").to_owned();
    let mut hints = String::new();
    while !hints.contains("Ctrl+C") {
        hints += &(program.line().expect("more hints") + "\n");
    }
    assert!(hints.contains(&format!("--user {name}:cis505")), "{hints}");
    let pop3 = std::net::TcpStream::connect(program.listening[1]).unwrap();
    assert_eq!(read_line(&mut { pop3 }), "+OK POP3 ready [localhost]\r\n");
    program.stop();
}

#[test]
fn users_are_added_and_listed() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path().to_str().unwrap();
    for name in ["zives", "linhphan", "linhphan"] {
        assert_eq!(run("pillarbox", &["user", "add", name, "--dir", dir]).status.code(), Some(0));
    }
    let listed = run("pillarbox", &["user", "list", "--dir", dir]);
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "linhphan\nzives\n");
    let listed = run("pillarbox", &["user", "list", "--json", "--dir", dir]);
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "[\"linhphan\", \"zives\"]\n");
}

/// What others may have named is printed so that it steers no terminal.
#[test]
fn a_folder_whose_name_turns_the_line_around() {
    let home = TempDir::new().unwrap();
    let add = |dir: &str| {
        let mut command = Command::new(binary("pillarbox"));
        let output = command.args(["user", "add", "linhphan", "--dir", dir]).current_dir(home.path()).output().unwrap();
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    fs::create_dir(home.path().join("a\u{202e}b")).unwrap();
    let [said, complaint] = add("a\u{202e}b");
    assert_eq!(
        (said.trim_end(), complaint.as_str()),
        (r"linhphan@localhost receives mail in a\xE2\x80\xAEb/linhphan.mbox", "")
    );
    let [said, complaint] = add("a\u{202e}c\n");
    assert!(
        said.is_empty() && complaint.contains(r"a\xE2\x80\xAEc\x0A") && complaint.lines().count() == 1,
        "{complaint:?}"
    );
}
