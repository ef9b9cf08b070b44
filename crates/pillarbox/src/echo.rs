//! The echo service.

use std::convert::Infallible;
use std::net::SocketAddr;

use pillarbox_proto::echo::Session;
use pillarbox_server::{Backend, Log, Service};

use crate::author::AUTHOR;

/// What others may do when they can reach it (C-C7).
pub const EXPOSED: &str = "answers whoever asks";

/// The echo server (C-E): sessions that never ask for anything.
pub struct Echo;

/// Nothing stands behind an echo session.
pub struct Nothing;

impl Service for Echo {
    type Session = Session;
    type Backend = Nothing;

    fn connect(&self, _: SocketAddr, _: Log) -> (Session, Nothing) {
        (Session::new(AUTHOR), Nothing)
    }
}

impl Backend<Session> for Nothing {
    async fn perform(&mut self, request: Infallible) -> Infallible {
        match request {}
    }
}
