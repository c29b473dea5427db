#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a gateway writes down of the requests that pass: before the PLC gets them, and after."""
import base64
import calendar
import collections
import contextlib
import datetime
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

import lab
import tls_peer
from session_bench import Listener

PASSWORD = "pq7xR"
WRITE = lab.write_words(100, [0x5a17, 2])
READ = lab.read_words(0, 1)
DONE = lab.answer_3e(b"")


class Audited(lab.Site):
    """The PLC is in the test's own hands."""

    def __init__(self, folder, engine, head="", **options):
        self.listener = Listener()
        self.listener.host = "127.0.0.1"
        super().__init__(folder, engine=engine, head=head, plc=self.listener, **options)

    def processes(self):
        return [self.edge, self.gateway]

    @contextlib.contextmanager
    def talk(self):
        """A client's socket, and the PLC's for it once the client has asked."""
        with self.connect() as near, contextlib.ExitStack() as stack:
            yield near, lambda: stack.enter_context(self.listener.take())

    def told(self, event):
        return self.gateway.lines(rf"\b{event} request=")


@pytest.fixture(params=lab.one_engine())
def site(request, tmp_path):
    with Audited(tmp_path, request.param) as made, contextlib.closing(made.listener):
        yield made


def test_written_down_before_the_plc_is_asked(site):
    with site.talk() as (near, take):
        near.sendall(WRITE)
        far = take()
        assert lab.receive_frame(far) == WRITE
        line, = site.told("request")
        assert re.search(
            r"info request request=1 session=1 identity=edge-office serial=[0-9a-f]+ "
            r"client=127\.0\.0\.1:\d+ plc=press-1 policy=everything frame=3E route=00-FF-03FF-00 "
            r'command=1401 subcommand=0000 name="batch write" class=write attack=T0836 '
            r"points=D100-D101$", line), line
        assert not site.told("request-answered")
        far.sendall(lab.answer_3e(b"\0" * 9, 0xc051))
        assert lab.receive_frame(near)[9:11] == b"\x51\xc0"
        line, = site.told("request-answered")
        assert re.search(r"info request-answered request=1 session=1 plc=press-1 end-code=C051 "
                         r"microseconds=\d+$", line), line
        near.sendall(READ)
        assert lab.receive_frame(far) == READ
        far.sendall(lab.answer_3e(b"\1\0"))
        assert lab.receive_frame(near) == lab.answer_3e(b"\1\0")
        near.sendall(lab.request_3e(0x1002, 0, b"\1\0"))
        assert lab.receive_frame(far)
        assert "request=3 " in site.told("request")[1] and "attack=T0858" in site.told("request")[1]
    assert len(site.told("request")) == 2
    values = site.gateway.text() + site.edge.text()
    assert "5a17" not in values.lower() and "23063" not in values


def test_answer_that_never_comes(site):
    """Whether it was done nobody knows, and it is not asked again."""
    with site.talk() as (near, take):
        near.sendall(WRITE)
        far = take()
        assert lab.receive_frame(far) == WRITE
        far.close()
        assert lab.receive_end(near) == b""
    site.gateway.wait_text(r"warning request-unanswered request=1 session=1 plc=press-1")
    assert not site.told("request-answered") and site.listener.nobody_dials()


FORMS = {
    "4e": (b"\x54\0\x12\x34\0\0" + WRITE[2:], b"\xd4\0\x12\x34\0\0" + lab.answer_3e(b"")[2:],
           "0000"),
    "3e-ascii": (b"500000FF03FF00001C001014010000D*00010000011995",
                 b"D00000FF03FF000016C05100FF03FF0014010000", "C051"),
    "4e-ascii": (b"54001234000000FF03FF00001C001014010000D*00010000011995",
                 b"D4001234000000FF03FF0000040000", "0000"),
    "1e": (bytes.fromhex("03ff0a00640000002044010007000000")[:14], b"\x83\x00", "00"),
    "1e-ascii": (b"03FF000A44200000006401000007", b"835B1000", "5B"),
}


