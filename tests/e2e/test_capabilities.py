#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What mcseald finds out about the kernel at its start, and what it makes of it (root).

In a stock kernel (tests/vm/run) MCSEAL_KERNEL says which one: 6.1, 6.12 or newest; then its findings
are known in advance. Elsewhere this machine's own kernel is asked first whether it has kernel TLS.
"""
import contextlib
import errno
import os
import pathlib
import re
import shutil
import socket
import tempfile

import pytest

import lab
import pipe_pages

KERNEL = os.environ.get("MCSEAL_KERNEL")
KTLS = ["ktls", "aes-128-gcm", "aes-256-gcm", "chacha20-poly1305", "rekey", "whole-poll",
        "safe-splice"]
ALL = ["io_uring", "uring-splice", *KTLS, "pipes"]
# What a stock kernel lacks.
LACKS = {"6.1": {"rekey", "whole-poll"}, "6.12": {"rekey"}, "newest": set()}
NO_MODULE = ("TCP_ULP tls: No such file or directory (module tls is not loaded; modprobe tls)")
# Of nobody else: pipes are counted by user.
SOMEBODY = 64123


def has_ktls():
    """The kernel's own answer, without any of our code."""
    with socket.create_server(("127.0.0.1", 0)) as listener, \
            socket.create_connection(listener.getsockname()) as sock:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, 31, b"tls")  # TCP_ULP
        except OSError as error:
            assert error.errno == errno.ENOENT, error
            return False
    return True


HAS_KTLS = has_ktls()
assert HAS_KTLS or not KERNEL, "module tls is not in this guest"
with_ktls = pytest.mark.skipif(not HAS_KTLS, reason="this kernel has no kernel TLS")
without_ktls = pytest.mark.skipif(HAS_KTLS, reason="this kernel has kernel TLS")
in_guest = pytest.mark.skipif(not KERNEL, reason="unloads modules: for a guest only")


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    made = lab.Pki(tmp_path_factory.mktemp("pki") / "pki")
    made.at_gateway, made.at_edge = made.gateway(), made.edge("office")
    return made


@pytest.fixture
def folder():
    """One that other users may read."""
    with tempfile.TemporaryDirectory(prefix="mcseal-capabilities-") as made:
        os.chmod(made, 0o755)
        yield pathlib.Path(made)


def text(pki, head="", gateway="", edge="", host="127.0.0.1"):
    return f"""mark = 0
{head}
plc "press" {{ address = "127.0.0.1" port "5007" {{ }} }}
identity "ana" {{ match = {{ "cn:ana" }} plcs = {{ "press" }} }}
gateway "plant" {{
	listen = "{host}:{lab.free_port()}"
	{pki.at_gateway.config()}
	{gateway}
}}
edge "office" {{
	listen = "{host}:{lab.free_port()}"
	{pki.at_edge.config()}
	{edge}
	source "here" {{ addresses = {{ "127.0.0.0/8" }} }}
	route "plant" {{ destinations = "127.0.0.1:5007" gateways = "127.0.0.1:8443" }}
}}
"""


def fields(process, name):
    """Of the one line with this message id."""
    line, = process.lines(rf"\b(info|warning|error) {name} ")
    return {key: value.strip('"') for key, value in re.findall(r'(\S+?)=("(?:\\.|[^"])*"|\S+)', line)}


def assert_lacks(found, lacks):
    """Of every capability: yes, or no with a reason, told once for what has the same."""
    assert [name for name in found if not name.endswith("-why")] == ALL
    for name in ALL:
        assert found[name] == ("no" if name in lacks else "yes"), found
        assert name not in lacks or found.get(f"{name}-why") != "", found
        assert name in lacks or f"{name}-why" not in found, found


@contextlib.contextmanager
def started(folder, config, **options):
    daemon = lab.Daemon(folder, config, **options)
    with lab.stopping(daemon):
        yield daemon


def refused(folder, config, message, **options):
    """It ends with 1, without having been ready; the `why` of that line."""
    daemon = lab.Daemon(folder, config, ready=False, name="refused", **options)
    assert daemon.popen.wait(20 * lab.PATIENCE) == 1, daemon.text()
    lab.assert_clean(daemon, 0)
    assert not daemon.lines(r"\bready workers=") and not daemon.lines(r"\bengine loop="), daemon.text()
    return fields(daemon, message)["why"]


