#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""stunnel and nginx, the tunnels that people have: as clients of our gateway, and as TLS servers
that our edge reaches (proxy_header = no)."""
import re

import pytest

import lab
import peers

versions = pytest.mark.parametrize("version", ["TLSv1.3", "TLSv1.2"])


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return peers.Certificates(tmp_path_factory.mktemp("certificates") / "pki")


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """A CA that nobody here trusts; its client and gateway bear the right names."""
    return peers.Certificates(tmp_path_factory.mktemp("strangers") / "pki", label="strangers")


@pytest.fixture
def plant(tmp_path, certificates):
    with peers.Plant(tmp_path, certificates) as made:
        yield made


def mcping(port, *words, check=True):
    return lab.run(lab.BUILD / "mcping", f"127.0.0.1:{port}", *words, check=check)


def work_through(port, plc_port):
    """What a client does all day gives the same as straight at the PLC."""
    for words in (["write", "D10", "1", "2", "0xfffe"], ["read", "D10", "3"], ["model"],
                  ["read", "D10", "3", "--code", "ascii"], ["read", "D10", "3", "--frame", "4e"]):
        assert mcping(port, *words).stdout == mcping(plc_port, *words).stdout, words
    result = mcping(port, "poll", "D0", "960", "--count", "200", "--interval", "0", "--verify",
                    "--one-recv")
    assert "200 answers" in result.stdout and " 0 wrong" in result.stdout, result.stdout


# --- stunnel as our client, as on a Windows PC ---------------------------------------------------


def stunnel_client(plant, port, options, to=None, stdin=b"", ready=True):
    return peers.stunnel(plant.folder, "plc", f"""client = yes
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{to or plant.fixed_port}
CAfile = {plant.pki.ca}
verifyChain = yes
{options}""", stdin, ready)


def pem(certificates):
    return f"cert = {certificates.client.certificate}\nkey = {certificates.client.key}\n"


@versions
def test_stunnel_with_p12(plant, version):
    """The .p12 of mcseal-pki and its password typed in; the gateway is checked by its address."""
    port = lab.free_port()
    password = plant.certificates.p12_password.read_bytes()
    with peers.ending(stunnel_client(
            plant, port, f"cert = {plant.certificates.p12}\ncheckIP = 127.0.0.1\n"
            f"sslVersion = {version}", stdin=password)):
        work_through(port, plant.press1.port)
        plant.served(version)


def test_stunnel_with_a_wrong_p12_password(plant):
    port = lab.free_port()
    with peers.ending(stunnel_client(plant, port, f"cert = {plant.certificates.p12}\n",
                                     stdin=b"not it\n", ready=False)) as client:
        lab.wait_for(lambda: not client.alive(), "stunnel's end", 10)
        assert client.popen.returncode != 0
        assert re.search(r"mac verify failure|Error loading|rejected", client.text())
    assert plant.seen() == []


def test_stunnel_with_pem_by_name_and_sni(plant):
    port = lab.free_port()
    with peers.ending(stunnel_client(
            plant, port, pem(plant.certificates) + f"checkHost = {peers.PRESS_2_NAME}\n"
            f"sni = {peers.PRESS_2_NAME}", to=plant.sni_port)):
        assert "4660 2" in mcping(port, "read", "D0", "2").stdout
        plant.served("TLSv1.3", "press-2")


@pytest.mark.parametrize("option", ["checkHost = other.plant.example", "checkIP = 192.0.2.1"])
def test_stunnel_refuses_a_wrong_name(plant, option):
    port = lab.free_port()
    with peers.ending(stunnel_client(plant, port, pem(plant.certificates) + option)):
        assert mcping(port, "read", "D0", check=False).returncode == 3
        assert re.search("peer sent alert|peer closed", plant.gateway.closed("handshake-failed"))
    assert plant.seen() == []


@versions
@pytest.mark.parametrize("who", ["nobody", "stranger"])
def test_stunnel_is_told_why_it_is_refused(plant, strangers, who, version):
    port = lab.free_port()
    with peers.ending(stunnel_client(
            plant, port, f"sslVersion = {version}\n" +
            (pem(strangers) if who == "stranger" else ""))) as client:
        assert mcping(port, "read", "D0", check=False).returncode == 3
        plant.gateway.closed("handshake-failed")
        alert = {"stranger": "alert unknown ca", "nobody": "alert certificate required"
                 if version == "TLSv1.3" else "alert handshake failure"}[who]
        client.wait_text(alert)
    assert plant.seen() == []


# --- nginx as our client -------------------------------------------------------------------------


def nginx_client(plant, port, version, options="", to=None, certificates=None,
                 name=peers.GATEWAY_NAME):
    client = (certificates or plant.certificates).client
    return peers.nginx(plant.folder, "nginx", f"""proxy_pass 127.0.0.1:{to or plant.fixed_port};
		proxy_ssl on;
		proxy_ssl_protocols {version};
		proxy_ssl_certificate {client.certificate};
		proxy_ssl_certificate_key {client.key};
		proxy_ssl_trusted_certificate {plant.pki.ca};
		proxy_ssl_crl {plant.pki.crl};
		proxy_ssl_verify on;
		proxy_ssl_name {name};
		{options}""", port)


@versions
def test_nginx_as_client(plant, version):
    port = lab.free_port()
    with peers.ending(nginx_client(plant, port, version)):
        work_through(port, plant.press1.port)
        assert f"tls={version}" in plant.gateway.lines("session-open")[0]


def test_nginx_as_client_by_sni(plant):
    port = lab.free_port()
    with peers.ending(nginx_client(plant, port, "TLSv1.3", "proxy_ssl_server_name on;",
                                   plant.sni_port, name=peers.PRESS_2_NAME)):
        assert "4660 2" in mcping(port, "read", "D0", "2").stdout


def test_nginx_as_client_refuses_a_wrong_name(plant):
    port = lab.free_port()
    with peers.ending(nginx_client(plant, port, "TLSv1.3", name="other.plant.example")) as client:
        assert mcping(port, "read", "D0", check=False).returncode == 3
        client.wait_text("does not match")
    # nginx judges the name after the handshake: the PLC was dialled, and told nothing.
    assert plant.press1.requests() == []


@versions
def test_nginx_as_client_of_another_ca(plant, strangers, version):
    port = lab.free_port()
    with peers.ending(nginx_client(plant, port, version, certificates=strangers)) as client:
        assert mcping(port, "read", "D0", check=False).returncode == 3
        plant.gateway.closed("handshake-failed")
        client.wait_text("alert unknown ca")
    assert plant.seen() == []


# --- stunnel and nginx as servers behind our edge ------------------------------------------------


@pytest.fixture
def plc(tmp_path):
    made = lab.Plc(tmp_path, "--set", "D0=4660,1")
    with lab.stopping(made):
        yield made


def stunnel_server(folder, certificates, port, plc, options=""):
    return peers.stunnel(folder, "server", f"""accept = 127.0.0.1:{port}
