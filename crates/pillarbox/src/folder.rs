//! The folder that holds the mailboxes: DIR of the command line.

use std::io::Write as _;
use std::path::Path;

use nix::unistd::{AccessFlags, access};
use pillarbox_store::MboxStore;

use crate::failure::{Failure, exit};

/// Checks that DIR is a folder in which mail can be read and written; a link to one is fine (C-C6, C-S6).
///
/// # Errors
/// A [`Failure`] with exit code 66 that names DIR and what is wrong with it.
pub fn check(dir: &Path) -> Result<(), Failure> {
    let wrong = |what: &str| Err(Failure::new(exit::NO_INPUT, format_args!("{}: {what}", dir.display())));
    match std::fs::metadata(dir) {
        Err(error) => wrong(&error.to_string()),
        Ok(metadata) if !metadata.is_dir() => wrong("is not a folder"),
        Ok(_) if access(dir, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK).is_err() => {
            wrong("must be readable and writable")
        }
        Ok(_) => Ok(()),
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
        let _ = writeln!(std::io::stderr(), "{recovery}");
    }
    Ok(store)
}
