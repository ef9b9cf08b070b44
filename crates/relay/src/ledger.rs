//! Who of an envelope is decided, and who may be tried at another host (RFC 5321 §5.1).

use std::collections::VecDeque;

use pillarbox_proto::client::Outcome;
use pillarbox_proto::{Address, Envelope, ReversePath};

use crate::deliver::Report;
use crate::drive::Progress;

/// The recipients of one message at one domain while hosts are tried.
///
/// `Delivered` and `Failed` are final. `Deferred` is final for a recipient only when no host is left, and for all of
/// them when a host may have the message without our knowing.
#[derive(Debug)]
pub(crate) struct Ledger {
    reverse_path: ReversePath,
    recipients: Vec<Recipient>,
    /// What kept us out at the host that was tried last: nobody there has heard of the recipients.
    unreached: Option<Report>,
    /// A host that takes no mail at all (a greeting of 5yz, RFC 5321 §3.1). Another one of the domain may.
    unwelcome: Option<Report>,
    over: bool,
}

#[derive(Debug)]
struct Recipient {
    address: Address,
    decided: Option<Report>,
    /// What the last host that heard of it has said.
    deferred: Option<Report>,
}

impl Recipient {
    fn is_open(&self) -> bool {
        self.decided.is_none()
    }
}

impl Ledger {
    pub(crate) fn new(envelope: &Envelope) -> Self {
        let recipient = |address: &Address| Recipient { address: address.clone(), decided: None, deferred: None };
        Self {
            reverse_path: envelope.reverse_path.clone(),
            recipients: envelope.forward_paths.iter().map(recipient).collect(),
            unreached: None,
            unwelcome: None,
            over: false,
        }
    }

    /// The envelope for the next host: whoever is not decided.
    pub(crate) fn envelope(&self) -> Envelope {
        let open = self.recipients.iter().filter(|recipient| recipient.is_open());
        Envelope {
            reverse_path: self.reverse_path.clone(),
            forward_paths: open.map(|recipient| recipient.address.clone()).collect(),
        }
    }

    /// Whether no further host is to be tried.
    pub(crate) fn is_over(&self) -> bool {
        self.over || !self.recipients.iter().any(Recipient::is_open)
    }

    /// A host could not be connected.
    pub(crate) fn unreached(&mut self, host: &str, why: String) {
        self.unreached = Some(Report { outcome: Outcome::Deferred(why), host: Some(host.to_owned()) });
    }

    /// A session with a host has ended. `outcomes` are those of [`Ledger::envelope`], in its order.
    pub(crate) fn spoken(&mut self, host: &str, outcomes: Vec<(Address, Outcome)>, progress: Progress) {
        let report = |outcome| Report { outcome, host: Some(host.to_owned()) };
        let mut outcomes: VecDeque<_> = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
        if !progress.welcomed {
            match outcomes.pop_front() {
                Some(outcome @ Outcome::Failed(_)) => self.unwelcome = Some(report(outcome)),
                outcome => self.unreached = outcome.map(report),
            }
            return;
        }
        for recipient in self.recipients.iter_mut().filter(|recipient| recipient.is_open()) {
            match outcomes.pop_front() {
                Some(outcome @ Outcome::Deferred(_)) => recipient.deferred = Some(report(outcome)),
                outcome => recipient.decided = outcome.map(report),
            }
        }
        self.over = progress.in_doubt() || progress.unreadable;
    }

    /// What became of each recipient, in the order of the envelope. What a host has said of the recipient itself tells
    /// more than that another could not be reached; that all hosts refuse us for good counts when none may change.
    pub(crate) fn into_reports(self) -> Vec<(Address, Report)> {
        let Self { unreached, unwelcome, .. } = self;
        let untried = || Report { outcome: Outcome::Deferred("not tried".to_owned()), host: None };
        let report = |recipient: Recipient| {
            let reports = [recipient.decided, recipient.deferred, unreached.clone(), unwelcome.clone()];
            (recipient.address, reports.into_iter().flatten().next().unwrap_or_else(untried))
        };
        self.recipients.into_iter().map(report).collect()
    }
}

#[cfg(test)]
#[path = "ledger/tests.rs"]
mod tests;
