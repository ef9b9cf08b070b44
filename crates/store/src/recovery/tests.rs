//! Tests of `recovery.rs`.

use super::*;

#[test]
fn says_in_one_line_what_it_did() {
    let mut recovery = Recovery::default();
    assert!(recovery.is_nothing());
    assert_eq!(recovery.to_string(), "nothing to recover");
    recovery.deliveries_undone = 1;
    recovery.files_removed = 2;
    (0..PROBLEMS_MAX + 3).for_each(|n| recovery.problem(format!("p{n}")));
    assert!(!recovery.is_nothing());
    let line = recovery.to_string();
    assert!(line.starts_with("1 torn delivery undone; 2 leftover files removed; p0; p1"), "{line}");
    assert!(line.ends_with("p19; and 3 more problems"), "{line}");
}
