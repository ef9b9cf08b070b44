//! Tests of `tide.rs`.

use super::*;

static GIVEN_BACK: AtomicUsize = AtomicUsize::new(0);

/// holds C-C1
#[tokio::test(start_paused = true)]
async fn memory_is_given_back_when_a_crowd_has_gone_and_not_for_a_few() {
    let tide = Arc::new(Tide::default());
    let ours = Arc::clone(&tide);
    let giving = tokio::spawn(async move {
        ours.give_back(|| {
            GIVEN_BACK.fetch_add(1, Ordering::Relaxed);
        })
        .await;
    });
    // Enough for what was begun: the clock is ours.
    let settled = || sleep(10 * TIDE_SETTLES);
    let given_back = || GIVEN_BACK.load(Ordering::Relaxed);

    let crowd = |size| (0..size).map(|_| tide.rises()).collect::<Vec<_>>();

    (0..10 * TIDE_TURNS).for_each(|_| drop(tide.rises()));
    let mut people = crowd(TIDE_TURNS);
    let last = people.pop();
    drop(people);
    settled().await;
    assert_eq!(given_back(), 0, "one after another, and one fewer than a crowd");

    drop(last);
    settled().await;
    assert_eq!(given_back(), 1, "a crowd");
    drop(crowd(TIDE_TURNS - 1));
    settled().await;
    assert_eq!(given_back(), 1, "what had gone by then does not count twice");

    let (some, others) = (crowd(TIDE_TURNS), crowd(TIDE_TURNS));
    drop(some);
    sleep(TIDE_SETTLES / 2).await;
    drop(others);
    settled().await;
    assert_eq!(given_back(), 3, "again, because more went meanwhile");
    giving.abort();
}
