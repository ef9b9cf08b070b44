"""A place to run one check in: a fresh folder, real servers, and the promise that everything started is ended.

A check is a function that takes a `Bench`. It returns a line with its figures (or nothing), and raises `Failed` where
the programs did not do what was asked.
"""

import contextlib
import os
import pathlib
import select
import signal
import subprocess
import time

READY_S = 20
SOUND, UNSETTLED = 0, 75
STOP_S = 5


class Failed(Exception):
    """What a check found wrong."""


class NotRun(Exception):
    """The machine does not allow a check."""


def expect(condition, why):
    """Fails the check unless `condition` holds. Not `assert`: that is left out by `python3 -O`."""
    if not condition:
        raise Failed(why)


def expect_equal(got, wanted, what):
    """Like `expect`, and shows where the two differ, in a length that can be read."""
    if got == wanted:
        return
    if isinstance(got, bytes) and isinstance(wanted, bytes):
        at = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
        near = slice(max(0, at - 40), at + 80)
        raise Failed(f"{what}: {len(got)} octets, expected {len(wanted)}; the first difference is at {at}:"
                     f" got …{got[near]!r}… expected …{wanted[near]!r}…")
    raise Failed(f"{what}: got {str(got)[:400]}, expected {str(wanted)[:400]}")


class Server:
    """One of our programs on a port that the system chose."""

    listen = ("-p", "0")

    def __init__(self, bench, program, folder, *options, inside=(), unread=False):
        """`inside` is a command that runs the program; `unread`: its stderr is a pipe that nobody reads."""
        self.name = program
        self.errors = bench.folder / f"{program}-{bench.next_number()}.err"
        with open(self.errors, "wb") as errors:
            self.process = bench.start([*inside, str(bench.programs / program), *self.listen, *options, str(folder)],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE if unread else errors)
        self.port = self._await_ready()
        self.expected_end = False

    def _await_ready(self):
        """The port of the first `listening on ADDR:PORT` line."""
        out, line, deadline = self.process.stdout.fileno(), b"", time.monotonic() + READY_S
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([out], [], [], max(0, deadline - time.monotonic()))
            octet = os.read(out, 1) if ready else b""
            if not octet:
                raise Failed(f"{self.name} did not say that it listens: {line!r}, on stderr {self.said()!r}")
            line += octet
        expect(line.startswith(b"listening on "), f"{self.name} says {line!r} instead of 'listening on ADDR:PORT'")
        return int(line.rsplit(b":", 1)[1])

    def said(self):
        """The end of what the server wrote to stderr."""
        return self.errors.read_bytes()[-2000:].decode("utf-8", "replace")

    def kill(self):
        """kill -9."""
        self.expected_end = True
        self.process.kill()
        self.process.wait(STOP_S)
        self.process.stdout.close()

    def stop(self, by=signal.SIGTERM):
        """SIGTERM, as an operator stops it, or SIGINT (Ctrl+C); it must end by itself, with status 0."""
        if self.expected_end:
            return
        self.expected_end = True
        ended = self.process.poll()
        self.process.send_signal(by)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failed(f"{self.name} did not end within {STOP_S} s of {by.name}") from None
        finally:
            self.process.stdout.close()
        expect(ended is None, f"{self.name} ended in the middle of the check with status {ended}: {self.said()}")
        expect(self.process.returncode == 0,
               f"{self.name} ended with status {self.process.returncode} after {by.name}: {self.said()}")
        expect(b"panicked" not in self.errors.read_bytes(), f"{self.name} panicked: see {self.errors}")


class Both(Server):
    """`pillarbox serve`: SMTP on `port`, POP3 on `pop3_port`."""

    listen = ("serve", "--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0", "--forward-every", "never")

    def __init__(self, bench, folder, *options, **how):
        super().__init__(bench, "pillarbox", folder, *options, **how)
        self.pop3_port = self._await_ready()


class Bench:
    """The folder of one check and all that runs in it."""

    def __init__(self, programs, folder, rng, kit=None):
        self.programs = programs
        self.folder = pathlib.Path(folder)
        self.mail = self.folder / "mail"
        self.rng = rng
        self.kit = kit
        self._processes = []
        self._servers = []
        self._numbers = 0
        self.mail.mkdir(parents=True)

    def next_number(self):
        self._numbers += 1
        return self._numbers

    def mailbox(self, user, octets=b""):
        """Makes DIR/user.mbox."""
        path = self.mail / f"{user}.mbox"
        path.write_bytes(octets)
        return path

    def start(self, argv, **options):
        process = subprocess.Popen(argv, **options)
        self._processes.append(process)
        return process

    def run(self, argv, seconds=60, **options):
        """Runs a program to its end: (exit status, stdout, stderr)."""
        data = options.pop("input", None)
        process = self.start(argv, stdin=subprocess.PIPE if data is not None else subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        try:
            out, error = process.communicate(data, seconds)
        except subprocess.TimeoutExpired:
            process.terminate()         # first so: a program that has started others can end them
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=STOP_S)
            raise Failed(f"{' '.join(map(str, argv))} ran longer than {seconds} s") from None
        return process.returncode, out, error

    def fsck(self, when, *statuses):
        """Checks the mail folder; fails unless `pillarbox fsck` ends with one of these statuses (0: sound)."""
        status, out, error = self.run([str(self.programs / "pillarbox"), "fsck", str(self.mail)])
        expect(status in statuses, f"{when}: fsck ended with status {status}: {(out + error).decode()[-1500:]}")
        return status

    def smtp(self, *options):
        return self._serve("smtp", *options)

    def pop3(self, *options):
        return self._serve("pop3", *options)

    def both(self, *options, **how):
        return self._started(Both(self, self.mail, *options, **how))

    def _serve(self, program, *options):
        return self._started(Server(self, program, self.mail, *options))

    def _started(self, server):
        self._servers.append(server)
        return server

    def stop_servers(self):
        """Ends the servers in good order; fails if one of them had ended, panicked or would not end."""
        servers, self._servers = self._servers, []
        for server in servers:
            server.stop()

    def end_everything(self):
        """Whatever happened: nothing that this check started stays. Each by its own id."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait(STOP_S)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe and not pipe.closed:
                    pipe.close()
