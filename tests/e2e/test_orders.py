#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What changes a running daemon: `mcseal drain`, `log-level`; who asked for it; and `check`."""
import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import time

import pytest

import asked
import lab
from asked import mcseal
from tls_peer import Peer, client_context, dial

NOBODY = 65534
READ = lab.read_words(0, 1)


def done(result):
    assert (result.returncode, result.stderr) == (0, ""), result
    return result.stdout


def failed(result, message, status=1):
    assert result.returncode == status and result.stdout == "", result
    assert message in result.stderr, result.stderr


def status(path):
    return json.loads(done(mcseal("--socket", path, "status", "--json")))


def poll(sock):
    sock.sendall(READ)
    assert len(lab.receive_frame(sock)) == 13


def refused(port):
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 5):
        pass
    return True


def admin_lines(daemon, command):
    return daemon.lines(rf'warning admin command="?{command}"? uid=0 gid=0 pid=\d+$')


# --- drain ---------------------------------------------------------------------------------------


@pytest.fixture(params=lab.one_engine())
def site(request, tmp_path):
    with asked.Site(tmp_path, engine=request.param) as made:
        yield made


def test_drain_and_undo(site):
    """Who is there stays; who comes is refused at once; and then may come again."""
    drain = ("--socket", site.edge_control, "drain")
    with site.connect() as sock:
        poll(sock)
        for _ in range(3):
            assert done(mcseal(*drain)) == "edge office takes no connections; its sessions go on\n"
            assert refused(site.edge_port)
            poll(sock)
            edge, = status(site.edge_control)["edges"]
            assert edge["draining"] and edge["drain_seconds_left"] is None
            assert "DRAINING: takes no connections\n" in \
                done(mcseal("--socket", site.edge_control, "status"))
            # Said again it is the same.
            assert "takes no connections" in done(mcseal(*drain, "office"))
            assert done(mcseal(*drain, "--undo")) == "edge office takes connections\n"
            edge, = status(site.edge_control)["edges"]
            assert not edge["draining"]
            with site.connect() as other:
                poll(other)
            poll(sock)
            assert done(mcseal(*drain, "--undo", "office")) == "edge office takes connections\n"
    lab.wait_for(lambda: len(site.edge.reasons()) == 4, "ends")
    assert set(site.edge.reasons()) == {"finished"}
    assert len(admin_lines(site.edge, "drain -")) == 3
    assert len(admin_lines(site.edge, "drain - office")) == 3
    assert len(admin_lines(site.edge, "undrain")) == 3


def test_drained_with_nobody_left_it_ends_well(site):
    done(mcseal("--socket", site.control, "drain"))
    done(mcseal("--socket", site.edge_control, "drain", "--timeout", "600"))
    # The fixture ends both and looks for what sanitizers say.


def test_timeout(site):
    """Then its sessions end between two requests; also one that comes later to a state of rest."""
    with site.connect() as sock:
        poll(sock)
        text = done(mcseal("--socket", site.control, "drain", "plant", "--timeout", "2"))
        assert text == "gateway plant takes no connections; its sessions may go on for 2 s\n"
        left = status(site.control)["gateways"][0]["drain_seconds_left"]
        assert left in (1, 2)
        started = time.monotonic()
        while time.monotonic() - started < 1:
            poll(sock)
            time.sleep(0.05)
        assert lab.receive_end(sock) == b""
        assert 1.5 < time.monotonic() - started < 2 + 2 * lab.PATIENCE
    site.gateway.closed("closed-by-admin")
    assert site.gateway.wait_text("info drain-over sessions=1$")
    gateway, = status(site.control)["gateways"]
    assert gateway["draining"] and gateway["drain_seconds_left"] is None
    assert refused(site.gateway_port)
    done(mcseal("--socket", site.control, "drain", "--undo"))
    with site.connect() as sock:
        poll(sock)


def test_timeout_taken_back(site):
    drain = ("--socket", site.control, "drain")
    with site.connect() as sock:
        poll(sock)
        done(mcseal(*drain, "--timeout", "1"))
        done(mcseal(*drain, "--undo"))
        time.sleep(1.5)
        poll(sock)
        done(mcseal(*drain, "--timeout", "1"))
        assert "go on\n" in done(mcseal(*drain))  # without a time
        time.sleep(1.5)
        poll(sock)
    lab.wait_for(lambda: site.gateway.reasons(), "end")
    assert site.gateway.reasons() == ["finished"]


