//! Errors that end a program: one clear line on stderr, and an exit code of sysexits.h.

use std::fmt;
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use pillarbox_proto::shown;
use pillarbox_server::BindError;
use pillarbox_store::StoreError;

/// Exit codes as sysexits.h has them.
pub mod exit {
    /// The command was used wrongly.
    pub const USAGE: u8 = 64;
    /// An input is damaged.
    pub const DATA_ERROR: u8 = 65;
    /// An input does not exist or cannot be read.
    pub const NO_INPUT: u8 = 66;
    /// A service is not available, e.g. the port is in use.
    pub const UNAVAILABLE: u8 = 69;
    /// The program is wrong.
    pub const SOFTWARE: u8 = 70;
    /// The system failed us.
    pub const OS_ERROR: u8 = 71;
    /// A file cannot be created.
    pub const CANNOT_CREATE: u8 = 73;
    /// An error while reading or writing.
    pub const IO_ERROR: u8 = 74;
    /// Something failed now and may work later.
    pub const TEMPORARY: u8 = 75;
    /// Not permitted.
    pub const NO_PERMISSION: u8 = 77;
}

/// Why a program ends.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// A failure with one of the codes in [`exit`] and a line that says what to do next.
    pub fn new(code: u8, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string() }
    }

    /// The same, and which option helps where the port cannot be had.
    #[must_use]
    pub fn with_option(mut self, option: &str) -> Self {
        if self.code == exit::UNAVAILABLE {
            self.message += &format!(" with {option}");
        }
        self
    }

    /// Its exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        let code = match error {
            BindError::NamedTwice(_) | BindError::Included { .. } => exit::USAGE,
            BindError::NotPermitted(_) => exit::NO_PERMISSION,
            BindError::InUse(_) | BindError::Other { .. } => exit::UNAVAILABLE,
        };
        Self::new(code, error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::Full { .. } => exit::CANNOT_CREATE,
            StoreError::Locked { .. } | StoreError::InUse { .. } => exit::TEMPORARY,
            StoreError::NoSuchMailbox { .. } => exit::NO_INPUT,
            _ => exit::IO_ERROR,
        };
        Self::new(code, format_args!("{error}{}", next_step(&error)))
    }
}

/// What can be done about it.
fn next_step(error: &StoreError) -> &'static str {
    match error {
        StoreError::Full { .. } => "; make room, and start again",
        StoreError::Locked { .. } | StoreError::InUse { .. } => "; try again when it is done",
        StoreError::HardLinked { .. } => "; remove the other name of it",
        StoreError::Io { source, .. } => match source.kind() {
            ErrorKind::PermissionDenied => "; run as the user whose file it is, or give it away with chown",
            ErrorKind::ReadOnlyFilesystem => "; mount the file system for writing, or name another folder",
            _ => "",
        },
        _ => "",
    }
}

/// Ends a `main`: success, or the failure on stderr with the program's name in front.
#[must_use]
pub fn report(program: &str, result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody is left to be told when stderr is gone.
            let _ = writeln!(std::io::stderr(), "{program}: {}", shown(failure.message.as_bytes()));
            ExitCode::from(failure.code)
        }
    }
}
