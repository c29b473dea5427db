#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What is counted of real traffic, the format as others read it, and what is made of it."""
import contextlib
import json
import pathlib
import re
import shutil
import socket
import stat
import struct
import subprocess
import threading
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

import asked
import lab
from asked import mcseal
from tls_peer import Peer, client_context, dial

EXAMPLES = lab.ROOT / "docs" / "examples"
POLICIES = """
policy "vendor" { read = { "D0-D999" } write = { "D100-D109" } }
policy "watched" { read = { "D0-D9" } observe = yes }
"""
READ, WRITE = lab.read_words(0, 1), lab.write_words(100, [7])
RUN = lab.request_3e(0x1001, 0, struct.pack("<HH", 1, 0))
TOO_FAR = lab.read_words(990, 10)  # a PLC with 900 points of D refuses it


class Metrics:
    """One scrape, taken apart by Prometheus' own parser."""

    def __init__(self, text):
        self.text = text
        self.families = list(text_string_to_metric_families(text))
        self.samples = {}
        for family in self.families:
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples, f"twice: {key}"
                self.samples[key] = sample.value

    def get(self, name, **labels):
        return self.samples[name, frozenset(labels.items())]

    def find(self, name, **labels):
        """Of every series with these labels."""
        return {there: value for (sample, there), value in self.samples.items()
                if sample == name and there >= set(labels.items())}


def judge(text):
    """As others see it: the parser of the Python client, and promtool where there is one."""
    promtool = shutil.which("promtool")
    if promtool:
        lab.run(promtool, "check", "metrics", input=text)
    return Metrics(text)


@pytest.fixture
def site(tmp_path):
    with asked.Site(tmp_path, policies=POLICIES, rights='policy = "vendor"',
                    client_rights='policy = "watched"', connections=3,
                    plc_options=["--device-limits", "D=900"]) as made:
        yield made


def ask(sock, *frames):
    for frame in frames:
        sock.sendall(frame)
        lab.receive_frame(sock)


def test_what_was_asked_is_counted(site):
    with site.connect() as sock, site.connect() as other:
        ask(sock, READ, READ, WRITE, RUN, lab.write_words(0, [1]), TOO_FAR)
        ask(other, READ)
        during = judge(site.metrics())
    site.gateway.closed("finished")
    lab.wait_for(lambda: len(site.gateway.lines("session-closed")) == 2, "both ends")
    metrics = judge(site.metrics())
    who = {"plc": "press-1", "identity": "edge-office"}
    at = {"plc": "press-1", "port": str(site.plc.port)}
    assert metrics.get("mcseal_requests_total", **who, **{"class": "read"}) == 4
    assert metrics.get("mcseal_requests_total", **who, **{"class": "write"}) == 1
    assert metrics.get("mcseal_requests_total", **who, **{"class": "control"}) == 0
    assert metrics.get("mcseal_requests_refused_total", **who) == 2
    assert metrics.find("mcseal_requests_refused_by_rule_total") == {
        frozenset({**who, "rule": rule}.items()): 1 for rule in ("class", "write")}
    assert metrics.get("mcseal_answers_total", **who, result="normal") == 4
    assert metrics.get("mcseal_answers_total", **who, result="error") == 1
    (labels, count), = metrics.find("mcseal_answers_by_end_code_total").items()
    assert count == 1 and re.fullmatch("[4C][0-9A-F]{3}", dict(labels)["end_code"])
    assert metrics.get("mcseal_requests_unanswered_total", **who) == 0
    assert metrics.get("mcseal_plc_bytes_total", **who, direction="to-plc") == \
        4 * len(READ) + len(WRITE)
    for name in ("waiting", "plc"):
        assert metrics.get(f"mcseal_request_{name}_seconds_count", **who) == 5
    assert metrics.get("mcseal_request_seconds_count", **who) == 5
    assert 0 < metrics.get("mcseal_request_seconds_sum", **who) < 10 * lab.PATIENCE
    # Sessions and slots, while they were there and after.
    for scrape, there in ((during, 2), (metrics, 0)):
        assert scrape.get("mcseal_plc_sessions_open", **who) == there
        assert scrape.get("mcseal_plc_slots_taken", **at) == there
        assert scrape.get("mcseal_sessions") == there
        assert sum(scrape.find("mcseal_sessions_relaying", role="gateway").values()) == there
        assert scrape.get("mcseal_plc_slots", **at) == 3
        assert scrape.get("mcseal_plc_sessions_total", **who) == 2
        assert scrape.get("mcseal_sessions_accepted_total", role="gateway") == 2
        assert scrape.get("mcseal_sessions_closed_total", role="gateway") == 2 - there
    assert metrics.get("mcseal_sessions_closed_by_reason_total", role="gateway",
                       reason="finished") == 2
    assert metrics.get("mcseal_handshakes_total", role="gateway", result="full") + \
        metrics.get("mcseal_handshakes_total", role="gateway", result="resumed") == 2
    assert metrics.get("mcseal_session_bytes_total", role="gateway", direction="to-plc") == \
        4 * len(READ) + len(WRITE)
    assert abs(metrics.get("mcseal_start_time_seconds") - time.time()) < 60 * lab.PATIENCE