def test_a_session_that_is_not_up_yet(site):
    """It was accepted before, so it is served; the time ends it, too."""
    with dial(site.gateway_port) as sock, dial(site.gateway_port) as silent:
        lab.wait_for(lambda: status(site.control)["sessions"] == 2, "sessions")
        done(mcseal("--socket", site.control, "drain", "--timeout", "2"))
        peer = Peer(sock, client_context(site.client_credentials)).handshake()
        peer.send(READ)
        assert len(peer.receive_frame()) == 13
        assert lab.receive_end(silent) == b""
        assert peer.verdict() == "goodbye"
    site.gateway.wait_text("info drain-over sessions=2$")


SEVERAL = """
gateway "second" {{
	listen = {{ "127.0.0.1:{0}", "127.0.0.1:{1}" }}
	plc = "press-1"
	{2}
}}
edge "second" {{
	listen = "127.0.0.1:{3}"
	destination = "127.0.0.1:{4}"
	{5}
	source "here" {{ addresses = "127.0.0.1" }}
	route "plant" {{ destinations = "127.0.0.1:{4}" gateways = "127.0.0.1:{0}" }}
}}
"""


class Several(asked.Site):
    """A gateway daemon with an edge and another gateway, which have one name."""

    def gateway_text(self, *words):
        self.ports = [lab.free_port() for _ in range(3)]
        return super().gateway_text(*words) + SEVERAL.format(
            *self.ports[:2], self.gateway_credentials.config(), self.ports[2], self.plc.port,
            self.edge_credentials.config())


def test_one_of_several(tmp_path):
    with Several(tmp_path) as site:
        drain = ("--socket", site.control, "drain")
        told = json.loads(done(mcseal(*drain, "plant", "--json")))
        assert told == {"listeners": [{"role": "gateway", "name": "plant", "draining": True,
                                       "seconds_left": None}]}
        assert refused(site.gateway_port)
        for port in site.ports:
            dial(port).close()
        told = json.loads(done(mcseal(*drain, "second", "--timeout", "9", "--json")))
        assert [one["role"] for one in told["listeners"]] == ["edge", "gateway"]
        assert {one["seconds_left"] for one in told["listeners"]} == {9}
        assert all(refused(port) for port in site.ports)
        done(mcseal(*drain, "plant", "--undo"))
        dial(site.gateway_port).close()
        assert all(refused(port) for port in site.ports)
        assert len(done(mcseal(*drain, "--undo")).splitlines()) == 3
        for port in [site.gateway_port, *site.ports]:
            dial(port).close()
        failed(mcseal(*drain, "press-1"), 'mcseal: there is no edge or gateway "press-1", expected '
               'one of: edge "second", gateway "plant", gateway "second"')
        failed(mcseal(*drain, ""), "drain: an empty word", 2)
        failed(mcseal(*drain, "--timeout", "0"), "is not a number of seconds from 1 to 604800", 2)
        failed(mcseal(*drain, "--undo", "--timeout", "3"), "do not go together", 2)
        for line in ("drain", "drain x", "drain 0", "drain 604801", "drain -x", "drain 1x",
                     "drain 18446744073709551617 plant"):
            assert 'drain takes \\"-\\" or seconds' in site.ask(line), line
        dial(site.gateway_port).close()


def test_somebody_else_listens_there_by_now(site):
    drain = ("--socket", site.control, "drain")
    done(mcseal(*drain))
    with socket.create_server(("127.0.0.1", site.gateway_port)):
        failed(mcseal(*drain, "--undo"),
               "not all of them can listen again, so none does: Address already in use")
        assert status(site.control)["gateways"][0]["draining"]
    assert refused(site.gateway_port)
    done(mcseal(*drain, "--undo"))
    with site.connect() as sock:
        poll(sock)


def test_reload_while_drained(site):
    """Drained it stays, and comes back under the new configuration."""
    done(mcseal("--socket", site.control, "drain"))
    text = site.gateway.config.read_text()
    site.gateway.config.write_text(text.replace("connections = 16", "connections = 1"))
    done(mcseal("--socket", site.control, "reload"))
    assert refused(site.gateway_port) and status(site.control)["gateways"][0]["draining"]
    done(mcseal("--socket", site.control, "drain", "--undo"))
    with site.connect() as sock:
        poll(sock)
        assert status(site.control)["plcs"][0]["ports"][0]["connections"] == 1


def test_nobody_is_lost_between(site):
    """Connections that come about while it drains: each is served or refused, none is left alone."""
    counts = {"served": 0, "refused": 0}
    for _ in range(20):
        socks = []
        with contextlib.ExitStack() as stack:
            for number in range(20):
                if number == 10:
                    site.ask("drain -", site.edge_control)
                try:
                    socks.append(stack.enter_context(site.connect()))
                except ConnectionRefusedError:
                    counts["refused"] += 1
            for sock in socks:
                poll(sock)
            counts["served"] += len(socks)
        site.ask("undrain", site.edge_control)
    assert counts == {"served": 200, "refused": 200}


