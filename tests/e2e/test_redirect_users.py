#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Who a client of a transparent edge is: to the rules, and to the daemon itself (root)."""
import contextlib
import pathlib
import signal
import socket
import struct

import pytest

import lab
import redirected
from redirected import NOBODY, TARGETS, Plants, links, net, pki  # noqa: F401 (fixtures)

PLC = {4: lab.Net.PLC4, 6: lab.Net.PLC6}
both = pytest.mark.parametrize("version", [4, 6])


@both
def test_local_user_who_is_not_listed(net, pki, tmp_path, version):
    """By the rules he is refused like a port that is closed; the daemon does not hear of it."""
    with Plants(net, pki, tmp_path, "host") as plants:
        assert plants.ask(PLC[version], 5007) in (1, 4)
        sessions, before = len(plants.edge.lines("session-open")), plants.blocked()
        for user in (0, NOBODY - 1):
            with pytest.raises(ConnectionRefusedError):
                plants.connect(PLC[version], 5007, user=user)
        assert plants.blocked() >= before + 2
        assert len(plants.edge.lines("session-open")) == sessions
        assert "source-refused" not in plants.edge.reasons()
        assert len([line for line in plants.seen() if "event=request" in line]) == 1


@both
def test_redirected_user_who_is_not_listed(net, pki, tmp_path, version):
    """The daemon does not rely on the rules."""
    with Plants(net, pki, tmp_path, "host") as plants:
        plants.redirect_everybody()
        assert plants.ask(PLC[version], 5007) in (1, 4)
        before = len(plants.seen())
        for user in (0, NOBODY - 1):
            with plants.connect(PLC[version], 5007, user=user) as sock:
                with contextlib.suppress(ConnectionError):
                    sock.sendall(lab.read_words(0, 1))
                assert lab.receive_end(sock) == b""
        lab.wait_for(lambda: plants.edge.reasons().count("source-refused") == 2, "two refusals")
        lab.wait_for(lambda: len(plants.seen()) in (before, before + 1), "the first one's end")
        assert len([line for line in plants.seen() if "event=request" in line]) == 1


@pytest.mark.parametrize("place", ["router", "tproxy"])
@both
def test_neighbour_who_is_not_listed(net, pki, tmp_path, place, version):
    """By the rules, and where they redirect everybody, by the daemon."""
    stranger = {4: "10.10.0.3", 6: "fd10::3"}[version]
    length = {4: 24, 6: 64}[version]
    net.exec("client", "ip", "addr", "add", f"{stranger}/{length}", "dev", "to-edge",
             *(["nodad", "preferred_lft", "0"] if version == 6 else []))
    try:
        with Plants(net, pki, tmp_path, place) as plants:
            with pytest.raises(ConnectionRefusedError):
                plants.connect(PLC[version], 5007, source=stranger)
            assert not plants.edge.lines("session-") and plants.blocked() >= 1
            plants.redirect_everybody()
            with plants.connect(PLC[version], 5007, source=stranger) as sock:
                with contextlib.suppress(ConnectionError):
                    sock.sendall(lab.read_words(0, 1))
                assert lab.receive_end(sock) == b""
            line = plants.edge.closed("source-refused")
            assert f"client={redirected.at(stranger, '')}" in line
            assert f"destination={redirected.at(PLC[version], 5007)} " in line + " "
            assert plants.seen() == []
            assert plants.ask(PLC[version], 5007) in (1, 4)
    finally:
        net.exec("client", "ip", "addr", "del", f"{stranger}/{length}", "dev", "to-edge")


@pytest.mark.parametrize("place", ["router", "host", "tproxy"])
def test_listener_dialled_directly(net, pki, tmp_path, place):
    """The rules refuse it; where they are gone, mcseald does."""
    with Plants(net, pki, tmp_path, place) as plants:
        # A listener on loopback is out of reach for the client of a router.
        name = "client" if place == "router" else plants.name
        hosts = ("10.10.0.1", "fd10::1") if place == "router" else ("127.0.0.1", "::1")
        for host in hosts:
            with pytest.raises(ConnectionRefusedError):
                plants.connect(host, 15007, name=name)
        assert not plants.edge.lines("session-")
        net.exec(plants.name, "nft", "flush", "chain", "inet", "mcseal", "input")
        for host in hosts:
            with plants.connect(host, 15007, name=name) as sock:
                with contextlib.suppress(ConnectionError):
                    sock.sendall(lab.read_words(0, 1))
                assert lab.receive_end(sock) == b""
        lab.wait_for(lambda: plants.edge.reasons() == ["not-redirected"] * 2, "two refusals")
        assert plants.seen() == []


@both
def test_source_port_in_use_towards_another_plc(net, pki, tmp_path, version):
    """Two programs may have one source port towards different PLCs. The redirect makes both go to
    one listener, so the kernel changes the second one's port: it is still known whose it is.
    """
    first, second, third = [target for target in TARGETS if (":" in target[0]) == (version == 6)]
    with Plants(net, pki, tmp_path, "host") as plants:
        plants.redirect_everybody()
        with plants.connect(*first) as one, plants.connect(*second, like=one) as two:
            assert one.getsockname() == two.getsockname()
            for number, sock in ((TARGETS.index(first) + 1, one),
                                 (TARGETS.index(second) + 1, two)):
                sock.sendall(lab.read_words(0, 1))
                assert lab.words_of(lab.receive_frame(sock)) == [number]
            # An unlisted user in the same situation stays out, alone there or beside a listed one.
            with plants.connect(*first) as other:
                for target, like in ((third, one), (second, other)):
                    with plants.connect(*target, user=0, like=like) as intruder:
                        with contextlib.suppress(ConnectionError):
                            intruder.sendall(lab.read_words(0, 1))
                        assert lab.receive_end(intruder) == b""
            assert plants.edge.reasons().count("source-refused") == 2


def stopped(process):
    states = [path.read_text().rsplit(")", 1)[1].split()[0]
              for path in pathlib.Path(f"/proc/{process.pid}/task").glob("*/stat")]
    return set(states) == {"T"}


@pytest.mark.parametrize("how", ["closed", "reset"])
@both
def test_gone_client_with_a_changed_source_port(net, pki, tmp_path, version, how):
    """Whoever sends and goes leaves no socket to look at; a listed user's other one is not his."""
    first, second = [target for target in TARGETS if (":" in target[0]) == (version == 6)][:2]
    with Plants(net, pki, tmp_path, "host") as plants:
        plants.redirect_everybody()
        with plants.connect(*first) as one, plants.connect(*second) as listed:
            for sock in (one, listed):
                sock.sendall(lab.read_words(0, 1))
                lab.receive_frame(sock)
            plants.edge.popen.send_signal(signal.SIGSTOP)
            lab.wait_for(lambda: stopped(plants.edge), "the daemon at rest")
            with plants.connect(*second, user=0, like=one) as intruder:
                intruder.sendall(lab.write_words(0, [666]))
                if how == "reset":
                    intruder.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                        struct.pack("ii", 1, 0))
            plants.edge.popen.send_signal(signal.SIGCONT)
            lab.wait_for(plants.edge.reasons, "the intruder's end")
            listed.sendall(lab.read_words(0, 1))
            assert lab.words_of(lab.receive_frame(listed)) == [TARGETS.index(second) + 1]
        assert plants.edge.reasons()[0] in ("source-refused", "client-lost")
