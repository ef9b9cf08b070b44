"""kill -9 at random moments. The one who remembers what was acknowledged is outside of what is killed."""

import subprocess
import threading
import time

import letters
from bench import SOUND, UNSETTLED, Failed, Server, expect, expect_equal
from talk import Pop3, Refused, Smtp

SMTP_KILLS = 50
POP3_KILLS = 30
START_S = 0.02
USERS = ["anna", "bert", "carla"]
CLIENTS = 6
SIZES = [200, 200, 4000, 4000, 4000, 4000, 4000, 100_000, 700_000]


def smtp_under_load(bench):
    """50 kills of smtp under load: acknowledged messages are there once and whole, nothing is torn"""
    paths = {user: bench.mailbox(user) for user in USERS}
    memory = _Memory(bench.rng)
    in_data = waiting = 0
    for kill in range(1, SMTP_KILLS + 1):
        server = Server(bench, "smtp", bench.mail)
        clients = [threading.Thread(target=memory.send_until_cut, args=(server.port,), daemon=True)
                   for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        # This is no waiting for readiness: the moment of the kill is what is tried out.
        time.sleep(bench.rng.uniform(0.005, 0.3))
        in_data += memory.waiting() > 0
        server.kill()
        for client in clients:
            client.join(30)
            expect(not client.is_alive(), "a client did not notice that the server is gone")
        expect(not memory.faults, f"kill {kill}: {memory.faults[:3]}")
        waiting += bench.fsck(f"after kill {kill}", SOUND, UNSETTLED) == UNSETTLED
        _kill_while_starting(bench, "smtp", kill)
        bench.fsck(f"kill {kill}, and kills while starting", SOUND, UNSETTLED)
        bench.smtp()
        bench.fsck(f"after kill {kill} and a start", SOUND)
        memory.compare(paths, f"after kill {kill}")
        bench.stop_servers()
        if kill % 10 == 0:      # reading everything again after each kill would take most of the time
            for path in paths.values():
                path.write_bytes(b"")
            memory.start_over()
    left = [path.name for path in bench.mail.rglob("*") if ".lock" in path.name or path.parent.name == "journal"]
    expect(not left, f"locks or journals that nobody removed: {left}")
    expect(in_data >= SMTP_KILLS // 2, f"only {in_data} kills came while a client waited for the reply to its data")
    return (f"{SMTP_KILLS} kills, {in_data} of them with a reply to data owed, {waiting} left a delivery to be settled; "
            f"{memory.totals[0]} messages acknowledged, {memory.totals[1]} cut off before the reply, "
            f"{memory.totals[2]} of these stored")


class _Memory:
    """What the clients sent, and what was acknowledged. Each letter is sent once, to one or two mailboxes."""

    def __init__(self, rng):
        self._rng = rng
        self._lock = threading.Lock()
        self._waiting = set()
        self._count = 0
        self.acknowledged = {}
        self.open = {}
        self.faults = []
        self.totals = [0, 0, 0]     # acknowledged, not acknowledged, these stored all the same
        self._stored = set()

    def waiting(self):
        with self._lock:
            return len(self._waiting)

    def send_until_cut(self, port):
        try:
            with Smtp(port, timeout=25) as client:
                while True:
                    name, text, users = self._next()
                    client.envelope(users)
                    with self._lock:
                        self.open[name] = users
                        self._waiting.add(name)
                    reply = client.data(text)
                    with self._lock:
                        self._waiting.discard(name)
                        if reply == "250 OK":
                            self.acknowledged[name] = self.open.pop(name)
                        else:
                            self.faults.append(f"{name} to {users}: {reply}")
        except OSError as cut:
            if isinstance(cut, TimeoutError):
                self.faults.append(f"no answer: {cut}")
        except Refused as refused:
            self.faults.append(str(refused))
        finally:
            with self._lock:
                self._waiting.clear()

    def _next(self):
        with self._lock:
            self._count += 1
            name = f"letter-{self._count}"
            users = self._rng.sample(USERS, self._rng.choice([1, 1, 2, 3]))
            text = letters.letter(name, self._rng.choice(SIZES), self._rng)
        return name, text, users

    def start_over(self):
        """The mailboxes were emptied."""
        for place, letters_of_this_kind in enumerate((self.acknowledged, self.open, self._stored)):
            self.totals[place] += len(letters_of_this_kind)
            letters_of_this_kind.clear()

    def compare(self, paths, when):
        """The mailboxes against the memory. A message whose 250 never came may be there: everywhere or nowhere."""
        found = {user: letters.names_in(path) for user, path in paths.items()}
        for user, names in found.items():
            letters.expect_once({name for name, users in self.acknowledged.items() if user in users},
                                {name for name, users in self.open.items() if user in users},
                                names, f"{when}, {user}.mbox")
        for name, users in self.open.items():
            there = [user for user in users if name in found[user]]
            expect(there in ([], users), f"{when}: {name} was for {users} and is only in {there}")
            if there:
                self._stored.add(name)


def pop3_inside_quit(bench):
    """30 kills of pop3 inside QUIT: after a restart the mailbox is the old one or the new one, octet for octet"""
    texts = [letters.letter(f"letter-{number}", bench.rng.choice([500, 20_000, 60_000]), bench.rng)
             for number in range(400)]
    old = b"".join(map(letters.entry, texts))
    # The shapes of a removal: every second, from the front, at the end, a lone one in the middle, all.
    shapes = [range(1, 401, 2), range(1, 101), range(200, 401), range(150, 151), range(1, 401)]
    seconds = [_whole_quit(bench, old, gone) for gone in shapes]
    counts, unfinished = {"old": 0, "new": 0}, 0
    for kill in range(1, POP3_KILLS + 1):
        shape = kill % len(shapes)
        gone = shapes[shape]
        new = b"".join(letters.entry(text) for number, text in enumerate(texts, 1) if number not in gone)
        path = bench.mailbox("anna", old)
        server = Server(bench, "pop3", bench.mail)
        session = _marked(server, gone)
        session.write(b"QUIT\r\n")
        time.sleep(bench.rng.uniform(0, seconds[shape]))
        server.kill()
        answered = _answered(session)
        what = f"kill {kill}, removal of {gone}"
        # A redo record waits for the next start, and so may what the journal says of a removal at the end.
        is_unfinished = (bench.mail / ".pillarbox" / "anna.update").exists()
        unfinished += bench.fsck(what, UNSETTLED, *([] if is_unfinished else [SOUND])) == UNSETTLED
        _kill_while_starting(bench, "pop3", kill)
        bench.fsck(f"{what}, and kills while starting", SOUND, UNSETTLED)
        restarted = bench.pop3()
        octets = path.read_bytes()
        if octets == new:
            counts["new"] += 1
        else:
            expect(not answered, f"{what}: QUIT was answered +OK, and the mailbox is not the new one")
            expect_equal(octets, old, f"{what}: the mailbox is not new, and not old")
            counts["old"] += 1
        with Pop3(restarted.port, "anna") as session:
            expect_equal(session.stat()[0], len(letters.entries(octets)), f"{what}: STAT")
            session.quit()
        bench.stop_servers()
        bench.fsck(f"{what}, and a start", SOUND)
        expect(not list(bench.mail.glob("*.lock")), f"{what}: a lock that nobody removed")
    expect(all(counts.values()), f"all kills came too early or too late: {counts}")
    return (f"{POP3_KILLS} kills within {max(seconds) * 1000:.0f} ms: {counts['old']} times old, "
            f"{counts['new']} times new, {unfinished} times a removal was finished after the kill")


def _kill_while_starting(bench, program, kill):
    """Every second time the start that puts things right is killed as well, none to three times."""
    for _ in range(bench.rng.randrange(4) if kill % 2 else 0):
        process = bench.start([str(bench.programs / program), "-p", "0", str(bench.mail)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(bench.rng.uniform(0, START_S))
        process.kill()
        process.wait()


def _whole_quit(bench, old, gone):
    """How many seconds a QUIT takes that is not killed."""
    bench.mailbox("anna", old)
    server = bench.pop3()
    session = _marked(server, gone)
    started = time.monotonic()
    session.quit()
    seconds = time.monotonic() - started
    bench.stop_servers()
    return seconds


def _marked(server, gone):
    session = Pop3(server.port, "anna")
    session.write(b"".join(b"DELE %d\r\n" % number for number in gone))
    for _ in gone:
        if not session.line().startswith(b"+OK"):
            raise Failed("DELE was refused")
    return session


def _answered(session):
    with session:
        try:
            return session.line().startswith(b"+OK")
        except OSError:
            return False


CHECKS = {"kill.smtp": (smtp_under_load, 240), "kill.pop3-in-quit": (pop3_inside_quit, 180)}