def test_an_edge_counts_its_sessions(site):
    with site.connect() as sock:
        ask(sock, READ)
        metrics = judge(site.metrics(site.edge_control))
        records, = re.findall(r"session-open .* records=(\w+) .*relay=(\S+)", site.edge.text())
        assert metrics.get("mcseal_sessions_relaying", role="edge", records=records[0],
                           engine=records[1]) == 1
        assert sum(metrics.find("mcseal_sessions_relaying").values()) == 1
    lab.wait_for(lambda: site.edge.lines("session-closed"), "the end")
    metrics = judge(site.metrics(site.edge_control))
    assert metrics.get("mcseal_sessions_closed_by_reason_total", role="edge",
                       reason="finished") == 1
    assert metrics.get("mcseal_handshakes_total", role="edge", result="full") == 1
    assert metrics.get("mcseal_session_bytes_total", role="edge", direction="to-plc") == len(READ)
    assert not [key for key in metrics.samples if "plc" in dict(key[1])]


def test_observed_refused_by_tls_and_unanswered(site):
    with dial(site.gateway_port) as sock:
        peer = Peer(sock, client_context(site.client_credentials)).handshake()
        peer.send(WRITE)
        assert peer.receive(len(lab.answer_3e(b""))) == lab.answer_3e(b"")
    site.gateway.closed("client-truncated")
    with dial(site.gateway_port) as sock:
        sock.sendall(b"hello, who is there?")
        lab.receive_end(sock)
    site.gateway.closed("handshake-failed")
    metrics = judge(site.metrics())
    who = {"plc": "press-1", "identity": "ana"}
    assert metrics.get("mcseal_requests_observed_total", **who) == 1
    assert metrics.get("mcseal_requests_observed_by_rule_total", **who, rule="write") == 1
    assert metrics.get("mcseal_requests_refused_total", **who) == 0
    assert metrics.get("mcseal_handshakes_total", role="gateway", result="failed") == 1
    assert metrics.get("mcseal_handshakes_total", role="gateway", result="full") == 1
    site.plc.stop()
    with site.connect() as sock:
        lab.receive_end(sock)
    site.gateway.closed("plc-refused")
    assert judge(site.metrics()).get("mcseal_sessions_closed_by_reason_total", role="gateway",
                                     reason="plc-refused") == 1
    site.plc = lab.Plc(site.folder, name="plc-2")


def test_counters_only_grow_while_everything_is_in_use(site):
    """Scrapes beside traffic: each of them whole, none goes back."""
    stop = threading.Event()

    def poll():
        while not stop.is_set():
            site.mcping("poll", "D0", "10", "--count", "100", "--interval", "0", "--verify")

    pollers = [threading.Thread(target=poll) for _ in range(2)]
    for poller in pollers:
        poller.start()
    try:
        before, kinds = {}, {}
        for _ in range(40):
            metrics = Metrics(site.metrics())
            kinds |= {family.name: family.type for family in metrics.families}
            for key, value in before.items():
                name = re.sub("_(total|bucket|sum|count)$", "", key[0])
                assert kinds[name] == "gauge" or metrics.samples[key] >= value, key
            before = metrics.samples
            for (name, labels), value in metrics.samples.items():
                if name.endswith("_bucket") and ("le", "+Inf") in labels:
                    count = name.replace("_bucket", "_count"), labels - {("le", "+Inf")}
                    assert metrics.samples[count] == value
    finally:
        stop.set()
        for poller in pollers:
            poller.join()


