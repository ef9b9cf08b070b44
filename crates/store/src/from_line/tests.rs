//! Tests of `from_line.rs`.

use proptest::prelude::*;

use super::*;

/// holds C-F3
#[test]
fn dates_for_the_received_line() {
    for (asctime, date) in [
        ("Mon Aug 22 23:00:00 2016", Some("Mon, 22 Aug 2016 23:00:00 +0000")),
        ("Tue Feb  2 03:04:05 2027", Some("Tue, 2 Feb 2027 03:04:05 +0000")),
        ("Mon Aug 22 23:00 2016", None),
        ("Mon Aug 22 23:00:00 CEST 2016", None),
        ("", None),
    ] {
        assert_eq!(rfc_5322_date(asctime.as_bytes()).as_deref(), date, "{asctime}");
    }
}

fn check(line: &str, expected: bool) {
    for end in ["", "\n", "\r\n", " \t\n", " \r\n"] {
        assert_eq!(is_from_line(format!("{line}{end}").as_bytes()), expected, "for {line:?} and {end:?}");
    }
}

/// holds C-S8
#[test]
fn written_as_the_assignment_shows_it() {
    let path = ReversePath(Some("linhphan@localhost".parse().unwrap()));
    let written = |path: &ReversePath, at: &str| format(path, at.parse().unwrap());
    assert_eq!(
        written(&path, "2016-08-22T23:00:00Z"),
        "From <linhphan@localhost> Mon Aug 22 23:00:00 2016\n",
        "the seed's example"
    );
    assert_eq!(written(&ReversePath(None), "2024-02-01T02:03:04.9Z"), "From <> Thu Feb  1 02:03:04 2024\n");
    let quoted = ReversePath(Some("\"a b Mon\"@[127.0.0.1]".parse().unwrap()));
    assert_eq!(written(&quoted, "1999-12-31T23:59:59Z"), "From <\"a b Mon\"@[127.0.0.1]> Fri Dec 31 23:59:59 1999\n");
    for path in [path, ReversePath(None), quoted] {
        check(written(&path, "2016-08-22T23:00:00Z").trim_end(), true);
    }
}

/// holds C-P9
#[test]
fn recognised_by_the_date_at_its_end() {
    for date in [
        "Mon Aug 22 23:00:00 2016",
        "Mon Aug 22 23:00 2016",
        "Mon Aug  2 23:00:60 2016",
        "Mon Aug 02 23:00:00 2016",
        "Mon Aug 2 23:00:00 2016",
        "Mon Aug 22 23:00:00 GMT 2016",
        "Mon Aug 22 23:00:00 2016 CEST",
        "Mon Aug 22 23:00 +0100 2016",
        "Mon Aug 22 23:00:00 2016 -0730",
        "Mon\tAug 22 23:00:00  2016",
        "Mon Aug 22 2016 23:00:00",
        "Mon Aug 22 2016 23:00",
        "Mon Aug 02 2016 23:00:00 GMT-0700",
        "Mon Aug 22 2016 23:00:00 GMT+0200 (Central European Summer Time)",
        "Mon Aug 22 2016 GMT 23:00:00",
        "Mon Aug 22 CEST 2016 23:00:00",
        "Mon Aug 22 CEST 23:00:00 2016",
        "Mon Aug 22 23:00:00 GMT+0200 (CEST) 2016",
        "Mon, 22 Aug 2016 23:00:00 +0200",
        "Mon, 2 Aug 2016 23:00 GMT",
        "Mon 22 Aug 2016 23:00:00",
        "Mon, 22 Aug 2016 23:00:00 -0700 (PDT)",
        "Mon 22 Aug 2016 23:00:00 EST (a name,\tof more words)",
    ] {
        for between in ["", "a@b ", "<> ", "a strange   sender of mail ", "Mon Aug 22 ", "\u{fc}\u{0} ", "  "] {
            check(&format!("From {between}{date}"), true);
        }
        check(&format!("From{date}"), false);
        check(&format!("from a {date}"), false);
        check(&format!(">From a {date}"), false);
        check(&format!(" From a {date}"), false);
        check(&format!("From a{date}"), false);
        check(&format!("From a {date} x1"), false);
        check(&format!("From a {date} remote from host"), false);
    }
}

