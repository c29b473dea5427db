# SPDX-License-Identifier: Apache-2.0
"""What an answer cost when it was last recorded, and whether it now costs more.

baseline.json holds figures of mcseal, and of nginx in the same boot as a yardstick, with everything
that they depend on beside mcseal: kernel, libraries, compiler, emulator. Where all of that is as
recorded, instructions are compared with instructions. Where it is not (a security update of the
kernel, another Debian), multiples of the yardstick are: what a new kernel does to sockets it does
to both. Limits are wider then, by as much as the yardstick itself has moved.
"""
import dataclasses
import json
import pathlib

PATH = pathlib.Path(__file__).resolve().parent / "baseline.json"
YARDSTICK = "nginx"
FIGURES = ("proxy", "total")
# By how much a figure may grow: above what two runs of the same program differ by.
LIMIT = {1: 0.03}
LIMIT_MANY = 0.06


@dataclasses.dataclass(frozen=True)
class Case:
    role: str
    subject: str
    connections: int
    words: int

    @property
    def yardstick(self):
        return dataclasses.replace(self, subject=YARDSTICK)

    @property
    def limit(self):
        return LIMIT.get(self.connections, LIMIT_MANY)

    def __str__(self):
        return (f"{self.role}, {self.subject}, {self.connections} "
                f"connection{'s'[:self.connections > 1]}, {self.words} "
                f"word{'s'[:self.words > 1]}")


@dataclasses.dataclass(frozen=True)
class Verdict:
    good: bool
    text: str


def case_of(row):
    return Case(row["role"], row["subject"], row["connections"], row["words"])


def load(path=PATH):
    """{"why", "surroundings": {name: version}, "figures": {Case: {"proxy", "total"}}}"""
    stored = json.loads(path.read_text())
    stored["figures"] = {case_of(row): {name: row[name] for name in FIGURES}
                         for row in stored["figures"]}
    return stored


def store(why, surroundings, figures, path=PATH):
    """A figure on each line: a change is read in a diff."""
    rows = [json.dumps({**dataclasses.asdict(case),
                        **{name: round(found[name]) for name in FIGURES}})
            for case, found in figures.items()]
    head = json.dumps({"why": why, "surroundings": surroundings}, indent=1)
    path.write_text(head[:-2] + ',\n "figures": [\n  ' + ",\n  ".join(rows) + "\n ]\n}\n")


def surroundings_changed(recorded, present):
    """What is not as it was recorded, in words."""
    return [f"{name} {recorded.get(name)} -> {present.get(name)}"
            for name in sorted({*recorded, *present}) if recorded.get(name) != present.get(name)]


def one(case, name, recorded, measured, same):
    """A figure of a case against the record."""
    then, now = recorded[case][name], measured[case][name]
    growth, allowed, how = now / then - 1, case.limit, ""
    if not same:
        drift = measured[case.yardstick][name] / recorded[case.yardstick][name] - 1
        growth = (1 + growth) / (1 + drift) - 1
        allowed += abs(drift)
        how = f" beside {YARDSTICK}, which has {drift:+.1%}"
    return Verdict(growth <= allowed,
                   f"{case}, {name}: {now:,.0f}, recorded {then:,.0f}: {growth:+.1%}{how}; "
                   f"at most {allowed:+.1%}")


def compare(recorded, measured, same):
    """Verdicts on all recorded figures of mcseal. `recorded`, `measured`: {Case: {name: figure}}; a
    case that was not measured, or has no record, is none of which nothing is said: it fails."""
    verdicts = []
    for case in dict.fromkeys((*recorded, *measured)):
        if case.subject == YARDSTICK:
            continue
        needed = [(case, recorded, "recorded"), (case, measured, "measured")]
        if not same:
            needed += [(case.yardstick, recorded, "recorded"), (case.yardstick, measured, "measured")]
        missing = [f"{where} not {what}" for where, figures, what in needed if where not in figures]
        if missing:
            verdicts.append(Verdict(False, "; ".join(missing)))
        else:
            verdicts += [one(case, name, recorded, measured, same) for name in FIGURES]
    if not verdicts:
        verdicts.append(Verdict(False, "nothing recorded, nothing measured"))
    return verdicts


def lesser(first, second):
    """Of two measurements the cheaper figure each: what disturbs adds."""
    return {case: {name: min(found[name] for found in (first.get(case), second.get(case)) if found)
                   for name in FIGURES} for case in {**first, **second}}


def changes(recorded, measured):
    """Lines for the commit message of a new record."""
    lines = []
    for case, found in measured.items():
        before = recorded.get(case)
        moved = f" ({found['proxy'] / before['proxy'] - 1:+.1%})" if before else " (new)"
        lines.append(f"{case}: {found['proxy']:,.0f}{moved}")
    return lines
