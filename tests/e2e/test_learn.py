#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""From observing to a policy: what `mcseal learn` makes of a log lets the same through."""
import re
import struct

import pytest

import lab
from asked import mcseal
from tls_peer import Peer, client_context, dial

WATCHING = """
policy "watching" { observe = yes }
audit { reads = yes }
"""


def batch(command, device, head, points, data=b""):
    return lab.request_3e(command, 0, struct.pack("<I", head)[:3] + bytes([device]) +
                          struct.pack("<H", points) + data)


def random_read(*heads):
    return lab.request_3e(0x0403, 0, bytes([len(heads), 0]) +
                          b"".join(struct.pack("<I", head)[:3] + b"\xa8" for head in heads))


def random_write(*heads):
    return lab.request_3e(0x1402, 0, bytes([len(heads), 0]) +
                          b"".join(struct.pack("<I", head)[:3] + b"\xa8\1\0" for head in heads))


def elsewhere(frame):
    """The same for another station."""
    return frame[:6] + b"\1" + frame[7:]


M, SM, D, SD = 0x90, 0x91, 0xa8, 0xa9
MODEL, RUN = lab.request_3e(0x0101, 0, b""), lab.request_3e(0x1001, 0, struct.pack("<HH", 1, 0))
STOP = lab.request_3e(0x1002, 0, b"\1\0")
BUFFER = lab.request_3e(0x0613, 0, struct.pack("<IH", 0, 1))
MONITOR = lab.request_3e(0x0801, 0, b"\1\0" + struct.pack("<I", 700)[:3] + b"\xa8")
E1_READ = bytes.fromhex("01ff0a006400000020440200")
E1_STOP = bytes.fromhex("14ff0a00")
ASCII_READ = b"500000FF03FF000018001004010000D*0003000003"

OFFICE = [lab.read_words(0, 10), lab.read_words(10, 10), random_read(500, 502),
          lab.write_words(100, [1, 2]), random_write(110, 112), batch(0x0401, M, 16, 2), MODEL, RUN,
          batch(0x1401, SM, 0, 1, b"\1\0"), MONITOR, ASCII_READ, E1_READ]
OFFICE_NOT = [lab.read_words(19, 2), random_read(500, 501), lab.read_words(700, 2),
              lab.write_words(101, [1, 2]), lab.write_words(0, [1]), random_write(110, 111),
              batch(0x0401, M, 32, 2), STOP, BUFFER, batch(0x1401, SM, 16, 1, b"\1\0"),
              batch(0x1401, SD, 0, 1, b"\1\0"), elsewhere(lab.read_words(0, 1)), E1_STOP]
ANA = [elsewhere(lab.read_words(0, 4)), lab.read_words(2, 2)]
ANA_NOT = [lab.read_words(4, 1), elsewhere(lab.write_words(0, [1])), MODEL, elsewhere(MODEL)]


def ask_plain(site, frames):
    """Through the edge; whether each was carried out or refused is the gateway's log's affair."""
    for frame in frames:
        with site.connect() as sock:
            sock.sendall(frame)
            assert lab.readable(sock, 5 * lab.PATIENCE) and sock.recv(4096), frame


def ask_tls(site, frames):
    with dial(site.gateway_port) as sock:
        peer = Peer(sock, client_context(site.client_credentials)).handshake()
        for frame in frames:
            peer.send(frame)
            head = peer.receive(9)
            peer.receive(struct.unpack_from("<H", head, 7)[0])
        peer.close_notify()


def everything(site, office, ana):
    ask_plain(site, office)
    ask_tls(site, ana)
    lab.wait_for(lambda: len(site.gateway.lines("session-closed")) == len(office) + 1, "all ends")


def rights(policies, identity):
    """The comment that says what to write into the identity's section."""
    return re.search(rf'# identity "{identity}": (policy = \{{.*\}})$', policies,
                     re.MULTILINE).group(1)


