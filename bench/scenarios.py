# SPDX-License-Identifier: Apache-2.0
"""What is measured, as a table. docs/performance.md explains the columns and the figures.

A subject is written PROGRAM or PROGRAM:VARIANT or PROGRAM*WORKERS. `direct` is no proxy at all: the
floor, plain and in TLS.
"""
import dataclasses

PEERS = ("nginx", "haproxy", "stunnel", "hitch")
ROLES = ("gateway", "edge", "pair")
# hitch carries TLS in and plain out, and nothing else.
ROLES_OF = {"hitch": ("gateway",)}

# Variants of a program: what stands in its configuration, and what the kernel must offer for it.
VARIANTS = {
    "": ({}, None),
    "epoll": ({"ENGINE": "epoll"}, None),
    "uninspected": ({"INSPECT": "no"}, None),
    "sleep": ({"LOOK": "no"}, None),
    "ktls": ({"OPTIONS": "KTLS"}, "kernel TLS"),  # nginx
    "user": ({"KTLS": "off"}, "kernel TLS"),
    "copy": ({"ENGINE": "copy"}, "kernel TLS"),
    "splice": ({"ENGINE": "splice"}, "kernel TLS"),
    "uring-splice": ({"ENGINE": "uring-splice"}, "kernel TLS"),
}
ENGINES = ("mcseal:epoll", "mcseal:user", "mcseal:copy", "mcseal:splice", "mcseal:uring-splice")


@dataclasses.dataclass(frozen=True)
class Scenario:
    title: str
    mode: str  # of mcload
    connections: int
    words: int = 1
    interval: str = ""
    roles: tuple = ROLES
    subjects: tuple = ("direct", "mcseal", *PEERS)
    options: tuple = ()  # further ones of mcload
    seconds: float = 3.0
    figures: tuple = ("cpu", "per_second", "p50", "p99")  # of the report's table
    only: str = ""  # "memory" or "overload": another way to measure
    quick: bool = False  # part of QUICK=1, with these in place of the above:
    quick_connections: int = 0
    quick_subjects: tuple = ()
    quick_roles: tuple = ()