@pytest.mark.parametrize("form", FORMS)
def test_end_codes_of_every_form(site, form):
    request, answer, end_code = FORMS[form]
    with site.talk() as (near, take):
        near.sendall(request)
        far = take()
        far.settimeout(5 * lab.PATIENCE)
        assert far.recv(100) == request
        far.sendall(answer)
        near.settimeout(5 * lab.PATIENCE)
        assert near.recv(100) == answer
    line, = site.told("request-answered")
    assert f" end-code={end_code} " in line, line


def test_many_points_have_their_end(site):
    """A line holds so many; how many more there are is told."""
    devices = b"".join(struct.pack("<I", 3 * n)[:3] + b"\xa8\0\0" for n in range(160))
    with site.talk() as (near, take):
        near.sendall(lab.request_3e(0x1402, 0, b"\xa0\0" + devices))
        assert lab.receive_frame(take())
    line, = site.told("request")
    told = re.search(r" points=(\S+) more-points=(\d+)$", line)
    assert told.group(1).startswith("D0-D0,D3-D3,")
    assert told.group(1).count(",") + 1 + int(told.group(2)) == 160


def test_passwords_are_not_written_down(site):
    unlock = lab.request_3e(0x1630, 0, struct.pack("<H", 5) + PASSWORD.encode())
    with site.talk() as (near, take):
        near.sendall(unlock)
        assert lab.receive_frame(take()) == unlock
    line, = site.told("request")
    assert "class=security" in line and "points" not in line
    for text in (site.gateway.text(), site.edge.text()):
        assert PASSWORD not in text and PASSWORD.encode().hex() not in text


def test_reads_are_written_down_when_asked_for(tmp_path):
    with Audited(tmp_path, "auto", head="audit { reads = yes }") as site, \
            contextlib.closing(site.listener), site.talk() as (near, take):
        near.sendall(READ)
        far = take()
        assert lab.receive_frame(far) == READ
        far.sendall(lab.answer_3e(b"\1\0"))
        assert lab.receive_frame(near) == lab.answer_3e(b"\1\0")
        assert "points=D0-D0" in site.told("request")[0]
        assert " end-code=0000 " in site.told("request-answered")[0]


# --- values --------------------------------------------------------------------------------------


def device(number, code=0xa8):
    return struct.pack("<I", number)[:3] + bytes([code])


VALUES = {  # request: what its line ends with
    "words": (WRITE, "points=D100-D101 values=175A,0200"),
    "bits": (lab.request_3e(0x1401, 1, device(16, 0x90) + b"\5\0\x10\x11\x00"),
             "points=M16-M20 values=10110"),
    "bit device by words": (lab.request_3e(0x1401, 0, device(16, 0x90) + b"\1\0\x34\xab"),
                            "points=M16-M31 values=34AB"),
    "random": (lab.request_3e(0x1402, 0, b"\1\1" + device(5) + b"\xfe\xff" + device(8) +
                              b"\x78\x56\x34\x12"),
               "points=D5-D5,D8-D9 values=FEFF,78563412"),
    "random bits": (lab.request_3e(0x1402, 1, b"\2" + device(1, 0x90) + b"\1" + device(7, 0x9d) +
                                   b"\0"), "points=M1-M1,Y7-Y7 values=1,0"),
    "blocks": (lab.request_3e(0x1406, 0, b"\1\1" + device(0) + b"\2\0\1\0\2\0" +
                              device(0, 0x90) + b"\1\0\xff\0"),
               "points=D0-D1,M0-M15 values=0100,0200,FF00"),
    "buffer": (lab.request_3e(0x1613, 0, b"\0\0\0\0\1\0\x34\x12"), "attack=T0836 values=3412"),
    "ascii": (FORMS["3e-ascii"][0], "points=D100-D100 values=9519"),
    "1e": (FORMS["1e"][0], "points=D100-D100 values=0700"),
    "1e-ascii": (FORMS["1e-ascii"][0], "points=D100-D100 values=0700"),
    "stop": (lab.request_3e(0x1002, 0, b"\1\0"), "attack=T0858"),
    "file": (lab.request_3e(0x1829, 0, b"\0\0\x34\x12ab"), "attack=T0843"),
}


