# SPDX-License-Identifier: Apache-2.0
"""mcload: each mode against a PLC, through edge and gateway and in TLS; and that it finds faults.

What is known to be wrong comes from servers in the test's own hands.
"""
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

import lab

MCLOAD, MCECHO = lab.BUILD / "mcload", lab.BUILD / "mcecho"
SHORT = ("--duration", "0.2", "--warmup", "0.05")
HEAD = 11  # bytes of an answer before its data


def word(number):
    """What mcload says that D<number> holds; the manual's formula, not the program's code."""
    return (number * 40503 + 4711) % 65536


def pattern(head, count):
    return b"".join(word(number).to_bytes(2, "little") for number in range(head, head + count))


def load(*words, expect=0, **options):
    """The JSON lines of a run by their event; its exit status is as expected."""
    done = lab.run(MCLOAD, *words, "--json", check=False, **options)
    assert done.returncode == expect, done.stdout
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return {event["event"]: event for event in events}


def result(*words, **options):
    return load(*words, **options)["result"]


def good(found, least=1):
    assert found["answered"] >= least, found
    for what in ("refused", "wrong", "lost", "failed"):
        assert found[what] == 0, found
    assert "problem" not in found
    latency = found["latency_us"]
    assert 0 < latency["min"] <= latency["p50"] <= latency["p90"] <= latency["p99"] \
        <= latency["p99.9"] <= latency["max"]
    return found


@pytest.fixture(scope="module")
def plc(tmp_path_factory):
    plc = lab.Plc(tmp_path_factory.mktemp("plc"))
    lab.Process.started.remove(plc)
    with lab.stopping(plc):
        load("fill", plc.address)
        yield plc


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with lab.Site(tmp_path_factory.mktemp("site")) as site:
        for process in site.processes():
            lab.Process.started.remove(process)
        load("fill", site.plc.address)
        yield site


def ways(site):
    """Target and options of each way to the site's PLC."""
    ana, office = site.client_credentials, site.edge_credentials

    def tls(credentials):
        return ("--ca", site.pki.ca, "--cert", credentials.certificate, "--key", credentials.key)
    return {"plain": (f"127.0.0.1:{site.edge_port}",),
            "tls": (f"127.0.0.1:{site.gateway_port}", *tls(ana)),
            "as-edge": (f"127.0.0.1:{site.gateway_port}", *tls(office), "--edge",
                        site.plc.address)}


# --- modes -----------------------------------------------------------------------------------------


def test_fill_writes_what_the_manual_says(tmp_path):
    plc = lab.Plc(tmp_path)
    with lab.stopping(plc):
        load("fill", plc.address, "--head", "5000")
        with socket.create_connection((plc.host, plc.port)) as sock:
            for head, count in ((5000, 960), (5960, 64)):
                sock.sendall(lab.read_words(head, count))
                assert lab.receive_frame(sock)[HEAD:] == pattern(head, count)
            sock.sendall(lab.read_words(6024, 1))
            assert lab.receive_frame(sock)[HEAD:] == b"\0\0"
        good(result("closed", plc.address, "--head", "5000", *SHORT))


@pytest.mark.parametrize("words", ["1", "10", "960"])
def test_closed(plc, words):
    found = good(result("closed", plc.address, "-c", "8", "--words", words, *SHORT), 100)
    assert found["seconds"] == pytest.approx(0.2, abs=0.2 * lab.PATIENCE)
    assert found["per_second"] == pytest.approx(found["answered"] / found["seconds"], rel=0.01)


@pytest.mark.parametrize("mode", [("closed", "-c", "7"), ("poll", "-c", "7", "-i", "5ms"),
                                  ("connect", "-c", "2")], ids=lambda words: words[0])
def test_so_many_answers(plc, mode):
    found = good(result(*mode, plc.address, "--answers", "200", "-d", "30", "--warmup", "0.05"))
    assert found["answered"] == 200 and found["seconds"] < 20
    assert 1 <= found["fewest"] <= 200 / int(mode[2]) <= found["most"] <= 200


def test_so_many_answers_or_the_time(plc):
    found = good(result("poll", plc.address, "-i", "50ms", "--answers", "1000", "-d", "0.5"))
    assert found["answered"] < 100
    assert found["fewest"] == found["most"] == found["answered"]