SCENARIOS = {
    "latency-1": Scenario(
        "1 connection, 1 word", "closed", 1, figures=("p50", "p99", "cpu"),
        subjects=("direct", "mcseal", *ENGINES, "mcseal:uninspected", *PEERS), quick=True,
        quick_subjects=("direct", "mcseal", "nginx", "hitch"), quick_roles=("gateway",)),
    "latency-10": Scenario("1 connection, 10 words", "closed", 1, 10,
                           figures=("p50", "p99", "cpu"), roles=("gateway", "pair")),
    "latency-960": Scenario("1 connection, 960 words", "closed", 1, 960,
                            figures=("p50", "p99", "cpu"), roles=("gateway", "pair")),
    "busy-64": Scenario(
        "64 connections, each asks again at once", "closed", 64,
        figures=("cpu", "calls", "per_second", "p50", "p99"),
        subjects=("direct", "mcseal", *ENGINES, "mcseal:uninspected", *PEERS), quick=True,
        quick_subjects=("direct", "mcseal", "nginx", "haproxy"), quick_roles=("gateway", "edge")),
    "busy-64-two": Scenario("64 connections, two workers", "closed", 64,
                            subjects=("mcseal*2", "nginx*2", "haproxy*2", "hitch*2"),
                            roles=("gateway", "edge")),
    "busy-8": Scenario("8 connections, each asks again at once", "closed", 8, roles=("gateway",),
                       subjects=("direct", "mcseal", "nginx", "haproxy")),
    "busy-256": Scenario("256 connections, each asks again at once", "closed", 256,
                         roles=("gateway",), subjects=("direct", "mcseal", "nginx", "haproxy")),
    "polled-1000": Scenario(
        "1,000 connections, each polled every 100 ms", "poll", 1000, 1, "100ms",
        figures=("cpu", "p50", "p99", "late"), quick=True, quick_connections=500,
        quick_subjects=("mcseal", "nginx", "haproxy"), quick_roles=("gateway",)),
    "polled-4000": Scenario("4,000 connections, each polled every second", "poll", 4000, 1, "1s",
                            figures=("cpu", "p50", "p99", "late"), roles=("gateway", "edge"),
                            seconds=4),
    "polled-10000": Scenario("10,000 connections, each polled every second", "poll", 10000, 1,
                             "1s", figures=("cpu", "p50", "p99", "late"), seconds=4,
                             roles=("gateway", "edge"), subjects=("mcseal",)),
    "growth-1000": Scenario("1,000 connections, each polled every second", "poll", 1000, 1, "1s",
                            figures=("cpu", "p50", "p99", "late"), seconds=4,
                            roles=("gateway", "edge"), subjects=("mcseal",)),
    "bulk-8": Scenario("8 connections, 960 words each time", "closed", 8, 960, quick=True,
                       quick_subjects=("mcseal", "nginx"), quick_roles=("gateway",)),
    "handshakes": Scenario(
        "connections made and closed, full handshakes", "connect", 8, roles=("gateway",),
        figures=("cpu", "per_second", "p50"), quick=True,
        quick_subjects=("mcseal", "nginx", "hitch")),
    "handshakes-resumed": Scenario(
        "connections made and closed, resumed", "connect", 8, roles=("gateway",),
        options=("--resume",), subjects=("mcseal", *PEERS), figures=("cpu", "per_second", "p50", "resumed")),
    "reconnects": Scenario(
        "plain connections made and closed, resumed between edge and gateway", "connect", 8,
        roles=("pair",), subjects=("mcseal", *PEERS), figures=("cpu", "per_second", "p50")),
    "idle-memory": Scenario(
        "memory of a silent session after one request", "idle", 4000, only="memory",
        figures=("both_kib", "user_kib", "kernel_kib"), roles=("gateway", "edge"), quick=True,
        quick_connections=1000, quick_subjects=("mcseal", "nginx", "haproxy"),
        quick_roles=("gateway",)),
    "idle-1000": Scenario(
        "memory of one of 1,000 silent sessions", "idle", 1000, only="memory",
        figures=("both_kib", "user_kib", "kernel_kib"), roles=("gateway", "edge"),
        subjects=("mcseal",)),
    "idle-10000": Scenario(
        "memory of one of 10,000 silent sessions", "idle", 10000, only="memory",
        figures=("both_kib", "user_kib", "kernel_kib"), roles=("gateway", "edge"),
        subjects=("mcseal",)),
    "overload": Scenario(
        "64 connections, polled twice as fast as it can answer", "poll", 64, only="overload",
        roles=("gateway",), subjects=("mcseal", "nginx", "haproxy"), seconds=4,
        figures=("capacity", "per_second", "cpu", "memory_mib")),
}

# The goals: figure of the best peer (or of the one named) times this, at most.
@dataclasses.dataclass(frozen=True)
class Bar:
    scenario: str
    roles: tuple
    figure: str
    against: str  # a program, "best" of the peers, or "" for an absolute figure
    factor: float


BARS = (
    Bar("busy-64", ("gateway", "edge"), "cpu", "nginx", 0.60),
    Bar("busy-64", ("gateway",), "calls", "", 1.0),
    Bar("latency-1", ("gateway",), "p50", "hitch", 0.8),
    Bar("polled-1000", ("gateway", "edge"), "cpu", "nginx", 0.5),
    Bar("polled-1000", ("gateway", "edge"), "p99", "best", 1.0),
    Bar("idle-memory", ("gateway", "edge"), "both_kib", "", 16),
    Bar("handshakes", ("gateway",), "cpu", "best", 0.7),
    Bar("reconnects", ("pair",), "cpu", "best", 0.7),
    Bar("bulk-8", ("gateway",), "cpu", "nginx", 0.6),
    Bar("polled-10000", ("gateway", "edge"), "p99", "", 20000),
)
