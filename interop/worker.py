"""One of the programs that work in a mail folder at the same time: `worker.py ROLE ...`, started by check_together.

Writers send numbered letters and end. Readers take messages away until their standard input is closed. What became of a
letter is printed only when it is certain: `sent NAME MAILBOX` when it was acknowledged, `took NAME MAILBOX` when its
removal was; `maybe-sent` and `maybe-took` when a killed server leaves it open. `again WHY` counts what had to be tried
once more, `bad WHY` is a fault.
"""

import argparse
import json
import mailbox
import pathlib
import random
import select
import subprocess
import sys
import time

import locked
import procmail
from bench import Failed
from letters import letter, name_of
from talk import Pop3, Refused, Smtp

TRIES_S = 120
BATCH = 12


def say(*words):
    print(*words, flush=True)


class Cut(Exception):
    """The server went away between a request and its answer: only it knows whether the request was carried out."""


class Writer:
    """Hands over `count` letters, each to one or two mailboxes, and tries again whatever was not acknowledged."""

    can_copy = False

    def __init__(self, options, rng):
        self.options, self.rng = options, rng

    def run(self):
        for number in range(self.options.count):
            users = self.rng.sample(self.options.users, 2 if self.can_copy and self.rng.random() < 0.2 else 1)
            name = f"{self.options.name}.{number}"
            text = letter(name, self.rng.choice([300, 2000, 8000, 8000, 150_000]), self.rng)
            try:
                self.hand_over(text, users)
                result = "sent"
            except Cut:
                result = "maybe-sent"
            for user in users:
                say(result, name, user)

    def hand_over(self, text, users):
        deadline = time.monotonic() + TRIES_S
        while (why := self.try_once(text, users)) is not None:
            say("again", why)
            if time.monotonic() > deadline:
                raise Failed(f"not taken within {TRIES_S} s: {why}")
            time.sleep(self.rng.uniform(0.01, 0.1))


class SmtpWriter(Writer):
    """A new connection now and then, as clients do. Only 4xx is tried again: then no mailbox holds any part of it."""

    can_copy = True
    smtp = None

    def try_once(self, text, users):
        try:
            if self.smtp is None:
                self.smtp = Smtp(self.options.port("smtp"))
            self.smtp.envelope(users)
        except OSError as gone:
            self.smtp = None
            return self.options.gone(gone)
        try:
            reply = self.smtp.data(text)
        except OSError as gone:
            self.smtp = None
            self.options.gone(gone)
            raise Cut from gone
        if reply != "250 OK":
            if not reply.startswith(("451", "452")):
                raise Failed(reply)
            return reply
        if self.rng.random() < 0.2:
            self.smtp.close()
            self.smtp = None
        return None


class MboxWriter(Writer):
    """Python's mailbox module."""

    def try_once(self, text, users):
        try:
            locked.add(path_of(self.options, users[0]), text.replace(b"\r\n", b"\n"))
        except mailbox.ExternalClashError as clash:
            return str(clash)
        return None


class ProcmailWriter(Writer):
    """One procmail process a letter, with its own dotlock and fcntl lock."""

    def try_once(self, text, users):
        command = procmail.command(path_of(self.options, users[0]), self.options.procmailrc)
        done = subprocess.run(command, input=text.replace(b"\r\n", b"\n"), capture_output=True, timeout=TRIES_S,
                              check=False)
        return None if done.returncode == 0 else f"procmail: status {done.returncode} {done.stderr!r}"


class Reader:
    """Takes messages away, in batches, until it is told to stop."""

    def __init__(self, options, rng):
        self.options, self.rng = options, rng

    def run(self):
        while not select.select([sys.stdin], [], [], 0)[0]:
            user = self.rng.choice(self.options.users)
            result, taken = self.take(user)
            for text in taken:
                try:
                    say(result, name_of(text), user)
                except Failed as torn:
                    say("bad", user, torn)
            if not taken:
                time.sleep(self.rng.uniform(0.005, 0.05))


class Pop3Reader(Reader):
    """RETR and DELE of the first messages, QUIT: only what a +OK to QUIT covers counts as taken."""

    def take(self, user):
        taken = []
        try:
            with Pop3(self.options.port("pop3"), user) as pop3:
                for number in list(pop3.list())[:BATCH]:
                    try:
                        text = pop3.retr(number)
                        pop3.dele(number)
                        taken.append(text)
                    except Refused as refused:      # another program took it away meanwhile
                        say("again", refused)
                return self.leave(pop3, taken)
        except (Refused, OSError) as refused:
            say("again", refused if isinstance(refused, Refused) else self.options.gone(refused))
            return "took", []

    def leave(self, pop3, taken):
        try:
            pop3.quit()
        except OSError as gone:
            say("again", self.options.gone(gone))
            return "maybe-took", taken
        return "took", taken


class MboxReader(Reader):
    """Python's mailbox module, which puts a new file in the place of the old one."""

    def take(self, user):
        try:
            return "took", locked.take(path_of(self.options, user), BATCH)
        except mailbox.ExternalClashError as clash:
            say("again", clash)
            return "took", []


ROLES = {"smtp": SmtpWriter, "mbox": MboxWriter, "procmail": ProcmailWriter,
         "pop3-reader": Pop3Reader, "mbox-reader": MboxReader}


def path_of(options, user):
    return options.mail / f"{user}.mbox"


class Options(argparse.Namespace):
    """The command line; and where the servers are now, which changes when they are killed and started again."""

    def port(self, server):
        return json.loads(self.ports.read_text())[server]

    def gone(self, fault):
        """A connection that broke: expected if the servers are killed, otherwise the end of this worker."""
        if not self.kills or isinstance(fault, TimeoutError):
            raise fault
        return f"cut: {fault}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--name", required=True)
    parser.add_argument("--mail", type=pathlib.Path, required=True)
    parser.add_argument("--ports", type=pathlib.Path, help="a file that says where the servers are")
    parser.add_argument("--kills", action="store_true", help="the servers are killed now and then")
    parser.add_argument("--procmailrc")
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("users", nargs="+")
    options = parser.parse_args(namespace=Options())
    # The name goes into the seed: two writers must not send the same letters at the same moments.
    ROLES[options.role](options, random.Random(f"{options.seed} {options.name}")).run()


if __name__ == "__main__":
    main()
