#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the daemon gives up once it has started: told, in force for every thread, and no obstacle."""
import json
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess

import pytest

import asked
import lab
import watched_daemon

LAYERS = {"no-new-privileges", "capabilities", "io-uring", "files", "system-calls"}
# CAP_NET_RAW, CAP_IPC_LOCK; CAP_SYS_PTRACE for who looks for leaks.
ALLOWED = 1 << 13 | 1 << 14 | (0 if lab.BUILD.name == "release" else 1 << 19)


def status_of(site):
    result = asked.mcseal("--socket", site.control, "status", "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)["confinement"]


def threads(pid):
    """/proc/PID/task/*/status as dictionaries."""
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/status"):
        yield dict(line.split(":\t", 1) for line in path.read_text().splitlines())


@pytest.fixture(params=lab.one_engine())
def site(request, tmp_path):
    with asked.Site(tmp_path, engine=request.param) as it:
        yield it


def test_every_thread_is_confined(site):
    found = status_of(site)
    assert set(found) == LAYERS
    assert all(layer["in_force"] for layer in found.values()), found
    (line,) = site.gateway.lines(" confinement ")
    for name, layer in found.items():
        assert f'{name}="yes: {layer["what"]}"' in line
    with site.connect() as sock:
        sock.sendall(lab.read_words(0, 1))
        assert lab.receive_frame(sock)
        every = list(threads(site.gateway.pid))
    assert len(every) >= 4  # main, a worker, two for handshakes
    for thread in every:
        assert thread["NoNewPrivs"] == "1" and thread["Seccomp"] == "2"
        assert int(thread["CapEff"], 16) | ALLOWED == ALLOWED
        assert thread["CapPrm"] == thread["CapEff"] and int(thread["CapInh"], 16) == 0
        assert int(thread["CapBnd"], 16) | ALLOWED == ALLOWED
    # The other daemon, too, at its other end.
    assert {thread["Seccomp"] for thread in threads(site.edge.pid)} == {"2"}


def test_mcseal_shows_it(site):
    shown = asked.mcseal("--socket", site.control, "status").stdout
    section = shown.split("\nconfinement\n")[1].split("\n\n")[0]
    assert {line.split()[0] for line in section.splitlines()} == LAYERS
    assert all(re.match(r"  \S+ +yes: ", line) for line in section.splitlines()), section


def reload(daemon, outcome):
    count = len(daemon.lines(rf"\b{outcome}\b"))
    os.kill(daemon.pid, signal.SIGHUP)
    lab.wait_for(lambda: len(daemon.lines(rf"\b{outcome}\b")) > count, outcome)


def test_reload_in_the_same_folder_and_in_a_new_one(tmp_path):
    """Renewed files and new ones beside them work; what is elsewhere is refused, and the log says why."""
    with asked.Site(tmp_path) as site:
        config = site.gateway.config
        text = config.read_text()
        certificate = pathlib.Path(re.search(r'certificate = "(.*)"', text).group(1))
        renewed = certificate.with_name("renewed.pem")
        shutil.copy(certificate, renewed)
        config.write_text(text.replace(str(certificate), str(renewed)))
        reload(site.gateway, "reloaded")
        # As a tool for renewals does it: another file takes the name.
        shutil.copy(certificate, certificate.with_name("next"))
        certificate.with_name("next").rename(renewed)
        reload(site.gateway, "reloaded")
        elsewhere = asked.socket_folder(site.stack) + "/gw.pem"
        shutil.copy(certificate, elsewhere)
        config.write_text(text.replace(str(certificate), elsewhere))
        told = asked.mcseal("--socket", site.control, "reload")
        if "sanitize" in status_of(site)["system-calls"]["what"]:
            assert told.returncode == 0  # such a build may read every file
        else:
            assert told.returncode == 1 and elsewhere in told.stderr + told.stdout
            assert "confined to the folders" in told.stderr + told.stdout
            assert "start it anew" in told.stderr + told.stdout
        with site.connect() as sock:
            sock.sendall(lab.read_words(0, 1))
            assert lab.receive_frame(sock)


def test_no(tmp_path):
    with asked.Site(tmp_path, head="confine = no\n") as site:
        found = status_of(site)
        assert {layer["what"] for layer in found.values()} == {"confine = no"}
        assert not any(layer["in_force"] for layer in found.values())
        assert site.gateway.lines("warning not-confined .*confine = no")
        assert {thread["Seccomp"] for thread in threads(site.gateway.pid)} == {"0"}
        assert " NO: confine = no" in asked.mcseal("--socket", site.control, "status").stdout


# A kernel without Landlock: landlock_create_ruleset (444 on every architecture) is unknown.
NO_LANDLOCK = b"".join(struct.pack("HBBI", *row) for row in (
    (0x20, 0, 0, 0),               # load nr
    (0x15, 0, 1, 444),
    (0x06, 0, 0, 0x00050000 | 38),  # ENOSYS
    (0x06, 0, 0, 0x7FFF0000)))     # allow
START = """
import ctypes, os, sys
number, code, *command = sys.argv[1:]
code = bytes.fromhex(code)
libc = ctypes.CDLL(None, use_errno=True)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("rows", ctypes.c_char_p)]
program = Program(len(code) // 8, code)
if libc.prctl(38, 1, 0, 0, 0) or libc.syscall(int(number), 1, 0, ctypes.byref(program)):
    sys.exit(f"seccomp: {os.strerror(ctypes.get_errno())}")
os.execv(command[0], command)
"""


def without_landlock(folder, confine):
    with lab.Site(folder / "site") as site:
        text = site.gateway.config.read_text()
    config = folder / "mcseald.conf"
    config.write_text(f"confine = {confine}\n" + text)
    return ["/usr/bin/python3", "-c", START, str(watched_daemon.SECCOMP), NO_LANDLOCK.hex(),
            str(lab.BUILD / "mcseald"), str(config)]


def test_a_kernel_that_lacks_a_layer(tmp_path):
    daemon = lab.Process(without_landlock(tmp_path, "yes"), tmp_path / "log")
    daemon.wait_text(r"\bready workers=", 10)
    (line,) = daemon.lines("warning not-confined ")
    assert "layer=files" in line and "lsm=landlock" in line
    assert 'files="no: ' in daemon.lines(" confinement ")[0]
    assert {thread["Seccomp"] for thread in threads(daemon.pid)} == {"2"}
    lab.assert_clean(daemon, daemon.stop())


def test_required_there(tmp_path):
    command = without_landlock(tmp_path, "required")
    result = subprocess.run(command, capture_output=True, text=True, check=False,
                            timeout=20 * lab.PATIENCE)
    assert result.returncode == 1
    assert "error confine-refused layer=files" in result.stderr
    assert "ready" not in result.stderr


def test_what_it_tries_in_vain_is_nothing(site):
    """A day in the life of a session under a tracer's eyes: no call of the daemon is refused."""
    log = site.gateway.config.with_suffix(".strace")
    command = ["strace", "-f", "-qq", "-Z", "-e", "trace=all", "-e", "signal=none", "-o", str(log),
               "-p", str(site.gateway.pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        try:
            lab.wait_for(lambda: any("TracerPid:\t0" not in path.read_text() for path in
                                     [pathlib.Path(f"/proc/{site.gateway.pid}/status")]), "strace")
            for _ in range(3):
                with site.connect() as sock:
                    sock.sendall(lab.read_words(0, 1))
                    assert lab.receive_frame(sock)
            reload(site.gateway, "reloaded")
            for command in (["drain"], ["drain", "--undo"], ["metrics"], ["sessions"]):
                assert asked.mcseal("--socket", site.control, *command).returncode == 0
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(20 * lab.PATIENCE)
    refused = [line for line in log.read_text().splitlines()
               if re.search(r"= -1 (EPERM|EACCES)", line)]
    assert not refused, "\n".join(refused[:20])
