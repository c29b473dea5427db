# SPDX-License-Identifier: Apache-2.0
"""kernel.md: the tables and goals of bench/kernel."""
import statistics

AGAINST = "nginx"
DEFAULT = "mcseal"
# With kernel TLS: all but mcseal:user.
ENGINES = ("mcseal", "mcseal:splice", "mcseal:uring-splice", "mcseal:copy", "mcseal:epoll")
# connections: at most this multiple of nginx in user space, for the best engine
BARS = {64: 0.80, 1: 0.88}
DEFAULT_BAR = 1.10  # of the best engine
IDLE_BAR = 12  # KiB


def table(head, lines):
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head),
            *("| " + " | ".join(line) + " |" for line in lines), ""]


class Results:
    """Medians over the boots."""

    def __init__(self, raw):
        self.raw = raw
        self.rows = {self.key(row): row for row in raw["rows"]}

    @staticmethod
    def key(row):
        kind = ("idle",) if "idle" in row else (row["connections"], row["words"])
        return (row["kernel"], row["role"], row["subject"], *kind)

    def figure(self, kernel, role, subject, kind, name):
        row = self.rows.get((kernel, role, subject, *kind))
        return statistics.median(one[name] for one in row["samples"]) if row else None

    def ratio(self, kernel, role, subject, kind, name="proxy", against=AGAINST):
        ours = self.figure(kernel, role, subject, kind, name)
        theirs = self.figure(kernel, role, against, kind, name)
        return ours / theirs if ours and theirs else None

    def values(self, place):
        return list(dict.fromkeys(key[place] for key in self.rows))

    def kinds(self):
        """(connections, words) that were measured, one word first."""
        return sorted({key[3:] for key in self.rows if key[3] != "idle"}, key=lambda one: one[::-1])

    def spread(self, connections, name):
        """The most that two boots differ by, as a share."""
        found = [0.0]
        for key, row in self.rows.items():
            values = [one[name] for one in row["samples"] if name in one]
            if key[3] == connections and len(values) > 1 and min(values):
                found.append(max(values) / min(values) - 1)
        return max(found)


def kind_name(kind):
    return f"{kind[0]} connection{'s'[:kind[0] > 1]}, {kind[1]} word{'s'[:kind[1] > 1]}"


def met(good):
    return "met" if good else "**not met**"


# --- goals -------------------------------------------------------------------------------------------


def goal_lines(results, kernel, role, kind):
    """Best engine beside nginx, and the default engine beside the best."""
    found = {engine: results.figure(kernel, role, engine, kind, "proxy") for engine in ENGINES}
    found = {engine: figure for engine, figure in found.items() if figure}
    theirs = results.figure(kernel, role, AGAINST, kind, "proxy")
    if not found or not theirs or kind[0] not in BARS:
        return
    best = min(found, key=found.get)
    ratio, bar = found[best] / theirs, BARS[kind[0]]
    line = [results.raw["kernels"][kernel], role, kind_name(kind), best, f"{ratio:.3f} x {AGAINST}",
            f"{bar:.2f}", met(ratio <= bar)]
    if DEFAULT in found:
        beside = found[DEFAULT] / found[best]
        line += [f"{beside:.3f}", f"{DEFAULT_BAR:.2f}", met(beside <= DEFAULT_BAR)]
    else:
        line += ["-"] * 3
    yield line


def goals(results):
    lines = [line for kernel in results.values(0) for role in results.values(1)
             for kind in results.kinds() for line in goal_lines(results, kernel, role, kind)]
    if not lines:
        return []
    return ["## Goals: the proxy's instructions for an answer", "",
            *table(["kernel", "role", "", "best engine", "", "goal", "", "default / best", "goal",
                    ""], lines)]


# --- figures -----------------------------------------------------------------------------------------


def cell(results, kernel, role, subject, kind):
    total, proxy = (results.figure(kernel, role, subject, kind, name) for name in ("total", "proxy"))
    if total is None:
        return "-"
    if subject == "direct":
        return f"{total / 1000:.1f}"
    ratio = results.ratio(kernel, role, subject, kind)
    return f"{total / 1000:.1f} / {proxy / 1000:.1f}" + (f" ({ratio:.2f})" if ratio else "")


