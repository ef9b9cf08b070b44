//! `forward` and the queue, with a DNS and peers of our own (C-F).

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pillarbox_store::MboxStore;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::{TcpListener, TcpStream};
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
    let size = format!(" SIZE={} ", sent.len());
    assert!(
        heard.commands.iter().any(|line| line.starts_with("MAIL ") && line.contains(&size)),
        "{:?}",
        heard.commands
    );
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
    command.args(["--resolver", &net.dns.at.to_string(), "--remote-port", &net.peers.port.to_string()]);
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

/// Plays a host that takes a text, up to its final dot.
async fn take_text(host: &mut BufStream<TcpStream>) {
    for (reply, next) in [("220 x", "EHLO"), ("250 x", "MAIL"), ("250 x", "RCPT"), ("250 x", "DATA"), ("354 x", ".")] {
        host.write_all(format!("{reply}\r\n").as_bytes()).await.unwrap();
        host.flush().await.unwrap();
        let mut line = String::new();
        while !line.starts_with(next) {
            line.clear();
            assert!(host.read_line(&mut line).await.unwrap() > 0);
        }
    }
}

/// After the stop signal neither the next address nor the next domain is tried, whatever the reply that is owed says.
///
/// holds C-C9 and C-F4
#[tokio::test]
async fn nothing_is_begun_after_the_stop_signal() {
    // The next domain, and the next address of the same.
    for (reply, to, left) in [
        ("250 taken", &["a@[127.0.0.4]", "b@[127.0.0.5]"][..], 1),
        ("451 later", &["a@[127.0.0.4]", "b@[127.0.0.5]"], 2),
        ("451 later", &["a@two.example"], 1),
    ] {
        let net = Net::start(&[], &[]).await;
        let dns = Dns::start("two.example A 127.0.0.4\ntwo.example A 127.0.0.5").await;
        let net = Net { dns, ..net };
        net.send(to, "x");
        net.send(&["open@[127.0.0.6]"], "x");
        let [first, second, open] = [4, 5, 6]
            .map(|last| std::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, last], net.peers.port))).unwrap());
        for listener in [&first, &second, &open] {
            listener.set_nonblocking(true).unwrap();
        }
        let [first, open] = [first, open].map(|listener| TcpListener::from_std(listener).unwrap());
        let run = net.spawn();
        let mut first = BufStream::new(first.accept().await.unwrap().0);
        let mut open = open.accept().await.unwrap().0;
        take_text(&mut first).await;
        signal(&run, Signal::SIGTERM);
        // When this one is closed, the signal is known to have arrived.
        let mut said = String::new();
        assert_eq!(open.read_to_string(&mut said).await.unwrap(), 0, "{said}");
        first.write_all(format!("{reply}\r\n221 bye\r\n").as_bytes()).await.unwrap();
        first.flush().await.unwrap();
        let output = tokio::time::timeout(PATIENCE, run.wait_with_output()).await.unwrap().unwrap();
        assert_eq!(output.status.code(), Some(75));
        assert_eq!(second.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "{reply}");
        assert_eq!(net.queue().matches("X-Envelope-To: ").count(), left + 1, "{reply} {to:?}");
        assert_eq!(net.queue().contains("<a@"), reply.starts_with('4'), "{reply} {to:?}");
    }
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
    take_text(&mut done).await;
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

/// `pillarbox serve` over a folder of its own, which sends on at once; what could not be sent it does not try again for an
/// hour.
async fn serve(net: &Net) -> Program {
    let mut command = std::process::Command::new(binary("pillarbox"));
    command.args(["serve", "--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0", "--forward-every", "1h"]);
    command.args(["--resolver", &net.dns.at.to_string(), "--remote-port", &net.peers.port.to_string()]);
    command.arg(net.dir.path()).stderr(Stdio::null());
    tokio::task::spawn_blocking(|| Program::listen(command, 2)).await.unwrap()
}

