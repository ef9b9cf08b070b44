//! Tests of `name.rs`.

use super::*;

#[test]
fn a_name_with_a_dot_is_a_domain() {
    for (name, expected) in [
        ("mail.example.org", true),
        ("mail", false),
        ("", false),
        ("localhost.localdomain", false),
        ("mail.example.org.", false),
        ("mail_host.example.org", false),
        ("two words.example.org", false),
        ("[127.0.0.1]", false),
    ] {
        assert_eq!(is_domain(name), expected, "{name}");
    }
}

#[test]
fn literals_carry_their_tag() {
    assert_eq!(literal("192.0.2.1".parse().unwrap()), "[192.0.2.1]");
    assert_eq!(literal("::ffff:192.0.2.1".parse().unwrap()), "[192.0.2.1]");
    assert_eq!(literal("::1".parse().unwrap()), "[IPv6:::1]");
}