# --- what the documents and examples name --------------------------------------------------------


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """Names of samples: what may stand in an expression."""
    with asked.Site(tmp_path_factory.mktemp("names")) as site:
        metrics = judge(site.metrics())
    found = set()
    for family in metrics.families:
        found |= {"counter": {f"{family.name}_total"}, "gauge": {family.name},
                  "histogram": {f"{family.name}_{part}" for part in ("bucket", "sum", "count")}
                  }[family.type]
    assert len(found) > 30
    return found


LABELS = re.compile(r"(mcseal_\w+)\{([^}]*)\}")


def check_expression(expression, names, labels):
    used = set(re.findall(r"mcseal_\w+", expression))
    assert used and used <= names, expression
    for name, selectors in LABELS.findall(expression):
        family = re.sub("_(bucket|sum|count)$", "", name)
        keys = set(re.findall(r"(\w+)\s*[=!]~?\"", selectors)) - {"le", "instance"}
        assert keys <= labels[family], expression
    for group in re.findall(r"by \(([^)]*)\)", expression):
        keys = {key.strip() for key in group.split(",")} - {"le", "instance"}
        assert keys <= set().union(*(labels[re.sub("_(bucket|sum|count)$", "", name)]
                                     for name in used)), expression


@pytest.fixture(scope="module")
def labels():
    """Of each metric, as docs/metrics.md has them; a unit test compares that with the daemon."""
    rows = re.findall(r"(?m)^\| `(mcseal_\w+)` \| \w+ \| ([^|]*)\|",
                      (lab.ROOT / "docs" / "metrics.md").read_text())
    return {name: set(re.findall(r"`(\w+)`", cell)) for name, cell in rows}


def test_the_dashboard_shows_what_there_is(names, labels):
    board = json.loads((EXAMPLES / "grafana-mcseal.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    expressions += [variable["query"]["query"] for variable in board["templating"]["list"]
                    if variable["type"] == "query"]
    for expression in expressions:
        check_expression(expression, names, labels)
    shown = " ".join(expressions)
    for wanted in ("requests_total", "requests_refused_by_rule", "request_plc_seconds_bucket",
                   "request_seconds_bucket", "plc_sessions_open", "handshakes_total",
                   "sessions_relaying", "plc_slots_taken"):
        assert f"mcseal_{wanted}" in shown
    # What an import asks for: a place for each panel, no two in one, one data source for all.
    places, numbers = set(), set()
    for panel in board["panels"]:
        grid = panel["gridPos"]
        cells = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"])
                 for y in range(grid["y"], grid["y"] + grid["h"])}
        assert not cells & places and grid["x"] + grid["w"] <= 24
        places |= cells
        numbers.add(panel["id"])
        assert panel["datasource"]["uid"] == "${datasource}"
        legends = "".join(target["legendFormat"] for target in panel["targets"])
        for key in re.findall(r"\{\{(\w+)\}\}", legends):
            assert any(key in found for found in labels.values()), panel["title"]
    assert len(numbers) == len(board["panels"])
    assert board["templating"]["list"][0]["type"] == "datasource"


def test_the_alerts_ask_for_what_there_is(names, labels):
    path = EXAMPLES / "mcseal-alerts.yml"
    text = path.read_text()
    rules = re.findall(r"- alert: (\w+)\n\s+expr: (?:>-\n((?:\s{10}.*\n)+)|(.*)\n)", text)
    assert len(rules) == text.count("- alert:") > 5
    for name, long, short in rules:
        if "node_textfile_mtime_seconds" not in long + short:
            check_expression(long or short, names, labels)
        assert f"| `{name}` |" in (lab.ROOT / "docs" / "metrics.md").read_text()
    if shutil.which("promtool"):
        lab.run("promtool", "check", "rules", path)


# --- mcseal metrics ------------------------------------------------------------------------------


def exec_start(unit):
    """The command of a unit among the examples."""
    line, = re.findall(r"(?m)^ExecStart=(.*)$", (EXAMPLES / unit).read_text())
    words = line.split()
    assert words[0] == "/usr/local/bin/mcseal"
    return words[1:]


