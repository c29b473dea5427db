# SPDX-License-Identifier: Apache-2.0
"""Tables of where a proxy's instructions go, from perf's samples of a guest."""
import collections
import pathlib
import re
import subprocess

LEAST = 0.002
# "    ffffffff81a0b1c2 tcp_ack+0x12 ([kernel.kallsyms])"
FRAME = re.compile(r"\s+[0-9a-f]+ (?P<function>\S+) \((?P<place>[^)]*)\)$")

NOTE = """\
Instructions for an answer, their share of the proxy's. Sampled by a clock (perf, cpu-clock): what
runs with interrupts off is charged to where they come on again, mostly finish_task_switch and
_raw_spin_unlock_irqrestore. [unknown]: functions of a library that has no symbols.
"""


class Shares:
    """Of the proxy's samples: where they are, and which functions they are in or below."""

    def __init__(self):
        self.all, self.alone, self.below = 0, collections.Counter(), collections.Counter()

    def add(self, chain):
        if not chain:
            return
        self.all += 1
        self.alone[chain[0]] += 1
        for function in set(chain):
            self.below[function] += 1


def read(found, symbols):
    """Samples of the processes of `found`, each the chain of functions from the innermost on."""
    shares, mine, chain = Shares(), False, []
    processes = {str(pid) for pid in found["processes"]}
    script = subprocess.run(["perf", "script", "-i", found["samples"], "--kallsyms", symbols, "-F",
                             "pid,ip,sym,dso"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            text=True, check=True).stdout
    for line in script.splitlines():
        frame = FRAME.match(line)
        if frame and mine:
            chain.append((pathlib.Path(frame["place"]).name, frame["function"]))
        elif line and not frame:
            shares.add(chain)
            mine, chain = line.split()[0] in processes, []
    shares.add(chain)
    return shares


def table(title, found, counts, everything):
    lines = [f"{title}:", ""]
    for (place, function), count in counts.most_common():
        share = count / everything
        if share >= LEAST:
            lines.append(f"{share * found['proxy']:8,.0f} {share:7.2%}  {place:18} {function}")
    return "\n".join(lines)


def tables(version, found, symbols):
    """The page of one profile. `found`: a row with its samples; `symbols`: the guest's kallsyms."""
    shares = read(found, symbols)
    head = (f"{found['subject']} as {found['role']}, {found['connections']} connections, "
            f"{found['words']} words, Linux {version}: {found['proxy']:,.0f} instructions of the "
            f"proxy for an answer, {found['total']:,.0f} of the whole machine")
    return "\n".join((head, NOTE, table("Alone", found, shares.alone, shares.all), "",
                      table("With what it calls", found, shares.below, shares.all), ""))