/// holds C-F3
#[tokio::test]
async fn a_silent_host_holds_up_nobody_else() {
    let mut net = Net::start(&[("GREETING", SILENT)], &[]).await;
    net.smtp = serve(&net).await;
    net.send(&["a@example.org"], "one");
    until("a connection", || net.peers.heard("127.0.0.2").connections == 1).await;
    net.send(&["b@other.example"], "two");
    until("the second message", || net.peers.heard("127.0.0.3").texts.len() == 1).await;
    // More for the silent host than are sent to one at once.
    for number in 0..30 {
        net.send(&["a@example.org"], &number.to_string());
    }
    net.send(&["b@other.example"], "three");
    until("the third message", || net.peers.heard("127.0.0.3").texts.len() == 2).await;
    assert!(net.peers.heard("127.0.0.2").connections <= 5);
    net.smtp.stop();
}

/// The same message, sent twice within a second, is two messages. holds C-F4
#[tokio::test]
async fn what_is_queued_is_sent_at_once_and_so_is_its_twin() {
    let mut net = Net::start(&[], &[]).await;
    net.smtp = serve(&net).await;
    for _ in 0..10 {
        net.send(&["a@example.org", "b@other.example"], "x");
    }
    until("all of them", || net.queue().is_empty()).await;
    for address in ["127.0.0.2", "127.0.0.3"] {
        assert_eq!(net.peers.heard(address).texts.len(), 10);
    }
    net.smtp.stop();
}

/// Without being told, `pillarbox serve` sends nothing to anybody, and says so. holds C-F1
#[tokio::test]
async fn pillarbox_serve_sends_nothing_on_unless_it_is_told() {
    let mut net = Net::start(&[], &[]).await;
    let mut command = std::process::Command::new(binary("pillarbox"));
    command.args(["serve", "--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0"]);
    command.args(["--resolver", &net.dns.at.to_string(), "--remote-port", &net.peers.port.to_string()]);
    command.arg(net.dir.path()).stderr(Stdio::null());
    net.smtp = tokio::task::spawn_blocking(|| Program::listen(command, 2)).await.unwrap();
    let mut hints = String::new();
    while !hints.contains("Ctrl+C") {
        hints += &(net.smtp.line().expect("more hints") + "\n");
    }
    let dir = net.dir.path().display();
    assert!(hints.contains(&format!("Mail for other domains waits in {dir}/mqueue; ")), "{hints}");
    let forward = binary("forward");
    assert!(hints.contains(&format!("  {} {dir}\n", forward.display())), "{hints}");
    net.send(&["a@example.org"], "x");
    net.smtp.stop();
    assert!(net.queue().contains("X-Envelope-To: <a@example.org>"));
    assert!(net.dns.asked().is_empty());
}

/// A zone of which much leads to 127.0.0.1, where our `smtp` listens.
const LOOPS: &str = "mx.example A 127.0.0.1
    other.example A 127.0.0.2
    leads-back.example MX 10 mx.example
    host.localdomain A 127.0.0.1
    host6.localdomain AAAA ::1
    alias.example CNAME host.localdomain
    backup.example MX 10 other.example
    backup.example MX 20 mx.example
    backup.example MX 30 other.example
    behind.example MX 5 mx.example
    behind.example MX 10 other.example
    equal.example MX 5 mx.example
    equal.example MX 5 other.example";

/// A folder whose `smtp` listens at the port to which hosts are dialed, and a peer there at 127.0.0.2.
async fn looped(peer: Rules) -> Net {
    let dir = TempDir::new().unwrap();
    let dns = Dns::start(LOOPS).await;
    for _ in 0..20 {
        let smtp = Program::start("smtp", Some(dir.path()), &[]);
        let port = smtp.listening[0].port();
        if let Some(peers) = Peers::at(port, &[("127.0.0.2", peer)]).await {
            return Net { dir, smtp, dns, peers };
        }
    }
    panic!("others have every port at 127.0.0.2");
}

