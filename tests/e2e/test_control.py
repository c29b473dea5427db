#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The control socket of a running daemon: who may ask, and what `mcseal` says when it cannot."""
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import stat
import subprocess
import time

import pytest

import asked
import lab
from asked import mcseal
from tls_peer import keep

NOBODY, SOMEGROUP = 65534, 4711


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with asked.Site(tmp_path_factory.mktemp("site")) as made:
        keep(made.gateway, made.edge, made.plc)
        yield made


@pytest.fixture
def own(tmp_path):
    """A site of the test's own, whose daemons it ends and starts."""
    with asked.Site(tmp_path) as made:
        yield made


def failed(result, message):
    assert result.returncode == 1 and result.stdout == "", result
    assert re.fullmatch(rf"mcseal: {message}\n", result.stderr), result.stderr


# --- what is answered ----------------------------------------------------------------------------


def test_answers(site):
    head, _, body = site.ask("metrics").partition("\n")
    assert json.loads(head) == {"status": "ok", "bytes": len(body)}
    assert body.startswith("# HELP mcseal_")
    assert json.loads(site.ask("metrics now")) == {"status": "error",
                                                   "message": "metrics takes no arguments"}
    assert json.loads(site.ask("stop")) == {"status": "error",
                                            "message": 'there is no command "stop"'}


def test_both_daemons_have_their_own(site):
    for path, started in ((site.control, site.gateway), (site.edge_control, site.edge)):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
        assert not started.lines("control-not-open")
        assert "mcseal_build_info" in site.metrics(path)


def test_relaying_goes_on_whatever_local_clients_do(site):
    """More of them than there may be, all silent: nobody is served late but them."""
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(site.dial())
        result = site.mcping("poll", "D0", "100", "--count", "50", "--interval", "0", "--verify")
        assert "50 answers" in result.stdout and " 0 wrong" in result.stdout
        # They have two seconds; then it is the turn of those who waited.
        assert site.metrics()


# --- who may -------------------------------------------------------------------------------------


def test_who_may_ask(site):
    """By the socket's mode; and by the daemon itself, when somebody has opened it to others."""
    folder = pathlib.Path(site.control).parent
    folder.chmod(0o755)
    ask = ("--socket", site.control, "metrics")
    refused = re.escape(f"{site.control}: no permission: only root, mcseald's user and the group "
                        "of the socket may ask")
    failed(mcseal(*ask, uid=NOBODY), refused)
    os.chmod(site.control, 0o666)
    failed(mcseal(*ask, uid=NOBODY),
           "not allowed: only root, mcseald's user and the group of the socket may ask")
    line = site.gateway.wait_text(rf"warning control-refused uid={NOBODY} gid={NOBODY} pid=\d+")
    assert line
    # The group may be given by the administrator, at any time.
    os.chmod(site.control, 0o660)
    os.chown(site.control, -1, SOMEGROUP)
    failed(mcseal(*ask, uid=NOBODY), refused)
    failed(mcseal(*ask, uid=NOBODY, groups="4710,4712"), refused)
    assert mcseal(*ask, uid=NOBODY, groups="4710,4711,4712").returncode == 0
    assert mcseal(*ask).returncode == 0
    assert len(site.gateway.lines("control-refused")) == 1


# --- no daemon, no socket ------------------------------------------------------------------------


def test_daemon_that_does_not_run(own):
    ask = ("--socket", own.control, "metrics")
    own.gateway.stop(signal.SIGKILL)
    assert pathlib.Path(own.control).exists()
    failed(mcseal(*ask), re.escape(f"nobody listens at {own.control}: mcseald is not running"))
    # What it left behind is replaced; what a daemon leaves that was told to end is nothing.
    text = own.gateway.config.read_text()
    own.gateway = lab.Daemon(own.folder, text, name="gateway-2")
    assert not own.gateway.lines("control-not-open") and mcseal(*ask).returncode == 0
    lab.assert_clean(own.gateway, own.gateway.stop())
    failed(mcseal(*ask), re.escape(f"there is no {own.control}: is mcseald running, and is this "
                                   "its control_socket? (--socket names another)"))
    own.gateway = lab.Daemon(own.folder, text, name="gateway-3")


def test_socket_of_a_living_daemon_is_not_taken(own):
    text = own.edge.config.read_text().replace(own.edge_control, own.control)
    lab.assert_clean(own.edge, own.edge.stop())
    own.edge = lab.Daemon(own.folder, text, name="edge-2")
    assert own.edge.lines(rf'warning control-not-open path={re.escape(own.control)} '
                          'error="Address already in use"')
    assert own.mcping("read", "D0").returncode == 0
    lab.assert_clean(own.edge, own.edge.stop())
    assert "mcseal_build_info" in own.metrics()  # the gateway's is still there
    own.edge = lab.Daemon(own.folder, text, name="edge-3")


