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
WARM = 200          # clients before memory is first looked at: by then all threads have been at work
EACH_KIB = 4        # of memory for an idle connection
CROWD_SCRIPT = pathlib.Path(__file__).resolve().with_name("crowd.py")


# holds C-C1
# holds C-C9
def ten_thousand(bench):
    """9,999 connections are held open while mail is accepted; they leave no descriptor and no memory; SIGTERM ends them"""
    bench.mailbox("linhphan")
    smtp = bench.smtp()
    pid = smtp.process.pid
    fresh = use(pid)
    deliver(smtp)
    people = People(bench, smtp, WARM)
    deliver(smtp)
    people.tell("leave", "left")
    settle(pid, fresh[0])
    before = use(pid)
    notes, peaks, afters = [], [], []
    for _ in range(ROUNDS):
        people = People(bench, smtp)
        count = people.count
        expect(count >= 1000, f"only {count} connections could be opened")
        peaks.append(use(pid)[1])
        each = (peaks[-1] - before[1]) / count
        expect(each <= EACH_KIB, f"an idle connection costs {each:.1f} KiB")
        started = time.monotonic()
        deliver(smtp)
        took = time.monotonic() - started
        people.tell("leave", "left")
        allowed = before[1] * 1.1
        settle(pid, before[0], allowed)
        after = use(pid)
        afters.append(after[1])
        notes.append(f"{took * 1000:.0f} ms")
        expect(after[0] <= before[0] * 1.1 + 1, f"descriptors: {before[0]} before, {after[0]} after")
        expect(after[1] <= allowed, f"memory: {before[1]} KiB before, {peaks[-1]} meanwhile, {after[1]} after")
    people = People(bench, smtp)
    started = time.monotonic()
    smtp.stop()
    stopped = time.monotonic() - started
    closed, goodbyes = people.ask("heard").split()
    expect_equal((int(closed), int(goodbyes)), (people.count, people.count), "closed connections and goodbyes")
    expect_equal(bench.mail.joinpath("linhphan.mbox").read_bytes().count(b"From <"), 2 + ROUNDS, "messages")
    return (f"{count} connections, {(peaks[-1] - before[1]) / count:.1f} KiB each; a mail meanwhile in {', '.join(notes)};"
            f" memory {before[1]} KiB before, {peaks} meanwhile, {afters} after; stopped in {stopped:.2f} s")


class People:
    def __init__(self, bench, server, count=CROWD):
        self.process = bench.start([sys.executable, str(CROWD_SCRIPT), str(server.port), str(count)],
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


def settle(pid, descriptors, memory_kib=None):
    """Waits until the server has noticed that its clients are gone, and has given back what they had."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        open_now, resident = use(pid)
        if open_now <= descriptors and (memory_kib is None or resident <= memory_kib):
            return
        time.sleep(0.01)    # between two looks: the server needs the processor more


def deliver(server):
    with talk.Smtp(server.port) as client:
        client.send(b"Subject: x\r\n\r\nx\r\n", "linhphan")
        client.quit()


CHECKS = {"pressure.ten-thousand": (ten_thousand, 120)}
