//! `forward` and the queue, with a DNS and peers of our own (C-F).

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::dns::Dns;
use crate::fsck;
use crate::peer::{CLOSE, Peers, Rules, SILENT};
use crate::program::{PATIENCE, Program, binary, read_line};

/// A domain with one host, and one without.
const ZONE: &str = "example.org MX 10 mx.example.org
    mx.example.org A 127.0.0.2
    other.example MX 10 mx.other.example
    mx.other.example A 127.0.0.3
    null.example MX 0 .";

/// A folder, its `smtp`, a DNS and two peers.
struct Net {
    dir: TempDir,
    smtp: Program,
    dns: Dns,
    peers: Peers,
}

impl Net {
    async fn start(example: Rules, other: Rules) -> Self {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("linhphan.mbox"), "").unwrap();
        let smtp = Program::start("smtp", Some(dir.path()), &[]);
        let dns = Dns::start(ZONE).await;
        let peers = Peers::start(&[("127.0.0.2", example), ("127.0.0.3", other)]).await;
        Self { dir, smtp, dns, peers }
    }

    /// Sends a message through `smtp`; every reply must be as it should.
    fn send(&self, to: &[&str], text: &str) {
        let mut client = self.smtp.connect();
        let mut say = |line: &str, reply: &str| {
            client.write_all(format!("{line}\r\n").as_bytes()).unwrap();
            let said = read_line(&mut client);
            assert!(said.starts_with(reply), "{line}: {said}");
        };
        say("HELO c", "220");
        say("MAIL FROM:<me@localhost>", "250 localhost");
        for path in to {
            say(&format!("RCPT TO:<{path}>"), "250 OK");
        }
        say("DATA", "250 OK");
        say(&format!("{text}\r\n."), "354");
        say("QUIT", "250 OK");
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(binary("forward"));
        command.args(["--resolver", &self.dns.at.to_string(), "--port", &self.peers.port.to_string()]);
        command.args(options).arg(self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    fn spawn(&self) -> Child {
        self.command(&[]).spawn().unwrap()
    }

    async fn forward(&self, options: &[&str]) -> (i32, String) {
        let output = self.command(options).output().await.unwrap();
        (output.status.code().unwrap(), lines(&output))
    }

    fn queue(&self) -> String {
        queue(self.dir.path())
    }
}

fn queue(dir: &Path) -> String {
    fs::read_to_string(dir.join("mqueue")).unwrap()
}

/// What a run printed, sorted: items are sent side by side.
fn lines(output: &Output) -> String {
    let mut lines: Vec<_> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn signal(run: &Child, signal: Signal) {
    kill(Pid::from_raw(run.id().unwrap().try_into().unwrap()), signal).unwrap();
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited for: {what}");
        tokio::task::yield_now().await;
    }
}

/// holds C-F1, C-F3, C-F5 and C-F6
#[tokio::test]
async fn mail_for_elsewhere_is_queued_and_sent_on() {
    let net = Net::start(&[], &[]).await;
    net.send(&["linhphan@localhost", "a@example.org", "b@EXAMPLE.org"], "Subject: x\r\n\r\n..dot\r\nFrom here");
    let text = "Subject: x\r\n\r\n.dot\r\nFrom here\r\n";
    let stored = text.replace("\nFrom", "\n>From");
    assert!(fs::read_to_string(net.dir.path().join("linhphan.mbox")).unwrap().contains(&stored));
    assert!(
        net.queue().contains(&format!("X-Envelope-To: <a@example.org>\nX-Envelope-To: <b@EXAMPLE.org>\n\n{stored}"))
    );
    let (code, told) = net.forward(&[]).await;
    assert_eq!(
        (code, told.as_str()),
        (
            0,
            "a@example.org: delivered: 250 taken (mx.example.org)\n\
             b@EXAMPLE.org: delivered: 250 taken (mx.example.org)"
        )
    );
    assert_eq!(net.queue(), "");
    let heard = net.peers.heard("127.0.0.2");
    assert_eq!(heard.connections, 1, "one transaction for each message and domain");
    assert_eq!(heard.texts.len(), 1);
    let sent = String::from_utf8(heard.texts[0].clone()).unwrap();
    let received = sent.strip_suffix(text).expect("the text, octet for octet");
    assert!(received.starts_with("Received: from localhost ") && received.ends_with(" +0000\r\n"), "{received:?}");
    // Nothing is left to do.
    assert_eq!(net.forward(&[]).await, (0, String::new()));
}

/// holds C-F4 and C-F5
#[tokio::test]
async fn what_was_not_delivered_stays_and_only_that() {
    let net = Net::start(
        &[("RCPT TO:<bad@", "550 no such user"), ("RCPT TO:<slow@", "451 later")],
        &[("GREETING", "554 no")],
    )
    .await;
    net.send(&["good@example.org", "bad@example.org", "slow@example.org", "x@other.example", "y@null.example"], "one");
    net.send(&["good@example.org"], "two");
    net.send(&["z@nowhere.example"], "three");
    let (code, told) = net.forward(&[]).await;
    assert_eq!(code, 75);
    let told: Vec<_> = told.lines().collect();
    assert_eq!(told.len(), 7, "{told:#?}");
    assert_eq!(told[0], "bad@example.org: failed: 550 no such user (mx.example.org)");
    assert_eq!(told[1], "good@example.org: delivered: 250 taken (mx.example.org)");
    assert_eq!(told[2], told[1]);
    assert_eq!(told[3], "slow@example.org: deferred: 451 later (mx.example.org)");
    assert!(told[4].starts_with("x@other.example: failed: 554 no"), "{}", told[4]);
    assert!(told[5].starts_with("y@null.example: failed: "), "{}", told[5]);
    assert!(told[6].starts_with("z@nowhere.example: failed: "), "{}", told[6]);
    let left: Vec<_> =
        net.queue().lines().filter(|line| line.starts_with("X-Envelope-To")).map(str::to_owned).collect();
    let expected = ["bad@example.org", "slow@example.org", "x@other.example", "y@null.example", "z@nowhere.example"];
    assert_eq!(left, expected.map(|path| format!("X-Envelope-To: <{path}>")));
    assert!(net.queue().contains("\n\none\r\n\n") && net.queue().contains("\n\nthree\r\n\n"));
    assert!(!net.queue().contains("two"));
}

/// holds C-F3
#[tokio::test]
async fn silence_ends_at_the_cap() {
    let net = Net::start(&[("GREETING", SILENT)], &[]).await;
    net.send(&["a@example.org"], "x");
    net.send(&["b@other.example"], "x");
    let (code, told) = net.forward(&["--timeout", "1s"]).await;
    assert_eq!(code, 75);
    assert!(told.starts_with("a@example.org: deferred: "), "{told}");
    assert!(told.ends_with("b@other.example: delivered: 250 taken (mx.other.example)"), "{told}");
}

/// holds C-F4
#[tokio::test]
async fn two_at_once_send_nothing_twice() {
    let net = Net::start(&[], &[]).await;
    for number in 0..40 {
        net.send(&["a@example.org", "b@other.example"], &format!("message {number}"));
    }
    let runs = [net.spawn(), net.spawn(), net.spawn()];
    for run in runs {
        let code = run.wait_with_output().await.unwrap().status.code().unwrap();
        assert!(code == 0 || code == 75, "{code}");
    }
    // Whoever came late found what the others were sending.
    assert_eq!(net.forward(&[]).await.0, 0);
    assert_eq!(net.queue(), "");
    for address in ["127.0.0.2", "127.0.0.3"] {
        let mut texts = net.peers.heard(address).texts;
        assert_eq!(texts.len(), 40);
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), 40, "each once");
    }
}

