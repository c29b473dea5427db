#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`mcseal doctor`: each fault is provoked, its step FAILED, and where the cure is a command of this
machine it is typed, and the fault is gone.

client - edge - gateway - plc in namespaces, with rules, guard and daemons: nothing is wrong there.
"""
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import pytest

import lab
import tls_papers

MCSEAL = lab.BUILD / "mcseal"
STEPS = ["configuration", "kernel", "certificates", "clock", "daemon", "ports", "rules", "names",
         "gateways", "plcs"]
# What depends on the machine that runs the tests, not on mcseal.
OF_THE_MACHINE = {("kernel", "kernel TLS"), ("kernel", "io_uring"), ("kernel", "splice"),
                  ("clock", "")}


class Plant:
    """Both ends, each with its rules, control socket and daemon."""

    def __init__(self, net, pki, folder, sockets):
        self.net, self.pki, self.folder, self.sockets = net, pki, folder, sockets
        self.plc = self.start_plc()
        self.configs = {"gateway": self.gateway(), "edge": self.edge()}
        for name, text in self.configs.items():
            path = self.write(name, text)
            (folder / f"{name}.guard").write_text(self.nft(name, path, "print", "--guard"))
            self.nft(name, path, "apply")
        self.daemons = {name: self.start(name) for name in self.configs}

    def start_plc(self, *options):
        return lab.Plc(self.folder, *options, listen=f"{lab.Net.PLC4}:5007",
                       netns=self.net.ns("plc"))

    def nft(self, name, path, *words):
        return self.net.exec(name, lab.BUILD / "mcseal-nft", "-c", path, *words,
                             stderr=None).stdout

    def write(self, name, text):
        path = self.folder / f"{name}.conf"
        path.write_text(text)
        return path

    def start(self, name):
        (self.folder / f"{name}.log").unlink(missing_ok=True)  # of the one before it
        return lab.Daemon(self.folder, self.configs[name], netns=self.net.ns(name), name=name)

    def head(self, name):
        return (f'workers = 1\ncontrol_socket = "{self.sockets}/{name}"\n'
                f'nft {{ guard_file = "{self.folder}/{name}.guard" }}\n')

    def gateway(self, credentials=None, identity="edge:office", listen=lab.Net.GATEWAY4,
                lines=""):
        return self.head("gateway") + f"""
plc "press-1" {{ address = "{lab.Net.PLC4}" port "5007" {{ connections = 4 }} {lines} }}
identity "edge-office" {{ match = {{ "uri:urn:mcseal:{identity}" }} role = edge plcs = {{ "press-1" }} }}
gateway "plant" {{
	listen = {{ "{listen}:8443" }}
	{(credentials or self.pki.at_gateway).config()}
}}
"""

    def edge(self, credentials=None, gateways='"10.20.0.2:8443"', route=""):
        return self.head("edge") + f"""
