"""A name server on loopback that knows a few names: MX and A records, over UDP."""

import socket
import struct
import threading

A, MX, AAAA = 1, 15, 28
NO_SUCH_NAME = 3


class NameServer:
    """Answers from `zone`: {name: [(MX, preference, host), (A, address) or (AAAA, address)]}. Any other name does not exist."""

    def __init__(self, zone):
        self._zone = zone
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            question, client = self._socket.recvfrom(4096)
            if not question:
                return
            self._socket.sendto(answer(self._zone, question), client)

    def close(self):
        """Ends the thread: an empty datagram is no question."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def answer(zone, question, records_max=None):
    """The answer to a question from a zone, with at most so many records."""
    labels, at = [], 12
    while question[at]:
        labels.append(question[at + 1:at + 1 + question[at]].decode("ascii").lower())
        at += 1 + question[at]
    kind, = struct.unpack_from("!H", question, at + 1)
    records = zone.get(".".join(labels))
    found = [_data(record) for record in records or [] if record[0] == kind][:records_max]
    code = NO_SUCH_NAME if records is None else 0
    head = question[:2] + struct.pack("!5H", 0x8580 | code, 1, len(found), 0, 0)
    # Each record is about the name in the question, which begins at octet 12.
    answers = [struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(data)) + data for data in found]
    return head + question[12:at + 5] + b"".join(answers)


def _data(record):
    kind, *fields, last = record
    if kind in (A, AAAA):
        return socket.inet_pton(socket.AF_INET if kind == A else socket.AF_INET6, last)
    labels = [label.encode() for label in last.split(".") if label]
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return b"".join(struct.pack("!H", preference) for preference in fields) + name
