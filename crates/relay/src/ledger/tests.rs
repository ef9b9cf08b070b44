//! Tests of `ledger.rs`.

use super::*;

const SPOKEN: Progress =
    Progress { welcomed: true, dot_sent: true, dot_answered: true, unreadable: false, text_over: true };

fn ledger() -> Ledger {
    let address = |name: &str| Address::parse(format!("{name}@example.org").as_bytes()).unwrap();
    Ledger::new(&Envelope { reverse_path: ReversePath::default(), forward_paths: ["a", "b", "c"].map(address).into() })
}

/// Each letter is what the host says of one recipient: delivered, deferred or failed.
fn say(ledger: &mut Ledger, host: &str, letters: &str, progress: Progress) {
    let outcomes = ledger.envelope().forward_paths.into_iter().zip(letters.chars()).map(|(address, letter)| {
        let outcome = match letter {
            '+' => Outcome::Delivered("250".to_owned()),
            '?' => Outcome::Deferred("450".to_owned()),
            _ => Outcome::Failed("550".to_owned()),
        };
        (address, outcome)
    });
    let outcomes = outcomes.collect();
    ledger.spoken(host, outcomes, progress);
}

/// What is reported of each recipient: the letter, and the host that said so.
fn reports(ledger: Ledger) -> String {
    let show = |(_, report): (Address, Report)| {
        let letter = match report.outcome {
            Outcome::Delivered(_) => '+',
            Outcome::Deferred(_) => '?',
            Outcome::Failed(_) => '-',
        };
        format!("{letter}{}", report.host.unwrap_or_default())
    };
    ledger.into_reports().into_iter().map(show).collect::<Vec<_>>().join(" ")
}

/// holds C-F3
#[test]
fn only_who_is_deferred_is_tried_elsewhere() {
    let mut ledger = ledger();
    say(&mut ledger, "one", "+?-", SPOKEN);
    assert_eq!(ledger.envelope().forward_paths.len(), 1);
    assert!(!ledger.is_over());
    say(&mut ledger, "two", "+", SPOKEN);
    assert!(ledger.is_over());
    assert_eq!(reports(ledger), "+one +two -one");
}

/// holds C-F4
#[test]
fn doubt_ends_it() {
    let mut ledger = ledger();
    say(&mut ledger, "one", "??-", Progress { dot_answered: false, ..SPOKEN });
    assert!(ledger.is_over());
    assert_eq!(reports(ledger), "?one ?one -one");
}

/// holds C-F4
#[test]
fn a_text_that_cannot_be_read_is_tried_nowhere_else() {
    let mut ledger = ledger();
    say(&mut ledger, "one", "???", Progress { unreadable: true, dot_sent: false, dot_answered: false, ..SPOKEN });
    assert!(ledger.is_over());
    assert_eq!(reports(ledger), "?one ?one ?one");
}

#[test]
fn a_reply_tells_more_than_a_host_that_is_down() {
    let mut ledger = ledger();
    say(&mut ledger, "one", "+??", SPOKEN);
    ledger.unreached("two", "refused".to_owned());
    assert_eq!(reports(ledger), "+one ?one ?one");
}

#[test]
fn refused_for_good_only_where_every_host_refuses_for_good() {
    let kept_out = Progress::default();
    let mut down = ledger();
    down.unreached("one", "refused".to_owned());
    say(&mut down, "two", "---", kept_out);
    assert!(!down.is_over());
    assert_eq!(reports(down), "?one ?one ?one");

    let mut refused = ledger();
    say(&mut refused, "one", "---", kept_out);
    say(&mut refused, "two", "---", kept_out);
    assert_eq!(reports(refused), "-two -two -two");
}
