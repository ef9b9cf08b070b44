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

/// holds C-T1
#[test]
fn usage_and_absence_have_codes_of_their_own() {
    let closed_port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap().port();
    for program in [env!("CARGO_BIN_EXE_echo-test"), env!("CARGO_BIN_EXE_smtp-test"), env!("CARGO_BIN_EXE_pop3-test")] {
        assert_eq!(run(program, &["no port"]).0, 64, "{program}");
        assert_eq!(run(program, &["1", "2"]).0, 64, "{program}");
        assert_eq!(run(program, &["--help"]).0, 0, "{program}");
        assert_eq!(run(program, &["--version"]).0, 0, "{program}");
        assert_eq!(run(program, &["--host", "127.0.0.1", &closed_port.to_string()]).0, 69, "{program}");
    }
    assert_eq!(run(env!("CARGO_BIN_EXE_smtp-test"), &[]).0, 64);
    assert_eq!(run(env!("CARGO_BIN_EXE_pop3-test"), &[]).0, 64);
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
