#!/usr/bin/env python3
"""Writes what was measured into docs/performance.md: tables, and three plots in docs/performance/.

    bench/report.py [--load FILE] [--criterion DIR] [--side FILE] [--command TEXT]...

FILE of --load is what the program `load` has written, DIR of --criterion what criterion has left, FILE of --side the
report of the side-by-side harness. What is not there is left out, and its part of the page stays as it was. The page
is kept but for what stands between the marks `<!-- NAME -->` and `<!-- end NAME -->`.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
PLOTS = ROOT / "docs" / "performance"

NAMES = {
    "S2": "S2: 4 KB mail, 50 sessions, 1 mailbox",
    "S3": "S3: 4 KB mail, 50 sessions, 100 mailboxes",
    "N1": "4 KB mail, 1 session, 1 mailbox",
    "N10": "4 KB mail, 10 sessions, 1 mailbox",
    "N100": "4 KB mail, 100 sessions, 1 mailbox",
    "N1000": "4 KB mail, 1,000 sessions, 1 mailbox",
    "P1-1": "P1: login, STAT, QUIT, one session at a time",
    "P1-50": "P1: the same, 50 sessions",
    "P2-first": "P2: 100,000 messages of 4 KB, first time",
    "P2-second": "P2: the same again",
    "P3-4K-first": "P3: RETR of 20,000 x 4 KB",
    "P3-4K-again": "P3: the same again",
    "P3-10M-first": "P3: RETR of 20 x 10 MB",
    "P3-10M-again": "P3: the same again",
}
SESSIONS = [("N1", 1), ("N10", 10), ("N100", 100), ("N1000", 1000)]
OPENED = ["O3", "O4", "O5", "O6"]


def number(value):
    """Three digits, or all that stand in front of the point."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


class Runs:
    """The runs of all workloads."""

    def __init__(self, path):
        self.rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]

    def values(self, workload, metric):
        return [row[metric] for row in self.rows if row["workload"] == workload and metric in row]

    def median(self, workload, metric):
        values = self.values(workload, metric)
        return statistics.median(values) if values else None

    def cell(self, workload, metric):
        values = self.values(workload, metric)
        if not values:
            return ""
        text = number(statistics.median(values))
        return text if len(values) == 1 else f"{text} ({number(min(values))}–{number(max(values))})"


def table(runs, workloads, columns):
    """A table of medians and ranges; `columns` are pairs of heading and metric."""
    lines = ["| | " + " | ".join(heading for heading, _ in columns) + " | others' CPU | runs |"]
    lines.append("|---|" + "---:|" * (len(columns) + 2))
    for name in workloads:
        shares = runs.values(name, "foreign_cpu_share")
        if shares:
            cells = [runs.cell(name, metric) for _, metric in columns]
            busy = f"{statistics.median(shares) * 100:.0f} %"
            lines.append(f"| {NAMES.get(name, name)} | " + " | ".join(cells) + f" | {busy} | {len(shares)} |")
    return "\n".join(lines) + "\n"


