//! `pillarbox user`: mailboxes.

use std::path::Path;

use pillarbox_store::{Mailbox, is_mailbox_name};

use crate::cli::User;
use crate::failure::{Failure, exit};
use crate::folder;
use crate::host::say;

/// Does what the command line says.
///
/// # Errors
/// A name that no mailbox can have, or DIR that cannot be used.
pub fn run(command: User) -> Result<(), Failure> {
    match command {
        User::Add { name, dir } => add(&name, &dir),
        User::List { dir, json } => list(&dir, json),
    }
}

fn add(name: &str, dir: &Path) -> Result<(), Failure> {
    if !is_mailbox_name(name) {
        let what = "a mailbox is named with letters, digits and . _ + -, and does not start with a dot";
        return Err(Failure::new(exit::USAGE, format_args!("{name}: {what}")));
    }
    let mailbox = dir.join(format!("{name}.mbox"));
    if folder::open(dir, true)?.create_mailbox(name)? {
        say(format_args!("{name}@localhost receives mail in {}", mailbox.display()));
    } else {
        say(format_args!("{name}@localhost has a mailbox already: {}", mailbox.display()));
    }
    Ok(())
}

fn list(dir: &Path, json: bool) -> Result<(), Failure> {
    let mailboxes = folder::open(dir, true)?.mailboxes()?;
    let names: Vec<_> = mailboxes.iter().map(Mailbox::name).collect();
    if json {
        // The alphabet of mailbox names needs no escaping in JSON.
        let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
        say(format_args!("[{}]", quoted.join(", ")));
    } else {
        for name in names {
            say(format_args!("{name}"));
        }
    }
    Ok(())
}
