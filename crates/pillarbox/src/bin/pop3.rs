//! `pop3`: the seed's third milestone.

use std::process::ExitCode;

use pillarbox::cli::{self, Pop3};
use pillarbox::host::{Host, Workers};
use pillarbox::{folder, pop3};
use pillarbox_server::CONNECTIONS_MAX;

fn main() -> ExitCode {
    cli::run("pop3", |options: Pop3| {
        let Some(dir) = options.dir.filter(|_| !options.common.author) else {
            cli::print_author();
            return Ok(());
        };
        let mut host = Host::start(options.common.verbose, 1, CONNECTIONS_MAX, Workers::EachCore)?;
        let store = folder::open(&dir, options.common.verbose)?;
        if options.common.verbose {
            host.tell_repairs(&store);
        }
        let service = pop3::Pop3 { store, beside: host.beside() };
        host.serve(service, &options.common.addresses(), options.port, pop3::EXPOSED, None)?;
        host.wait();
        Ok(())
    })
}
