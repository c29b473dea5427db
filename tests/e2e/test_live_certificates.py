#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Certificates of sessions that live: what a reload finds out about them, and what their end does."""
import contextlib
import os
import signal
import time

import pytest

import asked
import lab
from tls_peer import client_context, dial

READ = lab.read_words(0, 1)


def end_code(answer):
    return int.from_bytes(answer[9:11], "little")


def ask(sock):
    sock.sendall(READ)
    return end_code(lab.receive_frame(sock))


def reload(daemon):
    count = len(daemon.lines(" reloaded "))
    os.kill(daemon.pid, signal.SIGHUP)
    lab.wait_for(lambda: len(daemon.lines(" reloaded ")) > count, "reloaded")


@contextlib.contextmanager
def over_tls(site, credentials=None):
    """A client that speaks TLS itself, connected to the gateway."""
    context = client_context(credentials or site.client_credentials)
    with context.wrap_socket(dial(site.gateway_port)) as sock:
        yield sock


def has_ended(sock):
    with contextlib.suppress(OSError):
        return sock.recv(1) == b""
    return True


def in_seconds(seconds):
    """As mcseal-pki takes it, of a clock that rounds down."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


@pytest.fixture(params=lab.one_engine())
def site(request, tmp_path):
    with lab.Site(tmp_path, engine=request.param) as it:
        yield it


def test_revoked_client_is_closed(site):
    """Those with the revoked certificate, and nobody else."""
    with site.connect() as carried, over_tls(site) as first, over_tls(site) as second:
        assert [ask(sock) for sock in (carried, first, second)] == [0, 0, 0]
        reload(site.gateway)
        assert [ask(sock) for sock in (carried, first, second)] == [0, 0, 0]
        site.pki.revoke("ana")
        assert ask(first) == 0  # nobody has told the gateway yet
        reload(site.gateway)
        assert has_ended(first) and has_ended(second) and ask(carried) == 0
    line = site.gateway.closed("certificate-revoked")
    assert 'detail="certificate revoked"' in line and "identity=ana" in line
    site.gateway.closed("finished")
    assert sorted(site.gateway.reasons()) == ["certificate-revoked"] * 2 + ["finished"]


def test_revoked_gateway_is_left(site):
    """By the edge that the reload told of it; resumed sessions as well as the first."""
    with site.connect() as first:
        assert ask(first) == 0
        with site.connect() as second:
            assert ask(second) == 0
            site.pki.revoke("gw")
            reload(site.edge)
            assert has_ended(first) and has_ended(second)
    lab.wait_for(lambda: len(site.edge.reasons()) == 2, "both ends")
    assert site.edge.reasons() == ["certificate-revoked"] * 2
    assert len(site.edge.lines("session-open.* resumed=yes")) == 1


def test_other_ca(site):
    """Whom the CA of before vouched for, the new one does not."""
    other = lab.Pki(site.folder / "other", label="other")
    with site.connect() as carried, over_tls(site) as client:
        assert ask(carried) == 0 == ask(client)
        site.pki.ca.write_bytes(other.ca.read_bytes())
        site.pki.crl.write_bytes(other.crl.read_bytes())
        reload(site.gateway)
        assert has_ended(carried) and has_ended(client)
    line = site.gateway.closed("certificate-untrusted")
    assert "issuer" in line  # OpenSSL: unable to get local issuer certificate
    with pytest.raises(OSError):
        with over_tls(site) as client:
            ask(client)


def test_both_cas_close_nobody(site):
    """A CA is replaced by way of a file with both."""
    other = lab.Pki(site.folder / "other", label="other")
    with site.connect() as carried, over_tls(site) as client:
        assert ask(carried) == 0 == ask(client)
        for kept, new in ((site.pki.ca, other.ca), (site.pki.crl, other.crl)):
            kept.write_bytes(kept.read_bytes() + new.read_bytes())
        reload(site.gateway)
        assert ask(carried) == 0 == ask(client)


def test_expired_since(site):
    """Good when it came, not any more when the files are read again."""
    credentials = site.pki.client("brief", "--uri", "urn:mcseal:client:ana",
                                  "--not-after", in_seconds(4 * lab.PATIENCE))
    with over_tls(site, credentials) as client, over_tls(site) as other:
        assert ask(client) == 0 == ask(other)
        reload(site.gateway)
        assert ask(client) == 0
        time.sleep(4 * lab.PATIENCE + 1)
        assert ask(client) == 0
        reload(site.gateway)
        assert has_ended(client) and ask(other) == 0
    assert 'detail="certificate has expired"' in site.gateway.closed("certificate-expired")


def test_who_waits_for_his_first_request_is_judged(tmp_path):
    """He has nothing of the PLC yet, and gets nothing."""
    with lab.Site(tmp_path, plc_section="dial = first-request") as site:
        with over_tls(site) as client:
            lab.wait_for(lambda: site.gateway.lines("to=AWAITING"), "the wait")
            site.pki.revoke("ana")
            reload(site.gateway)
            assert has_ended(client)
        site.gateway.closed("certificate-revoked")
        assert not site.gateway.lines("to=DIALING")


def test_each_chain_is_verified_once(tmp_path):
    """Many sessions, few certificates: a reload is over at once."""
    with asked.Site(tmp_path, connections=300) as site:
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(site.connect()) for _ in range(200)]
            assert {ask(sock) for sock in socks} == {0}
            site.pki.revoke("office")
            begun = time.monotonic()
            result = asked.mcseal("--socket", site.control, "reload")
            took = time.monotonic() - begun
            assert result.returncode == 0, result.stderr
            assert all(has_ended(sock) for sock in socks)
        # When the command returns, all have been told: nobody is judged later.
        assert site.gateway.reasons().count("certificate-revoked") == 200
        assert took < 5 * lab.PATIENCE
