#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Transparent redirect with the real daemon and the rulesets of nft-rules/, in namespaces (root)."""
import contextlib
import os
import pathlib
import re
import shutil
import tempfile

import pytest

import lab
import peers
import redirected
from redirected import NOBODY, SETS, TARGETS, Plants, at

placements = pytest.mark.parametrize("place", ["router", "host"])


@pytest.fixture(scope="module")
def links():
    with redirected.links() as made:
        yield made


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return redirected.certificates(tmp_path_factory.mktemp("pki") / "pki")


@pytest.fixture
def net(links):
    return redirected.without_rules(links)


# --- the right PLC -------------------------------------------------------------------------------


@placements
def test_original_destination(net, pki, tmp_path, place):
    """Many PLCs and ports, one edge listener: each client reaches what it dialled."""
    with Plants(net, pki, tmp_path, place) as plants:
        for _ in range(2):
            plants.everybody_answers()
        for host, port in TARGETS:
            assert plants.edge.lines(rf"session-open .*destination={re.escape(at(host, port))} ")
            line = plants.gateway.lines(rf"session-open .*destination={re.escape(at(host, port))}")
            client = lab.Net.CLIENT6 if ":" in host else lab.Net.CLIENT4
            assert f"client={at(client, '')}" in line[0] and "edge=1" in line[0], line


@placements
def test_all_at_once(net, pki, tmp_path, place):
    with Plants(net, pki, tmp_path, place) as plants, contextlib.ExitStack() as stack:
        socks = [(number, stack.enter_context(plants.connect(*target)))
                 for _ in range(2 if lab.KERNEL else 8) for number, target in enumerate(TARGETS, 1)]
        for _ in range(3):
            for _, sock in socks:
                sock.sendall(lab.read_words(0, 1))
            for number, sock in socks:
                assert lab.words_of(lab.receive_frame(sock)) == [number]


@placements
def test_gateway_dialled_over_ipv6(net, pki, tmp_path, place):
    plants = Plants(net, pki, tmp_path, place, edge=False)
    plants.edge_config = plants.edge_text(gateways='"[fd20::2]:8443"')
    plants.edge = plants.start_edge()
    with plants:
        plants.everybody_answers()
        assert "edge=[fd" in plants.gateway.lines("session-open")[0]


# --- the mark ------------------------------------------------------------------------------------


@pytest.mark.parametrize("marked", [True, False])
def test_mark_keeps_the_daemon_out_of_the_redirect(net, pki, tmp_path, marked):
    """The redirected range covers the gateway, too: the mark alone tells the daemon's own apart."""
    plants = Plants(net, pki, tmp_path, "host", edge=False)
    plants.edge_config = plants.edge_text(head="" if marked else "mark = 0")
    plants.edge = plants.start_edge()
    plants.load_rules({**SETS, "PLC4": SETS["PLC4"].replace("}", ", 10.20.0.2 . 8443 }")})
    with plants:
        if marked:
            plants.everybody_answers()
            return
        with plants.connect(*TARGETS[0]) as sock:
            with contextlib.suppress(ConnectionError):
                sock.sendall(lab.read_words(0, 1))
            assert lab.receive_end(sock) == b""
        # Its own connection came back to it, from a user that no source lists: no endless loop.
        plants.edge.closed("gateways-failed")
        plants.edge.closed("source-refused")
        assert len(plants.edge.lines("session-closed")) == 2
        assert plants.seen() == []


# --- restart -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["stopped", "killed"])
@placements
def test_restart_leaks_nothing(net, pki, tmp_path, place, how):
    """Rules stay while the daemon is away: clients are refused at once, nothing leaves in plain."""
    # Before any rule: the same request crosses the link in plain, and the capture can tell.
    control = peers.Capture(tmp_path, "to-gateway", "tcp", netns=net.ns("edge"), name="control")
    plc = lab.Plc(tmp_path, listen="10.30.0.10:5007", netns=net.ns("plc"), name="control-plc")
    with lab.stopping(plc):
        net.exec("client", lab.BUILD / "mcping", "10.30.0.10:5007", "read", "D0")
    control.stop()
    assert plain_packets(control)

    with Plants(net, pki, tmp_path, place) as plants:
        capture = peers.Capture(tmp_path, "to-gateway", "tcp", netns=net.ns("edge"))
        plants.everybody_answers()
        with plants.connect(*TARGETS[0]) as four, plants.connect(*TARGETS[3]) as six:
            for sock in (four, six):
                sock.sendall(lab.read_words(0, 1))
                lab.receive_frame(sock)
            if how == "stopped":
                lab.assert_clean(plants.edge, plants.edge.stop())
            else:
                plants.edge.kill()
            # The kernel ends a killed io_uring, and with it the listener, a moment later.
            lab.wait_for(lambda: not net.exec(plants.name, "ss", "-Htln",
                                              "sport = :15007").stdout, "the listener's end")
            before = len([line for line in plants.seen() if "event=request" in line])
            for sock in (four, six):
                assert lab.receive_end(sock) == b""
                # Whoever goes on all the same is reset, not carried in plain.
                with contextlib.suppress(ConnectionError):
                    for _ in range(3):
                        sock.sendall(lab.read_words(0, 1))
            for target in TARGETS:
                for _ in range(3):
                    with pytest.raises(ConnectionRefusedError):
                        plants.connect(*target)
        assert len([line for line in plants.seen() if "event=request" in line]) == before
        plants.edge = plants.start_edge("edge-again")
        plants.everybody_answers()
        capture.stop()
        assert capture.fields("frame.number", only="tcp.port == 8443 && tcp.len > 0")
        assert plain_packets(capture) == []


