#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Who may do what at which PLC: refusals as clients see them, and what reaches the PLC."""
import contextlib
import re
import struct

import pytest

import lab
import mc_oracle
import mc_series
from session_bench import Listener

VENDOR = """
policy "vendor" { read = { "D0-D999" } write = { "D100-D109" } }
"""
NOT_ALLOWED, CANNOT_READ, NO_SUCH_COMMAND = 0x0055, 0xc05b, 0xc059
RUN = lab.request_3e(0x1001, 0, struct.pack("<HH", 1, 0))
READ, WRITE = lab.read_words(0, 1), lab.write_words(100, [7])


@pytest.fixture(params=lab.one_engine())
def vendor(request, tmp_path):
    with lab.Site(tmp_path, engine=request.param, policies=VENDOR, rights='policy = "vendor"',
                  plc_options=["--set", "D0=1,2"]) as site:
        yield site


def ask(sock, frame):
    sock.sendall(frame)
    return lab.receive_frame(sock)


def error(frame, end_code):
    """The error answer to a 3E binary request: route echoed, and the refused command."""
    return lab.answer_3e(frame[2:7] + frame[11:15], end_code)


# --- refusals ------------------------------------------------------------------------------------


def test_refused_and_the_session_lives_on(vendor):
    with vendor.connect() as sock:
        for _ in range(3):
            assert lab.words_of(ask(sock, lab.read_words(0, 2))) == [1, 2]
            assert ask(sock, lab.write_words(109, [1, 2])) == \
                error(lab.write_words(109, [1, 2]), NOT_ALLOWED)
            assert ask(sock, lab.read_words(999, 2)) == error(lab.read_words(999, 2), CANNOT_READ)
            assert ask(sock, RUN) == error(RUN, NO_SUCH_COMMAND)
            assert ask(sock, WRITE) == lab.answer_3e(b"")
    requests = vendor.plc.requests()
    assert len(requests) == 6 and not [line for line in requests if "command=1001" in line]
    closed = vendor.gateway.closed("finished")
    assert "requests=6 answers=6 refused=9 " in closed, closed
    lines = vendor.gateway.lines("request-refused")
    assert len(lines) == 9
    assert re.search(r'rule=write .*identity=edge-office .*plc=press-1 policy=vendor frame=3E '
                     r'route=00-FF-03FF-00 command=1401 subcommand=0000 name="batch write" '
                     r'class=write attack=T0836 points=D109-D110 end-code=0055', lines[0]), lines[0]
    assert "rule=read" in lines[1] and "points=D999-D1000 end-code=C05B" in lines[1]
    assert "rule=class" in lines[2] and "command=1001" in lines[2] and "points" not in lines[2]


def test_pipelined_requests_are_answered_in_their_order(vendor):
    """Refusals do not overtake the answers of the PLC, and one request at a time reaches it."""
    frames = [lab.read_words(0, 1), RUN, lab.read_words(1, 1), WRITE, RUN, RUN,
              lab.read_words(0, 2)] * 5
    answers = [lab.answer_3e(b"\1\0"), error(RUN, NO_SUCH_COMMAND), lab.answer_3e(b"\2\0"),
               lab.answer_3e(b""), error(RUN, NO_SUCH_COMMAND), error(RUN, NO_SUCH_COMMAND),
               lab.answer_3e(b"\1\0\2\0")] * 5
    with vendor.connect() as sock:
        sock.sendall(b"".join(frames))
        for number, answer in enumerate(answers):
            assert lab.receive_frame(sock) == answer, number
        # And again, with the end right behind the last request.
        sock.sendall(b"".join(frames))
        sock.shutdown(1)
        assert lab.receive_end(sock) == b"".join(answers)
    vendor.gateway.closed("finished")


def test_cut_at_every_byte(vendor):
    with vendor.connect() as sock:
        for frame, answer in ((RUN, error(RUN, NO_SUCH_COMMAND)), (WRITE, lab.answer_3e(b""))):
            for cut in range(1, len(frame)):
                sock.sendall(frame[:cut])
                assert not lab.readable(sock, 0.005)
                sock.sendall(frame[cut:])
                assert lab.receive_frame(sock) == answer


def test_serial_of_4e_is_echoed(vendor):
    frame = b"\x54\0\x12\x34\0\0" + RUN[2:]
    with vendor.connect() as sock:
        sock.sendall(frame)
        answer = sock.recv(100)
        assert answer == b"\xd4\0\x12\x34\0\0" + error(RUN, NO_SUCH_COMMAND)[2:]


def test_ascii_and_1e_in_their_own_form(vendor):
    for request, answer in (
            (b"500000FF03FF00001400101001000000010000",
             b"D00000FF03FF000016C05900FF03FF0010010000"),
            (bytes.fromhex("13ff0a00"), bytes.fromhex("935b1800")),
            (b"13FF000A", b"935B1800"),
            (bytes.fromhex("03ff0a00e8030000204401000700"), bytes.fromhex("8356"))):
        with vendor.connect() as sock:
            sock.sendall(request)
            assert lab.readable(sock, 5 * lab.PATIENCE) and sock.recv(100) == answer, request
    assert vendor.plc.requests() == []


def no_reads():
    """Frames of every command that is no read, and reads for other stations: 3E, 4E, 1E."""
    for frame in mc_series.every_command():
        verdict = mc_oracle.read(frame)
        if verdict["rule"] != "none" or verdict["class"] in ("read", "diagnostic", "other"):
            continue
        yield frame


@pytest.mark.skipif(bool(lab.KERNEL), reason="34,000 requests, and no kernel judges them; on the "
                    "machine itself it runs")
