//! Tests of `smtp.rs`.

use pillarbox_proto::{Connection, Todo};
use pillarbox_server::Pool;
use pillarbox_store::MboxStore;

use super::*;

/// Mailboxes that RCPT has found are not looked up again: what it found for another transaction must not count, and
/// what has gone meanwhile must be noticed.
///
/// holds C-S5 and C-S6
#[tokio::test]
async fn a_message_goes_to_the_recipients_of_its_own_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = MboxStore::open(dir.path()).unwrap();
    for name in ["anna", "berta", "clara"] {
        store.create_mailbox(name).unwrap();
    }
    let smtp = Smtp { store, message_max_octets: 1000, beside: Pool::new(1000, 1).beside() };
    let (_, mut receiving) = smtp.connect("127.0.0.1:1".parse().unwrap(), Log::silent());
    let address = |name: &str| -> Address { format!("{name}@localhost").parse().unwrap() };
    let stored = |name: &str| std::fs::read(dir.path().join(format!("{name}.mbox"))).unwrap().len();
    let to = |names: &[&str]| Envelope {
        forward_paths: names.iter().map(|name| address(name)).collect(),
        ..Envelope::default()
    };
    // The first transaction was given up; one mailbox is there in lower case only.
    let recipient = |name: &str| Request::Recipient(address(name));
    for name in ["anna", "Berta", "clara"] {
        assert_eq!(receiving.perform(recipient(name)).await, Answer::Taken);
    }
    receiving.perform(Request::Discard).await;
    for name in ["Berta", "clara"] {
        assert_eq!(receiving.perform(recipient(name)).await, Answer::Taken);
    }
    receiving.perform(Request::Text(b"text\r\n".to_vec())).await;
    assert_eq!(receiving.perform(Request::Accept(to(&["Berta", "clara"]))).await, Answer::Taken);
    assert_eq!((stored("anna"), stored("berta"), stored("clara")), (0, stored("clara"), stored("berta")));
    assert!(stored("berta") > 0);

    receiving.perform(recipient("anna")).await;
    std::fs::remove_file(dir.path().join("anna.mbox")).unwrap();
    receiving.perform(Request::Text(b"text\r\n".to_vec())).await;
    let Answer::Refused(refusal) = receiving.perform(Request::Accept(to(&["anna"]))).await else {
        panic!("it has gone")
    };
    assert_eq!(refusal.code, 451);
    assert!(!dir.path().join("anna.mbox").exists());

    // A link has come in its place. What was given up by RSET before that counts for nothing.
    let elsewhere = dir.path().join("elsewhere");
    std::fs::write(&elsewhere, "").unwrap();
    receiving.perform(recipient("clara")).await;
    receiving.perform(Request::Discard).await;
    receiving.perform(recipient("berta")).await;
    std::fs::remove_file(dir.path().join("berta.mbox")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, dir.path().join("berta.mbox")).unwrap();
    receiving.perform(Request::Text(b"text\r\n".to_vec())).await;
    let Answer::Refused(refusal) = receiving.perform(Request::Accept(to(&["berta"]))).await else {
        panic!("it is a link")
    };
    assert_eq!(refusal.code, 451);
    assert_eq!(std::fs::read(&elsewhere).unwrap(), b"");
    assert!(matches!(receiving.perform(recipient("berta")).await, Answer::Refused(_)));
}

/// A service over these mailboxes, with room for so many descriptors beside its connections.
struct Scarce {
    smtp: Smtp<MboxStore>,
    dir: tempfile::TempDir,
    /// What others have.
    _others: Vec<Place>,
}

impl Scarce {
    fn new(mailboxes: usize, room: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = MboxStore::open(dir.path()).unwrap();
        assert!((0..mailboxes).all(|number| store.create_mailbox(&format!("u{number}")).unwrap()));
        let beside = Pool::new(1, 1).beside();
        let mut others: Vec<_> = std::iter::from_fn(|| beside.take()).collect();
        others.truncate(others.len() - room);
        Self { smtp: Smtp { store, message_max_octets: 1_000_000, beside }, dir, _others: others }
    }

