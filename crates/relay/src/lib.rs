//! Sending mail on: where a domain takes its mail, dialing there, and what became of each recipient.
//!
//! ```text
//!   envelope ─▶ Relay::deliver ─▶ Resolver::route ─ hosts ─▶ dial ─▶ drive(Client, Source) ─▶ outcomes ─▶ reports
//!                    ▲                                                                            │
//!                    ╰──────────── whoever may be tried elsewhere: the next address ◀─────────────╯
//! ```
//!
//! The protocol is [`pillarbox_proto::client`], which owns no socket; here are the sockets, the clock and the DNS.
//! RFC 5321 §5.1 (which host), §4.5.3.2 (how long), §4.4 (the Received line), RFC 7505 (null MX). Nothing here knows
//! where the mail comes from, or keeps it: that is the queue's.

pub mod deliver;
pub mod name;
pub mod resolve;
pub mod route;
mod servers;
pub mod source;
pub mod trace;

mod dial;
mod drive;
mod ledger;
mod own;
mod question;

pub use deliver::{Event, Relay, Report};
pub use resolve::Resolver;
pub use route::{Host, RouteError};
pub use source::{Octets, Source};
