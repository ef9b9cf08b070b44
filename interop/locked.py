"""Python's `mailbox.mbox`, used so that it is safe together with others.

`mailbox.mbox` opens the file in its constructor, before `lock()` can be called, and `flush()` after a removal renames a
new file over the old one. So a program that waited for the lock may hold a file that has no name any more, and what it
appends is lost. That is a fault of this way of use, not of the other programs: after the lock is had, the name must
still lead to the file that is open, or everything begins anew. (Our servers do the same, and never replace the file.)
"""

import contextlib
import mailbox
import os
import random
import time

WAIT_S = 60


@contextlib.contextmanager
def locked(path, wait_s=WAIT_S):
    """The mailbox at `path` with both locks (fcntl and dotlock) held. The caller flushes; leaving unlocks."""
    deadline = time.monotonic() + wait_s
    while True:
        box = mailbox.mbox(path, create=False)
        try:
            box.lock()
            # `_file` is private, but there is no other way to ask what the library has open.
            if os.fstat(box._file.fileno()).st_ino == os.stat(path).st_ino:
                break
            box.unlock()
        except mailbox.ExternalClashError:
            if time.monotonic() > deadline:
                box.close()
                raise
        box.close()
        time.sleep(random.uniform(0.002, 0.03))
    try:
        yield box
    finally:
        box.close()


def add(path, text):
    """Appends a text (LF line ends) as any Python program would."""
    with locked(path) as box:
        box.add(text)
        box.flush()


def take(path, most):
    """Removes up to `most` messages from the front; returns their texts once the removal is on disk."""
    with locked(path) as box:
        keys = box.keys()[:most]
        texts = [box.get_bytes(key) for key in keys]
        for key in keys:
            box.remove(key)
        try:
            box.flush()
        except mailbox.ExternalClashError:
            # The new file stands under the old name before `flush()` locks it. If another program tries that lock in
            # between (it gives it back, for the dotlock is held all the time), `flush()` complains of a removal that
            # is done: nothing is pending any more.
            if box._pending:
                raise
    return texts
