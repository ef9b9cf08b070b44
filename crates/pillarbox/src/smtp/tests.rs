//! Tests of `smtp.rs`.

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
    let smtp = Smtp { store, message_max_octets: 1000 };
    let (_, mut receiving) = smtp.connect("127.0.0.1:1".parse().unwrap(), Log::silent());
    let address = |name: &str| -> Address { format!("{name}@localhost").parse().unwrap() };
    let stored = |name: &str| std::fs::read(dir.path().join(format!("{name}.mbox"))).unwrap().len();
    let to = |names: &[&str]| Envelope {
        forward_paths: names.iter().map(|name| address(name)).collect(),
        ..Envelope::default()
    };
    // The first transaction was given up; one mailbox is there in lower case only.
    for name in ["anna", "Berta", "clara"] {
        assert_eq!(receiving.perform(Request::Recipient(address(name))).await, Answer::Taken);
    }
    receiving.perform(Request::Text(b"text\r\n".to_vec())).await;
    assert_eq!(receiving.perform(Request::Accept(to(&["Berta", "clara"]))).await, Answer::Taken);
    assert_eq!((stored("anna"), stored("berta"), stored("clara")), (0, stored("clara"), stored("berta")));
    assert!(stored("berta") > 0);

    receiving.perform(Request::Recipient(address("anna"))).await;
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
    receiving.perform(Request::Recipient(address("clara"))).await;
    receiving.perform(Request::Recipient(address("berta"))).await;
    std::fs::remove_file(dir.path().join("berta.mbox")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, dir.path().join("berta.mbox")).unwrap();
    receiving.perform(Request::Text(b"text\r\n".to_vec())).await;
    let Answer::Refused(refusal) = receiving.perform(Request::Accept(to(&["berta"]))).await else {
        panic!("it is a link")
    };
    assert_eq!(refusal.code, 451);
    assert_eq!(std::fs::read(&elsewhere).unwrap(), b"");
    assert!(matches!(receiving.perform(Request::Recipient(address("berta"))).await, Answer::Refused(_)));
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
