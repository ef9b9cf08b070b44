//! The POP3 service: sessions over a store.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pillarbox_proto::Address;
use pillarbox_proto::address::LOCALHOST;
use pillarbox_proto::pop3::{Answer, Request, Session, UniqueId};
use pillarbox_server::{Backend, Beside, Log, Place, Service};
use pillarbox_store::{Maildrop, Store, StoreError, TextReader};
use tokio::time::sleep;

use crate::{CLASSIC_PASSWORD, refusal};

/// What others may do when they can reach it (C-C7).
pub const EXPOSED: &str = "the password is public: whoever connects can read all mail";

/// The message behind the one that was read is read ahead when it is this small: most clients fetch one after another, and
/// then it is there when it is asked for. As much may wait for each connection.
pub const READ_AHEAD_MAX_OCTETS: u64 = 16 * 1024;

/// How long a client is looked for ([`Backend::LOOK_MAX`]). Clients ask for one message after another, and most are read
/// without another thread.
pub const LOOK_MAX: Duration = Duration::from_micros(50);

/// The POP3 server (C-P).
pub struct Pop3<S> {
    /// Where mail is.
    pub store: S,
    /// Room for the locks of sessions, and for their mailboxes.
    pub beside: Beside,
}

impl<S: Store> Service for Pop3<S> {
    type Session = Session;
    type Backend = Serving<S>;

    fn connect(&self, _: SocketAddr, log: Log) -> (Session, Serving<S>) {
        (Session::default(), Serving::new(self.store.clone(), self.beside.clone(), log))
    }
}

/// What stands behind one POP3 connection: its maildrop, once a login succeeded, and the message that is being read.
pub struct Serving<S: Store> {
    store: S,
    beside: Beside,
    maildrop: Option<S::Maildrop>,
    /// Room for its lock, and for the file.
    _room: Option<[Place; 2]>,
    reading: Option<Reading<Reader<S>>>,
    /// A message that is being read before it is asked for.
    ahead: Option<Reading<Reader<S>>>,
    log: Log,
}

type Reader<S> = <<S as Store>::Maildrop as Maildrop>::Reader;

/// A message that is being read: the next chunk of it before it is asked for, while the one in front is sent.
struct Reading<Reader> {
    index: usize,
    next: Pin<Box<dyn Future<Output = Next<Reader>> + Send>>,
}

/// A reader, and the chunk it has read.
type Next<Reader> = (Reader, Result<Option<Vec<u8>>, StoreError>);

impl<Reader: TextReader> Reading<Reader> {
    /// Begins to read the next chunk.
    fn begin(index: usize, mut reader: Reader) -> Self {
        let mut next: Pin<Box<dyn Future<Output = Next<Reader>> + Send>> = Box::pin(async move {
            let chunk = reader.next().await;
            (reader, chunk)
        });
        // Begun by the first look at it. Nobody is told when it is there: that is seen when it is needed.
        if let Poll::Ready(read) = next.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            next = Box::pin(std::future::ready(read));
        }
        Self { index, next }
    }
}

impl<S: Store> Serving<S> {
    /// Nobody is logged in yet.
    pub fn new(store: S, beside: Beside, log: Log) -> Self {
        Self { store, beside, maildrop: None, _room: None, reading: None, ahead: None, log }
    }

    async fn login(&mut self, name: &[u8], password: &[u8]) -> Result<Answer, StoreError> {
        if password != CLASSIC_PASSWORD.as_bytes() {
            return Ok(Answer::Denied);
        }
        let Some(address) = login_address(name) else { return Ok(Answer::Denied) };
        let Some(mailbox) = self.store.mailbox(&address).await? else { return Ok(Answer::Denied) };
        let (Some(lock), Some(file)) = (self.beside.take(), self.beside.take()) else { return Ok(TOO_MANY) };
        let maildrop = self.store.open(&mailbox).await?;
        let octets = maildrop.octets().to_vec();
        self.maildrop = Some(maildrop);
        self._room = Some([lock, file]);
        Ok(Answer::Opened(octets))
    }

    async fn read(&mut self, index: usize) -> Result<Answer, StoreError> {
        let Some(maildrop) = &self.maildrop else { return Ok(NOT_LOGGED_IN) };
        let ahead = self.ahead.take().filter(|ahead| ahead.index == index);
        self.reading = Some(ahead.unwrap_or_else(|| Reading::begin(index, maildrop.read(index))));
        self.read_on().await
    }

    async fn read_on(&mut self) -> Result<Answer, StoreError> {
        let Some(Reading { index, next }) = self.reading.take() else { return Ok(NOT_LOGGED_IN) };
        let (reader, chunk) = next.await;
        let chunk = chunk?;
        if chunk.is_some() {
            self.reading = Some(Reading::begin(index, reader));
        } else {
            self.read_ahead(index + 1);
        }
        Ok(Answer::Text(chunk))
    }

    /// Begins to read a message that has not been asked for, if it is small.
    fn read_ahead(&mut self, index: usize) {
        let Some(maildrop) = &self.maildrop else { return };
        if maildrop.octets().get(index).is_some_and(|octets| *octets <= READ_AHEAD_MAX_OCTETS) {
            self.ahead = Some(Reading::begin(index, maildrop.read(index)));
        }
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
            (Request::Read(index), Some(_)) => self.read(index).await,
            (Request::ReadOn, Some(_)) => self.read_on().await,
            (Request::Commit(delete), maildrop @ Some(_)) => {
                self.ahead = None;
                if let Some(maildrop) = maildrop.take() {
                    maildrop.commit(&delete).await?;
                }
                Ok(Answer::Committed)
            }
            (_, None) => Ok(NOT_LOGGED_IN),
        }
    }
}

const TOO_MANY: Answer = Answer::Failed("Too many sessions, try again later");

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
    const LOOK_MAX: Duration = LOOK_MAX;

    async fn perform(&mut self, request: Request) -> Answer {
        self.perform(request).await.unwrap_or_else(|error| {
            self.log.note(format_args!("{error}"));
            Answer::Failed(refusal::pop3(&error))
        })
    }
}

#[cfg(test)]
#[path = "pop3/tests.rs"]
mod tests;
