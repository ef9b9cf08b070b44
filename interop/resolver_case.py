#!/usr/bin/env python3
"""One failure of name servers or resolv.conf: what the C library makes of it, and what `forward` does.

Runs in a network and a mount namespace of its own (`unshare --net --mount`), where port 53 is free and /etc can be
another one: `resolver_case.py CASE FORWARD FOLDER`. Prints a JSON object: `glibc` and `ours`, whether the mail host was
found, and `said`, what `forward` said.
"""

import ctypes
import fcntl
import json
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import threading

import name_server
from name_server import A, AAAA, MX

HOST = "127.0.0.99"     # nobody is there: whoever dials it has found it
ZONE = {
    "two.example": [(MX, 10, "mx.two.example"), (MX, 20, "more.two.example")],
    "mx.two.example": [(A, HOST), (AAAA, "::1")], "more.two.example": [(A, HOST)],
}
GLIBC_S = 60            # longer than all its attempts
QUICK = "options timeout:1 attempts:2\n"


def _servers(*faults):
    """A resolv.conf that names 127.0.0.1, 127.0.0.2 … and the servers there: each has a fault, or none."""
    addresses = [f"127.0.0.{last}" for last in range(1, len(faults) + 1)]
    return QUICK + "".join(f"nameserver {at}\n" for at in addresses), dict(zip(addresses, faults))


def _text(resolv_conf):
    """A resolv.conf with this text in front; the good server is at 127.0.0.1."""
    return resolv_conf + QUICK + "nameserver 127.0.0.1\n", {"127.0.0.1": ""}


# What makes a server useless, and what makes an answer odd.
USELESS = ["CLOSED", "SILENT", "SERVFAIL", "REFUSED", "NOTIMP", "FORMERR", "BARE", "GARBAGE", "WRONG-ID", "WRONG-QUESTION",
           "NO-QUESTION", "LAME", "CUT"]
ODD = ["EDNS-FORMERR", "EDNS-SILENT", "TRUNCATED", "TCP-TRUNCATED", "TCP-FEWER", "TCP-CLOSED", "TCP-GARBAGE", "TCP-SILENT",
       "SHOUTED", "A-SILENT", "AAAA-SILENT", "A-SERVFAIL", "AAAA-SERVFAIL", "AAAA-LAME"]

# name: (resolv.conf or None where there is none, {address: fault})
CASES = {
    "no failure": _servers(""),
    **{f"{fault}, the next server is sound": _servers(fault, "") for fault in USELESS},
    **{f"{fault} twice, the third server is sound": _servers(fault, fault, "") for fault in USELESS},
    **{f"{fault}, the only server": _servers(fault) for fault in ODD},
    "EDNS-FORMERR, the only server, options edns0": ("options edns0\n" + QUICK + "nameserver 127.0.0.1\n",
                                                     {"127.0.0.1": "EDNS-FORMERR"}),
    "UDP-SILENT, the only server, options use-vc": ("options use-vc\n" + QUICK + "nameserver 127.0.0.1\n",
                                                    {"127.0.0.1": "UDP-SILENT"}),
    "three servers refuse, the fourth is sound": _servers("REFUSED", "REFUSED", "REFUSED", ""),
    "no resolv.conf": (None, {"127.0.0.1": ""}),
    "resolv.conf is a folder": ("/", {"127.0.0.1": ""}),
    "resolv.conf is empty": ("", {"127.0.0.1": ""}),
    "no nameserver line": ("search example.org\n", {"127.0.0.1": ""}),
    "a nameserver line without an address": ("nameserver\n", {"127.0.0.1": ""}),
    "a name instead of an address": _text("nameserver dns.example\n"),
    "an address with a port": _text("nameserver 127.0.0.9:53\n"),
    "an IPv6 server with an interface": (QUICK + "nameserver ::1%lo\n", {"::1": ""}),
    "an IPv6 server with an interface that is not there": _text("nameserver fe80::1%no-such\n"),
    "127.1": (QUICK + "nameserver 127.1\n", {"127.0.0.1": ""}),
    "CR LF line ends": ("nameserver 127.0.0.1\r\n", {"127.0.0.1": ""}),
    "a comment behind the address": ("nameserver 127.0.0.1 # ours\n", {"127.0.0.1": ""}),
    "a blank in front of the line": ("nameserver 127.0.0.9\n nameserver 127.0.0.1\n" + QUICK, {"127.0.0.1": ""}),
    "domain (none)": _text("domain (none)\n"),
    "search with quotes": _text('search "example.org"\n'),
    "search .local": _text("search .local\n"),
    "search with an escape": _text("search bad\\032name\n"),
    "search with octets above 127": _text("search m\udcfcll\n"),
    "options that nobody knows": _text("options no-such ndots:x timeout: inet6\n"),
    "lines that nobody knows": _text("sortlist 10.0.0.0/255.0.0.0\nfamily inet6\nlookup file bind\n"),
}


