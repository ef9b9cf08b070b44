//! Tests of `serve.rs`.

use super::*;

#[test]
fn paths_are_quoted_for_a_shell_where_they_need_it() {
    for (path, expected) in [
        ("mailtest", "mailtest"),
        ("/var/mail-1/a_b.c", "/var/mail-1/a_b.c"),
        ("my mail", "'my mail'"),
        ("it's", "'it'\\''s'"),
        ("$HOME", "'$HOME'"),
        ("~x", "'~x'"),
        ("a;b", "'a;b'"),
        ("", "''"),
    ] {
        assert_eq!(quoted(Path::new(path)), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_each_round_says_is_told_once() {
    let mut told = Told::default();
    let mut is_new = |line: &str| told.is_new(&Line::Item(line.to_owned()));
    assert!(is_new("a"));
    for _ in 0..3 {
        tokio::time::advance(TOLD / 2).await;
        assert!(!is_new("a"));
    }
    assert!(is_new("b"));
    tokio::time::advance(TOLD).await;
    assert!(is_new("a"));
    for number in 0..1000 {
        tokio::time::advance(TOLD / 10).await;
        is_new(&number.to_string());
    }
    assert!(told.lines.len() < 200, "{}", told.lines.len());
}

#[test]
fn what_was_delivered_is_always_told() {
    let mut told = Told::default();
    let report = Report { outcome: Outcome::Delivered("250 OK".to_owned()), host: None };
    let line = Line::Recipient("a@example.org".parse().unwrap(), report);
    assert!(told.is_new(&line) && told.is_new(&line));
    assert!(told.lines.is_empty());
}
