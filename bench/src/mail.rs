//! Mailboxes and messages.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Begins the first line of each text; its number follows.
const NUMBER: &str = "X-Load-Number: ";
const LINE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/ABCDEFGHIJKL";

/// A folder of mailboxes `u0`, `u1`, …, removed when dropped.
pub(crate) struct Folder {
    path: PathBuf,
    mailboxes: usize,
}

impl Folder {
    /// A folder in `dir` with so many empty mailboxes.
    pub(crate) fn new(dir: &Path, mailboxes: usize) -> io::Result<Self> {
        let path = dir.join(format!("pillarbox-load-{}", std::process::id()));
        // From a run that was killed.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path)?;
        let folder = Self { path, mailboxes };
        (0..mailboxes).try_for_each(|mailbox| File::create(folder.mailbox(mailbox)).map(drop))?;
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn mailbox(&self, number: usize) -> PathBuf {
        self.path.join(format!("u{number}.mbox"))
    }

    /// Fills a mailbox; what it holds is on the disk and in the page cache then.
    pub(crate) fn fill(&self, mailbox: usize, messages: usize, octets: usize) -> io::Result<()> {
        let file = File::create(self.mailbox(mailbox))?;
        let mut out = BufWriter::with_capacity(1 << 20, &file);
        for number in 0..messages {
            let text = text(number, octets).replace("\r\n", "\n");
            write!(out, "From load@localhost Thu Nov 26 10:00:00 2026\n{text}\n")?;
        }
        out.flush()?;
        file.sync_all()
    }

    /// The numbers of the messages in all mailboxes.
    pub(crate) fn numbers(&self) -> io::Result<HashSet<usize>> {
        let mut numbers = HashSet::new();
        for mailbox in 0..self.mailboxes {
            let mbox = String::from_utf8(fs::read(self.mailbox(mailbox))?).map_err(io::Error::other)?;
            numbers.extend(mbox.lines().filter_map(|line| line.strip_prefix(NUMBER)?.parse::<usize>().ok()));
        }
        Ok(numbers)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A text of so many octets, or a few less.
pub(crate) fn text(number: usize, octets: usize) -> String {
    let mut text = format!("{NUMBER}{number}\r\nFrom: Load <load@localhost>\r\nSubject: load\r\n\r\n");
    let lines = octets.saturating_sub(text.len()) / (LINE.len() + 2);
    text.reserve(lines * (LINE.len() + 2));
    for _ in 0..lines {
        text.push_str(LINE);
        text.push_str("\r\n");
    }
    text
}
