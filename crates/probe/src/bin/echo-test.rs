//! Tests an echo server: the dialogue of the assignment's section 2.2, with its partial lines.

use std::io;
use std::process::ExitCode;

use pillarbox_probe::tester::{self, EchoTest, Embedded, Plan, Print};

/// The dialogue itself.
const SEED: Embedded = ("echo/seed.talk", include_str!("../../conversations/echo/seed.talk"));
/// What `--all` adds.
const MORE: [Embedded; 9] = [
    ("echo/greeting.talk", include_str!("../../conversations/echo/greeting.talk")),
    ("echo/text.talk", include_str!("../../conversations/echo/text.talk")),
    ("echo/unknown.talk", include_str!("../../conversations/echo/unknown.talk")),
    ("echo/case.talk", include_str!("../../conversations/echo/case.talk")),
    ("echo/pieces.talk", include_str!("../../conversations/echo/pieces.talk")),
    ("echo/half-line.talk", include_str!("../../conversations/echo/half-line.talk")),
    ("echo/line-ends.talk", include_str!("../../conversations/echo/line-ends.talk")),
    ("echo/thousand.talk", include_str!("../../conversations/echo/thousand.talk")),
    ("echo/refused-greeting.talk", include_str!("../../conversations/echo/refused-greeting.talk")),
];

fn main() -> ExitCode {
    run().unwrap_or_else(|code| code)
}

fn run() -> Result<ExitCode, ExitCode> {
    let EchoTest { port, host, all } = tester::options(std::env::args_os())?;
    let plan = Plan { host, port, user: "linhphan".to_owned(), all };
    let mut server = tester::reach(&plan)?;
    let mut embedded = vec![SEED];
    if plan.all {
        embedded.extend(MORE);
    }
    let mut print = Print::new(io::stdout());
    let all_right = tester::play(&plan, &mut server, &embedded, &mut print)?;
    Ok(tester::verdict(all_right, print))
}
