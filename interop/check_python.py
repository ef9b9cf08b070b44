"""Python's smtplib, poplib and mailbox, and texts that are hard to keep as they are."""

import mailbox
import poplib
import smtplib

import letters
import locked
from bench import expect_equal
from talk import PASSWORD, Pop3, Smtp, texts_of

# What goes in; what must come out where it is not the same (C-S7: a bare LF becomes CR LF, a bare CR stays).
TEXTS = [
    (b"Subject: plain\r\n\r\nhello\r\n", None),
    (b"", None),
    (b"\r\n", None),
    (b"\r\n\r\n\r\n", None),
    (b".\r\n", None),
    (b"..\r\n.\r\n.From x\r\n. \r\n", None),
    (b"From x Mon Aug 22 23:00:00 2016\r\n", None),
    (b"Subject: From lines\r\n\r\nFrom a\r\n>From b\r\n"
     b">>From c Mon Aug 22 23:00:00 2016\r\n>>>>>>From d\r\n > From e\r\n", None),
    (b"\r\nFrom <a@localhost> Mon Aug 22 23:00:00 2016\r\n\r\n" * 2 + b"\r\n", None),
    (b"a bare CR\rFrom x\rin\r\r\rthe text\r\r\n\r\r\n", None),
    (b"a bare LF\nFrom x Mon Aug 22 23:00:00 2016\n.\n\n\n.\r\n\n",
     b"a bare LF\r\nFrom x Mon Aug 22 23:00:00 2016\r\n.\r\n\r\n\r\n.\r\n\r\n\r\n"),
    (b"\r.\r\n\n.\n\r\n", b"\r.\r\n\r\n.\r\n\r\n"),
    (b"no line end", b"no line end\r\n"),
    (bytes(octet for octet in range(256) if octet not in b"\r\n") + b"\r\n", None),
    (b"\0\0\0\r\n\0", b"\0\0\0\r\n\0\r\n"),
    ("Subject: Grüße 世界\r\n\r\nüöä\r\n".encode(), None),
    (b"one very long line " + b"x" * 1_000_000 + b"\r\n", None),
    (b"Content-Length: 5\r\nStatus: RO\r\nX-UID: 7\r\n\r\nlonger than it says\r\n", None),
]


def round_trips(bench):
    """texts with dots, From lines, 8-bit, NUL, no text, bare CR and LF, 1 MB lines, 5 MB: octet for octet"""
    path = bench.mailbox("anna")
    smtp, pop3 = bench.smtp(), bench.pop3()
    pairs = TEXTS + [(letters.letter("five-megabytes", 5_000_000, bench.rng), None)]
    with Smtp(smtp.port) as client:
        for text, _ in pairs:
            client.send(text, "anna")
    wanted = [text if kept is None else kept for text, kept in pairs]
    with Pop3(pop3.port, "anna") as session:
        for number, text in enumerate(wanted, 1):
            expect_equal(session.retr(number), text, f"RETR {number}")
        _expect_consistent(session, wanted)
        session.quit()
    _expect_python_reads(path, wanted)
    with Pop3(pop3.port, "anna") as session:
        for number in range(1, len(wanted) + 1, 2):
            session.dele(number)
        session.quit()
    wanted = wanted[1::2]
    expect_equal(texts_of(pop3.port, "anna"), wanted, "what is left of them")
    _expect_python_reads(path, wanted)
    return f"{len(pairs)} texts"


def _expect_consistent(session, texts):
    """STAT is the sum of LIST, which is the length of RETR; UIDL is its MD5; single answers are as in the lists."""
    expect_equal(session.list(), {number: len(text) for number, text in enumerate(texts, 1)}, "LIST")
    expect_equal(session.stat(), (len(texts), sum(map(len, texts))), "STAT")
    expect_equal(session.uidl(), {number: letters.uid(text) for number, text in enumerate(texts, 1)}, "UIDL")
    expect_equal(session.ok("LIST 1"), f"1 {len(texts[0])}", "LIST 1")
    expect_equal(session.ok("UIDL 1"), f"1 {letters.uid(texts[0])}", "UIDL 1")


