#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Certificates that do not let their holder in, at the gateway.

For each of them: the alert or the close that the other side sees, the daemon's log line, and the
PLC's log, which must be empty: where the peer is refused, the PLC does not even see a connection.
"""
import pytest

from tls_peer import TLS13, client_context, versions


CLIENT_CASES = {
    "foreign-ca": ("alert: unknown ca", "unable to get local issuer certificate"),
    "self-signed": ("alert: unknown ca", "self-signed certificate"),
    "expired": ("alert: certificate expired", "certificate has expired"),
    "not-yet-valid": ("alert: bad certificate", "certificate is not yet valid"),
    "revoked": ("alert: certificate revoked", "certificate revoked"),
    "server-certificate": ("alert: unsupported certificate", "uns.* certificate purpose"),
    "no-identity": ("alert: certificate unknown", "matches no identity"),
    "stolen-certificate": ("alert: decrypt error", "bad signature"),
}


@versions
@pytest.mark.parametrize("case", CLIENT_CASES)
def test_refused_client_certificate(target, version, case):
    alert, detail = CLIENT_CASES[case]
    sock, seen = target.attack("press-1", client_context(target.papers.clients[case], version))
    with sock:
        assert seen == alert
        target.refused(sock, "handshake-failed", detail)
    assert target.gateway.lines(r"peer-refused .*subject=")


@versions
def test_no_certificate(target, version):
    sock, seen = target.attack("press-1", client_context(None, version))
    with sock:
        assert seen == ("alert: certificate required" if version == TLS13
                        else "alert: handshake failure")
        target.refused(sock, "handshake-failed", "peer did not return a certificate")


@versions
def test_stale_revocation_list_vouches_for_nobody(target, version):
    sock, seen = target.attack("stale", client_context(target.papers.ana, version))
    with sock:
        assert seen == "alert: certificate expired"
        target.refused(sock, "handshake-failed", "CRL has expired")
