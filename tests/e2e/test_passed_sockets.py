#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Listening sockets that the service manager passes: taken by address or by name, kept over restarts."""
import os
import re
import signal
import socket
import subprocess

import pytest

import asked
import lab

# Puts LISTEN_PID into its environment, which only the process itself can know, and becomes mcseald.
START = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[1], sys.argv[1:])
"""


def listening(address=("127.0.0.1", 0), kind=socket.SOCK_STREAM):
    sock = socket.socket(socket.AF_INET, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address)
    if kind == socket.SOCK_STREAM:
        sock.listen(64)
    return sock


class Passed(lab.Daemon):
    """mcseald with these sockets as the descriptors 3 and on: [(name, socket)]."""

    def __init__(self, config, sockets, name="passed", ready=True):
        self.config = config
        self.records, self.opened, self.installed = "user", [], lab.tls_statistics()
        self.log_path = config.with_name(f"{name}.log")
        self.command = ["mcseald"]
        environment = {**os.environ, "LISTEN_FDS": str(len(sockets)),
                       "LISTEN_FDNAMES": ":".join(name for name, _ in sockets)}
        # At their places: pass_fds would leave them where they are.
        code = "".join(f"os.dup2({100 + i}, {3 + i})\n" for i in range(len(sockets)))
        for i, (_, sock) in enumerate(sockets):
            os.dup2(sock.fileno(), 100 + i)
        try:
            with open(self.log_path, "ab") as output:
                self.popen = subprocess.Popen(
                    ["/usr/bin/python3", "-c", "import os\n" + code + START, lab.BUILD / "mcseald",
                     config], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    env=environment, pass_fds=range(100, 100 + len(sockets)))
        finally:
            for i in range(len(sockets)):
                os.close(100 + i)
        lab.Process.started.append(self)
        if ready:
            self.wait_text(r"\bready workers=", 10)


@pytest.fixture(params=lab.one_engine())
def site(request, tmp_path):
    """A site whose gateway was ended: a test starts another one in its place."""
    with asked.Site(tmp_path, engine=request.param) as it:
        assert it.gateway.stop() == 0
        yield it


def replace(site, sockets, **options):
    site.gateway = Passed(site.gateway.config, sockets, **options)


def ask(site):
    with site.connect() as sock:
        sock.sendall(lab.read_words(0, 1))
        return lab.receive_frame(sock)[9:11]


def inodes(pid):
    """Of the sockets that a process holds."""
    found = set()
    for number in os.listdir(f"/proc/{pid}/fd"):
        match = re.match(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{number}"))
        found |= {int(match.group(1))} if match else set()
    return found


def listeners_at(port):
    """Inodes of all that listen at this port."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return {int(row[9]) for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")}


def test_by_address(site):
    with listening(("127.0.0.1", site.gateway_port)) as sock:
        replace(site, [("whatever", sock)])
        assert not site.gateway.lines("socket-unused")
        for _ in range(8):
            assert ask(site) == b"\0\0"
        # That one, and none of its own, for any of its workers.
        (inode,) = listeners_at(site.gateway_port)
        assert inode == os.fstat(sock.fileno()).st_ino and inode in inodes(site.gateway.pid)
    site.gateway.closed("finished")


def test_by_name(site):
    """The configuration's address is another one; the name of the gateway is what counts."""
    text = site.gateway.config.read_text()
    with listening(("127.0.0.1", site.gateway_port)) as sock:
        site.gateway.config.write_text(text.replace(f'"127.0.0.1:{site.gateway_port}"',
                                                    f'"127.0.0.1:{lab.free_port()}"'))
        replace(site, [("plant", sock)])
        assert ask(site) == b"\0\0"


def test_one_that_nobody_uses_is_told(site):
    with listening(("127.0.0.1", site.gateway_port)) as sock, listening() as other:
        replace(site, [("plant", sock), ("old", other)])
        (line,) = site.gateway.lines("warning socket-unused")
        assert "name=old" in line and f"127.0.0.1:{other.getsockname()[1]}" in line
        assert ask(site) == b"\0\0"


def test_what_is_no_listener_is_refused(site):
    with listening(kind=socket.SOCK_DGRAM) as wrong:
        replace(site, [("plant", wrong)], ready=False)
        assert site.gateway.popen.wait(10 * lab.PATIENCE) == 1
        site.processes = lambda: [site.edge, site.plc]
        (line,) = site.gateway.lines("error socket-refused")
        assert "1 of those passed, named plant, is no listening TCP socket" in line


def test_nobody_is_refused_while_it_is_started_anew(site):
    with listening(("127.0.0.1", site.gateway_port)) as sock:
        replace(site, [("plant", sock)])
        assert ask(site) == b"\0\0"
        assert site.gateway.stop() == 0
        with socket.create_connection(("127.0.0.1", site.gateway_port)) as early:
            replace(site, [("plant", sock)], name="again")
            early.sendall(b"not TLS at all\r\n")
            site.gateway.wait_text(rf"client=127.0.0.1:{early.getsockname()[1]}\b")
        assert ask(site) == b"\0\0"


def test_drained_and_not(site):
    """A drained listener takes nobody; it is opened again though the socket listens all the time."""
    with listening(("127.0.0.1", site.gateway_port)) as sock:
        replace(site, [("plant", sock)])
        for _ in range(2):
            assert asked.mcseal("--socket", site.control, "drain").returncode == 0
            with socket.create_connection(("127.0.0.1", site.gateway_port)) as waiting:
                waiting.settimeout(0.5)
                waiting.sendall(b"x")
                with pytest.raises(TimeoutError):
                    waiting.recv(1)
            told = asked.mcseal("--socket", site.control, "drain", "--undo")
            assert told.returncode == 0, told.stderr
            assert ask(site) == b"\0\0"


def test_by_systemd(site):
    """systemd's own tool opens, waits for the first client, and passes."""
    command = ["systemd-socket-activate", "-l", f"127.0.0.1:{site.gateway_port}", "--fdname=plant",
               lab.BUILD / "mcseald", site.gateway.config]
    site.gateway = lab.Process(command, site.gateway.config.with_name("activate.log"))
    site.gateway.wait_text("Listening on")
    assert "ready workers" not in site.gateway.text()
    assert ask(site) == b"\0\0"
    site.gateway.wait_text("ready workers")  # a worker may be faster than the line
    assert site.gateway.stop(signal.SIGTERM) == 0