class Faulty:
    """A name server on port 53 of an address, over UDP and TCP, with a fault."""

    def __init__(self, address, fault):
        self.fault = fault
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.udp = socket.socket(family, socket.SOCK_DGRAM)
        self.udp.bind((address, 53))
        self.tcp = socket.socket(family, socket.SOCK_STREAM)
        self.tcp.bind((address, 53))
        self.tcp.listen()
        for serve in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def _serve_udp(self):
        while True:
            question, client = self.udp.recvfrom(4096)
            answer = self._answer(question, over_tcp=False)
            if answer is not None:
                self.udp.sendto(answer, client)

    def _serve_tcp(self):
        while True:
            connection, _ = self.tcp.accept()
            threading.Thread(target=self._serve_connection, args=(connection,), daemon=True).start()

    def _serve_connection(self, connection):
        with connection:
            # Two questions may come on one connection.
            while len(length := connection.recv(2, socket.MSG_WAITALL)) == 2:
                question = connection.recv(struct.unpack("!H", length)[0], socket.MSG_WAITALL)
                answer = self._answer(question, over_tcp=True)
                if answer == b"":
                    return
                if answer is not None:
                    connection.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, question, over_tcp):
        fault, (kind,) = self.fault, struct.unpack_from("!H", question, question.index(b"\0", 12) + 1)
        has_edns = struct.unpack_from("!H", question, 10)[0] > 0
        question_end = question.index(b"\0", 12) + 5
        bare = question[:2] + struct.pack("!5H", 0x8180, 1, 0, 0, 0) + question[12:question_end]
        code = {"SERVFAIL": 2, "NOTIMP": 4, "REFUSED": 5, "FORMERR": 1}
        family, _, family_fault = fault.partition("-")
        if family in ("A", "AAAA"):
            fault = family_fault if kind == {"A": A, "AAAA": AAAA}[family] else ""
        if fault in code:
            return bare[:3] + bytes([0x80 | code[fault]]) + bare[4:]
        if fault == "BARE":
            return question[:2] + struct.pack("!5H", 0x8182, 0, 0, 0, 0)
        if fault == "SILENT" or fault == "UDP-SILENT" and not over_tcp or fault == "EDNS-SILENT" and has_edns:
            return None
        if fault == "EDNS-FORMERR" and has_edns:
            return bare[:3] + b"\x81" + bare[4:]
        if fault == "GARBAGE" or fault == "TCP-GARBAGE" and over_tcp:
            return b"garbage"
        if fault == "LAME":
            return question[:2] + struct.pack("!5H", 0x8000, 1, 0, 0, 0) + question[12:question_end]
        if over_tcp and fault in ("TCP-CLOSED", "CUT"):
            return b""
        if over_tcp and fault == "TCP-SILENT":
            return None
        answer = name_server.answer(ZONE, question[:question_end], 1 if fault == "TCP-FEWER" and over_tcp else None)
        if fault == "WRONG-ID":
            return bytes([answer[0] ^ 1]) + answer[1:]
        if fault == "WRONG-QUESTION":
            return answer[:13] + b"x" + answer[14:]
        if fault == "NO-QUESTION":
            return answer[:4] + b"\0\0" + answer[6:12] + answer[question_end:]
        if fault == "SHOUTED":
            return answer[:12] + answer[12:question_end - 4].upper() + answer[question_end - 4:]
        cut = not over_tcp and (fault in ("TRUNCATED", "CUT") or fault.startswith("TCP-") and not has_edns)
        if cut:
            return bare[:2] + b"\x83" + bare[3:]
        if fault == "TCP-TRUNCATED":
            return answer[:2] + bytes([answer[2] | 2]) + answer[3:]
        return answer


def _namespace(folder, resolv_conf):
    """Brings the loopback interface up, and puts an /etc of our own in the place of the real one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x41))    # SIOCSIFFLAGS: up and running
    etc = folder / "etc"
    etc.mkdir()
    (etc / "nsswitch.conf").write_text("hosts: dns\n")
    for name in ("ld.so.cache", "passwd", "group"):
        if pathlib.Path("/etc", name).exists():
            shutil.copy(f"/etc/{name}", etc)
    if resolv_conf == "/":
        (etc / "resolv.conf").mkdir()
    elif resolv_conf is not None:
        (etc / "resolv.conf").write_text(resolv_conf, errors="surrogateescape")
    subprocess.run(["mount", "--bind", str(etc), "/etc"], check=True)


def _glibc():
    """Whether res_query finds the MX records, and getaddrinfo an address of the host."""
    room = ctypes.create_string_buffer(4096)
    if ctypes.CDLL(None).res_query(b"two.example", 1, MX, room, len(room)) <= 0:
        return False
    try:
        return bool(socket.getaddrinfo("mx.two.example", 25, type=socket.SOCK_STREAM))
    except OSError:
        return False


def _glibc_says():
    """In a process of its own: over TCP the C library waits for ever."""
    try:
        asked = subprocess.run([sys.executable, __file__, "glibc"], stdin=subprocess.DEVNULL, timeout=GLIBC_S)
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0


def main():
    if sys.argv[1] == "glibc":
        return 0 if _glibc() else 1
    case, forward, folder = CASES[sys.argv[1]], sys.argv[2], pathlib.Path(sys.argv[3])
    resolv_conf, servers = case
    mail = folder / "mail"
    mail.mkdir()
    (mail / "mqueue").write_bytes(b"From <a@localhost> Mon Aug 22 23:00:00 2016\nX-Envelope-To: <a@two.example>\n\nx\r\n\n")
    _namespace(folder, resolv_conf)
    for address, fault in servers.items():
        if fault != "CLOSED":
            Faulty(address, fault)
    glibc = _glibc_says()
    run = subprocess.run([forward, str(mail)], stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    said = (run.stdout + run.stderr).decode("utf-8", "replace").strip()
    # The hosts are looked for up to the last: that one was found that nobody listens at.
    ours = f"connecting to {HOST}:25: " in said or "connecting to [::1]:25: " in said
    print(json.dumps({"glibc": glibc, "ours": ours, "said": said}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
