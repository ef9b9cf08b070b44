//! Tests of `pop3.rs`.

use super::*;
use crate::connection::{Connection, Todo};

/// What the server has sent when it waits, closes or asks for something; and what it asks for.
fn sent(connection: &mut Connection<Session>) -> (String, Option<Request>) {
    let mut sent = Vec::new();
    let asked = loop {
        match connection.todo() {
            Todo::Send(octets) => sent.extend(octets),
            Todo::Perform(request) => {
                // As the driver does when the request takes its time.
                sent.extend(connection.take_replies());
                break Some(request);
            }
            Todo::Receive | Todo::Close => break None,
        }
    };
    (String::from_utf8(sent).unwrap(), asked)
}

/// A connection that has logged in to a maildrop of so many messages, and asked for something.
fn logged_in(messages: usize, command: &str) -> Connection<Session> {
    let mut connection = Connection::new(Session::default());
    connection.received(b"USER u\r\nPASS p\r\n");
    assert!(matches!(sent(&mut connection).1, Some(Request::Login { .. })));
    connection.answered(Answer::Opened(vec![10; messages]));
    sent(&mut connection);
    connection.received(command.as_bytes());
    connection
}

/// The server stops: the goodbye would be taken for a line of the text, or of the listing.
///
/// holds C-C9
#[test]
fn no_goodbye_is_said_in_the_middle_of_a_text_or_a_listing() {
    const GOODBYE: &str = "-ERR Server shutting down\r\n";
    let ids = || Answer::UniqueIds(vec![UniqueId([0; 16]); UNIQUE_IDS_AT_ONCE]);
    let text = || Answer::Text(Some(b"half a li".to_vec()));
    for (command, answer) in [("RETR 1\r\n", text as fn() -> Answer), ("UIDL\r\n", ids)] {
        let mut connection = logged_in(UNIQUE_IDS_AT_ONCE + 1, command);
        assert!(sent(&mut connection).1.is_some(), "{command}");
        connection.answered(answer());
        let (said, asked) = sent(&mut connection);
        assert!(said.starts_with("+OK ") && asked.is_some(), "{command}");
        connection.abandon();
        assert_eq!(connection.todo(), Todo::Close, "{command}");

        // Nothing of it has been sent yet.
        let mut connection = logged_in(UNIQUE_IDS_AT_ONCE + 1, command);
        assert!(sent(&mut connection).1.is_some(), "{command}");
        connection.abandon();
        assert_eq!(sent(&mut connection), (GOODBYE.to_owned(), None), "{command}");
    }
    // All of it has: only what was under way is finished.
    let mut connection = logged_in(1, "RETR 1\r\nNOOP\r\n");
    sent(&mut connection);
    connection.answered(text());
    sent(&mut connection);
    connection.stop();
    connection.answered(Answer::Text(None));
    assert_eq!(sent(&mut connection).0, format!("\r\n.\r\n{GOODBYE}"));
}
