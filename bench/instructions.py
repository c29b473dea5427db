# SPDX-License-Identifier: Apache-2.0
"""In a guest that counts instructions: what an answer costs, on the whole machine and in the proxy.

bench/kernel runs this file inside tests/vm/run --icount, where one instruction is one nanosecond of
every clock. Rows leave as JSON lines.
"""
import argparse
import json
import pathlib
import pickle
import re
import resource
import subprocess
import sys
import tempfile
import types

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from measure import MCLOAD, Load, checked  # noqa: E402
from scenarios import VARIANTS  # noqa: E402
from subjects import Echo, Subject, lab, parse  # noqa: E402

CPU = "0"
SAMPLING = {"perf_event_max_sample_rate": "100000", "perf_cpu_time_max_percent": "0", "kptr_restrict": "0"}
PERIOD = 20011
WARMUP = "0.05"  # 50 million instructions: some hundred answers
DESCRIPTORS = 4096


def counted(subject, connections, words, answers, output):
    """One measurement. Nobody but client, proxy and PLC is awake meanwhile: mcload looks at the
    clocks, and what it says is read when it is over."""
    command = [MCLOAD, "closed", f"127.0.0.1:{subject.targets[0]}", "-c", connections, "--words",
               words, "--answers", answers, "--warmup", WARMUP, "-d", "100", "--json",
               *subject.words]
    if subject.proxies:
        command += ["--group", subject.proxies[0].group.path]
    with open(output, "w", encoding="ascii") as file:
        subprocess.run([str(word) for word in command], stdout=file, stdin=subprocess.DEVNULL,
                       check=False)
    result = checked([json.loads(line) for line in output.read_text().splitlines()][-1])
    return {"connections": connections, "words": words, "answers": result["answered"],
            "total": result["seconds"] * 1e9 / result["answered"],
            "proxy": result.get("group_cpu_us", 0) * 1000,
            "busy": result["latency_us"]["mean"] * result["answered"] / result["seconds"] / 1e6,
            "evenness": result["fewest"] / result["most"]}


def in_kernel(subject):
    """Sockets that were given keys for sending, and for receiving, since the guest began."""
    found = lab.tls_statistics()
    return found["TlsTxSw"], found["TlsRxSw"]


def measure(words, bench, folder, name, role):
    subject = Subject(folder, name, role, bench.papers, bench, max(words.connections))
    try:
        before = in_kernel(subject)
        for size in words.words:
            for connections in words.connections:
                row = counted(subject, connections, size, words.answers, folder / "mcload.out")
                print(json.dumps({"subject": name, "role": role, **row}), flush=True)
        check_records(subject, [now - then for now, then in zip(in_kernel(subject), before)],
                      len(words.words) * sum(words.connections))
    finally:
        subject.stop()


def profile(words, bench, folder, name, role):
    """Where the proxy's instructions go: by function, alone and with what it calls."""
    subject = Subject(folder, name, role, bench.papers, bench, max(words.connections))
    for setting, value in SAMPLING.items():
        pathlib.Path("/proc/sys/kernel", setting).write_text(value)
    try:
        for size in words.words:
            for connections in words.connections:
                row = counted(subject, connections, size, words.answers, folder / "mcload.out")
                load = Load(CPU, ["closed", f"127.0.0.1:{subject.targets[0]}", "-c", connections,
                                  "--words", size, "--warmup", WARMUP, "-d", "100",
                                  *subject.words])
                try:
                    load.event("measuring")
                    data = folder / "perf.data"
                    lab.run("perf", "record", "-q", "-g", "-e", "cpu-clock", "-c", PERIOD, "-o",
                            data, "-p", ",".join(map(str, subject.processes())), "--", "sleep", "0.5")
                finally:
                    load.process.terminate()
                    load.end()
                print(f"### {name} {role} {connections} x {size}: proxy {row['proxy']:.0f} of {row['total']:.0f}")
                for title, options in (("flat", ("--no-children",)), ("inclusive", ("--children",))):
                    text = lab.run("perf", "report", "-i", data, "--stdio", "-g", "none", *options,
                                   "--percent-limit", "0.3", "--sort", "dso,sym", "-w", "18,60", timeout=600, stderr=subprocess.DEVNULL).stdout
                    print(f"--- {title}")
                    for line in text.splitlines():
                        if line and not line.startswith("#"):
                            share = float(line.split("%")[0])
                            print(f"{share * row['proxy'] / 100:8.0f} {line.rstrip()}", flush=True)
    finally:
        subject.stop()


def check_records(subject, used, sessions):
    """Those that should have kernel TLS must have had it in every session, and nobody else."""
    program, variant, _ = parse(subject.name)
    if program == "mcseal":
        opened = re.findall(r"session-open.*records=(\w+)", subject.proxies[0].log.read_text())
        expected = "user" if variant == "user" else "kernel"
        if len(opened) < sessions or set(opened) != {expected}:
            raise lab.LabError(f"{subject.name}: {sessions} sessions, expected records={expected}: {opened[:3]} {len(opened)}")
        if used != ([0, 0] if expected == "user" else [sessions, sessions]):
            raise lab.LabError(f"{subject.name}: {used} installations")
    print(json.dumps({"note": f"{subject.name} {subject.role}: {used} of {sessions}"}), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("papers")
    parser.add_argument("--subjects", nargs="+")
    parser.add_argument("--roles", nargs="+")
    parser.add_argument("--connections", nargs="+", type=int)
    parser.add_argument("--words", nargs="+", type=int)
    parser.add_argument("--answers", type=int)
    parser.add_argument("--profile", action="store_true")
    words = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    papers = pickle.loads(pathlib.Path(words.papers).read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        plain = Echo(folder, "plain", [lab.free_port()], CPU)
        secure = Echo(folder, "secure", [lab.free_port()], CPU, papers.gateway)
        foreign = Echo(folder, "foreign", [lab.free_port()], CPU, papers.stranger, papers.pki.ca)
        bench = types.SimpleNamespace(papers=papers, plain=plain, secure=secure, floor=plain,
                                      secure_floor=secure, foreign=foreign, load_cpu=CPU,
                                      proxy_cpu=CPU, all_cpus=CPU)
        for role in words.roles:
            for name in words.subjects:
                (profile if words.profile else measure)(words, bench, folder, name, role)


main()
