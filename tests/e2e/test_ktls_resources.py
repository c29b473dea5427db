#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Where the bytes and the keys of a kernel TLS session are, seen from outside: in the memory of
the daemons, in their system calls, in the kernel's counters."""
import contextlib
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess

import pytest

import lab
import pipe_pages
from kernel_tls import can_rekey, needs_kernel_tls
from process_memory import places
from tls_peer import Peer, client_context, dial

pytestmark = needs_kernel_tls
WORDS = 960
# No two words in a row occur anywhere else.
PATTERN = [(0x9e37 * (number + 77)) & 0xffff for number in range(WORDS)]
ANSWER = 11 + 2 * WORDS
SOMEBODY = 64124  # of nobody else: pipes are counted by user


def fill(plc):
    """The PLC's devices, past the daemons, whose memory must not see the values."""
    with socket.create_connection((plc.host, plc.port), 10) as sock:
        sock.sendall(lab.write_words(0, PATTERN))
        assert lab.receive_frame(sock)[9:11] == b"\0\0"


def read_all(site, times=3):
    with site.connect() as sock:
        for _ in range(times):
            sock.sendall(lab.read_words(0, WORDS))
            assert lab.words_of(lab.receive_frame(sock)) == PATTERN


def pieces():
    """Parts of the answer that any copy of it would hold."""
    raw = struct.pack(f"<{WORDS}H", *PATTERN)
    return [raw[at:at + 16] for at in (0, 16, 700, len(raw) - 16)]


@pytest.mark.parametrize("engine", ["splice", "uring-splice", "epoll", "copy"])
def test_answers_never_lie_in_memory(tmp_path, engine):
    """Not one part of them, afterwards, in either daemon; with the copying engine they do."""
    with lab.Site(tmp_path, engine=engine) as site:
        fill(site.plc)
        read_all(site)
        for daemon in (site.edge, site.gateway):
            found = [places(daemon, piece) for piece in pieces()]
            assert any(found) == (engine == "copy"), f"{engine}, {daemon.config}: {found}"


CALL = re.compile(r"^(?:\[pid +\d+\] |\d+ +)?(\w+)\((.*)\) += (-?\d+)")


@contextlib.contextmanager
def traced(process, log):
    """Its system calls that move bytes, in files that begin with `log`."""
    names = "splice,read,readv,recvfrom,recvmsg,recvmmsg,write,sendto,sendmsg,io_uring_enter"
    # -ff: a file for each thread, or a call that another one interrupts stands in two lines.
    with subprocess.Popen(["strace", "-ff", "-s", "0", "-e", f"trace={names}", "-o", log, "-p",
                           str(process.pid)], stderr=subprocess.PIPE, text=True) as strace:
        try:
            lab.wait_for(lambda: "attached" in strace.stderr.readline(), "strace", 20)
            yield
        finally:
            strace.send_signal(signal.SIGINT)


def calls(log):
    lines = [line for file in log.parent.glob(f"{log.name}.*")
             for line in file.read_text().splitlines()]
    found = [CALL.match(line) for line in lines]
    return [(call.group(1), call.group(2), int(call.group(3))) for call in found if call]


def spliced(seen):
    return [result for name, _, result in seen if name == "splice" and result > 0]


@pytest.mark.parametrize("engine", ["splice", "epoll"])
def test_the_answer_is_spliced(tmp_path, engine):
    """System calls of edge and gateway while 960 words are read: each answer goes through a pipe
    by two calls, and nothing longer than a request is read or written."""
    with lab.Site(tmp_path, engine=engine) as site:
        fill(site.plc)
        read_all(site, 1)
        for daemon in (site.edge, site.gateway):
            log = tmp_path / f"{daemon.config.stem}.trace"
            with site.connect() as sock, traced(daemon, log):
                for _ in range(5):
                    sock.sendall(lab.read_words(0, WORDS))
                    assert lab.words_of(lab.receive_frame(sock, 20)) == PATTERN
                # The last answer is here before strace has written what carried it.
                lab.wait_for(lambda: len(spliced(calls(log))) >= 10, "ten splices in the trace")
            seen = calls(log)
            assert spliced(seen) == [ANSWER] * 10
            others = {(name, result) for name, words, result in seen
                      if name not in ("splice", "io_uring_enter") and result > 21 and
                      "eventfd" not in words}
            # Log lines are written, by their own call.
            assert not [row for row in others if row[0] not in ("write", "writev")], others


