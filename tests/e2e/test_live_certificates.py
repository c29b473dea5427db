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
from tls_papers import stale_crl
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
    # OpenSSL: unable to get local issuer certificate, or, where the chain had its CA with it, that.
    assert "issuer" in line or "self-signed certificate in certificate chain" in line
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


# --- ends ---------------------------------------------------------------------------------------


def brief_client(site, seconds):
    return site.pki.client("brief", "--uri", "urn:mcseal:client:ana",
                           "--not-after", in_seconds(seconds))


def told(daemon, message, *words):
    return [line for line in daemon.lines(rf"\b{message}\b") if all(w in line for w in words)]


LIFE = 4 * lab.PATIENCE


def test_end_is_told(tmp_path):
    """Once for each session, and it goes on; the next handshake is refused."""
    with lab.Site(tmp_path) as site:
        credentials = brief_client(site, LIFE)
        with over_tls(site, credentials) as client, over_tls(site) as other:
            assert ask(client) == 0 == ask(other)
            lab.wait_for(lambda: told(site.gateway, "session-certificate-ended"), "the line",
                         3 * LIFE)
            assert ask(client) == 0 == ask(other)
        line, = told(site.gateway, "session-certificate-ended")
        assert "whose=\"the other end's\"" in line and "identity=ana" in line
        with pytest.raises(OSError):
            with over_tls(site, credentials) as client:
                ask(client)
    assert "certificate has expired" in site.gateway.text()


def test_end_closes(tmp_path):
    with lab.Site(tmp_path, head="at_expiry = close") as site:
        with over_tls(site, brief_client(site, LIFE)) as client, over_tls(site) as other:
            assert ask(client) == 0 == ask(other)
            assert "the other end's" in site.gateway.closed("certificate-expired", 3 * LIFE)
            assert has_ended(client) and ask(other) == 0


def test_own_end_closes(tmp_path):
    """The certificate that was shown in the handshake counts, at either end."""
    pki = lab.Pki(tmp_path / "pki")
    pki.edge("office", "--not-after", in_seconds(LIFE + 2))
    with lab.Site(tmp_path, pki=Reissued(pki), head="at_expiry = close") as site:
        with site.connect() as sock:
            assert ask(sock) == 0
            assert "our own" in site.edge.closed("certificate-expired", 3 * LIFE)
            assert has_ended(sock)


class Reissued:
    """A CA whose edge `office` has its certificate already."""

    def __init__(self, pki):
        self.pki = pki

    def __getattr__(self, name):
        return getattr(self.pki, name)

    def edge(self, name):
        issued = self.pki.folder / "issued"
        return lab.Credentials(self.pki, issued / f"{name}.pem", issued / f"{name}.key")


def test_age(tmp_path):
    """Not in the middle of a request, and as the configuration of now says."""
    head = "timeouts { max_session_age = 1 }" if lab.PATIENCE == 1 else \
        f"timeouts {{ max_session_age = {lab.PATIENCE} dial_gateway = {2 * lab.PATIENCE} }}"
    with lab.Site(tmp_path, plc_options=["--delay", str(2500 * lab.PATIENCE)], head=head) as site:
        with site.connect() as sock:
            assert ask(sock) == 0  # longer than the age, and answered
            assert has_ended(sock)
        line = site.gateway.closed("max-age")
        assert "requests=1" in line and "answers=1" in line


def test_age_of_a_reload(site):
    with site.connect() as sock:
        assert ask(sock) == 0
        time.sleep(1.1)
        text = site.gateway.config.read_text()
        assert "timeouts" not in text or lab.PATIENCE > 1
        site.gateway.config.write_text(text.replace("timeouts {", "timeouts { max_session_age = 1 ")
                                       if "timeouts {" in text else
                                       text + "timeouts { max_session_age = 1 }\n")
        reload(site.gateway)
        assert has_ended(sock)
    site.gateway.closed("max-age")


# --- warnings before -----------------------------------------------------------------------------


