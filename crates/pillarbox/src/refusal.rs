//! What clients are told when the storage could not do it: the one place where errors become replies.
//!
//! Paths and causes are for the log only.

use pillarbox_proto::smtp::Refusal;
use pillarbox_store::StoreError;

/// The SMTP reply (C-S6, C-S9): 452 when there is no room, 550 when there is no such mailbox, 451 for everything else.
#[must_use]
pub fn smtp(error: &StoreError) -> Refusal {
    let (code, text) = match error {
        StoreError::Full { .. } => (452, "Insufficient storage, try again later"),
        StoreError::Locked { .. } => (451, "Mailbox is locked by another program, try again later"),
        StoreError::HardLinked { .. } => (451, "Mailbox has more than one link and takes no mail now"),
        _ => (451, "Local error, try again later"),
    };
    Refusal { code, text }
}

/// The text behind `-ERR`.
#[must_use]
pub fn pop3(error: &StoreError) -> &'static str {
    match error {
        StoreError::Full { .. } => "Insufficient storage, try again later",
        StoreError::InUse { .. } => "Maildrop is in use by another session",
        StoreError::Locked { .. } => "Mailbox is locked by another program, try again later",
        StoreError::HardLinked { .. } => "Mailbox has more than one link and cannot be used now",
        StoreError::Changed { .. } => "Mailbox was changed by another program, log in again",
        _ => "Local error, try again later",
    }
}
