#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""mcseal-nft as an admin uses it: apply, remove and watch, and what keeps them from doing it."""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess

import pytest

import lab
import nft_lab
from nft_lab import FOREIGN, GUARD, ROUTED, Machine, assert_clean, edge_text


@pytest.fixture
def machine(tmp_path):
    assert os.geteuid() == 0, "these tests make network namespaces: run them as root"
    with Machine(tmp_path) as made:
        yield made


@pytest.fixture
def applied(machine):
    machine.tool("apply")
    return machine


@pytest.fixture
def plant(machine):
    """It has a way to the PLCs' networks, so that there is something to refuse."""
    machine.add_default_routes()
    return machine


# --- apply ----------------------------------------------------------------------------------------


def knock(machine, times=1):
    """Attempts that the guard refuses and counts: there is no edge for UDP."""
    with machine.socket(kind=socket.SOCK_DGRAM) as sock:
        for _ in range(times):
            with pytest.raises(PermissionError):
                sock.sendto(b"plain", ("10.30.0.10", 5007))


def test_apply_twice(plant):
    assert plant.tool("apply").stdout.endswith("\napplied\n")
    knock(plant, 3)
    before = plant.ruleset()
    assert plant.packets("plain MC: UDP and others") == 3
    handles = plant.handles("output")
    assert plant.tool("apply").stdout == "nothing to change\n"
    answer = plant.json("apply")
    assert answer == {"outcome": "nothing to change", "changes": [], "connections": []}
    assert plant.ruleset() == before and plant.handles("output") == handles


def netlink_batches(machine, *words):
    """Sizes of the messages by which nftables is changed: what the kernel is asked only is small.

    An nfnetlink batch begins with NFNL_MSG_BATCH_BEGIN (0x10); strace shows it by number or name.
    """
    trace = machine.folder / "trace"
    # The sanitizer's search for leaks does not work while somebody traces.
    machine.tool(*words, prefix=["env", f"ASAN_OPTIONS={os.environ['ASAN_OPTIONS']}:detect_leaks=0",
                                 "strace", "-f", "-e", "trace=sendto,sendmsg", "-o", trace])
    return re.findall(r"(?:sendto|sendmsg)\(.*NFNL_MSG_BATCH_BEGIN.* = (\d+)$", trace.read_text(),
                      re.MULTILINE)


def test_another_set_of_plcs(plant):
    """Only the sets are exchanged: rules and what they have counted stay; in one message."""
    plant.configure(edge_text(plcs='"10.30.0.10:5001-5007", "[fd30::8]:1"'))
    plant.tool("apply")
    knock(plant, 2)
    chains = [(body["name"], table) for table in nft_lab.TABLES for kind, body in plant.objects()
              if kind == "chain" and body["table"] == table]
    handles = [plant.handles(*chain) for chain in chains]
    plant.configure(edge_text(plcs='"10.30.0.10:5007", "10.30.0.11:5001-5003", "[fd30::7]:1"'))
    text = plant.tool("diff", status=1).stdout
    assert not re.search(r"^. chain", text, re.MULTILINE) and text.count("10.30.0.11 . 5001") == 2
    assert len(netlink_batches(plant, "apply")) == 1
    assert_clean(plant)
    assert [plant.handles(*chain) for chain in chains] == handles and any(handles)
    assert plant.packets("plain MC: UDP and others") == 2
    knock(plant)
    assert plant.packets("plain MC: UDP and others") == 3
    assert netlink_batches(plant, "apply") == []


def test_another_rule_leaves_other_chains_alone(plant):
    plant.tool("apply")
    knock(plant, 2)
    refusal, output = plant.handles("refuse_plain"), plant.handles("nat_output", "mcseal")
    plant.configure(edge_text(source='addresses = { "10.10.0.2" }'))
    plant.tool("apply")
    assert_clean(plant)
    assert plant.handles("refuse_plain") == refusal
    assert plant.packets("plain MC: UDP and others") == 2
    assert plant.packets("edge office, IPv4") == 0 and output


