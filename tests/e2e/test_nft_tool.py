#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""mcseal-nft as an admin uses it, each time on a machine (network namespace) of its own: what it
says of a configuration and of the kernel's rules, and changes nothing.

What it changes is in test_nft_tool_changes.py, --confirm in test_nft_confirm.py; what the rules do
to packets in test_nft.py and test_nft_leaks.py.
"""
import os
import re
import time

import pytest

import nft_lab
from nft_lab import (FOREIGN, GUARD, MANAGED, ROUTED, Machine, assert_clean, edge_text,
                     gateway_text)

REFUSAL = '"to a protected PLC"'


@pytest.fixture
def machine(tmp_path):
    assert os.geteuid() == 0, "these tests make network namespaces: run them as root"
    with Machine(tmp_path) as made:
        yield made


@pytest.fixture
def applied(machine):
    machine.tool("apply")
    return machine


def lines_of(machine, *words):
    """What `diff` says, without the line that names the table; JSON says the same."""
    text = machine.tool("diff", *words, status=1).stdout
    found = [line for line in text.splitlines() if not line.startswith("table ")]
    signs = {"add": "+", "remove": "-"}
    assert [f"{signs[line['change']]} {line['what']}" for line in
            machine.json("diff", *words, status=1) if line["what"] != "ip rule and route"] == \
        [line for line in found if not line[2:].startswith("ip -")]
    return found


# --- usage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("words, message", [
    ([], "a command is missing: print, check, diff, apply, confirm, remove or watch"),
    (["aply"], 'there is no command "aply", expected print, check'),
    (["apply", "now"], "'now' is one word too many"),
    (["check", "--observe"], "--observe does not go with check"),
    (["diff", "--guard"], "--guard does not go with diff"),
    (["print", "--restore"], "--restore does not go with print"),
    (["print", "--confirm", "5"], "--confirm does not go with print"),
    (["remove", "--admission"], "--admission does not go with remove"),
    (["print", "--admission", "--guard"], "--admission stands alone"),
    (["apply", "--confirm", "0"], "'0' is not valid, expected 1 to 3600 seconds"),
    (["apply", "--confirm", "3601"], "'3601' is not valid"),
    (["apply", "--confirm", "1m"], "'1m' is not valid"),
    (["apply", "--confirm", ""], "'' is not valid"),
    (["apply", "--sure"], "unrecognized option '--sure'"),
])
def test_usage_errors(machine, words, message):
    result = machine.tool(*words, status=2)
    assert message in result.stderr and result.stdout == ""
    assert machine.ruleset() == ""


def test_version_and_help(machine):
    assert re.fullmatch(r"mcseal-nft \S+\n", machine.tool("--version").stdout)
    text = machine.tool("--help").stdout
    for word in ("print", "check", "diff", "apply", "confirm", "remove", "watch", "Exit status"):
        assert word in text


COMMANDS = ("print", "check", "diff", "apply", "remove")


@pytest.mark.parametrize("command", COMMANDS)
def test_config_errors(machine, command):
    machine.configure(edge_text() + "nft { route_table = 300 }\nnonsense = 1\n")
    number = len(edge_text().splitlines()) + 1
    result = machine.tool(command, status=2)
    assert re.search(rf"^{machine.config}:{number}: error: .*route_table.*1 to 252", result.stderr,
                     re.MULTILINE), result.stderr
    assert f"{machine.config}:{number + 1}: error" in result.stderr
    assert result.stdout == "" and machine.ruleset() == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_no_config(machine, command):
    machine.config.unlink()
    assert f"{machine.config}" in machine.tool(command, status=2).stderr


def test_what_only_the_rules_demand(machine):
    """Faults that the daemon can live with, told like the configuration's own."""
    machine.configure(edge_text(listen='"127.0.0.1:15007"'))
    said = machine.tool("print", status=2).stderr
    assert re.search(rf"^{machine.config}:3: error: listen: edge \"office\" carries IPv6 "
                     r"destinations, but listens on no IPv6", said, re.MULTILINE)
    machine.configure("mark = 0" + gateway_text())
    assert re.search(r"error: gateway \"plant\": .*expected mark = \.\.\. at the top level, not 0",
                     machine.tool("apply", status=2).stderr)
    assert machine.ruleset() == ""


# --- print ----------------------------------------------------------------------------------------