/// holds C-F4
#[tokio::test]
async fn mail_may_come_while_the_queue_is_sent() {
    let net = Net::start(&[], &[]).await;
    for number in 0..20 {
        net.send(&["a@example.org"], &format!("message {number}"));
    }
    let mut run = net.spawn();
    let mut number = 20;
    while run.try_wait().unwrap().is_none() && number < 2000 {
        net.send(&["a@example.org"], &format!("message {number}"));
        number += 1;
        tokio::task::yield_now().await;
    }
    run.wait().await.unwrap();
    assert_eq!(net.forward(&[]).await.0, 0);
    let mut texts = net.peers.heard("127.0.0.2").texts;
    assert_eq!(texts.len(), number);
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), number, "each once");
}

/// holds C-F4
#[tokio::test]
async fn killed_before_the_final_dot_nothing_is_sent_and_nothing_lost() {
    for silent in [&[("GREETING", SILENT)][..], &[("EHLO", SILENT)], &[("RCPT", SILENT)], &[("DATA", SILENT)]] {
        let net = Net::start(silent, &[]).await;
        net.send(&["a@example.org"], "x");
        let before = net.queue();
        let mut run = net.spawn();
        until("a connection", || net.peers.heard("127.0.0.2").connections > 0).await;
        run.kill().await.unwrap();
        assert_eq!(net.queue(), before);
        fsck::expect(net.dir.path(), 0);
        assert!(net.peers.heard("127.0.0.2").texts.is_empty());
        // The claim died with its process.
        let polite = Net { peers: Peers::start(&[("127.0.0.2", &[])]).await, ..net };
        assert_eq!(polite.forward(&[]).await.0, 0);
        assert_eq!(polite.peers.heard("127.0.0.2").texts.len(), 1);
    }
}

