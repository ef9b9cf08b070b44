"""A mailbox of 100,000 messages. No time is asserted but a generous end; the seconds are printed."""

import hashlib
import shutil
import time

import letters
from bench import expect, expect_equal
from talk import Pop3

MESSAGES = 100_000
OCTETS = 4096
AT_ONCE = 500
LIMIT_S = 120


def hundred_thousand(bench):
    """100,000 messages of 4 KB: login, STAT, LIST, UIDL, DELE of every second, QUIT; the file is right afterwards"""
    # A removal from the front is first written to a record: the mailbox, its half once more, and some room.
    free = shutil.disk_usage(bench.folder).free
    expect(free > 3 * MESSAGES * OCTETS, f"{free / 1e9:.1f} GB are too little room in {bench.folder}")
    path = bench.mail / "anna.mbox"
    with open(path, "wb") as out:
        for number in range(MESSAGES):
            out.write(letters.entry(_text(number)))
    pop3 = bench.pop3()
    clock = _Clock()
    session = Pop3(pop3.port, "anna", timeout=LIMIT_S)
    expect_equal(session.stat(), (MESSAGES, MESSAGES * OCTETS), "STAT")
    clock.lap("login+STAT")
    sizes = session.list()
    clock.lap("LIST")
    uids = session.uidl()
    clock.lap("UIDL")
    _delete_every_second(session)
    clock.lap("DELE")
    session.quit()
    clock.lap("QUIT")

    expect(sizes == {number: OCTETS for number in range(1, MESSAGES + 1)}, "LIST is wrong")
    for number in bench.rng.sample(range(MESSAGES), 1000):
        expect_equal(uids.get(number + 1), letters.uid(_text(number)), f"UIDL {number + 1}")
    expect(len(set(uids.values())) == MESSAGES, "unique ids that are not unique")
    with open(path, "rb") as left:
        found = hashlib.file_digest(left, "sha256").hexdigest()
    wanted = hashlib.sha256()
    for number in range(1, MESSAGES, 2):
        wanted.update(letters.entry(_text(number)))
    expect_equal(found, wanted.hexdigest(), "the hash of the mailbox after QUIT")
    with Pop3(pop3.port, "anna", timeout=LIMIT_S) as session:
        expect_equal(session.stat(), (MESSAGES // 2, MESSAGES // 2 * OCTETS), "STAT after QUIT")
        for number in bench.rng.sample(range(MESSAGES // 2), 50):
            expect_equal(session.retr(number + 1), _text(2 * number + 1), f"RETR {number + 1}")
        session.quit()
    return clock.laps()


def _text(number):
    """OCTETS octets that no other message has."""
    head = b"Subject: %d\r\n\r\n" % number
    line = b"%08d and sixty-two octets of text that are the same in every message.\r\n" % number
    body = (line * (OCTETS // len(line) + 1))[: OCTETS - len(head) - 2]
    return head + body.replace(b"\r", b".").replace(b"\n", b".") + b"\r\n"


def _delete_every_second(session):
    """DELE 1, 3, 5 …, many commands in one segment, as mail programs with PIPELINING do."""
    for first in range(1, MESSAGES, 2 * AT_ONCE):
        numbers = range(first, min(first + 2 * AT_ONCE, MESSAGES), 2)
        session.write(b"".join(b"DELE %d\r\n" % number for number in numbers))
        for number in numbers:
            reply = session.line()
            expect(reply.startswith(b"+OK"), f"DELE {number}: {reply!r}")


class _Clock:
    def __init__(self):
        self._last = self._start = time.monotonic()
        self._laps = []

    def lap(self, name):
        now = time.monotonic()
        self._laps.append(f"{name} {now - self._last:.2f}")
        self._last = now

    def laps(self):
        return f"seconds: {', '.join(self._laps)}; together {self._last - self._start:.2f}"


CHECKS = {"big.100000": (hundred_thousand, LIMIT_S + 60)}