def _expect_python_reads(path, texts):
    """Python's mailbox finds as many messages as we do, with our texts but for line ends and quoting."""
    with locked.locked(path) as box:
        stored = [box.get_bytes(key) for key in box.keys()]
    expect_equal(len(stored), len(texts), "messages that Python's mailbox finds")
    for number, (got, text) in enumerate(zip(stored, texts), 1):
        quoted = letters.entry(text).partition(b"\n")[2][:-1]
        expect_equal(got, quoted, f"message {number} as Python's mailbox reads it")


def libraries(bench):
    """smtplib sends to two mailboxes, poplib reads them; DELE, RSET, a session without QUIT"""
    bench.mailbox("anna")
    bench.mailbox("bert")
    smtp, pop3 = bench.smtp(), bench.pop3()
    texts = [letters.letter(f"lib-{number}", 4000, bench.rng) for number in range(5)]
    with smtplib.SMTP("127.0.0.1", smtp.port, local_hostname="localhost", timeout=30) as client:
        for text in texts:
            refused = client.sendmail("sender@localhost", ["anna@localhost", "bert@localhost"], text)
            expect_equal(refused, {}, "refused recipients")
        expect_equal(client.sendmail("", ["anna@LOCALHOST", "nobody@localhost"], texts[0])["nobody@localhost"][0], 550,
                     "the reply for an unknown user")
    for user, wanted in (("anna", texts + texts[:1]), ("bert", texts)):
        client = _poplib(pop3, user)
        expect_equal(client.stat(), (len(wanted), sum(map(len, wanted))), f"STAT of {user}")
        for number, text in enumerate(wanted, 1):
            _, lines, octets = client.retr(number)
            expect_equal(b"".join(line + b"\r\n" for line in lines), text, f"{user}, RETR {number}")
            client.dele(number)
        if user == "anna":
            client.rset()
            expect_equal(client.stat()[0], len(wanted), "messages after RSET")
            client.dele(1)
            client.quit()
        else:
            client.close()          # no QUIT: nothing may go
    expect_equal(texts_of(pop3.port, "anna"), texts[1:] + texts[:1], "anna, after DELE 1 and QUIT")
    expect_equal(texts_of(pop3.port, "bert"), texts, "bert, after a session without QUIT")


def _poplib(server, user):
    client = poplib.POP3("127.0.0.1", server.port, timeout=30)
    client.user(user)
    client.pass_(PASSWORD)
    return client


def mailbox_adds(bench):
    """messages that Python's mailbox adds and removes are read by pop3, and the other way round"""
    path = bench.mailbox("anna")
    smtp, pop3 = bench.smtp(), bench.pop3()
    texts = [letters.letter(f"letter-{number}", 2500, bench.rng) for number in range(8)]
    with Smtp(smtp.port) as client:
        for number, text in enumerate(texts):
            if number % 2:
                client.send(text, "anna")
            else:
                locked.add(path, text.replace(b"\r\n", b"\n"))
    expect_equal(texts_of(pop3.port, "anna"), texts, "all messages by pop3")
    expect_equal([letters.name_of(text) for text in locked.take(path, 3)], ["letter-0", "letter-1", "letter-2"],
                 "what Python's mailbox took")
    expect_equal(texts_of(pop3.port, "anna"), texts[3:], "what it left, by pop3")
    with Pop3(pop3.port, "anna") as session:
        session.dele(2)
        session.quit()
    with locked.locked(path) as box:
        found = [box.get_string(key) for key in box.keys()]
        box.add(mailbox.mboxMessage("Subject: as a message object\n\nFrom here\n"))
        box.flush()
    expect_equal(len(found), 4, "messages that Python's mailbox finds after DELE")
    last = texts_of(pop3.port, "anna")[-1]
    expect_equal(last, b"Subject: as a message object\r\n\r\nFrom here\r\n", "a message object, by pop3")


CHECKS = {"python.round-trips": (round_trips, 90), "python.smtplib-and-poplib": (libraries, 60),
          "python.mailbox": (mailbox_adds, 60)}
