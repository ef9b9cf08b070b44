//! The player against a server that says what the test wants: the right thing passes, each wrong thing is caught.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Instant;

use pillarbox_probe::{Conversation, DiskFolder, Player, Received, Wire, play};

/// What the server says to each thing the client does.
type Answers = &'static [Option<&'static [u8]>];

/// Answers each thing the client does with the next piece of its script; a `None` closes the connection.
#[derive(Default)]
struct Script {
    answers: VecDeque<Option<&'static [u8]>>,
    inboxes: BTreeMap<usize, VecDeque<Received>>,
    sent: Vec<Vec<u8>>,
}

impl Script {
    fn new(answers: &[Option<&'static [u8]>]) -> Self {
        Self { answers: answers.iter().copied().collect(), ..Self::default() }
    }

    fn answer(&mut self, client: usize) {
        let received = match self.answers.pop_front() {
            None => return,
            Some(None) => Received::Closed,
            Some(Some(octets)) => Received::Octets(octets.to_vec()),
        };
        let closes = matches!(&received, Received::Octets(octets) if octets.ends_with(b"!\r\n"));
        let inbox = self.inboxes.entry(client).or_default();
        inbox.push_back(received);
        if closes {
            inbox.push_back(Received::Closed);
        }
    }
}

impl Wire for Script {
    fn open(&mut self, client: usize) -> io::Result<()> {
        self.answer(client);
        Ok(())
    }
    fn send(&mut self, client: usize, octets: &[u8]) -> io::Result<()> {
        self.sent.push(octets.to_vec());
        if octets.ends_with(b"\n") {
            self.answer(client);
        }
        Ok(())
    }
    fn receive(&mut self, client: usize, _deadline: Option<Instant>) -> io::Result<Received> {
        Ok(self.inboxes.entry(client).or_default().pop_front().unwrap_or(Received::Nothing))
    }
    fn half_close(&mut self, client: usize) -> io::Result<()> {
        self.answer(client);
        Ok(())
    }
    fn drop_client(&mut self, _client: usize) -> io::Result<()> {
        Ok(())
    }
    fn idle(&mut self, client: usize) -> io::Result<()> {
        self.answer(client);
        Ok(())
    }
    fn stop(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn conversation(source: &str) -> Conversation {
    Conversation::parse("t.talk", source).expect("the test's own conversation is well-formed")
}

const ECHO: &str = "S: +OK Server ready\nC: ECHO a\nS: +OK a\nC: QUIT\nS: +OK Goodbye!\nclosed";

#[test]
fn right_answers_pass() {
    let answers: [Option<&[u8]>; 3] = [Some(b"+OK Server ready\r\n"), Some(b"+OK a\r\n"), Some(b"+OK Goodbye!\r\n")];
    play(&conversation(ECHO), &mut Script::new(&answers)).unwrap();
}

#[test]
fn each_wrong_answer_is_caught_at_its_line() {
    let wrong: [(Answers, usize, &str); 10] = [
        (&[Some(b"+OK Server ready\r\n"), Some(b"+OK b\r\n")], 3, "+OK b<CR><LF>"),
        (&[Some(b"+OK Server ready\r\n"), Some(b"+OK a\n")], 3, "`+OK a<LF>`"),
        (&[Some(b"+OK Server ready\r\n"), Some(b"+OK a \r\n")], 3, "`+OK a <CR><LF>`"),
        (&[Some(b"+OK Server ready\r\n"), Some(b"+OK a\0\r\n")], 3, "<0x00>"),
        (&[Some(b"+OK Server ready\r\n"), Some(b"+OK a\r\n\0")], 4, "`<0x00>`"),
        (&[Some(b"+OK Server ready\r\n+OK\r\n")], 2, "`+OK<CR><LF>`"),
        (&[Some(b"+OK Server ready\r\n"), None], 3, "end of the connection"),
        (&[Some(b"+OK Server ready\r\n"), Some(b"+OK a")], 3, "nothing more behind `+OK a`"),
        (&[Some(b"+OK Server ready\r\n"), Some(b"+OK a\r\n"), Some(b"+OK Goodbye!\r\n+OK\r\n")], 6, "`+OK<CR><LF>`"),
        (&[Some(b"+OK Server ready\r\n"), Some(b"+OK a\r\n")], 5, "nothing more"),
    ];
    for (answers, line, got) in wrong {
        let failure = play(&conversation(ECHO), &mut Script::new(answers)).unwrap_err();
        assert!(failure.line == line && failure.wrong.got.contains(got), "{got}: {failure}");
    }
}

#[test]
fn a_connection_that_stays_open_is_no_closed_one() {
    let answers: [Option<&[u8]>; 2] = [Some(b"+OK\r\n"), Some(b"bye\r\n")];
    let failure = play(&conversation("S: +OK\nC: QUIT\nS: bye\nclosed"), &mut Script::new(&answers)).unwrap_err();
    assert_eq!((failure.line, failure.wrong.got.as_str()), (4, "an open connection"));
}

#[test]
fn the_end_of_a_file_closes_what_is_open_and_nothing_may_come() {
    let source = "S: +OK\nC: a\nS: b";
    let good: [Option<&[u8]>; 3] = [Some(b"+OK\r\n"), Some(b"b\r\n"), None];
    play(&conversation(source), &mut Script::new(&good)).unwrap();
    let bad: [Option<&[u8]>; 3] = [Some(b"+OK\r\n"), Some(b"b\r\n"), Some(b"late\r\n")];
    let failure = play(&conversation(source), &mut Script::new(&bad)).unwrap_err();
    assert!(failure.to_string().contains("late"), "{failure}");
}

#[test]
fn chunks_cut_what_the_client_sends() {
    let mut script = Script::new(&[Some(b"+OK\r\n"), Some(b"b\r\n"), None]);
    Player::new(&mut script).chunk(2).play(&conversation("S: +OK\nC: abc\nS: b")).unwrap();
    assert_eq!(script.sent, [&b"ab"[..], b"c\r", b"\n"]);
}

#[test]
fn clients_are_kept_apart() {
    let source = "S: 1\nS2: 2\nC2: a\nS2: b\nC: c\nS: d\nC: e\nS2: f";
    let answers: [Option<&[u8]>; 5] =
        [Some(b"1\r\n"), Some(b"2\r\n"), Some(b"b\r\n"), Some(b"d\r\n"), Some(b"for the first\r\n")];
    let failure = play(&conversation(source), &mut Script::new(&answers)).unwrap_err();
    assert_eq!(failure.line, 8);
    let failure = play(&conversation("S2: 2\nS: 1\nC: a"), &mut Script::new(&[Some(b"2\r\n3\r\n"), Some(b"1\r\n")]));
    assert_eq!(failure.unwrap_err().line, 3, "what came to another client is seen too");
}

#[test]
fn a_player_that_goes_on_reports_the_first_fault_and_plays_all() {
    let answers: [Option<&[u8]>; 3] = [Some(b"+OK\r\n"), Some(b"+OK b\r\n\0"), Some(b"+OK Goodbye!\r\n")];
    let mut script = Script::new(&answers);
    let failure = Player::new(&mut script).goes_on().play(&conversation(ECHO)).unwrap_err();
    assert_eq!(failure.line, 1);
    assert_eq!(script.sent.len(), 2);
}

#[test]
fn listings_end_at_the_lone_dot() {
    let source = "S: +OK\nC: LIST\nS: +OK\nS...\nC: NOOP\nS: +OK";
    let good: [Option<&[u8]>; 4] = [Some(b"+OK\r\n"), Some(b"+OK\r\n..\r\n1 2\r\n.\r\n"), Some(b"+OK\r\n"), None];
    play(&conversation(source), &mut Script::new(&good)).unwrap();
    let bad: [Option<&[u8]>; 2] = [Some(b"+OK\r\n"), Some(b"+OK\r\n1 2\n.\r\n")];
    assert_eq!(play(&conversation(source), &mut Script::new(&bad)).unwrap_err().line, 4);
}

#[test]
fn files_are_made_and_compared_octet_by_octet() {
    let folder = tempfile::tempdir().unwrap();
    let source = "mailbox a:\n| x\\r\\n\nhardlink b.mbox -> a.mbox\nsymlink c.mbox -> a.mbox\nfolder d.mbox\npipe e.mbox\n\
                  append a:\n| y\nmailbox a is:\n| *\\r\\n\n| y\n";
    let mut disk = DiskFolder::new(folder.path());
    Player::new(&mut Script::default()).folder(&mut disk).play(&conversation(source)).unwrap();
    let source = "mailbox a is:\n| x\\n\n| y\n";
    let failure = Player::new(&mut Script::default()).folder(&mut disk).play(&conversation(source)).unwrap_err();
    assert_eq!(failure.wrong.got, "`x<CR><LF>y`");
    let source = "mailbox z is empty";
    let failure = Player::new(&mut Script::default()).folder(&mut disk).play(&conversation(source)).unwrap_err();
    assert_eq!(failure.wrong.got, "no such file");
    assert!(play(&conversation(source), &mut Script::default()).is_err(), "no folder, no claims about files");
}
