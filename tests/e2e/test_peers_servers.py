#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""TLS servers that we did not write, behind our edge (proxy_header = no): openssl s_server, whose
terminal plays the PLC here, and gnutls-serv, which echoes lines."""
import re

import pytest

import kernel_tls
import lab
import peers

READ = lab.read_words(0, 2)
ANSWER = lab.answer_3e(bytes.fromhex("3412 0100"))
VERSION_OPTION = {"TLSv1.3": "-tls1_3", "TLSv1.2": "-tls1_2"}
PRIORITY = {"TLSv1.3": "NORMAL:-VERS-ALL:+VERS-TLS1.3", "TLSv1.2": "NORMAL:-VERS-ALL:+VERS-TLS1.2"}
versions = pytest.mark.parametrize("version", ["TLSv1.3", "TLSv1.2"])


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return peers.Certificates(tmp_path_factory.mktemp("certificates") / "pki")


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    return peers.Certificates(tmp_path_factory.mktemp("strangers") / "pki", label="strangers")


def s_server(folder, certificates, *words, quiet=True,
             verify=("-Verify", "2", "-verify_return_error")):
    """Its port and the process; demands a client certificate of the CA."""
    port = lab.free_port()
    process = peers.Pipe(
        ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-naccept", "1",
         "-cert", certificates.gateway.certificate, "-key", certificates.gateway.key,
         "-CAfile", certificates.pki.ca, *verify,
         *(["-quiet"] if quiet else []), *words], folder / "s_server.log")
    lab.wait_for(lambda: peers.listening(port, process), "s_server", 10)
    return port, process


def gnutls_serv(folder, certificates, version, *words):
    port = lab.free_port()
    process = peers.Peer(
        ["gnutls-serv", "--echo", "--port", port, f"--priority={PRIORITY[version]}",
         f"--x509certfile={certificates.gateway.certificate}",
         f"--x509keyfile={certificates.gateway.key}", f"--x509cafile={certificates.pki.ca}",
         "--require-client-cert", "--verify-client-cert", *words], folder / "gnutls-serv.log")
    lab.wait_for(lambda: peers.listening(port, process), "gnutls-serv", 10)
    return port, process


# --- openssl s_server ----------------------------------------------------------------------------


@versions
def test_openssl(tmp_path, certificates, version):
    port, server = s_server(tmp_path, certificates, VERSION_OPTION[version])
    edge = peers.Edge(tmp_path, certificates.edge, f"127.0.0.1:{port}")
    with lab.stopping(edge), edge.connect() as sock:
        for _ in range(20):
            sock.sendall(READ)
            assert server.receive(len(READ)) == READ
            server.send(ANSWER)
            assert lab.receive_frame(sock) == ANSWER
        sock.close()
        assert f"tls={version}" in edge.closed("finished")
        assert server.end() == ("", 0)


@pytest.mark.parametrize("words, cipher", [
    (["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"], "TLS_CHACHA20_POLY1305_SHA256"),
    (["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"], "TLS_AES_256_GCM_SHA384"),
    (["-tls1_3", "-groups", "P-384"], "TLS_AES_128_GCM_SHA256"),  # after a HelloRetryRequest
    (["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], "ECDHE-ECDSA-CHACHA20-POLY1305"),
    (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], "ECDHE-ECDSA-AES128-GCM-SHA256")])
def test_openssl_ciphers(tmp_path, certificates, words, cipher):
    port, server = s_server(tmp_path, certificates, *words)
    edge = peers.Edge(tmp_path, certificates.edge, f"127.0.0.1:{port}")
    with lab.stopping(edge):
        with edge.connect() as sock:
            sock.sendall(READ)
            assert server.receive(len(READ)) == READ
            server.send(ANSWER)
            assert lab.receive_frame(sock) == ANSWER
        assert f"cipher={cipher}" in edge.closed("finished")
        server.end()


@pytest.mark.parametrize("words", [["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"],
                                   ["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"],
                                   ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]])
def test_openssl_with_what_we_do_not_speak(tmp_path, certificates, words):
    port, _ = s_server(tmp_path, certificates, *words)
    edge = peers.Edge(tmp_path, certificates.edge, f"127.0.0.1:{port}")
    with lab.stopping(edge):
        assert re.search("peer sent alert: (handshake failure|protocol version)|unsupported",
                         edge.closes("gateways-failed"))


def test_openssl_without_certificate_request(tmp_path, certificates):
    port, server = s_server(tmp_path, certificates, verify=())
    edge = peers.Edge(tmp_path, certificates.edge, f"127.0.0.1:{port}")
    with lab.stopping(edge):
        with edge.connect() as sock:
            sock.sendall(READ)
            assert server.receive(len(READ)) == READ
            server.send(ANSWER)
            assert lab.receive_frame(sock) == ANSWER
        edge.closed("finished")
        server.end()


@versions
def test_openssl_refuses_our_certificate(tmp_path, certificates, strangers, version):
    port, server = s_server(tmp_path, certificates, VERSION_OPTION[version])
    edge = peers.Edge(tmp_path, strangers.edge, f"127.0.0.1:{port}", ca=certificates.pki.ca)
    with lab.stopping(edge):
        reason = {"TLSv1.3": "gateway-tls-failed", "TLSv1.2": "gateways-failed"}[version]
        assert "peer sent alert: unknown CA" in edge.closes(reason)
        out, _ = server.end()
        assert READ not in out.encode()


@versions
@pytest.mark.parametrize("server_name, good", [(peers.GATEWAY_NAME, True),
                                               ("other.plant.example", False)])
def test_openssl_by_name(tmp_path, certificates, version, server_name, good):
    """A server_name is asked for by SNI and must be in the certificate."""
    port, server = s_server(tmp_path, certificates, VERSION_OPTION[version], "-servername",
                            peers.GATEWAY_NAME, "-servername_fatal",
                            "-cert2", certificates.gateway.certificate,
                            "-key2", certificates.gateway.key, quiet=False)
    edge = peers.Edge(tmp_path, certificates.edge, f"127.0.0.1:{port}",
                      route=f'server_name = "{server_name}"')
    with lab.stopping(edge):
        if not good:
            assert re.search("unrecognized name|hostname mismatch",
                             edge.closes("gateways-failed"))
            return
        with edge.connect() as sock:
            edge.wait_text("session-open")
            sock.sendall(READ)
            printed = b""
            while READ not in printed:
                printed += server.receive(1)
            assert f'Hostname in TLS extension: "{server_name}"'.encode() in printed
        server.end()


def test_openssl_updates_keys(tmp_path, certificates):
    """The server renews its keys and asks for new ones of ours, between requests."""
    port, server = s_server(tmp_path, certificates, "-tls1_3", "-msg", quiet=False)
    edge = peers.Edge(tmp_path, certificates.edge, f"127.0.0.1:{port}")
    with lab.stopping(edge), edge.connect() as sock:
        edge.wait_text("session-open")
        if not kernel_tls.can_rekey():
            server.send(b"K\n")
            assert "this kernel cannot follow" in edge.closed("gateway-tls-failed")
            return
        printed = b""
        for count in range(1, 4):
            server.send(b"K\n")
            while len(re.findall(rb">>> TLS 1.3, .*KeyUpdate", printed)) < count:
                printed += server.receive(1)
            sock.sendall(READ)
            while printed.count(READ) < count:
                printed += server.receive(1)
            # RFC 8446 4.6.3: our update comes before our next application data.
            assert len(re.findall(rb"<<< TLS 1.3, .*KeyUpdate", printed)) == count
            server.send(ANSWER)
            assert lab.receive_frame(sock) == ANSWER
        sock.close()
        edge.closed("finished")
        server.end()


def test_openssl_answers_what_is_no_mc(tmp_path, certificates):
    port, server = s_server(tmp_path, certificates)
    edge = peers.Edge(tmp_path, certificates.edge, f"127.0.0.1:{port}")
    with lab.stopping(edge), edge.connect() as sock:
        sock.sendall(READ)
        assert server.receive(len(READ)) == READ
        server.send(READ)
        assert lab.receive_end(sock) == b""
        edge.closed("bad-answer")
        server.end()


# --- gnutls-serv ---------------------------------------------------------------------------------


@versions
def test_gnutls(tmp_path, certificates, version):
    port, server = gnutls_serv(tmp_path, certificates, version)
    edge = peers.Edge(tmp_path, certificates.edge, f"127.0.0.1:{port}", protocol="opaque")
    with peers.ending(server), lab.stopping(edge):
        with edge.connect() as sock:
            for length in (10, 1000, 4000):
                line = bytes(65 + n % 26 for n in range(length)) + b"\n"
                sock.sendall(line)
                got = b""
                while len(got) < len(line):
                    piece = sock.recv(65536)
                    assert piece, got
                    got += piece
                assert got == line
        edge.wait_text("session-closed")
        assert f"tls={version}" in edge.lines("session-closed")[0]


@versions
def test_gnutls_refuses_our_certificate(tmp_path, certificates, strangers, version):
    port, server = gnutls_serv(tmp_path, certificates, version)
    edge = peers.Edge(tmp_path, strangers.edge, f"127.0.0.1:{port}", ca=certificates.pki.ca)
    with peers.ending(server), lab.stopping(edge):
        reason = {"TLSv1.3": "gateway-tls-failed", "TLSv1.2": "gateways-failed"}[version]
        assert "peer sent alert: access denied" in edge.closes(reason)


@versions
def test_gnutls_of_another_ca(tmp_path, certificates, strangers, version):
    port, server = gnutls_serv(tmp_path, strangers, version)
    edge = peers.Edge(tmp_path, certificates.edge, f"127.0.0.1:{port}")
    with peers.ending(server), lab.stopping(edge):
        assert "peer's certificate refused" in edge.closes("gateways-failed")
        server.wait_text("Error in handshake")
