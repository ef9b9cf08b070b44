//! Conversations with peers of every kind. `S:` is what the peer says, `C:` what the client must say.

use super::*;

/// Plays a conversation and compares outcomes. `_` is a space; `S!` loses the connection, `S?` is silence
/// beyond the limit.
fn check(recipients: &[&str], text: &str, conversation: &str, outcomes: &[&str]) {
    for size in [1, 2, 3, 7, usize::MAX] {
        let envelope = Envelope {
            reverse_path: "me@localhost".parse().map(Some).map(crate::ReversePath).unwrap(),
            forward_paths: recipients.iter().map(|path| path.parse().unwrap()).collect(),
        };
        let mut client = Client::new("here.example", &envelope, text.len() as u64);
        let mut chunks = text.as_bytes().chunks(size.min(text.len().max(1)));
        let mut said = Vec::new();
        for line in conversation.lines().map(str::trim) {
            settle_sending(&mut client, &mut chunks, &mut said);
            match line.split_at(2) {
                ("S:", reply) => {
                    assert!(said.is_empty(), "not expected before {line:?}: {}", said.escape_ascii());
                    assert!(matches!(client.todo(), Todo::Receive { .. }), "waits for {line:?}: {:?}", client.todo());
                    let reply = format!("{}\r\n", reply.trim_start().replace("\\n", "\r\n"));
                    for chunk in reply.as_bytes().chunks(size.min(reply.len())) {
                        client.received(chunk);
                    }
                }
                ("S!", _) => client.lost("closed"),
                ("S?", _) => client.timed_out(),
                ("C:", command) => {
                    let expected = format!("{}\r\n", command.trim_start().replace('_', " "));
                    assert!(said.starts_with(expected.as_bytes()), "{expected:?}, said {}", said.escape_ascii());
                    said.drain(..expected.len());
                }
                _ => panic!("{line:?}"),
            }
        }
        settle_sending(&mut client, &mut chunks, &mut said);
        assert!(said.is_empty(), "left: {}", said.escape_ascii());
        assert!(client.is_settled());
        let shown: Vec<_> = client.into_outcomes().into_iter().map(|(_, outcome)| outcome.to_string()).collect();
        assert_eq!(shown, outcomes, "in pieces of {size}");
    }
}

/// Takes what the client sends, and feeds the text, until it waits.
fn settle_sending<'a>(client: &mut Client, chunks: &mut impl Iterator<Item = &'a [u8]>, said: &mut Vec<u8>) {
    loop {
        match client.todo() {
            Todo::Send(octets) => said.extend(octets),
            Todo::Text => match chunks.next() {
                Some(chunk) => client.text(chunk),
                None => client.text_ends(),
            },
            Todo::Receive { .. } | Todo::Close => return,
        }
    }
}

const OPENING: &str = "S: 220 there.example ESMTP
    C: EHLO here.example
    S: 250 there.example
    C: MAIL FROM:<me@localhost>
    S: 250 OK";

/// holds C-F3
#[test]
fn a_message_goes_through() {
    check(
        &["a@x.example"],
        "Subject: x\r\n\r\n.dot\r\n",
        &format!(
            "{OPENING}
            C: RCPT TO:<a@x.example>
            S: 250 OK
            C: DATA
            S: 354 go
            C: Subject: x
            C:
            C: ..dot
            C: .
            S: 250 queued as 1
            C: QUIT
            S: 221 bye"
        ),
        &["delivered: 250 queued as 1"],
    );
}

/// holds C-F3
#[test]
fn ehlo_refused_means_helo() {
    for refusal in ["500 what", "502 not implemented", "550-no\\n550 never"] {
        check(
            &["a@x.example"],
            "",
            &format!(
                "S: 220-there.example\\n220 welcome
                C: EHLO here.example
                S: {refusal}
                C: HELO here.example
                S: 250 there
                C: MAIL FROM:<me@localhost>
                S: 250 OK
                C: RCPT TO:<a@x.example>
                S: 251 will forward
                C: DATA
                S: 354
                C: .
                S: 250
                C: QUIT
                S: 221 bye"
            ),
            &["delivered: 250 "],
        );
    }
}

