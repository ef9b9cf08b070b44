//! A name server with zones of its own, over UDP and TCP on loopback.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// Longest answer over UDP, in octets (RFC 1035 §4.2.1), where the question allows no more. A longer one comes truncated,
/// and is asked for again over TCP.
const UDP_MAX_OCTETS: usize = 512;

/// How often ports are tried, until all servers can have the same.
const PORT_TRIES: usize = 100;

/// A running name server; it stops when it is dropped.
pub(crate) struct Dns {
    pub(crate) at: SocketAddr,
    zone: Arc<Zone>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Zone {
    records: HashMap<Name, Vec<RData>>,
    /// What is done instead of an answer, for a type or all of them.
    faults: HashMap<(Name, Option<RecordType>), String>,
    asked: Mutex<Vec<String>>,
}

impl Dns {
    /// Serves the lines of `zone`: `NAME MX PREFERENCE HOST`, `NAME A ADDRESS`, `NAME AAAA ADDRESS`, `NAME CNAME NAME`;
    /// `NAME NONE` exists without records. `NAME FAULT` does so with every question, or with a type behind it only with
    /// those for that type; `*` is every name. Any other name does not exist.
    ///
    /// Faults: `SERVFAIL`, `REFUSED`, `NOTIMP`, `FORMERR`; `BARE` is SERVFAIL without the question; `SILENT`; `GARBAGE`;
    /// `WRONG-ID`; `WRONG-QUESTION`; `NO-QUESTION`; `LAME`: neither knows nor asks others; `EDNS-FORMERR`, `EDNS-SILENT`:
    /// only where a question has EDNS; `UNFOLLOWED`: aliases are not followed; `SHOUTED`: names in capitals;
    /// `TRUNCATED`: over UDP; `UDP-SILENT`: over TCP only; `TCP-CLOSED`, `TCP-SILENT`, `TCP-GARBAGE`: truncated over UDP
    /// (but with EDNS, as far as it goes), and that over TCP; `TCP-FEWER`: truncated, and over TCP only the first record;
    /// `TCP-TRUNCATED`: truncated over both; `CUT`: truncated over UDP, even with EDNS, and closed over TCP.
    pub(crate) async fn start(zone: &str) -> Self {
        Self::start_all(&[zone]).await.remove(0)
    }

    /// Servers on 127.0.0.1, 127.0.0.2 and so on, all at the same port.
    pub(crate) async fn start_all(zones: &[&str]) -> Vec<Self> {
        for _ in 0..PORT_TRIES {
            let mut all: Vec<Self> = Vec::new();
            for (zone, last) in zones.iter().zip(1..) {
                let port = all.first().map_or(0, |first| first.at.port());
                let at = SocketAddr::from(([127, 0, 0, last], port));
                let Ok(udp) = UdpSocket::bind(at).await else { break };
                let at = udp.local_addr().unwrap();
                let Ok(tcp) = TcpListener::bind(at).await else { break };
                let zone = Arc::new(Zone::parse(zone));
                let mut tasks = JoinSet::new();
                tasks.spawn(serve_udp(udp, Arc::clone(&zone)));
                tasks.spawn(serve_tcp(tcp, Arc::clone(&zone)));
                all.push(Self { at, zone, _tasks: tasks });
            }
            if all.len() == zones.len() {
                return all;
            }
        }
        panic!("no port is free on all addresses");
    }

    /// The questions so far: `NAME TYPE`.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.zone.asked.lock().unwrap().clone()
    }
}

