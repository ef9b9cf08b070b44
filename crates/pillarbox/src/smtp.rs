//! The SMTP service: sessions over a store.

use std::net::{IpAddr, SocketAddr};

use pillarbox_proto::address::LOCALHOST;
use pillarbox_proto::smtp::{Answer, Refusal, Request, Session};
use pillarbox_proto::{Address, Envelope};
use pillarbox_server::{Backend, Beside, Log, Place, Service};
use pillarbox_store::{Draft, Mailbox, Store, StoreError, TEXT_IN_MEMORY_MAX_OCTETS};

use crate::refusal;

/// Recipients here of one transaction for whose mailboxes descriptors are kept, as for those of a group of messages. Each
/// further one needs room for its mailbox, and may be one too many (RFC 5321 §4.5.3.1.10).
pub const RECIPIENTS_KEPT: usize = 64;

const TOO_MANY_RECIPIENTS: Refusal = Refusal { code: 452, text: "Too many recipients" };
const TOO_MANY_LONG: Refusal = Refusal { code: 452, text: "Too many long messages at once, try again later" };
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
    /// Room for the files of long texts, and for mailboxes.
    pub beside: Beside,
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
            beside: self.beside.clone(),
            room: Vec::new(),
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
    /// The mailboxes of the recipients here that this transaction has.
    found: Vec<Mailbox>,
    /// Room for those of them beyond [`RECIPIENTS_KEPT`].
    room: Vec<Place>,
    /// The text that is being received, and room for its file once it has one.
    draft: Option<(Draft, Option<Place>)>,
    beside: Beside,
    log: Log,
}

impl<S: Store> Receiving<S> {
    async fn recipient(&mut self, address: Address, others: usize) -> Result<Answer, StoreError> {
        if others == 0 {
            // What is left of a transaction that was given up.
            self.found.clear();
            self.room.clear();
        }
        if !address.is_at(LOCALHOST) {
            return Ok(match (may_be_forwarded(&address), self.may_relay) {
                (false, _) => Answer::Refused(NOT_FORWARDED),
                (true, false) => Answer::Refused(RELAYING_DENIED),
                (true, true) => Answer::Taken,
            });
        }
        let Some(mailbox) = self.store.mailbox(&address).await? else { return Ok(Answer::Refused(NO_SUCH_MAILBOX)) };
        if self.found.len() >= RECIPIENTS_KEPT && !self.found.contains(&mailbox) {
            let Some(place) = self.beside.take() else { return Ok(Answer::Refused(TOO_MANY_RECIPIENTS)) };
            self.room.push(place);
        }
        self.found.push(mailbox);
        Ok(Answer::Taken)
    }

    async fn text(&mut self, octets: &[u8]) -> Result<Answer, StoreError> {
        let (draft, file) = self.draft.get_or_insert_with(|| (self.store.draft(), None));
        if file.is_none() && draft.octets() + octets.len() as u64 > TEXT_IN_MEMORY_MAX_OCTETS as u64 {
            *file = self.beside.take();
            if file.is_none() {
                self.draft = None;
                return Ok(Answer::Refused(TOO_MANY_LONG));
            }
        }
        draft.append(octets).await?;
        Ok(Answer::Taken)
    }

    async fn accept(&mut self, envelope: &Envelope) -> Result<Answer, StoreError> {
        // A message without any text was never begun.
        let (draft, _file) = self.draft.take().unwrap_or_else(|| (self.store.draft(), None));
        let text = draft.finish().await?;
        // Whether the mailboxes that RCPT has found are still there, the store sees to.
        let (local, _room) = (std::mem::take(&mut self.found), std::mem::take(&mut self.room));
        let is_remote = |address: &&Address| !address.is_at(LOCALHOST);
        let remote: Vec<_> = envelope.forward_paths.iter().filter(is_remote).cloned().collect();
        self.store.accept(envelope, text, &local, &remote).await?;
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
            Request::Recipient { address, others } => self.recipient(address, others).await,
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