@pytest.mark.parametrize("name", VALUES)
def test_values(valued, name):
    request, end = VALUES[name]
    before = len(valued.told("request"))
    with valued.talk() as (near, take):
        near.sendall(request)
        far = take()
        far.settimeout(5 * lab.PATIENCE)
        assert far.recv(200) == request
        line, = valued.told("request")[before:]
    assert line.endswith(" " + end), line


def test_as_many_values_as_fit(valued):
    before = len(valued.told("request"))
    with valued.talk() as (near, take):
        near.sendall(lab.write_words(0, [0xeeee] * 500))
        lab.receive_frame(take())
        line, = valued.told("request")[before:]
    assert line.endswith(f" values={','.join(['EEEE'] * 102)} more-values=398"), line


@pytest.fixture(scope="module")
def valued(tmp_path_factory):
    folder = tmp_path_factory.mktemp("valued")
    with Audited(folder, "auto", head="audit { values = yes }") as made, \
            contextlib.closing(made.listener):
        tls_peer.keep(made.gateway, made.edge)
        yield made


def test_values_of_what_is_refused(tmp_path):
    """Only where it may not be written: that is what the line is about."""
    policies = 'policy "vendor" { write = { "D0-D9" } }'
    with lab.Site(tmp_path, policies=policies, rights='policy = "vendor"',
                  head="audit { values = yes }") as site, site.connect() as sock:
        sock.sendall(lab.request_3e(0x1402, 0, b"\3\0" + device(1) + b"\1\0" + device(20) +
                                    b"\2\0" + device(21) + b"\3\0"))
        assert lab.receive_frame(sock)[9:11] == b"\x55\0"
        line, = site.gateway.lines("request-refused")
        assert line.endswith("points=D20-D20 values=0200 end-code=0055"), line


@pytest.mark.parametrize("rights", ['policy = "everything"', ""])
def test_passwords_are_nowhere(tmp_path, rights):
    """With values, at level debug, in every form of frame, whether they pass or not."""
    record = tmp_path / "audit.jsonl"
    head = f'audit {{ file = "{record}" values = yes reads = yes }}'
    password = "s3cretPW"
    size = struct.pack("<H", len(password))
    binary = [lab.request_3e(command, subcommand, size + password.encode())
              for command in (0x1630, 0x1631) for subcommand in (0, 1)]
    frames = [*binary, *(b"\x54\0\x12\x34\0\0" + frame[2:] for frame in binary)]
    for command in (b"1630", b"1631"):
        body = b"0010" + command + b"0000" + b"0008" + password.encode()
        frames += [b"500000FF03FF00" + b"%04X" % len(body) + body,
                   b"54001234000000FF03FF00" + b"%04X" % len(body) + body]
    with Audited(tmp_path, "auto", head=head, rights=rights,
                 plc_section="password_tries = 16") as site, contextlib.closing(site.listener):
        for frame in frames:
            with site.talk() as (near, take):
                near.sendall(frame)
                if rights:
                    far = take()
                    far.settimeout(5 * lab.PATIENCE)
                    assert far.recv(100) == frame
                else:
                    assert near.recv(100)
        logs = site.gateway.text() + site.edge.text() + record.read_text()
    told = events(record, "request" if rights else "request-refused")
    assert len(told) == len(frames) and {line["class"] for line in told} == {"security"}
    assert not [line for line in told if "values" in line or "points" in line]
    raw = password.encode()
    little = b"".join(raw[at:at + 2][::-1] for at in range(0, len(raw), 2))
    for secret in (password, raw.hex(), raw.hex(" "), little.hex(), raw.hex(",", 2),
                   little.hex(",", 2), raw.hex().encode().hex(), raw[1:].hex()[:8],
                   base64.b64encode(raw).decode()[:8]):
        assert secret.lower() not in logs.lower(), secret


