#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`mcseal sessions` and `mcseal close`: what a running daemon says of its sessions, and ends."""
import contextlib
import json
import re
import resource
import socket
import ssl
import subprocess
import threading
import time

import pytest

import asked
import lab
from asked import mcseal
from session_bench import ANSWER, READ, TIMEOUTS, Bench, ended, verdict
from tls_peer import TLS12, Peer, client_context, dial, keep, server_context

DELAY = 0.03  # seconds, of the PLC's answers
PAGE = 2048   # SESSION_LIST_PAGE
COLUMNS = ["SESSION", "AT", "STATE", "IDENTITY", "CLIENT", "PLC", "AGE", "REQUESTS", "REFUSED",
           "TO-PLC", "FROM-PLC", "LATENCY", "TLS", "CIPHER", "RECORDS", "ENGINE"]


def sessions(path):
    result = mcseal("--socket", path, "sessions", "--json")
    assert (result.returncode, result.stderr) == (0, ""), result
    return [json.loads(line) for line in result.stdout.splitlines()]


def session_of(path, sock):
    """The one of the client at the other end of this socket."""
    name = "{}:{}".format(*sock.getsockname())
    found, = [row for row in sessions(path) if name in (row["client"], row["edge"])]
    return found


def table(path):
    """Header and cells, by the columns' places."""
    lines = mcseal("--socket", path, "sessions").stdout.splitlines()
    starts = [lines[0].index(title) for title in COLUMNS]
    assert lines[0].split() == COLUMNS
    return [re.split(r"\s{2,}", line.strip()) for line in lines[1:-1]], lines[-1], starts


def await_request(path, sock):
    """Until its first request has been sent on."""
    name = "{}:{}".format(*sock.getsockname())
    lab.wait_for(lambda: [row for row in sessions(path)
                          if name in (row["client"], row["edge"]) and row["requests"]], "request")


def close(path, *words):
    return mcseal("--socket", path, "close", *words)


def serial_of(credentials):
    text = lab.run("openssl", "x509", "-noout", "-serial", "-in", credentials.certificate).stdout
    return text.strip().partition("=")[2].lower().lstrip("0")


# --- what stands in the list ---------------------------------------------------------------------


@pytest.fixture(scope="module", params=lab.one_engine())
def site(request, tmp_path_factory):
    policies = lab.EVERYTHING + 'policy "reads" { read = { "D0-D9" } }\n'
    with asked.Site(tmp_path_factory.mktemp("site"), plc_options=["--delay", str(1000 * DELAY)],
                    policies=policies, rights='policy = "reads"', engine=request.param) as made:
        keep(made.gateway, made.edge, made.plc)
        yield made


def opened(daemon, number):
    """What the log said when it began to relay."""
    line = daemon.wait_text(rf"^.* session-open session={number} .*$").group(0)
    return {key: value.strip('"') for key, value in re.findall(r' ([a-z-]+)=("[^"]*"|\S+)', line)}


