//! The testers as programs, against small servers that are right, or wrong in one way.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Answers one line of a client: what to send, and whether to close then.
type Answer = fn(&[u8]) -> (Vec<u8>, bool);

/// An echo server in the fewest words.
fn echo(line: &[u8]) -> (Vec<u8>, bool) {
    let line = line.strip_suffix(b"\r\n").unwrap_or(line);
    match line.strip_prefix(b"ECHO ") {
        Some(text) => ([b"+OK ", text, b"\r\n"].concat(), false),
        None if line == b"QUIT" => (b"+OK Goodbye!\r\n".to_vec(), true),
        None => (b"-ERR Unknown command\r\n".to_vec(), false),
    }
}

/// Serves one client after another on a port of the system's choice, until the test ends.
fn serve(answer: Answer) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that has gone ends its own connection only.
            let _ = talk(stream, answer);
        }
    });
    port
}

fn talk(mut stream: TcpStream, answer: Answer) -> std::io::Result<()> {
    stream.write_all(b"+OK Server ready (Author: A. Uthor / author)\r\n")?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let (reply, closes) = answer(&line);
        stream.write_all(&reply)?;
        if closes {
            break;
        }
        line.clear();
    }
    Ok(())
}

fn run(program: &str, arguments: &[&str]) -> (i32, String) {
    let Output { status, stdout, .. } = Command::new(program).args(arguments).output().expect("the tester runs");
    (status.code().unwrap_or(-1), String::from_utf8_lossy(&stdout).into_owned())
}

fn echo_test(answer: Answer) -> (i32, String) {
    run(env!("CARGO_BIN_EXE_echo-test"), &["--host", "127.0.0.1", &serve(answer).to_string()])
}

/// holds C-T1 and C-T2
#[test]
fn a_right_server_gets_the_output_of_the_assignment() {
    let expected = "\
S: +OK Server ready (Author: A. Uthor / author)<CR><LF> [OK]
C: ECHO Hello world!<CR><LF>
S: +OK Hello world!<CR><LF> [OK]
C: BLAH<CR><LF>
S: -ERR Unknown command<CR><LF> [OK]
C: ECH
C: O blah<CR><LF>EC
S: +OK blah<CR><LF> [OK]
C: HO blubb<CR><LF>ECHO xyz<CR><LF>
S: +OK blubb<CR><LF> [OK]
S: +OK xyz<CR><LF> [OK]
C: QUIT<CR><LF>
S: +OK Goodbye!<CR><LF> [OK]
";
    assert_eq!(echo_test(echo), (0, expected.to_owned()));
}

/// holds C-T1
#[test]
fn a_wrong_text_is_annotated_and_the_dialogue_goes_on() {
    let (code, output) = echo_test(|line| match line {
        b"BLAH\r\n" => (b"-ERR unknown \xabcommand\r\n".to_vec(), false),
        line => echo(line),
    });
    assert_eq!(code, 1);
    let annotated = "S: -ERR unknown <0xAB>command<CR><LF> [expected `-ERR Unknown command<CR><LF>`]\n";
    assert!(output.contains(annotated) && output.contains("S: +OK Goodbye!<CR><LF> [OK]"), "{output}");
}

/// holds C-T1
#[test]
fn each_kind_of_wrong_server_is_found() {
    let wrong: [(Answer, &str); 5] = [
        // The zero octets that telnet does not show.
        (|line| ([echo(line).0, vec![0]].concat(), echo(line).1), "<0x00>"),
        // A bare LF where CR LF belongs.
        (|line| (echo(line).0.into_iter().filter(|&octet| octet != b'\r').collect(), echo(line).1), "world!<LF> ["),
        // Closes instead of answering.
        (|_| (Vec::new(), true), "the end of the connection"),
        // Says more than it was asked.
        (|line| ([echo(line).0, b"+OK\r\n".to_vec()].concat(), echo(line).1), "+OK<CR><LF> [expected"),
        // Says goodbye and one thing more.
        (|line| if echo(line).1 { (b"+OK Goodbye!\r\n!".to_vec(), true) } else { echo(line) }, "S: ! [expected"),
    ];
    for (answer, shown) in wrong {
        let (code, output) = echo_test(answer);
        assert!(code == 1 && output.contains(shown), "{shown}: {code}\n{output}");
    }
}

/// Serves one client after another as `new` makes each connection's answers, behind this greeting.
fn serve_dialogue<A>(greeting: &'static str, new: impl Fn() -> A + Send + 'static) -> u16
where
    A: FnMut(&str) -> (String, bool),
{
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that has gone ends its own connection only.
            let _ = dialogue(stream, greeting, new());
        }
    });
    port
}

