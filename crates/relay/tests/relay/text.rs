//! The text at the other end is the text here, octet for octet.

use crate::Net;
use crate::peer::Rules;

/// The peers: one that knows extensions, one of 1982.
const PEERS: [Rules; 2] = [&[], &[("EHLO", "500 what?")]];

async fn check(text: impl AsRef<[u8]>, expected: impl AsRef<[u8]>) {
    for rules in PEERS {
        let net = Net::with_hosts(&[rules]).await;
        let reports = net.deliver(&["a@example.org"], text.as_ref()).await;
        assert_eq!(reports, ["delivered: 250 taken (mx0.example.org)"]);
        let texts = net.peers.heard("127.0.0.2").texts;
        assert_eq!(texts.len(), 1);
        // Not `assert_eq`: megabytes are no message.
        assert!(texts[0] == expected.as_ref(), "{:?}", String::from_utf8_lossy(&texts[0][..texts[0].len().min(200)]));
    }
}

/// holds C-F3
#[tokio::test]
async fn dots_arrive_as_they_were() {
    let text = ".\r\n..\r\n.a\r\na.\r\n\r\n.\r\n. \r\n...\r\n";
    check(text, text).await;
}

/// holds C-S7
#[tokio::test]
async fn a_bare_cr_becomes_a_space() {
    check("a\rb\r\r\n\r.\r\r\nend\r\n", "a b \r\n . \r\nend\r\n").await;
    check("a\r", "a \r\n").await;
    // Split between two pieces of the text, and as the last octet of one.
    let edge = pillarbox_relay::source::OCTETS_AT_ONCE - 1;
    for (end, expected) in [("\rb\r\n", " b\r\n"), ("\r\n.\r\n", "\r\n.\r\n"), ("\r", " \r\n")] {
        let begin = "a".repeat(edge);
        check(format!("{begin}{end}"), format!("{begin}{expected}")).await;
    }
}

/// holds C-F3
#[tokio::test]
async fn all_octets_arrive() {
    let octets: Vec<u8> = (0..=255).filter(|octet| !b"\r\n".contains(octet)).chain(*b"\r\n").collect();
    check(&octets, &octets).await;
}

/// holds C-F3
#[tokio::test]
async fn an_empty_text_is_a_text() {
    check("", "").await;
}

/// holds C-F3
#[tokio::test]
async fn a_last_line_gets_its_end() {
    check("no end", "no end\r\n").await;
}

/// holds C-F3
#[tokio::test]
async fn five_megabytes_arrive() {
    let line = |number: u32| format!(".{number} a line that begins with a dot\r\n");
    let text: String = (0..150_000).map(line).collect();
    assert!(text.len() > 5_000_000);
    check(&text, &text).await;
}

/// holds C-F3
#[tokio::test]
async fn a_line_may_be_long() {
    let text = format!("{}\r\n", "x".repeat(200_000));
    check(&text, &text).await;
}
