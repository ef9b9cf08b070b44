use pillarbox_proto::client::Outcome;
use pillarbox_proto::{Address, Envelope, ReversePath};
use tokio::io::{AsyncBufReadExt, BufReader, DuplexStream, duplex};
use tokio::time::sleep;

use super::*;
use crate::source::Octets;

const SECOND: Duration = Duration::from_secs(1);

/// Octets that the pipe holds between us and the peer.
const PIPE_OCTETS: usize = 4096;

/// What a session came to.
struct Run {
    outcome: Outcome,
    progress: Progress,
    /// By the paused clock.
    took: Duration,
}

/// One session for one recipient with a peer played by `peer`, on a clock that jumps to whatever is awaited next.
async fn run<F>(mut source: impl Source, cap: Option<Duration>, peer: impl FnOnce(BufReader<DuplexStream>) -> F) -> Run
where
    F: Future<Output = ()> + Send + 'static,
{
    let (mut ours, theirs) = duplex(PIPE_OCTETS);
    let peer = tokio::spawn(peer(BufReader::new(theirs)));
    let envelope = Envelope {
        reverse_path: ReversePath::default(),
        forward_paths: vec![Address::parse(b"a@example.org").unwrap()],
    };
    let mut client = Client::new("here.example.org", &envelope, source.octets());
    let start = Instant::now();
    let progress = drive(&mut ours, &mut client, &mut source, cap, |_| {}).await;
    let took = start.elapsed();
    drop(ours);
    peer.await.unwrap();
    let (_, outcome) = client.into_outcomes().remove(0);
    Run { outcome, progress, took }
}

fn deferred(why: &str) -> Outcome {
    Outcome::Deferred(why.to_owned())
}

/// Says what a polite server says, each reply after `pause`, up to the 354; gives the peer back to whoever has other
/// plans for the text.
async fn be_polite(io: &mut BufReader<DuplexStream>, pause: Duration) {
    say(io, "220 there").await;
    let mut line = String::new();
    loop {
        line.clear();
        if io.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        sleep(pause).await;
        if line == "DATA\r\n" {
            return say(io, "354 go on").await;
        }
        say(io, "250 OK").await;
    }
}

async fn read_text(io: &mut BufReader<DuplexStream>) -> Vec<u8> {
    let mut text = Vec::new();
    loop {
        let start = text.len();
        if io.read_until(b'\n', &mut text).await.unwrap_or(0) == 0 || text[start..] == *b".\r\n" {
            return text;
        }
    }
}

async fn say(io: &mut BufReader<DuplexStream>, line: &str) {
    let _ = io.write_all(format!("{line}\r\n").as_bytes()).await;
}

/// holds C-F3
#[tokio::test(start_paused = true)]
async fn a_reply_that_drips_ends_with_its_limit() {
    for (cap, limit) in
        [(None, limits::GREETING), (Some(10 * SECOND), 10 * SECOND), (Some(600 * SECOND), limits::GREETING)]
    {
        let run = run(Octets::new("text"), cap, |mut io| async move {
            // Half a second off, so that no octet comes at the very end.
            sleep(SECOND / 2).await;
            for octet in b"220-".iter().chain(std::iter::repeat(&b'a')) {
                if io.write_all(&[*octet]).await.is_err() {
                    return;
                }
                sleep(SECOND).await;
            }
        })
        .await;
        assert_eq!((run.outcome, run.took), (deferred("no reply in time"), limit));
        assert!(!run.progress.welcomed);
    }
}

/// holds C-F3
#[tokio::test(start_paused = true)]
async fn each_reply_has_a_limit_of_its_own() {
    let run = run(Octets::new("text"), None, |mut io| async move {
        be_polite(&mut io, limits::DATA - SECOND).await;
        read_text(&mut io).await;
        sleep(limits::DOT - SECOND).await;
        say(&mut io, "250 taken").await;
    })
    .await;
    assert_eq!(run.outcome, Outcome::Delivered("250 taken".to_owned()));
}

