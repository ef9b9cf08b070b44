"""Name servers and resolv.conf that fail: `forward` finds every mail host that the C library finds.

`python3 interop/check_resolver.py` prints the table of docs/resolver.md.
"""
# holds C-F8

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from bench import NotRun, expect
from resolver_case import CASES

AT_ONCE = 8
CASE_S = 150
NAMESPACE = ["unshare", "--net", "--mount", *(["--map-root-user"] if os.geteuid() else [])]


def _run(case, programs, folder):
    script = pathlib.Path(__file__).with_name("resolver_case.py")
    argv = [*NAMESPACE, sys.executable, str(script), case, str(programs / "forward"), str(folder)]
    run = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=CASE_S)
    expect(run.returncode == 0, f"{case}: status {run.returncode}: {run.stderr.decode()[-500:]}")
    return json.loads(run.stdout)


def _all(programs, folder):
    """What came of each case, in their order."""
    trial = subprocess.run([*NAMESPACE, "true"], stdin=subprocess.DEVNULL, capture_output=True)
    if trial.returncode:
        raise NotRun(f"no namespaces here: {trial.stderr.decode()[-200:]}")
    folders = [folder / str(number) for number in range(len(CASES))]
    for one in folders:
        one.mkdir(parents=True)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(CASES, pool.map(_run, CASES, [programs] * len(CASES), folders)))


def failures(bench):
    """every mail host that the C library finds, whatever fails, forward finds as well"""
    results = _all(bench.programs, bench.folder / "cases")
    worse = {case: result["said"] for case, result in results.items() if result["glibc"] and not result["ours"]}
    expect(not worse, f"found by the C library and not by forward: {worse}")
    expect(results["no failure"]["glibc"], "the C library does not even find what is sound: the check is no check")
    better = sum(result["ours"] and not result["glibc"] for result in results.values())
    return f"{len(results)} failures, {better} of which only forward gets over"


CHECKS = {"resolver.failures": (failures, 600)}


def main():
    programs = pathlib.Path(__file__).resolve().parent.parent / "target" / "release"
    with tempfile.TemporaryDirectory() as folder:
        results = _all(programs, pathlib.Path(folder))
    print("| failure | C library | `forward` |\n|---|---|---|")
    for case, result in results.items():
        print(f"| {case} |", " | ".join("found" if result[who] else "–" for who in ("glibc", "ours")), "|")


if __name__ == "__main__":
    main()
