//! Tests of `host.rs`.

use super::*;

/// There is always a thread, and never more than cores.
#[test]
fn one_core_is_left_where_there_are_two() {
    assert_eq!([1, 2, 3, 64].map(|cores| Workers::EachCore.of(cores)), [1, 2, 3, 64]);
    assert_eq!([1, 2, 3, 64].map(|cores| Workers::LeaveOne.of(cores)), [1, 1, 2, 63]);
}
