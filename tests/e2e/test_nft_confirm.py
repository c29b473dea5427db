#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""mcseal-nft apply --confirm: kept when somebody says so, else everything is as it was before.

As it was: `nft list ruleset` byte for byte, with the counters, and the ip rules and routes.
"""
import contextlib
import json
import os
import pty
import re
import signal
import socket
import time

import pytest

import lab
import nft_lab
from nft_lab import FOREIGN, GUARD, MANAGED, ROUTED, Listener, Machine, assert_clean, edge_text

# Longer than any test takes that does not wait for it; and one to wait for.
LONG, SHORT = ("600", "10") if lab.KERNEL else ("120", "1")
PENDING = r"applied\. Enter within \d+ seconds keeps it"
# What somebody has put into our tables by hand, and what their tables can be full of.
BY_HAND = f"""
add rule {GUARD} output tcp dport {{ 22, 80, 443 }} counter packets 5 bytes 300 accept
insert rule {GUARD} forward ip saddr 192.0.2.0/24 counter packets 12 bytes 720 comment "mine"
add rule {MANAGED} input tcp dport vmap {{ 22 : accept, 1000-2000 : drop }}
add map {MANAGED} others {{ type ipv4_addr : ipv4_addr; }}
add element {MANAGED} others {{ 192.0.2.1 : 192.0.2.9, 192.0.2.2 : 192.0.2.8 }}
add chain {MANAGED} own
add rule {MANAGED} own counter packets 1 bytes 2 return
add map {MANAGED} ways {{ type ipv4_addr : verdict; flags interval; }}
add element {MANAGED} ways {{ 192.0.2.0/25 : jump own, 192.0.2.200 comment "one" : goto own }}
add rule {MANAGED} nat_output ip saddr vmap @ways
add rule {MANAGED} nat_output meta nfproto ipv4 dnat ip to ip daddr map @others
add set {MANAGED} counted {{ type ipv4_addr; counter; comment "with counters"; }}
add element {MANAGED} counted {{ 192.0.2.9 counter packets 3 bytes 180 comment "pc" }}
add set {MANAGED} pairs {{ type ipv4_addr . inet_service; flags interval; auto-merge; }}
add element {MANAGED} pairs {{ 192.0.2.1-192.0.2.4 . 1-5, 198.51.100.0/24 . 7 }}
add counter {MANAGED} seen {{ packets 4 bytes 5 }}
add rule {MANAGED} own counter name seen limit rate 3/second burst 9 packets log prefix "x "
"""


@pytest.fixture
def machine(tmp_path):
    assert os.geteuid() == 0, "these tests make network namespaces: run them as root"
    with Machine(tmp_path) as made:
        yield made


class Attempt:
    """`apply --confirm` at a terminal (a pseudo-terminal that is its controlling one)."""

    def __init__(self, machine, seconds=LONG, words=()):
        self.machine, self.text, self.began = machine, "", time.monotonic()
        self.seconds = int(seconds)
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            command = machine.command(nft_lab.TOOL, "-c", machine.config, *words, "apply",
                                      "--confirm", seconds)
            os.execvp("ip", [str(word) for word in command])
        self.status = None

    def read(self, seconds=0.02):
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while lab.readable(self.terminal, seconds):
                piece = os.read(self.terminal, 4096).decode(errors="replace")
                if not piece:
                    break
                self.text += piece.replace("\r", "")
        return self.text

    def wait_text(self, pattern):
        lab.wait_for(lambda: re.search(pattern, self.read()), f"{pattern} in {self.text}", 15)
        return self

    def pending(self):
        return self.wait_text(PENDING)

    def is_late(self):
        """So slow is this machine that the time may be over already."""
        return time.monotonic() - self.began >= self.seconds

    def ended(self):
        self.read()
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def end(self, seconds=15):
        """Its exit status; negative: by that signal."""
        lab.wait_for(self.ended, "the end of apply", seconds)
        self.hang_up()
        return self.status

    def hang_up(self):
        """As when the connection to the machine is lost."""
        if self.terminal is not None:
            os.close(self.terminal)
        self.terminal = None

    def press(self, keys):
        os.write(self.terminal, keys)


@contextlib.contextmanager
def attempt(machine, *words, **options):
    made = Attempt(machine, *words, **options)
    try:
        yield made
    finally:
        made.hang_up()
        if made.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(made.pid, signal.SIGKILL)
            os.waitpid(made.pid, 0)
        # Nobody of it is left who would take back what the next test applies.
        machine.tool("confirm", status=None)


def all_of(machine):
    return machine.ruleset(), machine.diverts()


def nothing(machine):
    machine.nft(text=FOREIGN)


def older(machine):
    """An older version of our rules, which have counted something already."""
    machine.nft(text=FOREIGN)
    machine.configure(edge_text(plcs='"10.30.0.9:5007", "[fd30::9]:5007"', interfaces='"local"'))
    machine.tool("apply")
    machine.add_default_routes()
    with machine.socket(kind=socket.SOCK_DGRAM) as sock, pytest.raises(PermissionError):
        sock.sendto(b"plain", ("10.30.0.9", 5007))


def by_hand(machine):
    older(machine)
    machine.nft(text=BY_HAND)


def guard_only(machine):
    """The boot file's, and a table of somebody else's behind it."""
    machine.nft(text=machine.tool("print", "--guard").stdout)
    machine.nft(text=FOREIGN)


def tproxy(machine):
    machine.configure(ROUTED)
    machine.tool("apply")


def other_chains(machine):
    """Base chains of another kind, so that the table has to be made anew as a whole."""
    machine.nft(text=machine.tool("print", "--guard").stdout)
    machine.nft(text=f"add chain {GUARD} early {{ type filter hook prerouting priority -300; }}\n"
                f"add rule {GUARD} early udp dport 9 counter packets 8 bytes 9\n")


BEFORE = [nothing, older, by_hand, guard_only, other_chains, tproxy]


def wait_taken_back(machine, before, seconds=15):
    with contextlib.suppress(lab.LabError):
        lab.wait_for(lambda: all_of(machine) == before, "everything as before", seconds)
    assert all_of(machine) == before


# --- kept -----------------------------------------------------------------------------------------


def test_enter_keeps_it(machine):
    with attempt(machine) as foreground:
        foreground.pending()
        assert "table inet mcseal_guard\n+ table inet mcseal_guard\n" in foreground.text
        assert_clean(machine)
        foreground.press(b"\n")
        assert foreground.end() == 0
        assert foreground.text.rstrip().endswith("applied and confirmed")
    assert_clean(machine)


def test_other_keys_do_not(machine):
    before = all_of(machine)
    with attempt(machine, SHORT) as foreground:
        foreground.pending().press(b"yes\x04\x04")
        assert foreground.end() == 1
    assert all_of(machine) == before


def test_confirmed_from_elsewhere(machine):
    with attempt(machine) as foreground:
        foreground.pending()
        assert machine.json("confirm") == {"confirmed": True}
        assert foreground.end() == 0 and "applied and confirmed" in foreground.text
    assert_clean(machine)
    assert machine.json("confirm", status=2) == {"confirmed": False}


@pytest.mark.parametrize("loss", ["hang-up", "kill"])
def test_confirmed_from_elsewhere_after_the_terminal_was_lost(machine, loss):
    """Logged in again in time: what was lost can still be kept."""
    with attempt(machine) as foreground:
        foreground.pending()
        if loss == "kill":
            os.kill(foreground.pid, signal.SIGKILL)
        else:
            foreground.hang_up()
        lab.wait_for(foreground_gone(foreground), "the foreground process's end", 10)
        machine.tool("confirm")
    lab.wait_for(lambda: "nothing waits" in machine.tool("confirm", status=None).stderr,
                 "the end of waiting", 10)
    assert_clean(machine)


def foreground_gone(foreground):
    def gone():
        pid, status = os.waitpid(foreground.pid, os.WNOHANG)
        if pid:
            foreground.status = os.waitstatus_to_exitcode(status)
        return bool(pid)
    return gone


def test_nothing_to_change_needs_no_confirmation(machine):
    machine.tool("apply")
    assert machine.tool("apply", "--confirm", LONG).stdout == "nothing to change\n"


def test_json(machine):
    with attempt(machine, words=["--json"]) as foreground:
        foreground.pending()
        machine.tool("confirm")
        assert foreground.end() == 0
    answer = json.loads(foreground.text[foreground.text.index("{"):])
    assert answer["outcome"] == "applied and confirmed" and answer["changes"]
    machine.configure(edge_text(plcs='"10.30.0.1:1", "[fd30::1]:1"'))
    with attempt(machine, SHORT, words=["--json"]) as foreground:
        assert foreground.end() == 1
    answer = json.loads(foreground.text[foreground.text.index("{"):])
    assert answer["outcome"] == "not confirmed: all is as before"


# --- taken back -----------------------------------------------------------------------------------


@pytest.mark.parametrize("prepare", BEFORE)
def test_time_is_up(machine, prepare):
    prepare(machine)
    before = all_of(machine)
    machine.configure(edge_text() if prepare is tproxy else ROUTED)
    with attempt(machine, SHORT) as foreground:
        foreground.pending()
        assert all_of(machine) != before or foreground.is_late()
        assert foreground.end() == 1
        assert foreground.text.rstrip().endswith("not confirmed: all is as before")
    assert time.monotonic() - foreground.began >= 1
    assert all_of(machine) == before
    # And what is there can be built upon.
    machine.tool("apply")
    assert_clean(machine)


@pytest.mark.parametrize("prepare, number", [(each, signal.SIGINT) for each in BEFORE] +
                         [(by_hand, signal.SIGTERM)])
def test_interrupted(machine, prepare, number):
    """Ctrl-C at the terminal, which all its processes get; SIGTERM for the foreground one."""
    prepare(machine)
    before = all_of(machine)
    machine.configure(edge_text() if prepare is tproxy else ROUTED)
    with attempt(machine) as foreground:
        foreground.pending()
        assert all_of(machine) != before
        if number == signal.SIGINT:
            foreground.press(b"\x03")
        else:
            os.kill(foreground.pid, number)
        assert foreground.end() == 1
    assert time.monotonic() - foreground.began < int(LONG) / 2, "at once, not in time"
    assert all_of(machine) == before


@pytest.mark.parametrize("prepare, loss", [(nothing, "hang-up"), (by_hand, "hang-up"),
                                           (tproxy, "hang-up"), (by_hand, "kill")])
def test_terminal_lost(machine, prepare, loss):
    """Nobody is there any more to say so: in time it is taken back by the process left behind."""
    prepare(machine)
    before = all_of(machine)
    machine.configure(edge_text() if prepare is tproxy else ROUTED)
    with attempt(machine, SHORT) as foreground:
        foreground.pending()
        if loss == "kill":
            os.kill(foreground.pid, signal.SIGKILL)
        else:
            foreground.hang_up()
        lab.wait_for(foreground_gone(foreground), "the foreground process's end", 10)
        assert foreground.status == (-signal.SIGKILL if loss == "kill" else -signal.SIGHUP)
        assert all_of(machine) != before or foreground.is_late(), "in time, not at once"
        wait_taken_back(machine, before)
    assert "nothing waits" in machine.tool("confirm", status=2).stderr


def test_elements_with_timeouts_go_on(machine):
    """Their time runs on: what is put back has what was left of it, and is gone when it is over."""
    older(machine)
    machine.nft(text=f"add set {MANAGED} short {{ type ipv4_addr; flags timeout; }}\n"
                f"add element {MANAGED} short {{ 192.0.2.7 timeout 1h, 192.0.2.8 timeout 2h "
                "expires 30m comment \"half\" }")

    def without_expiry():
        return re.sub(r" expires \S+", "", machine.ruleset())
    before = without_expiry()
    assert before.count("timeout 1h") == 1
    with attempt(machine, SHORT) as foreground:
        assert foreground.end() == 1
    assert without_expiry() == before
    left = re.findall(r"192\.0\.2\.(\d) timeout \dh expires (\S+)", machine.ruleset())
    assert dict(left)["7"].startswith("59m") and dict(left)["8"].startswith("29m"), left


def test_half_of_the_ip_rules_were_there(machine):
    """An ip rule of the admin's own, as TPROXY would make it, without its route."""
    machine.exec("ip", "rule", "add", "fwmark", nft_lab.DIVERT_MARK, "lookup", nft_lab.ROUTE_TABLE)
    before = all_of(machine)
    machine.configure(ROUTED)
    with attempt(machine, SHORT) as foreground:
        foreground.pending()
        assert foreground.end() == 1
    assert all_of(machine) == before