/// holds C-F4
#[tokio::test]
async fn killed_anywhere_every_message_arrives() {
    let net = Net::start(&[], &[("RCPT TO:<no@", "550 no")]).await;
    let count = 60;
    for number in 0..count {
        net.send(&["a@example.org", "b@other.example", "no@other.example"], &format!("message {number}"));
    }
    let arrived = || net.peers.heard("127.0.0.2").texts.len() + net.peers.heard("127.0.0.3").texts.len();
    let mut kills = 0;
    // Each run is killed a few deliveries after the one before.
    for step in (0..2 * count).step_by(7) {
        let mut run = net.spawn();
        until("deliveries", || arrived() >= step.min(2 * count) || run.try_wait().unwrap().is_some()).await;
        kills += usize::from(run.try_wait().unwrap().is_none());
        run.kill().await.unwrap();
        let code = fsck::run(net.dir.path(), &[]).code;
        assert!([0, 75].contains(&code), "what a kill leaves waits for the next run, and is no damage: {code}");
    }
    assert_eq!(net.forward(&[]).await.0, 75, "the refused ones stay");
    fsck::expect(net.dir.path(), 0);
    let refused: Vec<_> =
        net.queue().lines().filter(|line| line.starts_with("X-Envelope-To")).map(str::to_owned).collect();
    assert_eq!(refused, vec!["X-Envelope-To: <no@other.example>".to_owned(); count]);
    for address in ["127.0.0.2", "127.0.0.3"] {
        let texts: Vec<_> =
            net.peers.heard(address).texts.iter().map(|text| String::from_utf8(text.clone()).unwrap()).collect();
        for number in 0..count {
            let copies = texts.iter().filter(|text| text.ends_with(&format!("\r\nmessage {number}\r\n"))).count();
            assert!(copies >= 1 && copies <= 1 + kills, "message {number}: {copies} copies");
        }
    }
}

/// holds C-F4
#[tokio::test]
async fn a_connection_lost_behind_the_final_dot_leaves_the_message_in_the_queue() {
    let net = Net::start(&[(".", CLOSE)], &[]).await;
    net.send(&["a@example.org"], "x");
    let before = net.queue();
    let (code, told) = net.forward(&[]).await;
    assert_eq!(code, 75);
    assert!(told.contains("deferred: connection lost before the reply to the final dot"), "{told}");
    assert_eq!(net.queue(), before);
}

/// holds C-F3
#[tokio::test]
async fn the_transcript_shows_both_sides() {
    let net = Net::start(&[], &[]).await;
    net.send(&["a@example.org"], "x");
    let output = net.command(&["-v"]).output().await.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    for text in
        ["New connection to 127.0.0.2:", "S: 220 peer ready", "C: RCPT TO:<a@example.org>", "S: 354 go on", "C: QUIT"]
    {
        let line = stderr.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{text} in {stderr}"));
        assert!(line.starts_with('[') && line.contains("] "), "{line}");
    }
    assert!(stderr.lines().any(|line| line.ends_with(" octets>")), "{stderr}");
    assert!(stderr.trim_end().ends_with("Connection closed"), "{stderr}");
}

