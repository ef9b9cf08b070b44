//! `pillarbox fsck`: whether what is kept in a folder is sound.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use pillarbox_proto::shown::is_shown;
use pillarbox_store::{Finding, Progress, Report, Verdict, check};

use crate::cli::Fsck;
use crate::failure::{Failure, exit};
use crate::folder;
use crate::results::Results;

/// Between two lines that say how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Checks DIR and prints what was found.
///
/// # Errors
/// DIR that is no folder or cannot be read, and anything but a sound folder: the exit code is the verdict.
pub fn run(options: &Fsck) -> Result<(), Failure> {
    let dir = &options.dir;
    folder::is_there(dir)?;
    let mut meter = Meter { told: Instant::now(), is_shown: false };
    let report = check(dir, &mut |progress| meter.show(progress));
    meter.end();
    let report = report?;
    let mut results = Results::default();
    if options.json {
        results.tell(json(&report));
    } else {
        report.findings.iter().for_each(|finding| results.tell(finding));
        results.tell(summary(&report));
    }
    let failed = |code, what| Err(Failure::new(code, format_args!("{}: {what}", dir.display())));
    results.close(match report.verdict() {
        Verdict::Sound => Ok(()),
        Verdict::Damaged => failed(exit::DATA_ERROR, "something is wrong"),
        Verdict::Unread => failed(exit::IO_ERROR, "not everything can be read"),
        Verdict::Unsettled => failed(exit::TEMPORARY, "something is being written to or waits for the next start"),
    })
}

/// Says how far it is, where somebody looks on.
struct Meter {
    told: Instant,
    is_shown: bool,
}

impl Meter {
    fn show(&mut self, progress: Progress) {
        if self.told.elapsed() < PROGRESS_EVERY {
            return;
        }
        self.told = Instant::now();
        let mut stderr = io::stderr();
        if stderr.is_terminal() {
            let percent = progress.done.saturating_mul(100) / progress.total.max(1);
            let _ = write!(stderr, "\rchecking: {percent} %").and_then(|()| stderr.flush());
            self.is_shown = true;
        }
    }

    fn end(&self) {
        if self.is_shown {
            let _ = writeln!(io::stderr());
        }
    }
}

/// The last line.
fn summary(report: &Report) -> String {
    let counted = |number, one, many| format!("{number} {}", if number == 1 { one } else { many });
    let Report { mailboxes, messages, octets, queued, .. } = *report;
    [
        counted(mailboxes, "mailbox", "mailboxes"),
        counted(messages, "message", "messages"),
        counted(octets, "octet", "octets"),
        counted(queued, "queued item", "queued items"),
    ]
    .join(", ")
        + &format!(": {}", report.verdict())
}

/// The whole report as one JSON document (RFC 8259), in one line.
fn json(report: &Report) -> String {
    let Report { mailboxes, messages, octets, queued, findings } = report;
    let findings: Vec<String> = findings.iter().map(json_finding).collect();
    format!(
        "{{\"verdict\": \"{}\", \"mailboxes\": {mailboxes}, \"messages\": {messages}, \"octets\": {octets}, \
         \"queued\": {queued}, \"findings\": [{}]}}",
        report.verdict(),
        findings.join(", ")
    )
}

fn json_finding(Finding { severity, file, octet, what }: &Finding) -> String {
    let octet = octet.map_or("null".to_owned(), |octet| octet.to_string());
    let [file, what] = [file, what].map(|text| quoted(text));
    format!("{{\"severity\": \"{severity}\", \"file\": {file}, \"octet\": {octet}, \"what\": {what}}}")
}

/// A string of JSON.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            _ if is_shown(character) => quoted.push(character),
            _ => quoted.extend(character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}"))),
        }
    }
    quoted + "\""
}

#[cfg(test)]
#[path = "fsck/tests.rs"]
mod tests;
