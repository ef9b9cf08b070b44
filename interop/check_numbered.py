"""kill -9 at the 1st, 2nd, 3rd … call of each kind that changes a file, by strace, in the real programs."""

import shutil

import letters
from bench import SOUND, STOP_S, UNSETTLED, Failed, NotRun, Server, expect, expect_equal
from talk import Pop3, Refused, Smtp

# What changes a file or a folder, and what makes it durable. `?`: not all machines have it.
CALLS = ["?write", "pwrite64", "fdatasync", "fsync", "ftruncate", "?rename", "renameat", "?renameat2", "?link",
         "linkat", "?unlink", "unlinkat"]
# Far more than there are.
NUMBER_MAX = 60
SIZE = 3000


class _Traced(Server):
    """A server that is killed in its Nth call of a kind: each thread counts on its own."""

    def __init__(self, bench, program, call, number):
        log = bench.folder / "strace.log"
        # -D: the server is our child, and strace its. -f: all threads.
        super().__init__(bench, program, bench.mail, inside=(
            "strace", "-D", "-f", "-qq", "-o", str(log), "-e", f"trace={call}", "-e", "signal=none",
            "-e", f"inject={call}:signal=KILL:when={number}"))

    def _await_ready(self):
        try:
            return super()._await_ready()
        except Failed:
            if self.process.wait(STOP_S) == -9:
                return None         # killed in its start
            raise

    def end(self):
        """Ends it in good order; whether it was killed, before or then."""
        self.expected_end = True
        self.process.terminate()
        status = self.process.wait(STOP_S * 4)
        self.process.stdout.close()
        expect(status in (0, -9), f"{self.name} ended with status {status}: {self.said()}")
        return status == -9


def _permitted(bench):
    """Not everywhere may a program trace another."""
    status, _, error = bench.run(["strace", "-D", "-f", "-qq", "-o", str(bench.folder / "strace.log"), "-e",
                                  "inject=fsync:signal=KILL:when=1", "true"])
    if status:
        raise NotRun(f"strace may not trace here: {error.decode()[-200:]}")


def _each(bench, one):
    """Runs `one` with a server for each kind of call and each number, until it is killed no more. Figures."""
    _permitted(bench)
    kills, kinds, killed_in_start, counts = 0, 0, 0, {}
    for call in CALLS:
        for number in range(1, NUMBER_MAX):
            shutil.rmtree(bench.mail)
            bench.mail.mkdir()
            if not one(call, number, counts):
                break
            kills += 1
            killed_in_start += counts.pop("start", 0)
        else:
            raise Failed(f"{call}: killed {NUMBER_MAX} times, and it is not over")
        kinds += number > 1
    expect(kinds >= 5, f"only {kinds} kinds of calls came to pass")
    said = ", ".join(f"{count} times {what}" for what, count in sorted(counts.items()))
    return f"{kills} kills in {kinds} kinds of calls, {killed_in_start} of them in the start; {said}"


def _count(counts, what):
    counts[what] = counts.get(what, 0) + 1


def delivery(bench):
    """smtp is killed at each call that changes a file: a message for three places is in all or in none"""
    old = letters.entry(letters.letter("old", SIZE, bench.rng))
    text = letters.letter("new", SIZE, bench.rng)

    def one(call, number, counts):
        what = f"{call} {number}"
        paths = [bench.mailbox("anna", old), bench.mailbox("bert")]
        server = _Traced(bench, "smtp", call, number)
        accepted = False
        if server.port is None:
            counts["start"] = 1
        else:
            try:
                with Smtp(server.port) as client:
                    for line in ["MAIL FROM:<carla@localhost>", "RCPT TO:<anna@localhost>", "RCPT TO:<bert@localhost>",
                                 "RCPT TO:<dora@one.example>", "DATA"]:
                        reply = client.command(line)
                        if reply[:1] not in "23":
                            raise Refused(f"{line} -> {reply}")
                    accepted = client.data(text) == "250 OK"
            except OSError:
                pass
        killed = server.end()
        expect(killed or accepted, f"{what}: refused, though nothing failed")
        bench.fsck(f"{what}, after the kill", SOUND, UNSETTLED)
        bench.smtp()
        bench.stop_servers()
        bench.fsck(f"{what}, after a start", SOUND)
        there = [_names(path).count("new") for path in [*paths, bench.mail / "mqueue"]]
        expect(there in ([0, 0, 0], [1, 1, 1]), f"{what}: in the mailboxes and the queue {there} times")
        expect(there[0] or not accepted, f"{what}: accepted, and lost")
        expect("old" in _names(paths[0]), f"{what}: what was there is gone")
        _count(counts, "accepted" if accepted else "there without a reply" if there[0] else "not there")
        return killed

    return _each(bench, one)


def _names(path):
    """The names of the letters in a mailbox or in the queue, each of them whole."""
    if not path.exists():
        return []
    texts = letters.entries(path.read_bytes(), path.name)
    return [letters.name_of(text.partition(b"\n\n")[2] if text.startswith(b"X-Envelope-To: ") else text)
            for text in texts]


def quit_of_pop3(bench):
    """pop3 is killed at each call that changes a file, in QUIT too: the mailbox is the old one or the new one"""
    texts = [letters.letter(f"letter-{number}", SIZE, bench.rng) for number in range(1, 7)]
    old = b"".join(map(letters.entry, texts))
    # In the middle, and at the end.
    shapes = [{1, 3}, {5, 6}]

    def one(call, number, counts):
        return any([quit(call, number, counts, gone) for gone in shapes])

    def quit(call, number, counts, gone):
        what = f"{call} {number}, removal of {gone}"
        new = b"".join(letters.entry(text) for place, text in enumerate(texts, 1) if place not in gone)
        path = bench.mailbox("anna", old)
        server = _Traced(bench, "pop3", call, number)
        answered = False
        if server.port is None:
            counts["start"] = 1
        else:
            try:
                with Pop3(server.port, "anna") as session:
                    for place in gone:
                        session.ok(f"DELE {place}")
                    answered = session.command("QUIT").startswith(b"+OK")
            except OSError:
                pass
        killed = server.end()
        expect(killed or answered, f"{what}: refused, though nothing failed")
        bench.fsck(f"{what}, after the kill", SOUND, UNSETTLED)
        bench.pop3()
        bench.stop_servers()
        bench.fsck(f"{what}, after a start", SOUND)
        octets = path.read_bytes()
        if octets != new:
            expect(not answered, f"{what}: answered +OK, and the mailbox is not the new one")
            expect_equal(octets, old, f"{what}: the mailbox is not new, and not old")
        _count(counts, "answered" if answered else "new without a reply" if octets == new else "old")
        return killed

    return _each(bench, one)


CHECKS = {"numbered.smtp": (delivery, 180), "numbered.pop3-in-quit": (quit_of_pop3, 180)}
