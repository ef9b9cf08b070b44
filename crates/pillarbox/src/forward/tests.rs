//! Tests of `forward.rs`.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use pillarbox_proto::ReversePath;
use pillarbox_store::{Item, MboxStore, Store as _};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpListener;

use super::*;

/// A queue whose items take their time, and are then somebody else's.
#[derive(Clone)]
struct Slow {
    store: MboxStore,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    claimed: Arc<AtomicUsize>,
}

impl Queue for Slow {
    type Claim = <MboxStore as Queue>::Claim;

    async fn browse(&self) -> Result<Vec<Item>, StoreError> {
        self.store.browse().await
    }

    async fn queued(&self) {
        self.store.queued().await;
    }

    async fn listening(&self) -> Result<Vec<SocketAddr>, StoreError> {
        Ok(Vec::new())
    }

    async fn claim(&self, _: &Item) -> Result<Option<Self::Claim>, StoreError> {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.now.fetch_sub(1, Ordering::Relaxed);
        self.claimed.fetch_add(1, Ordering::Relaxed);
        Ok(None)
    }
}

impl Slow {
    /// A queue in this folder, and what sends it.
    fn open(dir: &tempfile::TempDir) -> (Self, Forwarder<Self>) {
        let (store, _) = MboxStore::open(dir.path()).unwrap();
        let queue = Self { store, now: Arc::default(), most: Arc::default(), claimed: Arc::default() };
        // Nobody is there: nothing is looked up.
        let options = Sending { resolver: Some(([127, 0, 0, 1], 9).into()), timeout: None };
        let forwarder = Forwarder::new(queue.clone(), &options, 9, None);
        (queue, forwarder)
    }

    fn tries(&self) -> usize {
        self.claimed.load(Ordering::Relaxed)
    }
}

fn item(to: &str, text: &str) -> String {
    format!("From <a@localhost> Mon Aug 22 23:00:00 2016\nX-Envelope-To: <{to}>\n\n{text}\n\n")
}

/// holds C-F3
#[tokio::test(start_paused = true)]
async fn so_many_items_are_sent_at_the_same_time_and_no_more() {
    let count = 3 * ITEMS_AT_ONCE;
    let dir = tempfile::TempDir::new().unwrap();
    fs::write(dir.path().join("mqueue"), item("b@example.org", "x").repeat(count)).unwrap();
    let (queue, forwarder) = Slow::open(&dir);
    let stop = CancellationToken::new();
    assert_eq!(forwarder.run(&stop, |line| panic!("{line}")).await.unwrap(), Some(count));
    // What somebody has is tried a second time.
    assert_eq!(queue.tries(), 2 * count);
    assert_eq!(queue.most.load(Ordering::Relaxed), ITEMS_AT_ONCE);
    assert_eq!(ITEMS_AT_ONCE, 20);
}

/// Each item is tried once, and once more after each interval; what comes meanwhile at once.
///
/// holds C-F3
#[tokio::test(start_paused = true)]
async fn a_watch_tries_again_after_the_interval_and_what_is_new_at_once() {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let dir = tempfile::TempDir::new().unwrap();
    // Only so many to one domain at a time: the others get their turns.
    let items: String = (0..3 * ITEMS_AT_ONCE).map(|n| item("b@example.org", &n.to_string())).collect();
    fs::write(dir.path().join("mqueue"), &items).unwrap();
    let (queue, forwarder) = Slow::open(&dir);
    let stop = CancellationToken::new();
    let watched = {
        let stop = stop.clone();
        tokio::spawn(async move { forwarder.watch(HOUR, &stop, |line| panic!("{line}")).await })
    };
    let settle = async |tries| {
        while queue.tries() < tries {
            time::sleep(Duration::from_secs(1)).await;
        }
        time::sleep(HOUR / 8).await;
        assert_eq!(queue.tries(), tries);
    };
    settle(3 * ITEMS_AT_ONCE).await;
    assert_eq!(queue.most.load(Ordering::Relaxed), DOMAIN_AT_ONCE);
    let draft = queue.store.draft().finish().await.unwrap();
    let envelope = Envelope { reverse_path: ReversePath(None), forward_paths: vec![] };
    queue.store.accept(&envelope, draft, &[], &["c@example.org".parse().unwrap()]).await.unwrap();
    settle(3 * ITEMS_AT_ONCE + 1).await;
    time::sleep(HOUR).await;
    settle(6 * ITEMS_AT_ONCE + 2).await;
    stop.cancel();
    watched.await.unwrap();
}

