#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The installed units under a real systemd: rules first, ready, reload, watchdog, socket unit."""
import json
import re
import shutil

import pytest

import booted
import lab

SITE = """
plc "press-1" { address = "10.30.0.10" port "5007" { } }
identity "ana" { match = { "uri:urn:mcseal:client:ana" } plcs = { "press-1" } }
gateway "plant" {
	listen = { "127.0.0.1:8443" }
	certificate = "/etc/mcseal/gw.pem"
	key = "/etc/mcseal/gw.key"
	ca = "/etc/mcseal/ca.pem"
	crl = "/etc/mcseal/crl.pem"
}
audit { file = "/var/log/mcseal/audit.jsonl" }
nft { plc_networks = { "10.30.0.0/24" } }
"""
# As the README has it: user, folder, who may read what. One property a line, under a heading that
# the test looks for.
SCRIPT = r"""
show() { echo "[$1]"; shift; "$@" 2>&1; }
state() { show "$1" systemctl show mcseald -p ActiveState -p SubState -p StatusText -p NRestarts -p MainPID; }
until_true() { for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return 0; sleep 0.1; done; echo "NEVER: $*"; }
systemd-sysusers mcseal.conf && systemd-tmpfiles --create mcseal.conf
chown mcseal /etc/mcseal/*.key && chmod 0600 /etc/mcseal/*.key && chmod 0644 /etc/mcseal/*.pem
systemctl start mcseal-nft mcseald || { journalctl --no-pager -u mcseald -u mcseal-nft; exit 1; }
state started
show order systemctl show mcseald mcseal-nft -p Id -p ActiveEnterTimestampMonotonic
show rules nft list tables
show threads grep -hE '^(Uid|CapEff|Seccomp|NoNewPrivs):' /proc/$(systemctl show mcseald -p MainPID --value)/status
show status mcseal status --json
show audit stat -c '%U %a' /var/log/mcseal /etc/mcseal
systemctl reload mcseald; sleep 0.5; state reloaded
echo nonsense >> /etc/mcseal/mcseald.conf; systemctl reload mcseald; sleep 0.5; state faulty
sed -i '$d' /etc/mcseal/mcseald.conf; systemctl reload mcseald; sleep 0.5; state mended
kill -STOP $(systemctl show mcseald -p MainPID --value)
until_true sh -c 'systemctl show mcseald -p NRestarts --value | grep -qx 1 && systemctl is-active mcseald'
state watchdog
systemctl stop mcseald
systemctl start mcseald.socket
state waiting
python3 -c 'import socket; socket.create_connection(("127.0.0.1", 8443)).close()'
until_true systemctl is-active mcseald
state activated
show sockets journalctl --no-pager -o cat -u mcseald -g 'socket-unused|listen-failed|not-confined'
systemctl stop mcseald.socket mcseald mcseal-nft
show stopped systemctl is-active mcseald mcseal-nft
show rules-stay nft list tables
show failed systemctl --no-legend --no-pager --failed
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """{heading: what was printed below it}."""
    folder = tmp_path_factory.mktemp("pki")
    pki = lab.Pki(folder / "pki")
    gateway = pki.gateway()
    with booted.Root() as root:
        lab.run("make", "install", f"DESTDIR={root.path}", "PREFIX=/usr",
                f"FLAVOUR={lab.BUILD.name}", cwd=lab.ROOT, timeout=300)
        root.write("/etc/mcseal/mcseald.conf", SITE)
        for path, name in ((gateway.certificate, "gw.pem"), (gateway.key, "gw.key"),
                           (pki.ca, "ca.pem"), (pki.crl, "crl.pem")):
            shutil.copy(path, root.path / "etc/mcseal" / name)
        # Half a minute is long for a test; the rest of the unit is as installed.
        root.write("/etc/systemd/system/mcseald.service.d/test.conf",
                   "[Service]\nWatchdogSec=2\nTimeoutAbortSec=2\n")
        example = (lab.ROOT / "docs/examples/mcseald.socket").read_text()
        root.write("/etc/systemd/system/mcseald.socket",
                   example.replace("10.20.0.2:8443", "127.0.0.1:8443"))
        text = root.boot(SCRIPT)
    print(text)
    parts = re.split(r"(?m)^\[([\w-]+)\]\n", text)
    return dict(zip(parts[1::2], parts[2::2]))


def values(text):
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def test_it_is_ready_with_its_rules_before_it(seen):
    state = values(seen["started"])
    assert (state["ActiveState"], state["StatusText"]) == ("active", "running")
    assert "table inet mcseal" in seen["rules"]
    entered = {unit["Id"]: int(unit["ActiveEnterTimestampMonotonic"])
               for unit in map(values, seen["order"].strip().split("\n\n"))}
    assert 0 < entered["mcseal-nft.service"] < entered["mcseald.service"]


def test_it_is_nobody_and_confined(seen):
    process = dict(line.split(":\t", 1) for line in seen["threads"].splitlines())
    assert "0" not in process["Uid"].split()
    assert int(process["CapEff"], 16) == 1 << 13  # CAP_NET_RAW
    assert (process["NoNewPrivs"], process["Seccomp"]) == ("1", "2")
    status = json.loads(seen["status"])
    assert all(layer["in_force"] for layer in status["confinement"].values()), status
    assert status["engine"]["loop"] == "io_uring"
    assert seen["audit"].splitlines() == ["mcseal 750", "root 750"]


def test_reload(seen):
    pid = values(seen["started"])["MainPID"]
    for heading, text in (("reloaded", "running"), ("mended", "running"),
                          ("faulty", "running; the last reload failed, see the log")):
        state = values(seen[heading])
        assert (state["ActiveState"], state["MainPID"]) == ("active", pid)
        assert state["StatusText"] == text


def test_watchdog(seen):
    state = values(seen["watchdog"])
    assert (state["ActiveState"], state["NRestarts"], state["StatusText"]) == \
        ("active", "1", "running"), seen["watchdog"]
    assert state["MainPID"] != values(seen["started"])["MainPID"]


def test_socket_unit(seen):
    assert values(seen["waiting"])["ActiveState"] == "inactive"
    state = values(seen["activated"])
    assert (state["ActiveState"], state["StatusText"]) == ("active", "running")
    assert "socket-unused" not in seen["sockets"] and "listen-failed" not in seen["sockets"]


def test_end(seen):
    """Stopped, it is no failure; the rules stay, so that nothing gets past."""
    assert seen["stopped"].split() == ["inactive", "inactive"]
    assert "table inet mcseal" in seen["rules-stay"]
    assert seen["failed"].strip() == ""
