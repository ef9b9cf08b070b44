//! The queue: a message for here and elsewhere is in both or in neither, and settling an item is done or not.

use std::fs;

use nix::libc::{EDQUOT, EIO, ENOSPC};

use super::{Case, FROM, has_entry, run};
use crate::files::tests::Fault;
use crate::{Claim as _, Mailbox, Queue as _, Store as _, StoreError};

const BEFORE: &str = "From <x@localhost> Mon Aug 22 23:00:00 2016\nX-Envelope-To: <z@x.org>\n\nbefore\r\n\n";

const LOCAL: &str = "From <x@localhost> Mon Aug 22 23:00:00 2016\nbefore\r\n\n";

fn case() -> Case {
    let case = Case::new(&[("alice", LOCAL)]);
    fs::write(case.dir.path().join("mqueue"), BEFORE).unwrap();
    case
}

fn queue(case: &Case) -> String {
    fs::read_to_string(case.dir.path().join("mqueue")).unwrap()
}

fn accept(case: &Case) -> Result<(), StoreError> {
    run(async {
        let mut draft = case.store.draft();
        draft.append(b"new\r\n").await?;
        let envelope = pillarbox_proto::Envelope {
            reverse_path: pillarbox_proto::ReversePath(Some("x@localhost".parse().unwrap())),
            forward_paths: Vec::new(),
        };
        // So many that half of the item ends in the middle of its envelope.
        let remote = ["a@x.org", "b@x.org", "c@x.org"].map(|path| path.parse().unwrap());
        case.store.accept(&envelope, draft.finish().await?, &[Mailbox("alice".to_owned())], &remote).await
    })
}

/// Whether the message is in both; that it is in one of them only is an error.
fn is_accepted(case: &Case, number: usize) -> bool {
    let local = has_entry(&case.content("alice"), LOCAL, "new\r\n");
    let to: String = ["a", "b", "c"].map(|name| format!("X-Envelope-To: <{name}@x.org>\n")).concat();
    let remote = has_entry(&queue(case), BEFORE, &(to + "\nnew\r\n"));
    assert_eq!(local, remote, "operation {number}");
    local
}

/// holds C-F1 and C-S9
#[test]
fn accepting_for_here_and_elsewhere_with_any_operation_failing() {
    for errno in [ENOSPC, EIO, EDQUOT] {
        for number in 0.. {
            let case = case();
            let files = &case.store.place.files;
            files.inject(Fault::Fail(number, errno));
            let result = accept(&case);
            let failed = files.done() > number;
            files.inject(Fault::None);
            // What could not be undone is, by the next one to lock both.
            accept_nothing(&case);
            assert_eq!(is_accepted(&case, number), result.is_ok(), "operation {number}: {result:?}");
            if !failed {
                assert!(number > 12, "all operations are counted");
                break;
            }
        }
    }
}

fn accept_nothing(case: &Case) {
    run(async { case.store.browse().await.map(drop) }).unwrap();
    run(async { case.store.open(&Mailbox("alice".to_owned())).await.map(drop) }).unwrap();
}

/// holds C-F1 and C-S9
#[test]
fn accepting_for_here_and_elsewhere_dies_anywhere() {
    let mut seen = [false; 2];
    for number in 0.. {
        let case = case();
        let files = &case.store.place.files;
        files.inject(Fault::Die(number));
        let acknowledged = accept(&case).is_ok();
        let died = files.done() > number;
        files.inject(Fault::None);
        case.assert_waits();
        case.recover(Fault::None);
        let accepted = is_accepted(&case, number);
        assert!(accepted || !acknowledged, "operation {number}");
        seen[usize::from(accepted)] = true;
        case.assert_tidy();
        if !died {
            break;
        }
    }
    assert_eq!(seen, [true; 2]);
}

const TWO: &str = "X-Envelope-To: <a@x.org>\nX-Envelope-To: <b@x.org>\n\ntext\r\n\n";
const ONE: &str = "X-Envelope-To: <b@x.org>\n\ntext\r\n\n";

/// A queue of an item for two, and `behind` it another; the first recipient is settled, and `fault` goes wrong.
fn settle_first(behind: &str, fault: Fault) -> (Case, bool, usize) {
    let case = Case::new(&[]);
    fs::write(case.dir.path().join("mqueue"), format!("{FROM}{TWO}{behind}")).unwrap();
    let files = &case.store.place.files;
    let settled = run(async {
        let items = case.store.browse().await.unwrap();
        let mut claim = case.store.claim(&items[0]).await.unwrap().unwrap();
        files.inject(fault);
        claim.settle(&["a@x.org".parse().unwrap()]).await.is_ok()
    });
    let done = files.done();
    files.inject(Fault::None);
    (case, settled, done)
}

