"""Many programs at once in one mail folder: nothing lost, nothing twice, nothing torn."""

import json
import os
import pathlib
import subprocess
import sys
import time

import letters
from bench import SOUND, UNSETTLED, Failed, Server, expect
from procmail import write_rcfile
from talk import Pop3, Refused, texts_of

_HERE = pathlib.Path(__file__).resolve().parent
USERS = ["anna", "bert", "carla", "david"]
# (role, how many processes, letters each)
WRITERS = [("smtp", 10, 60), ("mbox", 6, 40), ("procmail", 5, 15)]
READERS = [("pop3-reader", 3), ("mbox-reader", 2)]
LIMIT_S = 240


def exactly_once(bench):
    """21 writers (SMTP, Python, procmail) and 5 readers that delete (POP3, Python): every letter exactly once"""
    crowd = _Crowd(bench)
    servers = {"smtp": bench.smtp(), "pop3": bench.pop3()}
    crowd.tell(servers)
    crowd.start()
    verdicts = []
    while crowd.is_writing():
        verdicts.append(bench.fsck("while all are writing", SOUND, UNSETTLED))
        time.sleep(bench.rng.uniform(0.1, 0.5))
    crowd.end()
    return f"{crowd.judge(servers['pop3'])}; {_tell(verdicts)}"


def with_kills(bench):
    """the same, while smtp and pop3 are killed (-9) and started again all the time"""
    crowd = _Crowd(bench, "--kills")
    servers = {name: Server(bench, name, bench.mail) for name in ("smtp", "pop3")}
    crowd.tell(servers)
    crowd.start()
    kills, verdicts = 0, []
    while crowd.is_writing():
        # No waiting for readiness: the moment of the kill is what is tried out.
        time.sleep(bench.rng.uniform(0.02, 0.5))
        name = bench.rng.choice(["smtp", "pop3"])
        servers[name].kill()
        servers[name] = Server(bench, name, bench.mail)
        crowd.tell(servers)
        kills += 1
        verdicts.append(bench.fsck(f"after kill {kills}", SOUND, UNSETTLED))
    crowd.end()
    for server in servers.values():
        server.stop()
    # What a kill left behind is put right when the servers start; after that it counts.
    bench.smtp()
    note = crowd.judge(bench.pop3())
    expect(kills >= 10, f"only {kills} kills")
    return f"{kills} kills; {note}; {_tell(verdicts)}"


def _tell(verdicts):
    return f"fsck beside them: {verdicts.count(SOUND)} times sound, {verdicts.count(UNSETTLED)} times unsettled"