def test_a_table_that_is_made_anew_moves_behind_others(machine):
    """The one thing that may differ: the order of tables, which means nothing to the kernel."""
    def tables():
        return sorted(re.split(r"^(?=table )", machine.ruleset(), flags=re.MULTILINE))
    other_chains(machine)
    machine.nft(text=FOREIGN)
    before = tables()
    with attempt(machine, SHORT) as foreground:
        assert foreground.end() == 1
    assert tables() == before


def test_changed_by_a_stranger_meanwhile(machine):
    """Taken back all the same; the stranger's own table stays."""
    older(machine)
    before = machine.ruleset()
    machine.configure(edge_text())
    with attempt(machine) as foreground:
        foreground.pending()
        machine.nft(text=f"flush chain {GUARD} output; add table ip stranger")
        machine.nft(text=f"add rule {GUARD} output accept")
        foreground.press(b"\x03")
        assert foreground.end() == 1
    machine.nft("delete", "table", "ip", "stranger")
    assert machine.ruleset() == before


# --- one at a time --------------------------------------------------------------------------------


def test_a_second_apply_is_refused(machine):
    with attempt(machine) as foreground:
        foreground.pending()
        before = all_of(machine)
        machine.configure(edge_text(plcs='"10.30.0.1:1", "[fd30::1]:1"'))
        for words in (["apply"], ["apply", "--confirm", "5"], ["apply", "--json"],
                      ["apply", "--observe"], ["remove"], ["remove", "--guard"]):
            result = machine.tool(*words, status=2)
            assert "another apply" in result.stderr and "waits to be confirmed" in result.stderr
            assert all_of(machine) == before
        # Looking is free.
        machine.tool("diff", status=1)
        machine.tool("check")
        foreground.press(b"\x03")
        assert foreground.end() == 1
    assert machine.ruleset() == ""
    machine.tool("apply")


