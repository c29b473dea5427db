# SPDX-License-Identifier: Apache-2.0
"""A program whose nth call of a kind fails: tests/judge/fail_calls.c, loaded into it."""
import contextlib
import errno
import mmap
import os
import struct

import lab

# In the order of enum call there.
CALLS = ("allocation", "accept4", "open", "mmap", "socket", "connect", "send", "sendmsg", "recv",
         "setsockopt", "getsockopt", "epoll_ctl", "eventfd", "pipe2", "write")
SLOT = struct.Struct("4Qq")
NEVER = 2 ** 64 - 1


class Faults:
    """Of one program after the other; shared with it by a file."""

    def __init__(self, path):
        path.write_bytes(SLOT.pack(0, NEVER, NEVER, 0, 0) * len(CALLS))
        self.env = {"LD_PRELOAD": str(lab.BUILD / "fail_calls.so"), "MCSEAL_FAULTS": str(path)}
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 0)

    def environment(self):
        return {**os.environ, **self.env}

    def _put(self, call, *values):
        SLOT.pack_into(self.memory, SLOT.size * CALLS.index(call), *values)

    def _get(self, call):
        return SLOT.unpack_from(self.memory, SLOT.size * CALLS.index(call))

    def seen(self, call):
        """Calls since the last arm()."""
        return self._get(call)[0]

    def failed(self, call):
        return self._get(call)[3]

    def arm(self, call, nth, count=1, error=errno.ENOMEM):
        """Of those from now on, the nth (from 0) and the next count - 1 fail."""
        self._put(call, 0, nth, min(nth + count, NEVER), 0, error)

    def disarm(self):
        for call in CALLS:
            self._put(call, 0, NEVER, NEVER, 0, 0)

    @contextlib.contextmanager
    def armed(self, call, nth, count=1, error=errno.ENOMEM):
        self.arm(call, nth, count, error)
        try:
            yield
        finally:
            self.last = self.failed(call)
            self.disarm()
