//! Message data (C-S7): its end, its dots, its line ends.

use pillarbox_proto::data::{DataReader, DotStuffer};

use super::input::{Choices, Input, assert_same, take_line};

/// However data is cut: the text and the end are those of a plain reading of RFC 5321, no octet behind the end is
/// taken, no bare LF comes out; and the text survives being sent on.
pub(crate) fn check(input: &Input) {
    let wire = input.wire.as_slice();
    let (text, taken, ended) = read(&[wire]);
    assert!(taken <= wire.len());
    assert!(ended || taken == wire.len(), "everything up to the end is taken");
    match plain(wire) {
        Some((plain_text, plain_taken)) => {
            assert!(ended, "the end was missed");
            assert_same(&text, &plain_text, "text");
            assert_eq!(taken, plain_taken);
        }
        None => {
            assert!(!ended, "an end that is none");
            assert_same(&text, &plain_unfinished(wire), "text so far");
        }
    }
    let mut before = None;
    for &octet in &text {
        assert!(octet != b'\n' || before == Some(b'\r'), "a bare LF came out");
        before = Some(octet);
    }

    let mut choices = input.choices();
    let in_pieces = read(&choices.cut(wire));
    assert_same(&in_pieces.0, &text, "in pieces");
    assert_eq!((in_pieces.1, in_pieces.2), (taken, ended), "in pieces");

    if ended {
        let on_the_wire = stuff(&mut choices, &text);
        let (again, taken) = plain(&on_the_wire).expect("a stuffed text has an end");
        assert_same(&again, &text, "sent on");
        assert_eq!(taken, on_the_wire.len());
    }
    // A text of any octets at least ends where it ends, however it is cut.
    let stuffed = stuff(&mut choices, wire);
    let (_, taken) = plain(&stuffed).expect("a stuffed text has an end");
    assert_eq!(taken, stuffed.len(), "a line of the text ends it");
    let mut at_once = Vec::new();
    let mut stuffer = DotStuffer::default();
    stuffer.stuff(wire, &mut at_once);
    stuffer.end(&mut at_once);
    assert_same(&stuffed, &at_once, "stuffed in pieces");
}

fn read(pieces: &[&[u8]]) -> (Vec<u8>, usize, bool) {
    let mut reader = DataReader::default();
    let mut text = Vec::new();
    let mut taken = 0;
    for piece in pieces {
        let from_piece = reader.read(piece, &mut text);
        assert!(from_piece <= piece.len());
        assert!(from_piece == piece.len() || reader.ended(), "only what stands behind the end is left");
        taken += from_piece;
        if reader.ended() {
            assert_eq!(reader.read(b"more", &mut text), 0, "nothing is taken behind the end");
            break;
        }
    }
    (text, taken, reader.ended())
}

fn stuff(choices: &mut Choices<'_>, text: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut stuffer = DotStuffer::default();
    for piece in choices.cut(text) {
        stuffer.stuff(piece, &mut wire);
    }
    stuffer.end(&mut wire);
    wire
}

/// Reads data line by line, in the order of C-S7: the text, and how many octets stand up to its end. `None`: it does
/// not end.
pub(crate) fn plain(wire: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut rest = wire;
    let mut text = Vec::new();
    loop {
        let line = take_line(&mut rest)?;
        if line == b"." {
            return Some((text, wire.len() - rest.len()));
        }
        push_line(line, &mut text);
        text.extend_from_slice(b"\r\n");
    }
}

/// The text so far of data that has not ended: what could still turn out to be its end is held back.
fn plain_unfinished(wire: &[u8]) -> Vec<u8> {
    let mut rest = wire;
    let mut text = Vec::new();
    while let Some(line) = take_line(&mut rest) {
        push_line(line, &mut text);
        text.extend_from_slice(b"\r\n");
    }
    if !matches!(rest, b"." | b".\r") {
        push_line(rest, &mut text);
    }
    text
}

fn push_line(line: &[u8], text: &mut Vec<u8>) {
    for &octet in line.strip_prefix(b".").unwrap_or(line) {
        match octet {
            b'\n' => text.extend_from_slice(b"\r\n"),
            _ => text.push(octet),
        }
    }
}
