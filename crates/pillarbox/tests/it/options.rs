//! Command lines: options, exit codes, what is printed where (C-C6, C-C7).

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use pillarbox::author::AUTHOR;
use tempfile::TempDir;

use crate::program::{Program, binary, read_line};

const SERVERS: [&str; 3] = ["echoserver", "smtp", "pop3"];

pub(crate) fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(binary(program)).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Runs a program that must refuse: the exit code, one of these words on stderr, nothing on stdout.
fn check_refused(program: &str, arguments: &[&str], code: i32, words: &str) {
    let output = run(program, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{program} {arguments:?}: {stderr}");
    assert!(stderr.contains(words), "{program} {arguments:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{program} {arguments:?}");
}

/// holds C-C6
#[test]
fn the_author_needs_no_folder_and_opens_no_port() {
    for program in SERVERS {
        for arguments in [&["-a"][..], &["--author"], &["-v", "-a", "-p", "1"], &["nowhere", "-a"]] {
            if program == "echoserver" && arguments[0] == "nowhere" {
                continue;
            }
            let output = run(program, arguments);
            assert_eq!(output.status.code(), Some(0), "{program} {arguments:?}");
            assert_eq!(String::from_utf8_lossy(&output.stderr), format!("{AUTHOR}\n"));
            assert!(output.stdout.is_empty());
        }
    }
}

/// holds C-C6
#[test]
fn wrong_command_lines_exit_64_with_a_usage_line() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path().to_str().unwrap();
    for program in SERVERS {
        for arguments in [&["-x"][..], &["-p"], &["-p", "http"], &["-p", "65536"], &["-p", "-1"], &["--listen", "x"]] {
            check_refused(program, arguments, 64, "Usage:");
        }
        check_refused(program, &["-p", "-1"], 64, "invalid value '-1' for '--port <PORT>': -1 is not in 0..=65535");
    }
    check_refused("smtp", &[], 64, "Usage:");
    check_refused("pop3", &["-v"], 64, "Usage:");
    check_refused("smtp", &[dir, dir], 64, "Usage:");
    check_refused("echoserver", &[dir], 64, "Usage:");
    check_refused("pillarbox", &[], 64, "Usage:");
    check_refused("pillarbox", &["serve", "--smtp", "0.0.0.0:0", dir], 64, "loopback");
    check_refused("pillarbox", &["serve", "--port", "25", dir], 64, "'--port'");
    // Not another program has it.
    for pop3 in ["2599", "127.0.0.1:2599", "[::1]:2599"] {
        let equal = "SMTP and POP3 cannot both have port 2599; choose another with --pop3";
        check_refused("pillarbox", &["serve", "--smtp", "2599", "--pop3", pop3, dir], 64, equal);
    }
    check_refused("pillarbox", &["user", "add", "../x", "--dir", dir], 64, "letters");
}

/// What was wrong, what would be right, and the usage line of the very command.
///
/// holds C-C6
#[test]
fn wrong_command_lines_are_told_what_would_be_right() {
    for (program, arguments, words) in [
        ("pillarbox", &["serve", "--max-connections", "0"][..], "not a number from 1 on; 10000 is usual"),
        ("pillarbox", &["serve", "--max-connections", "-1"], "not a number from 1 on; 10000 is usual"),
        ("pillarbox", &["serve", "--max-connections", "0"], "Usage: pillarbox serve [OPTIONS] [DIR]"),
        ("pillarbox", &["serve", "--smtp", "-1"], "invalid value '-1' for '--smtp <[ADDR:]PORT>': not a port"),
        ("pillarbox", &["serve", "--forward-every", "-1"], "not a time like 30s, 1m or 2h"),
        ("pillarbox", &["serve", "--timeout", "soon"], "Usage: pillarbox serve [OPTIONS] [DIR]"),
        ("pillarbox", &["torture", "--clients", "-1", "x"], "Usage: pillarbox torture [OPTIONS] <DIR>"),
        ("pillarbox", &["user", "add"], "Usage: pillarbox user add <NAME> [DIR]"),
        ("pillarbox", &["user", "list", "a", "b"], "Usage: pillarbox user list [OPTIONS] [DIR]"),
        ("pillarbox", &["user"], "Usage: pillarbox user <COMMAND>"),
        ("pillarbox", &["fsck"], "Usage: pillarbox fsck <DIR>"),
        ("pillarbox", &["sing"], "Usage: pillarbox <COMMAND>"),
        ("smtp", &["--max-size", "-1"], "invalid value '-1' for '--max-size <OCTETS>'"),
        ("smtp", &[], "Usage: smtp [OPTIONS] <DIR>"),
        ("pop3", &["-p", "x"], "Usage: pop3 [OPTIONS] <DIR>"),
        ("forward", &["--port", "-1"], "Usage: forward [OPTIONS] <DIR>"),
    ] {
        check_refused(program, arguments, 64, words);
    }
}