# --- what is found ---------------------------------------------------------------------------------


def test_report(tmp_path, pki):
    with started(tmp_path, text(pki)) as daemon:
        found, engine = fields(daemon, "capabilities"), fields(daemon, "engine")
    assert engine["loop"] == "io_uring" and "why" in engine
    if not HAS_KTLS:
        assert_lacks(found, set(KTLS))
        assert found["ktls-why"] == NO_MODULE
        assert engine["tls-path"] == "user space" and engine["tls-why"] == NO_MODULE
        assert engine["relay"] == "copy" and engine["relay-why"] == f"no kernel TLS: {NO_MODULE}"
        return
    assert found["ktls"] == "yes" and engine["tls-path"] == "kernel"
    if KERNEL:
        assert_lacks(found, LACKS[KERNEL])
        assert engine["relay"] == "splice"
        assert engine["tls-why"].endswith("AES-128-GCM, AES-256-GCM, CHACHA20-POLY1305")


@pytest.mark.skipif(KERNEL not in ("6.1", "6.12"), reason="newer kernels change keys")
def test_why_not(tmp_path, pki):
    with started(tmp_path, text(pki)) as daemon:
        found = fields(daemon, "capabilities")
    assert found["rekey-why"] == "TLS_RX: Device or resource busy (needs Linux 6.14)"
    if KERNEL == "6.1":
        assert found["whole-poll-why"] == "poll says that a part of a record can be read"


def tls_statistics():
    """/proc/net/tls_stat, {} without kernel TLS."""
    path = pathlib.Path("/proc/net/tls_stat")
    if not path.exists():
        return {}
    return {name: int(value) for name, value in map(str.split, path.read_text().splitlines())}


def test_nothing_is_left_behind(tmp_path, pki):
    """Neither descriptors nor sockets with keys, and no record that could not be opened."""
    before = tls_statistics()
    with started(tmp_path, text(pki, head="engine = copy\nworkers = 1")) as daemon:
        after = tls_statistics()
        names = [os.readlink(path) for path in pathlib.Path(f"/proc/{daemon.pid}/fd").iterdir()]
    assert not [name for name in names if name.startswith("pipe:")], names
    assert len([name for name in names if name.startswith("socket:")]) == 2, names
    for name in ("TlsCurrTxSw", "TlsCurrRxSw", "TlsDecryptError"):
        assert after.get(name) == before.get(name), name
    if HAS_KTLS:
        assert after["TlsTxSw"] > before["TlsTxSw"] and after["TlsRxSw"] > before["TlsRxSw"]


@pytest.mark.parametrize("options", [{"head": "ktls = off"},
                                     {"gateway": "ktls = off", "edge": "ktls = off"}])
def test_off_is_not_even_tried(tmp_path, pki, options):
    before = tls_statistics()
    with started(tmp_path, text(pki, **options)) as daemon:
        found, engine = fields(daemon, "capabilities"), fields(daemon, "engine")
        assert tls_statistics() == before
    assert_lacks(found, set(KTLS))
    assert found["ktls-why"] == engine["tls-why"] == "ktls = off"
    assert engine["tls-path"] == "user space" and engine["relay"] == "copy"


def test_one_listener_that_may_is_enough(tmp_path, pki):
    with started(tmp_path, text(pki, head="ktls = off", edge="ktls = auto")) as daemon:
        assert fields(daemon, "engine")["tls-path"] == ("kernel" if HAS_KTLS else "user space")
        assert fields(daemon, "capabilities").get("ktls-why") != "ktls = off"


def test_epoll_leaves_uring_alone(tmp_path, pki):
    with started(tmp_path, text(pki, head="engine = epoll")) as daemon:
        found, engine = fields(daemon, "capabilities"), fields(daemon, "engine")
    assert (found["io_uring"], found["io_uring-why"]) == ("no", "engine = epoll")
    assert (engine["loop"], engine["why"]) == ("epoll", "engine = epoll")
    assert engine["relay"] == ("splice" if found["safe-splice"] == "yes" else "copy")


