//! Tests of `parse.rs`.

use super::*;

fn parse(source: &str) -> Result<Conversation, Complaint> {
    conversation(Path::new("t.talk"), source)
}

fn actions(source: &str) -> Vec<Action> {
    parse(source).unwrap().steps.into_iter().map(|step| step.action).collect()
}

#[test]
fn what_clients_and_servers_say() {
    let sent = |client, octets: &[u8]| Action::Send { client, octets: octets.to_vec() };
    let line = |client, text| Action::Line { client, pattern: Pattern::glob(text).unwrap() };
    assert_eq!(actions("C: ECHO  a\\s"), [sent(1, b"ECHO  a \r\n")]);
    assert_eq!(actions("C:\nC12| a\\n"), [sent(1, b"\r\n"), sent(12, b"a\n")]);
    assert_eq!(actions("C: CAPA\n+C: QUIT\n+C| \\x16"), [sent(1, b"CAPA\r\nQUIT\r\n\x16")]);
    assert_eq!(actions("S: a*b\nS2~ 5*"), [line(1, "a\\*b\\r\\n"), line(2, "5*\\r\\n")]);
    assert_eq!(actions("S2= 250 5yz"), [Action::Reply { client: 2, codes: "250 5yz".parse().unwrap() }]);
    assert_eq!(actions("S3..."), [Action::Listing { client: 3 }]);
    assert_eq!(actions("closed\nclosed 2"), [Action::Closed { client: 1 }, Action::Closed { client: 2 }]);
}

#[test]
fn files_hold_their_octets() {
    let name = || "linhphan.mbox".to_owned();
    assert_eq!(actions("mailbox linhphan"), [Action::Write { name: name(), octets: vec![] }]);
    assert_eq!(
        actions("mailbox linhphan:\n  | From x\\n\n  |  b\n# no part of it\nappend linhphan:\n | c"),
        [
            Action::Write { name: name(), octets: b"From x\n b".to_vec() },
            Action::Append { name: name(), octets: b"c".to_vec() }
        ]
    );
    assert_eq!(
        actions("mailbox linhphan is:\n| a*\\n\n| b"),
        [Action::File { name: name(), pattern: Pattern::glob("a*\\nb").unwrap() }]
    );
    let link = Action::Special { name: name(), kind: Special::Symlink("../y".to_owned()) };
    assert_eq!(actions("symlink linhphan.mbox -> ../y"), [link]);
}

#[test]
fn repeats_keep_their_line_numbers() {
    let steps = parse("repeat 3\n  C: a\n  S: b\nend\nclosed").unwrap().steps;
    assert_eq!(steps.iter().map(|step| step.line).collect::<Vec<_>>(), [2, 3, 2, 3, 2, 3, 5]);
}

#[test]
fn complaints_name_the_line() {
    for (source, line, complaint) in [
        ("C: a \n", 1, "white space"),
        ("C: a\r\n\r\n\r", 3, "white space"),
        ("# x\nC:a", 2, "a space is missing"),
        ("C~ a", 1, "lines begin with"),
        ("S| a", 1, "lines begin with"),
        ("S= 25", 1, "reply code"),
        ("S=", 1, "reply code"),
        ("C0: a", 1, "no number of a client"),
        ("closed x", 1, "no number of a client"),
        ("S: \\q", 1, "unknown escape"),
        ("| a", 1, "belongs behind"),
        ("mailbox a\n| a", 2, "belongs behind"),
        ("mailbox ../a", 1, "no name of a file"),
        ("append a", 1, "append wants"),
        ("+C: a", 1, "the line before"),
        ("C2: b\n+C: a", 2, "the line before"),
        ("C: b\n+S: a", 2, "only `+C:`"),
        ("holds", 1, "holds wants a requirement"),
        ("holds C-E2", 1, "behind the requirement"),
        ("holds C-E2 good", 1, "is not accepted"),
        ("holds C-E2 refused\nholds C-E2 refused", 2, "twice"),
        ("symlink a", 1, "NAME -> TARGET"),
        ("say a", 1, "no word"),
        ("stop 2", 1, "too much"),
        ("max-size x", 1, "number of octets"),
        ("repeat 0", 1, "above 0"),
        ("repeat 2\nC: a", 1, "without its end"),
        ("repeat 2\nrepeat 2", 2, "inside a repeat"),
        ("repeat 2\nend", 2, "nothing to repeat"),
        ("repeat 99999999\nC: a\nend", 3, "more than"),
        ("end", 1, "without its repeat"),
        ("tester\nC: a\nidle", 3, "file for testers"),
    ] {
        let (at, said) = parse(source).unwrap_err();
        assert!(at == line && said.contains(complaint), "{source:?}: {at}: {said}");
    }
}
