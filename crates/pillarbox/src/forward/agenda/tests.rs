//! Tests of `agenda.rs`.

use std::fs;

use pillarbox_store::{MboxStore, Queue as _};

use super::*;

/// Items for these recipients: those of one item stand together, separated by commas.
async fn items(to: &[&str]) -> Vec<Item> {
    let dir = tempfile::TempDir::new().unwrap();
    let item = |(number, to): (usize, &&str)| {
        let paths: String = to.split(',').map(|path| format!("X-Envelope-To: <{path}>\n")).collect();
        format!("From <a@localhost> Mon Aug 22 23:00:00 2016\n{paths}\n{number}\n\n")
    };
    fs::write(dir.path().join("mqueue"), to.iter().enumerate().map(item).collect::<String>()).unwrap();
    let (store, _) = MboxStore::open(dir.path()).unwrap();
    let items = store.browse().await.unwrap();
    assert_eq!(items.len(), to.len());
    items
}

/// holds C-F3
#[tokio::test]
async fn each_is_tried_once_until_the_next_round() {
    let items = items(&["a@one.org", "b@one.org"]).await;
    let mut agenda = Agenda::default();
    agenda.listed(items.clone());
    agenda.listed(items.clone());
    let both = [agenda.next().unwrap(), agenda.next().unwrap()];
    assert_eq!(both[..], items[..]);
    assert_eq!(agenda.next(), None);
    assert!(!agenda.ended(&items[0], Some(items[0].clone())));
    agenda.listed(items.clone());
    assert_eq!(agenda.next(), None);
    agenda.renew();
    agenda.listed(items.clone());
    // The other one is still under way.
    assert_eq!(agenda.next(), Some(items[0].clone()));
    assert_eq!(agenda.next(), None);
}

/// holds C-F3
#[tokio::test]
async fn a_domain_leaves_room_for_others() {
    let mut to = vec!["a@silent.org"; DOMAIN_AT_ONCE + 1];
    to.extend(["a@other.org,b@silent.org", "a@other.org"]);
    let items = items(&to).await;
    let mut agenda = Agenda::default();
    agenda.listed(items.clone());
    for item in &items[..DOMAIN_AT_ONCE] {
        assert_eq!(agenda.next().as_ref(), Some(item));
    }
    assert_eq!(agenda.next().as_ref(), items.last());
    assert_eq!(agenda.next(), None);
    assert!(!agenda.ended(&items[0], Some(items[0].clone())));
    assert_eq!(agenda.next().as_ref(), items.get(DOMAIN_AT_ONCE));
    assert_eq!(agenda.next(), None);
    for item in &items {
        agenda.ended(item, None);
    }
    assert_eq!(agenda.next().as_ref(), items.get(DOMAIN_AT_ONCE + 1));
    agenda.ended(&items[DOMAIN_AT_ONCE + 1], None);
    assert!(agenda.busy.is_empty());
}

/// An item of which somebody is left has another identity then, and was tried. holds C-F3
#[tokio::test]
async fn what_is_left_was_tried() {
    let items = items(&["a@one.org,b@one.org", "b@one.org"]).await;
    let mut agenda = Agenda::default();
    agenda.listed(items[..1].to_vec());
    assert_eq!(agenda.next().as_ref(), items.first());
    assert!(!agenda.ended(&items[0], Some(items[1].clone())));
    agenda.listed(items[1..].to_vec());
    assert_eq!(agenda.next(), None);
    // And what is gone is not kept in mind.
    agenda.ended(&items[1], None);
    assert!(agenda.known.is_empty());
}

/// Two equal messages are one item. holds C-F4
#[tokio::test]
async fn a_twin_has_its_turn_when_the_first_is_gone() {
    let items = items(&["a@one.org"]).await;
    let mut agenda = Agenda::default();
    agenda.listed(items.clone());
    agenda.next().unwrap();
    agenda.listed(items.clone());
    assert_eq!(agenda.next(), None);
    assert!(agenda.ended(&items[0], None), "it is to be looked for");
    // Both are listed at once.
    agenda.listed([items.clone(), items.clone()].concat());
    assert_eq!(agenda.next().as_ref(), items.first());
    assert_eq!(agenda.next(), None);
    assert!(agenda.ended(&items[0], None));
    agenda.listed(items.clone());
    assert_eq!(agenda.next().as_ref(), items.first());
    assert!(!agenda.ended(&items[0], None));
}

/// Four silent domains have more items than there is room for, and a good one comes behind them: it has its turn, though
/// each round comes before the one before it is over.
///
/// holds C-F3
#[tokio::test]
async fn what_waits_behind_silent_hosts_has_its_turn() {
    const ROUND: u32 = 60;
    let mut to: Vec<String> = (0..48).map(|number| format!("a@silent{}.org", number % 4)).collect();
    to.push("a@good.org".to_owned());
    let items = items(&to.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let good = items.last().unwrap();
    let mut agenda = Agenda::default();
    let mut under_way: Vec<(u32, Item)> = Vec::new();
    for second in 0..10 * ROUND {
        if second % ROUND == 0 {
            agenda.renew();
            agenda.listed(items.clone());
        }
        for (_, item) in under_way.extract_if(.., |(end, _)| *end <= second).collect::<Vec<_>>() {
            agenda.ended(&item, Some(item.clone()));
        }
        while let Some(item) = agenda.next() {
            if item == *good {
                return;
            }
            under_way.push((second + ROUND, item));
        }
    }
    panic!("it was never begun");
}
