"""Messages that prove themselves, and a reading of mbox files that owes nothing to ours.

A letter carries its name and a check sum, so that a lost, doubled, mixed or cut one is noticed wherever it turns up.
"""

import hashlib
import re

from bench import Failed, expect

# A `From ` line that ends in an asctime date, as all programs here write it. All of them quote such lines in texts.
FROM_LINE = re.compile(rb"^From [^\n]*\d\d:\d\d:\d\d \d{4}\r?\n", re.M)

_LINES = [b"", b".", b"..", b".hidden", b"From the start of a line", b"From x Mon Aug 22 23:00:00 2016", b"From ",
          "Grüße, 世界".encode(),
          b"\xff\xfe\x80 octets of no character set", b"tab\there", b"trailing space ", b"a" * 998]
# Every letter is a piece of these lines: fast to make, and no two are likely to be equal.
_POOL = [(_LINES[number // 3 % len(_LINES)] if number % 3 == 0 else b"line %d of all the letters" % number) + b"\r\n"
         for number in range(3000)]


def letter(name, octets, rng):
    """A text of about so many octets, CR LF line ends."""
    lines, size = [], 0
    while size < octets:
        first = rng.randrange(len(_POOL))
        for line in _POOL[first:]:
            lines.append(line)
            size += len(line)
            if size >= octets:
                break
    body = b"".join([*lines, b"end of ", name.encode(), b"\r\n"])
    head = b"From: interop@localhost\r\nSubject: %s\r\nX-Sum: %s\r\n\r\n" % (name.encode(), _sum(body))
    return head + body


def name_of(text):
    """The name of a letter that is whole; `Failed` if it is not.

    Line ends and `>From ` quoting may differ: each mbox program has its own idea of them. So may header lines that mutt
    adds. Everything else is summed.
    """
    head, _, body = text.replace(b"\r\n", b"\n").partition(b"\n\n")
    name, want = re.search(rb"^Subject: (\S+)$", head, re.M), re.search(rb"^X-Sum: (\w+)$", head, re.M)
    if not name or not want or _sum(body) != want[1] or not body.endswith(b"end of " + name[1] + b"\n"):
        raise Failed(f"a torn message of {len(text)} octets: {text[:300]!r} … {text[-200:]!r}")
    return name[1].decode()


def _sum(body):
    plain = re.sub(rb"^>+From ", b"From ", body.replace(b"\r\n", b"\n"), flags=re.M)
    return hashlib.sha256(plain).hexdigest().encode()


def entries(octets, what="mailbox"):
    """The texts of an mbox file, as they are stored. `Failed` if the file does not start with an entry."""
    starts = list(FROM_LINE.finditer(octets))
    if not starts:
        expect(not octets.strip(), f"{what}: {len(octets)} octets without any entry: {octets[:200]!r}")
        return []
    expect(starts[0].start() == 0, f"{what}: starts with something that is no entry: {octets[:200]!r}")
    ends = [match.start() for match in starts[1:]] + [len(octets)]
    texts = [octets[match.end():end] for match, end in zip(starts, ends)]
    # The empty line behind an entry keeps it apart from the next and is no part of the text.
    return [text[:-1] if text.endswith(b"\n\n") or text == b"\n" else text for text in texts]


def names_in(path):
    """The names of all letters in an mbox file, each of them whole."""
    return [name_of(text) for text in entries(path.read_bytes(), path.name)]


def entry(text, sender="<sender@localhost>", date="Mon Aug 22 23:00:00 2016"):
    """One entry as our server writes it: From line, text with quoted From lines, an empty line."""
    quoted = re.sub(rb"^(>*From )", rb">\1", text, flags=re.M)
    return b"From %s %s\n%s\n" % (sender.encode(), date.encode(), quoted)


def uid(text):
    """The unique id: the MD5 of the text."""
    return hashlib.md5(text).hexdigest()


def expect_once(wanted, optional, found, what):
    """Every wanted name exactly once, every optional one at most once, nothing else."""
    counts = {}
    for name in found:
        counts[name] = counts.get(name, 0) + 1
    lost = sorted(name for name in wanted if name not in counts)
    twice = sorted(name for name, count in counts.items() if count > 1)
    strange = sorted(name for name in counts if name not in wanted and name not in optional)
    expect(not lost, f"{what}: {len(lost)} acknowledged messages are lost: {lost[:5]}")
    expect(not twice, f"{what}: {len(twice)} messages came more than once: {twice[:5]}")
    expect(not strange, f"{what}: {len(strange)} messages that nobody sent: {strange[:5]}")
