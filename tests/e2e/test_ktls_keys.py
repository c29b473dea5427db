#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""New keys on a session that goes on: asked for by the peer, by ourselves when the old ones are
used up, and by an attacker without end. Where the keys are in the kernel and it cannot change them
(before Linux 6.14), a close with a name instead.
"""
import contextlib
import json
import ssl
import statistics
import subprocess
import threading
import time

import pytest

import kernel_tls
import lab
from crafted import crafted_bench, link, roles
from tls_peer import TLS13, closed, dial, versions
from tls_records import Forger

KEYS_CHANGE = kernel_tls.can_rekey()
CANNOT_FOLLOW = "peer changed its keys, which this kernel cannot follow"
LIMIT = 16  # the lowest that the configuration takes
# What a test meets in the middle of an exchange: by no means a timeout.
ENDED = (ConnectionError, ssl.SSLZeroReturnError, lab.LabError, AssertionError)


@pytest.fixture(scope="module", params=lab.engines())
def bench(request, tmp_path_factory):
    """Its keys last for so many records, more than most of these tests send."""
    yield from crafted_bench(tmp_path_factory.mktemp("keys"), request.param)


@pytest.fixture(scope="module", params=lab.engines())
def worn(request, tmp_path_factory):
    yield from crafted_bench(tmp_path_factory.mktemp("worn"), request.param,
                             f"limits {{ key_records = {LIMIT} }}")


def assert_rekeyed(before, received=None, sent=None, at_least=0):
    """By the kernel's own count, where it has keys to change."""
    now = lab.tls_statistics()
    if not lab.KERNEL:
        return
    grown = {name: now[name] - before[name] for name in now if "Rekey" in name}
    assert grown["TlsRxRekeyOk"] == grown["TlsRxRekeyReceived"] >= at_least, grown
    assert received in (None, grown["TlsRxRekeyOk"]), grown
    assert sent in (None, grown["TlsTxRekeyOk"]), grown
    assert grown["TlsRxRekeyError"] == grown["TlsTxRekeyError"] == 0, grown


# --- asked for by the peer --------------------------------------------------------------------


@roles
@pytest.mark.parametrize("request_update", [0, 1], ids=["told", "asked"])
def test_key_update_of_the_peer(bench, tmp_path, role, request_update):
    """Followed, answered once if asked for; data goes on both ways. Or closed by name."""
    with link(bench, role, tmp_path) as it:
        if not KEYS_CHANGE:
            it.send(it.key_update(request_update), it.seal(it.small))
            it.closes("tls", CANNOT_FOLLOW, "goodbye")
            return
        before, seen = lab.tls_statistics(), len(it.peer.records)
        for _ in range(3):
            it.begin()
            it.send(it.key_update(request_update), it.seal(it.small))
            it.arrives(it.small)
            it.finish()
            it.begin()
            it.send(*it.pieces(lambda: it.key_update(request_update)))
            it.arrives(it.big)
            it.finish()
        it.round()
        # Seven frames came to our end of TLS, and the answers.
        assert len(it.peer.records) - seen == 7 + 6 * request_update
        assert_rekeyed(before, received=6, sent=6 * request_update)
        it.goodbye()


@roles
def test_key_updates_in_a_row(bench, tmp_path, role):
    """RFC 8446 4.6.3: however many ask before we send, one answer will do."""
    if not KEYS_CHANGE:
        pytest.skip("closed at the first: test_key_update_of_the_peer")
    with link(bench, role, tmp_path) as it:
        before, seen = lab.tls_statistics(), len(it.peer.records)
        it.begin()
        it.send(*[it.key_update(1) for _ in range(5)], it.seal(it.small))
        it.arrives(it.small)
        it.finish()
        it.round()
        assert 2 + 1 <= len(it.peer.records) - seen <= 2 + 5
        assert_rekeyed(before, received=5)
        it.goodbye()


# --- by ourselves -----------------------------------------------------------------------------


