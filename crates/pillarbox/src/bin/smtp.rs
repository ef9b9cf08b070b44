//! `smtp`: the seed's second milestone.

use std::process::ExitCode;

use pillarbox::cli::{self, Smtp};
use pillarbox::host::{Host, Workers};
use pillarbox::{folder, smtp};
use pillarbox_server::CONNECTIONS_MAX;

fn main() -> ExitCode {
    cli::run("smtp", |options: Smtp| {
        let Some(dir) = options.dir.filter(|_| !options.common.author) else {
            cli::print_author();
            return Ok(());
        };
        let mut host = Host::start(options.common.verbose, 1, CONNECTIONS_MAX, Workers::LeaveOne)?;
        let store = folder::open(&dir, options.common.verbose)?;
        if options.common.verbose {
            host.tell_repairs(&store);
        }
        let beside = host.beside();
        let service = smtp::Smtp { store: store.clone(), message_max_octets: options.max_size, beside };
        host.serve(service, &options.common.addresses(), options.port, smtp::EXPOSED, Some(&store))?;
        host.wait();
        Ok(())
    })
}
