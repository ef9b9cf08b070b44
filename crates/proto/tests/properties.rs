//! The properties of `properties/` on a bounded number of cases.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

#[path = "properties/mod.rs"]
mod properties;

use properties::input::Input;
use properties::{address, client, data, lines, pop3, smtp};

const LINES: &[&str] = &["\r\n", "\n", "\r", " ", "x", ".", "\0", "\u{fc}"];

const DATA: &[&str] = &["\r\n", "\r\n.\r\n", "\r\n.", "\n", "\r", ".", "a", "\r\n..", "\n.\n", ".\r"];

const PATH_OPENINGS: &[&str] = &["", "<", "<a@", "<\"", "\"", "a@", "a@b", "<@a:", "<a@[IPv6:", "<\"a..b", "<\"\""];
const PATHS: &[&str] = &[
    "<",
    ">",
    "a",
    "@",
    "b",
    ".",
    "@localhost",
    "@localhost>",
    "\"",
    "\\",
    "\"@",
    "\"@b>",
    " ",
    "@a,@b:",
    "[IPv6:",
    "::1",
    "]",
    "@[127.0.0.1]>",
    "-",
    "\u{fc}",
    "\0",
    "a.234567890123456789012345678901234567890123456789012345678901234",
];

const SMTP_OPENINGS: &[&str] = &[
    "",
    "\u{16}",
    "POST / HTTP/1.1\r\nHELO client.example\r\n",
    "GET ",
    "a HTTP/1.1\r\n",
    "HELO client.example\r\n",
    "HELO client.example\r\nMAIL FROM:<>\r\n",
    "HELO client.example\r\nMAIL FROM:<a@localhost>\r\nRCPT TO:<b@localhost>\r\nRCPT TO:<c@localhost>\r\n",
    "HELO client.example\r\nMAIL FROM:<>\r\nRCPT TO:<b@localhost>\r\nRCPT TO:<c@localhost>\r\nDATA\r\n",
    "HELO client.example\r\nMAIL FROM:<>\r\nRCPT TO:<b@localhost>\r\nDATA\r\n..text\n\r\n.\r\n",
];
const SMTP: &[&str] = &[
    "HELO client.example\r\n",
    "MAIL FROM:<a@localhost>\r\n",
    "RCPT TO:<b@localhost>\r\n",
    "RCPT TO:<c@example.org>\r\n",
    "DATA\r\n",
    "MAIL FROM:<a@localhost>\r\nRCPT TO:<b@localhost>\r\nRCPT TO:<c@localhost>\r\nDATA\r\n",
    "text\r\n",
    "..\r\n",
    ".\r\n",
    "\r\n.\r\n",
    "text of some length, so that it reaches limits\r\n.\r\n",
    "RSET\r\n",
    "NOOP\n",
    "QUIT\r\n",
    "EHLO x\r\n",
    "x",
    "\n",
    "\r",
    " ",
];

const POP3_OPENINGS: &[&str] = &[
    "",
    "\u{16}",
    "post / HTTP/1.1\r\nUSER a\r\nPASS cis505\r\n",
    "PRI ",
    "a HTTP/2\n",
    "USER a\r\nPASS cis505\r\n",
    "USER a\r\nPASS cis505\r\nLIST\r\nUIDL\r\n",
    "USER a\r\nPASS a\r\nUSER a\r\nPASS b\r\nUSER a\r\nPASS c\r\nUSER a\r\nPASS d\r\n",
];
const POP3: &[&str] = &[
    "USER a\r\n",
    "PASS cis505\r\n",
    "USER a\r\nPASS cis505\r\n",
    "STAT\r\n",
    "LIST\r\n",
    "LIST 1\r\n",
    "UIDL\r\n",
    "UIDL 2\r\n",
    "RETR 1\r\n",
    "RETR 2\r\n",
    "DELE 1\r\n",
    "DELE 3\r\n",
    "RSET\r\n",
    "NOOP\r\n",
    "QUIT\r\n",
    "x",
    "\n",
    " ",
];

