//! Tests of `fsck.rs`.

use pillarbox_store::Severity;

use super::*;

#[test]
fn any_text_is_a_string_of_json() {
    assert_eq!(quoted("a \"b\" \\ \n\u{1} ü\u{7f}"), "\"a \\\"b\\\" \\\\ \\u000a\\u0001 ü\\u007f\"");
    assert_eq!(quoted("\u{202e}\u{e0041}"), "\"\\u202e\\udb40\\udc41\"");
}

#[test]
fn reports() {
    let mut report = Report { mailboxes: 1, messages: 2, octets: 1, queued: 0, findings: Vec::new() };
    assert_eq!(summary(&report), "1 mailbox, 2 messages, 1 octet, 0 queued items: sound");
    for (octet, what) in [(Some(7), "x"), (None, "\"")] {
        let (severity, file) = (Severity::Busy, "alice.mbox".to_owned());
        report.findings.push(Finding { severity, file, octet, what: what.to_owned() });
    }
    assert_eq!(
        json(&report),
        "{\"verdict\": \"unsettled\", \"mailboxes\": 1, \"messages\": 2, \"octets\": 1, \"queued\": 0, \
         \"findings\": [{\"severity\": \"busy\", \"file\": \"alice.mbox\", \"octet\": 7, \"what\": \"x\"}, \
         {\"severity\": \"busy\", \"file\": \"alice.mbox\", \"octet\": null, \"what\": \"\\\"\"}]}"
    );
}
