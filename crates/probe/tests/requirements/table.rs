//! Which requirement is shown kept by what: the table behind `docs/requirements.md`.
//!
//! Requirements stand in `requirements.txt`. Conversations name what they hold in `holds` lines, Rust tests in their
//! doc comment (`/// holds C-C6`), scripts in a comment (`# holds C-M3`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pillarbox_probe::conversation::{Kind, conversations_in};

/// Folders of conversations, below the crate's `conversations`.
const PROTOCOLS: [&str; 3] = ["echo", "smtp", "pop3"];
/// How far below its `holds` line a test may begin.
const LINES_TO_FUNCTION: usize = 12;
/// How deep folders are searched for sources.
const DEPTH_MAX: usize = 8;

/// One requirement and what shows it kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Requirement {
    /// Its number, `C-E2`.
    pub(crate) number: String,
    /// What it is about.
    pub(crate) summary: String,
    /// Whether it is known that nothing shows it yet.
    pub(crate) awaited: bool,
    /// Names of conversations, for each side of it.
    pub(crate) conversations: BTreeMap<Kind, Vec<String>>,
    /// Rust tests and scripts.
    pub(crate) tests: Vec<String>,
}

/// A group of requirements: its number and title, and its requirements in order.
pub(crate) type Group = (String, Vec<Requirement>);

/// All requirements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// In the order of the file.
    pub(crate) groups: Vec<Group>,
    /// What is wrong, for people.
    pub(crate) complaints: Vec<String>,
}

impl Table {
    /// Reads `requirements.txt`.
    #[must_use]
    pub(crate) fn parse(source: &str) -> Self {
        let mut table = Self::default();
        for line in source.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            let (number, summary) = line.split_once(' ').unwrap_or((line, ""));
            let is_group = !number.ends_with(|letter: char| letter.is_ascii_digit());
            match table.groups.last_mut() {
                _ if is_group => table.groups.push((line.to_owned(), Vec::new())),
                Some((_, requirements)) => {
                    let awaited = summary.starts_with("? ");
                    let summary = summary.trim_start_matches("? ").to_owned();
                    let number = number.to_owned();
                    requirements.push(Requirement { number, summary, awaited, ..Requirement::default() });
                }
                None => table.complaints.push(format!("{number} stands in no group")),
            }
        }
        table
    }

    /// Adds the conversations below `folder`.
    pub(crate) fn add_conversations(&mut self, folder: &Path) {
        for protocol in PROTOCOLS {
            let conversations = match conversations_in(&folder.join(protocol)) {
                Ok(conversations) => conversations,
                Err(error) => {
                    self.complaints.push(error.to_string());
                    continue;
                }
            };
            for conversation in conversations {
                let name = conversation.name();
                for tag in &conversation.holds {
                    match self.find(&tag.requirement) {
                        Some(found) => found.conversations.entry(tag.kind).or_default().push(name.clone()),
                        None => self.complaints.push(format!("{name} holds {}, which is unknown", tag.requirement)),
                    }
                }
            }
        }
    }

    /// Adds tests and scripts of the project at `root`: all Rust files below `crates`, Python files below `interop`,
    /// and the Makefile.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub(crate) fn add_tests(&mut self, root: &Path) -> io::Result<()> {
        let mut files = Vec::new();
        files_below(&root.join("crates"), "rs", DEPTH_MAX, &mut files)?;
        files_below(&root.join("interop"), "py", DEPTH_MAX, &mut files)?;
        files.extend(Some(root.join("Makefile")).filter(|file| file.exists()));
        files.sort();
        for file in files {
            let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            let source = fs::read_to_string(&file)?;
            match file.extension().is_some_and(|extension| extension == "rs") {
                true => self.add_rust(&shown, &source),
                false => self.add_script(&shown, &source),
            }
        }
        Ok(())
    }

    fn add_rust(&mut self, file: &str, source: &str) {
        let lines: Vec<&str> = source.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate() {
            let Some(held) = line.strip_prefix("/// holds ").filter(|held| held.starts_with("C-")) else { continue };
            let below = lines.iter().skip(at + 1).take(LINES_TO_FUNCTION);
            let Some(function) = below.copied().find_map(function_name) else {
                self.complaints.push(format!("{file}:{}: `holds` stands above no function", at + 1));
                continue;
            };
            self.add_test(&format!("{file}:{}", at + 1), held, &format!("{file}::{function}"));
        }
    }

    fn add_script(&mut self, file: &str, source: &str) {
        for (at, line) in source.lines().map(str::trim).enumerate() {
            if let Some(held) = line.strip_prefix("# holds ").filter(|held| held.starts_with("C-")) {
                self.add_test(&format!("{file}:{}", at + 1), held, file);
            }
        }
    }

    fn add_test(&mut self, place: &str, held: &str, test: &str) {
        for number in held.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-') {
            if !number.starts_with("C-") {
                continue;
            }
            match self.find(number) {
                Some(found) if found.tests.iter().any(|known| known == test) => {}
                Some(found) => found.tests.push(test.to_owned()),
                None => self.complaints.push(format!("{place}: {number} is unknown")),
            }
        }
    }

    fn find(&mut self, number: &str) -> Option<&mut Requirement> {
        let mut requirements = self.groups.iter_mut().flat_map(|(_, requirements)| requirements);
        requirements.find(|requirement| requirement.number == number)
    }

    /// The requirements that nothing shows kept, and that are not known to be awaited.
    #[must_use]
    pub(crate) fn missing(&self) -> Vec<&str> {
        let all = self.groups.iter().flat_map(|(_, requirements)| requirements);
        let bare = all.filter(|found| found.conversations.is_empty() && found.tests.is_empty() && !found.awaited);
        bare.map(|requirement| requirement.number.as_str()).collect()
    }

    /// The table as Markdown.
    #[must_use]
    pub(crate) fn to_markdown(&self) -> String {
        let mut page = "# Requirements, and what shows that they are kept\n\n\
             Made by `UPDATE_DOCS=1 cargo test -p pillarbox-probe --test requirements`; do not edit. Conversations are\n\
             files below `crates/probe/conversations`; they are played against the protocol sessions in memory and\n\
             against the programs. The requirements are listed in `crates/probe/requirements.txt`.\n"
            .to_owned();
        for (title, requirements) in &self.groups {
            let _ = write!(page, "\n## {title}\n");
            for requirement in requirements {
                let Requirement { number, summary, .. } = requirement;
                let _ = write!(page, "\n**{number}** {summary}\n\n");
                for kind in Kind::ALL {
                    if let Some(names) = requirement.conversations.get(&kind) {
                        let _ = writeln!(page, "- {}: {}", kind.word(), names.join(", "));
                    }
                }
                for test in &requirement.tests {
                    let _ = writeln!(page, "- test: `{test}`");
                }
                if requirement.conversations.is_empty() && requirement.tests.is_empty() {
                    let _ = writeln!(page, "- nothing yet");
                }
            }
        }
        page
    }
}