def test_connections_that_are_not_equally_busy():
    """The first of four connections is answered at once, the others after 30 ms."""
    seen = []

    def answer(number, words):
        thread = threading.get_ident()
        if thread not in seen:
            seen.append(thread)
        if thread != seen[0]:
            time.sleep(0.03)
        return [right(number, words)]
    found = good(result("closed", Server(answer).address, "-c", "4", "-d", "1"))
    assert found["fewest"] <= 1.2 / 0.03 and found["most"] > 2 * found["fewest"]


@pytest.fixture
def group():
    """A control group of cgroup v2, as bench/run makes them."""
    sys.path.insert(0, str(lab.ROOT / "bench"))
    import subjects  # pylint: disable=import-outside-toplevel,import-error
    if not subjects.unified():
        pytest.skip("no cgroup v2 to make groups in")
    group = subjects.Group("mcload")
    yield group
    group.remove()


def test_cpu_time_of_a_group(plc, group, tmp_path):
    """Of one whose process does nothing but run, on a CPU that it may not have alone."""
    idle = result("closed", plc.address, "--group", group.path, *SHORT)
    assert idle["group_cpu_us"] == 0
    process = group.start(["sh", "-c", "while :; do :; done"], tmp_path / "log",
                          ",".join(map(str, sorted(os.sched_getaffinity(0)))))
    try:
        busy = good(result("poll", plc.address, "-i", "10ms", "-d", "1", "--group", group.path))
    finally:
        process.kill()
        process.wait()
    share = busy["group_cpu_us"] * busy["answered"] / 1e6 / busy["seconds"]
    assert 0.1 < share < 1.05
    assert "group_cpu_us" not in result("closed", plc.address, *SHORT)


def test_no_such_group(plc, tmp_path):
    done = lab.run(MCLOAD, "closed", plc.address, "--group", tmp_path / "none", check=False)
    assert done.returncode == 3 and f"{tmp_path}/none: No such file" in done.stdout


def test_poll_keeps_its_schedule(plc):
    found = good(result("poll", plc.address, "-c", "20", "-i", "50ms", "-d", "1"))
    # 20 connections, 20 times a second each; what is under way at the ends may be missing.
    assert found["answered"] + found["late"] == pytest.approx(400, abs=21)


def test_poll_counts_from_when_it_was_due(tmp_path):
    """A PLC that takes 100 ms and is asked every 50 falls behind by 50 ms with every request."""
    plc = lab.Plc(tmp_path, "--delay", "100")
    with lab.stopping(plc):
        load("fill", plc.address)
        found = result("poll", plc.address, "-i", "50ms", "-d", "1", "--warmup", "0")
        closed = good(result("closed", plc.address, "-d", "0.5"))
    assert found["late"] >= 8 and found["lost"] == 0
    assert found["latency_us"]["max"] > 450_000
    assert 100_000 <= closed["latency_us"]["p50"] < 100_000 + 60_000 * lab.PATIENCE


def test_connect(plc):
    before = len(plc.events("event=open"))
    found = good(result("connect", plc.address, "-c", "4", *SHORT), 20)
    assert found["connected"] == found["answered"] and found["resumed"] == 0
    assert len(plc.events("event=open")) - before >= found["connected"]


def test_idle_is_silent_and_asks_again(tmp_path):
    plc = lab.Plc(tmp_path)
    with lab.stopping(plc):
        load("fill", plc.address)
        filled = len(plc.requests())
        events = load("idle", plc.address, "-c", "30", "-d", "0.5")
        assert len(plc.requests()) - filled == 60
    assert events["silent"]["connections"] == 30
    assert good(events["result"])["answered"] == 30


