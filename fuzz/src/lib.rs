//! The properties that the fuzz targets try. They are written once, beside the tests that try them on a bounded number
//! of cases; each target hands its octets to one of the functions here, which panic where the property does not hold.

#[path = "../../crates/proto/tests/properties/mod.rs"]
mod proto;
#[path = "../../crates/store/tests/properties/mbox.rs"]
mod stored;

// Parts of the store that it shows to nobody, under the names that they and their properties know each other by.
#[allow(dead_code, reason = "the store uses more of it")]
#[path = "../../crates/store/src/from_line.rs"]
mod from_line;
#[path = "../../crates/store/src/quote.rs"]
mod quote;
#[allow(dead_code, reason = "the store uses more of it")]
#[path = "../../crates/store/src/scan.rs"]
mod scan;

use proto::input::{self, Input};

/// Command lines: cut anywhere, the same come out.
pub fn lines(octets: &[u8]) {
    proto::lines::check(&Input::parse(octets));
}

/// Message data: its end, its dots, its line ends.
pub fn data(octets: &[u8]) {
    proto::data::check(&Input::parse(octets));
}

/// Addresses: what parses is shown, and parses to itself.
pub fn address(octets: &[u8]) {
    proto::address::check(&Input::parse(octets));
}

/// SMTP server sessions.
pub fn smtp(octets: &[u8]) {
    proto::smtp::check(&Input::parse(octets));
}

/// POP3 server sessions.
pub fn pop3(octets: &[u8]) {
    proto::pop3::check(&Input::parse(octets));
}

/// SMTP client sessions with a hostile server.
pub fn client(octets: &[u8]) {
    proto::client::check(&Input::parse(octets));
}

/// Mailboxes of any octets.
pub fn mbox(octets: &[u8]) {
    stored::check(&Input::parse(octets));
}

/// Texts stored behind any mailbox.
pub fn mbox_round_trip(octets: &[u8]) {
    stored::check_round_trip(&Input::parse(octets));
}
