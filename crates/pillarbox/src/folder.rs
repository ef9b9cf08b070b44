//! The folder that holds the mailboxes: DIR of the command line.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, Uid, User, access};
use pillarbox_proto::shown;
use pillarbox_store::MboxStore;

use crate::failure::{Failure, exit};

/// Checks that DIR is a folder; a link to one is fine. For those who only look.
///
/// # Errors
/// A [`Failure`] that names DIR, what is wrong with it and what can be done: exit code 66, or 74 where nobody can tell.
pub fn is_there(dir: &Path) -> Result<(), Failure> {
    let wrong = |code, what: &str| Err(Failure::new(code, format_args!("{}: {what}", dir.display())));
    match fs::metadata(dir) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => wrong(exit::NO_INPUT, "is not a folder; name the folder with the mailboxes"),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            wrong(exit::NO_INPUT, "no such folder; make it with mkdir, or name another")
        }
        Err(error) => wrong(exit::IO_ERROR, &format!("{error}; run as a user who can read it")),
    }
}

/// Checks that DIR is a folder in which mail can be read and written; a link to one is fine (C-C6, C-S6).
///
/// # Errors
/// A [`Failure`] with exit code 66 that names DIR, what is wrong with it and what can be done.
pub fn check(dir: &Path) -> Result<(), Failure> {
    let wrong = |what| Failure::new(exit::NO_INPUT, what);
    is_there(dir).map_err(|failure| wrong(failure.to_string()))?;
    access(dir, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK)
        .map_err(|errno| wrong(format!("{}: {}", dir.display(), unusable(errno))))
}

/// Why a folder cannot be used, and what can be done.
fn unusable(errno: Errno) -> String {
    match errno {
        Errno::EROFS => {
            "is on a file system that is mounted read-only; mount it for writing, or name another".to_owned()
        }
        _ => {
            let uid = Uid::effective();
            let user = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
            format!("must be readable and writable for {user}; give it to that user with chown, or name another")
        }
    }
}

/// Checks DIR and opens the store in it: what a crash has left there is put right first. `verbose` says on stderr
/// what that was.
///
/// # Errors
/// As [`check`], and when the leftovers cannot be put right.
pub fn open(dir: &Path, verbose: bool) -> Result<MboxStore, Failure> {
    check(dir)?;
    let (store, recovery) = MboxStore::open(dir)?;
    if verbose && !recovery.is_nothing() {
        let _ = writeln!(std::io::stderr(), "{}", shown(recovery.to_string().as_bytes()));
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// holds C-C6
    #[test]
    fn what_is_wrong_with_a_folder_is_said_with_what_can_be_done() {
        assert!(unusable(Errno::EROFS).contains("mounted read-only; mount it"));
        let denied = unusable(Errno::EACCES);
        assert!(denied.starts_with("must be readable and writable for ") && denied.contains("chown"), "{denied}");
    }
}
