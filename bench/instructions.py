# SPDX-License-Identifier: Apache-2.0
"""What bench/kernel does inside a guest that counts instructions (tests/vm/run --icount).

    bench/instructions.py FOLDER

FOLDER/order.json tells what is to be measured, FOLDER/papers are the certificates, made on the host,
which is faster at it. One instruction is one nanosecond of every clock. What is found leaves as JSON
lines on stdout.
"""
import contextlib
import json
import pathlib
import pickle
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import types

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from measure import (MCLOAD, SESSIONS_BEFORE, Failed, Load, enforced, faults,  # noqa: E402
                     memory)
from scenarios import ROLES, ROLES_OF, SCENARIOS  # noqa: E402
from subjects import Echo, Subject, lab, parse  # noqa: E402

CPU = "0"
DESCRIPTORS = 4096
WARMUP = "0.05"  # 50 million instructions: some hundred answers
TIME_MAX = "1000"
# A connection is busy when its next request is out as soon as the answer is in.
BUSY_MIN, EVEN_MIN = 0.95, 0.8
# perf's limits are about time that it takes; here it takes none of what is told.
SAMPLING = {"perf_event_max_sample_rate": "100000", "perf_cpu_time_max_percent": "0",
            "kptr_restrict": "0"}
# Nanoseconds. Answers recur as regularly as samples: one clock alone would meet the same places of
# each again and again.
SAMPLE_PERIODS = (101009, 113011, 127013, 139021, 151007, 163019)
SAMPLED_SECONDS = 1


def tell(**found):
    print(json.dumps(found), flush=True)


def load_words(subject, connections, words):
    return ["closed", f"127.0.0.1:{subject.targets[0]}", "-c", connections, "--words", words,
            "--warmup", WARMUP, "-d", TIME_MAX, *subject.words]


# --- figures -----------------------------------------------------------------------------------------


def counted(subject, connections, words, answers, output):
    """One measurement. Nobody but client, proxy and PLC is awake meanwhile: mcload itself reads the
    clocks, and what it says is read when it has ended."""
    command = [MCLOAD, *load_words(subject, connections, words), "--answers", answers, "--json"]
    if subject.proxies:
        command += ["--group", subject.proxies[0].group.path]
    with open(output, "w", encoding="ascii") as file:
        subprocess.run([str(word) for word in command], stdout=file, stdin=subprocess.DEVNULL,
                       check=False)
    lines = output.read_text().splitlines()
    result = json.loads(lines[-1]) if lines else {}
    if result.get("answered") != answers or faults(result):
        log = subject.proxies[0].log.read_text()[-600:] if subject.proxies else ""
        raise Failed(f"{connections} connections, {words} words: {result}; {log}")
    row = {"connections": connections, "words": words,
           "total": result["seconds"] * 1e9 / answers,
           "proxy": result.get("group_cpu_us", 0) * 1000,
           # By Little's law: how many requests were out at any time.
           "busy": result["latency_us"]["mean"] * result["per_second"] / 1e6,
           "even": result["fewest"] / result["most"]}
    if row["busy"] < BUSY_MIN * connections or row["even"] < EVEN_MIN:
        raise Failed(f"not all of {connections} connections were busy: {row}")
    return row


def with_keys():
    """Sockets that were given keys for sending, and for receiving, since the guest began."""
    found = lab.tls_statistics()
    return found["TlsTxSw"], found["TlsRxSw"]


def check_records(subject, before, sessions):
    """Who should have had kernel TLS had it in every session, and nobody else had it in any."""
    program, variant, _ = parse(subject.name)
    used = [now - then for now, then in zip(with_keys(), before)]
    if program == "mcseal":
        way = "user" if variant == "user" else "kernel"
        said = re.findall(r"session-open .*records=(\w+)", subject.proxies[0].log.read_text())
        if said != [way] * sessions or used != [sessions * (way == "kernel")] * 2:
            raise Failed(f"{sessions} sessions, kernel TLS in {used}; the log: {set(said)}")
    elif used[0] != (sessions if variant == "ktls" else 0):
        raise Failed(f"{sessions} sessions, kernel TLS in {used}")
    return used