@pytest.mark.parametrize("role", ["edge", "gateway"])
def test_every_column(site, role):
    daemon, path = (site.edge, site.edge_control) if role == "edge" else (site.gateway, site.control)
    read, write, answer = lab.read_words(0, 5), lab.write_words(0, [1]), 11 + 2 * 5
    began = time.monotonic()
    with site.connect() as sock:
        for _ in range(3):
            sock.sendall(read)
            assert len(lab.receive_frame(sock)) == answer
        sock.sendall(write)
        refusal = lab.receive_frame(sock)  # by the gateway
        row = session_of(path, sock)
        took = time.monotonic() - began
        log = opened(daemon, row["session"])
        client = "{}:{}".format(*sock.getsockname())
    assert row["role"] == role and row["state"] == "RELAYING" and not row["ending"]
    assert row["client"] == client and row["destination"] == f"127.0.0.1:{site.plc.port}"
    assert 3 * DELAY <= row["seconds"] <= took
    # The edge knows nothing of refusals: it has asked its gateway four times.
    passed = 4 if role == "edge" else 3
    assert (row["requests"], row["answers"], row["refused"]) == (passed, passed, 4 - passed)
    extra = len(write) if role == "edge" else 0
    assert row["bytes_to_plc"] == 3 * len(read) + extra
    assert row["bytes_from_plc"] == 3 * answer + (len(refusal) if role == "edge" else 0)
    if role == "gateway":
        assert DELAY <= row["latency_microseconds"] / 1e6 < took
        assert (row["listener"], row["identity"], row["plc"]) == ("plant", "edge-office", "press-1")
        assert row["edge"].startswith("127.0.0.1:") and row["edge"] != client
        assert row["route"] is None and row["serial"] == serial_of(site.edge_credentials)
    else:
        assert row["latency_microseconds"] / 1e6 < took
        assert (row["listener"], row["route"]) == ("office", "plant")
        assert row["edge"] is None is row["identity"] is row["plc"]
        assert row["serial"] == serial_of(site.gateway_credentials)
    assert (row["tls"], row["cipher"]) == (log["tls"], log["cipher"]) and row["tls"] == "TLSv1.3"
    assert row["resumed"] == (log["resumed"] == "yes")
    assert (row["records"], row["engine"]) == (log["records"], log["relay"])
    assert row["records_why"] == log.get("records-why")


def test_latency_is_the_last_requests(site):
    """As long as it is under way, that of the one before."""
    with site.connect() as sock:
        sock.sendall(READ)
        lab.receive_frame(sock)
        first = session_of(site.edge_control, sock)["latency_microseconds"]
        assert DELAY <= first / 1e6
        time.sleep(10 * DELAY)  # a pause is nobody's latency
        sock.sendall(READ)
        lab.receive_frame(sock)
        row = session_of(site.edge_control, sock)
        assert DELAY <= row["latency_microseconds"] / 1e6 < 9 * DELAY * lab.PATIENCE
        assert row["latency_microseconds"] != first


def test_a_client_that_speaks_tls_1_2(site):
    with dial(site.gateway_port) as sock:
        peer = Peer(sock, client_context(site.client_credentials, TLS12)).handshake()
        peer.send(READ)
        peer.receive_frame()
        row = session_of(site.control, sock)
        assert (row["identity"], row["tls"], row["edge"]) == ("ana", "TLSv1.2", None)
        assert row["cipher"] == peer.tls.cipher()[0]
        assert row["serial"] == serial_of(site.client_credentials)


def test_table_says_the_same(site):
    with contextlib.ExitStack() as stack:
        for count in (0, 1, 2):
            sock = stack.enter_context(site.connect())
            for _ in range(count):
                sock.sendall(READ)
                lab.receive_frame(sock)
        lab.wait_for(lambda: [row["state"] for row in sessions(site.control)] == ["RELAYING"] * 3,
                     "sessions")
        rows, (cells, count, _) = sessions(site.control), table(site.control)
        assert count == "3 sessions" and len(rows) == len(cells) == 3
        assert [row["session"] for row in rows] == sorted(row["session"] for row in rows)
        for row, line in zip(rows, cells):
            told = dict(zip(COLUMNS, line))
            latency = row["latency_microseconds"]
            assert told.pop("AGE").endswith("s")
            assert told == {
                "SESSION": str(row["session"]), "AT": "gateway plant", "STATE": "relaying",
                "IDENTITY": "edge-office", "CLIENT": row["client"],
                "PLC": f"press-1:{site.plc.port}", "REQUESTS": str(row["requests"]),
                "REFUSED": "0", "TO-PLC": str(21 * row["requests"]),
                "FROM-PLC": str(13 * row["requests"]),
                "LATENCY": f"{latency / 1000:.3f}ms" if row["requests"] else "-",
                "TLS": row["tls"], "CIPHER": row["cipher"], "RECORDS": row["records"],
                "ENGINE": row["engine"]}
    lab.wait_for(lambda: not sessions(site.control), "ends")
    assert table(site.control)[1] == "0 sessions"