def test_warned_before_the_end(tmp_path):
    """30 days before, 7 days, a day, and when it has ended: each once, whoever uses the file."""
    day = 24 * 3600
    pki = lab.Pki(tmp_path / "pki")
    site_gateway = pki.gateway("gw", ("127.0.0.1",), (), "--not-before", "2020-01-01",
                               "--not-after", in_seconds(7 * day + LIFE))
    config = two_gateways(pki, site_gateway)
    daemon = lab.Daemon(tmp_path, config, name="gateway")
    with lab.stopping(daemon):
        line, = lab.wait_for(lambda: told(daemon, "certificate-ends-soon", "kind=certificate"),
                             "the first warning")
        assert "days=7" in line and "gw.pem" in line and "ends=20" in line
        lab.wait_for(lambda: len(told(daemon, "certificate-ends-soon", "kind=certificate")) == 2,
                     "the second, as time passes", 3 * LIFE)
        reload(daemon)
        assert len(told(daemon, "certificate-ends-soon", "kind=certificate")) == 2
        # Renewed, it is another: nothing is said of ten years.
        pki.gateway("gw", ("127.0.0.1",), (), "--renew", "--days", "365")
        reload(daemon)
        assert len(told(daemon, "certificate-ends-soon", "kind=certificate")) == 2
        assert not told(daemon, "certificate-ended")
        # A list of thirty days, made a moment ago, is nothing to warn of.
        assert not told(daemon, "certificate-ends-soon", "kind=crl")


def two_gateways(pki, credentials, head=""):
    gateways = "".join(f"""
gateway "plant-{number}" {{ listen = "127.0.0.1:{lab.free_port()}"
	plc = "press"
	{credentials.config()} }}
""" for number in range(2))
    return f"""mark = 0
{head}
plc "press" {{ address = "127.0.0.1" port "5007" {{ }} }}
identity "ana" {{ match = "uri:urn:mcseal:client:ana" plcs = "press" }}
{gateways}"""


def test_ended_lists_and_authorities(tmp_path):
    """The daemon runs, and says who cannot get in; metrics have the dates."""
    pki = lab.Pki(tmp_path / "pki")
    stale_crl(pki, tmp_path).replace(pki.crl)
    with asked.Site(tmp_path, pki=pki) as site:
        ended, = told(site.gateway, "certificate-ended", "kind=crl")
        assert "ends=2020-02-01T00:00:00Z" in ended and "days=" not in ended
        assert "the revocation list of" in site.gateway.text()
        assert "nobody with a certificate of that CA is let in" in site.gateway.text()
        metrics = site.metrics()
        assert "mcseal_certificate_ends_seconds{kind=\"crl\"" in metrics
        ends = {line.split("kind=\"")[1].split("\"")[0]: int(line.rsplit(" ", 1)[1])
                for line in metrics.splitlines()
                if line.startswith("mcseal_certificate_ends_seconds{")}
        assert ends["crl"] == 1580515200 and ends["certificate"] > time.time()
        assert set(ends) == {"certificate", "ca", "crl"}
        with pytest.raises(OSError):
            with over_tls(site) as client:
                ask(client)
        lab.wait_for(lambda: "CRL has expired" in site.gateway.text(), "the reason in the log")


def test_stale_list_that_counts(tmp_path):
    """crl_stale = warn: who is in it stays out, others get in."""
    pki = lab.Pki(tmp_path / "pki")
    eve = pki.client("eve", "--uri", "urn:mcseal:client:ana")
    serial = lab.run("openssl", "x509", "-in", eve.certificate, "-noout", "-serial").stdout
    revoked = f"R\t350101000000Z\t200101000000Z\t{serial.strip().split('=')[1]}\tunknown\t/CN=eve\n"
    stale_crl(pki, tmp_path, revoked).replace(pki.crl)
    with lab.Site(tmp_path, pki=pki, head="crl_stale = warn") as site:
        with over_tls(site) as client, site.connect() as sock:
            assert ask(client) == 0 == ask(sock)
            reload(site.gateway)
            assert ask(client) == 0 == ask(sock)
        with pytest.raises(OSError):
            with over_tls(site, eve) as client:
                ask(client)
        line, = lab.wait_for(lambda: site.gateway.lines("peer-refused"), "the refusal")
        assert "certificate revoked" in line
        assert "it counts all the same" in site.gateway.text()


