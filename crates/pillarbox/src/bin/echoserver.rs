//! `echoserver`: the seed's first milestone.

use std::process::ExitCode;

use pillarbox::cli::{self, Echoserver};
use pillarbox::echo::{EXPOSED, Echo};
use pillarbox::host::{Host, Workers};
use pillarbox_server::CONNECTIONS_MAX;

fn main() -> ExitCode {
    cli::run("echoserver", |options: Echoserver| {
        if options.common.author {
            cli::print_author();
            return Ok(());
        }
        let mut host = Host::start(options.common.verbose, 1, CONNECTIONS_MAX, Workers::EachCore)?;
        host.serve(Echo, &options.common.addresses(), options.port, EXPOSED, None)?;
        host.wait();
        Ok(())
    })
}
