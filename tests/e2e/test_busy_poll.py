# SPDX-License-Identifier: Apache-2.0
"""busy_poll: who is asked without a pause sleeps less, and nobody pays for it where it is no use.

Counted, not timed: how often the daemon's threads went to sleep for an answer, as the kernel says.
"""
import json
import os
import pathlib
import re
import signal

import pytest

import lab

MCLOAD = lab.BUILD / "mcload"
SANITIZED = lab.BUILD.name in ("asan", "tsan")
ANSWERS = 4000 if SANITIZED or lab.KERNEL else 8000


def sleeps(daemon):
    """How often all its threads have gone to sleep so far."""
    return sum(int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", path.read_text(),
                             re.MULTILINE).group(1))
               for path in pathlib.Path(f"/proc/{daemon.pid}/task").glob("*/status"))


def put_first(*processes):
    """Before all ordinary programs: one that has to wait for a CPU finds its answer when it gets one,
    and has not slept for it."""
    for process in processes:
        for task in pathlib.Path(f"/proc/{process.pid}/task").iterdir():
            os.sched_setscheduler(int(task.name), os.SCHED_RR, os.sched_param(1))


def load(site, *words):
    """Sleeps of edge and gateway for an answer."""
    put_first(site.edge, site.gateway, site.plc)
    before = [sleeps(daemon) for daemon in (site.edge, site.gateway)]
    done = lab.run("chrt", "--rr", "1", MCLOAD, "closed", f"127.0.0.1:{site.edge_port}", "--json",
                   "--warmup", "0.1", *words)
    result = [json.loads(line) for line in done.stdout.splitlines()][-1]
    assert result["wrong"] == result["refused"] == result["lost"] == 0
    return [(sleeps(daemon) - was) / result["answered"]
            for daemon, was in zip((site.edge, site.gateway), before)]


def new_site(folder, busy_poll, engine="auto", plc_options=()):
    site = lab.Site(folder, engine=engine, plc_options=plc_options,
                    head=f"busy_poll = {busy_poll}\n")
    lab.run(MCLOAD, "fill", site.plc.address)
    return site


@pytest.mark.parametrize("engine", lab.engines())
def test_a_closed_loop_sleeps_no_more_than_without(tmp_path, engine):
    """How much less is the machine's affair: where sleeping is cheap, it sleeps as before."""
    asked = ("-c", "1", "--answers", ANSWERS, "--duration", "60")
    with new_site(tmp_path / "yes", "yes", engine) as looking, \
            new_site(tmp_path / "no", "no", engine) as sleeping:
        spared = [min(pair) for pair in zip(*(load(looking, *asked) for _ in range(3)))]
        asleep = load(sleeping, *asked)
    print(f"sleeps for an answer, edge and gateway: {spared}, without: {asleep}")
    assert min(asleep) > 1.2  # for the client and for the PLC, sometimes for both at once
    assert max(spared) < 1.1 * max(asleep)
    if os.cpu_count() == 1:
        assert min(spared) > 1.2  # nobody could send what is looked for


def test_a_slow_plc_is_slept_for(tmp_path):
    asked = ("-c", "1", "--answers", "300", "--duration", "30")
    with new_site(tmp_path, "yes", plc_options=("--delay", "2")) as site:
        assert min(load(site, *asked)) > 1.2


def test_may_change_while_it_runs(tmp_path):
    asked = ("-c", "1", "--answers", ANSWERS, "--duration", "60")
    with new_site(tmp_path, "yes") as site:
        load(site, *asked)
        for daemon in (site.edge, site.gateway):
            daemon.config.write_text(daemon.config.read_text().replace("busy_poll = yes",
                                                                       "busy_poll = no"))
            os.kill(daemon.pid, signal.SIGHUP)
            daemon.wait_text(r"\breloaded\b")
        assert min(load(site, *asked)) > 1.2