edge "office" {{
	listen = {{ "0.0.0.0:15007" }}
	interfaces = {{ "to-client" }}
	{(credentials or self.pki.at_edge).config()}
	source "scada" {{ addresses = {{ "{lab.Net.CLIENT4}" }} }}
	route "plant" {{
		destinations = {{ "{lab.Net.PLC4}:5007" }}
		gateways = {{ {gateways} }}
		{route}
	}}
}}
"""

    def doctor(self, name, path=None, *words, status=None):
        """Its findings about a file, or about what the daemon there runs with."""
        path = path or self.folder / f"{name}.conf"
        with self.net.inside(name):
            result = subprocess.run([MCSEAL, "doctor", "--json", "--config", path, *words],
                                    text=True, check=False, capture_output=True,
                                    timeout=120 * lab.PATIENCE)
        findings = Findings(json.loads(line) for line in result.stdout.splitlines())
        assert result.stderr == "", result.stderr
        assert result.returncode == (1 if findings.of("FAILED") else 0), findings
        assert status is None or result.returncode == status, findings
        return findings

    def try_text(self, name, text, *words):
        """The same about a text that no daemon runs with."""
        path = self.folder / f"{name}-tried.conf"
        path.write_text(text)
        return self.doctor(name, path, *words)

    def type(self, name, cure):
        """A cure, typed by root on that machine; programs are those of the build."""
        path = os.pathsep.join((str(lab.BUILD), str(lab.PKI_TOOL.parent), os.environ["PATH"]))
        return self.net.exec(name, "env", f"PATH={path}", "sh", "-c", cure, stdin=subprocess.DEVNULL)


class Findings(list):
    def of(self, result):
        return [one for one in self if one["result"] == result]

    def failed(self):
        return {one["step"] for one in self.of("FAILED")}

    def the(self, step, result, what=""):
        """The one finding of that step and result whose text has `what`."""
        found = [one for one in self.of(result) if one["step"] == step and what in one["what"]]
        assert len(found) == 1, (step, result, what, self)
        return found[0]


@pytest.fixture(scope="module")
def net():
    with lab.Net(prefix=f"mcdoc-{os.getpid()}-") as made:
        yield made


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    made = lab.Pki(tmp_path_factory.mktemp("pki") / "pki")
    made.at_gateway = made.gateway("gw", [lab.Net.GATEWAY4])
    made.at_edge = made.edge("office")
    return made


@pytest.fixture
def plant(net, pki, tmp_path):
    with tempfile.TemporaryDirectory(prefix="mcseal-") as sockets:
        made = Plant(net, pki, tmp_path, sockets)
        yield made
        for process in filter(None, (*made.daemons.values(), made.plc)):
            lab.assert_clean(process, process.stop())


# --- nothing is wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["edge", "gateway"])
def test_all_is_well(plant, name):
    findings = plant.doctor(name, None, "--plc", status=0)
    assert [one["step"] for one in findings] == sorted((one["step"] for one in findings),
                                                       key=STEPS.index)
    assert {one["step"] for one in findings} == set(STEPS)
    # Warnings are about this machine, or about certificates of a day.
    for one in findings:
        assert one["result"] in ("ok", "note") or (one["step"], one["about"]) in OF_THE_MACHINE or \
            "nf_conntrack_max" in one["what"], one
    assert "its CPU is in RUN" in findings.the("plcs", "ok")["what"]
    assert findings.the("daemon", "ok") and findings.the("ports", "ok")


def test_text(plant):
    """For people the same: a line each, the cure below."""
    with plant.net.inside("edge"):
        result = lab.run(MCSEAL, "doctor", "-c", plant.folder / "edge.conf", check=False)
    assert result.returncode == 0, result.stdout
    assert re.search(r"(?m)^gateways +ok +edge \"office\" route \"plant\" 10\.20\.0\.2:8443: "
                     r"TLSv1\.3, ", result.stdout), result.stdout
    assert re.search(r"(?m)^plcs +not asked +a read would take .*\n +-> mcseal doctor --plc$",
                     result.stdout), result.stdout


# --- configuration, files ------------------------------------------------------------------------


def test_configuration_unreadable(plant):
    findings = plant.doctor("edge", plant.folder / "none.conf", status=1)
    assert findings.failed() == {"configuration"}
    assert "cannot read" in findings.the("configuration", "FAILED")["what"]
    assert {one["step"] for one in findings.of("not asked")} == set(STEPS[1:])


def test_configuration_wrong(plant):
    findings = plant.try_text("edge", plant.edge().replace("interfaces", "interface"))
    finding = findings.the("configuration", "FAILED")
    assert re.search(r"edge-tried\.conf:\d+$", finding["about"]), finding
    assert "mcseal check" in finding["cure"]


@contextlib.contextmanager
def mode(path, bits):
    before = path.stat().st_mode & 0o7777
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before)


def test_key_open_to_others(plant):
    with mode(plant.pki.at_edge.key, 0o644):
        findings = plant.doctor("edge", status=1)
        finding = findings.the("configuration", "FAILED", "open to group or others")
        assert finding["cure"] == f"chmod 0600 {plant.pki.at_edge.key}"
        plant.type("edge", finding["cure"])
        plant.doctor("edge", status=0)


# --- certificates --------------------------------------------------------------------------------


CERTIFICATES = {
    "expired": ("has expired", "--renew"),
    "early": ("not valid yet", "set-ntp"),
    "other-key": ("not the key of the certificate", "folder issued/"),
    "server": ("not usable for a TLS client", "mcseal-pki edge"),
    "revoked": ("has revoked it", "--renew"),
}


def bad_paper(plant, kind):
    pki = plant.pki
    if kind == "expired":
        return pki.edge("expired", *tls_papers.LONG_AGO)
    if kind == "early":
        return pki.edge("early", *tls_papers.FAR_AHEAD)
    if kind == "server":
        return plant.pki.at_gateway
    if kind == "revoked":
        paper = pki.edge("revoked")
        pki.revoke("revoked")
        return paper
    return lab.Credentials(pki, plant.pki.at_edge.certificate, plant.pki.at_gateway.key)


@pytest.mark.parametrize("kind", CERTIFICATES)
def test_certificate(plant, kind):
    what, cure = CERTIFICATES[kind]
    findings = plant.try_text("edge", plant.edge(bad_paper(plant, kind)))
    finding = findings.the("certificates", "FAILED", what)
    assert finding["about"] == 'edge "office"' and cure in finding["cure"], finding


def test_certificate_does_not_name_its_address(plant):
    other = plant.pki.gateway("gw-other", ["10.20.0.9"])
    findings = plant.try_text("gateway", plant.gateway(other))
    finding = findings.the("certificates", "warning", "does not name 10.20.0.2")
    cure = finding["cure"].split(" (on the CA's machine)")[0]
    assert cure == "mcseal-pki gateway gw-other --renew --ip 10.20.0.2"
    plant.type("gateway", cure.replace("mcseal-pki", f"mcseal-pki -d {plant.pki.folder}"))
    findings = plant.try_text("gateway", plant.gateway(other))
    assert not [one for one in findings.of("warning") if one["step"] == "certificates"]


def test_revocation_list_ended(plant, tmp_path):
    stale = tls_papers.stale_crl(plant.pki, tmp_path)
    text = plant.edge().replace(str(plant.pki.crl), str(stale))
    findings = plant.try_text("edge", text)
    finding = findings.the("certificates", "FAILED", "revocation list ended")
    assert finding["cure"].startswith("mcseal-pki crl (on the CA's machine); copy crl.pem to")
    # And so the gateway's certificate is not taken.
    assert "CRL has expired" in findings.the("gateways", "FAILED")["what"]


def test_clock_behind(plant):
    """What begins in nine years is good, says whoever sits at a clock that is behind."""
    findings = plant.try_text("edge", plant.edge(plant.pki.edge("later", *tls_papers.FAR_AHEAD)))
    finding = findings.the("clock", "FAILED")
    assert "begins at 2034-01-01" in finding["what"] and "timedatectl" in finding["cure"]


# --- daemon, ports -------------------------------------------------------------------------------


def without(plant, name):
    """Its daemon has ended."""
    process = plant.daemons.pop(name)
    lab.assert_clean(process, process.stop())


def test_daemon_not_running(plant):
    without(plant, "edge")
    findings = plant.doctor("edge", status=1)
    assert findings.failed() == {"daemon", "ports"}
    assert "systemctl start mcseald" in findings.the("daemon", "FAILED")["cure"]
    assert "nobody listens at 0.0.0.0:15007" in findings.the("ports", "FAILED")["what"]
    plant.daemons["edge"] = plant.start("edge")
    plant.doctor("edge", status=0)


def test_port_is_somebody_elses(plant):
    without(plant, "edge")
    with plant.net.inside("edge"), socket.create_server(("127.0.0.1", 15007)):
        findings = plant.doctor("edge", status=1)
        cure = findings.the("ports", "FAILED")["cure"].split(" shows who")[0]
        assert f"(pid {os.getpid()}) has" in findings.the("ports", "FAILED")["what"]
        assert f"pid={os.getpid()}" in plant.type("edge", cure).stdout


def test_file_was_changed(plant):
    path = plant.folder / "edge.conf"
    before = path.read_text()
    path.write_text(before + "# a word\n")
    finding = plant.doctor("edge", status=0).the("daemon", "warning")
    assert finding["cure"] == "mcseal reload"
    plant.type("edge", f"mcseal --socket {plant.sockets}/edge reload")
    assert plant.doctor("edge", status=0).the("daemon", "ok")


def test_not_as_root(plant):
    """Who may not look says so: not asked, with the cure; and nothing is FAILED for that."""
    with plant.net.inside("edge"):
        shutil.copy(plant.folder / "edge.conf", "/tmp/mcseal-doctor.conf")
        try:
            result = subprocess.run(
                ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", MCSEAL, "doctor",
                 "--json", "--config", "/tmp/mcseal-doctor.conf"], text=True, check=False,
                capture_output=True, timeout=60 * lab.PATIENCE)
        finally:
            os.unlink("/tmp/mcseal-doctor.conf")
    findings = Findings(map(json.loads, result.stdout.splitlines()))
    # The keys are root's: that is a fault, for this user.
    assert findings.failed() == {"configuration"}
    assert findings.the("daemon", "not asked")["cure"] == "as root: mcseal doctor"


# --- rules ---------------------------------------------------------------------------------------


def typed_apply(plant, finding):
    """The cure's last command; nobody is there to confirm it."""
    command = finding["cure"].split("; ")[-1]
    assert command.endswith(" apply --confirm 60"), finding
    plant.type("edge", command.removesuffix(" --confirm 60"))