const REPLY_OPENINGS: &[&str] = &[
    "",
    "220 a\r\n",
    "220 a\r\n250 b\r\n250 c\r\n",
    "220 a\r\n250 b\r\n550 c\r\n",
    "220 a\r\n550 b\r\n250 c\r\n250 d\r\n250 e\r\n354 f\r\n",
    "220 a\r\n250 b\r\n250 c\r\n250 d\r\n354 e\r\n",
    "220 a\r\n250 b\r\n250 c\r\n250 d\r\n354 e\r\n250 f\r\n",
    "220 a\r\n250 b\r\n250 c\r\n550 d\r\n250 e\r\n354 f\r\n",
    "220 a\r\n250 b\r\n250 c\r\n250 d\r\n250 e\r\n354 f\r\n250 g\r\n",
    "220-a\r\n220 b\r\n250-c\r\n250-SIZE\r\n250-8BITMIME\r\n250 PIPELINING\r\n250 d\r\n",
    "220 a\r\n250-c\r\n250 PIPELINING\r\n550 d\r\n",
];
const REPLIES: &[&str] = &[
    "250 OK\r\n",
    "250 OK\r\n",
    "250 OK\r\n",
    "250 OK\r\n250 OK\r\n250 OK\r\n",
    "250-OK\r\n250 OK\r\n",
    "354 go on\r\n",
    "354 go on\r\n250 OK\r\n",
    "421 away\r\n",
    "450 later\r\n",
    "550 never\r\n",
    "350 what\r\n",
    "250-x\r\n",
    "221 bye\r\n",
    "x",
    "\n",
    " ",
    "\u{fc}",
];

/// A wire of an opening, so that more than the first states are seen, and of these pieces, now and then with a run of
/// any octets or many of one piece.
fn input(openings: &'static [&'static str], pieces: &'static [&'static str]) -> impl Strategy<Value = Input> {
    let piece = prop_oneof![
        80 => select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
        2 => vec(any::<u8>(), 0..4),
        1 => (select(pieces), 0..10_000usize).prop_map(|(piece, octets)| piece.repeat(octets / piece.len()).into_bytes()),
    ];
    let wire = (select(openings), vec(piece, 0..24));
    let wire = wire.prop_map(|(opening, pieces)| [opening.as_bytes(), &pieces.concat()].concat());
    (vec(any::<u8>(), 0..24), wire).prop_map(|(choices, wire)| Input { choices, wire })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn command_lines(input in input(&[""], LINES)) {
        lines::check(&input);
    }

    #[test]
    fn message_data(input in input(&[""], DATA)) {
        data::check(&input);
    }

    #[test]
    fn smtp_sessions(input in input(SMTP_OPENINGS, SMTP)) {
        smtp::check(&input);
    }

    #[test]
    fn pop3_sessions(input in input(POP3_OPENINGS, POP3)) {
        pop3::check(&input);
    }

    #[test]
    fn smtp_client_sessions(input in input(REPLY_OPENINGS, REPLIES)) {
        client::check(&input);
    }
}

proptest! {
    // Few of them parse.
    #![proptest_config(ProptestConfig { cases: 8192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn addresses(input in input(PATH_OPENINGS, PATHS)) {
        address::check(&input);
    }
}

/// A few octets of a fuzzer's reach the limits.
#[test]
fn inputs_repeat_octets_and_lines() {
    let input = Input::parse(b"\x02\x07\x08a\r\nb\n\xff\x02\xff\xff\x11x\xff");
    assert_eq!(input.choices, [7, 8]);
    assert_eq!(input.wire, b"a\r\nb\nb\nb\nb\nb\nxxxxxxxx\xff");
    assert_eq!(Input::parse(b"\x05a").choices, b"a");
    assert_eq!(Input::parse(b"\0a\xff\x0db").wire.len(), 1 + 8192);
}
