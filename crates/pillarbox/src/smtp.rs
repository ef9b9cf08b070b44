//! The SMTP service: sessions over a store.

use std::net::SocketAddr;

use pillarbox_proto::address::LOCALHOST;
use pillarbox_proto::smtp::{Answer, Refusal, Request, Session};
use pillarbox_proto::{Address, Envelope};
use pillarbox_server::{Backend, Log, Service};
use pillarbox_store::{Draft, Mailbox, Store, StoreError};

use crate::refusal;

const NO_SUCH_MAILBOX: Refusal = Refusal { code: 550, text: "No such mailbox here" };
const OTHER_DOMAIN: Refusal = Refusal { code: 550, text: "Mail for other domains is not taken here" };

/// The SMTP server (C-S).
pub struct Smtp<S> {
    /// Where mail goes.
    pub store: S,
    /// Largest message, in octets of text.
    pub message_max_octets: u64,
}

impl<S: Store> Service for Smtp<S> {
    type Session = Session;
    type Backend = Receiving<S>;

    fn connect(&self, _: SocketAddr, log: Log) -> (Session, Receiving<S>) {
        (Session::new(self.message_max_octets), Receiving::new(self.store.clone(), log))
    }
}

/// What stands behind one SMTP connection: the text that is being received.
pub struct Receiving<S> {
    store: S,
    draft: Option<Draft>,
    log: Log,
}

impl<S: Store> Receiving<S> {
    /// Nothing received yet.
    pub fn new(store: S, log: Log) -> Self {
        Self { store, draft: None, log }
    }

    async fn recipient(&self, address: &Address) -> Result<Answer, StoreError> {
        if !address.is_at(LOCALHOST) {
            return Ok(Answer::Refused(OTHER_DOMAIN));
        }
        Ok(match self.store.mailbox(address).await? {
            Some(_) => Answer::Taken,
            None => Answer::Refused(NO_SUCH_MAILBOX),
        })
    }

    async fn text(&mut self, octets: &[u8]) -> Result<Answer, StoreError> {
        self.draft.get_or_insert_with(|| self.store.draft()).append(octets).await?;
        Ok(Answer::Taken)
    }

    async fn accept(&mut self, envelope: &Envelope) -> Result<Answer, StoreError> {
        // A message without any text was never begun.
        let text = self.draft.take().unwrap_or_else(|| self.store.draft()).finish().await?;
        let mut mailboxes: Vec<Mailbox> = Vec::new();
        for address in &envelope.forward_paths {
            // Looked up again: the mailbox may have gone since RCPT.
            match self.store.mailbox(address).await? {
                Some(mailbox) => mailboxes.push(mailbox),
                None => return Err(StoreError::NoSuchMailbox { name: address.local_part().to_owned() }),
            }
        }
        self.store.accept(envelope, text, &mailboxes).await?;
        Ok(Answer::Taken)
    }
}

impl<S: Store> Backend<Session> for Receiving<S> {
    async fn perform(&mut self, request: Request) -> Answer {
        let result = match request {
            Request::Recipient(address) => self.recipient(&address).await,
            Request::Text(octets) => self.text(&octets).await,
            Request::Accept(envelope) => self.accept(&envelope).await,
            Request::Discard => {
                self.draft = None;
                Ok(Answer::Taken)
            }
        };
        result.unwrap_or_else(|error| {
            self.log.note(format_args!("{error}"));
            self.draft = None;
            Answer::Refused(refusal::smtp(&error))
        })
    }
}
