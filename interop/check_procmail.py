"""procmail delivers into our mailboxes, beside our own smtp."""

import time

import letters
import procmail
from bench import expect, expect_equal
from talk import Pop3, Smtp, texts_of


def delivers(bench):
    """procmail and smtp deliver in turns, pop3 reads both and deletes; procmail goes on"""
    mailbox = bench.mailbox("anna")
    smtp, pop3 = bench.smtp(), bench.pop3()
    rcfile = procmail.write_rcfile(bench.folder)
    inode = mailbox.stat().st_ino
    texts = [letters.letter(f"letter-{number}", 3000, bench.rng) for number in range(6)]
    with Smtp(smtp.port) as client:
        for number, text in enumerate(texts):
            if number % 2:
                client.send(text, "anna")
            else:
                _deliver(bench, mailbox, rcfile, text)
    # procmail quotes `From `, and so do we: what pop3 sends is the text as it was, whoever stored it.
    expect_equal(texts_of(pop3.port, "anna"), texts, "the messages as pop3 sends them")
    with Pop3(pop3.port, "anna") as session:
        for number in (1, 4, 6):
            session.dele(number)
        session.quit()
    _deliver(bench, mailbox, rcfile, texts[0])
    expect_equal(texts_of(pop3.port, "anna"), [texts[1], texts[2], texts[4], texts[0]], "after three were deleted")
    expect_equal(mailbox.stat().st_ino, inode, "the mailbox's inode: it must be changed in place")


def waits_for_its_dotlock(bench):
    """while procmail holds its dotlock, which says 0 and no process id, smtp waits and writes nothing"""
    mailbox = bench.mailbox("anna")
    smtp = bench.smtp()
    before = letters.entry(letters.letter("before", 500, bench.rng))
    # The lock as procmail makes it. A filter of procmail could hold it for a while; here it is held for a second.
    lock = mailbox.with_name("anna.mbox.lock")
    lock.write_text("0")
    with Smtp(smtp.port) as client:
        client.envelope(["anna"])
        started = time.monotonic()
        client.write(b"while it is locked\r\n.\r\n")
        time.sleep(1)
        expect_equal(mailbox.read_bytes(), b"", "the mailbox while it is locked")
        expect(lock.exists(), "the dotlock of procmail was removed")
        mailbox.write_bytes(before)
        lock.unlink()
        expect_equal(client.reply(), "250 OK", "the reply once the lock was given back")
        seconds = time.monotonic() - started
    expect(mailbox.read_bytes().startswith(before), "what procmail wrote under its lock is gone")
    expect_equal(len(letters.entries(mailbox.read_bytes())), 2, "messages")
    return f"delivered {seconds - 1:.2f} s after the lock was given back"


def _deliver(bench, mailbox, rcfile, text):
    status, out, err = bench.run(procmail.command(mailbox, rcfile), input=text.replace(b"\r\n", b"\n"))
    expect_equal((status, out, err), (0, b"", b""), "what procmail says")


CHECKS = {"procmail.delivers": (delivers, 60), "procmail.dotlock": (waits_for_its_dotlock, 30)}