# --- the record ----------------------------------------------------------------------------------

EVENTS = ("session-open", "session-closed", "request", "request-answered", "request-unanswered",
          "request-refused", "request-observed")
NUMBERS = {"session", "request", "microseconds", "requests", "answers", "bytes-to-plc",
           "bytes-from-plc", "seconds", "refused", "more-points", "more-values"}
AUDIT_REFUSED = 0xc05f


def lines_of(record):
    """Whole lines, each an object, as a strict reader sees them."""
    text = record.read_bytes()
    assert text == b"" or text.endswith(b"\n"), text[-200:]

    def once(pairs):
        assert len(dict(pairs)) == len(pairs), pairs
        return dict(pairs)
    return [json.loads(line.decode("utf-8", "strict"), object_pairs_hook=once)
            for line in text.split(b"\n")[:-1]]


def events(record, event):
    return [line for line in lines_of(record) if line["event"] == event]


def fields_of(text):
    """A line of the log, taken apart again."""
    level, event, rest = re.match(r"\S+Z (\w+) ([\w-]+)(.*)$", text).groups()
    fields = {}
    for key, quoted, plain in re.findall(r' ([\w-]+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))', rest):
        if quoted:
            quoted = re.sub(r"\\(x([0-9a-f]{2})|.)",
                            lambda m: chr(int(m[2], 16)) if m[2] else m[1], quoted)
        fields[key] = quoted or plain
    return event, fields


def as_text(key, value):
    if key in NUMBERS:
        assert isinstance(value, float if key == "seconds" else int), (key, value)
        return f"{value:.3f}" if key == "seconds" else str(value)
    assert isinstance(value, str), (key, value)
    return value


def refusal(frame):
    return lab.answer_3e(frame[2:7] + frame[11:15], AUDIT_REFUSED)


def ask(sock, frame):
    sock.sendall(frame)
    return lab.receive_frame(sock)


RIGHTS = """
policy "some" { allow = { read, security } write = { "D100-D109" } }
policy "watched" { observe = yes }
"""


