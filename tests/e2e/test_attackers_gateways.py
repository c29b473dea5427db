#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""False gateways, at the edge: neither header nor request is told to any of them."""
import contextlib
import re
import socket
import ssl
import threading

import pytest

import lab
from tls_peer import (NO_EXTENDED_MASTER_SECRET, READ, TLS12, Peer, dial, keep, name_of,
                      server_context)


class FalseGateway:
    """Takes connections of an edge with a certificate that it should not believe."""

    def __init__(self, context):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.context = context
        self.seen = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                sock.settimeout(5 * lab.PATIENCE)
                with sock:
                    self.seen.append(self.meet(sock))

    def meet(self, sock):
        try:
            return Peer(sock, self.context, server_side=True).handshake().verdict()
        except (ssl.SSLError, OSError) as error:
            return name_of(error)


def with_options(context, **options):
    for name, value in options.items():
        setattr(context, name, value)
    return context


def old_server(papers):
    context = server_context(papers.gateway)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def cbc_server(papers):
    context = server_context(papers.gateway, TLS12)
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA256")
    return context


def forgetful_server(papers):
    context = server_context(papers.gateway, TLS12)
    context.options |= NO_EXTENDED_MASTER_SECRET
    return context


def bad_server(case, version=None):
    return lambda papers: server_context(papers.gateways[case], version)


NAMED = 'server_name = "gw.plant.example"'
# What the false gateway shows, options of the route, what it sees, what the edge says.
GATEWAY_CASES = {
    "other-address": (bad_server("other-address"), "", "alert: bad certificate",
                      "IP address mismatch"),
    "other-name": (bad_server("other-name"), NAMED, "alert: bad certificate", "ostname mismatch"),
    "address-is-no-name": (bad_server("self-signed"), 'server_name = "localhost"',
                           "alert: unknown ca", "self-signed certificate"),
    "foreign-ca": (bad_server("foreign-ca"), "", "alert: unknown ca",
                   "unable to get local issuer certificate"),
    "self-signed": (bad_server("self-signed"), "", "alert: unknown ca", "self-signed certificate"),
    "expired": (bad_server("expired"), "", "alert: certificate expired",
                "certificate has expired"),
    "expired-tls12": (bad_server("expired", TLS12), "", "alert: certificate expired",
                      "certificate has expired"),
    "not-yet-valid": (bad_server("not-yet-valid"), "", "alert: bad certificate", "not yet valid"),
    "revoked": (bad_server("revoked"), "", "alert: certificate revoked", "certificate revoked"),
    "revoked-tls12": (bad_server("revoked", TLS12), "", "alert: certificate revoked",
                      "certificate revoked"),
    "client-certificate": (bad_server("client-certificate"), NAMED,
                           "alert: unsupported certificate", "certificate purpose"),
    "stale-crl": (lambda papers: server_context(papers.gateway), "", "alert: certificate expired",
                  "CRL has expired"),
    "no-alpn": (lambda papers: server_context(papers.gateway, alpn=None), "", "goodbye",
                "does not speak mcseal/1"),
    "other-alpn": (lambda papers: server_context(papers.gateway, alpn=["h2"]), "", "goodbye",
                   "does not speak mcseal/1"),
    "no-extended-master-secret": (forgetful_server, "", "goodbye", "extended master secret"),
    "tls11": (old_server, "", "error: .*unsupported protocol.*", "alert: protocol version"),
    "cbc": (cbc_server, "", "error: .*no shared cipher.*", "alert: handshake failure"),
}


class Betrayed:
    """One edge for each false gateway, all in one daemon."""

    def __init__(self, folder, papers):
        with pytest.warns(DeprecationWarning):  # TLS 1.1
            self.gateways = {case: FalseGateway(row[0](papers))
                             for case, row in GATEWAY_CASES.items()}
        self.ports = {case: lab.free_port() for case in GATEWAY_CASES}
        text = ("log_level = debug\nmark = 0\n"
                f"timeouts {{ dial_gateway = {1.5 * lab.PATIENCE:.3f} }}\n")
        for number, (case, row) in enumerate(GATEWAY_CASES.items(), 1):
            credentials = papers.edge.config()
            if case == "stale-crl":
                credentials = papers.edge.config(crl=False) + f'\n\tcrl = "{papers.stale_crl}"'
            text += f"""
edge "{case}" {{
	listen = "127.0.0.1:{self.ports[case]}"
	destination = "10.99.0.{number}:5007"
	{credentials}
	source "here" {{ addresses = "127.0.0.0/8" }}
	route "{case}" {{
		destinations = "10.99.0.{number}:5007"
		gateways = "127.0.0.1:{self.gateways[case].port}"
		{row[1]}
	}}
}}
"""
        self.edge = lab.Daemon(folder, text, name="edge")


@pytest.fixture(scope="module")
def betrayed(tmp_path_factory, papers):
    made = Betrayed(tmp_path_factory.mktemp("betrayed"), papers)
    keep(made.edge)
    with lab.stopping(made.edge):
        yield made
    for gateway in made.gateways.values():
        gateway.listener.close()


@pytest.mark.parametrize("case", GATEWAY_CASES)
def test_false_gateway(betrayed, case):
    _, _, seen, detail = GATEWAY_CASES[case]
    gateway = betrayed.gateways[case]
    with dial(betrayed.ports[case]) as sock:
        sock.sendall(READ)
        assert lab.receive_end(sock) == b""
    line = betrayed.edge.wait_text(rf"^.*session-closed .*route={case} .*$").group(0)
    assert "reason=gateways-failed " in line and re.search(detail, line), line
    assert betrayed.edge.lines(rf"gateway-failed .*127\.0\.0\.1:{gateway.port} .*{detail}")
    lab.wait_for(lambda: gateway.seen, "the false gateway's verdict")
    # Neither header nor request was told to it.
    assert [bool(re.fullmatch(seen, one, re.DOTALL)) or one for one in gateway.seen] == [True]
