//! Another program: it knows nothing of journals, and appends under a dotlock and an `fcntl` lock, as mail programs do.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::letter::{self, Random};
use super::{MAILBOXES, Shared};

/// Pause between two messages, and between two tries to lock.
const PAUSE: Duration = Duration::from_millis(20);

/// Appends messages until it is over.
pub(super) fn append(shared: &Shared, mut random: Random) {
    while !shared.is_over() {
        let mailbox = random.choose(&MAILBOXES);
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        shared.ledger().begin(number, vec![mailbox]);
        let path = shared.servers.dir().join(format!("{mailbox}.mbox"));
        let text = letter::text(shared.seed, number);
        // Who has no lock has written nothing.
        if append_one(&path, &text, &|| shared.is_over()).is_ok() {
            shared.ledger().acknowledge(number);
        }
        thread::sleep(PAUSE);
    }
}

fn append_one(path: &Path, text: &str, is_over: &dyn Fn() -> bool) -> io::Result<()> {
    let _dotlock = loop {
        if let Some(dotlock) = Dotlock::try_new(path)? {
            break dotlock;
        }
        if is_over() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        thread::sleep(PAUSE);
    };
    // Neither lock is waited for while the other is held.
    let mut file = OpenOptions::new().append(true).open(path)?;
    try_lock(&file)?;
    let quoted = text.replace("\r\nFrom ", "\r\n>From ");
    file.write_all(format!("From other@localhost Mon Aug 22 23:00:00 2016\n{quoted}\n").as_bytes())
}

fn try_lock(file: &File) -> io::Result<()> {
    // The kinds of lock and SEEK_SET are small numbers on every system.
    let [l_type, l_whence] = [libc::F_WRLCK, libc::SEEK_SET].map(|number| number as libc::c_short);
    let lock = libc::flock { l_type, l_whence, l_start: 0, l_len: 0, l_pid: 0 };
    fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&lock)).map(drop).map_err(io::Error::from)
}

struct Dotlock(PathBuf);

impl Dotlock {
    /// The dotlock, if nobody has it.
    fn try_new(mailbox: &Path) -> io::Result<Option<Self>> {
        let mut path = mailbox.as_os_str().to_owned();
        path.push(".lock");
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                let dotlock = Self(path.into());
                writeln!(file, "{}", std::process::id())?;
                Ok(Some(dotlock))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Dotlock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