@pytest.mark.parametrize("options", ["", "reads = yes values = yes"])
def test_record_says_what_the_log_says(tmp_path, options):
    record = tmp_path / "audit.jsonl"
    before = time.time()
    with lab.Site(tmp_path, policies=RIGHTS, rights='policy = "some"',
                  client_rights='policy = "watched"',
                  head=f'audit {{ file = "{record}" {options} }}') as site:
        assert record.stat().st_mode & 0o7777 == 0o640 & ~current_umask()
        with site.connect() as sock:
            assert ask(sock, WRITE) == DONE
            assert ask(sock, READ)[9:11] == b"\0\0"
            assert ask(sock, lab.write_words(200, [1]))[9:11] == b"\x55\0"
            many = b"".join(device(3 * n) + b"\0\0" for n in range(160))
            assert ask(sock, lab.request_3e(0x1402, 0, b"\xa0\0" + many))[9:11] == b"\x55\0"
            assert ask(sock, lab.request_3e(0x1630, 0, b"\4\0pass"))
        observed = tls_peer.Peer(tls_peer.dial(site.gateway_port), tls_peer.client_context(
            site.client_credentials)).handshake()
        observed.send(WRITE)
        assert observed.receive_frame() == DONE
        observed.close_notify()
        observed.sock.close()
        # Nobody whom the gateway knows: in the log, not in the record.
        with socket.create_connection(("127.0.0.1", site.gateway_port)) as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            lab.receive_end(sock)
        lab.wait_for(lambda: len(site.gateway.reasons()) == 3, "three ends")
        told = [fields_of(line) for line in site.gateway.lines(r"Z \w+ (session|request)-?\w* ")]
    told = [(event, fields) for event, fields in told if event in EVENTS and
            (event not in ("session-open", "session-closed") or "identity" in fields)]
    written = lines_of(record)
    assert len(told) >= 12 and len(site.gateway.lines("handshake-failed")) == 1
    assert {event for event, _ in told} == set(EVENTS) - {"request-unanswered"}
    # The two workers' lines may stand in another order.
    for session in (fields["session"] for event, fields in told if event == "session-open"):
        mine = [line for line in written if str(line["session"]) == session]
        assert [line["event"] for line in mine] == \
            [event for event, fields in told if fields["session"] == session]
        last = 0
        for line, fields in zip(mine, (fields for _, fields in told
                                       if fields["session"] == session)):
            rest = {key: value for key, value in line.items()
                    if key not in ("event", "time", "monotonic")}
            assert {key: as_text(key, value) for key, value in rest.items()} == fields
            assert list(line)[:3] == ["event", "time", "monotonic"]
            assert list(line)[3:] == list(fields)
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["time"])
            assert before - 1 < utc(line["time"]) < time.time() + 1
            assert line["monotonic"] >= last
            last = line["monotonic"]
    assert len(written) == len(told)
    if shutil.which("jq"):
        assert lab.run("jq", "-es", "map(.session) | length", record).stdout.strip() == \
            str(len(told))


