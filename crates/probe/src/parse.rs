//! Reads conversation files. `conversations/README.md` describes the language.

use std::path::Path;

use crate::conversation::{Action, Conversation, Kind, Step, Tag};
use crate::folder::Special;
use crate::text::{Pattern, octets};

/// Most steps one file may stand for, repetitions done.
const STEPS_MAX: usize = 100_000;

/// A complaint and the line that it is about.
type Complaint = (usize, String);

/// Reads the text of a conversation.
pub(crate) fn conversation(file: &Path, source: &str) -> Result<Conversation, Complaint> {
    let mut parser = Parser {
        conversation: Conversation {
            file: file.to_owned(),
            holds: Vec::new(),
            tester: false,
            size_max_octets: None,
            steps: Vec::new(),
        },
        body: false,
        repeat: None,
    };
    for (index, text) in source.lines().enumerate() {
        parser.line(index + 1, text).map_err(|complaint| (index + 1, complaint))?;
    }
    parser.finish()
}

/// A `repeat` that has not met its `end`.
struct Repeat {
    line: usize,
    count: usize,
    first_step: usize,
}

struct Parser {
    conversation: Conversation,
    /// Whether the last step takes `|` lines.
    body: bool,
    repeat: Option<Repeat>,
}

impl Parser {
    fn line(&mut self, line: usize, text: &str) -> Result<(), String> {
        if text.ends_with([' ', '\t', '\r']) {
            return Err("white space at the end of the line, which nobody can see; write \\s".to_owned());
        }
        let text = text.trim_start_matches([' ', '\t']);
        if let Some(body) = text.strip_prefix('|') {
            return self.body_line(spaced(body)?);
        }
        if text.is_empty() || text.starts_with('#') {
            return Ok(());
        }
        self.body = false;
        if let Some(said) = text.strip_prefix('+') {
            return self.same_segment(said);
        }
        if let Some(action) = spoken(text)? {
            return self.step(line, action);
        }
        self.word(line, text)
    }

    /// One line of a file's text, behind the `|`.
    fn body_line(&mut self, text: &str) -> Result<(), String> {
        match self.conversation.steps.last_mut().map(|step| &mut step.action) {
            Some(Action::Write { octets: file, .. } | Action::Append { octets: file, .. }) if self.body => {
                file.extend(octets(text)?);
            }
            Some(Action::File { pattern, .. }) if self.body => pattern.extend(&Pattern::glob(text)?),
            _ => {
                return Err(
                    "a `|` line belongs behind `mailbox NAME:`, `append NAME:` or `mailbox NAME is:`".to_owned()
                );
            }
        }
        Ok(())
    }

    /// `+C: text`: goes out in the same piece as the line before it.
    fn same_segment(&mut self, said: &str) -> Result<(), String> {
        let Some(Action::Send { client, octets: more }) = spoken(said)? else {
            return Err("only `+C:` and `+C|` can follow in the same piece".to_owned());
        };
        match self.conversation.steps.last_mut().map(|step| &mut step.action) {
            Some(Action::Send { client: before, octets }) if *before == client => octets.extend(more),
            _ => return Err("the line before must be one that the same client sends".to_owned()),
        }
        Ok(())
    }

