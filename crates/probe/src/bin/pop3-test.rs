//! Tests a POP3 server: fetches the message that smtp-test has sent, and deletes it.

use std::io;
use std::process::ExitCode;

use pillarbox_probe::talk::Talk;
use pillarbox_probe::tester::{self, Embedded, Pop3Test, Print};
use pillarbox_probe::{Conversation, fetch};

/// What smtp-test has sent.
const SEND: Embedded = ("smtp/send.talk", include_str!("../../conversations/smtp/send.talk"));
/// What `--all` adds, when the mailbox is empty again.
const MORE: [Embedded; 2] = [
    ("pop3/tester.talk", include_str!("../../conversations/pop3/tester.talk")),
    ("pop3/tester-pieces.talk", include_str!("../../conversations/pop3/tester-pieces.talk")),
];

fn main() -> ExitCode {
    run().unwrap_or_else(|code| code)
}

fn run() -> Result<ExitCode, ExitCode> {
    let Pop3Test { plan } = tester::options(std::env::args_os())?;
    let mut server = tester::reach(&plan)?;
    let (file, source) = SEND;
    let sent = Conversation::parse(file, source).map_err(|_| ExitCode::from(70))?.with_user(&plan.user);
    let mut print = Print::new(io::stdout());
    let mut wire = server.wire();
    let mut talk = Talk::new(&mut wire).watcher(Some(&mut print));
    let fetched = fetch::fetch(&mut talk, &plan.user, &fetch::text_sent(&sent));
    if let Err(wrong) = &fetched {
        print.line(&format!("wrong: {wrong}"));
    }
    let mut all_right = fetched.is_ok();
    if plan.all {
        all_right &= tester::play(&plan, &mut server, &MORE, &mut print)?;
    }
    Ok(tester::verdict(all_right, print))
}
