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

/// holds C-F7
#[test]
fn received_lines_of_the_header_are_counted() {
    let line = "Received: from a\r\n\tby b;\r\n\tdate\r\n";
    for (text, expected) in [
        (line.repeat(RECEIVED_MAX) + "\r\n" + &line.repeat(9), false),
        (line.repeat(RECEIVED_MAX + 1) + "\r\n", true),
        (line.to_uppercase().repeat(RECEIVED_MAX + 1), true),
        ("Subject: x\r\n".to_owned() + &line.replace("R", "r").repeat(RECEIVED_MAX + 1), true),
        (line.repeat(RECEIVED_MAX) + "X-Received: x\r\n Received: x\r\nReceived-SPF: x\r\nReceive:\r\n", false),
        (line.repeat(RECEIVED_MAX) + "\r\nReceived: x\r\n", false),
        (line.repeat(RECEIVED_MAX).replace("\r\n", "\n") + "\nReceived: x\n", false),
        (String::new(), false),
        ("\r\n".to_owned() + &line.repeat(RECEIVED_MAX + 1), false),
    ] {
        for piece in [1, 2, 7, text.len().max(1)] {
            let mut received = ReceivedLines::default();
            let enough = text.as_bytes().chunks(piece).any(|octets| received.is_enough(octets));
            assert_eq!(received.is_loop(), expected, "{text}");
            assert!(enough || !expected);
        }
    }
    // Behind the header nothing is read.
    assert!(ReceivedLines::default().is_enough(b"a: b\r\n\r\n"));
    assert!(!ReceivedLines::default().is_enough(b"a: b\r\n"));
}