    /// A line that begins with a word.
    fn word(&mut self, line: usize, text: &str) -> Result<(), String> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let rest = rest.trim();
        match word {
            "holds" => return self.holds(rest),
            "tester" => {
                self.conversation.tester = true;
                return nothing(rest);
            }
            "max-size" => {
                let size = rest.parse().map_err(|_| "max-size wants a number of octets".to_owned())?;
                self.conversation.size_max_octets = Some(size);
                return Ok(());
            }
            "repeat" => {
                let count = rest.parse().ok().filter(|&count| count > 0);
                let count = count.ok_or_else(|| "repeat wants a number above 0".to_owned())?;
                if self.repeat.is_some() {
                    return Err("a repeat inside a repeat".to_owned());
                }
                self.repeat = Some(Repeat { line, count, first_step: self.conversation.steps.len() });
                return Ok(());
            }
            "end" => {
                nothing(rest)?;
                return self.end();
            }
            _ => {}
        }
        let action = match word {
            "closed" => Action::Closed { client: client(rest)? },
            "half-close" => Action::HalfClose { client: client(rest)? },
            "drop" => Action::Drop { client: client(rest)? },
            "idle" => Action::Idle { client: client(rest)? },
            "stop" => {
                nothing(rest)?;
                Action::Stop
            }
            "mailbox" => return self.mailbox(line, rest),
            "append" => {
                let user = rest.strip_suffix(':').ok_or("append wants `NAME:` and `|` lines")?;
                self.step(line, Action::Append { name: mbox(user)?, octets: Vec::new() })?;
                self.body = true;
                return Ok(());
            }
            "folder" => Action::Special { name: file_name(rest)?, kind: Special::Folder },
            "pipe" => Action::Special { name: file_name(rest)?, kind: Special::Pipe },
            "symlink" | "hardlink" => {
                let (name, target) = rest.split_once(" -> ").ok_or("a link is written `NAME -> TARGET`")?;
                let kind = match word {
                    "symlink" => Special::Symlink(target.to_owned()),
                    _ => Special::HardLink(file_name(target)?),
                };
                Action::Special { name: file_name(name)?, kind }
            }
            _ => return Err(format!("`{word}` is no word of this language")),
        };
        self.step(line, action)
    }

    /// `mailbox NAME`, `mailbox NAME:`, `mailbox NAME is:`, `mailbox NAME is empty`.
    fn mailbox(&mut self, line: usize, rest: &str) -> Result<(), String> {
        let (action, body) = if let Some(user) = rest.strip_suffix(" is empty") {
            (Action::File { name: mbox(user)?, pattern: Pattern::default() }, false)
        } else if let Some(user) = rest.strip_suffix(" is:") {
            (Action::File { name: mbox(user)?, pattern: Pattern::default() }, true)
        } else if let Some(user) = rest.strip_suffix(':') {
            (Action::Write { name: mbox(user)?, octets: Vec::new() }, true)
        } else {
            (Action::Write { name: mbox(rest)?, octets: Vec::new() }, false)
        };
        self.step(line, action)?;
        self.body = body;
        Ok(())
    }

    fn holds(&mut self, rest: &str) -> Result<(), String> {
        let mut words = rest.split_whitespace();
        let requirement = words.next().ok_or("holds wants a requirement, `holds C-E2 accepted`")?;
        let mut kinds = words.peekable();
        if kinds.peek().is_none() {
            return Err("holds wants accepted, refused or boundary behind the requirement".to_owned());
        }
        for word in kinds {
            let kind = Kind::ALL.into_iter().find(|kind| kind.word() == word);
            let kind = kind.ok_or_else(|| format!("`{word}` is not accepted, refused or boundary"))?;
            let tag = Tag { requirement: requirement.to_owned(), kind };
            if self.conversation.holds.contains(&tag) {
                return Err(format!("{requirement} {word} is said twice"));
            }
            self.conversation.holds.push(tag);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let repeat = self.repeat.take().ok_or("an end without its repeat")?;
        let block = self.conversation.steps[repeat.first_step..].to_vec();
        if block.is_empty() {
            return Err("nothing to repeat".to_owned());
        }
        if block.len().saturating_mul(repeat.count) > STEPS_MAX {
            return Err(format!("more than {STEPS_MAX} steps"));
        }
        for _ in 1..repeat.count {
            self.conversation.steps.extend(block.iter().cloned());
        }
        Ok(())
    }

    fn step(&mut self, line: usize, action: Action) -> Result<(), String> {
        self.conversation.steps.push(Step { line, action });
        Ok(())
    }

    fn finish(self) -> Result<Conversation, Complaint> {
        if let Some(repeat) = self.repeat {
            return Err((repeat.line, "a repeat without its end".to_owned()));
        }
        if self.conversation.tester {
            // A foreign server's folder and clock are not ours; that linhphan has no mail is all we may ask for.
            for Step { line, action } in &self.conversation.steps {
                let allowed = match action {
                    Action::Write { name, octets } => name == "linhphan.mbox" && octets.is_empty(),
                    Action::Append { .. } | Action::Special { .. } | Action::File { .. } => false,
                    Action::Idle { .. } | Action::Stop => false,
                    _ => true,
                };
                if !allowed {
                    return Err((*line, "not possible in a file for testers".to_owned()));
                }
            }
        }
        Ok(self.conversation)
    }
}

/// Reads `C: text`, `C2| octets`, `S: text`, `S2~ pattern`, `S= codes`, `S...`; `None` when the line is none of these.
fn spoken(text: &str) -> Result<Option<Action>, String> {
    let Some(rest) = text.strip_prefix(['C', 'S']) else { return Ok(None) };
    let digits = rest.len() - rest.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let (number, rest) = rest.split_at(digits);
    if !rest.starts_with([':', '|', '~', '=', '.']) {
        return Ok(None);
    }
    let client = client(number)?;
    if text.starts_with('S') && rest == "..." {
        return Ok(Some(Action::Listing { client }));
    }
    let said = spaced(&rest[1..])?;
    let action = match (&text[..1], &rest[..1]) {
        ("C", ":") => {
            let mut line = octets(said)?;
            line.extend(b"\r\n");
            Action::Send { client, octets: line }
        }
        ("C", "|") => Action::Send { client, octets: octets(said)? },
        ("S", ":") => Action::Line { client, pattern: line_end(Pattern::exact(&octets(said)?)) },
        ("S", "~") => Action::Line { client, pattern: line_end(Pattern::glob(said)?) },
        ("S", "=") => Action::Reply { client, codes: said.parse()? },
        _ => return Err("lines begin with `C:`, `C|`, `S:`, `S~`, `S=` or are `S...`".to_owned()),
    };
    Ok(Some(action))
}

fn line_end(mut pattern: Pattern) -> Pattern {
    pattern.extend(&Pattern::exact(b"\r\n"));
    pattern
}

/// Takes the one space away that stands behind `:`, `~` and `|`.
fn spaced(text: &str) -> Result<&str, String> {
    match text.strip_prefix(' ') {
        Some(text) => Ok(text),
        None if text.is_empty() => Ok(text),
        None => Err("a space is missing before the text".to_owned()),
    }
}

/// The number of a client; 1 when none is given.
fn client(number: &str) -> Result<usize, String> {
    match number {
        "" => Ok(1),
        _ => number.parse().ok().filter(|&n| n > 0).ok_or_else(|| format!("`{number}` is no number of a client")),
    }
}

/// The file of a user's mailbox.
fn mbox(user: &str) -> Result<String, String> {
    file_name(&format!("{user}.mbox"))
}

fn file_name(name: &str) -> Result<String, String> {
    let plain = name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"._+-".contains(&octet));
    match plain && !name.is_empty() && !name.starts_with('.') {
        true => Ok(name.to_owned()),
        false => Err(format!("`{name}` is no name of a file in DIR")),
    }
}

fn nothing(rest: &str) -> Result<(), String> {
    match rest {
        "" => Ok(()),
        _ => Err(format!("`{rest}` is too much")),
    }
}

#[cfg(test)]
#[path = "parse/tests.rs"]
mod tests;