def test_together(site):
    """Two who want different things at once: one after the other, or a word about it."""
    for _ in range(20):
        with site.dial() as one, site.dial() as other:
            one.sendall(b"drain -\n")
            other.sendall(b"undrain\n")
            answers = [lab.receive_end(sock).decode() for sock in (one, other)]
        for answer in answers:
            assert '"listeners"' in answer or "still under way; ask again" in answer
    lab.wait_for(lambda: mcseal("--socket", site.control, "drain", "--undo").returncode == 0, "undo")
    with site.connect() as sock:
        poll(sock)


# --- log-level -----------------------------------------------------------------------------------


def test_log_level(tmp_path):
    with asked.Site(tmp_path) as site:
        def level(*words):
            return done(mcseal("--socket", site.control, "log-level", *words))

        def states():
            """Lines of level debug for one session."""
            before = len(site.gateway.lines(" debug session-state "))
            with site.connect() as sock:
                poll(sock)
            lab.wait_for(lambda: status(site.control)["sessions"] == 0, "end")
            return len(site.gateway.lines(" debug session-state ")) - before

        assert level() == "debug\n" and states() > 3
        assert level("warning") == "warning until the next start; the configuration says debug\n"
        opened = len(site.gateway.lines(" info "))
        assert states() == 0 and len(site.gateway.lines(" info ")) == opened
        assert status(site.control)["log_level"] == "warning"
        assert json.loads(level("--json")) == {"level": "warning", "before": "warning",
                                               "configured": "debug"}
        # Who silences the log is told first, and who lets it speak afterwards.
        level("error")
        assert admin_lines(site.gateway, "log-level error")
        done(mcseal("--socket", site.control, "drain"))
        done(mcseal("--socket", site.control, "drain", "--undo"))
        assert not site.gateway.lines("admin command=\"?u?n?drain")
        level("info")
        assert admin_lines(site.gateway, "log-level info") and states() == 0
        # A reload leaves it, unless it is the level that has changed.
        done(mcseal("--socket", site.control, "reload"))
        assert level() == "info until the next start; the configuration says debug\n"
        text = site.gateway.config.read_text()
        site.gateway.config.write_text(text.replace("log_level = debug", "log_level = warning"))
        done(mcseal("--socket", site.control, "reload"))
        assert level() == "warning\n"
        for word in ("verbose", "", "INFO"):
            result = mcseal("--socket", site.control, "log-level", word)
            failed(result, "empty word" if word == "" else
                   f'there is no level "{word}", expected error, warning, info or debug',
                   2 if word == "" else 1)
        assert len(site.gateway.lines("admin command=\"?log-level")) == 3
        level("debug")  # what follows the test is looked for in the log


# --- who may, and who did ------------------------------------------------------------------------


COMMANDS = (("status",), ("sessions",), ("metrics",), ("reload",), ("close", "1"), ("drain",),
            ("drain", "--undo"), ("log-level",), ("log-level", "debug"))


def test_others_may_not(tmp_path):
    with asked.Site(tmp_path) as site:
        with site.connect() as sock:
            poll(sock)
            pathlib.Path(site.control).parent.chmod(0o755)
            for command in COMMANDS:
                ask = ("--socket", site.control, *command)
                failed(mcseal(*ask, uid=NOBODY), "no permission: only root, mcseald's user and the "
                       "group of the socket may ask")
                os.chmod(site.control, 0o666)
                failed(mcseal(*ask, uid=NOBODY), "mcseal: not allowed: only root, mcseald's user "
                       "and the group of the socket may ask")
                os.chmod(site.control, 0o660)
            poll(sock)
        assert len(site.gateway.lines("control-refused")) == len(COMMANDS)
        assert not site.gateway.lines(" admin ")
        # One of the group may, and is named.
        os.chown(site.control, -1, 4711)
        result = mcseal("--socket", site.control, "reload", uid=NOBODY, groups="4711")
        assert result.returncode == 0
        site.gateway.wait_text(rf"warning admin command=reload uid={NOBODY} gid={NOBODY} pid=\d+$")
        # Who only looks is not told.
        for command in COMMANDS[:3] + (("log-level",),):
            done(mcseal("--socket", site.control, *command))
        assert len(site.gateway.lines(" admin ")) == 1


def test_no_daemon(tmp_path):
    with asked.Site(tmp_path) as site:
        site.edge.stop(signal.SIGKILL)
        for command in COMMANDS:
            failed(mcseal("--socket", site.edge_control, *command),
                   f"nobody listens at {site.edge_control}: mcseald is not running")
            failed(mcseal("--socket", "/nonexistent", *command), "is mcseald running")
        site.edge = lab.Daemon(site.folder, site.edge.config.read_text(), name="edge-2")


