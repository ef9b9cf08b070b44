"""mutt works in a mailbox while our servers do. It takes the fcntl lock and the dotlock.

When mutt writes a mailbox, it rewrites everything behind the first change and adds header lines of its own
(Content-Length, Lines, Status). So letters are compared by name and check sum of their body, and octet for octet only
where mutt had no reason to write.
"""

import os

import letters
from bench import expect, expect_equal
from talk import Pop3, Refused, Smtp, texts_of
from terminal import Terminal

SETTINGS = """\
set mbox_type=mbox folder='{folder}' spoolfile='{folder}/none' record='' postponed='' tmpdir='{folder}'
set header_cache='' message_cachedir='' certificate_file='' history_file=''
set sleep_time=0 timeout=1 mail_check=1 wait_key=no confirmappend=no confirmcreate=no beep=no
set quit=yes delete=yes move=no mark_old=no read_inc=0 write_inc=0 sort=mailbox-order
set index_format='%4C %s'
"""


def _mutt(bench, mailbox, push=None):
    """mutt in the mailbox; `push`: keys, in mutt's own names for them."""
    settings = bench.folder / "muttrc"
    settings.write_text(SETTINGS.format(folder=bench.folder))
    argv = ["mutt", "-n", "-F", str(settings), "-f", str(mailbox)]
    if push:
        argv += ["-e", f"push '{push}'"]
    env = {**os.environ, "HOME": str(bench.folder), "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    return Terminal(bench, argv, env=env)


def _fill(bench, smtp, names, user="anna"):
    texts = [letters.letter(name, 1500, bench.rng) for name in names]
    with Smtp(smtp.port) as client:
        for text in texts:
            client.send(text, user)
    return texts


def _names(pop3, user="anna"):
    return [letters.name_of(text) for text in texts_of(pop3.port, user)]


def reads_and_deletes(bench):
    """mutt reads all messages that we stored, deletes one, and pop3 sees it"""
    mailbox = bench.mailbox("anna")
    smtp, pop3 = bench.smtp(), bench.pop3()
    names = ["one", "two", "three", "four", "five"]
    texts = _fill(bench, smtp, names)
    copy = bench.folder / "copy.mbox"
    mutt = _mutt(bench, mailbox,
                 f"<tag-pattern>~A<enter><tag-prefix><copy-message><kill-line>{copy}<enter><exit>")
    expect_equal(mutt.await_end(), 0, "mutt's exit status")
    expect_equal(letters.names_in(copy), names, "the messages that mutt copied")
    expect_equal(texts_of(pop3.port, "anna"), texts, "the messages after mutt has only read them")

    mutt = _mutt(bench, mailbox, "<delete-pattern>~sthree<enter><quit>")
    expect_equal(mutt.await_end(), 0, "mutt's exit status")
    expect_equal(_names(pop3), ["one", "two", "four", "five"], "the messages after mutt deleted 'three'")
    expect_equal(texts_of(pop3.port, "anna")[:2], texts[:2], "the messages in front of the deleted one")


def pop3_deletes_meanwhile(bench):
    """pop3 deletes in a mailbox that mutt has open: mutt brings nothing back and loses nothing"""
    mailbox = bench.mailbox("anna")
    smtp, pop3 = bench.smtp(), bench.pop3()
    for marked_first in (False, True):
        _fill(bench, smtp, ["one", "two", "three", "four", "five"])
        mutt = _mutt(bench, mailbox)
        mutt.await_text(b"five")
        if marked_first:
            mutt.type(b"D~s^four$\r")
            mutt.await_text(b"Del:1")
        with Pop3(pop3.port, "anna") as session:
            session.dele(2)
            session.quit()
        if not marked_first:
            mutt.type(b"D~s^four$\r")
        _quit(mutt)
        # mutt may forget its mark when it finds the mailbox changed: then 'four' stays. Nothing else is open.
        found = _names(pop3)
        expect(found in (["one", "three", "five"], ["one", "three", "four", "five"]),
               f"after pop3 deleted 'two' and mutt wanted to delete 'four': {found}")
        with Pop3(pop3.port, "anna") as session:
            for number in session.list():
                session.dele(number)
            session.quit()
    return f"the last time it left {len(found)} of 5"


def mail_arrives_meanwhile(bench):
    """mail arrives in a mailbox that mutt has open and then writes: it stays"""
    mailbox = bench.mailbox("anna")
    smtp, pop3 = bench.smtp(), bench.pop3()
    _fill(bench, smtp, ["one", "two", "three"])
    mutt = _mutt(bench, mailbox)
    mutt.await_text(b"three")
    mutt.type(b"D~s^one$\r")
    _fill(bench, smtp, ["four", "five"])
    _quit(mutt)
    found = _names(pop3)
    expect(found in (["two", "three", "four", "five"], ["one", "two", "three", "four", "five"]),
           f"after mutt wanted to delete 'one' and two more came: {found}")
    return "mutt deleted" if found[0] == "two" else "mutt gave up its deletion"


def mutt_writes_in_a_session(bench):
    """mutt deletes in the middle of a POP3 session: the session's QUIT removes what it marked, or nothing"""
    mailbox = bench.mailbox("anna")
    smtp, pop3 = bench.smtp(), bench.pop3()
    _fill(bench, smtp, ["one", "two", "three", "four"])
    session = Pop3(pop3.port, "anna")
    for number in (1, 2):
        session.retr(number)
        session.dele(number)
    mutt = _mutt(bench, mailbox, "<delete-pattern>~stwo<enter><quit>")
    expect_equal(mutt.await_end(), 0, "mutt's exit status")
    try:
        session.quit()
        answer, left = "+OK", ["three", "four"]
    except Refused as refused:
        answer, left = str(refused), ["one", "three", "four"]
    expect_equal(_names(pop3), left, f"the messages after QUIT was answered {answer!r}")
    return f"QUIT was answered {answer}"


def _quit(mutt):
    """Leaves mutt and lets it write. It stays when it finds the mailbox changed: then once more."""
    for _ in range(5):
        mutt.type(b"q")
        if mutt.ended_within(3):
            break
    expect_equal(mutt.await_end(1), 0, "mutt's exit status")


CHECKS = {"mutt.reads-and-deletes": (reads_and_deletes, 60),
          "mutt.pop3-deletes-meanwhile": (pop3_deletes_meanwhile, 90),
          "mutt.mail-arrives-meanwhile": (mail_arrives_meanwhile, 60),
          "mutt.writes-in-a-session": (mutt_writes_in_a_session, 60)}