/// holds C-F3
#[test]
fn extensions_are_used_when_offered() {
    check(
        &["a@x.example", "b@x.example"],
        "x\r\n",
        "S: 220 there.example ESMTP
        C: EHLO here.example
        S: 250-there.example\\n250-pipelining\\n250-SIZE 1000\\n250-8BITMIME\\n250 XUNKNOWN y
        C: MAIL FROM:<me@localhost> SIZE=3 BODY=8BITMIME
        C: RCPT TO:<a@x.example>
        C: RCPT TO:<b@x.example>
        S: 250 OK\\n250 OK\\n250 OK
        C: DATA
        S: 354 go
        C: x
        C: .
        S: 250 OK
        C: QUIT
        S: 221 bye",
        &["delivered: 250 OK", "delivered: 250 OK"],
    );
}

/// holds C-F4
#[test]
fn each_recipient_has_an_outcome_of_its_own() {
    check(
        &["a@x.example", "b@x.example", "c@x.example"],
        "x\r\n",
        &format!(
            "{OPENING}
            C: RCPT TO:<a@x.example>
            S: 550 no such user
            C: RCPT TO:<b@x.example>
            S: 250 OK
            C: RCPT TO:<c@x.example>
            S: 451 later
            C: DATA
            S: 354 go
            C: x
            C: .
            S: 250 OK
            C: QUIT
            S: 221 bye"
        ),
        &["failed: 550 no such user", "delivered: 250 OK", "deferred: 451 later"],
    );
}

/// 552 said of a recipient is what RFC 5321 §4.5.3.1.10 wants to be 452; said of the message it is final.
///
/// holds C-F4
#[test]
fn too_many_recipients_are_deferred() {
    check(
        &["a@x.example", "b@x.example"],
        "x\r\n",
        &format!(
            "{OPENING}
            C: RCPT TO:<a@x.example>
            S: 250 OK
            C: RCPT TO:<b@x.example>
            S: 552 too many
            C: DATA
            S: 354 go
            C: x
            C: .
            S: 250 OK
            C: QUIT
            S: 221 bye"
        ),
        &["delivered: 250 OK", "deferred: 552 too many"],
    );
}

/// holds C-F4
#[test]
fn no_recipient_taken_means_no_text() {
    check(
        &["a@x.example"],
        "x\r\n",
        &format!(
            "{OPENING}
            C: RCPT TO:<a@x.example>
            S: 550 no
            C: QUIT
            S: 221 bye"
        ),
        &["failed: 550 no"],
    );
    // MAIL refused, recipients pipelined behind it.
    check(
        &["a@x.example", "b@x.example"],
        "x\r\n",
        "S: 220 there.example
        C: EHLO here.example
        S: 250-there.example\\n250 PIPELINING
        C: MAIL FROM:<me@localhost>
        C: RCPT TO:<a@x.example>
        C: RCPT TO:<b@x.example>
        S: 452 full\\n503 MAIL first\\n503 MAIL first
        C: QUIT
        S: 221 bye",
        &["deferred: 452 full", "deferred: 452 full"],
    );
}

/// holds C-F4
#[test]
fn refusals_of_the_whole() {
    check(&["a@x.example"], "", "S: 554 go away\nC: QUIT\nS: 221 bye", &["failed: 554 go away"]);
    check(&["a@x.example"], "", "S: 421 busy", &["deferred: 421 busy"]);
    check(
        &["a@x.example"],
        "",
        "S: 220 x\nC: EHLO here.example\nS: 450 later\nC: QUIT\nS: 221 bye",
        &["deferred: 450 later"],
    );
    let until_data = format!("{OPENING}\nC: RCPT TO:<a@x.example>\nS: 250 OK\nC: DATA");
    check(&["a@x.example"], "", &format!("{until_data}\nS: 554 no\nC: QUIT\nS: 221 x"), &["failed: 554 no"]);
    let until_dot = format!("{until_data}\nS: 354 go\nC: .");
    check(&["a@x.example"], "", &format!("{until_dot}\nS: 452 full\nC: QUIT\nS: 221 x"), &["deferred: 452 full"]);
    check(&["a@x.example"], "", &format!("{until_dot}\nS: 552 big\nC: QUIT\nS: 221 x"), &["failed: 552 big"]);
}