def current_umask():
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def utc(text):
    whole, fraction = text.rstrip("Z").split(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float("0." + fraction)


def test_record_does_not_need_the_log(tmp_path):
    record = tmp_path / "audit.jsonl"
    with lab.Site(tmp_path, head=f'audit {{ file = "{record}" }}') as site:
        config = site.gateway.config.read_text().replace("log_level = debug", "log_level = error")
        assert site.gateway.stop() == 0
        site.gateway = lab.Daemon(tmp_path, config, name="quiet", ready=False)
        lab.wait_for(lambda: listens(site.gateway_port), "the gateway")
        with site.connect() as sock:
            assert ask(sock, WRITE) == DONE
        lab.wait_for(lambda: events(record, "session-closed"), "the end")
        assert [line["event"] for line in lines_of(record)] == \
            ["session-open", "request", "request-answered", "session-closed"]
        assert site.gateway.text() == ""


def listens(port):
    """Without connecting to it."""
    return re.search(rf" 0100007F:{port:04X} \S+ 0A ", open("/proc/net/tcp").read())


def test_behind_a_torn_line(tmp_path):
    """A crash, or a power cut: what is behind it can be read."""
    record = tmp_path / "audit.jsonl"
    record.write_text('{"event":"request","se')
    with lab.Site(tmp_path, head=f'audit {{ file = "{record}" }}') as site, site.connect() as sock:
        assert ask(sock, WRITE) == DONE
    first, rest = record.read_text().split("\n", 1)
    assert first == '{"event":"request","se'
    record.write_text(rest)
    assert [line["event"] for line in lines_of(record)] == \
        ["session-open", "request", "request-answered", "session-closed"]


# --- rotation ------------------------------------------------------------------------------------

CLIENTS, ROTATIONS = 4, 25


def poll(site, register, stop, sent):
    """Writes until it is told to stop; `sent` by session's client."""
    with site.connect() as sock:
        number = 0
        while not stop.is_set():
            number += 1
            if ask(sock, lab.write_words(register, [number])) != DONE:
                return  # and nothing was sent, then
        sent[f"127.0.0.1:{sock.getsockname()[1]}"] = number


@pytest.mark.parametrize("engine", lab.one_engine())
def test_rotation_under_load(tmp_path, engine):
    """Renamed and reopened all the time: every request is in one of the files, once."""
    record, stop, sent, files = tmp_path / "audit.jsonl", threading.Event(), {}, []
    with lab.Site(tmp_path, engine=engine, head=f'audit {{ file = "{record}" }}') as site:
        threads = [threading.Thread(target=poll, args=(site, 10 * n, stop, sent))
                   for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        while len(files) < ROTATIONS:
            lab.wait_for(lambda: record.stat().st_size > 0, "a line")
            files.append(tmp_path / f"audit.jsonl.{len(files)}")
            record.rename(files[-1])
            time.sleep(0.005)  # here lines go to the old one
            os.kill(site.gateway.pid, signal.SIGUSR1)
            lab.wait_for(record.exists, "the new file")
        stop.set()
        for thread in threads:
            thread.join()
        lab.wait_for(lambda: len(site.gateway.reasons()) == CLIENTS, "the ends")
        assert len(site.gateway.lines("audit-reopened")) == ROTATIONS
        assert len(sent) == CLIENTS and sum(sent.values()) == in_the_plc(site)
    written = [line for file in [*files, record] for line in lines_of(file)]
    clients = {line["session"]: line["client"] for line in written
               if line["event"] == "session-open"}
    seen = collections.Counter((line["event"], line["session"], line.get("request"))
                               for line in written)
    expected = [(event, session, number) for session, client in clients.items()
                for number in range(1, sent[client] + 1)
                for event in ("request", "request-answered")]
    expected += [(event, session, None) for session in clients
                 for event in ("session-open", "session-closed")]
    assert len(clients) == CLIENTS and seen == collections.Counter(expected)


def test_deleted_file_is_made_anew(tmp_path):
    record = tmp_path / "audit.jsonl"
    with lab.Site(tmp_path, head=f'audit {{ file = "{record}" }}') as site, site.connect() as sock:
        assert ask(sock, WRITE) == DONE
        record.unlink()
        assert ask(sock, WRITE) == DONE
        assert [line["request"] for line in lines_of(record)] == [2, 2]


# --- when it cannot be written -------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(folder, kibibytes=32):
    folder.mkdir()
    lab.run("mount", "-t", "tmpfs", "-o", f"size={kibibytes}k,mode=0755", "audit-test", folder)
    try:
        yield folder
    finally:
        lab.run("umount", "-l", folder)


def fill(disk):
    """Leaves nothing but what is left of pages that are in use."""
    with open(disk / "ballast", "wb", buffering=0) as ballast:
        with contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(4096))


def in_the_plc(site):
    return len([line for line in site.plc.requests() if "command=1401" in line])


def told_rarely(daemon):
    """The first `audit-failed`; there is one a minute at most, and a slow machine takes minutes."""
    lines = daemon.lines("audit-failed")
    times = [datetime.datetime.fromisoformat(line.split()[0].rstrip("Z")) for line in lines]
    assert all((later - earlier).total_seconds() > 59 for earlier, later in zip(times, times[1:]))
    return lines[0]


def test_full_disk_refuses_writes(tmp_path):
    """Nothing reaches the PLC that is not in the record; reads go on; and so does all, later."""
    with small_disk(tmp_path / "disk") as disk:
        record = disk / "audit.jsonl"
        with lab.Site(tmp_path, head=f'audit {{ file = "{record}" reads = yes }}') as site, \
                site.connect() as sock:
            assert ask(sock, WRITE) == DONE
            fill(disk)
            answers = [ask(sock, WRITE) for _ in range(60)]
            passed = answers.count(DONE)
            assert 0 < passed < 40 and answers == [DONE] * passed + [refusal(WRITE)] * (60 - passed)
            for frame in (READ, lab.request_3e(0x0619, 0, b"\2\0AB")):
                assert ask(sock, frame)[9:11] == b"\0\0"
            stop = lab.request_3e(0x1002, 0, b"\1\0")
            assert ask(sock, stop) == refusal(stop)
            # In the log neither: who reads there that it passed must find it in the record.
            assert len(site.gateway.lines(r"\brequest request=.*class=write")) == 1 + passed
            # To the byte: no part of a line that did not fit is left.
            assert len(events(record, "request")) == in_the_plc(site) == 1 + passed
            line = site.gateway.lines("request-refused")[0]
            assert " rule=audit " in line and line.endswith("points=D100-D101 end-code=C05F"), line
            failed = told_rarely(site.gateway)
            assert re.search(rf'error audit-failed file={record} why="No space left on device" '
                             r"lost=1$", failed), failed
            (disk / "ballast").unlink()
            assert ask(sock, WRITE) == DONE
            assert ask(sock, stop)[9:11] == b"\0\0"
            # Once; or, where a shorter line found room before, more often: the log tells the first.
            resumed = events(record, "audit-resumed")
            told, = site.gateway.lines("audit-resumed")
            assert told.endswith(f" lost={resumed[0]['lost']}") and " warning " in told
            assert [line["event"] for line in lines_of(record)[-4:]] == \
                ["request", "request-answered"] * 2
            assert len(events(record, "request")) == in_the_plc(site) + 1
            # Nothing is missing that was not counted.
            refused = 60 - passed + 1
            should = 1 + 2 * (1 + passed) + refused * 2 + 2 * 2 + 2 * 2
            assert len(lines_of(record)) - len(resumed) + sum(
                line["lost"] for line in resumed) == should


def test_full_disk_and_the_plant_goes_on(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        record = disk / "audit.jsonl"
        with lab.Site(tmp_path, head=f'audit {{ file = "{record}" failure = continue }}') as site, \
                site.connect() as sock:
            fill(disk)
            for _ in range(60):
                assert ask(sock, WRITE) == DONE
            assert in_the_plc(site) == 60
            before = len(lines_of(record)) - len(events(record, "audit-resumed"))
            assert before < 60
            assert len(site.gateway.lines(r"\brequest request=")) == 60  # in the log
            told_rarely(site.gateway)
            assert not site.gateway.lines("request-refused")
            (disk / "ballast").unlink()
            assert ask(sock, WRITE) == DONE
            lost = sum(line["lost"] for line in events(record, "audit-resumed"))
            assert before + lost == 1 + 2 * 60


def test_read_only_from_the_start(tmp_path):
    """The daemon starts: who only looks must not suffer from a disk."""
    with small_disk(tmp_path / "disk") as disk:
        lab.run("mount", "-o", "remount,ro", disk)
        head = f'audit {{ file = "{disk}/audit.jsonl" }}'
        with lab.Site(tmp_path, head=head) as site, site.connect() as sock:
            failed, = site.gateway.lines("audit-failed")
            assert failed.endswith('why="Read-only file system" lost=0'), failed
            assert "cannot be written now (Read-only file system)" in site.gateway.text()
            assert ask(sock, WRITE) == refusal(WRITE)
            assert ask(sock, READ)[9:11] == b"\0\0"
            lab.run("mount", "-o", "remount,rw", disk)
            assert ask(sock, WRITE) == DONE
            assert in_the_plc(site) == 1
            assert [line["event"] for line in lines_of(disk / "audit.jsonl")] == \
                ["audit-resumed", "request", "request-answered"]


def test_folder_that_is_gone(tmp_path):
    folder, record = tmp_path / "there", tmp_path / "there" / "audit.jsonl"
    folder.mkdir()
    with lab.Site(tmp_path, head=f'audit {{ file = "{record}" }}') as site, site.connect() as sock:
        assert ask(sock, WRITE) == DONE
        record.unlink()
        folder.rmdir()
        assert ask(sock, WRITE) == refusal(WRITE)
        os.kill(site.gateway.pid, signal.SIGUSR1)
        assert ask(sock, READ)[9:11] == b"\0\0"
        assert ask(sock, WRITE) == refusal(WRITE)
        folder.mkdir()
        assert ask(sock, WRITE) == DONE
        assert [line["event"] for line in lines_of(record)] == \
            ["audit-resumed", "request", "request-answered"]
        assert lines_of(record)[0]["lost"] == 4
        assert in_the_plc(site) == 2


def test_wrong_passwords_that_are_not_sent_are_none(tmp_path):
    """What the record could not take did not reach the PLC: it does not count as a try."""
    record = tmp_path / "there" / "audit.jsonl"
    unlock = lab.request_3e(0x1630, 0, b"\4\0pass")
    with lab.Site(tmp_path, head=f'audit {{ file = "{record}" }}',
                  plc_section="password_tries = 1 password_time = 900",
                  plc_options=["--password", "pass"]) as site, site.connect() as sock:
        for _ in range(3):
            assert ask(sock, unlock) == refusal(unlock)
        record.parent.mkdir()
        assert ask(sock, unlock) == DONE


@contextlib.contextmanager
def replaced_gateway(site, *command, **options):
    """The same configuration in a daemon that the test starts itself: a client, and its pid."""
    assert site.gateway.stop() == 0
    site.processes = lambda: [site.edge, site.plc]
    process = subprocess.Popen([*command, lab.BUILD / "mcseald", site.gateway.config],
                               stdin=subprocess.DEVNULL, start_new_session=True, **options)
    try:
        lab.wait_for(lambda: listens(site.gateway_port), "the gateway")
        with site.connect() as sock:
            yield sock, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(10 * lab.PATIENCE)
    assert status == 0


@pytest.mark.parametrize("failure", ["refuse-writes", "continue"])
@pytest.mark.parametrize("closed", [True, False])
def test_log_that_leads_to_nobody(tmp_path, failure, closed):
    """Without a file the log is the record: closed from the start, or its reader has gone."""
    expected = refusal(WRITE) if failure == "refuse-writes" else DONE
    command = ("sh", "-c", 'exec "$0" "$@" 2>&-') if closed else ()
    end, write_end = os.pipe()
    with lab.Site(tmp_path, head=f"audit {{ failure = {failure} }}") as site:
        with replaced_gateway(site, *command, stderr=write_end) as (sock, pid):
            os.close(write_end)
            if closed:  # and nothing else has taken its place
                assert os.readlink(f"/proc/{pid}/fd/2") == "/dev/null"
            else:
                assert ask(sock, WRITE) == DONE
            os.close(end)
            assert ask(sock, WRITE) == expected
            assert ask(sock, READ)[9:11] == b"\0\0"
            assert ask(sock, WRITE) == expected
        assert in_the_plc(site) == (not closed) + 2 * (expected == DONE)


@pytest.mark.parametrize("at_the_end", [False, True])
def test_file_that_may_not_grow(tmp_path, at_the_end):
    """ulimit -f, in blocks of 512 bytes: an error like a full disk, and not the daemon's end."""
    record = tmp_path / "audit.jsonl"
    with lab.Site(tmp_path, head=f'audit {{ file = "{record}" }}') as site:
        record.write_text((8 * 512 - 3) * " " + "{}\n" if at_the_end else "")
        with replaced_gateway(site, "sh", "-c", 'ulimit -f 8; exec "$0" "$@"',
                              stderr=subprocess.DEVNULL) as (sock, _):
            answers = [ask(sock, WRITE) for _ in range(30)]
            passed = answers.count(DONE)
            assert (passed == 0 if at_the_end else 0 < passed < 20)
            assert answers == [DONE] * passed + [refusal(WRITE)] * (30 - passed)
            assert ask(sock, READ)[9:11] == b"\0\0"
            assert [line.get("event") for line in lines_of(record)].count("request") == \
                in_the_plc(site) == passed
