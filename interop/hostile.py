"""A hundred hostile clients of one server, in a process of their own: `hostile.py smtp|pop3 PORT USER`.

Each kind of client does its worst again and again. `ready` is printed when all are connected, `done` when those with a
task that ends have done it. On a line `ending` they expect that the server closes; at the end of standard input a
report is printed, as one line of JSON: `clients`, `rounds` of each kind, `replies` that refuse with their counts, and
`faults`: what a client heard or met that it should not.
"""

import collections
import itertools
import json
import os
import random
import socket
import struct
import sys
import threading
import time

import talk
from bench import expect, expect_equal

BLOCK = b"x" * 65536
LINE_OCTETS = 20_000_000        # of a line or header that ends after all, so that its reply is heard
TEXT_OCTETS = 5_000_000         # of a message that ends after all: beyond --max-size
WRONG_COMMANDS = 100_000
AT_ONCE = 2000                  # wrong commands in one write
RECIPIENTS = 1100
PASSWORDS = 3

WRONG = {
    "smtp": [b"XYZZY", b"", b"EHLO there", b"RCPT TO:<nobody@localhost>", b"DATA", b"HELO", b"\xff\xfe\0", b"QUIT now",
             b"MAIL FROM:<" + b"x" * 65 + b"@localhost>", b"MAIL TO:<x@localhost>", b"STARTTLS", b"RSET now"],
    "pop3": [b"XYZZY", b"", b"RETR 1", b"STAT", b"CAPA", b"USER", b"PASS x", b"\xff\xfe\0", b"QUIT now", b"TOP 1 1",
             b"DELE 99999999999999999999"],
}
LAST = {"smtp": b"421 localhost Server shutting down", "pop3": b"-ERR Server shutting down"}


class Crowd:
    """What the clients of one server share."""

    def __init__(self, protocol, port, user):
        self.protocol, self.port, self.user = protocol, port, user
        self.lock = threading.Lock()
        self.replies = collections.Counter()
        self.rounds = collections.Counter()
        self.faults = []
        self.ending = threading.Event()
        self.numbers = itertools.count()
        self.big = itertools.count()

    def open(self, user=None):
        """A client that has heard the greeting and, if it is one of SMTP, has said HELO."""
        kind = Smtp if self.protocol == "smtp" else Pop3
        return kind(self, self.port) if user is None else kind(self, self.port, user)

    def heard(self, line):
        """Counts a reply that refuses."""
        if line.startswith((b"-ERR", b"4", b"5")):
            with self.lock:
                self.replies[line.decode("latin-1")] += 1

    def run(self, kind, started):
        """One client of this kind, for as long as the server runs."""
        first = True
        while not self.ending.is_set():
            try:
                for _ in kind(self):    # a kind yields when it is connected, and may end or go on
                    if first:
                        started.release()
                        first = False
                with self.lock:
                    self.rounds[kind.__name__] += 1
            except Exception as fault:  # every one is reported
                if not self.ending.is_set():
                    self.fault(f"{kind.__name__}: {type(fault).__name__}: {fault}")
                    started.release()
                    return

    def fault(self, what):
        with self.lock:
            self.faults.append(what)