/// Hosts that are silent hold up other domains only when there are very many. holds C-F3
#[tokio::test(start_paused = true)]
async fn a_watch_sends_to_many_domains_at_the_same_time_but_not_to_all() {
    let dir = tempfile::TempDir::new().unwrap();
    let items: String = (0..3 * ITEMS_AT_ONCE).map(|n| item(&format!("b@example{n}.org"), "x")).collect();
    fs::write(dir.path().join("mqueue"), &items).unwrap();
    let (queue, forwarder) = Slow::open(&dir);
    let stop = CancellationToken::new();
    let watched = {
        let stop = stop.clone();
        tokio::spawn(async move { forwarder.watch(Duration::from_secs(1 << 30), &stop, |line| panic!("{line}")).await })
    };
    while queue.tries() < 3 * ITEMS_AT_ONCE {
        time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(queue.most.load(Ordering::Relaxed), ITEMS_AT_ONCE);
    stop.cancel();
    watched.await.unwrap();
}

/// A queue that cannot record what was sent.
#[derive(Clone)]
struct Forgetful(MboxStore);

struct ForgetfulClaim {
    claim: <MboxStore as Queue>::Claim,
    has_failed: bool,
}

impl Queue for Forgetful {
    type Claim = ForgetfulClaim;

    async fn browse(&self) -> Result<Vec<Item>, StoreError> {
        self.0.browse().await
    }

    async fn claim(&self, item: &Item) -> Result<Option<Self::Claim>, StoreError> {
        Ok(self.0.claim(item).await?.map(|claim| ForgetfulClaim { claim, has_failed: false }))
    }

    async fn queued(&self) {
        self.0.queued().await;
    }

    async fn listening(&self) -> Result<Vec<SocketAddr>, StoreError> {
        Ok(Vec::new())
    }
}

impl Claim for ForgetfulClaim {
    fn accepted(&self) -> Option<&str> {
        self.claim.accepted()
    }

    fn envelope(&self) -> &Envelope {
        self.claim.envelope()
    }

    fn item(&self) -> Option<Item> {
        // Nothing can be said of it after its `settle` has failed.
        if self.has_failed { None } else { self.claim.item() }
    }

    fn text(&self) -> &Arc<Text> {
        self.claim.text()
    }

    async fn settle(&mut self, _: &[Address]) -> Result<(), StoreError> {
        self.has_failed = true;
        Err(StoreError::Io { path: "mqueue".into(), source: io::Error::other("disk gone") })
    }
}

/// A host that takes everything. Tells of each text.
async fn host() -> (SocketAddr, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (texts, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let mut stream = BufStream::new(listener.accept().await.unwrap().0);
            let mut say = "220 there\r\n";
            let mut line = String::new();
            loop {
                stream.write_all(say.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
                line.clear();
                if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                    break;
                }
                say = if line == "DATA\r\n" { "354 go on\r\n" } else { "250 OK\r\n" };
                if say.starts_with("354") {
                    stream.write_all(say.as_bytes()).await.unwrap();
                    stream.flush().await.unwrap();
                    while line != ".\r\n" {
                        line.clear();
                        stream.read_line(&mut line).await.unwrap();
                    }
                    texts.send(()).unwrap();
                    say = "250 taken\r\n";
                }
            }
        }
    });
    (at, told)
}

/// Who has got a message that could not be recorded may get it again, but not before the next round; and no further domain
/// does in this one.
///
/// holds C-F4
#[tokio::test]
async fn what_could_not_be_recorded_is_not_sent_again_at_once() {
    let dir = tempfile::TempDir::new().unwrap();
    let both = item("a@[127.0.0.1]>\nX-Envelope-To: <b@[IPv6:::ffff:127.0.0.1]", "x");
    fs::write(dir.path().join("mqueue"), both).unwrap();
    let (store, _) = MboxStore::open(dir.path()).unwrap();
    let (at, mut texts) = host().await;
    let options = Sending { resolver: None, timeout: None };
    let forwarder = Forwarder::new(Forgetful(store.clone()), &options, at.port(), None);
    let stop = CancellationToken::new();
    let (lines, mut told) = mpsc::unbounded_channel();
    let watched = {
        let stop = stop.clone();
        tokio::spawn(async move {
            forwarder.watch(Duration::from_secs(3600), &stop, |line| lines.send(line.to_string()).unwrap()).await;
        })
    };
    let mut next = async || told.recv().await.unwrap();
    assert!(next().await.starts_with("a@[127.0.0.1]: delivered: 250 taken"));
    let expected = "mqueue: mqueue: disk gone; who has got the mail may get it again";
    assert_eq!(next().await, expected);
    // Something else is queued, and sent: the first was there to be taken all the time.
    for to in ["c", "d", "e"] {
        let draft = store.draft().finish().await.unwrap();
        let envelope = Envelope { reverse_path: ReversePath(None), forward_paths: vec![] };
        store.accept(&envelope, draft, &[], &[format!("{to}@[127.0.0.1]").parse().unwrap()]).await.unwrap();
        let line = next().await;
        assert!(line.starts_with(&format!("{to}@[127.0.0.1]: delivered")), "{line}");
        assert_eq!(next().await, expected);
    }
    stop.cancel();
    watched.await.unwrap();
    assert_eq!(std::iter::from_fn(|| texts.try_recv().ok()).count(), 4);
}

/// A header may be longer than what is read at once. holds C-F7
#[tokio::test]
async fn received_lines_are_counted_across_blocks() {
    let dir = tempfile::TempDir::new().unwrap();
    let (store, _) = MboxStore::open(dir.path()).unwrap();
    for (count, expected) in [(RECEIVED_MAX, false), (RECEIVED_MAX + 1, true)] {
        // The last line begins where a block does, whatever power of two that is.
        for block in [64 * 1024, 256 * 1024] {
            let line = "Received: x\r\n";
            let mut text = line.repeat(count - 1);
            text += &format!("X: {}\r\n", "x".repeat(block - text.len() - "X: \r\n".len()));
            text += &format!("{line}X: {}\r\n\r\n{line}", "x".repeat(1000));
            assert!(text[block..].starts_with(line));
            let mut draft = store.draft();
            draft.append(text.as_bytes()).await.unwrap();
            let text = Arc::new(draft.finish().await.unwrap());
            assert_eq!(goes_round(&text).await, expected, "{count} {block}");
        }
    }
}