/// The name of the function that begins on this line.
fn function_name(line: &str) -> Option<&str> {
    let (before, rest) = line.split_once("fn ")?;
    let is_signature = before.split_whitespace().all(|word| matches!(word, "pub" | "async" | "const" | "unsafe"));
    let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')?;
    (is_signature && end > 0).then_some(&rest[..end])
}

/// Collects the files with this extension; a folder that is not there holds none.
fn files_below(folder: &Path, extension: &str, depth: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if depth == 0 || !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files_below(&path, extension, depth - 1, files)?;
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# x\n\nC-X Group\nC-X1 first\nC-X2 ? second\nC-X3 third\n";

    #[test]
    fn tests_are_found_above_their_functions() {
        let mut table = Table::parse(LIST);
        let holds = "/// holds";
        table.add_rust(
            "a.rs",
            &format!("{holds} C-X1 and C-X3: a story\n/// More.\n#[test]\nfn one() {{\n\n    {holds} C-X1\n    pub async fn two<T>()"),
        );
        table.add_script("b.py", "  # holds C-X3\n");
        assert_eq!(table.complaints, Vec::<String>::new());
        assert_eq!(table.groups[0].1[0].tests, ["a.rs::one", "a.rs::two"]);
        assert_eq!(table.groups[0].1[2].tests, ["a.rs::one", "b.py"]);
        assert_eq!(table.missing(), Vec::<&str>::new());
        assert!(table.to_markdown().contains("**C-X2** second\n\n- nothing yet\n"));
    }

    #[test]
    fn what_is_missing_or_unknown_is_said() {
        let mut table = Table::parse(LIST);
        let holds = "/// holds";
        table.add_rust("a.rs", &format!("{holds} C-X9\nfn one()\n\n{holds} C-X1\nstruct NoFunction;\n"));
        assert_eq!(table.complaints, ["a.rs:1: C-X9 is unknown", "a.rs:4: `holds` stands above no function"]);
        assert_eq!(table.missing(), ["C-X1", "C-X3"]);
    }
}