def load_part(runs):
    mail = [
        ("messages/s", "accepted_per_s"),
        ("p50 ms", "lat_ms_p50"),
        ("p99 ms", "lat_ms_p99"),
        ("CPU ms per message", "cpu_ms_per_msg"),
        ("peak RSS MB", "peak_rss_mb"),
        ("lost", "lost"),
        ("refused", "refused"),
    ]
    logins = [
        ("sessions/s", "sessions_per_s"),
        ("p50 ms", "lat_ms_p50"),
        ("p99 ms", "lat_ms_p99"),
        ("CPU ms per session", "cpu_ms_per_session"),
        ("peak RSS MB", "peak_rss_mb"),
        ("failed", "failed"),
    ]
    opening = [
        ("login and STAT s", "login_s"),
        ("UIDL s", "uidl_s"),
        ("LIST s", "list_s"),
        ("CPU s", "cpu_s"),
        ("peak RSS MB", "peak_rss_mb"),
    ]
    fetching = [
        ("MB/s", "mb_per_s"),
        ("messages/s", "msgs_per_s"),
        ("CPU ms per message", "cpu_ms_per_msg"),
        ("peak RSS MB", "peak_rss_mb"),
    ]
    for digits in "3456":
        NAMES[f"O{digits}-first"] = f"{10 ** int(digits):,} messages of 1 KB, first time"
        NAMES[f"O{digits}-second"] = "the same again"
    parts = ["Mail that is sent:\n", table(runs, ["S2", "S3"] + [name for name, _ in SESSIONS], mail)]
    parts += ["Mailboxes that are opened:\n", table(runs, ["P1-1", "P1-50"], logins)]
    names = ["P2-first", "P2-second"] + [f"{name}-{turn}" for name in OPENED for turn in ("first", "second")]
    parts.append(table(runs, names, opening))
    parts += ["Mail that is fetched:\n", table(runs, [name for name in NAMES if name.startswith("P3")], fetching)]
    return "\n".join(parts)


def criterion_part(folder):
    lines = ["| | MB/s | ns per KB |", "|---|---:|---:|"]
    for found in sorted(folder.glob("**/new/benchmark.json")):
        about = json.loads(found.read_text())
        estimates = json.loads((found.parent / "estimates.json").read_text())
        nanoseconds = estimates["median"]["point_estimate"]
        octets = about["throughput"]["Bytes"]
        speed, each = octets / nanoseconds * 1e3, nanoseconds / octets * 1024
        lines.append(f"| {about['full_id']} | {number(speed)} | {number(each)} |")
    return "\n".join(lines) + "\n"


def side_part(path):
    """The report of the harness, its headings below ours."""
    return path.read_text().strip() + "\n"


def machine_part(commands):
    def first(path, name):
        for line in Path(path).read_text().splitlines():
            if line.startswith(name):
                return line.split(":", 1)[1].strip()
        return "unknown"

    def said(*command):
        try:
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
            return done.stdout.strip() or "unknown"
        except OSError:
            return "unknown"

    memory = int(first("/proc/meminfo", "MemTotal").split()[0]) / 1024 / 1024
    lines = [
        f"- {os.cpu_count()} processors ({first('/proc/cpuinfo', 'model name')}), {memory:.0f} GiB of memory",
        f"- Linux {platform.release().split('-')[0]}, folder of the mailboxes on {said('stat', '-f', '-c', '%T', '/tmp')}",
        f"- {said('rustc', '--version')}; commit {said('git', 'rev-parse', '--short', 'HEAD')}, {time.strftime('%Y-%m-%d')}",
        f"- load average at the end: {' '.join(Path('/proc/loadavg').read_text().split()[:3])}",
    ]
    lines += [f"- `{command}`" for command in commands]
    return "\n".join(lines) + "\n"


def replace(page, name, text):
    begin, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    head, found, rest = page.partition(begin)
    _, ends, tail = rest.partition(end)
    if not found or not ends:
        sys.exit(f"{PAGE}: where are the marks of {name}?")
    return f"{head}{begin}\n\n{text}\n{end}{tail}"


