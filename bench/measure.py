# SPDX-License-Identifier: Apache-2.0
"""One measurement: mcload against one subject, and what the subject spent meanwhile."""
import dataclasses
import json
import re
import shutil
import subprocess
import time

from subjects import kernel_kib, lab

MCLOAD = lab.BUILD / "mcload"
SESSIONS_BEFORE = 2  # of memory(), and what they ask for together:
ANSWERS_BEFORE = 2000  # each of mcseald's 512 receive buffers some times


class Failed(Exception):
    """A measurement that did not come about, or had an error in it."""


class Load:
    """mcload under way; its JSON lines are read as they come."""

    def __init__(self, cpus, words):
        self.command = [str(word) for word in ("taskset", "-c", cpus, MCLOAD, *words, "--json",
                                               "--hold")]
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def event(self, name):
        """Waits for that one; a result that comes earlier is a failure."""
        for line in self.process.stdout:
            found = json.loads(line)
            if found["event"] == name:
                return found
            if found["event"] == "result":
                raise Failed(found.get("problem", "ended early"))
        raise Failed(self.process.stderr.read().strip() or "mcload ended")

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


def faults(result):
    """In a measurement none is acceptable."""
    return {what: result[what] for what in ("wrong", "refused", "lost", "failed") if result[what]}


def checked(result):
    if faults(result) or result["answered"] == 0:
        raise Failed(f"{faults(result)} {result.get('problem', 'no answers')}")
    return result


def load_words(scenario, subject, connections, interval=None):
    words, bench = subject.words, subject.bench
    # Who resumes has to be an edge in the eyes of mcseal; others resume for everybody.
    if "--resume" in scenario.options and subject.program == "mcseal":
        words = (*bench.papers.tls(bench.papers.edge), "--edge",
                 f"127.0.0.1:{bench.plain.ports[0]}")
    if scenario.mode == "poll":
        words = (*words, "-i", interval or scenario.interval)
    return [scenario.mode, *(f"127.0.0.1:{port}" for port in subject.targets), "-c", connections,
            "--words", scenario.words, *words, *scenario.options]


def under_load(scenario, subject, connections, seconds, interval=None):
    """Figures of a measurement of `seconds`."""
    bench = subject.bench
    load = Load(bench.load_cpu, [*load_words(scenario, subject, connections, interval),
                                 "-d", f"{seconds}", "--warmup", f"{min(1, seconds / 3):.2f}",
                                 "--cdf"])
    try:
        load.event("measuring")
        before = subject.cpu_us()
        result = load.event("result")
        spent = subject.cpu_us() - before
        memory = subject.user_kib()
    finally:
        load.end()
    checked(result)
    latency = result["latency_us"]
    return {"cpu": spent / result["answered"], "per_second": result["per_second"],
            "p50": latency["p50"], "p90": latency["p90"], "p99": latency["p99"],
            "p99.9": latency["p99.9"], "max": latency["max"], "late": result["late"],
            "split": result["split"], "memory_mib": memory / 1024,
            "resumed": result["resumed"] / result["connected"] if result["connected"] else 0,
            "load_cpu": result["own_cpu_us"], "cdf": result["cdf"],
            "command": " ".join(load.command)}


def used_once(scenario, subject):
    """Requests enough that what belongs to no session has been used: receive buffers, pools."""
    busy = dataclasses.replace(scenario, mode="closed")
    done = lab.run("taskset", "-c", subject.bench.load_cpu, MCLOAD,
                   *load_words(busy, subject, SESSIONS_BEFORE), "--warmup", "0", "-d", "600", "--answers", ANSWERS_BEFORE, "--json", timeout=600)
    checked(json.loads(done.stdout.splitlines()[-1]))


def memory(scenario, subject, connections):
    """What one silent session costs: differences to the subject without them."""
    load = None
    try:
        used_once(scenario, subject)
        time.sleep(1)
        user, tables, kernel = subject.user_kib(), subject.tables_kib(), kernel_kib()
        load = Load(subject.bench.load_cpu, load_words(scenario, subject, connections))
        load.event("silent")
        time.sleep(1)
        user, tables, kernel = (subject.user_kib() - user, subject.tables_kib() - tables,
                                kernel_kib() - kernel)
        load.process.stdin.close()  # the silence is over
        result = load.event("result")
    finally:
        if load:
            load.end()
    checked(result)
    return {"user_kib": user / connections, "tables_kib": tables / connections,
            "kernel_all_kib": kernel / connections, "command": " ".join(load.command)}


def system_calls(scenario, subject, connections, seconds):
    """Per answer, in a run of its own: counting is not free. By perf, else by strace."""
    pids = ",".join(map(str, subject.processes()))
    load = Load(subject.bench.load_cpu, [*load_words(scenario, subject, connections),
                                         "-d", f"{seconds + 1.5}", "--warmup", "0.2"])
    try:
        load.event("measuring")
        calls, how = perf_calls(pids, seconds), "perf"
        if calls is None:
            calls, how = strace_calls(pids, seconds), "strace"
        result = checked(load.event("result"))
    finally:
        load.end()
    return {"calls": calls / seconds / result["per_second"] if calls is not None else None,
            "calls_by": how}


def perf_calls(pids, seconds):
    if not shutil.which("perf"):
        return None
    done = lab.run("perf", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", pids, "sleep",
                   seconds, check=False)
    found = re.search(r"^(\d+),", done.stdout, re.MULTILINE)
    return int(found[1]) if found else None


def strace_calls(pids, seconds):
    """A traced process is several times slower: what batches under load batches more."""
    if not shutil.which("strace"):
        return None
    words = [word for pid in pids.split(",") for word in ("-p", pid)]
    done = lab.run("timeout", "-s", "INT", seconds, "strace", "-f", "-c", *words, check=False)
    found = re.search(r"^\s*100\.00\s+\S+\s+(?:\S+\s+)?(\d+)\s+(?:\d+\s+)?total", done.stdout,
                      re.MULTILINE)
    return int(found[1]) if found else None


def refused(target, cpus, *words):
    """Nobody gets an answer there."""
    done = lab.run("taskset", "-c", cpus, MCLOAD, "closed", f"127.0.0.1:{target}", "-d", "5",
                   "--warmup", "0", "--timeout", "4", "--json", *words, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return done.returncode == 3 and bool(lines) and lines[-1]["answered"] == 0


def enforced(subject):
    """Mutual TLS is: without a certificate, or with one of another CA, nobody gets through."""
    bench, problems = subject.bench, []
    pki = bench.papers.pki
    if subject.role == "gateway":
        if not refused(subject.targets[0], bench.load_cpu, "--ca", pki.ca):
            problems.append("takes clients without a certificate")
        stranger = bench.papers.stranger
        if not refused(subject.targets[0], bench.load_cpu, "--ca", pki.ca, "--cert",
                       stranger.certificate, "--key", stranger.key):
            problems.append("takes certificates of a foreign CA")
        if not refused(subject.targets[0], bench.load_cpu):
            problems.append("takes plain connections")
    elif subject.foreign and not refused(subject.foreign, bench.load_cpu):
        problems.append("believes a gateway of a foreign CA")
    if problems:
        raise Failed("; ".join(problems))