/// In a short queue, which is rewritten, and in a long one, in which the recipient is struck out.
///
/// holds C-F4
#[test]
fn settling_with_any_operation_failing_or_dying_happens_or_not() {
    let long = format!("{BEFORE}{FROM}X-Envelope-To: <z@x.org>\n\n{}\n", "long\r\n".repeat(20_000));
    for (behind, operations) in [(BEFORE, 8), (long.as_str(), 1)] {
        let (before, after) = (format!("{FROM}{TWO}{behind}"), format!("{FROM}{ONE}{behind}"));
        for make in [|number| Fault::Fail(number, ENOSPC), |number| Fault::Fail(number, EIO), Fault::Die] {
            let mut seen = [false; 2];
            for number in 0.. {
                let (case, settled, done) = settle_first(behind, make(number));
                if matches!(make(number), Fault::Die(_)) {
                    case.assert_waits();
                    case.recover(Fault::None);
                }
                // Removes what is struck out.
                run(async { case.store.browse().await.map(drop) }).unwrap();
                let content = queue(&case);
                assert!(content == after || content == before && !settled, "operation {number}: {content:?}");
                seen[usize::from(content == after)] = true;
                case.assert_tidy();
                if done <= number {
                    assert!(number > operations, "all operations are counted");
                    break;
                }
            }
            assert_eq!(seen, [true; 2]);
        }
    }
}

/// A queue in which somebody is struck out can be sent on when nothing can be written: that makes the room.
///
/// holds C-F4
#[test]
fn a_queue_that_cannot_be_rewritten_is_read_without_what_is_struck_out() {
    for make in [|number| Fault::Fail(number, ENOSPC), |number| Fault::Fail(number, EIO)] {
        for number in 0.. {
            let case = Case::new(&[]);
            let struck_out = TWO.replacen('X', "#", 1);
            let over = BEFORE.replacen('X', "#", 1);
            fs::write(case.dir.path().join("mqueue"), format!("{FROM}{struck_out}{over}{BEFORE}")).unwrap();
            let files = &case.store.place.files;
            files.inject(make(number));
            let items = run(case.store.browse());
            let done = files.done();
            files.inject(Fault::None);
            if let Ok(items) = items {
                let to = items.iter().map(|item| item.envelope.as_ref().unwrap().forward_paths[0].to_string());
                assert_eq!(to.collect::<Vec<_>>(), ["b@x.org", "z@x.org"], "operation {number}");
            }
            run(async { case.store.browse().await.map(drop) }).unwrap();
            assert_eq!(queue(&case), format!("{FROM}{ONE}{BEFORE}"), "operation {number}");
            case.assert_tidy();
            if done <= number {
                assert!(number > 8, "all operations are counted");
                break;
            }
        }
    }
}

/// A claim on an item that is gone keeps nobody from it when it is there again.
///
/// holds C-F4
#[test]
fn a_claim_on_an_item_that_has_vanished_is_given_back() {
    let case = case();
    run(async {
        let items = case.store.browse().await.unwrap();
        fs::write(case.dir.path().join("mqueue"), "").unwrap();
        assert!(case.store.claim(&items[0]).await.unwrap().is_none());
        fs::write(case.dir.path().join("mqueue"), BEFORE).unwrap();
        assert!(case.store.claim(&items[0]).await.unwrap().is_some());
        // One that lives keeps others from it, and is given back as well.
        let claim = case.store.claim(&items[0]).await.unwrap().unwrap();
        assert!(case.store.claim(&items[0]).await.unwrap().is_none());
        drop(claim);
        assert!(case.store.claim(&items[0]).await.unwrap().is_some());
    });
}

/// Whoever is left of an item is looked for when the queue was rewritten: a longer message that begins like it, to the same
/// recipient, is another one.
///
/// holds C-F4
#[test]
fn an_item_that_begins_like_another_is_not_settled_for_it() {
    let case = Case::new(&[]);
    let longer = format!("{FROM}{}", ONE.replace("text\r\n", "text\r\nand more\r\n"));
    fs::write(case.dir.path().join("mqueue"), format!("{longer}{FROM}{TWO}")).unwrap();
    run(async {
        let items = case.store.browse().await.unwrap();
        let mut claim = case.store.claim(&items[1]).await.unwrap().unwrap();
        for done in ["a@x.org", "b@x.org"] {
            claim.settle(&[done.parse().unwrap()]).await.unwrap();
        }
    });
    assert_eq!(queue(&case), longer);
}