def kernel_tls(results, kernel, role, subject):
    """What of its sessions the kernel encrypts and decrypts."""
    for kind in results.kinds():
        row = results.rows.get((kernel, role, subject, *kind))
        if row and subject != "direct":
            sends, receives = (share == 1 for share in row["samples"][0]["kernel_tls"])
            return {(True, True): "both ways", (True, False): "sends"}.get((sends, receives), "no")
    return "-"


def figures(results, kernel):
    text = [f"## {results.raw['kernels'][kernel]}", ""]
    for role in results.values(1):
        subjects = [one for one in results.values(2) if any(
            (kernel, role, one, *kind) in results.rows for kind in results.kinds())]
        text += table([f"**{role}**", "kernel TLS", *map(kind_name, results.kinds())],
                      [[subject, kernel_tls(results, kernel, role, subject),
                        *(cell(results, kernel, role, subject, kind) for kind in results.kinds())]
                       for subject in subjects])
    return text


# --- memory ------------------------------------------------------------------------------------------


def memory_line(results, kernel, role, subject):
    user, tables, everything, ends = (
        results.figure(kernel, role, one, ("idle",), name) for one, name in
        ((subject, "user_kib"), (subject, "tables_kib"), (subject, "kernel_all_kib"),
         ("direct", "kernel_all_kib")))
    in_kernel = everything - ends + tables
    bar = [f"{IDLE_BAR}", met(user + in_kernel <= IDLE_BAR)] if subject == DEFAULT else ["", ""]
    return [results.raw["kernels"][kernel], role, subject, f"{user:.1f}", f"{in_kernel:.1f}",
            f"{user + in_kernel:.1f}", *bar]


def memory(results):
    keys = [key for key in results.rows if key[3] == "idle" and key[2] != "direct" and
            (*key[:2], "direct", "idle") in results.rows]
    if not keys:
        return []
    sessions = results.rows[keys[0]]["idle"]
    return ["## Memory of a silent session, KiB", "", f"Of {sessions} that have carried one request.",
            "", *table(["kernel", "role", "", "user", "kernel", "both", "goal", ""],
                       [memory_line(results, *key[:3]) for key in keys])]


# --- the page ----------------------------------------------------------------------------------------


def evidence(results):
    """How far figures repeat, and that all connections were busy."""
    lines = []
    for connections in sorted({kind[0] for kind in results.kinds()}):
        samples = [one for key, row in results.rows.items() if key[3] == connections
                   for one in row["samples"]]
        busy, even = (min(one[name] for one in samples) for name in ("busy", "even"))
        apart = ", ".join(f"{name} {results.spread(connections, name):.1%}"
                          for name in ("total", "proxy"))
        repeat = f"; between {results.raw['rounds']} boots at most {apart}" \
            if results.raw["rounds"] > 1 else ""
        lines.append(f"- {connections} connection{'s'[:connections > 1]}: at any time at least "
                     f"{busy:.1f} requests out, the least served had {even:.0%} of the answers of "
                     f"the most served{repeat}.")
    return lines + [""]


def text(raw):
    results = Results(raw)
    lines = ["# Instructions for an answer, with kernel TLS", "",
             "Made by `make bench-kernel`; docs/performance.md tells how it is measured.", "",
             *table(["", ""], [[key, str(value)] for key, value in raw["about"].items()]),
             *goals(results),
             f"In the tables that follow: thousands of instructions, whole machine / proxy (proxy as "
             f"a multiple of {AGAINST} in user space); medians of {raw['rounds']} boots.", "",
             *evidence(results)]
    for kernel in results.values(0):
        lines += figures(results, kernel)
    lines += memory(results)
    if raw["failures"]:
        lines += ["## Not measured", "", *[
            f"- {one['kernel']}, {one['role']}, {one['subject']}: {one['failed'].splitlines()[0]}"
            for one in raw["failures"]], ""]
    return "\n".join(lines)
