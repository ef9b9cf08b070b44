//! A name server with zones of its own, over UDP and TCP on loopback.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, MX};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// Longest answer over UDP, in octets. A longer one comes truncated, and is asked for again over TCP.
const UDP_MAX_OCTETS: usize = 1200;

/// A running name server; it stops when it is dropped.
pub(crate) struct Dns {
    pub(crate) at: SocketAddr,
    zone: Arc<Zone>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Zone {
    records: HashMap<Name, Vec<RData>>,
    /// What is answered instead of records; `None` is silence.
    faults: HashMap<(Name, Option<RecordType>), Option<ResponseCode>>,
    asked: Mutex<Vec<String>>,
}

impl Dns {
    /// Serves the lines of `zone`: `NAME MX PREFERENCE HOST`, `NAME A ADDRESS`, `NAME AAAA ADDRESS`, `NAME CNAME NAME`;
    /// `NAME NONE` exists without records. `NAME SERVFAIL`, `NAME REFUSED` and `NAME SILENT` answer every question
    /// that way, or with a type behind them only those for that type. Any other name does not exist.
    pub(crate) async fn start(zone: &str) -> Self {
        let zone = Arc::new(Zone::parse(zone));
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let at = udp.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(udp, Arc::clone(&zone)));
        tasks.spawn(serve_tcp(tcp, Arc::clone(&zone)));
        Self { at, zone, _tasks: tasks }
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
            let mut fault = |code| {
                zone.faults.insert((owner.clone(), words.get(2).map(|kind| kind.parse().unwrap())), code);
            };
            match words[1] {
                "MX" => known.push(RData::MX(MX::new(words[2].parse().unwrap(), name(words[3])))),
                "A" => known.push(RData::A(A(words[2].parse().unwrap()))),
                "AAAA" => known.push(RData::AAAA(AAAA(words[2].parse().unwrap()))),
                "CNAME" => known.push(RData::CNAME(CNAME(name(words[2])))),
                "NONE" => {}
                "SERVFAIL" => fault(Some(ResponseCode::ServFail)),
                "REFUSED" => fault(Some(ResponseCode::Refused)),
                "SILENT" => fault(None),
                other => panic!("{other} is no record"),
            }
        }
        zone
    }

    /// The answer to a message, if there is to be one.
    fn answer(&self, question: &[u8]) -> Option<Message> {
        let question = Message::from_vec(question).ok()?;
        let query = question.queries.first()?.clone();
        let (mut owner, kind) = (query.name().clone(), query.query_type());
        self.asked.lock().unwrap().push(format!("{} {kind}", owner.to_ascii()));
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        answer.metadata.recursion_desired = true;
        answer.metadata.recursion_available = true;
        answer.add_query(query);
        for of in [None, Some(kind)] {
            if let Some(code) = self.faults.get(&(owner.clone(), of)) {
                answer.metadata.response_code = (*code)?;
                return Some(answer);
            }
        }
        // A few steps: a chain of aliases may be a ring.
        for _ in 0..5 {
            let Some(records) = self.records.get(&owner) else {
                answer.metadata.response_code = ResponseCode::NXDomain;
                return Some(answer);
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
                Some(target) => owner = target,
                None => break,
            }
        }
        Some(answer)
    }
}

async fn serve_udp(socket: UdpSocket, zone: Arc<Zone>) {
    let mut space = [0; 4096];
    loop {
        let (read, from) = socket.recv_from(&mut space).await.unwrap();
        if let Some(answer) = zone.answer(&space[..read]) {
            let mut octets = answer.to_vec().unwrap();
            if octets.len() > UDP_MAX_OCTETS {
                octets = answer.truncate().to_vec().unwrap();
            }
            socket.send_to(&octets, from).await.unwrap();
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
        if let Some(answer) = zone.answer(&question) {
            let octets = answer.to_vec().unwrap();
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
