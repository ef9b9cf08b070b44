//! The properties of `properties/` on a bounded number of cases.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

#[path = "properties/mod.rs"]
mod properties;

use properties::input::Input;
use properties::wires::{
    DATA, LINES, PATH_OPENINGS, PATHS, POP3, POP3_OPENINGS, REPLIES, REPLY_OPENINGS, SMTP, SMTP_OPENINGS,
};
use properties::{address, client, data, lines, pop3, smtp};

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
