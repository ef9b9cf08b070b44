//! What a web page can have a browser send to a port on loopback: a form that submits itself, in plain text, with commands
//! of ours in its field.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use tempfile::TempDir;

use crate::program::Program;

/// What Firefox sends for `<form method=post enctype=text/plain>` with such a field.
fn form(to: SocketAddr, commands: &str) -> String {
    let body = format!("x=\r\n{commands}\r\n{}\r\n", "NOOP\r\n".repeat(10_000));
    format!(
        "POST / HTTP/1.1\r\nHost: {to}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nOrigin: null\r\n\
         Connection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\nPriority: u=0, i\r\n\r\n{body}",
        body.len()
    )
}

/// What the program says to such a form until it closes.
fn submit(program: &Program, commands: &str) -> String {
    let mut browser = program.connect();
    browser.write_all(form(program.listening[0], commands).as_bytes()).unwrap();
    let mut said = String::new();
    browser.read_to_string(&mut said).expect("closed, not reset");
    said
}

/// holds C-C12
#[test]
fn a_form_of_a_web_page_sends_no_mail_and_removes_none() {
    let dir = TempDir::new().unwrap();
    let mailbox = dir.path().join("linhphan.mbox");
    let mail = "From <zives@localhost> Mon Aug 22 23:00:00 2016\nHi\r\n\n";
    fs::write(&mailbox, mail).unwrap();

    let mut smtp = Program::start("smtp", Some(dir.path()), &[]);
    for to in ["linhphan@localhost", "someone@example.org"] {
        let commands = format!("HELO a\r\nMAIL FROM:<>\r\nRCPT TO:<{to}>\r\nDATA\r\nSpam\r\n.\r\nQUIT");
        let said = submit(&smtp, &commands);
        assert_eq!(said, "220 localhost Pillarbox mail service ready\r\n500 Command not recognized\r\n");
    }
    smtp.stop();

    let mut pop3 = Program::start("pop3", Some(dir.path()), &[]);
    let said = submit(&pop3, "USER linhphan\r\nPASS cis505\r\nDELE 1\r\nQUIT");
    assert_eq!(said, "+OK POP3 ready [localhost]\r\n-ERR Not supported\r\n");
    pop3.stop();

    assert_eq!(fs::read_to_string(mailbox).unwrap(), mail);
    assert!(!dir.path().join("mqueue").exists());
}
