//! Tests of `pop3.rs`.

use pillarbox_server::Pool;
use pillarbox_store::MboxStore;

use super::*;

/// The text of a message, as RETR has it read.
async fn read(serving: &mut Serving<MboxStore>, index: usize) -> String {
    let mut text = Vec::new();
    let mut request = Request::Read(index);
    loop {
        match serving.perform(request).await.unwrap() {
            Answer::Text(Some(chunk)) => text.extend(chunk),
            Answer::Text(None) => return String::from_utf8(text).unwrap(),
            other => panic!("{other:?}"),
        }
        request = Request::ReadOn;
    }
}

/// holds C-P5
#[tokio::test]
async fn small_messages_are_read_ahead_whatever_is_asked_for_then() {
    let dir = tempfile::tempdir().unwrap();
    let texts: Vec<String> =
        ["first\r\n".to_owned(), "second\r\n".to_owned(), "long\r\n".repeat(20_000), "last\r\n".to_owned()].into();
    let mbox: String = texts.iter().map(|text| format!("From a@b Thu Nov 26 10:00:00 2026\n{text}\n")).collect();
    std::fs::write(dir.path().join("u.mbox"), mbox.replace("\r\n", "\n")).unwrap();
    let (store, _) = MboxStore::open(dir.path()).unwrap();
    let mut serving = Serving::new(store, Pool::new(1000, 1).beside(), Log::silent());
    let login = Request::Login { name: b"u".to_vec(), password: CLASSIC_PASSWORD.into() };
    assert!(matches!(serving.perform(login).await.unwrap(), Answer::Opened(octets) if octets.len() == 4));

    for (index, ahead) in [(0, Some(1)), (1, None), (0, Some(1)), (3, None), (2, Some(3)), (0, Some(1)), (0, Some(1))] {
        assert_eq!(read(&mut serving, index).await, texts[index], "{index}");
        assert_eq!(serving.ahead.as_ref().map(|ahead| ahead.index), ahead, "behind {index}");
    }
}

/// holds C-P3
#[test]
fn login_names() {
    for (name, local_part) in [
        ("linhphan", Some("linhphan")),
        ("linhphan@localhost", Some("linhphan")),
        ("linhphan@LocalHost", Some("linhphan")),
        ("linhphan@example.org", None),
        ("", None),
        ("@localhost", None),
    ] {
        let address = login_address(name.as_bytes());
        assert_eq!(address.as_ref().map(Address::local_part), local_part, "{name:?}");
    }
    assert_eq!(login_address(b"\xff"), None);
}

/// holds C-C1
#[tokio::test]
async fn a_session_takes_room_for_its_lock_and_its_mailbox() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = MboxStore::open(dir.path()).unwrap();
    let beside = Pool::new(1, 1).beside();
    let mut all: Vec<_> = std::iter::from_fn(|| beside.take()).collect();
    all.truncate(all.len() - 3);
    let log_in = |name: &str| {
        store.create_mailbox(name).unwrap();
        let mut serving = Serving::new(store.clone(), beside.clone(), Log::silent());
        let login = Request::Login { name: name.into(), password: CLASSIC_PASSWORD.into() };
        async move { (serving.perform(login).await.unwrap(), serving) }
    };
    let (answer, first) = log_in("anna").await;
    assert_eq!(answer, Answer::Opened(Vec::new()));
    let (answer, _second) = log_in("berta").await;
    assert_eq!(answer, Answer::Failed("Too many sessions, try again later"));
    // Who was refused keeps nothing.
    assert!(beside.take().is_some());
    drop(first);
    let (answer, mut third) = log_in("berta").await;
    assert_eq!(answer, Answer::Opened(Vec::new()));
    assert_eq!(third.perform(Request::Commit(Vec::new())).await.unwrap(), Answer::Committed);
}
