//! Tests of `smtp.rs`.

use super::*;

/// holds C-F1
#[test]
fn domains_that_mail_can_be_sent_to() {
    for (address, expected) in [
        ("a@example.org", true),
        ("a@x.y.example", true),
        ("a@1.example", true),
        ("a@[192.0.2.1]", true),
        ("a@[IPv6:2001:db8::1]", true),
        ("a@example", false),
        ("a@localhost.localhost", false),
        ("a@x.LOCALHOST", false),
        ("a@192.0.2.1", false),
        ("a@example.12", false),
    ] {
        assert_eq!(may_be_forwarded(&address.parse().unwrap()), expected, "{address}");
    }
}

/// holds C-F1
#[test]
fn only_clients_of_this_host_send_elsewhere() {
    for (ip, expected) in
        [("127.0.0.1", true), ("127.9.9.9", true), ("::1", true), ("::ffff:127.0.0.1", true), ("192.0.2.1", false)]
    {
        assert_eq!(is_loopback(ip.parse().unwrap()), expected, "{ip}");
    }
}
