//! Conversations: what a `.talk` file means.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::folder::Special;
use crate::parse;
use crate::reply::Codes;
use crate::text::{Pattern, replaced};

/// One conversation file.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// Where it was read from, for reports.
    pub file: PathBuf,
    /// Which requirements it holds.
    pub holds: Vec<Tag>,
    /// Whether it may be played against anybody's server.
    pub tester: bool,
    /// The message size the server must be limited to (`--max-size`), in octets.
    pub size_max_octets: Option<u64>,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

/// That a conversation shows a requirement kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The requirement's number, `C-E2`.
    pub requirement: String,
    /// From which side it shows it.
    pub kind: Kind,
}

/// The three sides of a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// What must work does.
    Accepted,
    /// What must not work is refused.
    Refused,
    /// The last that works, and the first that does not.
    Boundary,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Accepted, Self::Refused, Self::Boundary];

    /// The word in conversation files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Boundary => "boundary",
        }
    }
}

/// One line of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The line in the file, from 1.
    pub line: usize,
    /// What it says.
    pub action: Action,
}

/// What one line of a conversation says. Clients are numbered from 1; the first mention of one connects it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `C:` and `C|`: the client sends these octets in one piece.
    Send {
        /// Who.
        client: usize,
        /// All octets, line ends included.
        octets: Vec<u8>,
    },
    /// `S:` and `S~`: this line must come, ended by CR LF.
    Line {
        /// To whom.
        client: usize,
        /// The line with its CR LF.
        pattern: Pattern,
    },
    /// `S=`: an SMTP reply must come, in one line or several.
    Reply {
        /// To whom.
        client: usize,
        /// The codes that are right.
        codes: Codes,
    },
    /// `S...`: lines must come, the last of them a lone dot.
    Listing {
        /// To whom.
        client: usize,
    },
    /// `closed`: the server must end the connection, and nothing may come before that.
    Closed {
        /// Whose.
        client: usize,
    },
    /// `half-close`: the client ends its side.
    HalfClose {
        /// Who.
        client: usize,
    },
    /// `drop`: the client goes away.
    Drop {
        /// Who.
        client: usize,
    },
    /// `idle`: the client says nothing for as long as its protocol allows.
    Idle {
        /// Who.
        client: usize,
    },
    /// `stop`: the server is asked to stop.
    Stop,
    /// `mailbox NAME` and `mailbox NAME:`: a file with these octets.
    Write {
        /// The file's name.
        name: String,
        /// All of it.
        octets: Vec<u8>,
    },
    /// `append NAME:`: another program appends to a mailbox.
    Append {
        /// The file's name.
        name: String,
        /// What comes behind what is there.
        octets: Vec<u8>,
    },
    /// `folder`, `pipe`, `symlink`, `hardlink`: what looks like a mailbox and is none.
    Special {
        /// The file's name.
        name: String,
        /// What it is.
        kind: Special,
    },
    /// `mailbox NAME is:` and `mailbox NAME is empty`: what must be in the file now.
    File {
        /// The file's name.
        name: String,
        /// All of it.
        pattern: Pattern,
    },
}

impl Conversation {
    /// Reads a conversation file.
    ///
    /// # Errors
    /// When the file cannot be read, or says what the language does not know.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let source = fs::read_to_string(path).map_err(|error| LoadError {
            file: path.to_owned(),
            line: 0,
            complaint: error.to_string(),
        })?;
        Self::parse(path, &source)
    }

    /// Reads a conversation from its text; `file` is what reports name.
    ///
    /// # Errors
    /// When the text says what the language does not know.
    pub fn parse(file: impl Into<PathBuf>, source: &str) -> Result<Self, LoadError> {
        let file = file.into();
        parse::conversation(&file, source).map_err(|(line, complaint)| LoadError { file, line, complaint })
    }

    /// Its short name, `smtp/order`.
    #[must_use]
    pub fn name(&self) -> String {
        let stem = self.file.file_stem().unwrap_or_default().to_string_lossy();
        let group = self.file.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        format!("{group}/{stem}")
    }

    /// Whether time has to pass on demand: only a simulated clock can do that.
    #[must_use]
    pub fn needs_clock(&self) -> bool {
        self.has(|action| matches!(action, Action::Idle { .. }))
    }

    /// Whether the server is stopped on the way.
    #[must_use]
    pub fn needs_stop(&self) -> bool {
        self.has(|action| matches!(action, Action::Stop))
    }

    /// Whether files are made or looked at, so that DIR must be ours.
    #[must_use]
    pub fn needs_folder(&self) -> bool {
        self.has(|action| {
            matches!(
                action,
                Action::Write { .. } | Action::Append { .. } | Action::Special { .. } | Action::File { .. }
            )
        })
    }

    /// The same conversation about another user: every `linhphan` becomes `user`.
    #[must_use]
    pub fn with_user(mut self, user: &str) -> Self {
        const NAME: &[u8] = b"linhphan";
        for step in &mut self.steps {
            match &mut step.action {
                Action::Send { octets, .. } => *octets = replaced(octets, NAME, user.as_bytes()),
                Action::Line { pattern, .. } => *pattern = pattern.replaced(NAME, user.as_bytes()),
                _ => {}
            }
        }
        self
    }

    fn has(&self, test: impl Fn(&Action) -> bool) -> bool {
        self.steps.iter().any(|step| test(&step.action))
    }
}

/// All conversations (`*.talk`) in a folder, in order of their names.
///
/// # Errors
/// When the folder cannot be read, or one of the files is wrong.
pub fn conversations_in(folder: &Path) -> Result<Vec<Conversation>, LoadError> {
    let failed = |error: io::Error| LoadError { file: folder.to_owned(), line: 0, complaint: error.to_string() };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "talk") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| Conversation::load(path)).collect()
}

/// Why a conversation file is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 when it is about the whole file.
    pub line: usize,
    /// What is wrong, for people.
    pub complaint: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.complaint)
    }
}

impl std::error::Error for LoadError {}