/// DIR may be named as all programs name it.
#[test]
fn user_takes_its_folder_as_an_operand_too() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().to_str().unwrap();
    assert_eq!(run("pillarbox", &["user", "add", "linhphan", path]).status.code(), Some(0));
    assert_eq!(run("pillarbox", &["user", "list", path]).stdout, b"linhphan\n");
    check_refused("pillarbox", &["user", "list", path, "--dir", path], 64, "cannot be used with");
}

/// The next step is in the message.
///
/// holds C-C6
#[test]
fn a_folder_or_mailbox_that_is_none_is_told_with_what_can_be_done() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().to_str().unwrap();
    let [absent, file] = ["absent", "file"].map(|name| dir.path().join(name));
    fs::write(&file, "").unwrap();
    let [absent, file] = [&absent, &file].map(|path| path.to_str().unwrap());
    for arguments in [&["smtp"][..], &["pop3"], &["forward"], &["pillarbox", "serve"], &["pillarbox", "fsck"]] {
        let (program, before) = arguments.split_first().unwrap();
        let with = |dir| [before, &[dir]].concat();
        check_refused(program, &with(absent), 66, "absent: no such folder; make it with mkdir, or name another");
        check_refused(program, &with(file), 66, "file: is not a folder; name the folder with the mailboxes");
    }
    for arguments in [&["user", "list"][..], &["user", "add", "a"]] {
        check_refused("pillarbox", &[arguments, &[absent]].concat(), 66, "make it with mkdir");
    }
    for (name, make) in [
        ("folder", &(|path: &Path| fs::create_dir(path).unwrap()) as &dyn Fn(&Path)),
        ("link", &|path| symlink("elsewhere", path).unwrap()),
    ] {
        make(&dir.path().join(format!("{name}.mbox")));
        let words = format!("{path}/{name}.mbox: is there already, but is no plain file, so no mailbox; move it");
        check_refused("pillarbox", &["user", "add", name, path], 73, &words);
    }
}

/// Programs whose results are on stdout, each with the exit code that they have where those can be read.
fn with_results(dir: &str, damaged: &str) -> Vec<(&'static str, Vec<String>, i32)> {
    let mut all = Vec::new();
    for program in ["echoserver", "smtp", "pop3", "forward", "pillarbox"] {
        all.extend(["-h", "-V"].map(|option| (program, vec![option.to_owned()], 0)));
    }
    for (arguments, code) in [
        (vec!["user", "add", "linhphan", dir], 0),
        (vec!["user", "list", dir], 0),
        (vec!["user", "list", "--json", dir], 0),
        (vec!["fsck", dir], 0),
        (vec!["fsck", "--json", dir], 0),
        (vec!["fsck", damaged], 65),
    ] {
        all.push(("pillarbox", arguments.into_iter().map(str::to_owned).collect(), code));
    }
    let timeout = ["--timeout", "1s", "--resolver", "127.0.0.1:9", dir];
    all.push(("forward", timeout.map(str::to_owned).into(), 75));
    all
}

/// Results that are written nowhere are no success; what else went wrong is the more important. A reader that has gone has
/// read what it wanted.
#[test]
fn results_that_cannot_be_written_exit_74_and_a_closed_pipe_is_quiet() {
    let (dir, damaged) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::write(dir.path().join("linhphan.mbox"), "").unwrap();
    let queued = "From <a@localhost> Mon Aug 22 23:00:00 2016\nX-Envelope-To: <b@example.org>\n\nHi\r\n\n";
    fs::write(dir.path().join("mqueue"), queued).unwrap();
    fs::write(damaged.path().join("linhphan.mbox"), "no From line\n").unwrap();
    let [dir, damaged] = [&dir, &damaged].map(|dir| dir.path().to_str().unwrap());
    for (program, arguments, code) in with_results(dir, damaged) {
        let ran = |stdout: Stdio| {
            let output =
                Command::new(binary(program)).args(&arguments).stdout(stdout).stderr(Stdio::piped()).output().unwrap();
            // What a process that has ended in the middle of something has left, the next one removes and says so.
            let told = String::from_utf8(output.stderr).unwrap();
            let told = told.split_inclusive('\n').filter(|line| !line.contains("leftover file"));
            (output.status.code().unwrap(), told.collect::<String>())
        };
        let (usual, quiet) = ran(Stdio::null());
        assert_eq!(usual, code, "{program} {arguments:?}: {quiet}");
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let (full, told) = ran(full.into());
        assert_eq!(full, if code == 0 { 74 } else { code }, "{program} {arguments:?}");
        assert!(told.contains("stdout: No space left"), "{program} {arguments:?}: {told}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(ran(writer.into()), (code, quiet), "{program} {arguments:?}");
    }
}

/// holds C-C6
#[test]
fn help_and_version_exit_0_on_stdout() {
    for program in ["echoserver", "smtp", "pop3", "pillarbox"] {
        for option in ["-h", "--help", "-V", "--version"] {
            let output = run(program, &[option]);
            assert_eq!(output.status.code(), Some(0), "{program} {option}");
            assert!(String::from_utf8_lossy(&output.stdout).contains(program), "{program} {option}");
            assert!(output.stderr.is_empty(), "{program} {option}");
        }
    }
}

/// holds C-C6
#[test]
fn a_dir_that_cannot_be_used_exits_66() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for program in ["smtp", "pop3"] {
        check_refused(program, &["-p", "0", "/nonexistent/dir"], 66, "/nonexistent/dir: ");
        check_refused(program, &["-p", "0", file.to_str().unwrap()], 66, "not a folder");
    }
    // The superuser may write anywhere.
    if !nix::unistd::Uid::effective().is_root() {
        let closed = dir.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
        check_refused("smtp", &["-p", "0", closed.to_str().unwrap()], 66, "writable");
    }
}