def test_no_folder_and_no_socket(own):
    text = own.edge.config.read_text()
    for number, (path, warned) in enumerate((("/nonexistent/control", True), ("", False))):
        lab.assert_clean(own.edge, own.edge.stop())
        own.edge = lab.Daemon(own.folder, text.replace(own.edge_control, path),
                              name=f"edge-{number}")
        assert bool(own.edge.lines("control-not-open path=/nonexistent/control error=\"No such "
                                   "file or directory\"")) == warned
        assert own.mcping("read", "D0").returncode == 0
        assert len(own.edge.lines("warning control")) == warned


def test_ends_at_once_with_clients_at_the_socket(own):
    """Silent ones, and one who does not read."""
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(own.dial())
        lazy = stack.enter_context(own.dial())
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        lazy.sendall(b"metrics\n")
        time.sleep(0.1)
        started = time.monotonic()
        lab.assert_clean(own.gateway, own.gateway.stop())
        assert time.monotonic() - started < 1.5 * lab.PATIENCE
        assert not pathlib.Path(own.control).exists()
    own.gateway = lab.Daemon(own.folder, own.gateway.config.read_text(), name="gateway-2")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it(own, number):
    lab.assert_clean(own.edge, own.edge.stop(number))
    assert own.edge.lines(f"info stopping signal={number.name[3:]}$")
    own.edge = lab.Daemon(own.folder, own.edge.config.read_text(), name="edge-2")


# --- what is no mcseald --------------------------------------------------------------------------


@pytest.mark.parametrize("answer, message", [
    (b"", "{path}: mcseald did not answer"),
    (b"hello\n", "{path}: this is not mcseald's answer"),
    (b"no line end", "{path}: this is not mcseald's answer"),
    (b'{"status": "ok", "bytes": 100}\nshort', "{path}: the answer is not whole"),
    (b'{"status": "fine"}\n', "{path}: this is not mcseald's answer"),
    (b'[1]\n', "{path}: this is not mcseald's answer"),
    (b'{"status": "error", "message": "not today"}\n', "not today"),
    (b'{"status": "error"}\n', "mcseald refused without a word"),
])
def test_answers_that_are_none(answer, message):
    """Half an answer is not taken for a whole one."""
    with contextlib.ExitStack() as stack:
        path = asked.socket_folder(stack) + "/control"
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen()
        program = stack.enter_context(background("--socket", path, "metrics"))
        with listener.accept()[0] as sock:
            assert sock.recv(100) == b"metrics\n"
            sock.sendall(answer)
        assert program.wait(10 * lab.PATIENCE) == 1
        assert program.stderr.read() == f"mcseal: {message.format(path=path)}\n"
        assert program.stdout.read() == ""


@contextlib.contextmanager
def background(*words):
    program = subprocess.Popen([str(word) for word in (asked.MCSEAL, *words)], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with program:
        yield program


# --- wrong usage ---------------------------------------------------------------------------------


COMMANDS = "status, sessions, metrics, reload, drain, close, log-level, check, doctor, learn"


@pytest.mark.parametrize("words, message", [
    ((), f"a command is missing: {COMMANDS}"),
    (("metric",), f'there is no command "metric", expected one of: {COMMANDS}'),
    (("sessions", "5"), "'5' is one word too many"),
    (("sessions", "--watch", "x"), "'x' is not a number of seconds from 0.1 to 86400"),
    (("sessions", "--watch", "nan"), "'nan' is not a number of seconds"),
    (("sessions", "--watch", "1", "2"), "'2' is one word too many"),
    (("close", "--watch", "1"), "--watch does not go with close"),
    (("log-level", "info", "debug"), "'debug' is one word too many"),
    (("metrics", "now"), "'now' is one word too many"),
    (("metrics", "--refused"), "--refused does not go with metrics"),
    (("learn", "--http"), "--http does not go with learn"),
    (("metrics", "--http", "--output", "x"), "--http and --output do not go together"),
    (("--sockt", "x", "metrics"), "unrecognized option '--sockt'"),
])
def test_wrong_usage(words, message):
    result = mcseal(*words)
    assert result.returncode == 2 and message in result.stderr, result.stderr


def test_help_names_every_command():
    text = mcseal("--help").stdout
    for word in (*COMMANDS.split(", "), "--socket", "/run/mcseal/control", "docs/mcseal.md"):
        assert word in text
    assert re.fullmatch(r"mcseal \S+\n", mcseal("--version").stdout)