def test_nothing_waits(machine):
    result = machine.tool("confirm", status=2)
    assert result.stderr == "mcseal-nft: nothing waits to be confirmed\n" and not result.stdout
    machine.tool("apply")
    assert machine.json("confirm", status=2) == {"confirmed": False}


def test_other_namespaces_have_nothing_to_do_with_it(machine, tmp_path):
    with attempt(machine) as foreground, Machine(tmp_path) as other:
        foreground.pending()
        other.tool("confirm", status=2)
        other.tool("apply")
        machine.tool("confirm")
        assert foreground.end() == 0


def test_without_the_right_nobody_confirms(machine):
    """Whoever may not change rules may not keep them either, and is told so."""
    with attempt(machine) as foreground:
        foreground.pending()
        result = machine.tool("confirm", status=2,
                              prefix=["setpriv", "--reuid=65534", "--regid=65534",
                                      "--clear-groups"])
        assert "this needs root or CAP_NET_ADMIN" in result.stderr, result.stderr
        foreground.press(b"\x03")
        assert foreground.end() == 1
    assert machine.ruleset() == ""


def test_not_restored_while_an_apply_waits(machine):
    """`watch --restore` would take away what is being tried."""
    older(machine)
    watched, tried = machine.config, machine.folder / "tried.conf"
    watch = machine.start("watch", "--restore")
    watch.wait_text("watching", 10)
    tried.write_text(edge_text(source='addresses = { "10.10.0.7" }'))
    before = machine.ruleset()
    machine.config = tried
    with attempt(machine) as foreground:
        foreground.pending()
        watch.wait_text("^not restored: .*another change waits to be confirmed", 10)
        assert_clean(machine)
        foreground.press(b"\x03")
        assert foreground.end() == 1
    machine.config = watched
    watch.wait_text("^the rules are as they should be", 10)
    assert watch.stop() == 0 and not watch.lines("were restored")
    assert machine.ruleset() == before