def test_names_in_the_log_are_quoted(tmp_path):
    """A line of the log is one line, whatever is asked."""
    with asked.Site(tmp_path) as site:
        keep_lines = len(site.gateway.text().splitlines())
        site.ask('close 1 now now" uid=1')
        site.ask('log-level x" y')
        assert len(site.gateway.lines(" admin ")) == 0  # they were nothing
        site.ask("close 77 now")
        assert site.gateway.lines(r' admin command="close 77 now" uid=0 ')
        assert len(site.gateway.text().splitlines()) > keep_lines


# --- status --------------------------------------------------------------------------------------


def test_digest_is_that_of_the_file(tmp_path):
    """Of the one that is in force."""
    with asked.Site(tmp_path) as site:
        def digest():
            return hashlib.sha256(site.gateway.config.read_bytes()).hexdigest()

        first = digest()
        assert status(site.control)["configuration_sha256"] == first
        assert f"sha256 {first}\n" in done(mcseal("--socket", site.control, "status"))
        good = site.gateway.config.read_text()
        site.gateway.config.write_text(good + "# another\n")
        assert status(site.control)["configuration_sha256"] == first != digest()
        done(mcseal("--socket", site.control, "reload"))
        assert status(site.control)["configuration_sha256"] == digest()
        site.gateway.config.write_text("faulty")
        assert mcseal("--socket", site.control, "reload").returncode == 1
        site.gateway.config.write_text(good + "# another\n")
        assert status(site.control)["configuration_sha256"] == digest()


@pytest.mark.parametrize("engine, ktls", [("auto", "auto"), ("epoll", "off")])
def test_why_a_capability_is_used_or_not(tmp_path, engine, ktls):
    with asked.Site(tmp_path, engine=engine, head=f"ktls = {ktls}") as site:
        told = status(site.control)
        text = done(mcseal("--socket", site.control, "status"))
    capabilities, loop = told["capabilities"], told["engine"]["loop"]
    for name, one in capabilities.items():
        assert one["why"] and (one["there"] or not one["used"]), name
        words = "yes, used" if one["used"] else "yes, not used" if one["there"] else "no"
        assert re.search(rf"(?m)^  {name} +{words}: {re.escape(one['why'])}$", text), name
    assert capabilities["io_uring"]["used"] == (loop == "io_uring")
    assert capabilities["safe-splice"]["used"] == (told["engine"]["relay"] != "copy")
    if ktls == "off":
        assert not any(one["used"] for one in capabilities.values())
        assert "engine = epoll" in capabilities["io_uring"]["why"]


# --- check ---------------------------------------------------------------------------------------


def test_check(tmp_path):
    """What `mcseald --check` says, without a running daemon."""
    with asked.Site(tmp_path) as site:
        good = site.gateway.config.read_text()
    path = tmp_path / "some.conf"
    path.write_text(good)
    assert done(mcseal("check", path)) == f"{path}: ok\n"
    for text, fault in ((good.replace("plcs =", "plsc ="), "error: identity"),
                        (good.replace(str(site.pki.ca), "/nonexistent"), "/nonexistent")):
        path.write_text(text)
        result = mcseal("check", path)
        daemon = lab.run(lab.BUILD / "mcseald", "--check", path, check=False)
        assert result.returncode == daemon.returncode == 1 and not result.stdout
        assert result.stderr == daemon.stdout and fault in result.stderr
    failed(mcseal("check", path, path), "is one word too many", 2)
    failed(mcseal("check", tmp_path / "none"), "none: error: cannot read the file")
    failed(mcseal("check", "-x", path), "invalid option -- 'x'", 2)
    # What begins with a dash is a file here, no option.
    result = mcseal("check", "--", "--version")
    assert result.returncode == 1 and "--version: error: cannot read the file" in result.stderr


def test_check_without_a_daemon_to_ask(tmp_path):
    """The one installed beside it, in ../sbin, or in PATH; if there is none, that is said."""
    bin_folder, sbin = tmp_path / "bin", tmp_path / "sbin"
    bin_folder.mkdir()
    alone = bin_folder / "mcseal"
    shutil.copy(asked.MCSEAL, alone)
    nowhere = {**os.environ, "PATH": str(tmp_path)}
    result = lab.run(alone, "check", check=False, env=nowhere)
    assert result.returncode == 1
    assert result.stdout == ("mcseal: mcseald: is neither beside this program nor in PATH: is it "
                             "installed?\n")
    for folder in (sbin, tmp_path):
        folder.mkdir(exist_ok=True)
        told = folder / "mcseald"
        told.write_text('#!/bin/sh\necho "$0 $*"\nexit 7\n')
        told.chmod(0o755)
        result = lab.run(alone, "check", "some file", check=False, env=nowhere)
        assert result.returncode == 7 and "mcseald --check -- some file\n" in result.stdout
        told.unlink()
