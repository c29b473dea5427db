#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the service manager is told (sd_notify(3)), by a socket in its place."""
import os
import signal
import socket

import pytest

import lab


class Manager:
    """Takes the messages of one daemon."""

    def __init__(self, folder):
        self.path = folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.settimeout(5 * lab.PATIENCE)

    def next(self, unlike="WATCHDOG=1"):
        """Lines of the next message but those of the watchdog."""
        while True:
            lines = self.socket.recv(4096).decode().splitlines()
            if lines != [unlike]:
                return lines


@pytest.fixture
def managed(tmp_path, monkeypatch):
    """A manager, and what its daemons are started from."""
    with lab.Site(tmp_path / "site") as site:
        text = site.gateway.config.read_text()
    manager = Manager(tmp_path)
    return manager, text.replace(f"127.0.0.1:{site.gateway_port}", f"127.0.0.1:{lab.free_port()}")


def start(folder, managed, **more):
    manager, text = managed
    return lab.Daemon(folder, text, env={**os.environ, "NOTIFY_SOCKET": str(manager.path), **more})


def test_start_reload_and_end(tmp_path, managed):
    manager = managed[0]
    daemon = start(tmp_path, managed)
    assert manager.next() == ["READY=1", "STATUS=running"]
    os.kill(daemon.pid, signal.SIGHUP)
    reloading = manager.next()
    assert reloading[0] == "RELOADING=1" and reloading[1].startswith("MONOTONIC_USEC=")
    assert manager.next() == ["READY=1", "STATUS=running"]
    daemon.config.write_text("nonsense")
    os.kill(daemon.pid, signal.SIGHUP)
    assert manager.next()[0] == "RELOADING=1"
    ready, status = manager.next()
    assert ready == "READY=1" and "the last reload failed" in status
    daemon.stop()
    assert manager.next() == ["STOPPING=1"]


def test_watchdog(tmp_path, managed):
    """As often as asked for, while the main thread is alive, and no longer."""
    manager = managed[0]
    daemon = start(tmp_path, managed, WATCHDOG_USEC="500000")
    assert manager.next() == ["READY=1", "STATUS=running"]
    for _ in range(5):
        assert manager.next(unlike="") == ["WATCHDOG=1"]
    os.kill(daemon.pid, signal.SIGSTOP)
    manager.socket.settimeout(0.5)
    with pytest.raises(TimeoutError):
        while True:
            manager.socket.recv(100)
        # What was on its way is read; then nothing more comes.
    os.kill(daemon.pid, signal.SIGCONT)
    manager.socket.settimeout(5 * lab.PATIENCE)
    assert manager.next(unlike="") == ["WATCHDOG=1"]
    daemon.stop()
