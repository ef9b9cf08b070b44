//! The echo server (C-E): the seed's first milestone, and the smallest complete session.

use std::convert::Infallible;
use std::time::Duration;

use crate::lines::Line;
use crate::replies::Replies;
use crate::session::{self, Step, command};

const UNKNOWN_COMMAND: &str = "-ERR Unknown command";

/// An echo session. It never asks for anything, and its types say so.
#[derive(Debug)]
pub struct Session {
    author: String,
}

impl Session {
    /// A session that greets with `author`, written `full name / login` (C-E1).
    pub fn new(author: &str) -> Self {
        Self { author: author.to_owned() }
    }
}

impl session::Session for Session {
    type Request = Infallible;
    type Answer = Infallible;

    /// C-E3: no idle limit.
    const IDLE: Option<Duration> = None;
    const OTHER_PROTOCOL: Option<&'static str> = None;

    fn open(&mut self, replies: &mut Replies) {
        replies.line(format_args!("+OK Server ready (Author: {})", self.author));
    }

    fn line(&mut self, line: Line, replies: &mut Replies) -> Step<Infallible> {
        let Line::Text(line) = line else {
            replies.line(format_args!("{UNKNOWN_COMMAND}"));
            return Step::Continue;
        };
        match command(&line) {
            (word, text) if word.eq_ignore_ascii_case(b"ECHO") => {
                replies.line_octets("+OK ", text.unwrap_or_default());
                Step::Continue
            }
            (word, None) if word.eq_ignore_ascii_case(b"QUIT") => {
                replies.line(format_args!("+OK Goodbye!"));
                Step::Close
            }
            _ => {
                replies.line(format_args!("{UNKNOWN_COMMAND}"));
                Step::Continue
            }
        }
    }

    fn answer(&mut self, answer: Infallible, _: &mut Replies) -> Step<Infallible> {
        match answer {}
    }

    fn idle(&mut self, _: &mut Replies) {}

    fn stop(&mut self, replies: &mut Replies) {
        replies.line(format_args!("-ERR Server shutting down"));
    }

    fn too_many_connections() -> &'static str {
        "-ERR Too many connections, try again later"
    }
}
