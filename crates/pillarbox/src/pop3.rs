//! The POP3 service: sessions over a store.

use std::net::SocketAddr;

use pillarbox_proto::Address;
use pillarbox_proto::address::LOCALHOST;
use pillarbox_proto::pop3::{Answer, Request, Session, UniqueId};
use pillarbox_server::{Backend, Log, Service};
use pillarbox_store::{Maildrop, Store, StoreError, TextReader};
use tokio::time::sleep;

use crate::{CLASSIC_PASSWORD, refusal};

/// What others may do when they can reach it (C-C7).
pub const EXPOSED: &str = "the password is public: whoever connects can read all mail";

/// The POP3 server (C-P).
pub struct Pop3<S> {
    /// Where mail is.
    pub store: S,
}

impl<S: Store> Service for Pop3<S> {
    type Session = Session;
    type Backend = Serving<S>;

    fn connect(&self, _: SocketAddr, log: Log) -> (Session, Serving<S>) {
        (Session::default(), Serving::new(self.store.clone(), log))
    }
}

/// What stands behind one POP3 connection: its maildrop, once a login succeeded, and the message that is being read.
pub struct Serving<S: Store> {
    store: S,
    maildrop: Option<S::Maildrop>,
    reader: Option<<S::Maildrop as Maildrop>::Reader>,
    log: Log,
}

impl<S: Store> Serving<S> {
    /// Nobody is logged in yet.
    pub fn new(store: S, log: Log) -> Self {
        Self { store, maildrop: None, reader: None, log }
    }

    async fn login(&mut self, name: &[u8], password: &[u8]) -> Result<Answer, StoreError> {
        if password != CLASSIC_PASSWORD.as_bytes() {
            return Ok(Answer::Denied);
        }
        let Some(address) = login_address(name) else { return Ok(Answer::Denied) };
        let Some(mailbox) = self.store.mailbox(&address).await? else { return Ok(Answer::Denied) };
        let maildrop = self.store.open(&mailbox).await?;
        let octets = maildrop.octets().to_vec();
        self.maildrop = Some(maildrop);
        Ok(Answer::Opened(octets))
    }

    async fn read_on(&mut self) -> Result<Answer, StoreError> {
        let Some(reader) = &mut self.reader else { return Ok(NOT_LOGGED_IN) };
        let text = reader.next().await?;
        if text.is_none() {
            self.reader = None;
        }
        Ok(Answer::Text(text))
    }

    async fn perform(&mut self, request: Request) -> Result<Answer, StoreError> {
        match (request, &mut self.maildrop) {
            (Request::Login { name, password }, _) => self.login(&name, &password).await,
            (Request::Pause(duration), _) => {
                sleep(duration).await;
                Ok(Answer::Paused)
            }
            (Request::UniqueIds(range), Some(maildrop)) => {
                let ids = maildrop.unique_ids(range).await?;
                Ok(Answer::UniqueIds(ids.into_iter().map(UniqueId).collect()))
            }
            (Request::Read(index), Some(maildrop)) => {
                self.reader = Some(maildrop.read(index));
                self.read_on().await
            }
            (Request::ReadOn, Some(_)) => self.read_on().await,
            (Request::Commit(delete), maildrop @ Some(_)) => {
                if let Some(maildrop) = maildrop.take() {
                    maildrop.commit(&delete).await?;
                }
                Ok(Answer::Committed)
            }
            (_, None) => Ok(NOT_LOGGED_IN),
        }
    }
}

/// A session asks for messages only after a login.
const NOT_LOGGED_IN: Answer = Answer::Failed("Log in first");

/// Who a login name means: `user` or `user@localhost` (C-P3).
fn login_address(name: &[u8]) -> Option<Address> {
    let name = std::str::from_utf8(name).ok()?;
    let local_part = match name.rsplit_once('@') {
        Some((local_part, domain)) if domain.eq_ignore_ascii_case(LOCALHOST) => local_part,
        Some(_) => return None,
        None => name,
    };
    Address::at_localhost(local_part).ok()
}

impl<S: Store> Backend<Session> for Serving<S> {
    async fn perform(&mut self, request: Request) -> Answer {
        self.perform(request).await.unwrap_or_else(|error| {
            self.log.note(format_args!("{error}"));
            self.reader = None;
            Answer::Failed(refusal::pop3(&error))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// holds C-P3
    #[test]
    fn login_names() {
        for (name, local_part) in [
            ("linhphan", Some("linhphan")),
            ("linhphan@localhost", Some("linhphan")),
            ("linhphan@LocalHost", Some("linhphan")),
            ("linhphan@example.org", None),
            ("", None),
            ("@localhost", None),
        ] {
            let address = login_address(name.as_bytes());
            assert_eq!(address.as_ref().map(Address::local_part), local_part, "{name:?}");
        }
        assert_eq!(login_address(b"\xff"), None);
    }
}
