//! Tests of `from_line.rs`.

use super::*;

/// holds C-F3
#[test]
fn dates_for_the_received_line() {
    for (asctime, date) in [
        ("Mon Aug 22 23:00:00 2016", Some("Mon, 22 Aug 2016 23:00:00 +0000")),
        ("Tue Feb  2 03:04:05 2027", Some("Tue, 2 Feb 2027 03:04:05 +0000")),
        ("Mon Aug 22 23:00 2016", None),
        ("Mon Aug 22 23:00:00 CEST 2016", None),
        ("", None),
    ] {
        assert_eq!(rfc_5322_date(asctime.as_bytes()).as_deref(), date, "{asctime}");
    }
}

fn check(line: &str, expected: bool) {
    for end in ["", "\n", "\r\n", " \t\n", " \r\n"] {
        assert_eq!(is_from_line(format!("{line}{end}").as_bytes()), expected, "for {line:?} and {end:?}");
    }
}

/// holds C-S8
#[test]
fn written_as_the_assignment_shows_it() {
    let path = ReversePath(Some("linhphan@localhost".parse().unwrap()));
    let written = |path: &ReversePath, at: &str| format(path, at.parse().unwrap());
    assert_eq!(
        written(&path, "2016-08-22T23:00:00Z"),
        "From <linhphan@localhost> Mon Aug 22 23:00:00 2016\n",
        "the seed's example"
    );
    assert_eq!(written(&ReversePath(None), "2024-02-01T02:03:04.9Z"), "From <> Thu Feb  1 02:03:04 2024\n");
    let quoted = ReversePath(Some("\"a b Mon\"@[127.0.0.1]".parse().unwrap()));
    assert_eq!(written(&quoted, "1999-12-31T23:59:59Z"), "From <\"a b Mon\"@[127.0.0.1]> Fri Dec 31 23:59:59 1999\n");
    for path in [path, ReversePath(None), quoted] {
        check(written(&path, "2016-08-22T23:00:00Z").trim_end(), true);
    }
}

/// holds C-P9
#[test]
fn recognised_by_the_date_at_its_end() {
    for date in [
        "Mon Aug 22 23:00:00 2016",
        "Mon Aug 22 23:00 2016",
        "Mon Aug  2 23:00:60 2016",
        "Mon Aug 02 23:00:00 2016",
        "Mon Aug 2 23:00:00 2016",
        "Mon Aug 22 23:00:00 GMT 2016",
        "Mon Aug 22 23:00:00 2016 CEST",
        "Mon Aug 22 23:00 +0100 2016",
        "Mon Aug 22 23:00:00 2016 -0730",
        "Mon\tAug 22 23:00:00  2016",
    ] {
        for between in ["", "a@b ", "<> ", "a strange   sender of mail ", "Mon Aug 22 ", "\u{fc}\u{0} ", "  "] {
            check(&format!("From {between}{date}"), true);
        }
        check(&format!("From{date}"), false);
        check(&format!("from a {date}"), false);
        check(&format!(">From a {date}"), false);
        check(&format!(" From a {date}"), false);
        check(&format!("From a{date}"), false);
        check(&format!("From a {date} x1"), false);
        check(&format!("From a {date} remote from host"), false);
    }
}

/// holds C-P9
#[test]
fn sentences_are_no_from_lines() {
    for line in [
        "From ",
        "From here on",
        "From me to you in 2016",
        "From a Mon Aug 22 2016",
        "From a Mon Aug 22 23:00:00",
        "From a Mon Aug 22 23:00:00 16",
        "From a Mon Aug 22 24:00:00 2016",
        "From a Mon Aug 22 23:60:00 2016",
        "From a Mon Aug 22 23:00:61 2016",
        "From a Mon Aug 22 3:00:00 2016",
        "From a Mon Aug 22 23:00:00:00 2016",
        "From a Mon Aug 22 23:00: 2016",
        "From a Mon Aug 0 23:00:00 2016",
        "From a Mon Aug 32 23:00:00 2016",
        "From a Mon Aug 222 23:00:00 2016",
        "From a Mon August 22 23:00:00 2016",
        "From a mon Aug 22 23:00:00 2016",
        "From a Aug 22 23:00:00 2016",
        "From a Mon Aug 22 23:00:00 GMT GMT 2016",
        "From a Mon Aug 22 23:00:00 GMT 2016 GMT",
        "From a Mon Aug 22 23:00:00 2016 +01000",
        "From a Mon Aug 22 23:00:00 2016 Mitteleuropa",
    ] {
        check(line, false);
    }
}

/// holds C-P9
#[test]
fn a_from_line_has_a_bound() {
    let date = " Mon Aug 22 23:00:00 2016\n";
    let line = |octets: usize| format!("From {}{date}", "x".repeat(octets - 5 - date.len()));
    assert!(is_from_line(line(FROM_LINE_MAX_OCTETS).as_bytes()));
    assert!(!is_from_line(line(FROM_LINE_MAX_OCTETS + 1).as_bytes()));
}
