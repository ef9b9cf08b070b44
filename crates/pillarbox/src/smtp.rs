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
            transaction: Transaction::default(),
            beside: self.beside.clone(),
            log,
        };
        (Session::new(self.message_max_octets), receiving)
    }
}

/// What stands behind one SMTP connection.
pub struct Receiving<S> {
    store: S,
    /// Whether the client is on this host: mail for elsewhere is taken from such clients only (C-F1).
    may_relay: bool,
    transaction: Transaction,
    beside: Beside,
    log: Log,
}

/// What a mail transaction has. It goes with the transaction: a client that only waits holds no room.
#[derive(Default)]
struct Transaction {
    /// The mailboxes of the recipients here.
    found: Vec<Mailbox>,
    /// Room for those of them beyond [`RECIPIENTS_KEPT`].
    room: Vec<Place>,
    /// The text that is being received, and room for its file once it has one.
    draft: Option<(Draft, Option<Place>)>,
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
        let Transaction { found, room, .. } = &mut self.transaction;
        if found.len() >= RECIPIENTS_KEPT && !found.contains(&mailbox) {
            let Some(place) = self.beside.take() else { return Ok(Answer::Refused(TOO_MANY_RECIPIENTS)) };
            room.push(place);
        }
        found.push(mailbox);
        Ok(Answer::Taken)
    }

    async fn text(&mut self, octets: &[u8]) -> Result<Answer, StoreError> {
        // Back only with what is taken: a text that is refused ends its transaction.
        let mut transaction = std::mem::take(&mut self.transaction);
        let (draft, file) = transaction.draft.get_or_insert_with(|| (self.store.draft(), None));
        if file.is_none() && draft.octets() + octets.len() as u64 > TEXT_IN_MEMORY_MAX_OCTETS as u64 {
            *file = self.beside.take();
            if file.is_none() {
                return Ok(Answer::Refused(TOO_MANY_LONG));
            }
        }
        draft.append(octets).await?;
        self.transaction = transaction;
        Ok(Answer::Taken)
    }

    async fn accept(&mut self, envelope: &Envelope) -> Result<Answer, StoreError> {
        let Transaction { found: local, room: _room, draft } = std::mem::take(&mut self.transaction);
        // A message without any text was never begun.
        let (draft, _file) = draft.unwrap_or_else(|| (self.store.draft(), None));
        let text = draft.finish().await?;
        let is_remote = |address: &&Address| !address.is_at(LOCALHOST);
        let remote: Vec<_> = envelope.forward_paths.iter().filter(is_remote).cloned().collect();
        // Whether the mailboxes that RCPT has found are still there, the store sees to.
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
            Request::Recipient(address) => self.recipient(address).await,
            Request::Text(octets) => self.text(&octets).await,
            Request::Accept(envelope) => self.accept(&envelope).await,
            Request::Discard => {
                self.transaction = Transaction::default();
                Ok(Answer::Taken)
            }
        };
        result.unwrap_or_else(|error| {
            self.log.note(format_args!("{error}"));
            Answer::Refused(refusal::smtp(&error))
        })
    }
}

#[cfg(test)]
#[path = "smtp/tests.rs"]
mod tests;