/// holds C-P9
#[test]
fn sentences_are_no_from_lines() {
    for line in [
        "From ",
        "From here on",
        "From me to you in 2016",
        "From a Mon Aug 22 2016",
        "From a Mon Aug 22 23:00:00",
        "From a Mon Aug 22 23:00:00 16",
        "From a Mon Aug 22 24:00:00 2016",
        "From a Mon Aug 22 23:60:00 2016",
        "From a Mon Aug 22 23:00:61 2016",
        "From a Mon Aug 22 3:00:00 2016",
        "From a Mon Aug 22 23:00:00:00 2016",
        "From a Mon Aug 22 23:00: 2016",
        "From a Mon Aug 0 23:00:00 2016",
        "From a Mon Aug 32 23:00:00 2016",
        "From a Mon Aug 222 23:00:00 2016",
        "From a Mon August 22 23:00:00 2016",
        "From a mon Aug 22 23:00:00 2016",
        "From a Aug 22 23:00:00 2016",
        "From a Mon Aug 22 23:00:00 GMT GMT 2016",
        "From a Mon Aug 22 23:00:00 GMT 2016 GMT",
        "From a Mon Aug 22 23:00:00 2016 +01000",
        "From a Mon Aug 22 23:00:00 2016 Mitteleuropa",
        "From a Mon Aug 22 23:00:00 2016 GMT+02000",
        "From a Mon Aug 22 23:00:00 2016 GMT+02:00",
        "From a Mon Aug 22 23:00:00 2016 GMT 0200",
        "From a Mon Aug 22 23:00:00 2016 Mitteleuropa+0200",
        "From a Mon Aug 22 23:00:00 2016 (CEST)",
        "From a Mon Aug 22 23:00:00 2016 GMT (CEST",
        "From a Mon Aug 22 23:00:00 2016 GMT CEST)",
        "From a Mon Aug 22 23:00:00 2016 GMT (CEST) (x)",
        "From a Mon Aug 22 23:00:00 2016 (a remark)",
        "From a Mon, Aug 22 23:00:00 2016",
        "From a Mon,, 22 Aug 2016 23:00:00",
        "From a Monday, 22 Aug 2016 23:00:00",
        "From a 22 Aug 2016 23:00:00 +0200",
        "From a Mon, 22 Aug 16 23:00:00 +0200",
        "From a Mon, 22 August 2016 23:00:00 +0200",
        "From a Mon, 22 Aug, 2016 23:00:00",
        "From a Mon, 22 Aug 2016",
        "From a Mon, 22 Aug 2016 at 23:00 o'clock",
        "From what I hear (in the office) it is done",
        "From here to there and back by Mon 22 Aug",
        "From Aug Mon Sat Sun 2016 23:00 (GMT)",
    ] {
        check(line, false);
    }
}

/// What is met in mailboxes of others.
///
/// holds C-P9
#[test]
fn lines_of_other_programs() {
    for line in [
        // mutt, Dovecot, Exim
        "From alice@example.org Fri Nov 15 10:20:30 2019",
        // procmail, Postfix
        "From alice@example.org  Fri Nov 15 10:20:30 2019",
        // Python
        "From MAILER-DAEMON Fri Nov  1 10:20:30 2019",
        // Netscape, Thunderbird
        "From - Thu Jul 30 10:20:30 1998",
        // ImportExportTools of Thunderbird
        "From - Fri Nov 15 2019 10:20:30 GMT+0100 (Mitteleurop\u{e4}ische Normalzeit)",
        "From - Fri Nov 15 2019 10:20:30 GMT-0700 (PDT)",
        "From - Fri Nov 15 2019 10:20:30",
        // Google Takeout
        "From 1650230274190137854@xxx Fri Nov 15 10:20:30 +0000 2019",
        // Eudora
        "From ???@??? Fri Nov 15 10:20:30 2019",
        // elm, mailx, UUCP
        "From alice Fri Nov 15 10:20 EST 2019",
        "From alice Fri Nov 15 10:20 2019",
        // Pine, c-client
        "From alice@example.org Fri Nov 15 10:20:30 2019 +0100",
        // Mailman, Pipermail
        "From alice at example.com  Fri Nov 15 10:20:30 2019",
        // Outlook, by readpst
        "From \"Alice A. (home)\" Fri Nov 15 10:20:30 2019",
        // procmail, of what came without one
        "From foo@bar  Fri Nov 15 10:20:30 2019",
        // hypermail, newsreaders
        "From alice@example.org Fri, 15 Nov 2019 10:20:30 +0100",
        "From alice@example.org (Alice) Fri, 15 Nov 2019 10:20:30 -0800 (PST)",
        "From alice@example.org Fri, 1 Nov 2019 10:20 GMT",
        // Internet Explorer's dates
        "From - Fri Nov 15 10:20:30 UTC+0100 2019",
    ] {
        check(line, true);
        check(&format!(">{line}"), false);
        check(&format!("{line} and more"), false);
    }
    for line in [
        // Of a digest, of a letter, of an answer
        "From alice@example.org",
        "From: alice@example.org Fri, 15 Nov 2019 10:20:30 +0100",
        "From the minutes of Fri, 15 Nov 2019 10:20:30 +0100: nothing",
        "From Fri Nov 15 on, 10:20 is the time",
        "From 10:20 to 11:00 on Fri Nov 15 2019",
        "From Fri 15 Nov 2019, 10:20",
    ] {
        check(line, false);
    }
}

