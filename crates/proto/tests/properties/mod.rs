//! What must hold for any octets and any answers, each property written once: `tests/properties.rs` tries them on a
//! bounded number of cases with the stable compiler, the targets in `fuzz/` for as long as they are left running.
//!
//! A property is a function that takes an [`Input`](input::Input) and panics where it does not hold.

use pillarbox_proto::connection::REPLIES_MAX_OCTETS;
use pillarbox_proto::{Connection, Entry, Session, Todo};

use input::Choices;

pub(crate) mod address;
pub(crate) mod client;
pub(crate) mod data;
pub(crate) mod input;
pub(crate) mod lines;
pub(crate) mod pop3;
pub(crate) mod smtp;
pub(crate) mod wires;

/// How a conversation ends once the wire is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client closes its side.
    Closed,
    /// The client does nothing.
    Idle,
    /// The server stops.
    Stopped,
}

impl End {
    pub(crate) fn choose(choices: &mut Choices<'_>) -> Self {
        [Self::Closed, Self::Idle, Self::Stopped][choices.below(3)]
    }
}

/// What happened, in order. The greeting is not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event<Request> {
    Noted(Entry),
    Asked(Request),
}

/// A conversation that was played to its end.
#[derive(Debug)]
pub(crate) struct Played<Request> {
    /// Everything that was sent.
    pub(crate) sent: Vec<u8>,
    pub(crate) events: Vec<Event<Request>>,
    /// [`Connection::abandon`] was called.
    pub(crate) abandoned: bool,
}

/// Runs a connection as the server's driver does, on `pieces` of a wire. `perform` gives `None` where the server stops
/// and does not wait any longer. One reply, or one piece of text, has at most `reply_max` octets.
pub(crate) fn play<S: Session>(
    session: S,
    pieces: &[&[u8]],
    end: End,
    reply_max: usize,
    mut perform: impl FnMut(&S::Request) -> Option<S::Answer>,
) -> Played<S::Request> {
    let mut connection = Connection::with_transcript(session);
    let mut played = Played { sent: Vec::new(), events: Vec::new(), abandoned: false };
    let mut pieces = pieces.iter();
    let mut ended = false;
    loop {
        let todo = connection.todo();
        played.events.extend(connection.take_transcript().into_iter().map(Event::Noted));
        match todo {
            Todo::Send(octets) => {
                assert!(!octets.is_empty(), "nothing to send");
                assert!(octets.len() < REPLIES_MAX_OCTETS + reply_max, "{} octets wait", octets.len());
                played.sent.extend_from_slice(&octets);
            }
            Todo::Perform(request) => {
                // What waits is sent ahead where the request takes its time.
                if played.events.len() % 2 == 0 {
                    played.sent.extend(connection.take_replies());
                }
                match perform(&request) {
                    Some(answer) => connection.answered(answer),
                    None => {
                        connection.abandon();
                        played.abandoned = true;
                    }
                }
                played.events.push(Event::Asked(request));
            }
            Todo::Receive => match pieces.next() {
                Some(piece) => connection.received(piece),
                None => {
                    assert!(!ended, "it waits for more behind the end");
                    ended = true;
                    match end {
                        End::Closed => connection.ended(),
                        End::Idle => connection.idle(),
                        End::Stopped => connection.stop(),
                    }
                }
            },
            Todo::Close => {
                assert!(matches!(connection.todo(), Todo::Close), "closed once is closed for good");
                return played;
            }
        }
    }
}
