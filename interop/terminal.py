"""A full-screen program on a terminal that nobody looks at."""

import fcntl
import os
import pty
import select
import struct
import termios
import time

from bench import Failed


class Terminal:
    """Runs a program on a terminal of its own; text is awaited, keys are typed. Every wait has an end."""

    def __init__(self, bench, argv, **options):
        self.screen = b""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        try:
            self.process = bench.start(argv, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
                                       preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), **options)
        finally:
            os.close(theirs)
        self._fd = ours

    def await_text(self, text, seconds=20):
        """Reads until the program has written `text` (since the last keys were typed)."""
        self._read_until(lambda: text in self.screen, seconds, f"{text!r} did not appear")

    def type(self, keys):
        self.screen = b""
        os.write(self._fd, keys)

    def await_end(self, seconds=20):
        """Reads until the program has ended; returns its status."""
        self._read_until(lambda: self.process.poll() is not None, seconds, "did not end")
        os.close(self._fd)
        return self.process.returncode

    def ended_within(self, seconds):
        try:
            self._read_until(lambda: self.process.poll() is not None, seconds, "")
        except Failed:
            return False
        return True

    def _read_until(self, done, seconds, why):
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                raise Failed(f"{self.process.args[0]}: {why} within {seconds} s; screen: {self.screen[-600:]!r}")
            # A short wait: the end of the process shows only when it is asked for.
            if select.select([self._fd], [], [], 0.05)[0]:
                try:
                    self.screen += os.read(self._fd, 1 << 16)
                except OSError:         # the program has closed the terminal
                    if self.process.poll() is None:
                        self.process.wait(seconds)