APPLY_SECONDS = 0.2


def many(count):
    return ", ".join(f'"10.{30 + n // 250}.{n % 250}.10:{5000 + 20 * port}"'
                     for n in range(count) for port in range(10)) + ', "[fd30::10]:5007"'


def test_a_thousand_plcs(machine):
    """One batch, in no time; and as many rules as for one PLC."""
    count = 100 if lab.KERNEL else 1000
    machine.configure(edge_text(many(1)))
    machine.tool("apply")
    rules = machine.rule_count()
    listing = edge_text(many(count))
    times = []
    # The best of a few: other work on this machine takes its time, too.
    timed = not lab.KERNEL and lab.PATIENCE == 1
    while not times or (timed and len(times) < 12 and times[-1] >= APPLY_SECONDS):
        machine.nft("flush", "ruleset")
        machine.configure(listing)
        prefix = ["/usr/bin/python3", "-c", "import subprocess, sys, time; a = time.monotonic();"
                  "s = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL);"
                  "print(time.monotonic() - a); sys.exit(s)"]
        times.append(float(machine.tool("apply", prefix=prefix).stdout))
    print(f"{count} PLCs x 10 ports: " + ", ".join(f"{1000 * t:.0f} ms" for t in times))
    assert machine.rule_count() == rules
    elements = json.loads(machine.nft("-j", "list", "set", "inet", "mcseal", "edge/office/plc4")
                          .stdout)["nftables"][1]["set"]["elem"]
    assert len(elements) == 10 * count
    assert_clean(machine)
    machine.nft("flush", "ruleset")
    assert len(netlink_batches(machine, "apply")) == 1
    if timed:
        assert times[-1] < APPLY_SECONDS, times


def test_apply_observe(plant):
    """Counts and refuses nothing; and does not take away a guard that is in force."""
    assert plant.tool("apply", "--observe").stdout.endswith("\nobserving\n")
    with plant.socket(kind=socket.SOCK_DGRAM) as sock:
        sock.sendto(b"plain", ("10.30.0.10", 5007))
    assert plant.packets("would be blocked: plain MC") == 1
    assert plant.tool("apply", "--observe").stdout == "nothing to change\n"
    assert plant.json("apply", "--observe")["outcome"] == "nothing to change"
    plant.tool("apply")
    before = plant.ruleset()
    for words in ([], ["--json"]):
        answer = plant.tool("apply", "--observe", *words, status=2)
        assert "the guard is in force" in answer.stderr and "remove --guard" in answer.stderr
    assert plant.ruleset() == before
    plant.tool("remove", "--guard")
    plant.tool("apply", "--observe")


def test_apply_tells_all_in_json(machine):
    machine.configure(ROUTED)
    wanted = machine.json("diff", status=1)
    answer = machine.json("apply")
    assert answer["outcome"] == "applied" and answer["changes"] == wanted
    assert {"what": "ip rule and route", "change": "add", "family": "ipv4",
            "table": nft_lab.ROUTE_TABLE, "mark": nft_lab.DIVERT_MARK} in wanted
    removed = machine.json("remove", "--guard")
    assert [line for line in removed if line["change"] == "remove"] == removed and removed
    assert machine.ruleset() == "" and "fwmark" not in machine.diverts()


# --- remove ---------------------------------------------------------------------------------------


def test_remove(plant):
    plant.nft(text=FOREIGN)
    others = plant.ruleset()
    plant.tool("apply")
    result = plant.tool("remove")
    assert result.stdout == "table inet mcseal\n- table inet mcseal\n" and result.stderr == ""
    assert "table inet mcseal_guard" in plant.ruleset() and "mcseal {" not in plant.ruleset()
    knock(plant)
    again = plant.tool("remove")
    assert again.stdout == "" and again.stderr == ""
    result = plant.tool("remove", "--guard")
    assert result.stdout == "table inet mcseal_guard\n- table inet mcseal_guard\n"
    assert "no guard is loaded: from now on plain MC may leave this machine" in result.stderr
    assert plant.ruleset() == others
    assert plant.json("remove", "--guard") == []