def test_no_loopback(tmp_path, pki):
    """A namespace whose `lo` is down: nothing can be tried, the daemon starts all the same."""
    name = f"mcsprobe{os.getpid()}"
    lab.run("ip", "netns", "add", name)
    try:
        with started(tmp_path, text(pki, host="0.0.0.0"), netns=name) as daemon:
            found, engine = fields(daemon, "capabilities"), fields(daemon, "engine")
    finally:
        lab.run("ip", "netns", "del", name)
    assert_lacks(found, {"uring-splice", *KTLS})
    assert found["uring-splice-why"].startswith("loopback connection: ")
    assert engine["tls-path"] == "user space" and engine["loop"] == "io_uring"


# --- what is demanded ------------------------------------------------------------------------------


REQUIRED = [({"head": "ktls = required"}, 'gateway "plant"'),
            ({"gateway": "ktls = required"}, 'gateway "plant"'),
            ({"head": "ktls = off", "edge": "ktls = required"}, 'edge "office"')]


@pytest.mark.parametrize("options, who", REQUIRED)
def test_required(tmp_path, pki, options, who):
    if HAS_KTLS:
        with started(tmp_path, text(pki, **options)) as daemon:
            assert fields(daemon, "engine")["tls-path"] == "kernel"
        return
    why = refused(tmp_path, text(pki, **options), "ktls-refused")
    assert why.replace("\\", "") == f"{who}: ktls = required, but kernel TLS is not to be had: {NO_MODULE}"


def test_required_is_no_matter_of_the_check(tmp_path, pki):
    """The file is right, whatever this machine can do."""
    path = tmp_path / "required.conf"
    path.write_text(text(pki, head="ktls = required\nengine = uring-splice"))
    result = lab.run(lab.BUILD / "mcseald", "--check", path)
    assert result.stdout == f"{path}: ok\n"


@without_ktls
@pytest.mark.parametrize("engine", ["splice", "uring-splice"])
def test_nothing_to_splice(tmp_path, pki, engine):
    with started(tmp_path, text(pki, head=f"engine = {engine}")) as daemon:
        assert fields(daemon, "engine")["relay"] == "copy"
        assert fields(daemon, "engine-idle")["why"] == (
            f"engine = {engine}, but sessions are in user space and copied: {NO_MODULE}")


@with_ktls
@pytest.mark.parametrize("engine", ["copy", "splice", "uring-splice"])
def test_engine_as_demanded(tmp_path, pki, engine):
    with started(tmp_path, text(pki, head=f"engine = {engine}")) as daemon:
        assert fields(daemon, "engine")["relay"] == engine
        assert not daemon.lines("engine-idle")


def test_auto_warns_of_nothing(tmp_path, pki):
    with started(tmp_path, text(pki)) as daemon:
        assert not daemon.lines(r"\bwarning (engine|ktls)")


# --- an unprivileged user ----------------------------------------------------------------------------


class Somebody(lab.Process):
    """mcseald as that user; program, configuration and certificates copied to where it may read."""

    def __init__(self, folder, pki, config, name="mcseald"):
        for credentials in (pki.at_gateway, pki.at_edge):
            for path in (credentials.certificate, credentials.key, pki.ca, pki.crl):
                copy = folder / path.name
                shutil.copy(path, copy)
                os.chown(copy, SOMEBODY, SOMEBODY)
                config = config.replace(f'"{path}"', f'"{copy}"')
        (folder / f"{name}.conf").write_text(config)
        shutil.copy(lab.BUILD / "mcseald", folder)
        # LeakSanitizer's ptrace is not allowed to such a process.
        leaks = os.environ.get("ASAN_OPTIONS", "").replace("detect_leaks=1", "detect_leaks=0")
        super().__init__([folder / "mcseald", folder / f"{name}.conf"], folder / f"{name}.log",
                         uid=SOMEBODY, env={"ASAN_OPTIONS": leaks})