def test_guard_missing(plant):
    plant.net.exec("edge", "nft", "delete", "table", "inet", "mcseal_guard")
    findings = plant.doctor("edge", status=1)
    assert findings.failed() == {"rules"}
    typed_apply(plant, findings.the("rules", "FAILED", "plain MC may pass"))
    plant.doctor("edge", status=0)


def test_rules_differ(plant):
    plant.net.exec("edge", "nft", "delete", "table", "inet", "mcseal")
    findings = plant.doctor("edge", status=1)
    assert findings.the("rules", "ok", "is loaded")["about"] == "guard"
    typed_apply(plant, findings.the("rules", "FAILED", "are not those of the configuration"))
    plant.doctor("edge", status=0)


def test_guard_not_at_boot(plant):
    guard = plant.folder / "edge.guard"
    guard.unlink()
    finding = plant.doctor("edge", status=0).the("rules", "warning", "does not come back at boot")
    plant.type("edge", finding["cure"])
    assert not [one for one in plant.doctor("edge", status=0).of("warning")
                if "boot" in one["what"]]


# --- names ---------------------------------------------------------------------------------------


def test_names(plant):
    text = plant.gateway(lines='sni = { "localhost", "press-1.invalid" }')
    findings = plant.try_text("gateway", text)
    assert "press-1.invalid is not known" in findings.the("names", "note")["what"]
    assert findings.the("names", "ok", "localhost is ")


