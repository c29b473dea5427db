#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Two thousand idle sessions: what one costs in memory at an edge and at a gateway, and that it is
given back. Under sanitizers, whose memory says nothing, fewer sessions and no figures. In a lab
kernel the records are the kernel's: a session costs next to nothing in user space, and what the
kernel holds for it (sockets, their memory, keys, threads) is gone afterwards."""
import contextlib
import re
import pathlib
import resource
import socket
import time

import lab

SANITIZED = lab.BUILD.name in ("asan", "tsan")
SESSIONS = 200 if SANITIZED else 2000
EDGES = 2  # a PLC's port takes at most 1,024 connections
# Measured with OpenSSL 3.0, whose contexts hold the keys: 5.4 KiB at either end.
CEILING_KIB = 4 if lab.KERNEL else 8
# Freed memory is given back, but for what lies among the pieces of those that stay.
KEPT = 0.3


def memory(process):
    """Resident and proportional memory in KiB."""
    told = {}
    for file, name in (("status", "VmRSS"), ("smaps_rollup", "Pss")):
        text = pathlib.Path(f"/proc/{process.pid}/{file}").read_text()
        told[name] = int(re.search(rf"^{name}:\s*(\d+) kB", text, re.MULTILINE).group(1))
    return told


class Field:
    """An edge with two listeners, a gateway, a PLC with two ports."""

    def __init__(self, folder):
        pki = lab.Pki(folder / "pki")
        at_gateway, at_edge = pki.gateway(), pki.edge("office")
        self.plc = lab.Plc(folder, "--set", "D7=77", "--listen", f"127.0.0.1:{lab.free_port()}")
        lab.wait_for(lambda: len(self.plc.lines("ready")) == EDGES, "both ports of the PLC")
        ports = [int(line.rsplit(":", 1)[1]) for line in self.plc.lines("ready")]
        gateway_port = lab.free_port()
        self.edge_ports = [lab.free_port() for _ in ports]
        head = (f"mark = 0\nworkers = 2\ntimeouts {{ dial_gateway = {20 * lab.PATIENCE}\n"
                f"handshake = {20 * lab.PATIENCE} dial_plc = {10 * lab.PATIENCE}\n"
                f"proxy_header = {20 * lab.PATIENCE} drain = 60 }}\n")
        plc_ports = "".join(f'port "{port}" {{ connections = 1024 }}\n' for port in ports)
        self.gateway = lab.Daemon(folder, f"""{head}
plc "press" {{ address = "127.0.0.1"
	{plc_ports} }}
identity "office" {{ match = {{ "uri:urn:mcseal:edge:office" }} role = edge plcs = {{ "*" }} }}
gateway "plant" {{ listen = "127.0.0.1:{gateway_port}"
	{at_gateway.config()} }}
""", name="gateway")
        edges = "".join(f"""
edge "to-{port}" {{ listen = "127.0.0.1:{listen}"
	destination = "127.0.0.1:{port}"
	{at_edge.config()}
	source "here" {{ addresses = "127.0.0.1" }}
	route "plant" {{ destinations = "127.0.0.1:{port}" gateways = "127.0.0.1:{gateway_port}" }}
}}""" for listen, port in zip(self.edge_ports, ports))
        self.edge = lab.Daemon(folder, head + edges, name="edge")
        self.closed = 0

    def connect(self, number):
        sock = socket.create_connection(("127.0.0.1", self.edge_ports[number % EDGES]), 60)
        sock.sendall(lab.read_words(7, 1))
        return sock

    @contextlib.contextmanager
    def idle_sessions(self, count):
        """Opened in batches, each used once, then silent for the body; afterwards all are closed."""
        socks = []
        for batch in range(0, count, 100):
            fresh = [self.connect(number) for number in range(batch, min(batch + 100, count))]
            for sock in fresh:
                assert lab.words_of(lab.receive_frame(sock, 60)) == [77]
            socks += fresh
        yield
        for sock in socks:
            sock.sendall(lab.read_words(7, 1))  # none was dropped meanwhile
        for sock in socks:
            assert lab.words_of(lab.receive_frame(sock, 60)) == [77]
            sock.close()
        self.closed += count
        for daemon in (self.edge, self.gateway):
            lab.wait_for(lambda it=daemon: len(it.reasons()) == self.closed, "all ends", 60)
            assert set(daemon.reasons()) <= {"finished"}

    def warm_up(self):
        """Caches and receive buffers, which are taken in turns, 512 a worker, are no session's."""
        with self.idle_sessions(200):
            socks = [self.connect(number) for number in range(4 * EDGES)]
            for _ in range(200):
                for sock in socks:
                    assert lab.words_of(lab.receive_frame(sock, 60)) == [77]
                    sock.sendall(lab.read_words(7, 1))
            for sock in socks:
                lab.receive_frame(sock, 60)
                sock.close()
            self.closed += len(socks)

    def measure_idle(self):
        """Once it has become idle: what handshakes needed is given back a while after the last."""
        now, quiet = self.measure(), 0
        while quiet < 3:  # a loaded machine takes its time
            time.sleep(2)
            before, now = now, self.measure()
            fell = any(now[role]["VmRSS"] < before[role]["VmRSS"] for role in now)
            quiet = 0 if fell else quiet + 1
        return now

    def measure(self):
        return {"edge": memory(self.edge), "gateway": memory(self.gateway)}


