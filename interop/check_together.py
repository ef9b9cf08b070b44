"""Many programs at once in one mail folder: nothing lost, nothing twice, nothing torn."""

import pathlib
import subprocess
import sys
import time

import letters
from bench import Failed, expect
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
    for user in USERS:
        bench.mailbox(user)
    smtp, pop3 = bench.smtp(), bench.pop3()
    common = ["--mail", str(bench.mail), "--smtp", str(smtp.port), "--pop3", str(pop3.port),
              "--procmailrc", str(write_rcfile(bench.folder)), "--seed", str(bench.rng.getrandbits(32))]
    started = time.monotonic()
    readers = [_start(bench, role, number, 0, common) for role, many in READERS for number in range(many)]
    writers = [_start(bench, role, number, count, common) for role, many, count in WRITERS for number in range(many)]
    for worker in writers:
        worker.end(started + LIMIT_S)
    for worker in readers:
        worker.process.stdin.close()
        worker.end(started + LIMIT_S + 30)
    seconds = time.monotonic() - started

    sent = [word for worker in writers for word in worker.events("sent")]
    wanted = sum(many * count for _, many, count in WRITERS)
    expect(len({word.split()[0] for word in sent}) == wanted, f"{len(sent)} of {wanted} letters were acknowledged")
    taken = [word for worker in readers for word in worker.events("took")]
    for role, _ in READERS:
        expect(any(worker.events("took") for worker in readers if worker.role == role), f"no {role} took anything")

    # What nobody took is still there, by POP3 and in the file; after that every program is stopped and the file is
    # read again: what a stopping server leaves counts.
    left = []
    for user in USERS:
        by_pop3 = sorted(letters.name_of(text) for text in texts_of(pop3.port, user))
        left += [f"{name} {user}" for name in by_pop3]
    bench.stop_servers()
    in_files = [f"{name} {user}" for user in USERS for name in letters.names_in(bench.mail / f"{user}.mbox")]
    expect(sorted(left) == sorted(in_files), "POP3 shows other messages than the files hold")
    letters.expect_once(set(sent), set(), taken + left, "all mailboxes")
    locks = [path.name for path in bench.mail.glob("*.lock*")]
    expect(not locks, f"locks that nobody gave back: {locks}")
    again = sum(len(worker.events("again")) for worker in writers + readers)
    return (f"{len(sent)} messages from {len(writers)} writers, {len(taken)} taken by {len(readers)} readers, "
            f"{len(left)} left, {again} tries repeated, {seconds:.1f} s")


class _Worker:
    """A process of worker.py. It writes to files: a pipe that nobody reads would stop it."""

    def __init__(self, role, process, out, err):
        self.role, self.process, self.out, self.err = role, process, out, err

    def end(self, deadline):
        try:
            status = self.process.wait(max(1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.out.stem} did not end; it said last {self.out.read_text()[-200:]!r}") from None
        expect(status == 0, f"{self.out.stem} ended with status {status}: {self.err.read_text()[-1500:]}")
        expect(not self.events("bad"), f"{self.out.stem}: {self.events('bad')[:3]}")

    def events(self, kind):
        lines = self.out.read_text(errors="replace").splitlines()
        return [line.partition(" ")[2] for line in lines if line.partition(" ")[0] == kind]


def _start(bench, role, number, count, common):
    name = f"{role}-{number}"
    out, err = bench.folder / f"{name}.out", bench.folder / f"{name}.err"
    argv = [sys.executable, str(_HERE / "worker.py"), role, "--name", name, "--count", str(count), *common, *USERS]
    with open(out, "wb") as to_out, open(err, "wb") as to_err:
        return _Worker(role, bench.start(argv, stdin=subprocess.PIPE, stdout=to_out, stderr=to_err), out, err)


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


CHECKS = {"together.exactly-once": (exactly_once, LIMIT_S + 60), "together.in-use": (in_use, 30)}