fn loop_of(path: &str) -> String {
    let domain = path.rsplit('@').next().unwrap();
    format!("{path}: failed: mail loop: the mail of {domain} leads back to this host, which does not know the domain")
}

/// holds C-F7
#[tokio::test]
async fn what_leads_back_to_us_is_not_sent() {
    let net = looped(&[]).await;
    let back = [
        "a@[127.0.0.1]",
        "a@leads-back.example",
        "a@host.localdomain",
        "a@alias.example",
        "a@behind.example",
        "a@equal.example",
    ];
    for path in back {
        net.send(&[path], path);
    }
    let before = net.queue();
    let (code, told) = net.forward(&[]).await;
    let mut expected = back.map(loop_of);
    expected.sort_unstable();
    assert_eq!((code, told), (75, expected.join("\n")));
    assert_eq!(net.queue(), before, "nothing came back, and nobody was lost");
    assert_eq!(net.peers.heard("127.0.0.2").connections, 0);
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        net.send(&["a@host6.localdomain", "a@[IPv6:::1]"], "x");
        let told = net.forward(&[]).await.1;
        assert!(told.contains(&loop_of("a@host6.localdomain")) && told.contains(&loop_of("a@[IPv6:::1]")), "{told}");
    }
}

/// holds C-F7
#[tokio::test]
async fn whoever_is_preferred_to_us_gets_it() {
    let net = looped(&[]).await;
    net.send(&["a@backup.example"], "x");
    let told = "a@backup.example: delivered: 250 taken (other.example)".to_owned();
    assert_eq!(net.forward(&[]).await, (0, told));
    // Who is behind us is not tried when the preferred one takes nothing.
    let net = looped(&[("GREETING", "421 busy")]).await;
    net.send(&["a@backup.example"], "x");
    assert_eq!(net.forward(&[]).await.1, "a@backup.example: deferred: 421 busy (other.example)");
    assert_eq!(net.peers.heard("127.0.0.2").connections, 1);
}

/// holds C-F7
#[tokio::test]
async fn every_address_means_every_address() {
    let net = Net::start(&[], &[]).await;
    let (store, _) = MboxStore::open(net.dir.path()).unwrap();
    net.send(&["a@[127.0.0.2]"], "x");
    for every in ["0.0.0.0", "::"] {
        let _listening = store.listen_at(&[SocketAddr::new(every.parse().unwrap(), net.peers.port)]).unwrap();
        assert_eq!(net.forward(&[]).await, (75, loop_of("a@[127.0.0.2]")));
    }
    assert_eq!(net.forward(&[]).await.0, 0);
}

/// Only who listens now counts, and where: another port is another host. holds C-F7
#[tokio::test]
async fn a_server_that_is_gone_or_elsewhere_is_no_loop() {
    let mut net = looped(&[]).await;
    net.send(&["a@[127.0.0.1]"], "x");
    let said = fs::read_to_string(net.dir.path().join(".pillarbox/listening")).unwrap();
    assert!(said.starts_with(&format!("{}\n", net.smtp.listening[0])), "{said}");
    net.smtp.stop();
    let (code, told) = net.forward(&[]).await;
    assert_eq!(code, 75);
    assert!(told.starts_with("a@[127.0.0.1]: deferred: connecting to 127.0.0.1:"), "{told}");
    net.smtp = Program::start("smtp", Some(net.dir.path()), &[]);
    let told = net.forward(&[]).await.1;
    assert!(told.starts_with("a@[127.0.0.1]: deferred: connecting to 127.0.0.1:"), "{told}");
    fsck::expect(net.dir.path(), 0);
}