connect = {plc.host}:{plc.port}
cert = {certificates.gateway.certificate}
key = {certificates.gateway.key}
CAfile = {certificates.pki.ca}
CRLfile = {certificates.pki.crl}
verifyChain = yes
{options}""")


def nginx_server(folder, certificates, port, plc, options="ssl_protocols TLSv1.2 TLSv1.3;",
                 verify="on"):
    return peers.nginx(folder, "server", f"""proxy_pass {plc.host}:{plc.port};
		ssl_certificate {certificates.gateway.certificate};
		ssl_certificate_key {certificates.gateway.key};
		ssl_client_certificate {certificates.pki.ca};
		ssl_crl {certificates.pki.crl};
		ssl_verify_client {verify};
		{options}""", port, "ssl")


SERVERS = {
    "stunnel": lambda *words, version: stunnel_server(*words, f"sslVersion = {version}"),
    "nginx": lambda *words, version: nginx_server(*words, f"ssl_protocols {version};"),
}
servers = pytest.mark.parametrize("server", SERVERS)


@versions
@servers
def test_server_that_speaks_one_version(tmp_path, certificates, plc, server, version):
    port = lab.free_port()
    with peers.ending(SERVERS[server](tmp_path, certificates, port, plc, version=version)):
        edge = peers.Edge(tmp_path, certificates.edge, f"127.0.0.1:{port}")
        with lab.stopping(edge):
            work_through(edge.port, plc.port)
            assert f"tls={version}" in edge.closed("finished")


@pytest.mark.parametrize("name, good", [(peers.GATEWAY_NAME, True),
                                        ("other.plant.example", False)])
@servers
def test_server_name(tmp_path, certificates, plc, server, name, good):
    port = lab.free_port()
    with peers.ending(SERVERS[server](tmp_path, certificates, port, plc, version="TLSv1.3")):
        edge = peers.Edge(tmp_path, certificates.edge, f"127.0.0.1:{port}",
                          route=f'server_name = "{name}"')
        with lab.stopping(edge):
            if good:
                assert "4660 1" in edge.mcping("read", "D0", "2").stdout
            else:
                assert "hostname mismatch" in edge.closes("gateways-failed")
    assert good or plc.events() == []


@versions
def test_stunnel_as_server_refuses_our_certificate(tmp_path, certificates, strangers, plc, version):
    """It sends an alert: in TLS 1.3 only after our side of the handshake is done."""
    port = lab.free_port()
    with peers.ending(SERVERS["stunnel"](tmp_path, certificates, port, plc, version=version)):
        edge = peers.Edge(tmp_path, strangers.edge, f"127.0.0.1:{port}", ca=certificates.pki.ca)
        with lab.stopping(edge):
            reason = {"TLSv1.3": "gateway-tls-failed", "TLSv1.2": "gateways-failed"}[version]
            # Without a request: a server that closes with bytes unread resets, and the alert is lost.
            with edge.connect():
                assert "peer sent alert: unknown CA" in edge.closed(reason)
    assert plc.events() == []


@versions
def test_nginx_as_server_refuses_our_certificate_mute(tmp_path, certificates, strangers, plc,
                                                      version):
    """nginx sends no alert, only close_notify: the client is closed and the answer missing."""
    port = lab.free_port()
    with peers.ending(SERVERS["nginx"](tmp_path, certificates, port, plc, version=version)) as it:
        edge = peers.Edge(tmp_path, strangers.edge, f"127.0.0.1:{port}", ca=certificates.pki.ca)
        with lab.stopping(edge):
            assert "requests=1 answers=0" in edge.closes("finished")
            it.wait_text("client SSL certificate verify error")
    assert plc.events() == []


@versions
@servers
def test_server_of_another_ca(tmp_path, certificates, strangers, plc, server, version):
    """The edge refuses a server that its CA does not know; nothing of the client leaves."""
    port = lab.free_port()
    with peers.ending(SERVERS[server](tmp_path, strangers, port, plc, version=version)) as it:
        edge = peers.Edge(tmp_path, certificates.edge, f"127.0.0.1:{port}")
        with lab.stopping(edge):
            line = edge.closes("gateways-failed")
            assert re.search("peer's certificate refused: .*(self-signed|issuer)", line), line
            it.wait_text("alert unknown ca")
    assert plc.events() == []


def test_server_that_asks_for_no_certificate(tmp_path, certificates, plc):
    port = lab.free_port()
    with peers.ending(nginx_server(tmp_path, certificates, port, plc, verify="off")):
        edge = peers.Edge(tmp_path, certificates.edge, f"127.0.0.1:{port}")
        with lab.stopping(edge):
            work_through(edge.port, plc.port)


def test_server_of_old_versions_only(tmp_path, certificates, plc):
    port = lab.free_port()
    with peers.ending(nginx_server(tmp_path, certificates, port, plc,
                                   "ssl_protocols TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0;")):
        edge = peers.Edge(tmp_path, certificates.edge, f"127.0.0.1:{port}")
        with lab.stopping(edge):
            assert "protocol version" in edge.closes("gateways-failed")
    assert plc.events() == []


def test_foreign_server_is_not_taken_for_a_gateway(tmp_path, certificates, plc):
    """With proxy_header = yes the edge demands ALPN mcseal/1; nginx does not know it."""
    port = lab.free_port()
    with peers.ending(nginx_server(tmp_path, certificates, port, plc)):
        edge = peers.Edge(tmp_path, certificates.edge, f"127.0.0.1:{port}", proxy_header="yes")
        with lab.stopping(edge):
            assert "proxy_header = no" in edge.closes("gateways-failed")
    assert plc.requests() == []
