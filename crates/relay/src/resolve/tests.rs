//! Tests of `resolve.rs`.

use std::fs;

use tokio::time::{self, Instant};

use super::*;

/// By a clock that jumps to whatever is awaited next. holds C-F8
#[tokio::test]
async fn each_question_has_its_time_and_a_cap_is_one_of_each() {
    // It takes the questions, and says nothing.
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = silent.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let from_file = |options: &str| {
        let file = dir.path().join(format!("{options}.conf"));
        fs::write(&file, format!("{options}\nnameserver 127.0.0.1\nnameserver 127.0.0.1\n")).unwrap();
        Resolver::of_file(&file, at.port())
    };
    time::pause();
    for (resolver, cap_s, expected_s) in [
        (Resolver::at(at), None, 10),
        (Resolver::at(at), Some(1), 2),
        (Resolver::at(at), Some(99), 10),
        (from_file(""), None, 20),
        (from_file("options timeout:3 attempts:1"), None, 6),
        (from_file("options timeout:3 attempts:5"), Some(2), 20),
    ] {
        let begun = Instant::now();
        let cap = cap_s.map_or(Duration::MAX, Duration::from_secs);
        let error = resolver.route_within("x.example", cap, None).await.unwrap_err();
        assert!(error.to_string().contains("no reply in time"), "{error}");
        let (took, expected) = (begun.elapsed(), Duration::from_secs(expected_s));
        // Each wait is rounded up to a millisecond.
        assert!(took >= expected && took < expected + Duration::from_millis(50), "{took:?} instead of {expected:?}");
    }
}