def test_who_only_reads_cannot_do_anything_else(tmp_path):
    """Every write, control, file and security command there is, in both codes: none arrives."""
    frames = list(no_reads())
    kinds = {(frame[:1], mc_oracle.read(frame)["class"]) for frame in frames}
    assert len(frames) > 100 and len(kinds) > 10, kinds
    with lab.Site(tmp_path, policies="", rights="") as site, contextlib.ExitStack() as stack:
        sock = stack.enter_context(site.connect())
        for frame in frames:
            sock.sendall(frame)
            assert lab.readable(sock, 5 * lab.PATIENCE), frame
            answer = sock.recv(100)
            assert answer and answer[:1] not in (b"\xd0", b"\xd4") or answer[9:11] != b"\0\0", frame
        assert ask(sock, READ)[9:11] == b"\0\0"
        stack.close()
        assert len(site.plc.requests()) == 1
        assert len(site.gateway.lines("request-refused")) == len(frames)


def test_stations_behind_the_plc(vendor):
    """Every byte of the access route."""
    with vendor.connect() as sock:
        for place in range(2, 7):
            frame = READ[:place] + bytes([READ[place] ^ 1]) + READ[place + 1:]
            answer = ask(sock, frame)
            assert answer[2:7] == frame[2:7] and answer[9:11] == b"\x59\xc0", answer.hex()
    assert vendor.plc.requests() == []
    assert len(vendor.gateway.lines("request-refused rule=route")) == 5


@pytest.mark.parametrize("first, name", [
    (bytes.fromhex("570000001111070000ffff03000000"), "MELSOFT"),
    (b"GET / HTTP/1.1\r\n", "HTTP"),
    (b"\x99\x99\x99\x99", "")])
def test_something_else_than_mc_is_named(vendor, first, name):
    with vendor.connect() as sock:
        sock.sendall(first)
        assert lab.receive_end(sock) == b""
    line = vendor.edge.closed("bad-request")
    assert f'detail="{name}' in line or f"detail={name} " in line or not name, line
    assert vendor.plc.requests() == []


# --- which policy --------------------------------------------------------------------------------


def test_policy_of_one_plc_goes_before_the_general_one(tmp_path):
    policies = VENDOR + 'policy "all" { allow = { read, write } }\n'
    with lab.Site(tmp_path, policies=policies, rights='policy = { "all", "press-1=vendor" }') as site:
        with site.connect() as sock:
            assert ask(sock, lab.write_words(0, [1])) == \
                error(lab.write_words(0, [1]), NOT_ALLOWED)
    with lab.Site(tmp_path / "2", policies=policies, rights='policy = "all"') as site:
        with site.connect() as sock:
            assert ask(sock, lab.write_words(0, [1])) == lab.answer_3e(b"")


def test_observing_refuses_nothing_and_tells_everything(tmp_path):
    policies = 'policy "vendor" { read = { "D0-D9" } observe = yes }'
    with lab.Site(tmp_path, policies=policies, rights='policy = "vendor"') as site:
        with site.connect() as sock:
            for _ in range(2):
                assert ask(sock, WRITE) == lab.answer_3e(b"")
                assert ask(sock, READ)[9:11] == b"\0\0"
        closed = site.gateway.closed("finished")
        assert "requests=4 answers=4 refused=0 " in closed, closed
        lines = site.gateway.lines("request-observed")
        assert len(lines) == 2 and "rule=write" in lines[0] and "end-code" not in lines[0]
        assert not site.gateway.lines("request-refused")


def test_not_inspected(tmp_path):
    """Everything passes, and whoever checks the configuration is told so."""
    with lab.Site(tmp_path, policies="", rights="", gateway_options="inspect = no") as site:
        with site.connect() as sock:
            assert ask(sock, WRITE) == lab.answer_3e(b"")
            assert ask(sock, RUN)[9:11] == b"\0\0"
        result = lab.run(lab.BUILD / "mcseald", "--check", site.gateway.config)
        assert "not inspected: any holder of a certificate can stop its PLCs" in result.stdout


# --- answers that nobody asked for ---------------------------------------------------------------


@pytest.mark.parametrize("engine", lab.one_engine())
def test_plc_that_answers_twice(tmp_path, engine):
    """The second answer would be taken for that to the next request."""
    plc = Listener()
    plc.host = "127.0.0.1"
    with contextlib.closing(plc), OwnPlcSite(tmp_path, engine, plc) as site:
        with site.connect() as sock:
            sock.sendall(READ)
            far = plc.take()
            with far:
                assert far.recv(100) == READ
                far.sendall(lab.answer_3e(b"\1\0") * 2)
                assert lab.receive_frame(sock) == lab.answer_3e(b"\1\0")
                assert lab.receive_end(sock) == b""
        assert "nobody had asked for" in site.gateway.closed("bad-answer")


class OwnPlcSite(lab.Site):
    """The PLC is in the test's own hands."""

    def __init__(self, folder, engine, plc):
        super().__init__(folder, engine=engine, plc=plc)

    def processes(self):
        return [self.edge, self.gateway]


# --- what can be named ---------------------------------------------------------------------------


def test_page_of_commands_and_devices():
    page = (lab.ROOT / "docs/mc.md").read_text()
    assert page == lab.run(lab.BUILD / "mc_tables", "markdown").stdout, "make tables"
    assert "| `1401` | batch write | `write` |" in page and "| `SM` |" in page


# --- clients that we did not write ---------------------------------------------------------------


def test_npm_client_under_a_policy(tmp_path):
    lab.npm_client()
    policies = 'policy "vendor" { read = { "D", "M" } }'
    with lab.Site(tmp_path, policies=policies, rights='policy = "vendor"',
                  plc_options=["--set", "D0=5"]) as site:
        assert lab.npm_poll("127.0.0.1", site.edge_port)
        assert not site.gateway.lines("request-refused")