impl Zone {
    fn parse(text: &str) -> Self {
        let mut zone = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<_> = line.split_whitespace().collect();
            let owner = name(words[0]);
            let known = zone.records.entry(owner.clone()).or_default();
            match words[1] {
                "MX" => known.push(RData::MX(MX::new(words[2].parse().unwrap(), name(words[3])))),
                "A" => known.push(RData::A(A(words[2].parse().unwrap()))),
                "AAAA" => known.push(RData::AAAA(AAAA(words[2].parse().unwrap()))),
                "CNAME" => known.push(RData::CNAME(CNAME(name(words[2])))),
                "NONE" => {}
                fault => {
                    let of = (owner.clone(), words.get(2).map(|kind| kind.parse().unwrap()));
                    zone.faults.insert(of, fault.to_owned());
                }
            }
        }
        zone
    }

    fn fault(&self, owner: &Name, kind: RecordType) -> &str {
        let of = |owner: &Name, kind| self.faults.get(&(owner.clone(), kind));
        let all = name("*");
        let found = of(owner, None).or(of(owner, Some(kind))).or(of(&all, None)).or(of(&all, Some(kind)));
        found.map_or("", String::as_str)
    }

    /// The answer to a message, if there is to be one.
    fn answer(&self, question: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
        let question = Message::from_vec(question).ok()?;
        let query = question.queries.first()?.clone();
        self.asked.lock().unwrap().push(format!("{} {}", query.name().to_ascii(), query.query_type()));
        let fault = self.fault(query.name(), query.query_type());
        let mut answer = self.records(&question, query.clone(), fault != "UNFOLLOWED");
        let edns = question.edns.is_some();
        let room =
            if over_tcp { usize::from(u16::MAX) } else { usize::from(question.max_payload()).max(UDP_MAX_OCTETS) };
        let refuse = |answer: &mut Message, code| {
            answer.answers.clear();
            answer.metadata.response_code = code;
        };
        match fault {
            "" | "UNFOLLOWED" => {}
            "SERVFAIL" => refuse(&mut answer, ResponseCode::ServFail),
            "REFUSED" => refuse(&mut answer, ResponseCode::Refused),
            "NOTIMP" => refuse(&mut answer, ResponseCode::NotImp),
            "FORMERR" => refuse(&mut answer, ResponseCode::FormErr),
            "EDNS-FORMERR" if edns => refuse(&mut answer, ResponseCode::FormErr),
            "EDNS-FORMERR" => {}
            "BARE" => {
                refuse(&mut answer, ResponseCode::ServFail);
                answer.queries.clear();
            }
            "SILENT" => return None,
            "UDP-SILENT" if !over_tcp => return None,
            "EDNS-SILENT" if edns => return None,
            "UDP-SILENT" | "EDNS-SILENT" => {}
            "GARBAGE" => return Some(b"garbage".to_vec()),
            "WRONG-ID" => answer.metadata.id ^= 1,
            "WRONG-QUESTION" => answer.queries = vec![Query::query(name("example.test"), query.query_type())],
            "NO-QUESTION" => answer.queries.clear(),
            "LAME" => {
                answer.answers.clear();
                answer.metadata.recursion_available = false;
            }
            "SHOUTED" => {
                for record in &mut answer.answers {
                    record.name = name(&record.name.to_ascii().to_uppercase());
                }
            }
            "TRUNCATED" | "CUT" | "TCP-TRUNCATED" | "TCP-FEWER" | "TCP-CLOSED" | "TCP-SILENT" | "TCP-GARBAGE"
                if !over_tcp =>
            {
                if !edns || fault == "TRUNCATED" || fault == "CUT" {
                    answer = answer.truncate();
                }
            }
            "TRUNCATED" => {}
            "TCP-TRUNCATED" => answer.metadata.truncation = true,
            "TCP-FEWER" => answer.answers.truncate(1),
            // An empty answer closes the connection.
            "TCP-CLOSED" | "CUT" => return Some(Vec::new()),
            "TCP-SILENT" => return None,
            "TCP-GARBAGE" => return Some(b"garbage".to_vec()),
            other => panic!("{other} is no record"),
        }
        let octets = answer.to_vec().unwrap();
        Some(if octets.len() > room { answer.truncate().to_vec().unwrap() } else { octets })
    }

    /// An answer with what the zone has.
    fn records(&self, question: &Message, query: Query, follow: bool) -> Message {
        let (mut owner, kind) = (query.name().clone(), query.query_type());
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        answer.metadata.recursion_desired = true;
        answer.metadata.recursion_available = true;
        answer.add_query(query);
        // A few steps: a chain of aliases may be a ring.
        for _ in 0..5 {
            let Some(records) = self.records.get(&owner) else {
                answer.metadata.response_code = ResponseCode::NXDomain;
                return answer;
            };
            let mut alias = None;
            for record in records {
                if let RData::CNAME(target) = record {
                    alias = Some(target.0.clone());
                } else if record.record_type() != kind {
                    continue;
                }
                answer.add_answer(Record::from_rdata(owner.clone(), 60, record.clone()));
            }
            match alias {
                Some(target) if follow => owner = target,
                _ => break,
            }
        }
        answer
    }
}

async fn serve_udp(socket: UdpSocket, zone: Arc<Zone>) {
    let mut space = [0; 4096];
    loop {
        let Ok((read, from)) = socket.recv_from(&mut space).await else { continue };
        if let Some(octets) = zone.answer(&space[..read], false) {
            // Whoever asked may be gone, which the system tells with the next datagram.
            let _ = socket.send_to(&octets, from).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, zone: Arc<Zone>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let zone = Arc::clone(&zone);
        connections.spawn(async move { serve_stream(stream, &zone).await.unwrap_or_default() });
    }
}

async fn serve_stream(mut stream: TcpStream, zone: &Zone) -> std::io::Result<()> {
    loop {
        let mut question = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut question).await?;
        if let Some(octets) = zone.answer(&question, true) {
            if octets.is_empty() {
                return Ok(());
            }
            stream.write_u16(octets.len().try_into().unwrap()).await?;
            stream.write_all(&octets).await?;
        }
    }
}

fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).unwrap();
    name.set_fqdn(true);
    name
}