def test_watch(site):
    """Again and again, until nobody reads; in a pipe without control characters."""
    with site.connect() as sock:
        sock.sendall(READ)
        lab.receive_frame(sock)
        with subprocess.Popen([asked.MCSEAL, "--socket", site.control, "sessions", "--watch",
                               "--json", "0.1"], text=True, stdout=subprocess.PIPE) as program:
            first = json.loads(program.stdout.readline())
            second = json.loads(program.stdout.readline())
            assert first["session"] == second["session"]
            assert 0.1 <= second["seconds"] - first["seconds"]
            sock.sendall(READ)
            lab.receive_frame(sock)
            lab.wait_for(lambda: json.loads(program.stdout.readline())["requests"] == 2, "change")
            program.stdout.close()
            assert program.wait(5 * lab.PATIENCE) != 0
        with subprocess.Popen([asked.MCSEAL, "--socket", site.control, "sessions", "--watch",
                               "0.1"], text=True, stdout=subprocess.PIPE) as program:
            titles = [program.stdout.readline() for _ in range(8)]
            program.terminate()
        assert titles[0] == titles[4] and titles[3] == "\n" and "\033" not in "".join(titles)


def test_watch_ends_with_the_daemon(tmp_path):
    with asked.Site(tmp_path) as site:
        with subprocess.Popen([asked.MCSEAL, "--socket", site.control, "sessions", "--watch", "0.1"],
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
            assert program.stdout.readline().startswith("SESSION")
            lab.assert_clean(site.gateway, site.gateway.stop())
            assert program.wait(5 * lab.PATIENCE) == 1
            assert "is mcseald running" in program.stderr.read()


# --- many, and slow readers ----------------------------------------------------------------------


class Crowd:
    """Silent connections to a gateway: sessions that cost little and stay."""

    def __init__(self, site):
        self.site, self.socks = site, []

    def grow_to(self, count):
        while len(self.socks) < count:
            batch = min(count - len(self.socks), 200)
            self.socks += [socket.create_connection(("127.0.0.1", self.site.gateway_port))
                           for _ in range(batch)]
            lab.wait_for(lambda: int(re.search(r"(?m)^mcseal_sessions (\d+)", self.site.metrics())
                                     .group(1)) >= len(self.socks), "sessions", 20)

    def close(self):
        for sock in self.socks:
            sock.close()


@pytest.fixture
def crowd(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    head = (f"limits {{ handshakes = 10000 }}\n"
            f"timeouts {{ handshake = 300 dial_gateway = {20 * lab.PATIENCE}\n"
            f"dial_plc = {5 * lab.PATIENCE} proxy_header = {5 * lab.PATIENCE} }}\n")
    with asked.Site(tmp_path, head=head.replace("handshakes = 10000", "handshakes = 4096"),
                    plc_options=["--set", "D0=1"]) as site:
        made = Crowd(site)
        yield made
        made.close()
        # Their ends are what the daemon's own end would have to wait for, otherwise.
        lab.wait_for(lambda: not sessions(site.control), "ends", 20)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_five_hundred(tmp_path):
    """All there, each once, each with its own requests."""
    count = 100 if lab.BUILD.name in ("asan", "tsan") else 500
    with asked.Site(tmp_path, connections=600,
                    head=f"timeouts {{ dial_gateway = {20 * lab.PATIENCE} handshake = "
                         f"{20 * lab.PATIENCE} proxy_header = {20 * lab.PATIENCE} dial_plc = "
                         f"{20 * lab.PATIENCE} }}") as site, contextlib.ExitStack() as stack:
        socks = []
        for number in range(count):
            sock = stack.enter_context(site.connect())
            sock.settimeout(30 * lab.PATIENCE)
            socks.append(sock)
            for _ in range(1 + number % 3):
                sock.sendall(READ)
                lab.receive_frame(sock, 30)
        for path in (site.control, site.edge_control):
            started = time.monotonic()
            rows = sessions(path)
            assert time.monotonic() - started < 2 * lab.PATIENCE
            asked_of = {row["client"]: row["requests"] for row in rows}
            assert len(rows) == len(asked_of) == count
            assert {row["state"] for row in rows} == {"RELAYING"}
            for number, sock in enumerate(socks):
                assert asked_of["{}:{}".format(*sock.getsockname())] == 1 + number % 3


def test_more_than_a_page(crowd):
    crowd.grow_to(PAGE + 60)
    rows = sessions(crowd.site.control)
    assert len({row["session"] for row in rows}) == len(rows) == PAGE + 60
    assert {row["state"] for row in rows} == {"HANDSHAKING"}
    ports = {sock.getsockname()[1] for sock in crowd.socks}
    assert {int(row["client"].rpartition(":")[2]) for row in rows} == ports
    # As the socket has it: the newest first, and a page is a page.
    numbers = [row["session"] for row in rows]
    page = [json.loads(line)["session"]
            for line in crowd.site.ask("sessions").splitlines()[1:]]
    assert page == sorted(numbers, reverse=True)[:PAGE]
    below = [json.loads(line)["session"]
             for line in crowd.site.ask(f"sessions {numbers[7]}").splitlines()[1:]]
    assert below == sorted(numbers[:7], reverse=True)
    assert crowd.site.ask("sessions 1").splitlines()[1:] == []
    for words in ("sessions x", "sessions 0", "sessions 1 2", "sessions 99999999999999999999"):
        assert json.loads(crowd.site.ask(words))["status"] == "error"


def test_traffic_beside_lists(crowd):
    """Whoever asks, hangs up, or does not read: polling goes on, without a slow answer."""
    crowd.grow_to(1000 if lab.BUILD.name in ("asan", "tsan") else PAGE)
    site, stop, errors, lists = crowd.site, threading.Event(), [], []

    def ask_often():
        while not stop.is_set():
            try:
                lists.append(len(sessions(site.control)))
            except AssertionError as error:
                errors.append(error)

    def hang_up_often():
        while not stop.is_set():
            with contextlib.suppress(OSError), site.dial() as sock:
                sock.sendall(b"sessions\n")
                stop.wait(0.01)

    def read_slowly():
        """A list lies in the daemon's memory until it is read, for five seconds at most."""
        with site.dial() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            sock.sendall(b"sessions\n")
            started, got = time.monotonic(), sock.recv(100)
            while time.monotonic() - started < 6 + lab.PATIENCE:
                got += sock.recv(100)
                time.sleep(0.05)
            got += lab.receive_end(sock, 1)  # what the socket holds, and the end
            head = json.loads(got.partition(b"\n")[0])
            if not 2000 < len(got) < head["bytes"]:
                errors.append(AssertionError(f"{len(got)} of {head}"))

    threads = [threading.Thread(target=target)
               for target in (ask_often, hang_up_often, read_slowly)]
    for thread in threads:
        thread.start()
    try:
        result = site.mcping("poll", "D0", "10", "--count", "2000", "--interval", "0", "--verify")
    finally:
        threads[2].join()
        stop.set()
        for thread in threads:
            thread.join()
    assert not errors, errors
    assert "2000 answers" in result.stdout and " 0 wrong" in result.stdout, result.stdout
    assert len(lists) > 3 and min(lists) >= len(crowd.socks)
    print(f"{len(lists)} lists of {len(crowd.socks)} sessions beside\n{result.stdout}")


def test_many_end_while_they_are_listed(crowd):
    """Lists go on at the next session that is left, whichever have ended since the last piece."""
    stop, errors, lists = threading.Event(), [], []

    def look():
        while not stop.is_set():
            try:
                numbers = [row["session"] for row in sessions(crowd.site.control)]
                if numbers != sorted(set(numbers)):
                    errors.append(numbers)
                lists.append(len(numbers))
            except AssertionError as error:
                errors.append(error)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            crowd.grow_to(600)
            for sock in crowd.socks[::2] + crowd.socks[1::2]:
                sock.close()
            crowd.socks = []
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not errors, errors
    assert max(lists) > 100


# --- the end of one session ----------------------------------------------------------------------


class Watched(Bench):
    """The bench, with control sockets; and a PLC that is dialled with the first request."""

    def __init__(self, folder, engine):
        self.stack = contextlib.ExitStack()
        sockets = asked.socket_folder(self.stack)
        self.control, self.edge_control = f"{sockets}/gateway", f"{sockets}/edge"
        self.late_port = lab.free_port()
        super().__init__(folder, engine, {**dict.fromkeys(TIMEOUTS, 60), "plc_reopen": 0.05})

    def gateway_text(self):
        return (f'control_socket = "{self.control}"\naudit {{ reads = yes }}\n'
                + super().gateway_text() + f"""
plc "late" {{ address = 127.0.0.2 dial = first-request port "{self.plc.port}" {{ }} }}
gateway "late" {{
	listen = "127.0.0.1:{self.late_port}"
	{self.gateway_credentials.config()}
	plc = "late"
}}
""")

    def edge_text(self):
        return f'control_socket = "{self.edge_control}"\n' + super().edge_text()


@pytest.fixture(scope="module", params=lab.one_engine())
def watched(request, tmp_path_factory):
    made = Watched(tmp_path_factory.mktemp(f"watched-{request.param}"), request.param)
    keep(made.gateway, made.edge)
    with lab.stopping(made.edge, made.gateway):
        yield made
    made.close()
    made.stack.close()


def await_state(path, sock, state):
    def there():
        name = "{}:{}".format(*sock.getsockname())
        return [row for row in sessions(path)
                if name in (row["client"], row["edge"]) and row["state"] == state]
    return lab.wait_for(there, state)[0]


def close_it(path, daemon, sock, state, *words, outcome="is closed"):
    """The line that tells its end; `outcome` of what mcseal says."""
    row = await_state(path, sock, state)
    result = close(path, row["session"], *words)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"session {row['session']} {outcome}\n"
    return row["session"]


def closed_line(daemon, number):
    line = daemon.wait_text(rf"^.*session-closed .*session={number} .*$").group(0)
    assert " warning session-closed reason=closed-by-admin " in line, line
    assert daemon.lines(rf'warning admin command="close {number}( now)?" uid=0 gid=0 pid=\d+$')
    return line


def nothing_left(path, number):
    lab.wait_for(lambda: number not in [row["session"] for row in sessions(path)], "end")


words = pytest.mark.parametrize("words", [(), ("--now",)], ids=["rest", "now"])


@words
@pytest.mark.parametrize("state", ["HANDSHAKING", "RESOLVING", "AWAITING", "DIALING", "waiting",
                                   "RELAYING", "DRAINING"])
def test_gateway_session_in_each_state(watched, state, words):
    with contextlib.ExitStack() as stack:
        if state == "HANDSHAKING":
            sock = stack.enter_context(dial(watched.gateway_ports["live"]))
            peer = None
        elif state == "AWAITING":
            sock = stack.enter_context(dial(watched.late_port))
            peer = Peer(sock, client_context(watched.ana)).handshake()
            peer.send(READ[:7])  # a begun request waits, and goes nowhere
        elif state in ("RELAYING", "DRAINING"):
            peer, plc = stack.enter_context(watched.relaying())
            sock = peer.sock
            if state == "DRAINING":
                peer.close_notify()
                sock.shutdown(socket.SHUT_WR)
        else:
            if state == "waiting":  # for the PLC's only connection
                stack.enter_context(watched.relaying())
            name = {"RESOLVING": "any", "DIALING": "deaf", "waiting": "live"}[state]
            peer = watched.client(name, watched.edge_credentials if name == "any" else None,
                                  ["mcseal/1"] if name == "any" else None)
            sock = stack.enter_context(peer.sock)
        number = close_it(watched.control, watched.gateway, sock,
                          "DIALING" if state == "waiting" else state, *words)
        if peer is None:
            assert ended(sock) == b""
        elif state == "DRAINING":
            assert ended(plc) == b""
        else:
            assert verdict(peer) == "goodbye"
        closed_line(watched.gateway, number)
        nothing_left(watched.control, number)
    watched.gateway_works()


@words
@pytest.mark.parametrize("state", ["DIALING", "HANDSHAKING", "RELAYING", "DRAINING"])
def test_edge_session_in_each_state(watched, state, words):
    with contextlib.ExitStack() as stack:
        if state in ("RELAYING", "DRAINING"):
            sock, gateway = stack.enter_context(watched.carried())
            if state == "DRAINING":
                sock.shutdown(socket.SHUT_WR)
        else:
            sock = stack.enter_context(
                dial(watched.edge_ports["deaf" if state == "DIALING" else "raw"]))
            mute = stack.enter_context(watched.raw.take()) if state == "HANDSHAKING" else None
        number = close_it(watched.edge_control, watched.edge, sock, state, *words)
        assert ended(sock) == b""
        if state == "HANDSHAKING":
            lab.receive_end(mute)
        elif state == "RELAYING":
            assert verdict(gateway) == "goodbye"
        closed_line(watched.edge, number)
        nothing_left(watched.edge_control, number)
    watched.edge_works()


def test_what_was_asked_is_answered_first(watched):
    """And nothing more is asked, though it has come already."""
    with watched.relaying() as (client, plc):
        client.send(READ)
        assert lab.receive_frame(plc) == READ
        client.send(READ + READ[:9])
        row = await_state(watched.control, client.sock, "RELAYING")
        number = close_it(watched.control, watched.gateway, client.sock, "RELAYING",
                          outcome="ends when what it has asked is answered")
        row = session_of(watched.control, client.sock)
        assert row["ending"] and (row["requests"], row["answers"]) == (2, 1)
        # Told again it is the same.
        close_it(watched.control, watched.gateway, client.sock, "RELAYING",
                 outcome="ends when what it has asked is answered")
        cells, _, _ = table(watched.control)
        assert "relaying, ENDING" in [line[2] for line in cells if line[0] == str(number)]
        plc.sendall(ANSWER)
        assert client.receive_frame() == ANSWER
        assert verdict(client) == "goodbye"
        assert ended(plc) == b""  # not asked a third time
        line = closed_line(watched.gateway, number)
        assert " requests=2 answers=2 " in line
    watched.gateway_works()


def test_begun_request_does_not_run_out_of_time(tmp_path):
    """It waits behind an answer that takes longer than the rest of a request may."""
    with asked.Site(tmp_path, plc_options=["--delay", str(1500 * lab.PATIENCE)],
                    head=f"timeouts {{ frame_rest = {0.3 * lab.PATIENCE:.3f} answer = 60\n"
                         f"dial_gateway = {3 * lab.PATIENCE} proxy_header = {3 * lab.PATIENCE}\n"
                         f"handshake = {3 * lab.PATIENCE} dial_plc = {3 * lab.PATIENCE} }}") as site:
        with dial(site.gateway_port) as sock:
            peer = Peer(sock, client_context(site.client_credentials)).handshake()
            peer.send(READ)
            await_request(site.control, sock)
            peer.send(READ[:5])
            time.sleep(0.1 * lab.PATIENCE)
            result = close(site.control, session_of(site.control, sock)["session"])
            assert "ends when" in result.stdout
            assert len(peer.receive_frame()) == 13 and peer.verdict() == "goodbye"
        site.gateway.closed("closed-by-admin")
        assert site.gateway.reasons() == ["closed-by-admin"]


def test_edge_answers_what_was_asked(watched):
    with watched.carried() as (client, gateway):
        client.sendall(READ + READ)  # an edge does not wait with the second
        assert gateway.receive_frame() == READ == gateway.receive_frame()
        number = close_it(watched.edge_control, watched.edge, client, "RELAYING",
                          outcome="ends when what it has asked is answered")
        gateway.send(ANSWER)
        assert lab.receive_frame(client) == ANSWER
        client.sendall(READ)
        time.sleep(0.1)
        gateway.send(ANSWER)
        assert ended(client) == ANSWER
        assert verdict(gateway) == "goodbye"
        closed_line(watched.edge, number)
    watched.edge_works()


def test_at_once_is_at_once(watched):
    """The PLC has been asked; whether it did so nobody knows, and the log says that."""
    with watched.relaying() as (client, plc):
        client.send(READ)
        assert lab.receive_frame(plc) == READ
        number = close_it(watched.control, watched.gateway, client.sock, "RELAYING", "--now")
        assert verdict(client) == "goodbye"
        lab.receive_end(plc)
        closed_line(watched.gateway, number)
        assert watched.gateway.lines(rf"request-unanswered .*session={number} ")
    watched.gateway_works()


def test_one_that_waits_for_its_turn(tmp_path):
    """Its turn is not lost to the others."""
    with asked.Site(tmp_path, plc_options=["--delay", str(400 * lab.PATIENCE)],
                    plc_section="requests_at_once = 1",
                    head="timeouts { request_wait = 60 answer = 60 dial_gateway = 20 }") as site:
        with site.connect() as first, site.connect() as second, site.connect() as third:
            first.sendall(READ)
            await_request(site.control, first)
            second.sendall(READ)
            time.sleep(0.1 * lab.PATIENCE)
            result = close(site.control, session_of(site.control, second)["session"])
            assert "is closed" in result.stdout
            third.sendall(READ)
            assert lab.receive_end(second) == b""
            lab.receive_frame(first)
            lab.receive_frame(third)
        assert len(site.plc.requests()) == 2


def test_opaque_sessions_end_between_two_pieces(tmp_path):
    with asked.Site(tmp_path, protocol="opaque") as site:
        for path, daemon in ((site.control, site.gateway), (site.edge_control, site.edge)):
            with site.connect() as sock:
                sock.sendall(READ)
                lab.receive_frame(sock)
                row = session_of(path, sock)
                assert row["latency_microseconds"] is None  # of bytes nobody knows it
                assert "is closed" in close(path, row["session"]).stdout
                assert lab.receive_end(sock) == b""
                daemon.closed("closed-by-admin")


def test_there_is_none(watched):
    def fails(message, status, *words):
        result = close(watched.control, *words)
        assert (result.returncode, result.stdout) == (status, "") and message in result.stderr

    fails("mcseal: there is no session 424242", 1, "424242")
    fails("close takes a session's number", 1, "x")
    fails("close takes a session's number", 1, "0")
    fails("close takes a session's number", 1, "18446744073709551616")
    fails("a session's number is missing", 2)
    fails("'2' is one word too many", 2, "1", "2")
    with watched.relaying() as (client, _):
        number = close_it(watched.control, watched.gateway, client.sock, "RELAYING")
        nothing_left(watched.control, number)
        fails(f"there is no session {number}", 1, number)
        result = close(watched.control, number, "--json")
        assert result.returncode == 1 and result.stdout == ""
    with watched.relaying() as (client, _):
        row = await_state(watched.control, client.sock, "RELAYING")
        result = close(watched.control, row["session"], "--json")
        assert json.loads(result.stdout) == {"session": row["session"], "outcome": "closed"}


def test_closed_while_others_look(watched):
    """Sessions that end while they are listed."""
    stop, errors = threading.Event(), []

    def look():
        while not stop.is_set():
            result = mcseal("--socket", watched.control, "sessions", "--json")
            if result.returncode != 0:
                errors.append(result.stderr)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            socks = [dial(watched.gateway_ports["live"]) for _ in range(8)]
            for sock in socks:
                number = await_state(watched.control, sock, "HANDSHAKING")["session"]
                assert close(watched.control, number).returncode == 0
            for sock in socks:
                assert ended(sock) == b""
                sock.close()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not errors, errors
    watched.gateway_works()
