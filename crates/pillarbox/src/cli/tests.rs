//! Tests of `cli.rs`.

use super::*;

#[test]
fn definitions_are_sound() {
    Echoserver::command().debug_assert();
    Smtp::command().debug_assert();
    Pop3::command().debug_assert();
    Forward::command().debug_assert();
    Pillarbox::command().debug_assert();
}

/// holds C-S10
#[test]
fn messages_may_have_50_million_octets() {
    assert_eq!(Smtp::parse_from(["smtp", "dir"]).max_size, 50_000_000);
    assert_eq!(Smtp::parse_from(["smtp", "--max-size", "7", "dir"]).max_size, 7);
}

#[test]
fn times() {
    for (text, seconds) in [("30s", 30), ("1m", 60), ("2h", 7200), ("7", 7)] {
        assert_eq!(parse_time(text), Ok(Duration::from_secs(seconds)), "{text}");
    }
    for text in ["", "0", "0s", "m", "1d", "-1s", "1.5m", "never"] {
        assert!(parse_time(text).is_err(), "{text:?}");
    }
    assert_eq!(parse_interval("never"), Ok(None));
}

#[test]
fn serve_listens_on_loopback_only() {
    assert_eq!("25".parse(), Ok(LoopbackPort { addresses: loopback().to_vec(), port: 25 }));
    let second: LoopbackPort = "127.0.0.2:0".parse().unwrap();
    assert_eq!(second.addresses[0].to_string(), "127.0.0.2");
    assert!("[::1]:25".parse::<LoopbackPort>().is_ok());
    for text in ["0.0.0.0:25", "192.0.2.1:25", "[::]:25", "localhost:25", "70000", "-1", ""] {
        assert!(text.parse::<LoopbackPort>().is_err(), "{text:?}");
    }
}
