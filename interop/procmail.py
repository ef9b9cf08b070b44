"""procmail as a local delivery program: how it is started, and the file that tells it what to do."""

RCFILE = """\
# Everything to $BOX. The second colon: procmail's own dotlock, $BOX.lock. Its fcntl lock is built in.
# LOCKSLEEP: seconds between two tries for the dotlock (8 if not given).
SHELL=/bin/sh
LOCKSLEEP=1
DEFAULT=$BOX
VERBOSE=off
:0:
$BOX
"""


def write_rcfile(folder):
    path = folder / "procmailrc"
    path.write_text(RCFILE)
    path.chmod(0o600)
    return path


def command(box, rcfile):
    """Delivers its standard input (LF line ends) to the file `box`. -f: it writes a `From ` line only if told whose."""
    return ["procmail", "-f", "procmail@localhost", f"BOX={box}", str(rcfile)]
