#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a gateway writes down of the requests that pass: before the PLC gets them, and after."""
import contextlib
import re
import struct

import pytest

import lab
from session_bench import Listener

PASSWORD = "pq7xR"
WRITE = lab.write_words(100, [0x5a17, 2])
READ = lab.read_words(0, 1)


class Audited(lab.Site):
    """The PLC is in the test's own hands."""

    def __init__(self, folder, engine, head=""):
        self.listener = Listener()
        self.listener.host = "127.0.0.1"
        super().__init__(folder, engine=engine, head=head, plc=self.listener)

    def processes(self):
        return [self.edge, self.gateway]

    @contextlib.contextmanager
    def talk(self):
        """A client's socket, and the PLC's for it once the client has asked."""
        with self.connect() as near, contextlib.ExitStack() as stack:
            yield near, lambda: stack.enter_context(self.listener.take())

    def told(self, event):
        return self.gateway.lines(rf"\b{event} request=")


@pytest.fixture(params=lab.engines())
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