    fn connect(&self) -> Receiving<MboxStore> {
        self.smtp.connect("127.0.0.1:1".parse().unwrap(), Log::silent()).1
    }

    /// How much room is left.
    fn room(&self) -> usize {
        std::iter::from_fn(|| self.smtp.beside.take()).collect::<Vec<_>>().len()
    }
}

fn address(number: usize) -> Address {
    format!("u{number}@localhost").parse().unwrap()
}

fn refused(code: u16, text: &'static str) -> Answer {
    Answer::Refused(Refusal { code, text })
}

/// A connection, as the driver has it.
struct Client {
    connection: Connection<Session>,
    receiving: Receiving<MboxStore>,
}

impl Client {
    fn connect(scarce: &Scarce) -> Self {
        let (session, receiving) = scarce.smtp.connect("127.0.0.1:1".parse().unwrap(), Log::silent());
        Self { connection: Connection::new(session), receiving }
    }

    /// Sends this; the codes of the replies.
    async fn say(&mut self, octets: &str) -> Vec<u16> {
        self.connection.received(octets.as_bytes());
        let mut said = Vec::new();
        loop {
            match self.connection.todo() {
                Todo::Send(replies) => said.extend(replies),
                Todo::Perform(request) => {
                    let answer = self.receiving.perform(request).await;
                    self.connection.answered(answer);
                }
                Todo::Receive | Todo::Close => break,
            }
        }
        String::from_utf8(said).unwrap().lines().map(|line| line[..3].parse().unwrap()).collect()
    }

    /// Sends a message, with `meanwhile` in front of its final dot; the code of the reply to it.
    async fn send(&mut self, from: &str, to: usize, text: &str, meanwhile: impl FnOnce()) -> u16 {
        let begin = format!("MAIL FROM:<{from}@localhost>\r\nRCPT TO:<u{to}@localhost>\r\nDATA\r\n");
        assert_eq!(self.say(&begin).await, [250, 250, 354]);
        assert_eq!(self.say("Subject: x\r\n").await, []);
        meanwhile();
        let replies = self.say(&format!("{text}\r\n.\r\n")).await;
        assert_eq!(replies.len(), 1);
        // The transaction is over.
        assert_eq!(self.say("RCPT TO:<u1@localhost>\r\nDATA\r\nRSET\r\n").await, [503, 503, 250]);
        replies[0]
    }
}

/// Whatever a message has failed for, nothing of it is left for the next one: no text, no recipient, no refusal.
///
/// holds C-S9 and C-S10
#[tokio::test]
async fn after_an_error_the_next_message_of_a_connection_starts_clean() {
    let scarce = Scarce::new(2, 1);
    let path = |name: &str| scarce.dir.path().join(name);
    let stored = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    let mut client = Client::connect(&scarce);
    assert_eq!(client.say("HELO localhost\r\n").await, [220, 250]);
    let (long, larger) = ("x".repeat(100_000), "x".repeat(1_000_000));
    for again in 0..3 {
        for (failure, code, text) in [
            ("no file for the text", 451, &long),
            ("no room for the file", 452, &long),
            ("too large", 552, &larger),
            ("no mailbox any more", 451, &long),
            ("no mailbox any more, and a short text", 451, &String::new()),
        ] {
            let mut taken = None;
            let sent = client.send("failing", 0, text, || match failure {
                "no file for the text" => std::fs::remove_dir_all(path(".pillarbox")).unwrap(),
                "no room for the file" => taken = scarce.smtp.beside.take(),
                "too large" => {}
                _ => std::fs::rename(path("u0.mbox"), path("away")).unwrap(),
            });
            assert_eq!(sent.await, code, "{failure}");
            match failure {
                "no file for the text" => {
                    // Another one is noticed once, by the message that comes first.
                    std::fs::create_dir(path(".pillarbox")).unwrap();
                    assert_eq!(client.send("failing", 0, "x", || ()).await, 451, "{failure}");
                }
                "no room for the file" => drop(taken),
                "too large" => {}
                _ => std::fs::rename(path("away"), path("u0.mbox")).unwrap(),
            }
            for (next, octets) in [("short", 10), ("long", 100_000), ("short", 20)] {
                let text = "y".repeat(octets);
                assert_eq!(client.send("next", 1, &text, || ()).await, 250, "{next} behind {failure}, {again}");
                let mail = stored("u1.mbox");
                let (from_line, rest) = mail.split_once('\n').unwrap();
                assert!(from_line.starts_with("From <next@localhost> "), "{from_line} behind {failure}");
                assert!(rest == format!("Subject: x\r\n{text}\r\n\n"), "{next} behind {failure}, {again}");
                std::fs::write(path("u1.mbox"), "").unwrap();
            }
            assert_eq!((stored("u0.mbox"), scarce.room()), (String::new(), 1), "behind {failure}");
        }
    }
}