def test_user_with_too_many_pipes(folder, pki):
    with pipe_pages.taken(SOMEBODY):
        daemon = Somebody(folder, pki, text(pki))
        daemon.wait_text(r"\bready workers=", 10)
        with lab.stopping(daemon):
            found, engine = fields(daemon, "capabilities"), fields(daemon, "engine")
            assert found["pipes"] == "no"
            assert found["pipes-why"] == ("pipe of 8 slots: Operation not permitted "
                                          "(fs.pipe-user-pages-soft)")
            assert engine["relay"] == "copy" and engine["loop"] == "io_uring"
        if HAS_KTLS:
            assert engine["relay-why"] == f"a pipe of full size is not to be had: {found['pipes-why']}"
            demanding = Somebody(folder, pki, text(pki, head="engine = splice"), "demanding")
            assert demanding.popen.wait(20 * lab.PATIENCE) == 1
            assert fields(demanding, "engine-refused")["why"].startswith(
                "engine = splice, but a pipe of full size is not to be had: ")
    # As soon as they are given back, another start finds none missing.
    daemon = Somebody(folder, pki, text(pki), "later")
    daemon.wait_text(r"\bready workers=", 10)
    with lab.stopping(daemon):
        assert fields(daemon, "capabilities")["pipes"] == "yes"


# --- modules -------------------------------------------------------------------------------------------


@in_guest
def test_module_not_loaded(folder, tmp_path, pki):
    """Loading it takes a privilege that the daemon does not have: it says what is to be done."""
    lab.run("modprobe", "-r", "tls")
    try:
        daemon = Somebody(folder, pki, text(pki))
        daemon.wait_text(r"\bready workers=", 10)
        with lab.stopping(daemon):
            found = fields(daemon, "capabilities")
            assert_lacks(found, set(KTLS))
            assert found["ktls-why"] == fields(daemon, "engine")["tls-why"] == NO_MODULE
        daemon = Somebody(folder, pki, text(pki, head="ktls = required"), "required")
        assert daemon.popen.wait(20 * lab.PATIENCE) == 1
        assert NO_MODULE in fields(daemon, "ktls-refused")["why"]
    finally:
        lab.run("modprobe", "tls")
    daemon = Somebody(folder, pki, text(pki, head="ktls = required"), "again")
    daemon.wait_text(r"\bready workers=", 10)
    with lab.stopping(daemon):
        assert_lacks(fields(daemon, "capabilities"), LACKS[KERNEL])


@contextlib.contextmanager
def hidden_modules(*names):
    """Out of the kernel, and not to be found by it."""
    moved = []
    lab.run("modprobe", "-r", *names)
    try:
        for name in names:
            for path in pathlib.Path("/lib/modules").resolve().glob(f"{os.uname().release}/**/{name}.ko*"):
                moved.append((path, path.with_name(f"hidden-{path.name}")))
                path.rename(moved[-1][1])
        assert len(moved) >= len(names)
        yield
    finally:
        for path, hidden in moved:
            hidden.rename(path)


@in_guest
@pytest.mark.parametrize("ciphers, modules", [
    ({"chacha20-poly1305"}, ["chacha20poly1305"]),
    # The generic one, and the one for the processor's instructions.
    ({"aes-128-gcm", "aes-256-gcm"}, ["gcm", "aesni-intel"]),
])
def test_cipher_not_in_the_kernel(tmp_path, pki, ciphers, modules):
    """The others do for everything else."""
    with hidden_modules(*modules), started(tmp_path, text(pki)) as daemon:
        found, engine = fields(daemon, "capabilities"), fields(daemon, "engine")
        assert_lacks(found, ciphers | LACKS[KERNEL])
        assert found[f"{min(ciphers)}-why"] == ("TLS_RX: No such file or directory (the kernel has "
                                                "no module for it)")
        assert engine["tls-path"] == "kernel" and engine["relay"] == "splice"
        assert not [name for name in ciphers if name.upper() in engine["tls-why"]]


@in_guest
def test_no_cipher_in_the_kernel(tmp_path, pki):
    """Kernel TLS without a cipher is none."""
    with hidden_modules("chacha20poly1305", "gcm", "aesni-intel"):
        with started(tmp_path, text(pki)) as daemon:
            found, engine = fields(daemon, "capabilities"), fields(daemon, "engine")
            assert_lacks(found, set(KTLS) - {"ktls"})
            assert engine["tls-path"] == "user space" and engine["relay"] == "copy"
            assert engine["tls-why"] == found["aes-128-gcm-why"]
        why = refused(tmp_path, text(pki, head="ktls = required"), "ktls-refused")
        assert "kernel TLS is not to be had: TLS_RX: No such file or directory" in why
