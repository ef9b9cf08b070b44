//! `forward`: the seed's extra credit.

use std::process::ExitCode;

use pillarbox::cli::{self, Forward};
use pillarbox::failure::{Failure, exit};
use pillarbox::folder;
use pillarbox::forward::Forwarder;
use pillarbox::host::{Host, Workers};
use pillarbox::results::Results;
use pillarbox_server::CONNECTIONS_MAX;

fn main() -> ExitCode {
    cli::run("forward", |options: Forward| {
        let Some(dir) = options.dir.filter(|_| !options.author) else {
            cli::print_author();
            return Ok(());
        };
        let mut host = Host::start(options.verbose, 0, CONNECTIONS_MAX, Workers::EachCore)?;
        let store = folder::open(&dir, options.verbose)?;
        if options.verbose {
            host.tell_repairs(&store);
        }
        let forwarder = Forwarder::new(store, &options.sending, options.port, host.transcript());
        let stop = host.stop();
        let run = host.run(async move {
            let mut results = Results::default();
            let left = forwarder.run(&stop, |line| results.tell(line)).await;
            (results, left)
        });
        let (results, left) = run.unwrap_or_else(|| (Results::default(), Ok(None)));
        results.close(match left? {
            Some(0) => Ok(()),
            Some(left) => Err(Failure::new(exit::TEMPORARY, format_args!("{left} in the queue"))),
            None => Err(Failure::new(exit::TEMPORARY, "stopped; what was not delivered is in the queue")),
        })
    })
}
