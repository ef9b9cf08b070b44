//! `pillarbox user`: mailboxes.

use std::path::Path;

use pillarbox_store::{StoreError, is_mailbox_name, mailboxes_in};

use crate::cli::User;
use crate::failure::{Failure, exit};
use crate::folder;
use crate::results::Results;

/// Does what the command line says.
///
/// # Errors
/// A name that no mailbox can have, or DIR that cannot be used.
pub fn run(command: User) -> Result<(), Failure> {
    match command {
        User::Add { name, dir } => add(&name, &dir.path()),
        User::List { dir, json } => list(&dir.path(), json),
    }
}

fn add(name: &str, dir: &Path) -> Result<(), Failure> {
    if !is_mailbox_name(name) {
        let what = "a mailbox is named with letters, digits and . _ + -, and does not start with a dot";
        return Err(Failure::new(exit::USAGE, format_args!("{name}: {what}")));
    }
    let mailbox = dir.join(format!("{name}.mbox"));
    let what = match folder::open(dir, true)?.create_mailbox(name) {
        Ok(true) => "receives mail in",
        Ok(false) => "has a mailbox already:",
        Err(StoreError::NoSuchMailbox { .. }) => {
            let what = "is there already, but is no plain file, so no mailbox; move it out of the way";
            return Err(Failure::new(exit::CANNOT_CREATE, format_args!("{}: {what}", mailbox.display())));
        }
        Err(error) => return Err(error.into()),
    };
    let mut results = Results::default();
    results.tell(format_args!("{name}@localhost {what} {}", mailbox.display()));
    results.close(Ok(()))
}

/// Only looks: it needs no right to write, and makes nothing.
fn list(dir: &Path, json: bool) -> Result<(), Failure> {
    folder::is_there(dir)?;
    let mailboxes = mailboxes_in(dir)?;
    let mut results = Results::default();
    if json {
        // The alphabet of mailbox names needs no escaping in JSON.
        let quoted: Vec<_> = mailboxes.iter().map(|mailbox| format!("\"{}\"", mailbox.name())).collect();
        results.tell(format_args!("[{}]", quoted.join(", ")));
    } else {
        mailboxes.iter().for_each(|mailbox| results.tell(mailbox.name()));
    }
    results.close(Ok(()))
}
