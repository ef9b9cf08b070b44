//! Tests an SMTP server: sends a message to a mailbox, and tries a mailbox that does not exist.

use std::io;
use std::process::ExitCode;

use pillarbox_probe::tester::{self, Embedded, Print, SmtpTest};

/// One message.
const SEND: Embedded = ("smtp/send.talk", include_str!("../../conversations/smtp/send.talk"));
/// What `--all` adds; nothing of it is delivered.
const MORE: [Embedded; 2] = [
    ("smtp/tester-order.talk", include_str!("../../conversations/smtp/tester-order.talk")),
    ("smtp/tester-pieces.talk", include_str!("../../conversations/smtp/tester-pieces.talk")),
];

fn main() -> ExitCode {
    run().unwrap_or_else(|code| code)
}

fn run() -> Result<ExitCode, ExitCode> {
    let SmtpTest { plan } = tester::options(std::env::args_os())?;
    let mut server = tester::reach(&plan)?;
    let mut embedded = vec![SEND];
    if plan.all {
        embedded.extend(MORE);
    }
    let mut print = Print::new(io::stdout());
    let all_right = tester::play(&plan, &mut server, &embedded, &mut print)?;
    Ok(tester::verdict(all_right, print))
}
