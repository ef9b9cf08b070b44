"""Others change the mailbox in the middle of a session, cut it, replace it, or leave no room.

What a POP3 session may then do is answer -ERR, or what it promised when it began. What it may never do: send another
text, remove what it was not told to, or bring back what is gone.
"""

import os
import resource

import letters
import locked
from bench import expect, expect_equal
from talk import Pop3, Refused, Smtp, texts_of


def _stored(bench, count=5, octets=3000):
    texts = [letters.letter(f"letter-{number}", octets, bench.rng) for number in range(1, count + 1)]
    return bench.mailbox("anna", b"".join(map(letters.entry, texts))), texts


def _ends(session):
    """QUIT: '+OK' or the refusal."""
    try:
        session.quit()
        return "+OK"
    except Refused as refused:
        return str(refused)


def appended(bench):
    """mail that comes in the middle of a session, by smtp and by Python, shows in the next one and survives QUIT"""
    path, texts = _stored(bench)
    smtp, pop3 = bench.smtp(), bench.pop3()
    inode = path.stat().st_ino
    new = [letters.letter(name, 2000, bench.rng) for name in ("by-smtp", "by-python")]
    session = Pop3(pop3.port, "anna")
    with Smtp(smtp.port) as client:
        client.send(new[0], "anna")
    locked.add(path, new[1].replace(b"\r\n", b"\n"))
    expect_equal(session.stat()[0], 5, "messages in the session")
    for number in (1, 3, 5):
        expect_equal(session.retr(number), texts[number - 1], f"RETR {number}")
        session.dele(number)
    expect_equal(_ends(session), "+OK", "QUIT")
    expect_equal(texts_of(pop3.port, "anna"), [texts[1], texts[3], *new], "what is there in the next session")
    expect_equal(path.stat().st_ino, inode, "the mailbox's inode")


def replaced(bench):
    """a new file is renamed over the mailbox in the middle of a session: QUIT removes from the new one, or nothing"""
    path, texts = _stored(bench)
    pop3 = bench.pop3()
    session = Pop3(pop3.port, "anna")
    session.dele(2)
    # Another program took away 1 and added one; 2 is still there.
    extra = letters.letter("extra", 500, bench.rng)
    now = [*texts[1:], extra]
    new = path.with_name("anna.mbox.new")
    new.write_bytes(b"".join(map(letters.entry, now)))
    os.rename(new, path)
    _expect_own_text_or_error(session, 3, texts[2])
    answer = _ends(session)
    expect_equal(texts_of(pop3.port, "anna"), [texts[2], *now[2:]] if answer == "+OK" else now,
                 f"what is there after QUIT was answered {answer}")
    return f"QUIT was answered {answer}"


def truncated(bench):
    """the mailbox is cut in the middle of a session: no false text, QUIT removes what is still there, or nothing"""
    path, texts = _stored(bench)
    pop3 = bench.pop3()
    session = Pop3(pop3.port, "anna")
    session.dele(1)
    session.dele(4)
    keep = b"".join(map(letters.entry, texts[:2])) + letters.entry(texts[2])[:1000]
    os.truncate(path, len(keep))
    _expect_own_text_or_error(session, 5, texts[4])
    answer = _ends(session)
    expect(answer != "+OK", "QUIT was answered +OK though one of the messages was no longer there")
    expect_equal(path.read_bytes(), keep, f"the mailbox after QUIT was answered {answer}")
    expect_equal(texts_of(pop3.port, "anna")[:2], texts[:2], "the messages that the cut left whole")


def changed(bench):
    """a message is changed in place in the middle of a session: its old number never gives the new text"""
    path, texts = _stored(bench)
    pop3 = bench.pop3()
    session = Pop3(pop3.port, "anna")
    session.dele(2)
    octets = bytearray(path.read_bytes())
    octets[len(letters.entry(texts[0])) + 1000] ^= 1
    with open(path, "rb+") as file:
        file.write(octets)
    answer = _ends(session)
    expect(answer != "+OK", "QUIT removed a message that nobody has seen in this form")
    expect_equal(path.read_bytes(), bytes(octets), "the mailbox")
    session = Pop3(pop3.port, "anna")
    before = session.retr(3)
    octets[len(letters.entry(texts[0])) + len(letters.entry(texts[1])) + 1000] ^= 1
    with open(path, "rb+") as file:
        file.write(octets)
    _expect_own_text_or_error(session, 3, before)
    session.close()


def removed(bench):
    """the mailbox is deleted in the middle of a session: QUIT does not bring it back; the address is gone"""
    path, _ = _stored(bench)
    smtp, pop3 = bench.smtp(), bench.pop3()
    session = Pop3(pop3.port, "anna")
    session.dele(1)
    path.unlink()
    answer = _ends(session)
    expect(answer != "+OK", "QUIT was answered +OK though there is no mailbox")
    expect(not path.exists(), "the mailbox is back")
    expect(not list(bench.mail.glob("*.lock")), "a lock is left for a mailbox that does not exist")
    with Smtp(smtp.port) as client:
        client.command("MAIL FROM:<a@localhost>")
        expect(client.command("RCPT TO:<anna@localhost>").startswith("550"), "mail is still taken for it")
    path.touch()
    with Smtp(smtp.port) as client:
        client.send(b"hello again\r\n", "anna")
    expect_equal(texts_of(pop3.port, "anna"), [b"hello again\r\n"], "the new mailbox of the same name")


