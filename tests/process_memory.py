# SPDX-License-Identifier: Apache-2.0
"""What lies in a process's memory. As root: our daemons forbid it to everybody else."""
import errno
import pathlib
import re


def areas(process):
    """(first, behind the last, VmFlags) of each writable mapping."""
    found = []
    for line in pathlib.Path(f"/proc/{process.pid}/smaps").read_text().splitlines():
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            found.append([*(int(word, 16) for word in head.groups()), ""] if head else None)
        elif line.startswith("VmFlags:") and found[-1]:
            found[-1][2] = line.split(":", 1)[1].split()
    return [area for area in found if area]


def read_area(memory, first, behind):
    memory.seek(first)
    content = b""
    while len(content) < behind - first:
        piece = memory.read(behind - first - len(content))
        if not piece:
            break
        content += piece
    return content


def places(process, wanted):
    """VmFlags of every area that holds the bytes `wanted`, once for each time.

    The heap may shrink between the look at its bounds and the read: then all is read again.
    """
    for turn in range(5):
        found = []
        try:
            with open(f"/proc/{process.pid}/mem", "rb", buffering=0) as memory:
                for first, behind, flags in areas(process):
                    found += [flags] * read_area(memory, first, behind).count(wanted)
            return found
        except OSError as error:
            if error.errno != errno.EIO or turn == 4:
                raise
    return found
