//! The server core that every protocol shares: listen, accept, drive, limit, transcribe, stop.
//!
//! A protocol comes in as a [`Service`]: for each connection a session (pure, from `pillarbox_proto`) and a
//! [`Backend`] that performs what the session asks for. Nothing here knows a command of any protocol, or a mailbox.
//!
//! Connections are tasks on a multi-threaded runtime: sessions of different clients run in parallel on its worker
//! threads, and nothing of a connection outlives its task. What blocks (locks, flushes, hashes) is the backend's to
//! keep off the workers.

mod drive;
mod limits;
mod listen;
mod look;
mod serve;
mod stop;
mod tide;
mod transcript;

pub use drive::{Backend, LINGER, READ_OCTETS, REPLIES_WAIT_MAX, REQUEST_OCTETS, STOP_GRACE, TURN_OCTETS, drive};
pub use limits::{
    ADDRESS_MIN, ADDRESS_PARTS, Beside, CONNECTIONS_MAX, DESCRIPTORS_BESIDE, DESCRIPTORS_KEPT, POOL_PARTS, Place, Pool,
    Room, raise_descriptor_limit,
};
pub use listen::{BindError, bind, loopback};
pub use look::{KEPT_WAITS, TRIAL_WAITS};
pub use serve::{ACCEPT_PAUSE_MAX, LISTEN_BACKLOG, STOP_MAX, Server, Service, TURNED_AWAY_MAX};
pub use stop::stop_on_signals;
pub use tide::{TIDE_SETTLES, TIDE_TURNS};
pub use transcript::{Log, TRANSCRIPT_MAX_OCTETS, Transcript};