# --- gateways ------------------------------------------------------------------------------------


def gateway_refusal(plant, text):
    findings = plant.try_text("edge", text)
    assert "gateways" in findings.failed(), findings
    return findings.the("gateways", "FAILED")


def test_gateway_port_closed(plant):
    finding = gateway_refusal(plant, plant.edge(gateways='"10.20.0.2:8444"'))
    assert "Connection refused" in finding["what"] and "mcseal doctor" in finding["cure"]


@pytest.mark.parametrize("answer", ["silence", "no TLS"])
def test_gateway_is_something_else(plant, answer):
    """It is waited for, not longer than three seconds."""
    with plant.net.inside("gateway"), socket.create_server(("10.20.0.2", 8445)) as server:
        def serve():
            with contextlib.suppress(OSError):
                peer, _ = server.accept()
                with peer:
                    if answer == "no TLS":
                        peer.sendall(b"220 welcome to something else\r\n" * 8)
                    while peer.recv(1000):
                        pass
        thread = threading.Thread(target=serve)
        thread.start()
        start = time.monotonic()
        finding = gateway_refusal(plant, plant.edge(gateways='"10.20.0.2:8445"'))
        assert time.monotonic() - start < 8 * lab.PATIENCE
        thread.join(10)
    expected = "no end of the TLS handshake" if answer == "silence" else "what answers there is not"
    assert expected in finding["what"], finding


