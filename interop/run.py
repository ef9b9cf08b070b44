#!/usr/bin/env python3
"""Other mail programs against the real servers: `python3 interop/run.py [--kit DIR] [--bin DIR] [--only NAME]`.

Prints a line for each check and a closing line `N passed, N failed`. Exit status: 0 all passed, 1 something failed,
64 wrong usage, 66 the servers are not built, 69 a program that is needed is not installed. Nothing is ever skipped, but
what the machine does not allow: that is said, and counted as not run.
"""

import argparse
import contextlib
import itertools
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback

import check_big
import check_curl
import check_foreign
import check_forward
import check_hostile
import check_kills
import check_kit
import check_locks
import check_mutt
import check_numbered
import check_pressure
import check_procmail
import check_python
import check_resolver
import check_self
import check_together
import needed
from bench import Bench, Failed, NotRun

MODULES = [check_self, check_curl, check_python, check_mutt, check_procmail, check_locks, check_foreign,
           check_together, check_kills, check_numbered, check_forward, check_resolver, check_big, check_pressure, check_hostile]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, metavar="DIR", help="where smtp and pop3 are (target/release)",
                        default=pathlib.Path(__file__).resolve().parent.parent / "target" / "release")
    parser.add_argument("--kit", type=pathlib.Path, metavar="DIR", help="run the client kit in DIR as well")
    parser.add_argument("--only", action="append", metavar="NAME", help="only checks whose name starts so (repeatable)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32),
                        help="repeats the random choices of a run (not its timing)")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="run each check N times")
    parser.add_argument("--list", action="store_true", help="print the checks and exit")
    options = parser.parse_args()

    checks = {name: check for module in MODULES + ([check_kit] if options.kit else [])
              for name, check in module.CHECKS.items()}
    if options.only:
        unknown = [name for name in options.only if not any(check.startswith(name) for check in checks)]
        if unknown:
            parser.error(f"no check is called {', '.join(unknown)}; there are {', '.join(checks)}")
        checks = {name: check for name, check in checks.items() if name.startswith(tuple(options.only))}
    if options.list:
        for name, (check, _) in checks.items():
            print(f"{name}: {_title(check)}")
        return 0
    if (status := needed.missing(options.bin, options.kit, checks)) is not None:
        return status
    return _run(checks, options)


def _run(checks, options):
    print(f"seed {options.seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))     # ends what was started, as Ctrl+C does
    top = pathlib.Path(tempfile.mkdtemp(prefix="pillarbox-interop-"))
    passed, failed, not_run = 0, 0, 0
    for name, turn in itertools.product(checks, range(options.repeat)):
        check, limit_s = checks[name]
        bench = Bench(options.bin.resolve(), top / f"{name}-{turn}", random.Random(f"{options.seed} {name} {turn}"),
                      options.kit)
        started = time.monotonic()
        try:
            note = _one(check, bench, limit_s)
        except NotRun as why:
            not_run += 1
            print(f"NOT RUN  {name}: {_title(check)}\n      {why}", flush=True)
        except Exception as fault:      # a check must not take the others with it
            failed += 1
            print(f"FAIL  {name}: {_title(check)}\n      {_words(fault)}\n      kept in {bench.folder}", flush=True)
        else:
            passed += 1
            print(f"ok    {name}: {_title(check)} ({time.monotonic() - started:.1f} s)"
                  + (f"\n      {note}" if note else ""), flush=True)
            shutil.rmtree(bench.folder)
    with contextlib.suppress(OSError):
        top.rmdir()                     # stays where a check failed: its folder shows what happened
    print(f"{passed} passed, {failed} failed" + (f", {not_run} NOT RUN" if not_run else ""))
    return 1 if failed or not passed else 0


def _one(check, bench, limit_s):
    """Runs a check with an end to its time; its servers must then stop in good order."""
    def late(*_):
        raise Failed(f"not finished after {limit_s} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(limit_s)
    try:
        note = check(bench)
        bench.stop_servers()
        return note
    finally:
        signal.alarm(0)
        bench.end_everything()


def _title(check):
    return check.__doc__.strip().splitlines()[0]


def _words(fault):
    """What a fault says; for one that is no finding but an accident, also where it happened."""
    if isinstance(fault, Failed):
        return str(fault)
    where = traceback.extract_tb(fault.__traceback__)
    ours = [f"{pathlib.Path(frame.filename).name}:{frame.lineno}" for frame in where if "interop" in frame.filename]
    return f"{type(fault).__name__}: {fault} (at {' < '.join(reversed(ours))})"


if __name__ == "__main__":
    sys.exit(main())
