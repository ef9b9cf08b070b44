//! Tests an SMTP server: sends a message to a mailbox, and tries a mailbox that does not exist.

use std::process::ExitCode;

use clap::Parser;
use pillarbox_probe::tester::{self, Embedded, Plan};

/// One message.
const SEND: Embedded = ("smtp/send.talk", include_str!("../../conversations/smtp/send.talk"));
/// What `--all` adds; nothing of it is delivered.
const MORE: [Embedded; 2] = [
    ("smtp/tester-order.talk", include_str!("../../conversations/smtp/tester-order.talk")),
    ("smtp/tester-pieces.talk", include_str!("../../conversations/smtp/tester-pieces.talk")),
];

/// Tests an SMTP server and shows what is said; afterwards one message is in the mailbox, for pop3-test. Exit status:
/// 0 all was right, 1 something was wrong, 64 wrong usage, 69 no connection.
#[derive(Parser)]
#[command(name = "smtp-test", version)]
struct Options {
    #[command(flatten)]
    plan: Plan,
}

fn main() -> ExitCode {
    run().unwrap_or_else(|code| code)
}

fn run() -> Result<ExitCode, ExitCode> {
    let Options { plan } = tester::options(std::env::args_os())?;
    let mut server = tester::reach(&plan)?;
    let mut embedded = vec![SEND];
    if plan.all {
        embedded.extend(MORE);
    }
    Ok(tester::verdict(tester::play(&plan, &mut server, &embedded)?))
}