def test_gateway_that_nobody_routes_to(plant):
    """Dropped packets: the limit of time is the doctor's own."""
    plant.net.exec("gateway", "ip", "addr", "add", "10.20.0.77/32", "dev", "lo")
    plant.net.exec("gateway", "nft", "add table ip lost; add chain ip lost in { type filter hook "
                   "input priority -300; }; add rule ip lost in ip daddr 10.20.0.77 drop")
    try:
        plant.net.exec("edge", "ip", "route", "add", "10.20.0.77", "via", "10.20.0.2")
        finding = gateway_refusal(plant, plant.edge(gateways='"10.20.0.77:8443"'))
        assert "no answer in time" in finding["what"]
    finally:
        plant.net.exec("gateway", "nft", "delete", "table", "ip", "lost")
        plant.net.exec("edge", "ip", "route", "del", "10.20.0.77", check=False)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """Another CA of the same name."""
    return lab.Pki(tmp_path_factory.mktemp("foreign") / "pki", label="foreign")


def test_gateway_of_another_ca(plant, foreign):
    text = plant.edge().replace(str(plant.pki.ca), str(foreign.ca)) \
                       .replace(f'crl = "{plant.pki.crl}"', "")
    finding = gateway_refusal(plant, text)
    assert "refused" in finding["what"] and finding["cure"].startswith(("ca = ", "copy ca.pem"))


def test_gateway_by_a_name_that_it_does_not_have(plant):
    finding = gateway_refusal(plant, plant.edge(route='server_name = "other.example"'))
    assert "server_name" in finding["what"]


REFUSED = {
    "foreign": ("`ca` is not the CA", "there: ca ="),
    "no-identity": ("no identity of the gateway matches", "mcseal-pki show"),
    "revoked": ("list has our certificate", "--renew"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_gateway_refuses_us(plant, foreign, kind):
    what, cure = REFUSED[kind]
    if kind == "foreign":
        paper = foreign.edge("office")
        text = plant.edge(paper).replace(str(foreign.ca), str(plant.pki.ca)) \
                                .replace(str(foreign.crl), str(plant.pki.crl))
    elif kind == "revoked":
        paper = plant.pki.edge("office-revoked", "--uri", "urn:mcseal:edge:office")
        plant.pki.revoke("office-revoked")
        plant.type("gateway", f"mcseal --socket {plant.sockets}/gateway reload")
        text = plant.edge(paper)
    else:
        text = plant.edge(plant.pki.edge("nobody"))
    finding = gateway_refusal(plant, text)
    assert what in finding["what"] and cure in finding["cure"], finding


# --- PLCs ----------------------------------------------------------------------------------------


def without_plc(plant):
    lab.assert_clean(plant.plc, plant.plc.stop())
    plant.plc = None


def test_plc_dead(plant):
    without_plc(plant)
    finding = plant.doctor("gateway", None, "--plc", status=1).the("plcs", "FAILED")
    assert finding["about"] == 'plc "press-1" port 5007' and "refused" in finding["what"]
    findings = plant.doctor("edge", None, "--plc=10.30.0.10:5007", status=1)
    assert findings.failed() == {"plcs"}
    assert "does not reach the PLC" in findings.the("plcs", "FAILED")["what"]


def test_plc_in_ascii(plant):
    without_plc(plant)
    plant.plc = plant.start_plc("--code", "ascii")
    finding = plant.doctor("gateway", None, "--plc=press-1", status=0).the("plcs", "ok")
    assert "answers 3E ascii frames" in finding["what"]


def test_plc_unknown(plant):
    finding = plant.doctor("gateway", None, "--plc=press-9", status=1).the("plcs", "FAILED")
    assert "press-9 is no PLC here" in finding["what"]


def test_plc_is_asked_when_told_to(plant):
    """Not one packet else: it has few connections."""
    before = len(plant.plc.lines(""))
    plant.doctor("gateway", status=0)
    plant.doctor("edge", status=0)
    assert len(plant.plc.lines("")) == before


