//! An index while deliveries and removals fail and die: what it says afterwards is what is there, or it does not count.

use nix::libc::{EIO, ENOSPC};

use super::{Case, FROM, run};
use crate::files::tests::Fault;
use crate::index::{self, Listing, Seen};
use crate::locks::lock_now;
use crate::{Mailbox, Store as _, update};

fn mailbox() -> String {
    (0..5).map(|number| format!("{FROM}message {number}\r\n\n")).collect()
}

/// A mailbox that has an index.
fn indexed() -> Case {
    let case = Case::new(&[("alice", &mailbox())]);
    run(async { case.store.open(&Mailbox("alice".to_owned())).await.map(drop) }).unwrap();
    assert!(is_current(&case));
    case
}

/// Whether there is an index of the mailbox as it is. What it says then is right.
fn is_current(case: &Case) -> bool {
    let place = &case.store.place;
    let metadata = case.dir.path().join("alice.mbox").metadata().unwrap();
    match index::look(place, "alice", Some(&metadata)).unwrap() {
        Some(Seen::Current(entries)) => {
            let locked = lock_now(place, "alice").unwrap().unwrap();
            assert_eq!(*entries, *update::list(&locked).unwrap());
            true
        }
        _ => false,
    }
}

/// A session lists what is there.
fn assert_listed(case: &Case, what: &str) -> Listing {
    is_current(case);
    let place = &case.store.place;
    let locked = lock_now(place, "alice").unwrap().unwrap();
    let listing = index::list(place, &locked).unwrap();
    assert_eq!(*listing.entries, *update::list(&locked).unwrap(), "{what}");
    listing
}

#[test]
fn deliveries_and_removals_keep_it() {
    let case = indexed();
    for text in ["one\r\n", "From here\r\n", ""] {
        case.deliver(&["alice"], text).unwrap();
        assert!(is_current(&case), "{text:?}");
    }
    for delete in [&[0][..], &[1, 3], &[4], &[0, 1, 2]] {
        case.remove("alice", delete, || ()).unwrap();
        assert!(is_current(&case), "{delete:?}");
        case.deliver(&["alice"], "more\r\n").unwrap();
        assert!(is_current(&case), "{delete:?}");
    }
    // What is not in the index yet is read, and nothing in front of it.
    for texts in [&["long"][..], &["long", "short"], &["short", "long"]] {
        for text in texts {
            let text = if *text == "long" { "From line\r\n".repeat(10_000) } else { "short\r\n".to_owned() };
            case.deliver(&["alice"], &text).unwrap();
        }
        assert!(assert_listed(&case, "a long message").is_remembered, "{texts:?}");
        assert!(is_current(&case), "{texts:?}");
    }
    // Mail that comes while a session has the mailbox.
    let deliver = || case.deliver(&["alice"], "meanwhile\r\n").unwrap();
    let in_a_thread = || std::thread::scope(|scope| scope.spawn(deliver).join().unwrap());
    case.remove("alice", &[0], in_a_thread).unwrap();
    assert!(is_current(&case));
    // What another program has added is no business of a delivery.
    case.append("alice", &format!("{FROM}of another\n\n"));
    case.deliver(&["alice"], "more\r\n").unwrap();
    assert!(!is_current(&case));
    assert_listed(&case, "found by the next session");
    assert!(is_current(&case));
}

#[test]
fn a_mailbox_that_nobody_has_read_has_none() {
    let case = Case::new(&[("alice", &mailbox())]);
    case.deliver(&["alice"], "one\r\n").unwrap();
    assert!(!case.store.place.index("alice").exists());
}

/// Does `work` with each of its operations going wrong.
fn with_faults(work: impl Fn(&Case)) {
    for kind in 0..3 {
        for number in 0.. {
            let case = indexed();
            let files = &case.store.place.files;
            let fault = [Fault::Die(number), Fault::Fail(number, ENOSPC), Fault::Fail(number, EIO)][kind];
            files.inject(fault);
            work(&case);
            let is_done = files.done() <= number;
            files.inject(Fault::None);
            let what = format!("{fault:?}");
            if kind == 0 {
                case.recover(Fault::None);
            }
            case.deliver(&["alice"], "next\r\n").unwrap();
            assert_listed(&case, &what);
            assert!(is_current(&case), "{what}");
            case.assert_tidy();
            if is_done {
                assert!(number > 8, "all operations are counted");
                break;
            }
        }
    }
}

#[test]
fn deliveries_with_faults() {
    with_faults(|case| {
        let _ = case.deliver(&["alice"], "new\r\n");
    });
}

#[test]
fn long_deliveries_with_faults() {
    with_faults(|case| {
        let _ = case.deliver(&["alice"], &"long\r\n".repeat(20_000));
    });
}

#[test]
fn removals_with_faults() {
    for delete in [&[1][..], &[3, 4], &[0, 2]] {
        with_faults(|case| {
            let _ = case.remove("alice", delete, || ());
        });
    }
}