/// holds C-F3
#[tokio::test]
async fn pillarbox_serve_sends_on_by_itself() {
    let net = Net::start(&[], &[]).await;
    net.send(&["a@example.org"], "x");
    let mut command = std::process::Command::new(binary("pillarbox"));
    command.args(["serve", "--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0", "--forward-every", "1s"]);
    command.args(["--resolver", &net.dns.at.to_string(), "--port", &net.peers.port.to_string()]);
    command.arg(net.dir.path()).stderr(Stdio::null());
    let mut program = tokio::task::spawn_blocking(|| Program::listen(command, 2)).await.unwrap();
    until("the first", || net.queue().is_empty()).await;
    net.send(&["b@example.org"], "x");
    until("the second", || net.queue().is_empty()).await;
    assert_eq!(net.peers.heard("127.0.0.2").texts.len(), 2);
    tokio::task::spawn_blocking(move || program.stop()).await.unwrap();
}

/// A stop signal ends a run that waits for a peer; the message stays.
///
/// holds C-C9
#[tokio::test]
async fn a_run_can_be_stopped() {
    let net = Net::start(&[("EHLO", SILENT)], &[]).await;
    net.send(&["a@example.org"], "x");
    let before = net.queue();
    let run = net.spawn();
    until("a connection", || net.peers.heard("127.0.0.2").connections > 0).await;
    signal(&run, Signal::SIGTERM);
    let output = tokio::time::timeout(Duration::from_secs(30), run.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(75));
    assert_eq!(net.queue(), before);
}

/// A host that has the whole message when the stop signal comes may still say so: that is recorded, or the message would be
/// sent again. Everything else ends at once.
///
/// holds C-C9 and C-F4
#[tokio::test]
async fn a_reply_that_is_owed_at_the_stop_signal_is_recorded() {
    let net = Net::start(&[], &[]).await;
    net.send(&["done@[127.0.0.4]"], "x");
    net.send(&["open@[127.0.0.5]"], "x");
    let done = TcpListener::bind(("127.0.0.4", net.peers.port)).await.unwrap();
    let open = TcpListener::bind(("127.0.0.5", net.peers.port)).await.unwrap();
    let run = net.spawn();
    let mut done = BufStream::new(done.accept().await.unwrap().0);
    let mut open = BufStream::new(open.accept().await.unwrap().0);
    for (reply, next) in [("220 x", "EHLO"), ("250 x", "MAIL"), ("250 x", "RCPT"), ("250 x", "DATA"), ("354 x", ".")] {
        done.write_all(format!("{reply}\r\n").as_bytes()).await.unwrap();
        done.flush().await.unwrap();
        let mut line = String::new();
        while !line.starts_with(next) {
            line.clear();
            assert!(done.read_line(&mut line).await.unwrap() > 0);
        }
    }
    signal(&run, Signal::SIGTERM);
    // When this one is closed, the signal is known to have arrived.
    let mut said = String::new();
    assert_eq!(open.read_to_string(&mut said).await.unwrap(), 0, "{said}");
    done.write_all(b"250 taken\r\n221 bye\r\n").await.unwrap();
    done.flush().await.unwrap();
    let output = tokio::time::timeout(Duration::from_secs(30), run.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(75));
    assert_eq!(lines(&output), "done@[127.0.0.4]: delivered: 250 taken ([127.0.0.4])");
    assert!(net.queue().contains("<open@") && !net.queue().contains("<done@"), "{}", net.queue());
}

/// The same message sent twice within a second: both go out in one run, to both domains.
///
/// holds C-F4 and C-F5
#[tokio::test]
async fn equal_messages_are_all_sent() {
    let net = Net::start(&[], &[]).await;
    let entry = "From <me@localhost> Mon Aug 22 23:00:00 2016\n\
        X-Envelope-To: <a@example.org>\nX-Envelope-To: <b@other.example>\n\nx\r\n\n";
    fs::write(net.dir.path().join("mqueue"), entry.repeat(2)).unwrap();
    let (code, told) = net.forward(&[]).await;
    assert_eq!((code, told.lines().count()), (0, 4), "{told}");
    for address in ["127.0.0.2", "127.0.0.3"] {
        assert_eq!(net.peers.heard(address).texts.len(), 2);
    }
}

/// holds C-F6
#[tokio::test]
async fn literals_are_dialed_without_dns() {
    let net = Net::start(&[], &[]).await;
    net.send(&["a@[127.0.0.3]"], "x");
    assert_eq!(net.forward(&[]).await, (0, "a@[127.0.0.3]: delivered: 250 taken ([127.0.0.3])".to_owned()));
    assert!(net.dns.asked().is_empty());
}
