"""Locks of other programs: respected while they live, removed when they are dead, and in nobody else's way."""

import fcntl
import os
import subprocess
import threading
import time

import letters
from bench import expect, expect_equal
from talk import Pop3, Refused, Smtp

QUICK_S = 2
STOP_S = 2
FIVE_MINUTES_S = 300


def live(bench):
    """a dotlock of a live process, an empty one, 0, a lone fcntl lock: smtp waits, others' mail does not"""
    path = bench.mailbox("anna")
    bench.mailbox("bert")
    smtp = bench.smtp()
    lock = path.with_name("anna.mbox.lock")
    stored = b""
    for kind in (b"%d\n" % os.getpid(), b"%d" % os.getpid(), b"", b"0", b"another-host:77\n", None):
        what = "a lone fcntl lock" if kind is None else f"a dotlock that says {kind!r}"
        with open(path, "rb+") as file:
            if kind is None:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                lock.write_bytes(kind)
            with Smtp(smtp.port) as waiting, Smtp(smtp.port) as other:
                waiting.envelope(["anna"])
                waiting.write(b"text\r\n.\r\n")
                started = time.monotonic()
                other.send(b"text\r\n", "bert")
                seconds = time.monotonic() - started
                expect(seconds < QUICK_S, f"{what} on anna's mailbox delays bert's mail for {seconds:.1f} s")
                time.sleep(0.4)     # time for a server that does not wait to show itself
                expect_equal(path.read_bytes(), stored, f"the mailbox under {what}")
                if kind is None:
                    fcntl.lockf(file, fcntl.LOCK_UN)
                else:
                    expect(lock.exists(), f"{what} was removed")
                    lock.unlink()
                expect_equal(waiting.reply(), "250 OK", f"the reply when {what} was given back")
        stored = path.read_bytes()


def dead(bench):
    """a dotlock of a dead process, and one older than 5 minutes, are removed at once"""
    path = bench.mailbox("anna")
    smtp, pop3 = bench.smtp(), bench.pop3()
    lock = path.with_name("anna.mbox.lock")
    gone = subprocess.Popen(["true"])
    gone.wait()
    old = time.time() - FIVE_MINUTES_S - 60
    for content, age in ((b"%d\n" % gone.pid, None), (b"%d" % gone.pid, None), (b"0", old), (b"", old),
                         (b"%d\n" % os.getpid(), old)):
        for act in (lambda: _send(smtp), lambda: Pop3(pop3.port, "anna").quit()):
            lock.write_bytes(content)
            if age is not None:
                os.utime(lock, (age, age))
            started = time.monotonic()
            act()
            seconds = time.monotonic() - started
            expect(seconds < QUICK_S, f"a stale dotlock {content!r} took {seconds:.1f} s")
            expect(not lock.exists(), f"a stale dotlock {content!r} is still there")
    expect_equal(len(letters.entries(path.read_bytes())), 5, "messages")


def _send(smtp):
    with Smtp(smtp.port) as client:
        client.send(b"text\r\n", "anna")


def for_good(bench):
    """a lock that is never given back: 451 after 20 s for all recipients, -ERR in POP3; nothing is written"""
    anna, bert = bench.mailbox("anna"), bench.mailbox("bert")
    smtp, pop3 = bench.smtp(), bench.pop3()
    anna.with_name("anna.mbox.lock").write_text("0")
    replies = {}

    def deliver():
        with Smtp(smtp.port) as client:
            client.envelope(["bert", "anna"])
            started = time.monotonic()
            replies["smtp"] = client.data(b"text\r\n"), time.monotonic() - started

    def log_in():
        started = time.monotonic()
        try:
            Pop3(pop3.port, "anna").close()
            replies["pop3"] = "+OK", time.monotonic() - started
        except Refused as refused:
            replies["pop3"] = str(refused), time.monotonic() - started

    threads = [threading.Thread(target=act, daemon=True) for act in (deliver, log_in)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    expect(len(replies) == 2, f"no answer within 40 s: {replies}")
    (reply, seconds), (login, _) = replies["smtp"], replies["pop3"]
    expect(reply.startswith("451"), f"the reply after {seconds:.0f} s is {reply!r}")
    expect(15 < seconds < 25, f"{reply!r} came after {seconds:.1f} s, not after 20")
    expect("-ERR" in login, f"the log-in under a lock was answered {login!r}")
    expect_equal((anna.read_bytes(), bert.read_bytes()), (b"", b""), "the mailboxes")
    return f"451 after {seconds:.1f} s"


def stops_all_the_same(bench):
    """SIGTERM while a delivery and a log-in wait for a lock: the servers end within 2 s, nothing is written"""
    path = bench.mailbox("anna")
    path.with_name("anna.mbox.lock").write_text("0")
    smtp, pop3 = bench.smtp(), bench.pop3()
    client = Smtp(smtp.port)
    client.envelope(["anna"])
    client.write(b"text\r\n.\r\n")
    session = Pop3(pop3.port)
    session.ok("USER anna")
    session.write(b"PASS cis505\r\n")
    time.sleep(0.3)         # both shall be waiting for the lock, which cannot be seen from outside
    seconds = 0
    for server in (smtp, pop3):
        started = time.monotonic()
        server.stop()
        seconds = max(seconds, time.monotonic() - started)
        expect(seconds < STOP_S, f"{server.name} took {seconds:.1f} s to stop")
    delivery, login = client.reply(), session.line()
    expect(delivery[:3] in ("421", "451"), f"the delivery was answered {delivery!r}")
    expect(login.startswith(b"-ERR"), f"the log-in was answered {login!r}")
    expect_equal(path.read_bytes(), b"", "the mailbox")
    client.close()
    session.close()
    return f"each ended within {seconds:.2f} s; the delivery was answered {delivery!r}"


CHECKS = {"locks.live": (live, 60), "locks.dead": (dead, 60), "locks.for-good": (for_good, 90),
          "locks.stop": (stops_all_the_same, 30)}