def test_print_is_the_same_each_time(machine):
    machine.configure(edge_text() + gateway_text())
    for words in ([], ["--guard"], ["--observe"], ["--guard", "--observe"], ["--admission"],
                  ["--json"], ["--json", "--guard"]):
        text = machine.tool("print", *words).stdout
        assert text and text == machine.tool("print", *words).stdout
        assert not re.search(time.strftime("%Y|%H:%M"), text), "a date"
        assert str(machine.config) not in text and os.uname().nodename not in text
    assert machine.ruleset() == ""


def test_print_is_what_apply_installs(machine):
    """The order of the file's sections makes no difference to which elements there are."""
    machine.configure(edge_text() + gateway_text())
    machine.tool("apply")
    installed = machine.nft("-s", "list", "ruleset").stdout
    machine.nft("flush", "ruleset")
    text = machine.tool("print").stdout
    for _ in range(2):
        machine.nft(text=text)
        assert machine.nft("-s", "list", "ruleset").stdout == installed
        assert_clean(machine)
    machine.nft("flush", "ruleset")
    machine.exec("nft", "-j", "-f", "-", input=machine.tool("--json", "print").stdout)
    assert machine.rule_count() == len(
        re.findall(r"^\t\t.*\b(?:counter|jump)\b", installed, re.MULTILINE))


def test_print_guard(machine):
    whole, guard = (machine.tool("print", *words).stdout for words in ([], ["--guard"]))
    assert "table inet mcseal {" in whole and "table inet mcseal {" not in guard
    assert "table inet mcseal_guard {" in guard and "flush ruleset" not in whole
    machine.nft(text=guard)
    assert "mcseal {" not in machine.ruleset()
    assert not [line for line in lines_of(machine) if line.startswith("-")]
    document = machine.json("print", "--guard")
    assert {body.get("table", body.get("name")) for entry in document["nftables"]
            for command in entry.values() for kind, body in command.items()
            if kind in ("chain", "rule", "set", "element")} == {"mcseal_guard"}


def test_print_observe(machine):
    """Nothing in it refuses, drops or redirects."""
    text = machine.tool("print", "--observe").stdout
    assert "OBSERVING" in text and "mcseal-would-block" in text and "mcseal-would-redirect" in text
    assert not re.search(r"^(?!#).*\b(drop|reject|redirect to|tproxy)\b", text, re.MULTILINE)
    machine.nft(text=text)
    assert machine.tool("diff", "--observe").stdout == ""
    assert lines_of(machine)


def test_print_admission(machine):
    machine.configure(edge_text() + gateway_text())
    text = machine.tool("print", "--admission").stdout
    assert "tcp dport 15007 ct status dnat accept" in text and "tcp dport 8443 accept" in text
    assert "--add-port=15007/tcp" in text and "ufw allow in proto tcp to any port 8443" in text
    for line in re.findall(r"nftables: +(.*accept)", text):
        machine.nft(text="table inet own {\nchain input {\ntype filter hook input priority 0\n"
                         f"policy drop\n{line}\n}}\n}}\n")
    entrances = machine.json("print", "--admission")
    assert [(each["section"], each["name"], each["port"]) for each in entrances] == [
        ("edge", "office", 15007), ("gateway", "plant", 8443)]
    for each in entrances:
        assert each["nftables"] in text and each["firewalld"] in text and each["ufw"] in text
    machine.configure(ROUTED)
    assert machine.json("print", "--admission")[0]["port"] == 0
    assert f"meta mark 0x{nft_lab.DIVERT_MARK:08x} accept" in \
        machine.tool("print", "--admission").stdout


# --- check ----------------------------------------------------------------------------------------


def warnings_of(machine):
    result = machine.tool("check")
    found = re.findall(r"^warning: (.*)$", result.stdout, re.MULTILINE)
    count = len(found)
    assert f"the kernel takes the rules; {count} warning{'' if count == 1 else 's'}\n" \
        in result.stdout
    answer = machine.json("check")
    assert answer["taken"] is True and answer["warnings"] == count
    assert [line[len("warning: "):] for line in answer["report"]] == found
    return found


def with_guard_file(machine, text):
    path = machine.folder / "guard.nft"
    machine.configure(f'nft {{ guard_file = "{path}" }}\n{text}')
    return path


def test_check_finds_nothing(machine):
    path = with_guard_file(machine, edge_text())
    path.write_text(machine.tool("print", "--guard").stdout)
    machine.nft(text=FOREIGN)
    before = machine.ruleset()
    assert warnings_of(machine) == []
    assert machine.ruleset() == before