@roles
@versions
def test_keys_that_wear_out(worn, tmp_path, role, version):
    """Changed as often as it takes, or the session ends where no request is lost."""
    with link(worn, role, tmp_path, version, honest=True) as it:
        before, seen = lab.tls_statistics(), len(it.peer.records)
        if KEYS_CHANGE and version == TLS13:
            for _ in range(8 * LIMIT):
                it.round()
            # One update of ours asks for the peer's, and perhaps another until it has come.
            updates = len(it.peer.records) - seen - 8 * LIMIT
            assert 4 <= updates <= 16, updates
            assert_rekeyed(before, at_least=4, sent=updates)
            it.goodbye()
            return
        rounds = 1
        with contextlib.suppress(*ENDED):  # it closed as we were asking: so that is not forwarded
            while not lab.readable(it.sock if role == "gateway" else it.plain, 0.02):
                it.round()
                rounds += 1
                assert rounds < 2 * LIMIT
        line = it.closes("key-limit")
        assert f"requests={rounds} answers={rounds} " in line, line
        assert LIMIT - 4 <= rounds <= LIMIT + 4, rounds


@roles
@versions
def test_no_pause_for_new_keys(worn, tmp_path, role, version):
    """One request is always under way; without new keys it has to end all the same."""
    changes = KEYS_CHANGE and version == TLS13
    with link(worn, role, tmp_path, version, honest=True) as it:
        it.begin()
        if role == "gateway":
            # Three are sent ahead: when an answer comes, the next request is there already.
            it.send(*[it.seal(it.small) for _ in range(3)])
            it.arrives(it.small)
        with contextlib.nullcontext() if changes else pytest.raises(Exception):
            for _ in range(5 * LIMIT):
                if role == "edge":
                    it.round()
                    continue
                it.send(it.seal(it.small))
                it.finish()
                it.arrives(it.small)
        if changes:
            for left in (2, 1, 0) if role == "gateway" else ():
                it.finish()
                if left:
                    it.arrives(it.small)
            it.peer.close_notify()
            return
        line = it.daemon.wait_text(rf"^.*session-closed .*=127\.0\.0\.1:{it.port}\b.*$").group(0)
        assert 'reason=key-limit detail="no pause between requests"' in line, line


# --- without end ------------------------------------------------------------------------------

POLLERS = 8
# An emulated machine is slower by twenty.
POLLS, INTERVAL, STORMS, EACH = (30, 0.1, 3, 100) if lab.KERNEL else (500, 0.002, 10, 1000)


def poll_all(site):
    """All pollers at once; the median of their 99th percentiles."""
    words = [lab.BUILD / "mcping", f"127.0.0.1:{site.edge_port}", "poll", "D0", "100", "--json",
             "--count", str(POLLS), "--interval", f"{INTERVAL}s", "--verify"]
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(POLLERS)]
    # A line each for what went wrong, which the assertion then tells; the figures come last.
    texts = [each.communicate(timeout=60 * lab.PATIENCE)[0] for each in running]
    results = [json.loads(text.splitlines()[-1]) for text in texts]
    assert all(each["answered"] == POLLS and not each["wrong"] for each in results), results
    return statistics.median(each["microseconds"]["p99"] for each in results)


class Storms:
    """Sessions that have done their handshakes, each with more KeyUpdates than anybody needs."""

    def __init__(self, site, folder):
        self.ends = []
        for _ in range(STORMS):
            sock = dial(site.gateway_port)
            forger = Forger(sock, site.client_credentials, folder / "keys")
            self.ends.append((sock, b"".join(forger.key_update() for _ in range(EACH))))

    def blow(self):
        """One after the other, for as long as the polls take."""
        for sock, storm in self.ends:
            with contextlib.suppress(OSError):
                sock.sendall(storm)
            time.sleep(POLLS * INTERVAL / STORMS)

    def ended(self, site):
        reason = "too often|faster than it reads" if KEYS_CHANGE else CANNOT_FOLLOW
        for sock, _ in self.ends:
            closed(site.gateway, sock, "client-tls-failed", reason)
            sock.close()


def test_storm(tmp_path):
    """10,000 KeyUpdates a second: the attacker loses its session, and nobody else notices.

    Whatever else this machine does disturbs some windows; a storm that hurt would disturb each of
    its own. So the best of a few windows with a storm is held against the best of those without.
    """
    quiet, stormy = [], []
    with lab.Site(tmp_path, connections=64) as site:
        while len(stormy) < 2 or min(stormy) > 2 * min(quiet) and len(stormy) < 6:
            quiet.append(poll_all(site))
            storms = Storms(site, tmp_path)
            thread = threading.Thread(target=storms.blow)
            thread.start()
            stormy.append(poll_all(site))
            thread.join()
            storms.ended(site)
    print(f"p99 in us: quiet {quiet}, stormy {stormy}")
    assert min(stormy) <= 2 * min(quiet), (quiet, stormy)