def figures(order, bench, folder, name, role):
    """All combinations with one process of the subject."""
    subject = Subject(folder, name, role, bench.papers, bench, max(order["connections"]))
    try:
        if subject.proxies and order["enforced"]:
            enforced(subject)
        before, sessions, rows = with_keys(), 0, []
        for words in order["words"]:
            for connections in order["connections"]:
                answers = order["answers"][str(connections)]
                rows.append(counted(subject, connections, words, answers, folder / "mcload.out"))
                sessions += connections
        used = check_records(subject, before, sessions)
    finally:
        subject.stop()
    for row in rows:
        tell(role=role, subject=name, **row, kernel_tls=[one / sessions for one in used])


def idle(order, bench, folder, name, role):
    """Memory of a silent session."""
    connections = order["idle"]
    subject = Subject(folder, name, role, bench.papers, bench, connections)
    try:
        before = with_keys()
        found = memory(SCENARIOS["idle-memory"], subject, connections)
        check_records(subject, before, connections + SESSIONS_BEFORE)
    finally:
        subject.stop()
    tell(role=role, subject=name, idle=connections,
         **{key: value for key, value in found.items() if key.endswith("_kib")})


# --- profiles ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def loaded(subject, connections, words):
    load = Load(CPU, load_words(subject, connections, words))
    try:
        load.event("measuring")
        yield
    finally:
        load.process.terminate()
        load.end()


def sampled(output):
    """Of the whole machine, for the same reason: the clock must not stop with the proxy."""
    clocks = [word for period in SAMPLE_PERIODS for word in ("-e", f"cpu-clock/period={period}/")]
    with tempfile.NamedTemporaryFile() as file:
        lab.run("perf", "record", "-q", "-B", "-N", "-g", "-a", *clocks, "-o", file.name, "--",
                "sleep", SAMPLED_SECONDS)
        shutil.copyfile(file.name, output)


def profile(order, bench, folder, name, role):
    """Samples for the host to read, which is faster at it."""
    samples = pathlib.Path(order["profile"])
    subject = Subject(folder, name, role, bench.papers, bench, max(order["connections"]))
    try:
        for words in order["words"]:
            for connections in order["connections"]:
                row = counted(subject, connections, words, order["answers"][str(connections)],
                              folder / "mcload.out")
                output = samples / f"{name}-{role}-{connections}-{words}".replace(":", "-")
                with loaded(subject, connections, words):
                    sampled(output)
                tell(role=role, subject=name, **row, samples=str(output),
                     processes=subject.processes())
    finally:
        subject.stop()


def prepare_profiles(samples):
    for setting, value in SAMPLING.items():
        pathlib.Path("/proc/sys/kernel", setting).write_text(value)
    (samples / "kallsyms").write_text(pathlib.Path("/proc/kallsyms").read_text())


# --- all ---------------------------------------------------------------------------------------------


def work(order):
    """(what to do, role, subject), in turn."""
    for role in order["roles"]:
        for name in order["subjects"]:
            if role in ROLES_OF.get(parse(name)[0], ROLES):
                yield profile if order["profile"] else figures, role, name
        for name in order["idle_subjects"]:
            yield idle, role, name


def twice(what, *words):
    """For the sake of the tables a subject whose proxy or load had an accident has a second try; what
    is wrong with it is wrong again."""
    try:
        what(*words)
    except (Failed, lab.LabError) as error:
        print(f"once more: {words[-2:]}: {error}", file=sys.stderr, flush=True)
        what(*words)


def main():
    source = pathlib.Path(sys.argv[1])
    order = json.loads((source / "order.json").read_text())
    papers = pickle.loads((source / "papers").read_bytes())
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    if order["profile"]:
        prepare_profiles(pathlib.Path(order["profile"]))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        plain = Echo(folder, "plain", [lab.free_port()], CPU)
        secure = Echo(folder, "secure", [lab.free_port()], CPU, papers.gateway)
        foreign = Echo(folder, "foreign", [lab.free_port()], CPU, papers.stranger, papers.pki.ca)
        bench = types.SimpleNamespace(papers=papers, plain=plain, secure=secure, floor=plain,
                                      secure_floor=secure, foreign=foreign, load_cpu=CPU,
                                      proxy_cpu=CPU, all_cpus=CPU)
        for what, role, name in work(order):
            try:
                twice(what, order, bench, folder, name, role)
            except (Failed, lab.LabError) as error:
                tell(role=role, subject=name, failed=f"{what.__name__}: {error}")
    return 0


sys.exit(main())
