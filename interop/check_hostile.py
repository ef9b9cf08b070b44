"""Clients that mean harm, two hundred at once: they cost little, others are served, and each answer can be acted on."""

import contextlib
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import threading
import time

import letters
from bench import Failed, expect, expect_equal
from talk import Pop3, Refused, Smtp, wire

CROWD = pathlib.Path(__file__).resolve().with_name("hostile.py")
LIMITS = pathlib.Path(__file__).resolve().parent.parent / "docs" / "limits.md"

COST_KIB = 64 * 1024        # of memory, for all of them together
ANSWERED_S = 5              # when nothing else goes on
SERVED_S = 1                # each transaction of an honest client
STOP_S = 2
BASELINE = 30               # transactions before the attack, to tell a slow machine from a slow server
ATTACK_S = 8               # at least: those that are slow by intent must come to do something
ATTACK_MAX_S = 45
MAX_SIZE = 2_000_000
BIG_OCTETS = 2_000_000
MOUNT = 'mount -t tmpfs -o size=2m,mode=755 none "$1" && shift && exec "$@"'


def apart(bench):
    """two hundred hostile clients at once: less than 64 MiB, others served in a second, answers to act on"""
    _fill(bench)
    smtp, pop3 = bench.smtp("--max-size", str(MAX_SIZE)), bench.pop3()
    return _attack(bench, [smtp, pop3], smtp.port, pop3.port)


def together(bench):
    """the same against pillarbox serve, whose transcript goes to a pipe that nobody reads"""
    _fill(bench)
    server = bench.both("-v", "--max-size", str(MAX_SIZE), unread=True)
    return _attack(bench, [server], server.port, server.pop3_port)


def _fill(bench):
    """The mailboxes: one for honest mail, those whose messages nobody reads to their end."""
    bench.mailbox("anna")
    for number in range(20):
        bench.mailbox(f"big{number}", letters.entry(b"x" * BIG_OCTETS + b"\r\n"))
    bench.mailbox("reset", letters.entry(b"x" * BIG_OCTETS + b"\r\n") + letters.entry(b"stays\r\n"))


def _attack(bench, servers, smtp_port, pop3_port):
    honest = Honest(bench, smtp_port, pop3_port)
    for _ in range(BASELINE):
        honest.transaction()
    before_s, honest.times = honest.seconds(), []
    before_kib = [_memory(server, "VmRSS") for server in servers]
    crowds = [Crowd(bench, "smtp", smtp_port), Crowd(bench, "pop3", pop3_port)]
    machine = Machine(bench)
    honest.start()
    started = time.monotonic()
    for word in ("ready", "done"):
        for crowd in crowds:
            crowd.expect_word(word, started + ATTACK_MAX_S)
    while time.monotonic() < started + ATTACK_S:
        time.sleep(0.1)     # the attack goes on
    attacked_s = time.monotonic() - started
    honest.stop()
    machine.stop()
    grown_kib = [_memory(server, "VmHWM") - kib for server, kib in zip(servers, before_kib)]
    for crowd in crowds:
        crowd.tell("ending")
        crowd.expect_word("ending", time.monotonic() + 10)
    stopped_s = 0
    for server in servers:
        begun = time.monotonic()
        server.stop(signal.SIGINT)
        stopped_s = max(stopped_s, time.monotonic() - begun)
    reports = [crowd.report() for crowd in crowds]

    expect_equal([fault for report in reports for fault in report["faults"]], [], "what hostile clients met")
    expect(sum(grown_kib) < COST_KIB, f"the attack cost {grown_kib} KiB in {[server.name for server in servers]}")
    expect(stopped_s < STOP_S, f"Ctrl+C under attack took {stopped_s:.1f} s")
    honest.check()
    slow = [f"{end - begin:.2f} s" for begin, end in honest.times
            if end - begin - machine.stalled(begin, end) > SERVED_S]
    expect(not slow, f"{len(slow)} of {len(honest.times)} honest transactions took {', '.join(slow[:5])};"
                     f" before the attack {_figures(before_s)}; {machine.figures()}")
    expect_equal(len(letters.entries((bench.mail / "reset.mbox").read_bytes())), 2, "messages of the reset session")
    left = sorted(path.name for path in bench.mail.iterdir() if not path.name.endswith(".mbox"))
    expect(not [name for name in left if name.endswith(".lock")], f"left in the folder: {left}")
    _expect_listed({reply for report in reports for reply in report["replies"]})
    return (f"{sum(report['clients'] for report in reports)} clients for {attacked_s:.0f} s: {grown_kib} KiB;"
            f" honest mail {_figures(honest.seconds())} ({_figures(before_s)} before; {machine.figures()});"
            f" Ctrl+C {stopped_s:.2f} s;"
            f" {sum(sum(report['replies'].values()) for report in reports)} refusals of"
            f" {sum(len(report['replies']) for report in reports)} kinds;"
            f" rounds {[report['rounds'] for report in reports]}")


def _figures(seconds):
    return f"{len(seconds)} × {statistics.median(seconds) * 1000:.0f} ms, at worst {max(seconds) * 1000:.0f} ms"


