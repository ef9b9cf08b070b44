//! Tests of `drive.rs`.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Wake, Waker};

use pillarbox_proto::echo;
use tokio::io::duplex;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Counts how often its task is to run again.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn connection() -> Connection<echo::Session> {
    let mut connection = Connection::new(echo::Session::new("A / a"));
    while let Todo::Send(_) = connection.todo() {}
    connection
}

/// Who is not looked for is slept for: its task runs again when there is something to read, and not before.
#[test]
fn a_look_ends() {
    let (mut io, _client) = duplex(64);
    let mut connection = connection();
    for (look_ends, runs_again) in [(Instant::now(), 0), (Instant::now() + HOUR, 1)] {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut receiving = pin!(receive(&mut io, &mut connection, look_ends));
        assert!(receiving.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(count.0.load(Ordering::Relaxed), runs_again);
    }
}

/// While a client is looked for, the others of its worker go on: here the client itself.
#[tokio::test]
async fn a_look_keeps_nobody_waiting() {
    let (mut io, mut client) = duplex(64);
    let client = tokio::spawn(async move {
        for _ in 0..100 {
            yield_now().await;
        }
        client.write_all(b"hello\r\n").await.unwrap();
        client
    });
    assert_eq!(receive(&mut io, &mut connection(), Instant::now() + HOUR).await.unwrap(), 7);
    drop(client.await.unwrap());
}
