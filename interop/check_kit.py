"""The client kit of `--kit DIR`: Thunderbird and a dozen other real mail programs, each step judged by the kit.

A step that the kit calls `fail` or `skip` fails here, but for those that cannot work with a server that has no TOP.
The classic pop3 refuses TOP (C-P1: what is not in the list is `-ERR Not supported`), and these programs read mail with
it and with nothing else:

- mutt and neomutt ask `TOP n 0` for each message of a pop:// mailbox and give up when that is refused;
- fetchmail with --keep reads with `TOP n 99999999`.

So these three run in a check of their own. Their sending, and what the kit reads off the wire, must hold as everywhere;
the steps in `WANT_TOP` may fail, and only if what the kit recorded shows a TOP that was refused. The kit stops with
fetchmail there, so fetching without --keep (with RETR) is tried here, without the kit.
"""

import json
import os
import sys

import letters
from bench import Failed, expect, expect_equal
from talk import PASSWORD, Smtp, texts_of

USER = "linhphan"
WANT_TOP_CLIENTS = "mutt,neomutt,fetchmail"
WANT_TOP = {"mutt: read pop mailbox", "mutt: delete all", "neomutt: read pop mailbox", "neomutt: delete all",
            "fetchmail: fetch, keep on server"}
LIMIT_S = 300


# holds C-M3
def thunderbird(bench):
    """Thunderbird: account detection, sending, receiving, leaving on the server and deleting"""
    return _all_ok(_kit(bench, "thunderbird.py"))


def clients(bench):
    """the other clients of the kit, but for those that want TOP"""
    return _all_ok(_kit(bench, "clients.py", "--except", WANT_TOP_CLIENTS))


def clients_that_want_top(bench):
    """mutt, neomutt and fetchmail --keep: everything but reading with TOP, which the classic server refuses"""
    trace = bench.folder / "trace"
    steps = _kit(bench, "clients.py", "--only", WANT_TOP_CLIENTS, "--trace", str(trace))
    refused = _refused_top(trace)
    wanting = [step for step in steps if step["step"] in WANT_TOP and step["result"] != "ok"]
    for step in wanting:
        client = step["step"].partition(":")[0]
        expect(client in refused, f"{step['step']} failed, but not because of TOP: {step.get('reason')}")
    note = _all_ok([step for step in steps if step not in wanting and step["step"] != "all"])
    return f"{note}; refused as expected: {', '.join(sorted(step['step'] for step in wanting))}"


def _refused_top(trace):
    """The clients in whose recorded conversation a TOP was answered `-ERR Not supported`."""
    refused = set()
    for client in WANT_TOP_CLIENTS.split(","):
        lines = (trace / f"{client}.pop3.txt").read_text(errors="replace").splitlines()
        if any("C: TOP " in asked and "S: -ERR Not supported" in answer for asked, answer in zip(lines, lines[1:])):
            refused.add(client)
    return refused


def fetchmail_without_keep(bench):
    """fetchmail that fetches and deletes (RETR, DELE), and finds nothing the second time"""
    bench.mailbox(USER)
    smtp, pop3 = bench.smtp(), bench.pop3()
    got = bench.folder / "got"
    got.mkdir()
    take = bench.folder / "take.sh"
    take.write_text(f'#!/bin/sh\nexec cat >"$(mktemp {got}/XXXXXXXX)"\n')
    take.chmod(0o700)
    settings = bench.folder / "fetchmailrc"
    settings.write_text(f"poll ours via 127.0.0.1 proto POP3 port {pop3.port} timeout 20 uidl\n"
                        f" user {USER} password {PASSWORD} sslproto '' mda {take}\n")
    settings.chmod(0o600)
    with Smtp(smtp.port) as client:
        for number in range(3):
            client.send(letters.letter(f"letter-{number}", 2000, bench.rng), USER)
    command = ["fetchmail", "-f", str(settings), "--nosyslog", "--nodetach", "--nokeep", "--all", "--norewrite",
               "--pidfile", str(bench.folder / "pid"), "--idfile", str(bench.folder / "ids")]
    environment = {**os.environ, "HOME": str(bench.folder), "FETCHMAILHOME": str(bench.folder), "LC_ALL": "C"}
    status, out, error = bench.run(command, env=environment)
    expect(status == 0, f"fetchmail: status {status}, {out!r} {error!r}")
    expect_equal(sorted(letters.name_of(path.read_bytes()) for path in got.iterdir()),
                 ["letter-0", "letter-1", "letter-2"], "what fetchmail delivered")
    expect_equal(texts_of(pop3.port, USER), [], "what is left")
    status, out, error = bench.run(command, env=environment)
    expect(status == 1, f"fetchmail, second time: status {status} (1 is 'no mail'), {out!r} {error!r}")


def _kit(bench, script, *options):
    """Runs a program of the kit against fresh servers; its steps."""
    bench.mailbox(USER)
    smtp, pop3 = bench.smtp(), bench.pop3()
    argv = [sys.executable, str(bench.kit.resolve() / script),
            "--smtp-port", str(smtp.port), "--pop3-port", str(pop3.port), "--mailbox-dir", str(bench.mail),
            "--workdir", str(bench.folder / "work"), *options]
    # The kit may lie where nothing can be written.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    status, out, error = bench.run(argv, seconds=LIMIT_S - 20, env=environment, cwd=bench.folder)
    (bench.folder / f"{script}.json").write_bytes(out)
    try:
        steps = [json.loads(line) for line in out.splitlines()]
    except ValueError:
        raise Failed(f"{script} printed something that is no JSON: {out[-500:]!r}") from None
    expect(steps and steps[-1]["step"] == "all",
           f"{script} did not come to its end: status {status}, {out[-500:]!r}, {error[-500:]!r}")
    return steps


def _all_ok(steps):
    bad = [step for step in steps if step["result"] != "ok"]
    if bad:
        shown = "; ".join(f"{step['step']}: {step['result']} {step.get('reason', '')}" for step in bad)
        raise Failed(f"{len(bad)} of {len(steps)} steps: {shown[:3000]}")
    expect(len(steps) > 1, "the kit did nothing")
    return f"{sum(step['step'] != 'all' for step in steps)} steps ok"


CHECKS = {"kit.thunderbird": (thunderbird, LIMIT_S), "kit.clients": (clients, LIMIT_S),
          "kit.clients-that-want-top": (clients_that_want_top, LIMIT_S),
          "kit.fetchmail-without-keep": (fetchmail_without_keep, 60)}
