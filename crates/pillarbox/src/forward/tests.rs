//! Tests of `forward.rs`.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use pillarbox_proto::ReversePath;
use pillarbox_store::{Item, MboxStore, Store as _};

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