def _memory(server, what):
    """Resident memory in KiB: now (VmRSS), or at the most so far (VmHWM)."""
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(rf"^{what}:\s+(\d+) kB$", status, re.M)[1])


def _expect_listed(replies):
    """Each refusal stands in docs/limits.md, in the table that says what the client can do about it."""
    table = LIMITS.read_text().partition("\n## Refusals\n")[2].partition("\n## ")[0]
    listed = {reply for row in table.splitlines() if row.startswith("| `")
              for reply in re.findall(r"`([^`]+)`", row.split("|")[1])}
    expect(listed, "docs/limits.md lists no refusals")
    known = [re.escape(reply).replace("…", ".+") for reply in listed]
    unknown = sorted(reply for reply in replies if not any(re.fullmatch(reply_known, reply) for reply_known in known))
    expect_equal(unknown, [], "refusals that docs/limits.md lacks")


def full_disk(bench):
    """a full disk (tmpfs): 452 and not an octet, in no mailbox; all is well when there is room"""
    with _folder_of_its_own(bench) as (server, mail, _):
        anna, bert = mail / "anna.mbox", mail / "bert.mbox"
        first = letters.letter("first", 3000, bench.rng)
        _send(server, first, "anna", "bert")
        before = anna.read_bytes(), bert.read_bytes()
        ballast = mail / "ballast"
        with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
        replies = set()
        # In memory, or in a file of its own. A shorter one has room in what the journal gives back.
        for octets in (40_000, 60_000, 300_000):
            for users in (["anna"], ["bert", "anna"]):
                replies.add(_send(server, letters.letter("too-much", octets, bench.rng), *users))
                expect_equal((anna.read_bytes(), bert.read_bytes()), before, "the mailboxes on a full disk")
        expect_equal(replies, {"452 Insufficient storage, try again later"}, "replies on a full disk")
        expect_equal(_send(server, letters.letter("fits", 12_000, bench.rng), "anna"), "250 OK",
                     "the reply to what has room where the journal had written ahead")
        login = _log_in(server, "anna", first)
        ballast.unlink()
        expect_equal(_send(server, letters.letter("second", 30_000, bench.rng), "anna", "bert"), "250 OK",
                     "the reply when there is room again")
        expect_equal(letters.names_in(anna), ["first", "fits", "second"], anna.name)
        expect_equal(letters.names_in(bert), ["first", "second"], bert.name)
        _expect_listed({*replies, *([login] if login != "+OK" else [])})
        return f"smtp said {replies}; pop3 said {login!r}"


def read_only(bench):
    """DIR becomes read-only: 451 and -ERR, nothing is lost; all is well when it is writable again"""
    with _folder_of_its_own(bench) as (server, mail, remount):
        anna = mail / "anna.mbox"
        first = letters.letter("first", 3000, bench.rng)
        _send(server, first, "anna")
        before = anna.read_bytes()
        remount("ro")
        replies = {_send(server, letters.letter("lost", octets, bench.rng), "anna") for octets in (3000, 300_000)}
        expect_equal(replies, {"451 Local error, try again later"}, "replies in a read-only folder")
        login = _log_in(server, "anna", first)
        expect_equal(anna.read_bytes(), before, "the mailbox in a read-only folder")
        refused = bench.run([*_inside(server), str(bench.programs / "smtp"), "-p", "0", str(bench.mail)], 10)
        expect(refused[0] == 66 and b"mounted read-only" in refused[2],
               f"smtp starts in a read-only folder: {refused}")
        remount("rw")
        expect_equal(_send(server, letters.letter("second", 300_000, bench.rng), "anna"), "250 OK",
                     "the reply when it is writable again")
        expect_equal(letters.names_in(anna), ["first", "second"], "the mailbox")
        _expect_listed({*replies, *([login] if login != "+OK" else [])})
        return f"smtp said {replies}; pop3 said {login!r}"


@contextlib.contextmanager
def _folder_of_its_own(bench):
    """A server whose DIR is a small tmpfs that only it sees; DIR as it is reached from here; what remounts it."""
    inside = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
    expect(bench.run([*inside, "true"])[0] == 0, "no mount is allowed here: run as root, or allow user namespaces")
    server = bench.both(inside=[*inside, "sh", "-c", MOUNT, "sh", str(bench.mail)])
    mail = pathlib.Path(f"/proc/{server.process.pid}/root{bench.mail}")
    for user in ("anna", "bert"):
        (mail / f"{user}.mbox").touch()

    def mount(*command):
        status, _, errors = bench.run([*_inside(server), *command, str(bench.mail)])
        expect(status == 0, f"{command}: {errors}")

    def remount(how):
        # A mount with a file open for writing cannot become read-only; one that lies over it can.
        if how == "ro":
            mount("mount", "--bind", str(bench.mail))
            mount("mount", "-o", "remount,bind,ro")
        else:
            mount("umount")

    yield server, mail, remount