fn dialogue(stream: TcpStream, greeting: &str, mut answer: impl FnMut(&str) -> (String, bool)) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    stream.write_all(greeting.as_bytes())?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        let (reply, closes) = answer(line.trim_end());
        stream.write_all(reply.as_bytes())?;
        if closes {
            break;
        }
        line.clear();
    }
    Ok(())
}

/// Replies to commands, by how those begin: what stands here first counts.
type Replies = &'static [(&'static str, &'static str)];

/// An SMTP server in the fewest words.
const SMTP: Replies = &[
    ("HELO", "250 localhost\r\n"),
    ("RCPT TO:<no.such.user", "550 no such user\r\n"),
    ("DATA", "354 go on\r\n"),
    (".", "250 OK\r\n"),
    ("QUIT", "221 bye\r\n"),
    ("", "250 OK\r\n"),
];

/// What `smtp-test` says of a server that replies so, and else as [`SMTP`]. A 421 closes.
fn smtp_test(greeting: &'static str, replies: Replies) -> (i32, String) {
    let port = serve_dialogue(greeting, move || {
        let mut in_text = false;
        move |line: &str| {
            if in_text && line != "." {
                return (String::new(), false);
            }
            let said = if in_text { &SMTP[3..4] } else { SMTP };
            let begins = |(word, _): &&(&str, &str)| line.starts_with(word);
            let (_, reply) = replies.iter().chain(said).find(begins).expect("the last of them fits all");
            in_text = reply.starts_with("354");
            ((*reply).to_owned(), line == "QUIT" || reply.starts_with("421"))
        }
    });
    run(env!("CARGO_BIN_EXE_smtp-test"), &["--host", "127.0.0.1", &port.to_string()])
}

/// Other servers say what the RFC lets them: several lines, other texts, enhanced codes, 251.
///
/// holds C-T1
#[test]
fn every_legal_reply_of_an_smtp_server_is_right() {
    let servers: [(&str, Replies); 5] = [
        ("220 ready\r\n", &[]),
        ("220\r\n", &[("HELO", "250\r\n"), ("RCPT TO:<no.such", "553 5.1.1 unknown\r\n"), ("QUIT", "221\r\n")]),
        (
            "220-mail.example ESMTP\r\n220-\r\n220 no advertising\r\n",
            &[("HELO", "250-mail.example\r\n250 Hello, localhost [127.0.0.1]\r\n")],
        ),
        (
            "220 ready\r\n",
            &[
                ("MAIL", "250-2.1.0 sender\r\n250 2.1.0 OK\r\n"),
                ("RCPT TO:<no.such", "550-5.1.1 The mailbox\r\n550-5.1.1 is not there:\r\n550 5.1.1 look again\r\n"),
                ("RCPT", "251 User not local; will forward to <linhphan@mail.example>\r\n"),
                ("DATA", "354-Begin\r\n354 end with a dot\r\n"),
                (".", "250-2.6.0 Queued\r\n250 as 12345\r\n"),
                ("QUIT", "221-2.0.0 Bye\r\n221 closing\r\n"),
            ],
        ),
        ("220 f\u{fc}r alle\r\n", &[("HELO", "250 \ttab\r\n")]),
    ];
    for (greeting, replies) in servers {
        let (code, output) = smtp_test(greeting, replies);
        assert!(code == 0 && !output.contains("[expected"), "{greeting:?}: {code}\n{output}");
        // Each line of a reply is shown by itself.
        let lines = greeting.matches('\n').count()
            + replies.iter().map(|(_, reply)| reply.matches('\n').count()).sum::<usize>();
        assert!(output.matches(" [OK]").count() >= lines, "{output}");
    }
}

