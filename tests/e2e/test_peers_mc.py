#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""MC clients through edge and gateway: the npm package mcprotocol, and every frame family and code
of mcping, whose output and whose requests at the PLC must be the same as without mcseal."""
import re

import pytest

import lab
import peers

WORDS = list(range(1, 21))
BITS = [1, 0, 1, 1, 0, 0, 1, 0]
VALUES = ["--set", "D200=" + ",".join(map(str, WORDS)), "--set", "M100=" + ",".join(map(str, BITS))]
PASSWORD = "a123"
codes = pytest.mark.parametrize("code", ["binary", "ascii"])


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return peers.SharedPki(tmp_path_factory.mktemp("pki") / "pki")


@pytest.fixture
def site(tmp_path, pki):
    with lab.Site(tmp_path, plc_options=VALUES, connections=8, pki=pki) as made:
        yield made


@pytest.fixture
def splitting(tmp_path, pki):
    with lab.Site(tmp_path, plc_options=[*VALUES, "--split", "7,1"], connections=8,
                  pki=pki) as made:
        yield made


@pytest.fixture
def locked(tmp_path, pki):
    with lab.Site(tmp_path, connections=8, pki=pki,
                  plc_options=[*VALUES, "--password", PASSWORD]) as made:
        made.password = made.folder / "password"
        made.password.write_text(PASSWORD + "\n")
        yield made


# --- npm mcprotocol ------------------------------------------------------------------------------


POLLS = 20 if lab.KERNEL else 150
forms = pytest.mark.parametrize("frame, code", [("1E", "binary"), ("1E", "ascii"),
                                                ("3E", "binary"), ("3E", "ascii")])


def expected(frame, code, count):
    """What poll.js reads. Version 0.1.2 of the package writes the number of points of a 3E ASCII
    request in decimal where the manual wants hexadecimal: it gets 32 words for its 20 and calls
    them all bad, with and without mcseal. Its one word of bits is right in both.
    """
    broken = (frame, code) == ("3E", "ascii")
    return {"reads": count, "bad": count if broken else 0, "bits": [bool(bit) for bit in BITS],
            "words": ["BAD 255"] * 20 if broken else WORDS}


@forms
def test_npm(site, frame, code):
    through = lab.npm_poll("127.0.0.1", site.edge_port, frame, code, POLLS)
    assert through == expected(frame, code, POLLS)
    assert through == lab.npm_poll("127.0.0.1", site.plc.port, frame, code, POLLS)


@forms
def test_npm_with_splitting_plc(splitting, frame, code):
    assert lab.npm_poll("127.0.0.1", splitting.edge_port, frame, code, POLLS // 2) == \
        expected(frame, code, POLLS // 2)


# --- mcping, through mcseal and straight ---------------------------------------------------------


COMMANDS = {
    "read": ["read", "D200", "20"],
    "read-most": ["read", "D0", "960"],
    "read-one": ["read", "D200"],
    "bits": ["read", "M100", "8"],
    "bits-most": ["read", "M0", "3584"],
    "bits-by-words": ["read", "M96", "2", "--words"],
    "words-by-bits": ["read", "D0", "1", "--bits"],
    "write": ["write", "D300", "1", "0xffff", "32767"],
    "write-bits": ["write", "M300", "1", "0", "1", "1", "1"],
    "beyond": ["read", "D65535", "2"],
    "unknown-device": ["read", "LZ0", "200"],
    "model": ["model"],
    "selftest": ["selftest", "ABCDEF0123456789"],
    "stop": ["stop"],
    "run": ["run"],
    "json": ["read", "D200", "3", "--json"],
}
LONGER = {
    "iqr": ["read", "D200", "20", "--iqr"],
    "iqr-bits": ["read", "M100", "8", "--iqr"],
    "other-station": ["read", "D0", "--route", "01,02,03FF,00"],
    "lock": ["lock", "--password-file", "PASSWORD"],
}


CONTRADICTORY = ("words-by-bits",)


def both_ways(site, words, reaches=True):
    """Through edge and gateway, then straight: what is printed, and what the PLC gets."""
    told = []
    for port in (site.edge_port, site.plc.port):
        before = len(site.plc.requests())
        result = site.mcping(*words, port=port, check=False)
        text = re.sub(r"127\.0\.0\.1:\d+", "PLC", result.stdout)
        text = re.sub(r"\"microseconds\":\d+", "", text)
        raw = [re.search(r"command=.*", line).group(0)
               for line in site.plc.requests()[before:]]
        told.append((result.returncode, text, raw))
    assert told[0][:2] == told[1][:2]
    assert told[0][2] == (told[1][2] if reaches else [])
    return told[1]


@codes
@pytest.mark.parametrize("frame", ["3e", "4e", "1e"])
def test_every_command_is_as_without_mcseal(site, frame, code, tmp_path):
    (tmp_path / "password").write_text(PASSWORD + "\n")
    commands = COMMANDS if frame == "1e" else COMMANDS | LONGER
    statuses = {}
    for name, words in commands.items():
        words = [tmp_path / "password" if word == "PASSWORD" else word for word in words]
        status, text, raw = both_ways(site, [*words, "--frame", frame, "--code", code],
                                      reaches=name not in CONTRADICTORY)
        statuses[name] = status
        assert text, name
        assert status == 2 or raw, (name, text)  # 2: mcping itself knows that a frame has no such
    refused = {name for name, status in statuses.items() if status == 1}
    # What the PLC refuses is refused by the PLC, with the end code that the client gets. A frame
    # that contradicts itself never gets there: mcseal answers what the PLC would.
    assert {"beyond", "words-by-bits"} <= refused, statuses
    assert {"read", "bits", "write", "write-bits", "model", "selftest"} <= \
        {name for name, status in statuses.items() if status == 0}, statuses


@codes
@pytest.mark.parametrize("frame", ["3e", "4e"])
def test_remote_password(locked, frame, code):
    form = ["--frame", frame, "--code", code]
    status, text, _ = both_ways(locked, ["read", "D200", *form])
    assert status == 1 and "C201" in text, text
    status, text, _ = both_ways(locked, ["read", "D200", "3", "--unlock", "--password-file",
                                         locked.password, *form])
    assert status == 0 and "1 2 3" in text, text
    wrong = locked.folder / "wrong"
    wrong.write_text("b999\n")
    status, text, _ = both_ways(locked, ["unlock", "--password-file", wrong, *form])
    assert status == 1 and "C200" in text, text
    logs = locked.edge.text() + locked.gateway.text()
    for secret in (PASSWORD, PASSWORD.encode().hex(), "b999"):
        assert secret not in logs


@codes
def test_remote_password_of_1e(locked, code):
    status, _, _ = both_ways(locked, ["read", "D200", "--frame", "1e", "--code", code])
    assert status == 1


@codes
@pytest.mark.parametrize("frame", ["3e", "4e", "1e"])
@pytest.mark.parametrize("device, points", [("D0", "240"), ("M0", "256")])
def test_poll_by_a_one_recv_client(splitting, frame, code, device, points):
    result = splitting.mcping("poll", device, points, "--count", "12", "--interval", "0",
                              "--one-recv", "--verify", "--timeout", "10s", "--frame", frame,
                              "--code", code)
    assert "12 answers" in result.stdout and " 0 wrong" in result.stdout, result.stdout
