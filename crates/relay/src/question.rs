//! A question to a name server, and what its replies say (RFC 1035 §4).
//!
//! Pure: octets go out and come in. Of a reply only what answers the question is read; what else stands in it may be
//! whatever it is. Sending is [`crate::resolve`].

use std::hash::{BuildHasher, Hasher, RandomState};

use hickory_proto::op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, DecodeError};

/// Octets of an answer that we take over UDP where TCP is refused (EDNS, RFC 6891): what goes through every network
/// unfragmented.
const UDP_LARGE_OCTETS: u16 = 1232;

/// One question, with an id of its own.
#[derive(Debug)]
pub(crate) struct Question {
    id: u16,
    query: Query,
}

/// What a name server says to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// These are the records, aliases followed.
    Records(Vec<RData>),
    /// The name is an alias of this one, of which the server says nothing.
    Alias(Name),
    /// The name is there, such records are not.
    NoRecords,
    /// There is no such name (NXDOMAIN).
    NoName,
    /// The answer is too long for a datagram.
    Truncated,
}

const UNREADABLE: &str = "an answer that cannot be read";

/// What cannot be read.
enum Broken {
    Record,
    /// And nothing behind it.
    Message,
}

impl Question {
    pub(crate) fn new(name: Name, kind: RecordType) -> Self {
        // Every `RandomState` has other keys, which nobody else knows.
        let random = RandomState::new().build_hasher().finish();
        Self { id: random as u16, query: Query::query(name, kind) }
    }

    /// The message that asks. EDNS only where it must be: some servers refuse it, and some swallow it.
    pub(crate) fn octets(&self, edns: bool) -> Vec<u8> {
        let mut message = Message::new(self.id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(self.query.clone());
        if edns {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_LARGE_OCTETS);
            message.set_edns(edns);
        }
        // A name that was parsed can be written.
        message.to_vec().unwrap_or_default()
    }

    /// What a reply says. `Err` has in words why this server cannot tell; `None`: it is no reply to this question, and
    /// the one that was meant for us may still come. There is nothing more to be had where it came `over_tcp`.
    pub(crate) fn read(&self, octets: &[u8], over_tcp: bool) -> Option<Result<Reply, String>> {
        let decoder = &mut BinDecoder::new(octets);
        let Ok(header) = Header::read(decoder) else { return Some(Err("not a DNS message".to_owned())) };
        let Header { metadata, counts } = header;
        if metadata.id != self.id || metadata.message_type != MessageType::Response {
            return None;
        }
        match metadata.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain => {}
            // Who refuses need not repeat the question.
            code => return Some(Err(code.to_string())),
        }
        if counts.queries != 1 || Query::read(decoder).ok()? != self.query {
            return None;
        }
        if metadata.truncation && !over_tcp {
            return Some(Ok(Reply::Truncated));
        }
        let (mut records, mut is_broken) = (Vec::new(), false);
        for _ in 0..counts.answers {
            match self.read_record(decoder) {
                Ok(record) => records.extend(record),
                // Where the next one begins is told by the frame of each, not by what is in it.
                Err(Broken::Record) => is_broken = true,
                Err(Broken::Message) => return Some(Err(UNREADABLE.to_owned())),
            }
        }
        let is_lame = !metadata.authoritative && !metadata.recursion_available;
        Some(match self.follow(&records) {
            Reply::NoRecords if metadata.response_code == ResponseCode::NXDomain => Ok(Reply::NoName),
            Reply::Alias(_) if metadata.response_code == ResponseCode::NXDomain => Ok(Reply::NoName),
            Reply::NoRecords if is_lame => Err("it neither knows nor asks others".to_owned()),
            Reply::NoRecords if is_broken => Err(UNREADABLE.to_owned()),
            reply => Ok(reply),
        })
    }

    /// The next record, if it is one that can answer the question: of others nobody asks what is in them.
    fn read_record(&self, decoder: &mut BinDecoder<'_>) -> Result<Option<Record>, Broken> {
        let mut of_this = decoder.clone(u16::try_from(decoder.index()).map_err(|_| Broken::Message)?);
        let mut frame = || -> Result<RecordType, DecodeError> {
            Name::read(decoder)?;
            let kind = RecordType::read(decoder)?;
            decoder.read_u16()?;
            decoder.read_u32()?;
            let octets = decoder.read_u16()?.unverified();
            decoder.read_slice(octets.into())?;
            Ok(kind)
        };
        let kind = frame().map_err(|_| Broken::Message)?;
        if ![self.query.query_type(), RecordType::CNAME].contains(&kind) {
            return Ok(None);
        }
        match Record::read(&mut of_this) {
            // One without anything in it.
            Ok(Record { data: RData::Update0(_), .. }) | Err(_) => Err(Broken::Record),
            Ok(record) => Ok(Some(record)),
        }
    }

    /// The records that are asked for, at the end of a chain of aliases.
    fn follow(&self, records: &[Record]) -> Reply {
        let mut name = self.query.name();
        // A chain is no longer than the answer; a ring would be.
        for _ in 0..=records.len() {
            let mut of_name = records.iter().filter(|record| record.name == *name);
            let found: Vec<_> =
                of_name.clone().filter(|record| record.record_type() == self.query.query_type()).collect();
            if !found.is_empty() {
                return Reply::Records(found.into_iter().map(|record| record.data.clone()).collect());
            }
            match of_name.find_map(|record| if let RData::CNAME(alias) = &record.data { Some(&alias.0) } else { None })
            {
                Some(alias) => name = alias,
                None => break,
            }
        }
        if name == self.query.name() { Reply::NoRecords } else { Reply::Alias(name.clone()) }
    }
}

#[cfg(test)]
#[path = "question/tests.rs"]
mod tests;