/// holds C-T1
#[test]
fn every_wrong_reply_of_an_smtp_server_is_annotated() {
    let servers: [(&str, Replies, &str); 12] = [
        ("554 not here\r\n", &[], "S: 554 not here<CR><LF> [expected a reply `220`]"),
        ("220 ready\n", &[], "S: 220 ready<LF> [expected a reply `220`]"),
        ("2200 ready\r\n", &[], "S: 2200 ready<CR><LF> [expected a reply `220`]"),
        ("220 ready\0\r\n", &[], "S: 220 ready<0x00><CR><LF> [expected a reply `220`]"),
        ("220-one\r\n221 two\r\n", &[], "S: 221 two<CR><LF> [expected `220` again, as in the line before]"),
        ("220-one\r\nand two\r\n", &[], "S: and two<CR><LF> [expected `220` again, as in the line before]"),
        ("220 ready\r\n", &[("HELO", "250OK\r\n")], "S: 250OK<CR><LF> [expected a reply `250`]"),
        ("220 ready\r\n", &[("MAIL", "251 OK\r\n")], "S: 251 OK<CR><LF> [expected a reply `250`]"),
        ("220 ready\r\n", &[("RCPT TO:<no.such", "250 OK\r\n")], "S: 250 OK<CR><LF> [expected a reply `5yz`]"),
        ("220 ready\r\n", &[("RCPT TO:<linh", "252 OK\r\n")], "S: 252 OK<CR><LF> [expected a reply `250` or `251`]"),
        ("220 ready\r\n", &[(".", "554-no\r\n554 no\r\n")], "S: 554-no<CR><LF> [expected a reply `250`]"),
        ("220 ready\r\n", &[("QUIT", "250 OK\r\n")], "S: 250 OK<CR><LF> [expected a reply `221`]"),
    ];
    for (greeting, replies, annotated) in servers {
        let (code, output) = smtp_test(greeting, replies);
        assert!(code == 1 && output.contains(&format!("{annotated}\n")), "{annotated}: {code}\n{output}");
        assert!(output.contains("C: QUIT<CR><LF>\nS: 2"), "the dialogue ends in good manners: {output}");
    }
    // A reply without an end is none.
    let (code, output) = smtp_test("220 ready\r\n", &[("MAIL", "421-going\r\n")]);
    assert!(code == 1 && output.contains("S:  [expected a reply `250`]"), "{output}");
}

/// What depends on a refused command is not sent: the text would be taken for commands.
///
/// holds C-T1
#[test]
fn what_was_refused_is_not_insisted_on() {
    let refusals: [(Replies, &str); 4] = [
        (&[("HELO", "502 no\r\n")], "C: MAIL"),
        (&[("MAIL", "550 no\r\n")], "C: RCPT"),
        (&[("RCPT TO:<linhphan", "450-not\r\n450 now\r\n")], "C: DATA"),
        (&[("DATA", "451 no\r\n")], "C: From:"),
    ];
    for (replies, left_out) in refusals {
        let (code, output) = smtp_test("220 ready\r\n", replies);
        assert_eq!(code, 1, "{output}");
        assert!(!output.contains(left_out) && !output.contains("C: Subject"), "{left_out}: {output}");
        assert!(
            output.ends_with(&format!("C: QUIT<CR><LF>\nS: 221 bye<CR><LF> [OK]\n{}\n", wrong(&output))),
            "{output}"
        );
    }
    // The server has said that it closes.
    let (code, output) = smtp_test("220 ready\r\n", &[("RCPT TO:<linhphan", "421 closing\r\n")]);
    assert!(code == 1 && !output.contains("C: QUIT"), "{output}");
}

/// The last line, which says again what was wrong first.
fn wrong(output: &str) -> &str {
    let last = output.lines().last().unwrap_or_default();
    assert!(last.starts_with("wrong: expected "), "{output}");
    last
}

/// The message as `smtp-test` sends it, dots stuffed.
const MESSAGE: &str = "\
From: <linhphan@localhost>\r
To: <linhphan@localhost>\r
Subject: A test of the mail server\r
\r
The next line begins with a dot:\r
..this one\r
The next line is empty:\r
\r
This is not the end of the mail:\r
..\r
And here ends this mail, the octets of which count up to 264.\r
";

/// What `pop3-test` says of a server that sends this message, counts so many octets, and answers so, else as it should.
fn pop3_test(message: String, octets: usize, replies: Replies) -> (i32, String) {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let is_gone = Arc::new(AtomicBool::new(false));
    let port = serve_dialogue("+OK\r\n", move || {
        let (message, is_gone) = (message.clone(), Arc::clone(&is_gone));
        let mut is_deleted = is_gone.load(Ordering::SeqCst);
        move |line: &str| {
            let reply = match line {
                _ if let Some((_, reply)) = replies.iter().find(|(word, _)| line == *word && !is_deleted) => {
                    (*reply).to_owned()
                }
                "STAT" if is_deleted => "+OK 0 0\r\n".to_owned(),
                "LIST" | "UIDL" if is_deleted => "+OK\r\n.\r\n".to_owned(),
                "RETR 1" if is_deleted => "-ERR\r\n".to_owned(),
                "STAT" => format!("+OK 1 {octets}\r\n"),
                "LIST" => format!("+OK\r\n1 {octets}\r\n.\r\n"),
                "UIDL" => "+OK\r\n1 abc\r\n.\r\n".to_owned(),
                "UIDL 1" => "+OK 1 abc\r\n".to_owned(),
                "RETR 1" => format!("+OK\r\n{message}.\r\n"),
                "DELE 1" => {
                    is_deleted = true;
                    "+OK\r\n".to_owned()
                }
                _ => "+OK\r\n".to_owned(),
            };
            if line == "QUIT" {
                is_gone.store(is_deleted, Ordering::SeqCst);
            }
            (reply, line == "QUIT")
        }
    });
    run(env!("CARGO_BIN_EXE_pop3-test"), &["--host", "127.0.0.1", &port.to_string()])
}