class _Heard:
    def __init__(self, crowd, *arguments):
        self.crowd = crowd
        super().__init__(*arguments)

    def line(self):
        line = super().line()
        self.crowd.heard(line)
        return line

    def reset(self):
        """RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


class Smtp(_Heard, talk.Smtp):
    pass


class Pop3(_Heard, talk.Pop3):
    pass


# What both servers meet.

def endless_line(crowd):
    """A line that has no end."""
    with crowd.open() as client:
        yield
        while True:
            client.write(BLOCK)


def long_line(crowd):
    """A line that does end, much later: it is answered once, and the connection goes on."""
    with crowd.open() as client:
        yield
        for _ in range(LINE_OCTETS // len(BLOCK)):
            client.write(BLOCK)
        client.write(b"\r\n")
        expect(client.line().endswith(b" Line too long"), "another reply to a long line")
        client.write(b"NOOP\r\n")
        client.line()


def never_reads(crowd):
    """Commands without end, and not one reply is taken."""
    with crowd.open() as client:
        yield
        _write_for_ever(client, b"\r\n".join(WRONG[crowd.protocol]) + b"\r\n")


def one_octet_a_second(crowd):
    """A command, a text or a line end that comes an octet a second."""
    with crowd.open() as client:
        yield
        for octet in b"HELO localhost\r\nMAIL FROM:<a@localhost>\r\n":
            client.write(bytes([octet]))
            if crowd.ending.wait(1):
                break
        _goodbye(crowd, client)


def half_open(crowd):
    """Connects and never says a word."""
    with crowd.open() as client:
        yield
        _goodbye(crowd, client)


def cut_line(crowd):
    """Goes away in the middle of a line, with FIN, RST or one side only."""
    for end in range(3):
        client = crowd.open()
        yield
        client.write(b"NOOP\r\nMAIL FR")
        client.line()
        if end == 0:
            client.close()
        elif end == 1:
            client.reset()
        else:
            client.socket.shutdown(socket.SHUT_WR)
            expect(client.at_end(), "half a line was answered")
            client.close()


def wrong_commands(crowd):
    """100,000 wrong commands on one connection: each is answered."""
    wrong = WRONG[crowd.protocol]
    lines = b"".join(wrong[number % len(wrong)] + b"\r\n" for number in range(AT_ONCE))
    with crowd.open() as client:
        yield
        for _ in range(WRONG_COMMANDS // AT_ONCE):
            client.write(lines)
            refused = [client.line() for _ in range(AT_ONCE)]
            expect(all(reply.startswith((b"-ERR", b"5")) for reply in refused), f"one of {refused} is no refusal")


def garbage(crowd):
    """Octets that no protocol has."""
    rng = random.Random(next(crowd.numbers))
    with crowd.open() as client:
        yield
        client.write(b"Q" + rng.randbytes(200_000).replace(b"\n", b"x") + b"\r\n")
        client.line()


# What the SMTP server meets.

def endless_header(crowd):
    """A header that has no end: one field, or field after field."""
    with crowd.open() as client:
        client.envelope([crowd.user])
        yield
        field = BLOCK if next(crowd.numbers) % 2 else b"X-Field: value\r\n" * 4000
        while True:
            client.write(field)


def endless_text(crowd):
    """A text far beyond --max-size that ends after all."""
    with crowd.open() as client:
        client.envelope([crowd.user])
        yield
        client.write(b"Subject: too large\r\n\r\n")
        for _ in range(TEXT_OCTETS // len(BLOCK) + 1):
            client.write(BLOCK)
        client.write(b"\r\n.\r\n")
        expect_equal(client.reply(), "552 Message too large", "the reply to a text beyond --max-size")


def reset_in_text(crowd):
    """RST in the middle of DATA, after a little or a lot of it, and once right behind the last dot but one octet."""
    for octets in (0, 10, 1000, 100_000, 900_000):
        client = crowd.open()
        client.envelope([crowd.user])
        yield
        client.write(b"Subject: torn\r\n\r\n" + b"x" * octets + b"\r\n.\r")
        client.reset()


def slow_text(crowd):
    """A text that comes an octet a second."""
    with crowd.open() as client:
        client.envelope([crowd.user])
        yield
        while not crowd.ending.wait(1):
            client.write(b"x")
        _goodbye(crowd, client)


def endless_recipients(crowd):
    """RCPT without end, then RST."""
    client = crowd.open()
    yield
    client.command("MAIL FROM:<>")
    replies = collections.Counter()
    for _ in range(RECIPIENTS // 100):
        client.write(b"RCPT TO:<%s@localhost>\r\n" % crowd.user.encode() * 100)
        replies.update(client.reply() for _ in range(100))
    expect_equal(dict(replies), {"250 OK": 1000, "452 Too many recipients": RECIPIENTS - 1000}, "replies to RCPT")
    client.reset()


# What the POP3 server meets.

def never_reads_message(crowd):
    """RETR of a big message again and again, and not an octet of it is taken."""
    with crowd.open(f"big{next(crowd.big)}") as client:
        yield
        _write_for_ever(client, b"RETR 1\r\n" * 100)


def reset_in_message(crowd):
    """RST in the middle of RETR, with a message marked as deleted: it stays."""
    yield
    try:
        client = crowd.open("reset")
    except talk.Refused as refused:     # the server has not seen yet that the session before is over
        expect("in use" in str(refused), str(refused))
        return
    client.dele(2)
    client.write(b"RETR 1\r\n")
    client.line()
    client.reset()


def wrong_passwords(crowd):
    """Guesses until it is closed."""
    with crowd.open() as client:
        yield
        for _ in range(PASSWORDS):
            client.command(f"USER {crowd.user}")
            expect_equal(client.command("PASS guess"), b"-ERR Wrong user name or password", "the reply to a guess")
        expect(client.at_end(), "goes on after the third guess")


BOTH = {endless_line: 8, long_line: 6, never_reads: 12, one_octet_a_second: 10, half_open: 20, cut_line: 4,
        wrong_commands: 1, garbage: 4}
KINDS = {"smtp": {**BOTH, endless_header: 10, endless_text: 8, reset_in_text: 8, slow_text: 8, endless_recipients: 2},
         "pop3": {**BOTH, never_reads_message: 10, reset_in_message: 1, wrong_passwords: 25}}
# Those that must have come to their end before the attack may be over.
TASKS = {"smtp": (long_line, cut_line, wrong_commands, garbage, endless_text, reset_in_text, endless_recipients),
         "pop3": (long_line, cut_line, wrong_commands, garbage, reset_in_message, wrong_passwords)}


def _write_for_ever(client, octets):
    """Writes whatever is taken until the server closes."""
    client.socket.settimeout(None)
    while True:
        client.write(octets)


def _goodbye(crowd, client):
    """Waits for what the server says at its end."""
    said = None
    try:
        while True:
            said = client.line()
    except ConnectionError:
        expect(crowd.ending.is_set(), f"closed in the middle of the attack, after {said!r}")
    if said != LAST[crowd.protocol]:
        crowd.fault(f"the last line was {said!r}")


def main():
    os.nice(10)     # strangers have machines of their own: what theirs compute is not taken from the honest client
    protocol, port, user = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    crowd = Crowd(protocol, port, user)
    started = threading.Semaphore(0)
    kinds = [kind for kind, count in KINDS[protocol].items() for _ in range(count)]
    for kind in kinds:
        threading.Thread(target=crowd.run, args=(kind, started), daemon=True).start()
    for _ in kinds:
        started.acquire()
    print("ready", flush=True)
    while not crowd.faults and not all(crowd.rounds[kind.__name__] for kind in TASKS[protocol]):
        time.sleep(0.05)
    print("done", flush=True)
    for order in sys.stdin:
        if order.strip() == "ending":
            crowd.ending.set()
            print("ending", flush=True)
    with crowd.lock:
        print(json.dumps({"clients": len(kinds), "rounds": crowd.rounds, "replies": crowd.replies,
                          "faults": crowd.faults}), flush=True)


if __name__ == "__main__":
    main()