def test_remove_without_a_guard_warns(plant):
    for take_out in (["delete", "table", *GUARD.split()], ["flush", "table", *GUARD.split()],
                     ["add", "table", *GUARD.split(), "{ flags dormant; }"]):
        plant.tool("apply")
        plant.nft(*take_out)
        assert "no guard is loaded" in plant.tool("remove").stderr, take_out


# --- watch ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("change, said", [
    (["flush", "ruleset"], "table inet mcseal_guard"),
    (["delete", "table", "inet", "mcseal"], "table inet mcseal"),
    (["delete", "element", *GUARD.split(), "plc4", "{ 10.30.0.10 . 5003 }"],
     "set plc4: 10.30.0.10 . 5003"),
])
def test_watch_names_who_did_it(applied, change, said):
    plain, watch = applied.start("watch"), applied.start("watch", "--json")
    plain.wait_text("^watching$", 10)
    watch.wait_text("watching", 10)
    stranger = lab.Process(["nft", *change], applied.folder / "stranger.log", applied.ns)
    assert stranger.popen.wait(20 * lab.PATIENCE) == 0
    plain.wait_text(rf"^the rules were changed by nft \(pid {stranger.pid}\)$", 10)
    plain.wait_text(re.escape(f"+ {said}"), 10)
    watch.wait_text("the rules were changed", 10)
    event = json.loads(watch.lines("the rules were changed")[0])
    assert event["process"] == "nft" and event["pid"] == stranger.pid
    assert any(line["change"] == "add" and line["what"].startswith(said)
               for line in event["differences"])
    applied.tool("apply")
    plain.wait_text(r"^the rules are as they should be by mcseal-nft \(pid \d+\)$", 10)
    watch.wait_text("the rules are as they should be", 10)
    assert plain.stop() == 0 and watch.stop(signal.SIGINT) == 0
    assert [json.loads(line)["event"] for line in watch.lines()] == [
        "watching", "the rules were changed", "the rules are as they should be"]


def test_watch_says_nothing_of_others(applied):
    """Tables that are none of ours may be changed as often as their owners like."""
    watch = applied.start("watch")
    watch.wait_text("watching", 10)
    applied.nft(text=FOREIGN)
    applied.nft("delete", "table", "ip", "other")
    applied.nft("delete", "table", "inet", "mcseal")
    watch.wait_text("the rules were changed", 10)  # so it has seen what was before
    assert watch.stop() == 0
    assert len(watch.lines("the rules were changed")) == 1


def test_watch_begins_with_what_is_there(machine):
    """Nobody did it, and what was never in force is not put into force by watching."""
    watch = machine.start("watch", "--json", "--restore")
    watch.wait_text("not restored: they were not in force since watching began", 10)
    event = json.loads(watch.lines("the rules are not as they should be")[0])
    assert "pid" not in event and event["differences"]
    assert watch.stop() == 0
    assert machine.ruleset() == ""


def test_watch_puts_back_what_is_only_observed(plant):
    """As it was: observing, not enforced."""
    plant.tool("apply", "--observe")
    before = plant.nft("-s", "list", "ruleset").stdout
    watch = plant.start("watch", "--restore")
    watch.wait_text("watching", 10)
    # Only what it has seen is put back; the same change twice shows that it looks by now.
    plant.nft("add", "table", "ip", "other")
    plant.nft("delete", "table", "inet", "mcseal")
    watch.wait_text("^the rules were restored", 10)
    plant.nft("delete", "table", "ip", "other")
    assert plant.nft("-s", "list", "ruleset").stdout == before
    with plant.socket(kind=socket.SOCK_DGRAM) as sock:
        sock.sendto(b"plain", ("10.30.0.10", 5007))
    assert watch.stop() == 0


