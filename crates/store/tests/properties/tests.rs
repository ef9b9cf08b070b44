//! The properties on a bounded number of cases.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::input::Input;
use super::mbox;

const MBOX: &[&str] = &[
    "From a Mon Aug 22 23:00:00 2016\n",
    "From <> Mon Aug 22 23:00 2016\r\n",
    "From a Mon Aug 22 23:00:00 2016",
    "From - Mon Aug 22 2016 23:00:00 GMT-0700 (a name)\n",
    "From a Mon, 22 Aug 2016 23:00:00 +0200\r\n",
    "From ",
    ">",
    "\n",
    "\r\n",
    "\r",
    "\n\n",
    "x",
    "F",
    "From x\n",
    "\u{fc}\0",
];

/// A mailbox of these pieces, now and then with many of one.
fn input() -> impl Strategy<Value = Input> {
    let piece = prop_oneof![
        40 => select(MBOX).prop_map(str::to_owned),
        1 => (select(MBOX), 0..10_000usize).prop_map(|(piece, octets)| piece.repeat(octets / piece.len())),
    ];
    let wire = vec(piece, 0..30).prop_map(|pieces| pieces.concat().into_bytes());
    (vec(any::<u8>(), 0..24), wire).prop_map(|(choices, wire)| Input { choices, wire })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_octets_make_some_mailbox(input in input()) {
        mbox::check(&input);
    }

    #[test]
    fn what_is_stored_comes_back(input in input()) {
        mbox::check_round_trip(&input);
    }
}
