//! What every protocol session has in common.

use std::time::Duration;

use memchr::memchr;

use crate::lines::Line;
use crate::replies::Replies;

/// What a session wants after one input.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<Request> {
    /// The next line, or the next octets of a text.
    Continue,
    /// [`Session::more`] once the replies so far are on their way: the session has more to say.
    More,
    /// Have this done. Nothing is fed until the answer is there, so replies to pipelined commands keep their order
    /// (RFC 2920 §3.2).
    Ask(Request),
    /// Send what waits, then close the connection.
    Close,
}

/// One connection's protocol state. Owns no socket, file, clock or thread.
pub trait Session {
    /// Work only the outside world can do: look up a recipient, store a message, wait.
    type Request;
    /// What became of it.
    type Answer;

    /// How long a client may complete no line (in a text: send no octet); `None`: for ever.
    const IDLE: Option<Duration>;

    /// What a connection is told that turns out to speak HTTP, before it is closed (C-C12); one that speaks TLS is closed
    /// without a word (C-C11). `None`: no other protocols are looked for.
    const OTHER_PROTOCOL: Option<&'static str>;

    /// Greets.
    fn open(&mut self, replies: &mut Replies);

    /// Takes one command line.
    fn line(&mut self, line: Line, replies: &mut Replies) -> Step<Self::Request>;

    /// Whether the next octets are message data and go to [`Session::text`] instead of [`Session::line`].
    fn expects_text(&self) -> bool {
        false
    }

    /// Takes octets of message data, at least one, and says how many it took.
    fn text(&mut self, octets: &[u8], replies: &mut Replies) -> (usize, Step<Self::Request>) {
        let _ = replies;
        (octets.len(), Step::Continue)
    }

    /// Takes the answer to what it asked for.
    fn answer(&mut self, answer: Self::Answer, replies: &mut Replies) -> Step<Self::Request>;

    /// Goes on after [`Step::More`].
    fn more(&mut self, replies: &mut Replies) -> Step<Self::Request> {
        let _ = replies;
        Step::Continue
    }

    /// The client completed nothing for [`Session::IDLE`]; the connection then closes.
    fn idle(&mut self, replies: &mut Replies);

    /// Says goodbye because the server stops; the connection then closes. Says nothing in the middle of a listing or
    /// text, which a goodbye would only garble.
    fn stop(&mut self, replies: &mut Replies);

    /// What a connection beyond the limit is told instead of the greeting (C-C1); it is then closed.
    fn too_many_connections() -> &'static str;
}

/// Cuts a command line into its word and what stands behind the one space that ends it; `None`: there is no space.
pub(crate) fn command(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr(b' ', line) {
        Some(end) => (&line[..end], Some(&line[end + 1..])),
        None => (line, None),
    }
}