def plain_packets(capture):
    """Whatever is not on the way to or from the gateway's TLS port, or no TLS record there."""
    other = capture.fields("frame.number", "tcp.dstport", only="tcp && !(tcp.port == 8443)")
    raw = capture.path.read_bytes()
    return other + [("request",)] * raw.count(lab.read_words(0, 1))


# --- as little privilege as possible -------------------------------------------------------------


class Unprivileged(lab.Process):
    """mcseald as the user nobody, with the capabilities named and no others."""

    def __init__(self, plants, capabilities):
        folder = plants.public
        # LeakSanitizer's ptrace is not allowed to such a process.
        leaks = os.environ.get("ASAN_OPTIONS", "").replace("detect_leaks=1", "detect_leaks=0")
        caps = "-all" + "".join(f",+{name}" for name in capabilities)
        super().__init__(
            ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
             f"--inh-caps={caps}", f"--ambient-caps={caps}", f"--bounding-set={caps}",
             "--no-new-privs", folder / "mcseald", folder / "edge.conf"],
            plants.folder / "edge.log", plants.net.ns(plants.name), env={"ASAN_OPTIONS": leaks})
        self.wait_text(r"\bready workers=", 10)

    def closed(self, reason, seconds=5.0):
        return self.wait_text(rf"^.*session-closed reason={reason}\b.*$", seconds).group(0)

    def status(self, name):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return re.search(rf"^{name}:\s*(.*)$", text, re.MULTILINE).group(1).split()


@pytest.fixture
def public():
    """A folder that the user nobody may read."""
    with tempfile.TemporaryDirectory(prefix="mcseal-public-") as made:
        os.chmod(made, 0o755)
        yield pathlib.Path(made)


def unprivileged(plants, public, capabilities):
    plants.public = public
    credentials = plants.pki.at_edge
    names = {}
    for path in (credentials.certificate, credentials.key, plants.pki.ca, plants.pki.crl):
        names[path] = shutil.copy(path, public)
        os.chown(names[path], NOBODY, NOBODY)
    config = plants.edge_text()
    for path, copy in names.items():
        config = config.replace(str(path), str(copy))
    (public / "edge.conf").write_text(config)
    shutil.copy(lab.BUILD / "mcseald", public)
    plants.edge = Unprivileged(plants, capabilities)
    assert plants.edge.status("Uid") == [str(NOBODY)] * 4


@placements
def test_net_raw_is_enough(net, pki, tmp_path, public, place):
    with Plants(net, pki, tmp_path, place, edge=False) as plants:
        unprivileged(plants, public, ["net_raw"])
        assert plants.edge.status("CapEff") == ["0000000000002000"]
        assert not plants.edge.lines("mark-not-set")
        plants.everybody_answers()


def test_marks_its_connections_by_net_raw_alone(net, pki, tmp_path, public):
    with Plants(net, pki, tmp_path, "host", edge=False) as plants:
        plants.load_rules({**SETS, "PLC4": SETS["PLC4"].replace("}", ", 10.20.0.2 . 8443 }")})
        unprivileged(plants, public, ["net_raw"])
        plants.everybody_answers()


@placements
def test_without_net_raw_it_warns_and_works(net, pki, tmp_path, public, place):
    with Plants(net, pki, tmp_path, place, edge=False) as plants:
        unprivileged(plants, public, [])
        assert plants.edge.status("CapEff") == ["0000000000000000"]
        assert "CAP_NET_RAW" in plants.edge.lines("warning mark-not-set")[0]
        plants.everybody_answers()


# --- the PLC's connection slots ------------------------------------------------------------------


def plc_sockets(net):
    """The PLCs' connections, listeners left out."""
    return net.exec("plc", "ss", "-Htan", "state", "connected").stdout.splitlines()


def test_plc_sees_every_connection_end(net, pki, tmp_path):
    """Behind gateway.nft the last acknowledgement reaches the PLC: no slot stays taken."""
    with Plants(net, pki, tmp_path, "router") as plants:
        for _ in range(5):
            plants.everybody_answers()
        with plants.connect(*TARGETS[0]) as four, plants.connect(*TARGETS[3]) as six:
            for sock in (four, six):
                sock.sendall(lab.read_words(0, 1))
                lab.receive_frame(sock)
            assert len(plc_sockets(net)) >= 2
        lab.wait_for(lambda: not plc_sockets(net), "no connection at the PLC")
        opened = [line for line in plants.seen() if "event=open" in line]
        closed = [line for line in plants.seen() if "event=close" in line]
        assert len(opened) == len(closed) == 5 * len(TARGETS) + 2
        assert all("reason=peer" in line for line in closed)  # a FIN, and no reset


def test_plc_sees_the_end_of_a_killed_gateway(net, pki, tmp_path):
    with Plants(net, pki, tmp_path, "router") as plants:
        with plants.connect(*TARGETS[0]) as four, plants.connect(*TARGETS[3]) as six:
            for sock in (four, six):
                sock.sendall(lab.read_words(0, 1))
                lab.receive_frame(sock)
            plants.gateway.kill()
            for sock in (four, six):
                assert lab.receive_end(sock) == b""
        lab.wait_for(lambda: not plc_sockets(net), "no connection at the PLC")
        plants.edge.closed("target-(lost|truncated)")
        plants.gateway = lab.Daemon(tmp_path, plants.gateway_text(), net.ns("gateway"), "again")
        plants.everybody_answers()
