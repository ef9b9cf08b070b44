"""The tests' own eyes: what they must notice, they notice."""

import letters
from bench import Failed, expect, expect_equal


def notices(bench):
    """a letter that is lost, doubled, cut, mixed with another or changed in one octet is noticed"""
    one, two = (letters.letter(name, 4000, bench.rng) for name in ("one", "two"))
    path = bench.mailbox("anna", letters.entry(one) + letters.entry(two))
    expect_equal(letters.names_in(path), ["one", "two"], "two letters in a mailbox")
    expect_equal(letters.name_of(one.replace(b"\r\n", b"\n")), "one", "the same letter with other line ends")
    changed = bytearray(one)
    changed[2000] ^= 1
    for torn in (one[:-1000], one[:2000] + two[2000:], bytes(changed), one + b"more\r\n", one + two, b""):
        _must_fail(lambda torn=torn: letters.name_of(torn), f"a torn letter of {len(torn)} octets")
    _must_fail(lambda: letters.entries(b"half a line\n" + letters.entry(one)), "rubbish in front of a mailbox")
    _must_fail(lambda: letters.expect_once({"one", "two"}, set(), ["one"], "x"), "a lost letter")
    _must_fail(lambda: letters.expect_once({"one"}, set(), ["one", "one"], "x"), "a doubled letter")
    _must_fail(lambda: letters.expect_once({"one"}, {"two"}, ["one", "two", "two"], "x"), "a doubled optional letter")
    _must_fail(lambda: letters.expect_once({"one"}, set(), ["one", "three"], "x"), "a strange letter")
    letters.expect_once({"one"}, {"two"}, ["one"], "x")


def _must_fail(act, what):
    try:
        act()
    except Failed:
        return
    expect(False, f"{what} is not noticed")


CHECKS = {"self.notices": (notices, 20)}
