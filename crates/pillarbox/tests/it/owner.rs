//! Whose files are, and who writes none. What needs the superuser is tried where the tests run as that, and said where not.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::unistd::Uid;
use tempfile::TempDir;

use crate::fsck::listing;
use crate::options::run;
use crate::program::{Program, binary, read_line};

/// A user and a group that are nobody's.
const NOBODY: (u32, u32) = (65_534, 65_533);

fn is_root() -> bool {
    Uid::effective().is_root()
}

/// A folder that others can reach, and a copy of a program in it, for those who cannot reach where it was built.
fn reachable(program: &str) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = dir.path().join(program);
    // Not by ourselves: a program that is open for writing somewhere cannot be run.
    assert!(Command::new("cp").arg(binary(program)).arg(&copy).status().unwrap().success());
    (dir, copy)
}

/// The program as somebody else when we are the superuser, who may write anywhere.
fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new(program);
    if is_root() {
        command.uid(NOBODY.0).gid(NOBODY.1);
    }
    command
}

/// Sends a message to linhphan and to somebody elsewhere.
fn deliver(program: &Program) {
    let mut smtp = program.connect();
    let commands = [
        "HELO localhost",
        "MAIL FROM:<a@localhost>",
        "RCPT TO:<linhphan@localhost>",
        "RCPT TO:<b@example.org>",
        "DATA",
        "Hi\r\n.",
    ];
    read_line(&mut smtp);
    for command in commands {
        smtp.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let reply = read_line(&mut smtp);
        assert!(reply.starts_with(if command == "DATA" { "354" } else { "250" }), "{command}: {reply}");
    }
}

/// What the superuser makes in a folder of somebody else is theirs: their own server must be able to work there.
#[test]
fn what_root_makes_in_a_folder_of_somebody_else_is_theirs() {
    if !is_root() {
        // Not by a macro, whose output is not shown when a test is well.
        let what = "not tried: only the superuser can give files away, and these tests do not run as root";
        writeln!(std::io::stderr(), "{what}").unwrap();
        return;
    }
    let (base, smtp) = reachable("smtp");
    let dir = base.path().join("mail");
    fs::create_dir(&dir).unwrap();
    chown(&dir, Some(NOBODY.0), Some(NOBODY.1)).unwrap();
    let path = dir.to_str().unwrap();

    assert_eq!(run("pillarbox", &["user", "add", "linhphan", path]).status.code(), Some(0));
    let all_are_theirs = || {
        for file in listing(&dir).into_keys() {
            let metadata = file.symlink_metadata().unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), NOBODY, "{}", file.display());
        }
    };
    all_are_theirs();

    let mut program = Program::start("smtp", Some(&dir), &[]);
    deliver(&program);
    all_are_theirs();
    let mut pop3 = Program::start("pop3", Some(&dir), &[]);
    let mut client = pop3.connect();
    client.write_all(b"USER linhphan\r\nPASS cis505\r\nDELE 1\r\nQUIT\r\n").unwrap();
    let replies: Vec<_> = (0..5).map(|_| read_line(&mut client)).collect();
    assert!(replies.iter().all(|reply| reply.starts_with("+OK")), "{replies:?}");
    all_are_theirs();
    pop3.stop();
    // It has a literal to try, so that it claims what it sends.
    let forwarded = run("forward", &["--timeout", "1s", "--resolver", "127.0.0.1:9", path]);
    assert_eq!(forwarded.status.code(), Some(75));
    all_are_theirs();
    program.stop();
    all_are_theirs();

    let mut command = unprivileged(&smtp);
    command.args(["-p", "0"]).arg(&dir);
    let mut program = Program::listen(command, 1);
    deliver(&program);
    program.stop();
}

/// `user list` and `fsck` write nothing, and need no right to.
#[test]
fn who_only_looks_writes_nothing() {
    let (base, pillarbox) = reachable("pillarbox");
    let dir = base.path().join("mail");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("linhphan.mbox"), "").unwrap();
    let looks = |command: fn(&Path) -> Command| {
        let before = listing(&dir);
        let path = dir.to_str().unwrap();
        for (arguments, said) in [
            (&["user", "list", path][..], "linhphan\n"),
            (&["user", "list", "--json", "--dir", path], "[\"linhphan\"]\n"),
            (&["fsck", path], "1 mailbox, 0 messages, 0 octets, 0 queued items: sound\n"),
        ] {
            let Output { status, stdout, stderr } =
                command(&pillarbox).args(arguments).stdin(Stdio::null()).output().unwrap();
            let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
            assert_eq!((status.code(), stdout.as_str()), (Some(0), said), "{arguments:?}: {stderr}");
        }
        assert_eq!(listing(&dir), before);
    };
    // No working folder is made, although that could be.
    looks(|program| Command::new(program));
    // And in a folder where nothing can be made. Only its owner can read a file without a trace.
    if is_root() {
        chown(dir.join("linhphan.mbox"), Some(NOBODY.0), Some(NOBODY.1)).unwrap();
    }
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o555)).unwrap();
    looks(unprivileged);
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
}
