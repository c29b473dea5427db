# SPDX-License-Identifier: Apache-2.0
"""A user whose pages of pipes are taken: /proc/sys/fs/pipe-user-pages-soft, pipe(7).

The limit itself stays as it is: it is the whole machine's, and other tests run beside.
"""
import contextlib
import subprocess
import sys

# Takes pages as long as it gets a pipe of full size, gives the first ones back, says so, waits.
GREEDY = """
import fcntl, os, sys
F_SETPIPE_SZ, F_GETPIPE_SZ = 1031, 1032
first = [os.pipe() for _ in range(int(sys.argv[1]))]
kept = []
while True:
    kept.append(os.pipe())
    if fcntl.fcntl(kept[-1][1], F_GETPIPE_SZ) < 65536:
        break
    try:
        fcntl.fcntl(kept[-1][1], F_SETPIPE_SZ, 1048576)
    except PermissionError:
        pass
for end in sum(first, ()):
    os.close(end)
print(len(kept), flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def taken(user, but=0):
    """Another program of that user (a number) has all its pages, but those of so many pipes."""
    with subprocess.Popen([sys.executable, "-c", GREEDY, str(but)], stdin=subprocess.PIPE,
                          text=True, stdout=subprocess.PIPE, user=user, group=user,
                          extra_groups=[]) as popen:
        try:
            assert int(popen.stdout.readline()) > 1
            yield
        finally:
            popen.kill()
