# SPDX-License-Identifier: Apache-2.0
"""report.md and its plots from the results of a run."""
import re
import shutil
import statistics
import subprocess

import scenarios

# figure: (words, unit, decimals)
FIGURES = {
    "cpu": ("CPU per answer", "µs", 1), "calls": ("system calls per answer", "", 2),
    "per_second": ("answers a second", "", 0), "p50": ("p50", "µs", 1), "p99": ("p99", "µs", 1),
    "late": ("late", "", 0), "resumed": ("resumed", "share", 2),
    "user_kib": ("user", "KiB", 1), "kernel_kib": ("kernel", "KiB", 1),
    "both_kib": ("both", "KiB", 1), "capacity": ("answers a second, closed loop", "", 0),
    "memory_mib": ("memory after it", "MiB", 1),
}


class Results:
    def __init__(self, results):
        self.rows = {(row["scenario"], row["role"], row["subject"]): row
                     for row in results["rows"]}

    def figure(self, scenario, role, subject, figure):
        row = self.rows.get((scenario, role, subject))
        return row["figures"].get(figure) if row else None

    def subjects(self, scenario, role):
        return [key[2] for key in self.rows if key[:2] == (scenario, role)]

    def roles(self, scenario):
        return [role for role in scenarios.ROLES if self.subjects(scenario, role)]

    def ratio(self, scenario, role, subject, base, figure):
        """(median, least, most) of subject / base, round by round: what disturbs a round
        disturbs both in it."""
        pair = [self.figure(scenario, role, one, figure) for one in (subject, base)]
        if not all(pair):
            return None
        ratios = [one / other for one, other in zip(pair[0]["samples"], pair[1]["samples"])
                  if other]
        return (statistics.median(ratios), min(ratios), max(ratios)) if ratios else None


def number(found, figure):
    return f"{found:,.{FIGURES[figure][2]}f}"


def spread(ratio):
    return f"{ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f})" if ratio else "-"


def table(head, lines):
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head),
            *("| " + " | ".join(line) + " |" for line in lines), ""]


# --- goals -------------------------------------------------------------------------------------------


def best_peer(results, bar, role):
    """The peer with the smallest median."""
    found = [(results.figure(bar.scenario, role, peer, bar.figure)["median"], peer)
             for peer in scenarios.PEERS if results.figure(bar.scenario, role, peer, bar.figure)]
    return min(found)[1] if found else None


def goal(results, bar, role):
    title = scenarios.SCENARIOS[bar.scenario].title
    words, unit, _ = FIGURES[bar.figure]
    ours = results.figure(bar.scenario, role, "mcseal", bar.figure)
    line = [f"{title}: {words}", role]
    if not ours:
        return None
    measured = f"{number(ours['median'], bar.figure)} {unit}".strip()
    if not bar.against:
        met = ours["median"] <= bar.factor
        return [*line, measured, "", f"at most {bar.factor:g} {unit}".strip(),
                "met" if met else "**not met**"]
    peer = best_peer(results, bar, role) if bar.against == "best" else bar.against
    ratio = results.ratio(bar.scenario, role, "mcseal", peer, bar.figure) if peer else None
    if not ratio:
        return [*line, measured, "", f"{bar.factor:g} x {bar.against}", "not measured"]
    theirs = results.figure(bar.scenario, role, peer, bar.figure)["median"]
    return [*line, measured, f"{peer} {number(theirs, bar.figure)}; {spread(ratio)}",
            f"{bar.factor:g} x {peer}", "met" if ratio[0] <= bar.factor else "**not met**"]


def goals(results):
    lines = [goal(results, bar, role) for bar in scenarios.BARS for role in bar.roles]
    lines = [line for line in lines if line]
    if not lines:
        return []
    return ["## Goals", "", "One worker each. In brackets the least and the most over the rounds.",
            "", *table(["figure", "role", "mcseal", "peer; ratio mcseal / peer", "goal", ""],
                       lines)]


# --- scenarios ---------------------------------------------------------------------------------------


def scenario_part(results, name, scenario):
    text = [f"## {scenario.title}", "", f"`{name}`", ""]
    used = next(row["connections"] for key, row in results.rows.items() if key[0] == name)
    if used != scenario.connections:
        text += [f"With {used:,} connections.", ""]
    shown = scenario.figures
    for role in results.roles(name):
        subjects = results.subjects(name, role)
        own = next((one for one in subjects if re.fullmatch(r"mcseal(\*\d+)?", one)), None)
        head = [f"**{role}**"] + [" ".join(filter(None, (FIGURES[figure][0],
                                                         FIGURES[figure][1])))
                                  for figure in shown]
        if own:
            head.append(f"{FIGURES[shown[0]][0]} as a multiple of {own}'s")
        lines = []
        for subject in sorted(subjects, key=lambda one: (one == "direct", "mcseal" not in one)):
            row = results.rows[name, role, subject]["figures"]
            line = [subject] + [number(row[figure]["median"], figure) if figure in row and not (
                subject == "direct" and figure in ("cpu", "user_kib", "kernel_kib", "both_kib"))
                else "-" for figure in shown]
            if own:
                ratio = results.ratio(name, role, subject, own, shown[0])
                line.append("" if subject in (own,) or line[1] == "-" else spread(ratio))
            lines.append(line)
        text += table(head, lines)
    return text


# --- plots -------------------------------------------------------------------------------------------


def gnuplot(out, name, script):
    head = ('set terminal svg size 900,480 dynamic background rgb "white" font "sans,13"\n'
            f'set output "{out / name}.svg"\nset grid ytics lc rgb "#dddddd"\nset key outside\n')
    subprocess.run(["gnuplot"], input=head + script, text=True, check=True)
    return name