def test_hold_keeps_the_connections_until_told(plc):
    with subprocess.Popen([MCLOAD, "closed", plc.address, "-c", "3", "-d", "0.2", "--json",
                           "--hold"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        lines = iter(process.stdout.readline, b"")
        found = next(event for event in map(json.loads, lines) if event["event"] == "result")
        closed = len(plc.events("event=close"))
        time.sleep(0.2)
        assert process.poll() is None and len(plc.events("event=close")) == closed
        process.stdin.close()
        assert process.wait(5 * lab.PATIENCE) == 0
    assert good(found)["still_open"] == 3
    lab.wait_for(lambda: len(plc.events("event=close")) == closed + 3, "three ends")


def test_several_targets_share_the_connections(tmp_path):
    plcs = [lab.Plc(tmp_path, name=name) for name in ("one", "two")]
    with lab.stopping(*plcs):
        for plc in plcs:
            load("fill", plc.address)
        good(result("closed", *(plc.address for plc in plcs), "-c", "6", *SHORT))
        assert [len(plc.events("event=open")) for plc in plcs] == [4, 4]


# --- ways ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["plain", "tls", "as-edge"])
@pytest.mark.parametrize("mode", [("closed", "-c", "8"), ("closed", "--words", "960"),
                                  ("poll", "-c", "8", "-i", "20ms"), ("idle", "-c", "8")],
                         ids=lambda words: "-".join(words))
def test_through_the_site(site, way, mode):
    good(result(*mode, *ways(site)[way], *SHORT))
    # A slot is free again only when the site has noticed the end.
    lab.wait_for(lambda: len(site.plc.events("event=open")) == len(site.plc.events("event=close")),
                 "the end of all sessions")


@pytest.mark.parametrize("way, resumed", [("tls", False), ("as-edge", True)])
def test_handshakes(site, way, resumed):
    """A gateway resumes the sessions of edges, and of nobody else."""
    found = good(result("connect", *ways(site)[way], "--resume", "-d", "1", "--warmup", "0.3"))
    assert found["resumed"] == (found["connected"] if resumed else 0)


def test_mcecho_is_what_mcload_expects(site, tmp_path):
    """Plain, and in TLS that wants a certificate."""
    server = site.gateway_credentials
    with contextlib.ExitStack() as stack:
        echoes = [lab.Process([MCECHO, "--listen", "127.0.0.1:0", *words], tmp_path / name)
                  for name, words in (("plain", ()), ("tls", ("--cert", server.certificate, "--key",
                                                              server.key, "--ca", site.pki.ca)))]
        stack.enter_context(lab.stopping(*echoes))
        plain, secure = (echo.wait_text(r"mcecho: ready (\S+)").group(1) for echo in echoes)
        for words in ("1", "960"):
            good(result("closed", plain, "-c", "8", "--words", words, *SHORT), 100)
            good(result("closed", secure, *ways(site)["tls"][1:], "--words", words, *SHORT), 100)
        with socket.create_connection(("127.0.0.1", int(plain.rsplit(":", 1)[1]))) as sock:
            request = lab.read_words(64, 3)
            sock.sendall(request[:5])
            time.sleep(0.05)
            sock.sendall(request[5:] + request)  # two, the first in pieces
            assert [lab.receive_frame(sock)[HEAD:] for _ in range(2)] == [pattern(64, 3)] * 2
            sock.sendall(lab.write_words(0, [1]))
            assert lab.receive_frame(sock)[9:11] == b"\x59\xc0"
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n" + bytes(8))
            assert lab.receive_end(sock) == b""
        refused = result("closed", secure, "--ca", site.pki.ca, *SHORT, expect=3)
        assert "certificate required" in refused["problem"]


# --- faults ----------------------------------------------------------------------------------------


class Server:
    """Answers each read with what `answer(number, words)` makes of it."""

    def __init__(self, answer):
        self.answer = answer
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.serve, args=self.socket.accept()[:1],
                                 daemon=True).start()

    def serve(self, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with sock, contextlib.suppress(OSError, lab.LabError):
            while True:
                request = lab.receive_frame(sock)
                pieces = self.answer(int.from_bytes(request[15:18], "little"),
                                     int.from_bytes(request[19:21], "little"))
                if pieces is None:
                    return
                for piece in pieces:
                    sock.sendall(piece)
                    time.sleep(0.002)


def right(number, words):
    return lab.answer_3e(pattern(number, words))


def changed(at, by=1):
    def answer(number, words):
        frame = bytearray(right(number, words))
        frame[at] ^= by
        return [bytes(frame)]
    return answer


class Late:
    """Each answer is the one to the request before: what a proxy that mixes up would do."""

    def __init__(self):
        self.before = None

    def __call__(self, number, words):
        now, self.before = self.before, right(number, words)
        return [now or self.before]


WRONG = {
    "first-byte-of-data": (changed(HEAD), r"byte 0 of the data"),
    "last-byte-of-data": (changed(HEAD + 19), r"byte 19 of the data"),
    "subheader": (changed(0), "it begins d1"),
    "route": (changed(3), "it begins d00000fe"),
    "another-length": (lambda number, words: [right(number, words - 1)], "it begins"),
    "more": (lambda number, words: [right(number, words) + b"\0"], "more bytes"),
    "unasked": (lambda number, words: [right(number, words), b"\xd0"], "answer"),
    "late": (Late(), "byte 0 of the data"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_found(name):
    answer, problem = WRONG[name]
    found = result("closed", Server(answer).address, "--words", "10", *SHORT, expect=4)
    assert found["wrong"] == 1 and problem in found["problem"], found


def test_pieces_are_counted_and_right():
    def answer(number, words):
        frame = right(number, words)
        return [frame[:4], frame[4:HEAD + 1], frame[HEAD + 1:]]
    found = good(result("closed", Server(answer).address, "--words", "10", *SHORT))
    assert found["split"] == found["answered"]


def test_refusals_are_counted():
    found = result("closed", Server(lambda number, words: [lab.answer_3e(b"", 0xC051)]).address,
                   *SHORT, expect=1)
    assert found["refused"] >= found["answered"] > 0 and found["end_code"] == "C051"


def test_a_lost_connection_is_counted_and_stays_away():
    asked = []

    def answer(number, words):
        asked.append(number)
        return None if len(asked) == 50 else [right(number, words)]
    found = result("closed", Server(answer).address, "-c", "4", *SHORT, expect=3)
    assert (found["lost"], found["still_open"], found["wrong"]) == (1, 3, 0)
    assert "the other side closed the connection" in found["problem"]


def test_silence_ends_after_the_time_out():
    def answer(number, words):
        asked.append(number)
        return [right(number, words)] if len(asked) < answers else []
    for answers, what in ((1, "failed"), (9, "lost")):
        asked = []
        found = result("closed", Server(answer).address, "--timeout", "0.5", "-d", "3", expect=3)
        assert found[what] == 1 and "no answer in time" in found["problem"]


def test_messages(site, tmp_path):
    """What a person reads when it does not work."""
    dead = f"127.0.0.1:{lab.free_port()}"
    _, *tls = ways(site)["tls"]
    gateway = f"127.0.0.1:{site.gateway_port}"
    stranger = lab.Pki(tmp_path / "pki", label="stranger").client("ana")
    for words, expected in (
            (("closed", dead), f"mcload: {dead}: cannot connect: Connection refused"),
            (("connect", dead, "-c", "3"), f"mcload: {dead}: cannot connect: Connection refused"),
            (("closed", gateway, "--ca", site.pki.ca), "certificate required"),
            (("closed", gateway, "--ca", site.pki.ca, "--cert", stranger.certificate,
              "--key", stranger.key), "unknown ca"),
            (("closed", gateway, *tls, "--server-name", "other.example"), "hostname mismatch"),
            (("closed", gateway, "--ca", tmp_path / "none"), f"CA {tmp_path}/none: "),
            (("closed", site.plc.address, *tls, "--timeout", "0.5"), "no connection in time")):
        done = lab.run(MCLOAD, *words, check=False)
        assert done.returncode == 3 and expected in done.stdout, done.stdout
        assert "answers" not in done.stdout  # no figures of nothing


@pytest.mark.parametrize("words, expected", [
    (("closed",), "a mode and a target"), (("open", "127.0.0.1:1"), "no such mode: open"),
    (("closed", "localhost:1"), "expected ADDR:PORT"),
    (("closed", "127.0.0.1:1", "--words", "961"), "from 1 to 960"),
    (("closed", "127.0.0.1:1", "-d", "soon"), "--duration: a time"),
    (("idle", "127.0.0.1:1", "--answers", "5"), "--answers is for"),
    (("closed", "127.0.0.1:1", "--answers", "0"), "--answers: a number"),
    (("closed", "127.0.0.1:1", "--cert", "x"), "both or none"),
    (("closed", "127.0.0.1:1", "--alpn", "x"), "TLS needs --ca")])
def test_usage(words, expected):
    done = lab.run(MCLOAD, *words, check=False)
    assert done.returncode == 2 and expected in done.stdout