def learn(*words, **options):
    result = mcseal("learn", *words, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """The log of a gateway that refuses nothing and tells everything."""
    with lab.Site(tmp_path_factory.mktemp("observed"), policies=WATCHING,
                  rights='policy = "watching"') as site:
        everything(site, OFFICE, ANA)
        assert len(site.gateway.lines("request-observed")) == len(OFFICE) + len(ANA)
        assert not site.gateway.lines("request-refused")
    return site.gateway.log_path


def test_the_same_passes_and_nothing_else(tmp_path, observed):
    policies = learn(observed)
    with lab.Site(tmp_path, policies=policies, rights=rights(policies, "edge-office"),
                  client_rights=rights(policies, "ana")) as site:
        result = lab.run(lab.BUILD / "mcseald", "--check", site.gateway.config)
        assert result.stdout == f"{site.gateway.config}: ok\n"
        everything(site, OFFICE, ANA)
        assert site.gateway.lines("request-(refused|observed)") == []
        reached = len(site.plc.requests())
        ask_plain(site, OFFICE_NOT)
        ask_tls(site, ANA_NOT)
        refused = site.gateway.lines("request-refused")
        assert len(refused) == len(OFFICE_NOT) + len(ANA_NOT), refused
        assert len(site.plc.requests()) == reached


def test_what_it_says(observed):
    text = learn(observed)
    for line in ('\tread = { "M16-M47", "D0-D19", "D100-D101", "D300-D302", "D500", "D502", '
                 '"D700" }',
                 '\twrite = { "SM0-SM15", "D100-D101", "D110", "D112" }',
                 '\tcommands = { "0101", "1001" }',
                 '\tread = { "D0-D3" }',
                 '\troutes = { "00-FF-03FF-00", "00-FF-03FF-01" }',
                 "# LOOK: 1001 (remote RUN), class control; lines: 2",
                 "# LOOK: 1401 (batch write of special relays or registers), class control; "
                 "lines: 2"):
        assert line in text.splitlines(), text
    assert text.count("policy \"learned-") == 2 and text.count("# LOOK:") == 2


def test_from_stdin_and_as_the_journal_has_it(observed):
    """However the lines come, the policies are the same."""
    text = learn(observed)
    lines = observed.read_text().splitlines()
    bare = [line.split(" ", 1)[1] for line in lines]
    forms = ["\n".join(lines), "\n".join(f"<6>{line}" for line in bare),
             "\r\n".join(bare),
             "\n".join(f"Jan 31 12:00:00 gw mcseald[812]: {line}" for line in bare)]
    for form in forms:
        assert learn(input=form) == learn("-", input=form) == text
    # Several files are one.
    assert learn("-", observed, input="") == text


def test_without_the_reads_it_says_so(tmp_path):
    with lab.Site(tmp_path, policies='policy "watching" { read = { "D0-D9" } observe = yes }',
                  rights='policy = "watching"') as site:
        ask_plain(site, [lab.read_words(0, 1), lab.read_words(20, 1), lab.write_words(5, [1])])
    text = learn(site.gateway.log_path)
    assert "# LOOK: no line tells of a read that passed." in text
    assert '\tread = { "D20" }\n\twrite = { "D5" }\n' in text


def test_what_was_refused_is_not_learned_unless_asked_for(tmp_path):
    with lab.Site(tmp_path, policies='policy "p" { write = { "D5" } }',
                  rights='policy = "p"') as site:
        ask_plain(site, [lab.write_words(5, [1]), lab.write_words(6, [1]), STOP])
    text = learn(site.gateway.log_path)
    assert '{\n\twrite = { "D5" }\n}' in text
    assert "# LOOK: requests that were refused; not here, --refused adds them: 2" in text
    text = learn("--refused", site.gateway.log_path)
    assert '{\n\twrite = { "D5-D6" }\n\tcommands = { "1002" }\n}' in text
    assert "# LOOK: 1002 (remote STOP), class control; lines: 1" in text


def test_more_points_than_a_line_holds(tmp_path):
    heads = range(0, 480, 3)
    with lab.Site(tmp_path, policies=WATCHING, rights='policy = "watching"') as site:
        ask_plain(site, [random_write(*heads)])
    text = learn(site.gateway.log_path)
    assert "# LOOK: requests with more points than their lines tell; those are missing here: 1\n" \
        in text


def test_a_peer_cannot_write_lines(tmp_path):
    """A common name that looks like an audit line stands in the log, and is not learned."""
    forged = 'x info request request=1 identity=edge-office plc=press-1'
    with lab.Site(tmp_path, policies=WATCHING, rights='policy = "watching"') as site:
        other = lab.Pki(tmp_path / "other", label="other")
        stranger = other.client("stranger")
        lab.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-nodes", "-keyout", stranger.key, "-out", stranger.certificate, "-days", "1",
                "-subj", f"/CN={forged.replace('/', '')}")
        with dial(site.gateway_port) as sock:
            try:
                Peer(sock, client_context(stranger)).handshake().receive(1)
            except Exception:  # pylint: disable=broad-except
                pass
        site.gateway.closed("handshake-failed")
    result = mcseal("learn", site.gateway.log_path)
    assert result.returncode == 1 and "is an audit line" in result.stderr, result.stdout


def test_nothing_to_learn_from(tmp_path):
    result = mcseal("learn", tmp_path / "none")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"mcseal: {tmp_path}/none: No such file or directory\n"
    result = mcseal("learn", input="info ready workers=2\n")
    assert result.returncode == 1 and result.stdout == ""
    assert "none of 1 lines is an audit line" in result.stderr
    result = mcseal("learn", tmp_path)
    assert result.returncode == 1 and "Is a directory" in result.stderr