/// holds C-C6
#[test]
fn the_last_of_an_option_given_twice_counts() {
    let mut command = Command::new(binary("echoserver"));
    command.args(["-p", "1", "-v", "-v", "-p", "0"]).stderr(Stdio::null());
    Program::listen(command, 1).stop();
}

/// holds C-C6
#[test]
fn a_port_in_use_exits_69_and_is_named() {
    let running = Program::start("echoserver", None, &[]);
    let port = running.listening[0].port().to_string();
    check_refused("echoserver", &["-p", &port], 69, &port);
}

/// holds C-C6 and C-C7
#[test]
fn options_mix_with_operands_and_both_loopbacks_get_one_port() {
    let dir = TempDir::new().unwrap();
    let link = dir.path().join("link");
    symlink(dir.path(), &link).unwrap();
    let mut command = Command::new(binary("smtp"));
    command.arg(&link).args(["--port", "0"]);
    let mut program = Program::listen(command, 1);
    let first = program.listening[0];
    assert!(first.ip().is_loopback() && first.port() != 0);
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        assert_eq!(program.line().unwrap(), format!("listening on [::1]:{}", first.port()));
    }
    assert!(read_line(&mut program.connect()).starts_with("220 localhost "));
    program.stop();
}

/// holds C-C6 and C-C7
#[test]
fn an_address_named_twice_exits_64_and_is_named() {
    for (addresses, words) in [
        (["127.0.0.1", "127.0.0.1"], "127.0.0.1 is named twice"),
        (["::1", "0:0:0:0:0:0:0:1"], "::1 is named twice"),
        (["0.0.0.0", "127.0.0.1"], "0.0.0.0 means every address of its kind, 127.0.0.1 too"),
        (["::1", "::"], ":: means every address of its kind, ::1 too"),
    ] {
        let [first, second] = addresses;
        check_refused("echoserver", &["-p", "0", "--listen", first, "--listen", second], 64, words);
    }
    // Different kinds do not get in each other's way.
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        let mut command = Command::new(binary("echoserver"));
        command.args(["-p", "0", "--listen", "0.0.0.0", "--listen", "::1"]).stderr(Stdio::null());
        Program::listen(command, 2).stop();
    }
}

/// holds C-C7
#[test]
fn other_addresses_are_taken_with_a_warning() {
    let dir = TempDir::new().unwrap();
    for (server, address, warning) in [
        ("echoserver", "127.0.0.2", None),
        ("echoserver", "0.0.0.0", Some("answers whoever asks")),
        ("smtp", "0.0.0.0", Some("takes mail from whoever sends it")),
        ("pop3", "127.0.0.2", None),
        ("pop3", "0.0.0.0", Some("the password is public")),
    ] {
        let mut command = Command::new(binary(server));
        command.args(["-p", "0", "--listen", address]).stderr(Stdio::piped());
        if server != "echoserver" {
            command.arg(dir.path());
        }
        let mut program = Program::listen(command, 1);
        assert_eq!(program.listening[0].ip().to_string(), address);
        let mut stderr = program.stderr();
        program.stop();
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        match warning {
            None => assert_eq!(text, "", "{server} on {address}"),
            Some(words) => assert!(text.starts_with("warning: ") && text.contains(words), "{server}: {text:?}"),
        }
        assert!(program.line().is_none(), "one address, one line");
    }
}
