//! Tests of `transcript.rs`.

use std::sync::mpsc;

use super::*;

/// A writer that takes nothing until it is told to.
struct Stuck {
    go_on: mpsc::Receiver<()>,
    written: mpsc::Sender<Vec<u8>>,
}

impl Write for Stuck {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.go_on.recv().map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        self.written.send(octets.to_vec()).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// holds C-C8
#[test]
fn a_reader_that_is_stuck_costs_lines_and_nothing_else() {
    let (release, go_on) = mpsc::channel();
    let (written, read) = mpsc::channel();
    let transcript = Transcript::on(Stuck { go_on, written }).unwrap();
    let log = Log::new(Some(transcript.clone()), 7);
    let text = "x".repeat(1000);
    let mut lines = 0;
    while lines < 3 * TRANSCRIPT_MAX_OCTETS / text.len() {
        // What is said on a connection is left out in another way than what happens to it.
        log.note(format_args!("S: {text}"));
        log.entries([(); 2].map(|()| Entry::Said(text.clone().into_bytes())));
        lines += 3;
    }
    transcript.finish(Duration::ZERO);
    let mut seen = 0;
    let mut left_out = 0;
    while seen + left_out < lines {
        release.send(()).unwrap();
        for line in String::from_utf8(read.recv_timeout(Duration::from_secs(30)).unwrap()).unwrap().lines() {
            match line.strip_prefix("[-] ") {
                Some(line) => left_out += line.split(' ').next().unwrap().parse::<usize>().unwrap(),
                None => {
                    assert_eq!(line, format!("[7] S: {text}"));
                    seen += 1;
                }
            }
        }
    }
    assert!(left_out > 0 && seen + left_out == lines, "{seen} seen, {left_out} left out of {lines}");
}

/// holds C-C8
#[test]
fn a_reader_that_is_gone_stops_nothing() {
    let (release, go_on) = mpsc::channel();
    drop(release);
    let transcript = Transcript::on(Stuck { go_on, written: mpsc::channel().0 }).unwrap();
    Log::new(Some(transcript.clone()), 7).note(format_args!("unheard"));
    transcript.finish(Duration::from_secs(10));
}