class _Crowd:
    """All writers and readers, what they say, and what must be true of it in the end."""

    def __init__(self, bench, *options):
        self._bench = bench
        self._ports = bench.folder / "ports"
        self._arguments = ["--mail", str(bench.mail), "--ports", str(self._ports), "--procmailrc",
                           str(write_rcfile(bench.folder)), "--seed", str(bench.rng.getrandbits(32)), *options]
        for user in USERS:
            bench.mailbox(user)

    def tell(self, servers):
        """Where the servers are now."""
        new = self._ports.with_suffix(".new")
        new.write_text(json.dumps({name: server.port for name, server in servers.items()}))
        os.replace(new, self._ports)

    def start(self):
        self._started = time.monotonic()
        self._readers = [self._start(role, number, 0) for role, many in READERS for number in range(many)]
        self._writers = [self._start(role, number, count) for role, many, count in WRITERS for number in range(many)]

    def _start(self, role, number, count):
        name = f"{role}-{number}"
        argv = [sys.executable, str(_HERE / "worker.py"), role, "--name", name, "--count", str(count),
                *self._arguments, *USERS]
        return _Worker(self._bench, role, name, argv)

    def is_writing(self):
        expect(time.monotonic() < self._started + LIMIT_S, f"the writers did not end within {LIMIT_S} s")
        return any(worker.process.poll() is None for worker in self._writers)

    def end(self):
        for worker in self._writers:
            worker.end(self._started + LIMIT_S)
        for worker in self._readers:
            worker.process.stdin.close()
            worker.end(self._started + LIMIT_S + 30)
        self._seconds = time.monotonic() - self._started

    def judge(self, pop3):
        """Every acknowledged letter exactly once; one whose fate only a killed server knew at most once."""
        sent, taken = self._said("sent"), self._said("took")
        maybe_sent, maybe_taken = self._said("maybe-sent"), self._said("maybe-took")
        wanted = sum(many * count for _, many, count in WRITERS)
        expect(len({letter.split()[0] for letter in sent + maybe_sent}) == wanted, f"not all of {wanted} were sent")
        for role, _ in READERS:
            expect(any(worker.said("took") for worker in self._readers if worker.role == role), f"no {role} took any")
        left = [f"{letters.name_of(text)} {user}" for user in USERS for text in texts_of(pop3.port, user)]
        self._bench.stop_servers()
        # After that every program has ended; what a stopping server leaves counts.
        self._bench.fsck("at the end", SOUND)
        in_files = [f"{name} {user}" for user in USERS for name in letters.names_in(self._bench.mail / f"{user}.mbox")]
        expect(sorted(left) == sorted(in_files), "POP3 shows other messages than the files hold")
        letters.expect_once(set(sent) - set(maybe_taken), set(maybe_sent) | set(maybe_taken), taken + left,
                            "all mailboxes")
        litter = [path.name for path in self._bench.mail.rglob("*") if ".lock" in path.name
                  or path.parent.name == "journal" or path.name.endswith((".update", ".tmp")) or "orphan" in path.name]
        expect(not litter, f"locks and records that nobody removed: {litter}")
        again = len(self._said("again"))
        return (f"{len(sent)} messages acknowledged to {len(self._writers)} writers ({len(maybe_sent)} cut off), "
                f"{len(taken)} taken by {len(self._readers)} readers ({len(maybe_taken)} cut off), {len(left)} left, "
                f"{again} tries repeated, {self._seconds:.1f} s")

    def _said(self, kind):
        return [what for worker in self._writers + self._readers for what in worker.said(kind)]


class _Worker:
    """A process of worker.py. It writes to files: a pipe that nobody reads would stop it."""

    def __init__(self, bench, role, name, argv):
        self.role, self.out, self.err = role, bench.folder / f"{name}.out", bench.folder / f"{name}.err"
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = bench.start(argv, stdin=subprocess.PIPE, stdout=out, stderr=err)

    def end(self, deadline):
        try:
            status = self.process.wait(max(1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.out.stem} did not end; it said last {self.out.read_text()[-200:]!r}") from None
        expect(status == 0, f"{self.out.stem} ended with status {status}: {self.err.read_text()[-1500:]}")
        expect(not self.said("bad"), f"{self.out.stem}: {self.said('bad')[:3]}")

    def said(self, kind):
        lines = self.out.read_text(errors="replace").splitlines()
        return [line.partition(" ")[2] for line in lines if line.partition(" ")[0] == kind]


def in_use(bench):
    """the same mailbox in two pop3 processes: the second is told at once; a killed one holds nothing"""
    bench.mailbox("anna", letters.entry(b"text\r\n"))
    first, second = bench.pop3(), bench.pop3()
    session = Pop3(first.port, "anna")
    for server in (second, first):
        started = time.monotonic()
        try:
            Pop3(server.port, "anna").close()
        except Refused as refused:
            expect("use" in str(refused), f"the refusal does not say why: {refused}")
        else:
            raise Failed("two sessions hold one mailbox")
        seconds = time.monotonic() - started
        expect(seconds < 0.9, f"'in use' took {seconds:.2f} s")
    session.quit()
    again = Pop3(second.port, "anna")
    second.kill()
    again.close()
    session = Pop3(first.port, "anna")
    expect(session.stat() == (1, 6), "another mailbox after the kill")
    session.quit()
    return f"refused in {seconds * 1000:.0f} ms"


CHECKS = {"together.exactly-once": (exactly_once, LIMIT_S + 60), "together.with-kills": (with_kills, LIMIT_S + 60),
          "together.in-use": (in_use, 30)}
