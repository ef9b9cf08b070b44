//! Tests of `listening.rs`.

use std::fs;

use super::*;
use crate::Queue as _;

fn at(text: &str) -> Vec<SocketAddr> {
    text.split_whitespace().map(|address| address.parse().unwrap()).collect()
}

/// A folder, its store, and the file.
fn folder() -> (tempfile::TempDir, MboxStore, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = MboxStore::open(dir.path()).unwrap();
    let file = dir.path().join(".pillarbox/listening");
    (dir, store, file)
}

/// holds C-F7
#[tokio::test]
async fn lines_count_as_long_as_their_server_lives() {
    let (_dir, store, file) = folder();
    assert_eq!(store.listening().await.unwrap(), []);
    let one = store.listen_at(&at("127.0.0.1:2500 [::1]:2500")).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "127.0.0.1:2500\n[::1]:2500\n");
    let two = store.listen_at(&at("0.0.0.0:25")).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "127.0.0.1:2500\n[::1]:2500\n0.0.0.0:25\n");
    assert_eq!(store.listening().await.unwrap(), at("127.0.0.1:2500 [::1]:2500 0.0.0.0:25"));
    drop(one);
    assert_eq!(store.listening().await.unwrap(), at("0.0.0.0:25"));
    drop(two);
    assert_eq!(store.listening().await.unwrap(), []);
}

/// holds C-F7
#[tokio::test]
async fn the_places_of_dead_servers_are_used_again() {
    let (_dir, store, file) = folder();
    let mut longest = 0;
    // Always one lives, each time another one.
    let mut living = store.listen_at(&at("127.0.0.1:2500 [::1]:2500")).unwrap();
    for port in 10_000..10_500 {
        let next = store.listen_at(&at(&format!("127.0.0.1:{port} [::1]:{port}"))).unwrap();
        drop(std::mem::replace(&mut living, next));
        assert_eq!(store.listening().await.unwrap(), at(&format!("127.0.0.1:{port} [::1]:{port}")));
        longest = longest.max(fs::metadata(&file).unwrap().len());
    }
    assert!(longest < 100, "{longest}");
    drop(living);
    let _alone = store.listen_at(&at("127.0.0.1:1")).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "127.0.0.1:1\n");
}

/// What a power cut or another program has left. holds C-F7
#[tokio::test]
async fn garbage_says_nothing_and_is_written_over() {
    for garbage in
        [&b"\0\0\0\0\0\0\0"[..], b"127.0.0.1:25", b"\xff\xfe\n\n\n:\n127.0.0.1\n", &[b'x'; 2 * LISTENING_MAX_OCTETS]]
    {
        let (_dir, store, file) = folder();
        fs::write(&file, garbage).unwrap();
        assert_eq!(store.listening().await.unwrap(), []);
        let _one = store.listen_at(&at("127.0.0.1:2500")).unwrap();
        let _two = store.listen_at(&at("127.0.0.1:2501")).unwrap();
        assert_eq!(store.listening().await.unwrap(), at("127.0.0.1:2500 127.0.0.1:2501"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "127.0.0.1:2500\n127.0.0.1:2501\n");
    }
}

/// holds C-F7
#[tokio::test]
async fn many_servers_may_start_at_once() {
    let (dir, store, _) = folder();
    let servers: Vec<_> = (1..=20_u16)
        .map(|port| {
            let dir = dir.path().to_owned();
            thread::spawn(move || {
                let (store, _) = MboxStore::open(&dir).unwrap();
                store.listen_at(&[([127, 0, 0, 1], port).into()]).unwrap()
            })
        })
        .collect();
    let servers: Vec<_> = servers.into_iter().map(|server| server.join().unwrap()).collect();
    let mut ports: Vec<_> = store.listening().await.unwrap().iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    assert_eq!(ports, (1..=20).collect::<Vec<_>>());
    drop(servers);
}

/// holds C-F7
#[tokio::test]
async fn a_file_that_is_none_is_an_error_and_no_more() {
    let (_dir, store, file) = folder();
    fs::create_dir(&file).unwrap();
    store.listen_at(&at("127.0.0.1:2500")).unwrap_err();
    store.listening().await.unwrap_err();
}