/// holds C-F4
#[test]
fn lost_connections_and_silence() {
    check(&["a@x.example"], "", "S!", &["deferred: connection lost: closed"]);
    check(&["a@x.example"], "", "S?", &["deferred: no reply in time"]);
    let until_dot = format!("{OPENING}\nC: RCPT TO:<a@x.example>\nS: 250 OK\nC: DATA\nS: 354 go\nC: .");
    check(
        &["a@x.example"],
        "",
        &format!("{until_dot}\nS!"),
        &["deferred: connection lost before the reply to the final dot: closed"],
    );
    // Once the dot was answered, nothing that happens later takes that back.
    check(&["a@x.example"], "", &format!("{until_dot}\nS: 250 OK\nC: QUIT\nS!"), &["delivered: 250 OK"]);
    // 421 in the middle.
    check(
        &["a@x.example", "b@x.example"],
        "",
        &format!("{OPENING}\nC: RCPT TO:<a@x.example>\nS: 421 going down"),
        &["deferred: 421 going down", "deferred: 421 going down"],
    );
}

#[test]
fn what_is_no_smtp_ends_the_session() {
    for nonsense in ["HTTP/1.1 400 Bad Request", "22", "abc", "220x", "150 hm", "600 x", "220-a\\n250 b"] {
        let expected = if nonsense.contains('\\') { "reply with two codes" } else { "not an SMTP reply" };
        check(&["a@x.example"], "", &format!("S: {nonsense}"), &[&format!("deferred: {expected}")]);
    }
    let long = "x".repeat(REPLY_LINE_MAX_OCTETS);
    check(&["a@x.example"], "", &format!("S: 220 {long}"), &["deferred: reply line too long"]);
    let fits = "x".repeat(REPLY_LINE_MAX_OCTETS - 6);
    let kept = &fits[..REPLY_SHOWN_MAX_OCTETS];
    check(&["a@x.example"], "", &format!("S: 421 {fits}"), &[&format!("deferred: 421 {kept}")]);
    let many = "220-x\\n".repeat(REPLY_LINES_MAX);
    check(&["a@x.example"], "", &format!("S: {many}220 x"), &["deferred: reply with too many lines"]);
    check(&["a@x.example"], "", "S: 554 \u{1b}[31m\u{fc}\nC: QUIT\nS: 221 x", &["failed: 554 ?[31m??"]);
}

#[test]
fn a_long_reply_costs_each_recipient_little() {
    let recipients: Vec<_> = (0..3).map(|number| format!("r{number}@x.example")).collect();
    let recipients: Vec<_> = recipients.iter().map(String::as_str).collect();
    let kept = format!("failed: 554 {}", "xyz ".repeat(REPLY_SHOWN_MAX_OCTETS / 4));
    let lines = "554-xyz\\n".repeat(REPLY_LINES_MAX - 1);
    let reply = format!("S: {lines}554 {}\nC: QUIT\nS: 221 x", "xyz ".repeat(100));
    check(&recipients, "", &reply, &[kept.as_str(); 3]);
}

#[test]
fn pipelining_keeps_a_window() {
    let recipients: Vec<_> = (0..3 * PIPELINED_MAX).map(|number| format!("r{number}@x.example")).collect();
    let envelope = Envelope {
        reverse_path: crate::ReversePath(None),
        forward_paths: recipients.iter().map(|path| path.parse().unwrap()).collect(),
    };
    let mut client = Client::new("here", &envelope, 0);
    client.received(b"220 x\r\n");
    assert!(matches!(client.todo(), Todo::Send(_)));
    client.received(b"250-x\r\n250 PIPELINING\r\n");
    let mut ahead = 0;
    while let Todo::Send(octets) = client.todo() {
        ahead += octets.iter().filter(|&&octet| octet == b'\n').count();
    }
    assert_eq!(ahead, PIPELINED_MAX);
    for _ in 0..=recipients.len() {
        client.received(b"250 OK\r\n");
        while let Todo::Send(octets) = client.todo() {
            ahead += octets.iter().filter(|&&octet| octet == b'\n').count();
        }
    }
    // MAIL, every RCPT, DATA.
    assert_eq!(ahead, recipients.len() + 2);
}

/// holds C-S7
#[test]
fn a_bare_cr_goes_out_as_a_space() {
    check(
        &["a@x.example"],
        "a\rb\r\r\n\r.\r\nc\r",
        &format!(
            "{OPENING}
            C: RCPT TO:<a@x.example>
            S: 250 OK
            C: DATA
            S: 354 go
            C: a b_
            C: _.
            C: c_
            C: .
            S: 250 OK
            C: QUIT
            S: 221 bye"
        ),
        &["delivered: 250 OK"],
    );
}
