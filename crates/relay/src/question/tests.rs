//! Tests of `question.rs`.

use hickory_proto::rr::rdata::{A, CNAME};

use super::*;

fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).unwrap();
    name.set_fqdn(true);
    name
}

fn a(owner: &str, last: u8) -> Record {
    Record::from_rdata(name(owner), 60, RData::A(A::new(192, 0, 2, last)))
}

fn alias(owner: &str, target: &str) -> Record {
    Record::from_rdata(name(owner), 60, RData::CNAME(CNAME(name(target))))
}

/// A question for `example.org` and the reply to it, changed by `change`.
fn reply(answers: &[Record], change: impl FnOnce(&mut Message)) -> (Question, Vec<u8>) {
    let question = Question::new(name("example.org"), RecordType::A);
    let mut message = Message::response(question.id, OpCode::Query);
    message.metadata.recursion_available = true;
    message.add_query(question.query.clone());
    message.add_answers(answers.iter().cloned());
    change(&mut message);
    (question, message.to_vec().unwrap())
}

fn read(answers: &[Record], change: impl FnOnce(&mut Message)) -> Option<Result<Reply, String>> {
    let (question, octets) = reply(answers, change);
    question.read(&octets, false)
}

fn found(last: &[u8]) -> Option<Result<Reply, String>> {
    Some(Ok(Reply::Records(last.iter().map(|&last| RData::A(A::new(192, 0, 2, last))).collect())))
}

/// holds C-F8
#[test]
fn only_what_answers_the_question_is_taken() {
    let other = || Query::query(name("example.net"), RecordType::A);
    assert_eq!(read(&[a("EXAMPLE.org", 1), a("example.net", 2)], |_| {}), found(&[1]));
    assert_eq!(read(&[a("example.org", 1)], |message| message.metadata.id ^= 1), None);
    assert_eq!(read(&[a("example.org", 1)], |message| message.metadata.message_type = MessageType::Query), None);
    assert_eq!(read(&[a("example.org", 1)], |message| message.queries = vec![other()]), None);
    assert_eq!(read(&[a("example.org", 1)], |message| message.queries.clear()), None);
    let code = |code| {
        read(&[], move |message| {
            message.metadata.response_code = code;
            message.queries.clear();
        })
    };
    assert_eq!(code(ResponseCode::FormErr), Some(Err("Form Error".to_owned())));
    assert_eq!(code(ResponseCode::Refused), Some(Err("Query Refused".to_owned())));
}

/// holds C-F8
#[test]
fn nothing_found_is_told_from_nothing_known() {
    assert_eq!(read(&[], |_| {}), Some(Ok(Reply::NoRecords)));
    assert_eq!(read(&[], |message| message.metadata.response_code = ResponseCode::NXDomain), Some(Ok(Reply::NoName)));
    let lame = read(&[], |message| message.metadata.recursion_available = false);
    assert_eq!(lame, Some(Err("it neither knows nor asks others".to_owned())));
    let authority = |message: &mut Message| {
        message.metadata.recursion_available = false;
        message.metadata.authoritative = true;
    };
    assert_eq!(read(&[], authority), Some(Ok(Reply::NoRecords)));
}

#[test]
fn aliases_are_followed_in_any_order_and_rings_end() {
    let chain = [a("c.org", 3), alias("b.org", "C.org"), alias("example.org", "b.org")];
    assert_eq!(read(&chain, |_| {}), found(&[3]));
    assert_eq!(read(&chain[1..], |_| {}), Some(Ok(Reply::Alias(name("c.org")))));
    let lost = read(&chain[1..], |message| message.metadata.response_code = ResponseCode::NXDomain);
    assert_eq!(lost, Some(Ok(Reply::NoName)));
    let ring = read(&[alias("example.org", "b.org"), alias("b.org", "example.org")], |_| {});
    assert!(matches!(ring, Some(Ok(Reply::Alias(_) | Reply::NoRecords))), "{ring:?}");
}

/// holds C-F8
#[test]
fn what_was_cut_is_asked_for_again_and_over_tcp_taken() {
    let (question, octets) = reply(&[a("example.org", 1)], |message| message.metadata.truncation = true);
    assert_eq!(question.read(&octets, false), Some(Ok(Reply::Truncated)));
    assert_eq!(question.read(&octets, true), found(&[1]));
}

/// holds C-F8
#[test]
fn whatever_comes_nothing_panics_and_nothing_is_made_up() {
    let (question, octets) = reply(&[alias("example.org", "b.org"), a("b.org", 1)], |_| {});
    for cut in 0..octets.len() {
        let read = question.read(&octets[..cut], false);
        assert!(!matches!(read, Some(Ok(_))), "{cut}: {read:?}");
    }
    for at in 0..octets.len() {
        for flip in [1, 0x80, 0xff] {
            let mut octets = octets.clone();
            octets[at] ^= flip;
            let _ = question.read(&octets, false);
        }
    }
    // What stands behind the answer may be whatever it is.
    let (question, mut octets) = reply(&[a("example.org", 1)], |_| {});
    octets[11] = 9;
    octets.extend([0xff; 30]);
    assert_eq!(question.read(&octets, false), found(&[1]));
}

/// holds C-F8
#[test]
fn a_question_is_plain_where_it_need_not_be_more() {
    let question = Question::new(name("example.org"), RecordType::MX);
    let plain = Message::from_vec(&question.octets(false)).unwrap();
    assert!(plain.edns.is_none() && plain.metadata.recursion_desired);
    let large = Message::from_vec(&question.octets(true)).unwrap();
    assert_eq!(large.edns.unwrap().max_payload(), UDP_LARGE_OCTETS);
    // Ids are random: all the same once in 2^112 runs.
    let ids: Vec<_> = (0..8).map(|_| Question::new(name("example.org"), RecordType::MX).id).collect();
    assert!(ids.iter().any(|id| *id != ids[0]), "{ids:?}");
}

/// What cannot be read of a record that nobody has asked for, or of one among several, hides no other.
///
/// holds C-F8
#[test]
fn a_broken_record_hides_no_other() {
    let question = Question::new(name("a.org"), RecordType::A);
    let answer = |records: &[(u16, &[u8])]| {
        let mut octets = question.id.to_be_bytes().to_vec();
        octets.extend([0x81, 0x80, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
        octets.extend(b"\x01a\x03org\0\0\x01\0\x01");
        for (kind, data) in records {
            octets.extend([0xc0, 12]);
            octets.extend(kind.to_be_bytes());
            octets.extend([0, 1, 0, 0, 0, 60]);
            octets.extend((data.len() as u16).to_be_bytes());
            octets.extend(*data);
        }
        question.read(&octets, false).unwrap()
    };
    let good: (u16, &[u8]) = (1, &[192, 0, 2, 1]);
    for broken in [(1, &[192, 0, 2][..]), (1, b""), (16, b"\x05ab"), (65, b"\0"), (257, b"\0"), (33, b"\0\0")] {
        for records in [[good, broken], [broken, good]] {
            assert!(matches!(answer(&records), Ok(Reply::Records(found)) if found.len() == 1), "{broken:?}");
        }
    }
    answer(&[(1, b"\xc0")]).unwrap_err();
    assert!(matches!(answer(&[(16, b"\x05ab")]), Ok(Reply::NoRecords)));
}
