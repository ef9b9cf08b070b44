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
    assert!(hints.contains("Mail for other domains waits in mailtest/mqueue; "), "{hints}");
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

/// holds C-C7
#[test]
fn serve_says_which_option_takes_another_port() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    for (option, other) in [("--smtp", "--pop3"), ("--pop3", "--smtp")] {
        // Each its own: what a program that has to end at once leaves behind, the next one removes and says so.
        let home = TempDir::new().unwrap();
        let mut command = Command::new(binary("pillarbox"));
        command.args(["serve", option, &at.to_string(), other, "127.0.0.1:0"]).current_dir(home.path());
        let output = command.output().unwrap();
        let expected = format!(
            "pillarbox: port {} on 127.0.0.1 is in use by another program; choose another with {option}\n",
            at.port()
        );
        assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(69), expected));
    }
}

/// What the start text names can be typed as it stands, from where the program was started. holds C-C6
#[test]
fn hints_name_the_program_as_it_was_called_and_the_folder_as_a_shell_takes_it() {
    let home = TempDir::new().unwrap();
    let dir = "it's my mail";
    fs::create_dir(home.path().join(dir)).unwrap();
    for program in ["pillarbox", "forward"] {
        std::os::unix::fs::symlink(binary(program), home.path().join(program)).unwrap();
    }
    let mut command = Command::new("./pillarbox");
    command.args(["serve", "--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0", dir]).current_dir(home.path());
    let mut program = Program::listen(command, 2);
    let mut hints = Vec::new();
    while hints.len() < 5 {
        hints.push(program.line().expect("more hints"));
    }
    let run = |hint: &str| {
        let hint = hint.trim().replace("NAME", "linhphan");
        let output = Command::new("sh").args(["-c", &hint]).current_dir(home.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{hint}: {output:?}");
    };
    assert_eq!(hints[2], "  ./pillarbox user add NAME --dir 'it'\\''s my mail'");
    assert_eq!(hints[4], "  ./forward 'it'\\''s my mail'");
    run(&hints[2]);
    run(&hints[4]);
    assert!(home.path().join(dir).join("linhphan.mbox").exists());
    program.stop();
}
