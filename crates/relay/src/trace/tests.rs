//! Tests of `trace.rs`.

use super::*;

const AT: &str = "Wed, 25 Nov 2026 10:00:00 +0000";

/// holds C-F3
#[test]
fn says_who_took_it_and_when() {
    assert_eq!(
        received_line("mail.example.org", AT),
        "Received: from localhost (localhost [127.0.0.1])\r\n\
         \tby mail.example.org (Pillarbox) with SMTP;\r\n\
         \tWed, 25 Nov 2026 10:00:00 +0000\r\n"
    );
}

#[test]
fn is_folded_wherever_a_long_name_allows() {
    for length in 1..=73 {
        let by = "a".repeat(length);
        let line = received_line(&by, AT);
        assert!(line.split("\r\n").all(|line| line.len() < 78), "{line}");
        assert!(line.replace("\r\n\t", " ").contains(&format!("by {by} (Pillarbox) with SMTP; Wed, ")), "{line}");
    }
}
