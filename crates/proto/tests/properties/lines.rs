//! Command lines (C-C2, C-C3, C-C4), and message data between them that is taken from the same octets.

use pillarbox_proto::Line;
use pillarbox_proto::lines::{LINE_MAX_OCTETS, Lines};

use super::input::{Choices, Input, cut_line};

/// What was taken: a line, or octets that were no line.
#[derive(Debug, PartialEq, Eq)]
enum Taken {
    Line(Line),
    Octets(Vec<u8>),
}

/// However the wire is cut: the same lines come out, those that a plain split at each LF gives, and never more than a
/// line is kept.
pub(crate) fn check(input: &Input) {
    let mut choices = input.choices();
    let expected = expected(&input.wire, choices.clone());
    assert_eq!(taken(&[&input.wire], choices.clone()), expected, "at once");
    let sizes = choices.clone();
    choices.next();
    let pieces = choices.cut(&input.wire);
    assert_eq!(taken(&pieces, sizes), expected, "in pieces");
}

/// `data` chooses how many octets behind each line are taken as they are, as the reader of message data does.
fn taken(pieces: &[&[u8]], mut data: Choices<'_>) -> Vec<Taken> {
    let mut lines = Lines::default();
    let mut all = Vec::new();
    let mut wanted = 0;
    for piece in pieces {
        lines.push(piece);
        loop {
            if wanted > 0 {
                let octets = lines.waiting()[..lines.waiting().len().min(wanted)].to_vec();
                lines.consume(octets.len());
                wanted -= octets.len();
                if let Some(Taken::Octets(taken)) = all.last_mut() {
                    taken.extend_from_slice(&octets);
                }
                if wanted > 0 {
                    break;
                }
            }
            let Some(line) = lines.cut() else { break };
            all.push(Taken::Line(line));
            wanted = octets_behind(&mut data);
            if wanted > 0 {
                all.push(Taken::Octets(Vec::new()));
            }
        }
        assert!(wanted > 0 || lines.waiting().len() < LINE_MAX_OCTETS, "no more than a line is kept");
    }
    all
}

/// The same from the whole wire, by the words of the requirement.
fn expected(mut wire: &[u8], mut data: Choices<'_>) -> Vec<Taken> {
    let mut all = Vec::new();
    while let Some((line, octets, rest)) = cut_line(wire) {
        all.push(Taken::Line(if octets > LINE_MAX_OCTETS {
            let tail = &wire[octets - 11..octets];
            let tail = tail.strip_suffix(b"\r\n").or(tail.strip_suffix(b"\n")).unwrap_or_default();
            Line::TooLong { octets: octets as u64, ends: [&wire[..8], tail].concat().into() }
        } else {
            Line::Text(line.to_vec().into())
        }));
        let wanted = octets_behind(&mut data);
        let (taken, rest) = rest.split_at(wanted.min(rest.len()));
        if wanted > 0 {
            all.push(Taken::Octets(taken.to_vec()));
        }
        wire = rest;
    }
    all
}

fn octets_behind(data: &mut Choices<'_>) -> usize {
    if data.one_in(4) { data.size() } else { 0 }
}