def test_check_changes_nothing_of_what_is_there(applied):
    """With everything to be exchanged, ip rules as well."""
    applied.configure(ROUTED)
    before = applied.ruleset(), applied.diverts()
    applied.tool("check")
    assert (applied.ruleset(), applied.diverts()) == before


def test_check_guard_file(machine):
    assert [line for line in warnings_of(machine) if "guard_file is not set" in line]
    path = with_guard_file(machine, edge_text())
    assert [line for line in warnings_of(machine) if f"{path}: No such file" in line]
    path.write_text(machine.tool("print", "--guard").stdout)
    assert warnings_of(machine) == []
    path.write_text(path.read_text().replace("5007", "5008"))
    assert [line for line in warnings_of(machine)
            if f"{path} is not the guard of this configuration" in line]


def test_check_interface_and_listener(machine):
    path = with_guard_file(machine, edge_text(interfaces='"to-client", "eth77"',
                                              listen='"127.0.0.1:15007", "[::1]:15007"'))
    path.write_text(machine.tool("print", "--guard").stdout)
    found = warnings_of(machine)
    assert len(found) == 3, found
    assert 'edge "office": there is no interface "eth77" now' in found[0]
    assert "listens on 127.0.0.1:15007" in found[1] and "listen on 0.0.0.0" in found[1]
    assert "listens on [::1]:15007" in found[2] and "listen on [::]" in found[2]


@pytest.mark.parametrize("policy, warned", [("drop", True), ("accept", False)])
def test_check_other_firewalls(machine, policy, warned):
    machine.nft(text="add table ip ufw\nadd chain ip ufw INPUT { type filter hook input priority 0;"
                     f" policy {policy}; }}\nadd chain ip ufw OUT "
                     "{ type filter hook output priority 0; policy drop; }\n")
    found = [line for line in warnings_of(machine) if "chain INPUT of table ufw drops" in line]
    assert bool(found) is warned and all("print --admission" in line for line in found)


def test_check_conntrack(machine):
    """More sessions than half of what the kernel can track, whatever that is."""
    machine.configure("limits { sessions = 1000000 }\n" + edge_text())
    maximum = machine.exec("sysctl", "-n", "net.netfilter.nf_conntrack_max", check=False)
    if maximum.returncode != 0:
        machine.tool("apply")  # loads what was not there
        maximum = machine.exec("sysctl", "-n", "net.netfilter.nf_conntrack_max")
    assert int(maximum.stdout) < 2000000
    assert [line for line in warnings_of(machine)
            if f"nf_conntrack_max is {int(maximum.stdout)}, limits.sessions 1000000" in line]


# --- diff -----------------------------------------------------------------------------------------



def test_diff_of_nothing_and_of_all(machine):
    assert "+ table inet mcseal_guard" in lines_of(machine)
    machine.tool("apply")
    assert_clean(machine)
    assert machine.json("diff") == []


@pytest.mark.parametrize("change, expected", [
    (f"add element {GUARD} plc4 {{ 10.30.0.99 . 5007 }}", ["- set plc4: 10.30.0.99 . 5007"]),
    (f"delete element {GUARD} plc4 {{ 10.30.0.10 . 5003 }}",
     ['+ set plc4: 10.30.0.10 . 5003 comment "plant"']),
    (f"delete element {MANAGED} edge/office/plc4 {{ 10.30.0.10 . 5001-5007 }}",
     ['+ set edge/office/plc4: 10.30.0.10 . 5001-5007 comment "plant"']),
    (f"delete element {MANAGED} edge/office/interfaces {{ to-client }}",
     ['+ set edge/office/interfaces: "to-client"']),
    (f"add rule {MANAGED} nat_output counter accept",
     [r"- chain nat_output: rule handle \d+: .*counter.*accept.*"]),
    (f'insert rule {GUARD} output tcp dport 5007 accept comment "just for today"',
     [r'- chain output: rule handle \d+ "just for today": .*']),
    (f"flush chain {GUARD} output", [r"\+ chain output: jump protected .*"]),
    (f"add chain {GUARD} more", ["- chain more"]),
    (f"add set {MANAGED} more {{ type ipv4_addr; }}", ["- set more"]),
    (f"add map {MANAGED} more {{ type ipv4_addr : verdict; elements = {{ 192.0.2.1 : accept }} }}",
     ["- set more"]),
    (f"add counter {MANAGED} more", ["- named object more"]),
    (f"add chain {GUARD} output {{ policy drop; }}", ["- chain output: policy drop"]),
    (f"add table {GUARD} {{ flags dormant; }}",
     ["- flags dormant: the whole table is switched off"]),
    (f"add chain {GUARD} zz {{ type filter hook output priority -300; policy accept; }}",
     ["- chain zz"]),
])
def test_diff_names_what_was_changed_by_hand(applied, change, expected):
    applied.nft(text=FOREIGN)
    others = applied.nft("list", "table", "inet", "other").stdout
    clean = applied.nft("-s", "list", "ruleset").stdout
    applied.nft(text=change)
    found = lines_of(applied)
    assert len(found) == len(expected), found
    for line, pattern in zip(found, expected):
        assert line == pattern or re.fullmatch(pattern, line), line
    assert applied.tool("diff", status=1).stdout.startswith("table inet mcseal")
    # And apply puts it right, touching nothing else.
    assert "applied" in applied.tool("apply").stdout
    assert_clean(applied)
    assert applied.nft("-s", "list", "ruleset").stdout == clean
    assert applied.nft("list", "table", "inet", "other").stdout == others