/// What RFC 1939 leaves open may be as it likes: texts, what follows a size, fields that were put into the header.
///
/// holds C-T1
#[test]
fn every_legal_answer_of_a_pop3_server_is_right() {
    let trace = "Return-Path: <linhphan@localhost>\r\nReceived: from localhost\r\n\tby mail.example;\r\n  today\r\n";
    let dated = MESSAGE.replacen("Subject", "Date: today\r\nSubject", 1);
    let servers: [(String, usize, Replies); 4] = [
        (MESSAGE.to_owned(), 264, &[]),
        (format!("{trace}{MESSAGE}"), 264 + trace.len(), &[("USER linhphan", "+OK linhphan? \r\n")]),
        (dated, 264 + 13, &[]),
        (
            MESSAGE.to_owned(),
            264,
            &[("STAT", "+OK 1 264 octets\r\n"), ("LIST", "+OK 1 message (264 octets)\r\n1 264 octets\r\n.\r\n")],
        ),
    ];
    for (message, octets, replies) in servers {
        let (code, output) = pop3_test(message, octets, replies);
        assert!(code == 0 && !output.contains("[expected"), "{code}\n{output}");
    }
}

/// holds C-T1
#[test]
fn each_wrong_line_of_a_message_is_annotated_where_it_stands() {
    let servers: [(String, usize, &[&str]); 7] = [
        (
            MESSAGE.replace("To: <linhphan", "To: <linphan"),
            263,
            &["S: To: <linphan@localhost><CR><LF> [expected `To: <linhphan@localhost><CR><LF>`]"],
        ),
        (
            MESSAGE.replace("\r\n..this one", "\r\n.this one").replace("empty", "full"),
            262,
            &[
                "S: .this one<CR><LF> [expected `..this one<CR><LF>`]",
                "S: The next line is full:<CR><LF> [expected `The next line is empty:<CR><LF>`]",
            ],
        ),
        (
            MESSAGE.replace("The next line is empty:\r\n", ""),
            239,
            &["S: <CR><LF> [expected `The next line is empty:<CR><LF>`]"],
        ),
        (
            MESSAGE.replacen("\r\n\r\n", "\r\nX: y\r\n\r\n\r\n", 1),
            272,
            &["S: <CR><LF> [expected `The next line begins"],
        ),
        (MESSAGE.replace("one\r\n", "one\n"), 263, &["S: ..this one<LF> [expected `..this one<CR><LF>`]"]),
        (format!("{MESSAGE}\r\n"), 266, &["S: <CR><LF> [expected `.<CR><LF>` behind"]),
        (
            MESSAGE.to_owned(),
            300,
            &["S: .<CR><LF> [expected `.<CR><LF>` behind 300 octets, as STAT and LIST said; there were 264]"],
        ),
    ];
    for (message, octets, annotated) in servers {
        let (code, output) = pop3_test(message, octets, &[]);
        assert_eq!(code, 1, "{output}");
        for line in annotated {
            assert!(output.contains(line), "{line}:\n{output}");
        }
        // Every other line is right, up to the end of the message; and it is not deleted.
        assert_eq!(output.matches("[expected").count(), annotated.len(), "{output}");
        assert!(!output.contains("C: DELE"), "{output}");
    }
}

/// holds C-T1
#[test]
fn wrong_answers_of_a_pop3_server_are_annotated() {
    let servers: [(Replies, &str); 6] = [
        (&[("PASS cis505", "+OKAY\r\n")], "S: +OKAY<CR><LF> [expected `+OK`]"),
        (&[("STAT", "+OK 2 528\r\n")], "S: +OK 2 528<CR><LF> [expected `+OK 1 `"),
        (&[("LIST", "+OK\r\n1 265\r\n.\r\n")], "S: 1 265<CR><LF> [expected `1 264<CR><LF>`]"),
        (&[("LIST", "+OK\r\n1  264\r\n.\r\n")], "S: 1  264<CR><LF> [expected `1 264<CR><LF>`]"),
        (&[("UIDL", "+OK\r\n1 a b\r\n.\r\n")], "S: 1 a b<CR><LF> [expected `1 `, a unique id"),
        (&[("UIDL 1", "+OK 1 abd\r\n")], "S: +OK 1 abd<CR><LF> [expected `+OK 1 abc<CR><LF>`]"),
    ];
    for (replies, annotated) in servers {
        let (code, output) = pop3_test(MESSAGE.to_owned(), 264, replies);
        assert!(code == 1 && output.contains(annotated), "{annotated}: {code}\n{output}");
    }
}