def kernel_side(daemons):
    """What the kernel holds for them: counters of this network namespace and of the processes."""
    counters = lab.tls_statistics()
    sockets = pathlib.Path("/proc/self/net/sockstat").read_text()
    held = {"send keys": counters["TlsCurrTxSw"], "receive keys": counters["TlsCurrRxSw"],
            "sockets": int(re.search(r"TCP: inuse (\d+)", sockets).group(1))}
    for daemon in daemons:
        folder = pathlib.Path(f"/proc/{daemon.pid}")
        held[f"descriptors of {daemon.config.stem}"] = len(list((folder / "fd").iterdir()))
        held[f"pool threads of {daemon.config.stem}"] = sum(
            (task / "comm").read_text().startswith("iou-") for task in (folder / "task").iterdir())
    return held


def pages_of_sockets():
    """Pages that the kernel has reserved for TCP; some stay with each CPU."""
    text = pathlib.Path("/proc/self/net/sockstat").read_text()
    return int(re.search(r"TCP: .* mem (\d+)", text).group(1))


def given_back(field, start, full):
    """Nearly all that the sessions cost, in both daemons."""
    if lab.KERNEL:  # they cost too little for a proportion; the handshakes' memory is in between
        return field.measure()
    now = field.measure()
    return all(now[role]["VmRSS"] < start[role]["VmRSS"] +
               KEPT * (full[role]["VmRSS"] - start[role]["VmRSS"]) for role in now) and now


def test_idle_sessions(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 16384)), hard))
    field = Field(tmp_path)
    with lab.stopping(field.edge, field.gateway, field.plc):
        field.warm_up()
        pages = pages_of_sockets()
        start, kernel_start = field.measure_idle(), kernel_side([field.edge, field.gateway])
        for turn in ("first",) if lab.KERNEL else ("first", "second"):
            with field.idle_sessions(SESSIONS):
                full = field.measure_idle()
                kernel_full = kernel_side([field.edge, field.gateway])
            if lab.KERNEL:
                print(kernel_start, kernel_full)
                assert kernel_full["send keys"] == kernel_full["receive keys"] == 2 * SESSIONS
                for daemon in ("edge", "gateway"):
                    assert kernel_full[f"pool threads of {daemon}"] == 0
                lab.wait_for(lambda: kernel_side([field.edge, field.gateway]) == kernel_start,
                             "all of it gone", 60)
                lab.wait_for(lambda: pages_of_sockets() <= pages + 256, "pages given back")
            if SANITIZED:
                continue
            ended = lab.wait_for(lambda it=full: given_back(field, start, it), "memory given back")
            for role, at_start in start.items():
                each = {kind: (full[role][kind] - at_start[kind]) / SESSIONS for kind in at_start}
                print(f"{role}, {turn} time: {at_start} KiB without sessions, {full[role]} with "
                      f"{SESSIONS} idle ones, {ended[role]} after; a session: "
                      + ", ".join(f"{kind} {size:.1f} KiB" for kind, size in each.items()))
                assert max(each.values()) < CEILING_KIB, role