def test_diff_of_rules_removed_and_reordered(applied):
    first = applied.handles("protected")[0]
    applied.nft("delete", "rule", *GUARD.split(), "protected", "handle", first)
    removed = lines_of(applied)
    assert removed == ["+ chain protected: ip daddr . tcp dport @plc4 counter goto refuse_plain "
                       f"comment {REFUSAL}"]
    applied.tool("apply")
    rules = applied.nft("-n", "list", "chain", *GUARD.split(), "protected").stdout
    last = re.findall(r"^\t\t(ip6? daddr.*)$", rules, re.MULTILINE)[-1]
    applied.nft("delete", "rule", *GUARD.split(), "protected", "handle",
                applied.handles("protected")[-1])
    applied.nft(text=f"insert rule {GUARD} protected {last}")
    assert lines_of(applied) == ["- chain protected: another order of its rules"]
    applied.tool("apply")
    assert_clean(applied)


def test_diff_of_chains_and_sets_of_another_kind(applied):
    clean = applied.nft("-s", "list", "ruleset").stdout
    applied.nft(text=f"flush chain {GUARD} forward; delete chain {GUARD} forward")
    assert "+ chain forward { type filter hook forward priority filter + 10 }" in lines_of(applied)
    applied.nft(text=f"add chain {GUARD} forward {{ type filter hook output priority 3; }}")
    assert "- chain forward: at another hook" in lines_of(applied)
    applied.nft(text=f"flush chain {MANAGED} input; delete set {MANAGED} redirect_listeners; "
                     f"add set {MANAGED} redirect_listeners {{ type ipv4_addr; }}")
    found = lines_of(applied)
    assert "- set redirect_listeners: of another type or comment" in found
    assert "+ set redirect_listeners: 15007" in found
    applied.nft(text=f"add rule {MANAGED} input ip saddr @redirect_listeners drop")
    applied.tool("apply")
    assert_clean(applied)
    assert sorted(applied.nft("-s", "list", "ruleset").stdout.split("\n")) == \
        sorted(clean.split("\n"))


def test_diff_of_ip_rules(machine):
    """What TPROXY needs besides; with a part of it gone by hand."""
    machine.configure(ROUTED)
    assert len([line for line in lines_of(machine) if re.match(r"\+ ip -[46] rule", line)]) == 2
    machine.tool("apply")
    assert machine.diverts().count(f"fwmark 0x{nft_lab.DIVERT_MARK:x} lookup 207") == 2
    assert machine.diverts().count("local default dev lo") == 2
    machine.exec("ip", "-6", "rule", "del", "fwmark", nft_lab.DIVERT_MARK, "lookup", "207")
    assert lines_of(machine) == [
        "+ ip -6 rule fwmark 0x4d430002 lookup 207, route local default"]
    machine.exec("ip", "-4", "route", "flush", "table", "207")
    assert len(machine.json("diff", status=1)) == 2
    assert {line["family"] for line in machine.json("diff", status=1)} == {"ipv4", "ipv6"}
    machine.tool("apply")
    assert_clean(machine)
    machine.tool("remove")
    assert "fwmark" not in machine.diverts() and "local" not in machine.diverts().replace(
        "lookup local", "")
