"""SMTP and POP3 to the octet: what a library would smooth over stays visible.

smtplib stuffs a dot after a bare LF, poplib takes a bare LF for a line end and refuses long lines. These two do exactly
what RFC 5321 and RFC 1939 say, so that a text can be compared octet for octet.
"""

import re
import socket

TIMEOUT_S = 60
PASSWORD = "cis505"


class Refused(Exception):
    """A reply that is not the hoped-for one. `str()` is the reply."""


class _Talk:
    def __init__(self, port, timeout):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._in = self.socket.makefile("rb", 1 << 16)

    def write(self, octets):
        self.socket.sendall(octets)

    def line(self):
        """One line without its CR LF."""
        line = self._in.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError(f"closed by the server, after {line!r}")
        if not line.endswith(b"\r\n"):
            raise Refused(f"a line that ends with a bare LF: {line[-80:]!r}")
        return line[:-2]

    def at_end(self):
        """Whether the server has closed, and sent nothing more before that."""
        try:
            return self._in.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self._in.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Smtp(_Talk):
    """A client that has said HELO."""

    def __init__(self, port, timeout=TIMEOUT_S):
        super().__init__(port, timeout)
        self.reply()
        self.command("HELO localhost")

    def reply(self):
        lines = [self.line()]
        while lines[-1][3:4] == b"-":
            lines.append(self.line())
        return lines[-1].decode("latin-1")

    def command(self, line):
        self.write(line.encode() + b"\r\n")
        return self.reply()

    def envelope(self, users, sender="sender@localhost"):
        """MAIL, RCPT for each user, DATA. `Refused` if any of it was."""
        for line in [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{user}@localhost>" for user in users), "DATA"]:
            reply = self.command(line)
            if reply[:1] not in "23":
                self.command("RSET")
                raise Refused(f"{line} -> {reply}")

    def data(self, text):
        """The text with its end; returns the reply."""
        self.write(wire(text))
        return self.reply()

    def send(self, text, *users):
        """One message. `Refused` unless it was accepted."""
        self.envelope(users)
        reply = self.data(text)
        if reply != "250 OK":
            raise Refused(reply)

    def quit(self):
        reply = self.command("QUIT")
        self.close()
        return reply


def wire(text):
    """The text as it goes over the wire: dots stuffed where a line (ended by CR LF, nothing else) starts with one."""
    stuffed = re.sub(rb"(\A|\r\n)\.", rb"\1..", text)
    return stuffed + (b".\r\n" if not text or text.endswith(b"\r\n") else b"\r\n.\r\n")


class Pop3(_Talk):
    """A client that has logged in, if a user is given."""

    def __init__(self, port, user=None, timeout=TIMEOUT_S):
        super().__init__(port, timeout)
        self.greeting = self.line()
        if user is not None:
            try:
                self.login(user)
            except Exception:
                self.close()
                raise

    def login(self, user):
        self.ok(f"USER {user}")
        self.ok(f"PASS {PASSWORD}")

    def command(self, line):
        self.write(line.encode() + b"\r\n")
        return self.line()

    def ok(self, line):
        """The reply to a command that must be answered +OK, without the +OK."""
        reply = self.command(line)
        if not reply.startswith(b"+OK"):
            raise Refused(f"{line} -> {reply.decode('latin-1')}")
        return reply[3:].strip().decode("latin-1")

    def body(self):
        """The lines of a multi-line reply, dots unstuffed, each ended by CR LF."""
        lines = []
        while (line := self.line()) != b".":
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(line + b"\r\n" for line in lines)

    def stat(self):
        count, octets = self.ok("STAT").split()
        return int(count), int(octets)

    def list(self):
        """{number: octets}"""
        self.ok("LIST")
        return {int(n): int(octets) for n, octets in (row.split() for row in self.body().splitlines())}

    def uidl(self):
        """{number: unique id}"""
        self.ok("UIDL")
        return {int(n): uid.decode() for n, uid in (row.split() for row in self.body().splitlines())}

    def retr(self, number):
        self.ok(f"RETR {number}")
        return self.body()

    def dele(self, number):
        self.ok(f"DELE {number}")

    def quit(self):
        """QUIT that must be answered +OK."""
        try:
            self.ok("QUIT")
        finally:
            self.close()


def texts_of(port, user):
    """All messages of a mailbox, in order."""
    with Pop3(port, user) as pop3:
        texts = [pop3.retr(number) for number in pop3.list()]
        pop3.quit()
    return texts