# --- renewed files --------------------------------------------------------------------------------


@pytest.fixture
def watchful(tmp_path):
    with lab.Site(tmp_path, head="reload_on_change = yes") as it:
        yield it


def serial_of(site):
    """Of the certificate that the gateway shows."""
    with over_tls(site) as client:
        return client.getpeercert(binary_form=True)


def test_renewed_certificate_is_taken(watchful):
    """Nobody tells the daemon; sessions go on."""
    with watchful.connect() as sock:
        assert ask(sock) == 0
        before = serial_of(watchful)
        watchful.pki.gateway("gw", ("127.0.0.1",), (), "--renew")
        line, = lab.wait_for(lambda: watchful.gateway.lines(r"\bfiles-renewed\b"), "the line", 10)
        assert "gw." in line
        assert serial_of(watchful) != before
        assert ask(sock) == 0
    assert not watchful.gateway.lines(r"\breloaded\b")


def test_new_list_closes_by_itself(watchful):
    with over_tls(watchful) as client:
        assert ask(client) == 0
        watchful.pki.revoke("ana")
        watchful.gateway.closed("certificate-revoked", 10)
        assert has_ended(client)


def test_half_written_files_keep_the_old(watchful):
    """A certificate without its key is told once, and both are taken when the key has come."""
    key, certificate = watchful.gateway_credentials.key, watchful.gateway_credentials.certificate
    old_key = key.read_bytes()
    before = serial_of(watchful)
    watchful.pki.gateway("gw", ("127.0.0.1",), (), "--renew")
    new_key = key.read_bytes()
    key.write_bytes(old_key)
    lab.wait_for(lambda: watchful.gateway.lines(r"\bfiles-not-renewed\b"), "the refusal", 10)
    time.sleep(3)  # looked at again, and nothing said
    assert len(watchful.gateway.lines(r"\bfiles-not-renewed\b")) == 1
    assert "not the key of the certificate" in watchful.gateway.text()
    assert serial_of(watchful) == before
    certificate.with_suffix(".new").write_bytes(certificate.read_bytes())
    certificate.with_suffix(".new").rename(certificate)
    key.write_bytes(new_key)
    lab.wait_for(lambda: watchful.gateway.lines(r"\bfiles-renewed\b"), "the renewal", 10)
    assert serial_of(watchful) != before


def test_what_is_being_written_is_left_alone(watchful):
    """A file that changes all the time is not read before it is quiet."""
    crl = watchful.pki.crl
    whole = crl.read_bytes()
    for size in range(1, 40):
        crl.write_bytes(whole[:size])
        time.sleep(0.1)
    crl.write_bytes(whole)
    lab.wait_for(lambda: watchful.gateway.lines(r"\bfiles-renewed\b"), "the line", 10)
    assert not watchful.gateway.lines(r"\bfiles-not-renewed\b")


def test_the_configuration_itself_is_not_taken(watchful):
    """That is somebody's decision: what is written there counts from his reload on."""
    config = watchful.gateway.config
    config.write_text(config.read_text().replace("connections = 16", "no such thing"))
    watchful.pki.tool("crl")
    lab.wait_for(lambda: watchful.gateway.lines(r"\bfiles-renewed\b"), "the line", 10)
    with watchful.connect() as sock:
        assert ask(sock) == 0
    assert "no such" not in watchful.gateway.text()


def test_not_wanted(site):
    site.pki.gateway("gw", ("127.0.0.1",), (), "--renew")
    time.sleep(3)
    assert not site.gateway.lines(r"\bfiles-(not-)?renewed\b")
    # And wanted from a reload on.
    text = site.gateway.config.read_text()
    site.gateway.config.write_text(text.replace("reload_on_change = no", "reload_on_change = yes"))
    reload(site.gateway)
    site.pki.tool("crl")
    lab.wait_for(lambda: site.gateway.lines(r"\bfiles-renewed\b"), "the line", 10)
