//! Tests of `forward.rs`.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pillarbox_store::{Item, MboxStore};

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

    async fn claim(&self, _: &Item) -> Result<Option<Self::Claim>, StoreError> {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.now.fetch_sub(1, Ordering::Relaxed);
        self.claimed.fetch_add(1, Ordering::Relaxed);
        Ok(None)
    }
}

/// holds C-F3
#[tokio::test(start_paused = true)]
async fn so_many_items_are_sent_at_the_same_time_and_no_more() {
    let count = 3 * ITEMS_AT_ONCE;
    let dir = tempfile::TempDir::new().unwrap();
    let item = "From <a@localhost> Mon Aug 22 23:00:00 2016\nX-Envelope-To: <b@example.org>\n\nx\n\n";
    fs::write(dir.path().join("mqueue"), item.repeat(count)).unwrap();
    let (store, _) = MboxStore::open(dir.path()).unwrap();
    let queue = Slow { store, now: Arc::default(), most: Arc::default(), claimed: Arc::default() };
    // Nobody is there: nothing is looked up.
    let options = Sending { resolver: Some(([127, 0, 0, 1], 9).into()), remote_port: 9, timeout: None };
    let forwarder = Forwarder::new(queue.clone(), &options, None).unwrap();
    let stop = CancellationToken::new();
    assert_eq!(forwarder.run(&stop, |line| panic!("{line}")).await.unwrap(), Some(count));
    // What somebody has is tried a second time.
    assert_eq!(queue.claimed.load(Ordering::Relaxed), 2 * count);
    assert_eq!(queue.most.load(Ordering::Relaxed), ITEMS_AT_ONCE);
    assert_eq!(ITEMS_AT_ONCE, 20);
}