/// holds C-T1
#[test]
fn usage_and_absence_have_codes_of_their_own() {
    let closed_port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap().port();
    for program in [env!("CARGO_BIN_EXE_echo-test"), env!("CARGO_BIN_EXE_smtp-test"), env!("CARGO_BIN_EXE_pop3-test")] {
        assert_eq!(run(program, &["no port"]).0, 64, "{program}");
        let stderr = Command::new(program).arg("-1").output().expect("the tester runs").stderr;
        let stderr = String::from_utf8_lossy(&stderr);
        assert!(stderr.contains("-1 is not in 0..=65535") && stderr.contains("Usage: "), "{program}: {stderr}");
        assert_eq!(run(program, &["1", "2"]).0, 64, "{program}");
        assert_eq!(run(program, &["--help"]).0, 0, "{program}");
        // By the program's name: it is not the crate's.
        let name = program.rsplit('/').next().unwrap();
        assert_eq!(run(program, &["-V"]), (0, format!("{name} {}\n", env!("CARGO_PKG_VERSION"))));
        assert_eq!(run(program, &["--version"]).0, 0, "{program}");
        assert_eq!(run(program, &["--host", "127.0.0.1", &closed_port.to_string()]).0, 69, "{program}");
    }
    assert_eq!(run(env!("CARGO_BIN_EXE_smtp-test"), &[]).0, 64);
    assert_eq!(run(env!("CARGO_BIN_EXE_pop3-test"), &[]).0, 64);
}

/// What nobody can read is no success, but the judgement comes first. A reader that has gone has read what it wanted.
///
/// holds C-T1
#[test]
fn output_that_cannot_be_written_has_a_code_of_its_own() {
    let [right, wrong] =
        [serve(echo), serve(|line| if line == b"BLAH\r\n" { (b"+OK\r\n".into(), false) } else { echo(line) })];
    let program = env!("CARGO_BIN_EXE_echo-test");
    for (arguments, code) in [
        (vec!["--host".to_owned(), "127.0.0.1".to_owned(), right.to_string()], 0),
        (vec!["--host".to_owned(), "127.0.0.1".to_owned(), wrong.to_string()], 1),
        (vec!["-h".to_owned()], 0),
        (vec!["-V".to_owned()], 0),
    ] {
        let run = |stdout: Stdio| {
            let output = Command::new(program).args(&arguments).stdout(stdout).stderr(Stdio::piped()).output();
            let output = output.expect("the tester runs");
            (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("there is a full device");
        let (full, told) = run(full.into());
        assert_eq!(full, Some(if code == 0 { 74 } else { code }), "{arguments:?}");
        assert!(told.contains("stdout: No space left"), "{arguments:?}: {told}");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        assert_eq!(run(writer.into()), (Some(code), String::new()), "{arguments:?}");
    }
}

/// A tester that was stopped while it waited for a reply (Ctrl+Z) waits on when it continues.
///
/// holds C-T1
#[test]
fn a_tester_may_be_stopped_and_continued() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = listener.local_addr().expect("a bound socket has an address").port().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_echo-test"));
    let mut tester = command.args(["--host", "127.0.0.1", &port]).stdout(Stdio::null()).spawn().expect("it runs");
    let (stream, _) = listener.accept().expect("the tester connects");
    for (signal, state) in [(None, 'S'), (Some("STOP"), 'T'), (Some("CONT"), 'S')] {
        if let Some(signal) = signal {
            let kill = format!("kill -{signal} {}", tester.id());
            assert!(Command::new("sh").args(["-c", &kill]).status().expect("there is a shell").success());
        }
        await_state(tester.id(), state);
    }
    talk(stream, echo).expect("the dialogue");
    assert_eq!(tester.wait().expect("it ends").code(), Some(0));
}

/// Waits until a process is in this state: `S` waits, `T` is stopped.
fn await_state(pid: u32, state: char) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
        // Behind the name, which is in parentheses.
        if stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(state)) {
            return;
        }
        assert!(Instant::now() < deadline, "never in state {state}: {stat}");
        thread::yield_now();
    }
}