/// All orders of the words of a date, and a zone at every place: those of asctime, JavaScript and RFC 5322 count, with a zone
/// beside year or time, and no others.
///
/// holds C-P9
#[test]
fn the_orders_of_a_date() {
    let mut counted = 0;
    for weekday in ["Mon", "Mon,"] {
        for order in permutations(&[weekday, "Aug", "22", "23:00:00", "2016"]) {
            let known = [
                ["Mon", "Aug", "22", "23:00:00", "2016"],
                ["Mon", "Aug", "22", "2016", "23:00:00"],
                [weekday, "22", "Aug", "2016", "23:00:00"],
            ]
            .contains(&order);
            counted += u32::from(known);
            let from = |words: &[&str]| format!("From a {}", words.join(" "));
            check(&from(&order), known);
            for zone in ["+0200", "CEST", "UT", "GMT-0700", "GMT+0200 (a name)", "CEST (a)"] {
                for at in 0..=5 {
                    let mut zoned = order.to_vec();
                    zoned.insert(at, zone);
                    // In front of the date it is no part of it.
                    check(&from(&zoned), known && (at == 0 || at >= 3));
                    // One is enough.
                    for second in (3..=6).filter(|_| at >= 3) {
                        let mut twice = zoned.clone();
                        twice.insert(second, "+0100");
                        check(&from(&twice), false);
                    }
                }
            }
            for missing in 0..5 {
                let mut short = order.to_vec();
                short.remove(missing);
                check(&from(&short), false);
            }
        }
    }
    assert_eq!(counted, 4);
}

fn permutations<'a>(words: &[&'a str; 5]) -> Vec<[&'a str; 5]> {
    let mut all = vec![Vec::new()];
    for _ in words {
        let longer = |order: Vec<usize>| (0..5).map(move |next| [&order[..], &[next]].concat());
        all = all.into_iter().flat_map(longer).collect();
    }
    all.retain(|order| (0..5).all(|at| order.contains(&at)));
    all.into_iter().map(|order| std::array::from_fn(|at| words[order[at]])).collect()
}

proptest! {
    /// Whatever stands in front of the date, and however it is spaced.
    ///
    /// holds C-P9
    #[test]
    fn what_stands_in_front_of_the_date_is_not_looked_at(
        between in prop::collection::vec(any::<u8>().prop_filter("no line end", |octet| *octet != b'\n'), 0..60),
        blanks in "[ \t]{1,3}",
        date in prop::sample::select(&[
            "Mon Aug 22 23:00:00 2016",
            "Mon Aug 22 2016 23:00:00 GMT-0700 (a name)",
            "Mon, 22 Aug 2016 23:00 +0200",
        ]),
    ) {
        let line = [FROM, &between[..], blanks.as_bytes(), date.replace(' ', &blanks).as_bytes(), b"\n"].concat();
        prop_assert!(is_from_line(&line), "{}", String::from_utf8_lossy(&line));
    }

    /// A date that somebody has changed: it counts as long as it still ends in one.
    ///
    /// holds C-P9
    #[test]
    fn a_date_that_is_changed_counts_by_what_it_ends_in(
        date in prop::sample::select(tails()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..3, prop::sample::select(WORDS)), 0..3),
    ) {
        let mut shape = format!("?{date}");
        for (at, change, (letter, _)) in changes {
            let at = at.index(shape.len());
            match change {
                0 => shape.insert(at, letter),
                1 => shape.replace_range(at..=at, &letter.to_string()),
                _ if shape.len() > 1 => drop(shape.remove(at)),
                _ => {}
            }
        }
        let word = |letter| WORDS.iter().find(|(other, _)| *other == letter).unwrap().1;
        let line = format!("From {}", shape.chars().map(word).collect::<Vec<_>>().join(" "));
        prop_assert_eq!(is_from_line(line.as_bytes()), tails().iter().any(|tail| shape.ends_with(tail)), "{}", line);
    }
}

/// Words, each with a letter of its own.
const WORDS: &[(char, &str)] = &[
    ('W', "Mon"),
    (',', "Mon,"),
    ('M', "Aug"),
    ('D', "22"),
    ('T', "23:00"),
    ('Y', "2016"),
    ('z', "CEST"),
    ('+', "+0200"),
    ('g', "GMT-0700"),
    ('(', "(a b)"),
    ('?', "hello?"),
];

/// All that a `From ` line may end in, in these letters.
fn tails() -> Vec<String> {
    let mut tails = Vec::new();
    for date in ["WMDTY", "WMDYT", "WDMYT", ",DMYT"] {
        tails.push(date.to_owned());
        for at in 3..=5 {
            for zone in ["z", "+", "g", "z(", "+(", "g("] {
                tails.push(format!("{}{zone}{}", &date[..at], &date[at..]));
            }
        }
    }
    tails
}

/// holds C-P9
#[test]
fn a_from_line_has_a_bound() {
    let date = " Mon Aug 22 23:00:00 2016\n";
    let line = |octets: usize| format!("From {}{date}", "x".repeat(octets - 5 - date.len()));
    assert!(is_from_line(line(FROM_LINE_MAX_OCTETS).as_bytes()));
    assert!(!is_from_line(line(FROM_LINE_MAX_OCTETS + 1).as_bytes()));
}
