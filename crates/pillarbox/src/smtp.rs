//! The SMTP service: sessions over a store.

use std::net::{IpAddr, SocketAddr};

use pillarbox_proto::address::LOCALHOST;
use pillarbox_proto::smtp::{Answer, RECIPIENTS_MAX, Refusal, Request, Session};
use pillarbox_proto::{Address, Envelope};
use pillarbox_server::{Backend, Log, Service};
use pillarbox_store::{Draft, Mailbox, Store, StoreError};

use crate::refusal;

const NO_SUCH_MAILBOX: Refusal = Refusal { code: 550, text: "No such mailbox here" };
const NOT_FORWARDED: Refusal = Refusal { code: 550, text: "No mail can be sent to this domain" };
const RELAYING_DENIED: Refusal = Refusal { code: 550, text: "Relaying denied" };

/// What others may do when they can reach it (C-C7).
pub const EXPOSED: &str = "takes mail from whoever sends it: SMTP has no password here";

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

    fn connect(&self, peer: SocketAddr, log: Log) -> (Session, Receiving<S>) {
        let receiving = Receiving {
            store: self.store.clone(),
            may_relay: is_loopback(peer.ip()),
            found: Vec::new(),
            draft: None,
            log,
        };
        (Session::new(self.message_max_octets), receiving)
    }
}

/// What stands behind one SMTP connection: the text that is being received.
pub struct Receiving<S> {
    store: S,
    /// Whether the client is on this host: mail for elsewhere is taken from such clients only (C-F1).
    may_relay: bool,
    /// Mailboxes that were looked up since the last message, newest last: as many as a transaction has, or fewer.
    found: Vec<(Address, Mailbox)>,
    draft: Option<Draft>,
    log: Log,
}

impl<S: Store> Receiving<S> {
    async fn recipient(&mut self, address: Address) -> Result<Answer, StoreError> {
        if !address.is_at(LOCALHOST) {
            return Ok(match (may_be_forwarded(&address), self.may_relay) {
                (false, _) => Answer::Refused(NOT_FORWARDED),
                (true, false) => Answer::Refused(RELAYING_DENIED),
                (true, true) => Answer::Taken,
            });
        }
        let Some(mailbox) = self.store.mailbox(&address).await? else { return Ok(Answer::Refused(NO_SUCH_MAILBOX)) };
        if self.found.len() >= RECIPIENTS_MAX {
            // Left from transactions that were given up.
            self.found.clear();
        }
        self.found.push((address, mailbox));
        Ok(Answer::Taken)
    }

    async fn text(&mut self, octets: &[u8]) -> Result<Answer, StoreError> {
        self.draft.get_or_insert_with(|| self.store.draft()).append(octets).await?;
        Ok(Answer::Taken)
    }

    async fn accept(&mut self, envelope: &Envelope) -> Result<Answer, StoreError> {
        // A message without any text was never begun.
        let text = self.draft.take().unwrap_or_else(|| self.store.draft()).finish().await?;
        let (local, remote): (Vec<_>, Vec<_>) =
            envelope.forward_paths.iter().cloned().partition(|address| address.is_at(LOCALHOST));
        // What RCPT has found, in the same order. Whether the mailboxes are still there, the store sees to.
        let mut found = std::mem::take(&mut self.found).into_iter().rev();
        let mut mailboxes = Vec::with_capacity(local.len());
        for address in local.iter().rev() {
            let mailbox = match found.next() {
                Some((known, mailbox)) if known == *address => Some(mailbox),
                _ => self.store.mailbox(address).await?,
            };
            let absent = || StoreError::NoSuchMailbox { name: address.local_part().to_owned() };
            mailboxes.push(mailbox.ok_or_else(absent)?);
        }
        self.store.accept(envelope, text, &mailboxes, &remote).await?;
        Ok(Answer::Taken)
    }
}

/// Whether mail can be sent to the domain of this address at all (C-F1): it is an address literal, or a name of several
/// labels that is no number and not below `localhost`.
fn may_be_forwarded(address: &Address) -> bool {
    let domain = address.domain();
    if domain.starts_with('[') {
        return true;
    }
    let mut labels = domain.rsplit('.');
    let last = labels.next().unwrap_or_default();
    labels.next().is_some()
        && !last.eq_ignore_ascii_case(LOCALHOST)
        && !last.bytes().all(|octet| octet.is_ascii_digit())
}

/// Whether a client is on this host; an IPv4 address may come in the form of an IPv6 one.
fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

impl<S: Store> Backend<Session> for Receiving<S> {
    async fn perform(&mut self, request: Request) -> Answer {
        let result = match request {
            Request::Recipient(address) => self.recipient(address).await,
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

#[cfg(test)]
#[path = "smtp/tests.rs"]
mod tests;