def ticks(low, high, log):
    if log:
        return [10**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    step = 10 ** math.floor(math.log10(high))
    step = next(step * factor for factor in (0.1, 0.2, 0.5, 1, 2) if high / (step * factor) <= 6)
    return [step * index for index in range(math.ceil(high / step) + 1)]


def plot(path, title, x_label, y_label, series, log_y):
    """A plot of lines in SVG, x logarithmic. `series`: pairs of name and points, each with x, median, least, most."""
    series = [(name, points) for name, points in series if points]
    if not series:
        return
    width, height, left, top, right, bottom = 640, 360, 70, 36, 20, 52
    points = [point for _, points in series for point in points]
    x_ticks = ticks(min(point[0] for point in points), max(point[0] for point in points), True)
    y_ticks = ticks(min(point[2] for point in points), max(point[3] for point in points), log_y)

    def x(value):
        span = math.log10(x_ticks[-1] / x_ticks[0])
        return left + (width - left - right) * math.log10(value / x_ticks[0]) / span

    def y(value):
        if log_y:
            part = math.log10(max(value, y_ticks[0]) / y_ticks[0]) / math.log10(y_ticks[-1] / y_ticks[0])
        else:
            part = value / y_ticks[-1]
        return height - bottom - (height - top - bottom) * part

    def text(at_x, at_y, what, anchor="middle", more=""):
        return f'<text x="{at_x:.1f}" y="{at_y:.1f}" text-anchor="{anchor}" {more}>{what}</text>'

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        text(width / 2, 20, title, more='font-size="14"'),
        text((left + width - right) / 2, height - 10, x_label),
        text(16, (top + height - bottom) / 2, y_label, more=f'transform="rotate(-90 16 {(top + height - bottom) / 2})"'),
    ]
    for value in x_ticks:
        out.append(f'<path d="M{x(value):.1f} {top}V{height - bottom}" stroke="#ddd"/>')
        out.append(text(x(value), height - bottom + 16, f"{value:,}"))
    for value in y_ticks:
        out.append(f'<path d="M{left} {y(value):.1f}H{width - right}" stroke="#ddd"/>')
        out.append(text(left - 6, y(value) + 4, f"{value:,.10g}", "end"))
    for index, (name, points) in enumerate(series):
        color = ("#0060a8", "#c04000", "#207020")[index % 3]
        line = " ".join(f"{x(point[0]):.1f},{y(point[1]):.1f}" for point in points)
        out.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        for at, median, least, most in points:
            out.append(f'<path d="M{x(at):.1f} {y(least):.1f}V{y(most):.1f}" stroke="{color}"/>')
            out.append(f'<circle cx="{x(at):.1f}" cy="{y(median):.1f}" r="3" fill="{color}"/>')
        if len(series) > 1:
            out.append(text(left + 10, top + 16 + 16 * index, name, "start", f'fill="{color}"'))
    out.append("</svg>\n")
    path.write_text("\n".join(out))


def points(runs, workloads, metric):
    found = []
    for at, name in workloads:
        values = runs.values(name, metric)
        if values:
            found.append((at, statistics.median(values), min(values), max(values)))
    return found


def plots(runs):
    PLOTS.mkdir(exist_ok=True)
    sessions = [(count, name) for name, count in SESSIONS]
    rate = points(runs, sessions, "accepted_per_s")
    plot(PLOTS / "messages.svg", "Mail accepted, 4 KB, one mailbox", "sessions", "messages per second", [("", rate)], False)
    memory = points(runs, sessions, "peak_rss_mb")
    plot(PLOTS / "memory.svg", "Resident memory, at its peak", "sessions", "MB", [("", memory)], False)
    opened = [
        (turn, points(runs, [(10 ** int(name[1]), f"{name}-{which}") for name in OPENED], "login_s"))
        for turn, which in (("first time", "first"), ("again", "second"))
    ]
    plot(PLOTS / "open.svg", "Time to open a mailbox, 1 KB messages", "messages", "seconds", opened, True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--load", type=Path)
    parser.add_argument("--criterion", type=Path)
    parser.add_argument("--side", type=Path)
    parser.add_argument("--command", action="append", default=[])
    options = parser.parse_args()
    page = PAGE.read_text()
    if options.load and options.load.exists():
        runs = Runs(options.load)
        page = replace(page, "load", load_part(runs))
        page = replace(page, "machine", machine_part(options.command))
        plots(runs)
    if options.criterion and options.criterion.exists():
        page = replace(page, "parsers", criterion_part(options.criterion))
    if options.side and options.side.exists():
        page = replace(page, "side", side_part(options.side))
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