def blocks(out, name, series):
    """A data file with an index for each series."""
    path = out / f"{name}.dat"
    path.write_text("\n\n\n".join("\n".join(" ".join(map(str, point)) for point in points)
                                for _, points in series) + "\n")
    return path


def curves(out, name, series, script, style="lines lw 2"):
    path = blocks(out, name, series)
    plots = ", ".join(f'"{path}" index {index} with {style} title "{title}"'
                      for index, (title, _) in enumerate(series))
    return gnuplot(out, name, f"{script}\nplot {plots}\n")


def plot_cdf(results, out, scenario, role):
    series = [(subject, [(us, share) for us, share in results.rows[scenario, role, subject]["cdf"]])
              for subject in results.subjects(scenario, role)
              if ":" not in subject and "cdf" in results.rows[scenario, role, subject]]
    if not series:
        return None
    title = f"{scenarios.SCENARIOS[scenario].title}: {role}"
    return curves(out, f"latency-{scenario}-{role}", series,
                  f'set title "{title}"\nset logscale x\nset xlabel "latency, µs"\n'
                  'set ylabel "share of the answers"\nset yrange [0:1]')


def plot_throughput(results, out, role):
    closed = sorted((scenario.connections, name) for name, scenario in scenarios.SCENARIOS.items()
                    if scenario.mode == "closed" and scenario.words == 1 and "two" not in name)
    subjects = dict.fromkeys(subject for _, name in closed
                             for subject in results.subjects(name, role) if ":" not in subject)
    series = []
    for subject in subjects:
        points = [(connections, results.figure(name, role, subject, "per_second")["median"])
                  for connections, name in closed
                  if results.figure(name, role, subject, "per_second")]
        if len(points) > 1:
            series.append((subject, points))
    if not series:
        return None
    return curves(out, f"throughput-{role}", series,
                  f'set title "Answers a second: {role}"\nset logscale x 2\n'
                  'set xlabel "connections"\nset yrange [0:*]', "linespoints lw 2 pt 7")


def plot_bars(results, out, name, title, scenario_names, role, figures, unit):
    """A group of bars for each scenario, or of one scenario a stack of figures."""
    names = [one for one in scenario_names if results.subjects(one, role)]
    subjects = dict.fromkeys(subject for one in names for subject in results.subjects(one, role)
                             if ":" not in subject and subject != "direct")
    if not names or not subjects:
        return None

    def value(scenario, subject, figure):
        found = results.figure(scenario, role, subject, figure)
        return found["median"] if found else 0
    path = out / f"{name}.dat"
    if len(figures) > 1:
        lines = [[f'"{subject}"', *(value(names[0], subject, figure) for figure in figures)]
                 for subject in subjects]
        style, titles = "rowstacked", [FIGURES[figure][0] for figure in figures]
    else:
        lines = [[f'"{one}"', *(value(one, subject, figures[0]) for subject in subjects)]
                 for one in names]
        style, titles = "clustered gap 1", list(subjects)
    path.write_text("\n".join(" ".join(map(str, line)) for line in lines) + "\n")
    plots = ", ".join(f'"{path}" using {column}:xtic(1) title "{title}"'
                      for column, title in enumerate(titles, 2))
    return gnuplot(out, name, f'set title "{title}: {role}"\nset ylabel "{unit}"\n'
                   f"set style data histograms\nset style histogram {style}\n"
                   f"set style fill solid 0.8\nset boxwidth 0.9\nset yrange [0:*]\nplot {plots}\n")


def plots(results, out):
    if not shutil.which("gnuplot"):
        return ["No plots: gnuplot is not installed.", ""]
    made = []
    for role in scenarios.ROLES:
        made += [plot_cdf(results, out, scenario, role) for scenario in
                 ("latency-1", "polled-1000")]
        made.append(plot_throughput(results, out, role))
        made.append(plot_bars(results, out, f"cpu-{role}", "CPU per answer",
                              ("busy-64", "polled-1000", "bulk-8"), role, ("cpu",), "µs"))
        made.append(plot_bars(results, out, f"memory-{role}", "Memory of a silent session",
                              ("idle-memory",), role, ("user_kib", "kernel_kib"), "KiB"))
    return [f"![{name}]({name}.svg)" for name in made if name] + [""]


# --- the page ----------------------------------------------------------------------------------------


def write(raw, out):
    results = Results(raw)
    for old in (*out.glob("*.svg"), *out.glob("*.dat")):
        old.unlink()
    text = ["# mcseal beside other TLS proxies", "",
            "Made by `make bench`; docs/performance.md tells how it is measured.", "",
            *table(["", ""], [[key, str(value)] for key, value in raw["machine"].items()]),
            f"Medians of {raw['rounds']} rounds in which all took turns. Each multiple is the "
            "median over the rounds, with the least and the most in brackets.", "",
            *goals(results), "## Plots", "", *plots(results, out)]
    for name, scenario in scenarios.SCENARIOS.items():
        if results.roles(name):
            text += scenario_part(results, name, scenario)
    text += ["## Not measured", "", *[f"- {scenario}, {role}, {subject}: {why.splitlines()[0]}"
                                      for scenario, role, subject, why in raw["failures"]]
             ] if raw["failures"] else []
    text += ["", "## Commands", "", "```"]
    text += [f"{row['scenario']} {row['role']} {row['subject']}: {row['command']}"
             for row in raw["rows"]] + ["```", ""]
    (out / "report.md").write_text("\n".join(text))