/// holds C-C1 and C-S10
#[tokio::test]
async fn a_long_text_takes_room_for_its_file_and_gives_it_back() {
    let scarce = Scarce::new(1, 1);
    let (mut first, mut second) = (scarce.connect(), scarce.connect());
    let too_many = refused(452, "Too many long messages at once, try again later");
    let text = |octets| Request::Text(vec![b'a'; octets]);
    let recipient = || Request::Recipient(address(0));
    let to = || Request::Accept(Envelope { forward_paths: vec![address(0)], ..Envelope::default() });
    // All of it is in memory.
    assert_eq!(first.perform(text(TEXT_IN_MEMORY_MAX_OCTETS)).await, Answer::Taken);
    assert_eq!(scarce.room(), 1);
    for octets in [1, 100_000, 100_000] {
        assert_eq!(first.perform(text(octets)).await, Answer::Taken);
        assert_eq!(scarce.room(), 0);
    }
    assert_eq!(second.perform(text(TEXT_IN_MEMORY_MAX_OCTETS + 1)).await, too_many);
    // Nothing is kept of what was refused, and a short one is taken all the same.
    assert_eq!(second.perform(recipient()).await, Answer::Taken);
    assert_eq!(second.perform(text(1)).await, Answer::Taken);
    assert_eq!(second.perform(to()).await, Answer::Taken);
    let stored = || std::fs::metadata(scarce.dir.path().join("u0.mbox")).unwrap().len();
    assert!((1..200).contains(&stored()), "{}", stored());
    // Whatever becomes of the long one, its room is free then.
    first.perform(recipient()).await;
    assert_eq!((first.perform(to()).await, scarce.room()), (Answer::Taken, 1));
    assert!(stored() > 200_000);
    assert_eq!(second.perform(text(TEXT_IN_MEMORY_MAX_OCTETS + 1)).await, Answer::Taken);
    assert_eq!((second.perform(Request::Discard).await, scarce.room()), (Answer::Taken, 1));
    assert_eq!((second.perform(text(100_000)).await, scarce.room()), (Answer::Taken, 0));
    drop(second);
    assert_eq!((first.perform(text(100_000)).await, scarce.room()), (Answer::Taken, 0));
    first.perform(recipient()).await;
    std::fs::remove_file(scarce.dir.path().join("u0.mbox")).unwrap();
    assert_eq!(first.perform(to()).await, refused(451, "Local error, try again later"));
    assert_eq!(scarce.room(), 1);
}