def test_keys_lie_in_memory_only_where_they_are_needed(tmp_path):
    """The traffic secrets of an established session: gone where the kernel cannot change keys,
    else once, in memory that is locked and left out of dumps."""
    with lab.Site(tmp_path, engine="splice") as site:
        keys = tmp_path / "keys"
        context = client_context(site.client_credentials)
        context.keylog_filename = str(keys)
        with dial(site.gateway_port) as sock:
            peer = Peer(sock, context).handshake()
            peer.send(lab.read_words(0, 1))
            peer.receive_frame()
            lines = re.findall(r"^(\w+) \w+ (\w+)$", keys.read_text(), re.MULTILINE)
            secrets = {name: bytes.fromhex(secret) for name, secret in lines}
            assert {"CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"} <= set(secrets)
            for name, secret in secrets.items():
                found = places(site.gateway, secret) + places(site.gateway,
                                                              secret.hex().encode())
                if name.endswith("TRAFFIC_SECRET_0") and can_rekey():
                    assert len(found) == 1 and {"dd", "lo"} <= set(found[0]), (name, found)
                elif name != "EXPORTER_SECRET":
                    assert not found, (name, found)
        lab.wait_for(lambda: site.gateway.reasons(), "the end")
        for name, secret in secrets.items():
            assert not places(site.gateway, secret), f"{name} outlived its session"


@pytest.mark.skipif(not lab.KERNEL, reason="where cores go is the whole machine's affair; "
                    "in the lab's kernels (tests/vm/run) it runs")
def test_no_core_is_dumped(tmp_path):
    """A daemon that is made to abort leaves nothing behind, though everything allows a core."""
    pattern = pathlib.Path("/proc/sys/kernel/core_pattern")
    before = pattern.read_text()
    pattern.write_text(f"{tmp_path}/core.%e")
    try:
        command = ["sh", "-c", "ulimit -c unlimited; kill -ABRT $$"]
        assert subprocess.run(command, check=False).returncode == -signal.SIGABRT
        assert (tmp_path / "core.sh").exists(), "the lab does not dump cores"
        site = lab.Site(tmp_path / "site")
        for daemon in (site.edge, site.gateway):
            os.system(f"prlimit --pid {daemon.pid} --core=unlimited:unlimited")
        read = site.mcping("read", "D0")
        assert read.returncode == 0
        for daemon in (site.edge, site.gateway):
            daemon.popen.send_signal(signal.SIGABRT)
            assert daemon.popen.wait(10 * lab.PATIENCE) == -signal.SIGABRT
        assert [path.name for path in tmp_path.glob("core.*")] == ["core.sh"]
    finally:
        pattern.write_text(before)


def test_no_thread_of_the_kernels_pool(tmp_path):
    """The default engine never makes io_uring start one, nor does an idle session keep one."""
    with lab.Site(tmp_path) as site:
        read_all(site, 0)
        with contextlib.ExitStack() as stack:
            for _ in range(10):
                sock = stack.enter_context(site.connect())
                for _ in range(20):
                    sock.sendall(lab.read_words(0, WORDS))
                    lab.receive_frame(sock)
            for daemon in (site.edge, site.gateway):
                names = [(task / "comm").read_text().strip() for task in
                         pathlib.Path(f"/proc/{daemon.pid}/task").iterdir()]
                assert not [name for name in names if name.startswith("iou-")], names


def test_a_user_without_pipes_left(tmp_path):
    """Fewer pipes, or none: sessions go on; who gets none has its frames copied."""
    with pipe_pages.taken(SOMEBODY, but=2), lab.Site(tmp_path / "site") as site:
        for folder in [*tmp_path.parents][:-2]:
            os.chmod(folder, 0o755)
        for path in [tmp_path, *tmp_path.rglob("*")]:
            os.chown(path, SOMEBODY, SOMEBODY)
        fill(site.plc)
        text = site.gateway_config.replace("GATEWAY_PORT", str(lab.free_port()))
        port = int(re.search(r"127\.0\.0\.1:(\d+)", text[text.index('gateway "plant"'):])
                   .group(1))
        poor = tmp_path / "site" / "poor.conf"
        poor.write_text(text)
        os.chown(poor, SOMEBODY, SOMEBODY)
        daemon = lab.Daemon(tmp_path / "site", text, name="poor", uid=SOMEBODY)
        with lab.stopping(daemon):
            assert re.search(r"few-pipes pipes=[1-4] wanted=64$", daemon.text(), re.MULTILINE)
            with dial(port) as sock:
                peer = Peer(sock, client_context(site.client_credentials)).handshake()
                for _ in range(10):
                    peer.send(lab.read_words(0, WORDS))
                    assert lab.words_of(peer.receive_frame()) == PATTERN
