"""As many clients at once as the limit allows (C-C1, C-C9)."""

import os
import pathlib
import subprocess
import sys
import time

import talk
from bench import expect, expect_equal

CROWD = 9_999       # one less than the limit (C-C1), for the mail that comes meanwhile
ROUNDS = 4
EACH_KIB = 10     # of memory, for each connection of one crowd
CROWD_SCRIPT = pathlib.Path(__file__).resolve().with_name("crowd.py")


# holds C-C1
# holds C-C9
def ten_thousand(bench):
    """9,999 connections are held open while mail is accepted; they leave no descriptor; SIGTERM ends with them all open"""
    bench.mailbox("linhphan")
    smtp = bench.smtp()
    deliver(smtp)
    pid = smtp.process.pid
    before = use(pid)
    people = People(bench, smtp)
    count = people.count
    expect(count >= 1000, f"only {count} connections could be opened")
    full = use(pid)
    started = time.monotonic()
    deliver(smtp)
    took = time.monotonic() - started
    people.tell("leave", "left")
    settle(pid, before[0])
    after = use(pid)
    expect(after[0] <= before[0] * 1.1 + 1, f"descriptors: {before[0]} before, {after[0]} after")
    # The allocator keeps some of what it has had, more or less by chance; it must not grow with each crowd.
    for _ in range(ROUNDS):
        People(bench, smtp).tell("leave", "left")
        settle(pid, before[0])
    after = use(pid)
    expect(after[1] <= before[1] + EACH_KIB * count, f"memory: {before[1]} KiB before, {after[1]} KiB after")
    people = People(bench, smtp)
    started = time.monotonic()
    smtp.stop()
    stopped = time.monotonic() - started
    closed, goodbyes = people.ask("heard").split()
    expect_equal((int(closed), int(goodbyes)), (people.count, people.count), "closed connections and goodbyes")
    expect_equal(bench.mail.joinpath("linhphan.mbox").read_bytes().count(b"From <"), 2, "messages")
    return (f"{count} connections, {(full[1] - before[1]) / count:.1f} KiB each; a mail meanwhile in {took:.2f} s;"
            f" memory {before[1]} KiB before, {after[1]} after; stopped in {stopped:.2f} s")


class People:
    def __init__(self, bench, server):
        self.process = bench.start([sys.executable, str(CROWD_SCRIPT), str(server.port), str(CROWD)],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        said = self.process.stdout.readline().split()
        expect(said[:1] == ["open"], f"the crowd says {said}")
        self.count = int(said[1])

    def ask(self, order):
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def tell(self, order, answer):
        expect_equal(self.ask(order), answer, "the crowd")


def use(pid):
    """Open descriptors, and resident memory in KiB."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return len(os.listdir(f"/proc/{pid}/fd")), resident


def settle(pid, descriptors):
    """Waits until the server has noticed that its clients are gone."""
    deadline = time.monotonic() + 20
    while use(pid)[0] > descriptors and time.monotonic() < deadline:
        os.sched_yield()


def deliver(server):
    with talk.Smtp(server.port) as client:
        client.send(b"Subject: x\r\n\r\nx\r\n", "linhphan")
        client.quit()


CHECKS = {"pressure.ten-thousand": (ten_thousand, 120)}