/// holds C-S5 and C-S9
#[tokio::test]
async fn recipients_beyond_those_that_there_is_room_for_are_refused_and_the_others_get_it() {
    let scarce = Scarce::new(RECIPIENTS_KEPT + 3, 2);
    let mut receiving = scarce.connect();
    let too_many = refused(452, "Too many recipients");
    // The first transaction is given up, the second begins anew.
    for _ in 0..2 {
        let mut forward_paths = Vec::new();
        for number in 0..RECIPIENTS_KEPT + 3 {
            let answer = receiving.perform(Request::Recipient(address(number))).await;
            assert_eq!(answer == Answer::Taken, number < RECIPIENTS_KEPT + 2, "{number}: {answer:?}");
            match answer {
                Answer::Taken => forward_paths.push(address(number)),
                refused => assert_eq!(refused, too_many),
            }
        }
        assert_eq!(scarce.room(), 0);
        receiving.perform(Request::Discard).await;
        assert_eq!(scarce.room(), 2);
    }
    let forward_paths: Vec<_> = (0..RECIPIENTS_KEPT + 2).map(address).collect();
    for address in forward_paths.iter().cloned() {
        assert_eq!(receiving.perform(Request::Recipient(address)).await, Answer::Taken);
    }
    // Those elsewhere go to one mailbox.
    let elsewhere: Address = "someone@example.org".parse().unwrap();
    assert_eq!(receiving.perform(Request::Recipient(elsewhere)).await, Answer::Taken);
    receiving.perform(Request::Text(b"text\r\n".to_vec())).await;
    let envelope = Envelope { forward_paths, ..Envelope::default() };
    assert_eq!(receiving.perform(Request::Accept(envelope)).await, Answer::Taken);
    assert_eq!(scarce.room(), 2);
    let octets = |number| std::fs::metadata(scarce.dir.path().join(format!("u{number}.mbox"))).unwrap().len();
    assert!((0..RECIPIENTS_KEPT + 2).all(|number| octets(number) > 0) && octets(RECIPIENTS_KEPT + 2) == 0);
}

/// A client that only waits holds nothing of a transaction that is over, however that came, once it hears of it.
///
/// holds C-S2, C-S5 and C-S10
#[tokio::test]
async fn room_for_recipients_is_free_again_once_the_transaction_is_over() {
    let scarce = Scarce::new(RECIPIENTS_KEPT + 2, 2);
    let recipients: String = (0..RECIPIENTS_KEPT + 2).map(|to| format!("RCPT TO:<u{to}@localhost>\r\n")).collect();
    let begin = format!("HELO localhost\r\nMAIL FROM:<>\r\n{recipients}");
    let [long, larger] = [100_000, 1_000_001].map(|octets| format!("DATA\r\n{}\r\n", "x".repeat(octets)));
    // For the long text there is no room. Of what is refused the end has not come yet.
    for (number, end) in ["RSET\r\n", "HELO localhost\r\n", "DATA\r\n.\r\n", &long, &larger].into_iter().enumerate() {
        let mut client = Client::connect(&scarce);
        client.say(&begin).await;
        // Neither of these ends it.
        assert_eq!(client.say("MAIL FROM:<>\r\nEHLO localhost\r\n").await, [503, 502]);
        assert_eq!(scarce.room(), 0);
        client.say(end).await;
        assert_eq!(scarce.room(), 2, "end {number}");
    }
    let mut gone = Client::connect(&scarce);
    gone.say(&begin).await;
    drop(gone);
    assert_eq!(scarce.room(), 2);
}

/// holds C-F1
#[test]
fn domains_that_mail_can_be_sent_to() {
    for (address, expected) in [
        ("a@example.org", true),
        ("a@x.y.example", true),
        ("a@1.example", true),
        ("a@[192.0.2.1]", true),
        ("a@[IPv6:2001:db8::1]", true),
        ("a@example", false),
        ("a@localhost.localhost", false),
        ("a@x.LOCALHOST", false),
        ("a@192.0.2.1", false),
        ("a@example.12", false),
    ] {
        assert_eq!(may_be_forwarded(&address.parse().unwrap()), expected, "{address}");
    }
}

/// holds C-F1
#[test]
fn only_clients_of_this_host_send_elsewhere() {
    for (ip, expected) in
        [("127.0.0.1", true), ("127.9.9.9", true), ("::1", true), ("::ffff:127.0.0.1", true), ("192.0.2.1", false)]
    {
        assert_eq!(is_loopback(ip.parse().unwrap()), expected, "{ip}");
    }
}
