//! `pillarbox`: every service in one process, and the tools around it.

use std::process::ExitCode;

use pillarbox::cli::{self, Command, Pillarbox};
#[cfg(feature = "tools")]
use pillarbox::{fsck, torture};
use pillarbox::{serve, user};

fn main() -> ExitCode {
    cli::run("pillarbox", |options: Pillarbox| match options.command {
        Command::Serve(options) => serve::run(options),
        Command::User(command) => user::run(command),
        #[cfg(feature = "tools")]
        Command::Fsck(options) => fsck::run(&options),
        #[cfg(feature = "tools")]
        Command::Torture(options) => torture::run(&options),
    })
}