def test_a_file_for_the_node_exporter(site, tmp_path):
    """As the unit has it: always a whole file that others may read, or the old one."""
    words = exec_start("mcseal-textfile.service")
    where, = [word for word in words if word.startswith("/var/")]
    assert f"ReadWritePaths={pathlib.Path(where).parent}\n" in \
        (EXAMPLES / "mcseal-textfile.service").read_text()
    folder = tmp_path / "node-exporter"
    folder.mkdir()
    path = folder / "mcseal.prom"
    command = ["--socket", site.control, *words[:-1], path]
    path.write_text("old")
    assert mcseal(*command).returncode == 0
    text = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644 and Metrics(text).get("mcseal_sessions") == 0
    with open(path) as reader:
        assert mcseal(*command).returncode == 0
        assert reader.read() == text  # who has it open goes on reading the old one
    site.gateway.stop()
    result = mcseal(*command)
    assert result.returncode == 1 and "is mcseald running" in result.stderr
    assert Metrics(path.read_text()).get("mcseal_sessions") == 0
    assert list(folder.iterdir()) == [path]
    site.gateway = lab.Daemon(site.folder, site.gateway.config.read_text(), name="gateway-2")
    result = mcseal(*command[:-1], "/nonexistent/mcseal.prom")
    assert result.returncode == 1
    assert result.stderr == "mcseal: /nonexistent/mcseal.prom: No such file or directory\n"
    (folder / "a-folder").mkdir()
    result = mcseal(*command[:-1], folder / "a-folder")
    assert result.returncode == 1 and "a-folder: Is a directory" in result.stderr
    assert set(folder.iterdir()) == {path, folder / "a-folder"}


def test_nobody_to_write_to(site):
    with open("/dev/full", "w") as full:
        result = subprocess.run([asked.MCSEAL, "--socket", site.control, "metrics"], stdout=full,
                                stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == "mcseal: stdout: No space left on device\n"


def scrape(control, request, wait=True):
    """As systemd does it for a socket unit with Accept=yes: the connection is stdin and stdout."""
    near, far = socket.socketpair()
    with near, far:
        with subprocess.Popen([asked.MCSEAL, "--socket", control,
                               *exec_start("mcseal-metrics@.service")], stdin=far, stdout=far,
                              stderr=subprocess.PIPE, text=True) as program:
            far.close()
            for part in request:
                near.sendall(part)
                time.sleep(0.02)
            answer = lab.receive_end(near, 10)
            assert program.wait(5 * lab.PATIENCE) in (0, 1)
    head, _, body = answer.decode().partition("\r\n\r\n")
    status, *fields = head.split("\r\n")
    fields = dict(field.split(": ", 1) for field in fields)
    assert int(fields["Content-Length"]) == len(body) and fields["Connection"] == "close"
    return status, fields, body


GET = b"GET /metrics HTTP/1.1\r\nHost: gw:9507\r\nAccept: text/plain\r\n\r\n"


@pytest.mark.parametrize("request_parts", [
    [GET], [GET[:3], GET[3:40], GET[40:]], [GET.replace(b"/metrics", b"/metrics?x=1")],
    [GET.replace(b"1.1", b"1.0")]], ids=["whole", "in-parts", "query", "http-1.0"])
def test_scraped_over_http(site, request_parts):
    status, fields, body = scrape(site.control, request_parts)
    assert status == "HTTP/1.1 200 OK"
    assert fields["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert judge(body).get("mcseal_sessions") == 0


@pytest.mark.parametrize("request_bytes, status", [
    (GET.replace(b"/metrics", b"/"), "404 Not Found"),
    (GET.replace(b"/metrics", b"/metrics/x"), "404 Not Found"),
    (GET.replace(b"GET", b"POST"), "405 Method Not Allowed"),
    (b"GET /metrics\r\n\r\n", "400 Bad Request"),
    (b"\x16\x03\x01\0\r\n\r\n", "400 Bad Request"),
    (b"\r\n\r\n", "400 Bad Request"),
    (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 8200, "431 Request Header Fields Too Large"),
])
def test_not_a_scrape(site, request_bytes, status):
    assert scrape(site.control, [request_bytes])[0] == f"HTTP/1.1 {status}"


def test_scraped_without_a_daemon():
    with contextlib.ExitStack() as stack:
        folder = asked.socket_folder(stack)
        assert scrape(f"{folder}/none", [GET])[0] == "HTTP/1.1 503 Service Unavailable"


def test_scraper_that_says_nothing():
    started = time.monotonic()
    assert scrape("/nonexistent", [b"GET /metr"])[0] == "HTTP/1.1 408 Request Timeout"
    assert 4.5 < time.monotonic() - started < 8 * lab.PATIENCE
