//! What a program was run for, on stdout: it is not done while that could not be written.

use std::fmt::{Arguments, Display};
use std::io::{self, ErrorKind, Write as _};

use pillarbox_proto::shown;

use crate::failure::{Failure, exit};

/// Lines on stdout, and whether they got there. The first that does not is the last that is tried; the work goes on.
#[derive(Debug, Default)]
#[must_use]
pub struct Results {
    failed: Option<io::Error>,
}

impl Results {
    /// Prints a line, so that it steers no terminal: others may have named what is in it.
    pub fn tell(&mut self, line: impl Display) {
        self.print(format_args!("{}\n", shown(line.to_string().as_bytes())));
    }

    /// Prints a text as it is.
    pub fn print(&mut self, text: Arguments<'_>) {
        if self.failed.is_none() {
            let mut stdout = io::stdout();
            self.failed = stdout.write_fmt(text).and_then(|()| stdout.flush()).err();
        }
    }

    /// How the program ends: as `outcome` says, which is the more important, and not well when its results are nowhere. A
    /// reader that has gone (`pillarbox fsck DIR | head -1`) has what it wanted.
    ///
    /// # Errors
    /// That of `outcome`, or exit code 74.
    pub fn close(self, outcome: Result<(), Failure>) -> Result<(), Failure> {
        let Some(error) = self.failed.filter(|error| error.kind() != ErrorKind::BrokenPipe) else { return outcome };
        let what = format!("stdout: {error}, so the results are not complete; write them elsewhere");
        Err(match outcome {
            Ok(()) => Failure::new(exit::IO_ERROR, what),
            Err(failure) => Failure::new(failure.code(), format_args!("{failure}; {what}")),
        })
    }
}