def no_mailbox(bench):
    """links, folders and pipes of a mailbox's name take no mail, and what a link leads to is not touched"""
    smtp, pop3 = bench.smtp(), bench.pop3()
    secret = bench.folder / "secret"
    secret.write_bytes(b"")
    os.symlink(secret, bench.mail / "link.mbox")
    (bench.mail / "folder.mbox").mkdir()
    os.mkfifo(bench.mail / "pipe.mbox")
    os.link(bench.mailbox("anna"), bench.mail / "twin.mbox")
    with Smtp(smtp.port, timeout=10) as client:
        client.command("MAIL FROM:<a@localhost>")
        for user, code in (("link", "550"), ("folder", "550"), ("pipe", "550"), ("twin", "451"), ("anna", "451"),
                           ("../secret", "5"), (".hidden", "5")):
            reply = client.command(f"RCPT TO:<{user}@localhost>")
            expect(reply.startswith(code), f"RCPT for {user}: {reply}")
    for user in ("link", "folder", "pipe"):
        with Pop3(pop3.port, timeout=10) as session:
            session.command(f"USER {user}")
            reply = session.command("PASS cis505")
            expect(reply.startswith(b"-ERR"), f"log-in as {user}: {reply!r}")
    expect_equal(secret.read_bytes(), b"", "what the link leads to")


def half_a_message(bench):
    """a client that goes away in the middle of its data leaves no trace, however much it had sent"""
    path, _ = _stored(bench, 1)
    smtp = bench.smtp()
    before = path.read_bytes()
    for octets in (0, 10, 100_000, 3_000_000):
        client = Smtp(smtp.port)
        client.envelope(["anna"])
        client.write(b"x" * octets + b"\r\n.\r")
        client.close()
    with Smtp(smtp.port) as client:
        client.send(b"whole\r\n", "anna")
    expect_equal(path.read_bytes()[:len(before)], before, "the mailbox as it was")
    expect_equal(letters.entries(path.read_bytes())[1:], [b"whole\r\n"], "what was added")


def half_a_line(bench):
    """another program was killed in its append and left half a line: the next delivery is a message of its own"""
    path, texts = _stored(bench, 2)
    smtp, pop3 = bench.smtp(), bench.pop3()
    with open(path, "ab") as file:
        file.write(b"From procmail@localhost  Wed Nov 25 10:27:12 2026\nSubject: torn\n\nhalf a li")
    texts += [b"Subject: torn\r\n\r\nhalf a li\r\n", letters.letter("next", 2000, bench.rng)]
    with Smtp(smtp.port) as client:
        client.send(texts[3], "anna")
    found = texts_of(pop3.port, "anna")
    expect_equal(found[:2] + found[3:], texts[:2] + texts[3:], "the whole messages")
    expect_equal(found[2].rstrip(), texts[2].rstrip(), "the torn message")
    with locked.locked(path) as box:
        expect_equal(len(box), 4, "messages that Python's mailbox finds")


def no_room(bench):
    """writing fails in the middle (file size limit): 451 or 452 and not an octet, in no mailbox; QUIT -ERR, all kept"""
    path, texts = _stored(bench, 60, 3000)
    bert = bench.mailbox("bert")
    before = path.read_bytes()
    smtp, pop3 = bench.smtp(), bench.pop3()
    _limit(smtp, len(before) + 5000)
    with Smtp(smtp.port) as client:
        for users in (["anna"], ["bert", "anna"], ["anna", "bert"]):
            client.envelope(users)
            reply = client.data(letters.letter("too-much", 30_000, bench.rng))
            expect(reply[:3] in ("451", "452"), f"without room, smtp answers {reply}")
            expect_equal((path.read_bytes(), bert.read_bytes()), (before, b""), f"the mailboxes after {reply}")
        small = letters.letter("small", 500, bench.rng)
        client.send(small, "anna", "bert")
    after = path.read_bytes()
    expect_equal([letters.name_of(text) for text in letters.entries(after)[60:]], ["small"], "a message that fits")
    # A removal from the front needs a record of what stays behind it; one from the end, or of everything, none.
    _limit(pop3, 150_000)
    session = Pop3(pop3.port, "anna")
    session.dele(1)
    answer = _ends(session)
    expect(answer != "+OK", "QUIT was answered +OK without room for the record")
    expect_equal(path.read_bytes(), after, f"the mailbox after QUIT was answered {answer}")
    session = Pop3(pop3.port, "anna")
    session.dele(61)
    expect_equal(_ends(session), "+OK", "QUIT that removes the last message")
    expect_equal(path.read_bytes(), before, "the mailbox without the last message")
    _limit(pop3, resource.RLIM_INFINITY)
    session = Pop3(pop3.port, "anna")
    session.dele(1)
    expect_equal(_ends(session), "+OK", "QUIT when there is room again")
    expect_equal(texts_of(pop3.port, "anna"), texts[1:], "messages")
    return f"smtp said {reply}; pop3 said {answer}"


def _limit(server, octets):
    """No file of this server may grow beyond so much. Writing further fails, as on a full disk."""
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (octets, resource.RLIM_INFINITY))


def _expect_own_text_or_error(session, number, text):
    """RETR gives the text that the session began with, or fails: with -ERR, or by closing before the final dot."""
    try:
        expect_equal(session.retr(number), text, f"RETR {number}, in a mailbox that was changed meanwhile")
    except (Refused, ConnectionError):
        pass


CHECKS = {"foreign.appended": (appended, 30), "foreign.replaced": (replaced, 30), "foreign.truncated": (truncated, 30),
          "foreign.changed": (changed, 30), "foreign.removed": (removed, 60), "foreign.no-mailbox": (no_mailbox, 30),
          "foreign.half-a-message": (half_a_message, 30), "foreign.half-a-line": (half_a_line, 30),
          "foreign.no-room": (no_room, 60)}
