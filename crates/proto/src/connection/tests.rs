//! Tests of `connection.rs`.

use super::*;
use crate::lines::LINE_MAX_OCTETS;
use crate::{pop3, smtp};

/// What a connection says to this in pieces of so many octets, and whether it is closed then.
fn said(session: impl Session, octets: &[u8], piece: usize) -> (String, bool) {
    let mut connection = Connection::new(session);
    let mut said = Vec::new();
    let mut pieces = octets.chunks(piece);
    loop {
        match connection.todo() {
            Todo::Send(octets) => said.extend(octets),
            Todo::Perform(_) => panic!("nothing is to be asked for"),
            Todo::Receive => match pieces.next() {
                Some(piece) => connection.received(piece),
                None => return (String::from_utf8(said).unwrap(), false),
            },
            Todo::Close => return (String::from_utf8(said).unwrap(), true),
        }
    }
}

/// Whether a connection is closed behind this first line, with no more said than this, in whatever pieces it comes.
fn closes<S: Session>(session: impl Fn() -> S, line: &[u8], says: &str) -> bool {
    let octets = [line, b"\r\nQUIT\r\n"].concat();
    let closes = [1, 7, 4096, octets.len()].map(|piece| {
        let (said, closed) = said(session(), &octets, piece);
        assert!(closed, "QUIT closes too");
        said == says
    });
    assert!(closes.iter().all(|one| *one == closes[0]), "in all pieces alike");
    closes[0]
}

/// Whether both mail protocols close behind this first line.
fn is_refused(line: &[u8]) -> bool {
    let smtp = "220 localhost Pillarbox mail service ready\r\n500 Command not recognized\r\n";
    let smtp = closes(|| smtp::Session::new(1000), line, smtp);
    let pop3 = closes(pop3::Session::default, line, "+OK POP3 ready [localhost]\r\n-ERR Not supported\r\n");
    assert_eq!(smtp, pop3);
    smtp
}

/// holds C-C12
#[test]
fn a_first_line_that_is_an_http_request_closes() {
    for method in ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PRI", "PUT", "TRACE"] {
        for method in
            [method.to_owned(), method.to_lowercase(), format!("{}{}", &method[..1], method[1..].to_lowercase())]
        {
            assert!(is_refused(format!("{method} ").as_bytes()));
            assert!(is_refused(format!("{method} / HTTP/1.1").as_bytes()));
            assert!(!is_refused(method.as_bytes()), "there is no space");
            assert!(!is_refused(format!("{method}\t/").as_bytes()));
            assert!(!is_refused(format!("{method}X /").as_bytes()));
            assert!(!is_refused(format!(" {method} /").as_bytes()));
            assert!(!is_refused(format!("X{method} /").as_bytes()));
        }
    }
    for line in ["PROPFIND /a b HTTP/1.1", "x HTTP/1.0", " HTTP/2", "\u{fc} HTTP/9.9", "a HTTP/1.1 HTTP/3", "GET \r"] {
        assert!(is_refused(line.as_bytes()), "{line}");
    }
    for line in [
        "HTTP/1.1",
        "x HTTP/",
        "x http/1.1",
        "x Http/1.1",
        "xHTTP/1.1",
        "x HTTP/1.1 ",
        "x HTTP/a",
        "x HTTP/1.",
        "x HTTP/.1",
        "x HTTP/1.a",
        "x HTTP/1,1",
        "x HTTP/1.1 y",
        "x\tHTTP/1.1",
        "",
        "LINK / HTT P/1.1",
    ] {
        assert!(!is_refused(line.as_bytes()), "{line}");
    }
}

/// holds C-C12
#[test]
fn of_a_first_line_that_is_too_long_both_ends_count() {
    for octets in [LINE_MAX_OCTETS - 12, LINE_MAX_OCTETS, LINE_MAX_OCTETS + 1, 3 * LINE_MAX_OCTETS, 100_000] {
        let long = "a".repeat(octets);
        assert!(is_refused(format!("OPTIONS {long}").as_bytes()));
        assert!(is_refused(format!("get {long} ").as_bytes()));
        assert!(is_refused(format!("{long} HTTP/1.1").as_bytes()));
        assert!(!is_refused(format!("OPTIONSa{long} x").as_bytes()));
        assert!(!is_refused(format!("{long} GET / HTTP/1.1 ").as_bytes()));
    }
}

/// holds C-C12
#[test]
fn only_the_very_first_line_counts() {
    for octets in [&b"NOOP\r\nGET / HTTP/1.1\r\nNOOP\r\n"[..], b"\r\nPOST / HTTP/1.1\r\nNOOP\r\n", b"\nPUT a\nNOOP\n"] {
        let (said, closed) = said(smtp::Session::new(1000), octets, octets.len());
        assert!(!closed && said.ends_with("500 Command not recognized\r\n250 OK\r\n"), "{said}");
    }
    // A part of a line is none.
    assert!(!said(pop3::Session::default(), b"GET / HTTP/1.1", 1).1);
}