def _inside(server):
    """What runs a command where the server is."""
    user = ["--user", "--preserve-credentials"] if os.geteuid() else []
    return ["nsenter", "-t", str(server.process.pid), "--mount", *user]


def _send(server, text, *users):
    """The reply to a message. Another client is served meanwhile, and both within their time."""
    with Smtp(server.port) as client, Smtp(server.port) as other:
        client.envelope(users)
        started = time.monotonic()
        client.write(wire(text))
        expect_equal(other.command("NOOP"), "250 OK", "the reply to another client")
        reply = client.reply()
        expect_equal(client.command("NOOP"), "250 OK", f"the next command after {reply}")
        seconds = time.monotonic() - started
        expect(seconds < ANSWERED_S, f"{reply} took {seconds:.1f} s")
        return reply


def _log_in(server, user, first):
    """The reply to PASS: a session must show the first message, a refusal is as good."""
    try:
        with Pop3(server.pop3_port, user) as session:
            expect_equal(session.retr(1), first, "message 1")
            session.quit()
            return "+OK"
    except Refused as refused:
        reply = str(refused).rpartition(" -> ")[2]
        expect(reply.startswith("-ERR"), reply)
        return reply


class Honest:
    """Sends a letter and fetches it, again and again."""

    def __init__(self, bench, smtp_port, pop3_port):
        self.bench, self.smtp_port, self.pop3_port = bench, smtp_port, pop3_port
        self.times = []
        self.sent = self.fetched = 0
        self.fault = None
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def transaction(self):
        """One letter there and back, timed; every tenth stays in the mailbox."""
        name = f"honest-{self.sent}"
        text = letters.letter(name, 3000, self.bench.rng)
        started = time.monotonic()
        with Smtp(self.smtp_port) as smtp:
            smtp.send(text, "anna")
            smtp.quit()
        self.sent += 1
        sent = time.monotonic()
        with Pop3(self.pop3_port, "anna") as pop3:
            count, _ = pop3.stat()
            expect_equal(count, len(self._kept()) + 1, "messages in the mailbox of the honest client")
            expect_equal(pop3.retr(count), text, name)
            if self.sent % 10:
                pop3.dele(count)
            pop3.quit()
        self.fetched += 1
        self.times += [(started, sent), (sent, time.monotonic())]

    def seconds(self):
        return [end - begin for begin, end in self.times]

    def _kept(self):
        return [f"honest-{number}" for number in range(self.fetched) if (number + 1) % 10 == 0]

    def _run(self):
        try:
            while not self.over.is_set():
                self.transaction()
        except Exception as fault:      # told where the others are judged
            self.fault = fault

    def start(self):
        self.thread.start()

    def stop(self):
        self.over.set()
        self.thread.join(30)
        expect(not self.thread.is_alive(), "the honest client is stuck")

    def check(self):
        """Nothing went wrong, and what stayed in the mailbox is there once: nothing of the hostile ones."""
        if self.fault is not None:
            raise Failed(f"the honest client: {type(self.fault).__name__}: {self.fault}") from self.fault
        expect_equal(letters.names_in(self.bench.mail / "anna.mbox"), self._kept(), "the mailbox at the end")


class Machine:
    """How long the machine itself stalls: the times of a thread that only sleeps and flushes a file of its own."""

    SLEEP_S = 0.02
    STALL_S = 0.1

    def __init__(self, bench):
        self.path = bench.folder / "machine"
        self.times = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        with open(self.path, "wb", buffering=0) as file:
            while not self.over.is_set():
                begin = time.monotonic()
                time.sleep(self.SLEEP_S)
                file.write(b"x")
                os.fsync(file)
                self.times.append((begin, time.monotonic()))

    def stop(self):
        self.over.set()
        self.thread.join()

    def stalled(self, begin, end):
        """Seconds between these two in which the thread made no headway."""
        return sum(min(end, last) - max(begin, first) for first, last in self.times
                   if last - first > self.STALL_S and last > begin and first < end)

    def figures(self):
        worst = max(last - first for first, last in self.times)
        return f"a program that does nothing but flush: at worst {worst * 1000:.0f} ms"


class Crowd:
    """The hostile clients of one server, in a process of their own."""

    def __init__(self, bench, protocol, port):
        self.protocol = protocol
        self.process = bench.start([sys.executable, str(CROWD), protocol, str(port), "anna"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def expect_word(self, word, deadline):
        """Waits until it prints this."""
        line = []
        reader = threading.Thread(target=lambda: line.append(self.process.stdout.readline().strip()), daemon=True)
        reader.start()
        reader.join(max(0, deadline - time.monotonic()))
        expect(line == [word], f"the hostile clients of {self.protocol} say {line} instead of {word!r}")

    def report(self):
        """What they met. They are over."""
        out, _ = self.process.communicate(timeout=20)
        expect_equal(self.process.returncode, 0, f"the exit status of the hostile clients of {self.protocol}")
        return json.loads(out)


CHECKS = {"hostile.apart": (apart, 90), "hostile.together": (together, 90), "hostile.full-disk": (full_disk, 30),
          "hostile.read-only": (read_only, 30)}