/// holds C-F3
#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_ends_with_the_limit_of_a_block() {
    let run = run(Octets::new(vec![b'a'; 100_000]), None, |mut io| async move {
        be_polite(&mut io, Duration::ZERO).await;
        sleep(10_000 * SECOND).await;
    })
    .await;
    assert_eq!((run.outcome, run.took), (deferred("no reply in time"), limits::BLOCK));
    assert!(!run.progress.in_doubt());
}

/// A peer may read slowly, but not as slowly as it likes. holds C-F3
#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_slowly_has_a_limit_for_each_block() {
    for (octets_a_second, delivered) in [(1000, true), (100, false)] {
        let source = Octets::new(b"0123456789abcde\r\n".repeat(20_000));
        let run = run(source, None, |mut io| async move {
            be_polite(&mut io, Duration::ZERO).await;
            let mut text = Vec::new();
            while !text.ends_with(b"\r\n.\r\n") {
                let mut piece = vec![0; octets_a_second];
                match io.read(&mut piece).await {
                    Ok(0) | Err(_) => return,
                    Ok(read) => text.extend_from_slice(&piece[..read]),
                }
                sleep(SECOND).await;
            }
            say(&mut io, "250 taken").await;
        })
        .await;
        assert_eq!(run.outcome == Outcome::Delivered("250 taken".to_owned()), delivered);
        assert_eq!(run.progress.dot_sent, delivered);
    }
}

/// holds C-F4
#[tokio::test(start_paused = true)]
async fn silence_after_the_final_dot_leaves_doubt() {
    let run = run(Octets::new("text"), None, |mut io| async move {
        be_polite(&mut io, Duration::ZERO).await;
        read_text(&mut io).await;
        sleep(10_000 * SECOND).await;
    })
    .await;
    assert_eq!((run.outcome, run.took), (deferred("no reply in time"), limits::DOT));
    assert!(run.progress.in_doubt());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_text_leaves_no_doubt() {
    for reply in ["451 try again", "421 going down"] {
        let run = run(Octets::new("text"), None, |mut io| async move {
            be_polite(&mut io, Duration::ZERO).await;
            read_text(&mut io).await;
            say(&mut io, reply).await;
        })
        .await;
        assert_eq!(run.outcome, deferred(reply));
        assert!(run.progress.dot_answered && !run.progress.in_doubt());
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_depends_on_the_reply_to_quit() {
    let run = run(Octets::new("text"), None, |mut io| async move {
        be_polite(&mut io, Duration::ZERO).await;
        read_text(&mut io).await;
        say(&mut io, "250 taken").await;
        sleep(10_000 * SECOND).await;
    })
    .await;
    assert_eq!((run.outcome, run.took), (Outcome::Delivered("250 taken".to_owned()), limits::QUIT));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_hangs_up_in_the_text_is_heard_out() {
    let run = run(Octets::new(vec![b'a'; 100_000]), None, |mut io| async move {
        be_polite(&mut io, Duration::ZERO).await;
        say(&mut io, "552 too much").await;
    })
    .await;
    assert_eq!(run.outcome, deferred("unexpected reply: 552 too much"));
    assert!(!run.progress.in_doubt());
}

/// holds C-F4
#[tokio::test(start_paused = true)]
async fn a_text_that_cannot_be_read_is_not_ended() {
    struct Broken(Octets);

    impl Source for Broken {
        fn octets(&self) -> u64 {
            self.0.octets()
        }

        async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
            match self.0.next().await {
                Ok(None) => Err(io::Error::other("disk gone")),
                octets => octets,
            }
        }

        fn rewind(&mut self) {
            self.0.rewind();
        }
    }

    let (heard, text) = tokio::sync::oneshot::channel();
    let run = run(Broken(Octets::new("half of a text\r\n")), None, |mut io| async move {
        be_polite(&mut io, Duration::ZERO).await;
        let _ = heard.send(read_text(&mut io).await);
    })
    .await;
    assert_eq!(run.outcome, deferred("the text cannot be read: disk gone"));
    assert!(run.progress.unreadable && !run.progress.dot_sent);
    assert_eq!(text.await.unwrap(), b"half of a text\r\n");
}
