"""What must be installed. A program that is missing fails the run: a check that is skipped would look like a pass."""

import os
import shutil
import sys

UNBUILT = 66
UNAVAILABLE = 69

# program: Debian package
PROGRAMS = {"curl": "curl", "python3": "python3", "mutt": "mutt", "mutt_dotlock": "mutt", "procmail": "procmail",
            "aiosmtpd": "python3-aiosmtpd", "strace": "strace", "unshare": "util-linux", "nsenter": "util-linux",
            "mount": "mount"}
# For the client kit, which reports a client that is missing as skipped.
KIT_PROGRAMS = {"thunderbird": "thunderbird", "Xvfb": "xvfb", "swaks": "swaks", "msmtp": "msmtp",
                "fetchmail": "fetchmail", "getmail": "getmail6", "mpop": "mpop", "s-nail": "s-nail", "perl": "perl",
                "neomutt": "neomutt", "alpine": "alpine", "java": "openjdk-17-jdk-headless",
                "javac": "openjdk-17-jdk-headless", "/usr/share/java/javax.mail.jar": "libmail-java",
                "openssl": "openssl"}


def missing(programs, kit, checks):
    """The exit status if something is missing, after saying what; None if all is there."""
    wanted = {**PROGRAMS, **(KIT_PROGRAMS if kit else {})}
    packages = sorted({package for program, package in wanted.items()
                       if not (shutil.which(program) or os.path.exists(program))})
    if packages:
        print(f"interop: Debian packages are missing; as root: apt-get install {' '.join(packages)}", file=sys.stderr)
        return UNAVAILABLE
    for program in ("smtp", "pop3", "forward", "pillarbox"):
        if not os.access(programs / program, os.X_OK):
            print(f"interop: no program {program} in {programs}: run make first, or give --bin DIR", file=sys.stderr)
            return UNBUILT
    if kit and not (kit / "clients.py").exists():
        print(f"interop: no client kit in {kit}", file=sys.stderr)
        return UNBUILT
    return None
