"""`forward` brings mail to servers of other hands: what arrives, what stays, and what a kill costs."""

import collections
import itertools
import json
import pathlib
import select
import socket
import subprocess
import threading
import time

import letters
from bench import READY_S, expect, expect_equal
from name_server import A, MX, NameServer
from talk import Refused, Smtp

KILLS = 30
RUN_S = 50
SIZES = [200, 200, 4000, 4000, 20_000, 100_000]
ONE, TWO = "127.0.0.2", "127.0.0.3"
ZONE = {
    "one.example": [(MX, 10, "mx.one.example")], "mx.one.example": [(A, ONE)],
    "two.example": [(MX, 20, "nowhere.example"), (MX, 30, "mx.two.example")], "mx.two.example": [(A, TWO)],
    "null.example": [(MX, 0, ".")],
}


class Remote:
    """The other server, a process of its own, and what it has kept."""

    def __init__(self, bench):
        self._folder = bench.folder / "remote"
        self._folder.mkdir()
        script = pathlib.Path(__file__).with_name("remote.py")
        self._process = bench.start(["/usr/bin/python3", str(script), str(self._folder), ONE, TWO],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        ready, _, _ = select.select([self._process.stdout], [], [], READY_S)
        line = self._process.stdout.readline() if ready else b""
        expect(line.startswith(b"listening on port "), f"aiosmtpd did not start: {line!r}")
        self.port = int(line.split()[-1])

    def catch_up(self):
        """Waits until it has dealt with what has reached it: it takes one thing after another."""
        for address in (ONE, TWO):
            with socket.create_connection((address, self.port), READY_S) as connection:
                connection.sendall(b"NOOP\r\nQUIT\r\n")
                while connection.recv(4096):
                    pass

    def kept(self):
        """[(what the remote says of it, text)] in the order in which they came."""
        notes = sorted(self._folder.glob("*.json"), key=lambda path: int(path.stem))
        return [(json.loads(note.read_text()), note.with_suffix(".text").read_bytes()) for note in notes]


def _send(client, text, paths):
    for line in ["MAIL FROM:<anna@localhost>", *(f"RCPT TO:<{path}>" for path in paths), "DATA"]:
        reply = client.command(line)
        if reply[:1] not in "23":
            raise Refused(f"{line} -> {reply}")
    reply = client.data(text)
    if reply != "250 OK":
        raise Refused(reply)


def _argv(bench, dns, remote):
    return [str(bench.programs / "forward"), "--resolver", dns.address, "--port", str(remote.port), str(bench.mail)]


def _sent(text):
    """The text without the Received line in front of it, which is folded."""
    lines = text.split(b"\r\n")
    expect(lines[0].startswith(b"Received: from "), f"no Received line in front: {text[:200]!r}")
    end = next(at for at in range(1, len(lines)) if lines[at][:1] not in (b" ", b"\t"))
    return b"\r\n".join(lines[end:])


def _left(bench):
    lines = (bench.mail / "mqueue").read_bytes().splitlines()
    return [line.decode() for line in lines if line.startswith((b"X-Envelope-To:", b"#-Envelope-To:"))]


def delivers(bench):
    """aiosmtpd gets what smtp took, octet for octet behind the Received line; who cannot be reached stays"""
    bench.mailbox("anna")
    smtp, remote = bench.smtp(), Remote(bench)
    texts = [letters.letter(f"letter-{number}", size, bench.rng) for number, size in enumerate(SIZES)]
    texts += [b"", b".\r\n..\r\n.x\r\n", b"Subject: no body\r\n", b"\x00\x01\x7f\x80\xff\r\n", b"\r\n" * 50]
    with NameServer(ZONE) as dns:
        with Smtp(smtp.port) as client:
            for text in texts:
                _send(client, text, ["anna@localhost", "a@one.example", "\"b c\"@ONE.example", "d@two.example",
                                     "e@unknown.example", "f@null.example"])
        status, out, error = bench.run(_argv(bench, dns, remote), RUN_S)
        kept = remote.kept()
        expect_equal((status, error.count(b"\n")), (75, 1), f"the status of forward, and its lines on stderr: {error!r}")
        for at, to in ((ONE, ["a@one.example", "\"b c\"@ONE.example"]), (TWO, ["d@two.example"])):
            there = [(note, text) for note, text in kept if note["at"] == at]
            expect_equal(sorted(_sent(text) for _, text in there), sorted(texts), f"the texts at {at}")
            for note, _ in there:
                expect_equal((note["sender"], note["to"]), ("anna@localhost", to), f"an envelope at {at}")
        expect_equal(_left(bench), ["X-Envelope-To: <e@unknown.example>", "X-Envelope-To: <f@null.example>"] * len(texts),
                     "who is left in the queue")
        told = collections.Counter(line.split(": ")[1] for line in out.decode().splitlines())
        expect_equal(told, {"delivered": 3 * len(texts), "failed": 2 * len(texts)}, "the lines on stdout")
        # What is left is not sent, and what was sent is not sent again.
        expect_equal(bench.run(_argv(bench, dns, remote), RUN_S)[0], 75, "the status of the next run")
        expect_equal(len(remote.kept()), len(kept), "messages at the remote after the next run")
    return f"{len(kept)} transactions"


def killed(bench):
    """30 kills of forward while mail comes: nothing is lost, and twice comes only what a kill left unrecorded"""
    smtp, remote = bench.smtp("-v"), Remote(bench)
    sent, faults, stop = {}, [], threading.Event()

    def write():
        try:
            with Smtp(smtp.port) as client:
                for number in itertools.count():
                    if stop.is_set():
                        return
                    name = f"letter-{number}"
                    text = letters.letter(name, bench.rng.choice(SIZES), bench.rng)
                    _send(client, text, ["a@one.example", "b@two.example"])
                    sent[name] = text
        except (OSError, Refused) as fault:
            faults.append(str(fault))

    with NameServer(ZONE) as dns:
        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        ends = []       # when each run ended, when the remote was done with it, and whether it was killed
        for _ in range(KILLS):
            run = bench.start(_argv(bench, dns, remote), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
            # This is no waiting for readiness: the moment of the kill is what is tried out.
            time.sleep(bench.rng.uniform(0.01, 0.5))
            was_killed = run.poll() is None
            run.kill()
            run.wait()
            killed_at = time.monotonic()
            remote.catch_up()
            ends.append((killed_at, time.monotonic(), was_killed))
        stop.set()
        writer.join(30)
        expect(not writer.is_alive() and not faults, f"a writer that could not write: {faults}")
        status, out, error = bench.run(_argv(bench, dns, remote), RUN_S)
        expect_equal((status, _left(bench)), (0, []), f"the last run, and what it left: {error!r}, {out[-500:]!r}")
    kills = sum(was_killed for *_, was_killed in ends)
    expect(kills >= KILLS // 2, f"only {kills} runs lasted long enough to be killed")
    copies = collections.defaultdict(list)
    for note, text in remote.kept():
        name = letters.name_of(_sent(text))
        expect_equal(_sent(text), sent.get(name), f"the text of {name}")
        copies[name, note["at"]].append(note["moment"])
    lost = [(name, at) for name in sent for at in (ONE, TWO) if (name, at) not in copies]
    expect(not lost, f"{len(lost)} messages are lost: {lost[:5]}")
    twice, gap = 0, 0.0
    for which, moments in copies.items():
        runs = [next((at for at, (_, end, _) in enumerate(ends) if moment < end), KILLS) for moment in sorted(moments)]
        expect(len(set(runs)) == len(runs), f"{which} came {len(runs)} times in runs {runs}")
        for moment, run in zip(sorted(moments), runs[:-1]):
            end, _, was_killed = ends[run]
            expect(was_killed, f"{which} came in run {run}, which was not killed, and again in another")
            gap = max(gap, end - moment)
            twice += 1
    expect(gap < 2, f"a message came twice that the remote had taken {gap:.1f} s before the kill")
    return (f"{kills} kills, {len(copies)} messages of {len(sent)} letters, {twice} of them a second time; these were "
            f"taken at most {gap * 1000:.0f} ms before the kill")


CHECKS = {"forward.delivers": (delivers, 60), "forward.killed": (killed, 120)}