def test_watch_restores_three_times_a_minute(applied):
    watch = applied.start("watch", "--restore")
    watch.wait_text("watching", 10)
    clean = applied.nft("-s", "list", "ruleset").stdout
    for number in range(1, 4):
        applied.nft("flush", "ruleset")
        lab.wait_for(lambda n=number: len(watch.lines("^the rules were restored$")) == n,
                     "the rules restored", 10)
        assert applied.nft("-s", "list", "ruleset").stdout == clean
    applied.nft("flush", "ruleset")
    watch.wait_text("^not restored: three times within a minute is enough", 10)
    assert applied.ruleset() == ""
    assert watch.stop() == 0
    assert len(watch.lines(r"^the rules were changed by nft \(pid \d+\)$")) == 4


def test_watch_takes_a_new_configuration(applied):
    """The file is read at each look: what was applied from it is what should be."""
    watch = applied.start("watch", "--restore")
    watch.wait_text("watching", 10)
    applied.configure(edge_text(plcs='"10.30.0.77:5007", "[fd30::77]:5007"'))
    applied.tool("apply")
    applied.nft("delete", "table", "inet", "mcseal")
    watch.wait_text("the rules were restored", 10)
    assert_clean(applied)
    assert watch.stop() == 0


# --- rights, and what the kernel does not have ----------------------------------------------------

NO_RIGHT = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


@pytest.fixture
def open_folder():
    """One that everybody can look into; pytest's own are root's."""
    with lab.scratch() as folder:
        yield pathlib.Path(folder)


@pytest.mark.parametrize("prefix", [NO_RIGHT, NOBODY], ids=["root", "nobody"])
def test_without_the_right(applied, prefix, open_folder):
    open_folder.chmod(0o755)
    applied.config = open_folder / "mcseald.conf"
    applied.configure(edge_text())
    before = applied.nft("-s", "list", "ruleset").stdout
    for words in (["check"], ["diff"], ["apply"], ["apply", "--confirm", "5"], ["remove"],
                  ["remove", "--guard"], ["watch"], ["watch", "--restore"]):
        for more in ([], ["--json"]):
            result = applied.tool(*words, *more, status=2, prefix=prefix, timeout=20 * lab.PATIENCE)
            assert "this needs root or CAP_NET_ADMIN" in result.stderr, (words, result.stderr)
            assert len(result.stderr.splitlines()) <= 2, result.stderr
    for words in (["print"], ["print", "--guard"], ["print", "--admission"], ["print", "--json"]):
        assert applied.tool(*words, prefix=prefix).stdout == applied.tool(*words).stdout
    assert applied.nft("-s", "list", "ruleset").stdout == before


@pytest.mark.parametrize("table", ["mcseal", "mcseal_guard"])
def test_table_that_somebody_else_owns(machine, table):
    """Nothing at all is applied: the other table comes by itself, but not alone."""
    log = machine.folder / "owner.log"
    with open(log, "wb") as output:
        owner = subprocess.Popen(machine.command("nft", "-i"), stdin=subprocess.PIPE,
                                 stdout=output, stderr=output, text=True)
    try:
        owner.stdin.write(f"add table inet {table} {{ flags owner; }}\n")
        owner.stdin.flush()
        lab.wait_for(lambda: f"table inet {table} " in machine.nft("list", "ruleset").stdout,
                     "the owned table", 10)
        before = machine.ruleset()
        for words in (["apply"], ["apply", "--json"], ["apply", "--confirm", "9"], ["check"]):
            result = machine.tool(*words, status=2)
            assert f"table inet {table}: not permitted: another program owns this table" in \
                result.stdout + result.stderr, words
            assert "root" not in result.stderr, "the right is not what is missing"
            assert machine.ruleset() == before
    finally:
        owner.kill()
        owner.wait()
        owner.stdin.close()
    lab.wait_for(lambda: machine.ruleset() == "", "the table to go with its owner", 10)
    machine.tool("apply")