/// holds C-F7
#[tokio::test]
async fn pillarbox_serve_knows_where_it_listens() {
    let mut net = looped(&[]).await;
    let mut command = std::process::Command::new(binary("pillarbox"));
    command.args(["serve", "--smtp", "127.0.0.3:0", "--pop3", "127.0.0.1:0"]).arg(net.dir.path()).stderr(Stdio::null());
    let serve = tokio::task::spawn_blocking(|| Program::listen(command, 2)).await.unwrap();
    net.send(&["a@[127.0.0.3]", "b@[127.0.0.1]"], "x");
    let port = serve.listening[0].port().to_string();
    let told = net.forward(&["--port", &port]).await.1;
    assert!(told.contains(&loop_of("a@[127.0.0.3]")), "{told}");
    net.smtp = serve;
    net.smtp.stop();
}

/// holds C-F7
#[tokio::test]
async fn what_has_come_through_too_many_hosts_is_not_sent() {
    let net = Net::start(&[], &[]).await;
    let received = "Received: from a by b;\r\n\tMon, 22 Aug 2016 23:00:00 +0000\r\n";
    net.send(&["a@example.org"], &format!("{}Subject: x\r\n\r\n{received}", received.repeat(50)));
    net.send(&["b@example.org", "c@other.example"], &format!("Subject: x\r\n{}\r\nx", received.repeat(51)));
    let (code, told) = net.forward(&[]).await;
    let expected = "a@example.org: delivered: 250 taken (mx.example.org)\n\
        b@example.org: failed: mail loop: it has come through more than 50 hosts\n\
        c@other.example: failed: mail loop: it has come through more than 50 hosts";
    assert_eq!((code, told.as_str()), (75, expected));
    assert!(net.queue().contains("<b@example.org>\nX-Envelope-To: <c@other.example>\n"));
}

/// Two folders whose servers send everything to each other. holds C-F7
#[tokio::test]
async fn two_who_send_to_each_other_come_to_an_end() {
    let dns = Dns::start("ping.example A 127.0.0.1").await;
    let start = || {
        let dir = TempDir::new().unwrap();
        let smtp = Program::start("smtp", Some(dir.path()), &["--listen", "127.0.0.1"]);
        (dir, smtp)
    };
    let both = [start(), start()];
    let net =
        Net { peers: Peers::start(&[("127.0.0.2", &[])]).await, dns, dir: TempDir::new().unwrap(), smtp: start().1 };
    let entry = "From <me@localhost> Mon Aug 22 23:00:00 2016\nX-Envelope-To: <a@ping.example>\n\nx\r\n\n";
    fs::write(both[0].0.path().join("mqueue"), entry).unwrap();
    let mut sent = 0;
    loop {
        let (from, to) = (&both[sent % 2], &both[(sent + 1) % 2]);
        let mut command = Command::new(binary("forward"));
        command.args(["--resolver", &net.dns.at.to_string(), "--port", &to.1.listening[0].port().to_string()]);
        let output = command.arg(from.0.path()).output().await.unwrap();
        if output.status.code() != Some(0) {
            assert_eq!(lines(&output), "a@ping.example: failed: mail loop: it has come through more than 50 hosts");
            assert_eq!(queue(from.0.path()).matches("Received: ").count(), 51);
            break;
        }
        sent += 1;
        assert!(sent < 60, "it goes round");
    }
    assert_eq!(sent, 51);
}

/// What is in the way of the queue is called by the name that it has. holds C-F5
#[tokio::test]
async fn an_odd_queue_is_named() {
    let net = Net::start(&[], &[]).await;
    let mqueue = net.dir.path().join("mqueue");
    fs::create_dir(&mqueue).unwrap();
    let output = net.command(&[]).output().await.unwrap();
    let expected = "forward: mqueue: is no regular file; move it away, and it is made anew\n".to_owned();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(66), expected));
    // Other mail does not need it.
    let _smtp = Program::start("smtp", Some(net.dir.path()), &[]);
    net.send(&["linhphan@localhost"], "x");
    fs::remove_dir(&mqueue).unwrap();
    std::os::unix::fs::symlink("elsewhere", &mqueue).unwrap();
    let output = net.command(&[]).output().await.unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("mqueue: is no regular file; "));
}