# --- what will be cut is told before --------------------------------------------------------------


@pytest.fixture
def line(tmp_path):
    assert os.geteuid() == 0, "these tests make network namespaces: run them as root"
    with lab.Net(prefix=f"mcconf-{os.getpid()}-") as net:
        net.folder = tmp_path
        for name in net.names:
            lab.wait_for(lambda ns=name: not net.exec(ns, "ip", "-6", "addr", "show",
                                                      "tentative").stdout, "IPv6 addresses")
        yield net


def plain_connections(net, stack):
    """Of the client to the PLC, over IPv4 and IPv6: as the rules will name them."""
    Listener(net.folder, net.ns("plc"), 5007, keep=True)
    made = {}
    for family, host in ((socket.AF_INET, lab.Net.PLC4), (socket.AF_INET6, lab.Net.PLC6)):
        with nft_lab.inside(net.ns("client")):
            sock = stack.enter_context(socket.socket(family))
        sock.settimeout(5 * lab.PATIENCE)
        sock.connect((host, 5007))
        own = "{}:{}" if family == socket.AF_INET else "[{}]:{}"
        made[own.format(*sock.getsockname()[:2]), own.format(host, 5007)] = sock
    return made


@pytest.mark.parametrize("place", ["client", "edge"])
def test_connections_that_will_be_cut(line, place):
    """Told before anything happens; and cut they are. Those that go to mcseald are not listed."""
    interfaces = {"client": '"local"', "edge": '"to-client"'}[place]
    text = edge_text(interfaces=interfaces)
    machine = Machine(line.folder, text, line.ns(place))
    # On a router only connection tracking knows them; somebody's rule has to have asked for it.
    if place == "edge":
        machine.nft(text="table inet own {\nchain f {\ntype filter hook forward priority 0\n"
                         "ct state established counter accept\n}\n}\n")
    with contextlib.ExitStack() as stack:
        plain = plain_connections(line, stack)
        with attempt(machine) as foreground:
            foreground.pending()
            listed = re.findall(r"^plain connection that the guard will cut: (\S+) -> (\S+) tcp$",
                                foreground.text[:foreground.text.index("applied.")], re.MULTILINE)
            assert sorted(listed) == sorted(plain)
            foreground.press(b"\n")
            assert foreground.end() == 0
        for sock in plain.values():
            sock.sendall(lab.read_words(0, 1))
            assert lab.receive_end(sock) == b""
        Listener(line.folder, machine.ns, keep=True)
        redirected = plain_connections(line, stack)
        machine.configure(edge_text(plcs=nft_lab.PLCS + ', "10.30.0.99:1"', interfaces=interfaces))
        answer = machine.json("apply")
        assert answer["changes"] and answer["connections"] == []
        assert redirected


def test_connections_in_json(line):
    machine = Machine(line.folder, edge_text(interfaces='"local"'), line.ns("client"))
    with contextlib.ExitStack() as stack:
        plain = plain_connections(line, stack)
        listed = machine.json("apply")["connections"]
        assert sorted((each["from"], each["to"], each["protocol"]) for each in listed) == \
            sorted((*ends, "tcp") for ends in plain)
