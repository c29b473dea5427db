#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""TLS clients that we did not write, at our gateway: OpenSSL, GnuTLS, Python's ssl module."""
import re
import socket
import ssl

import pytest

import kernel_tls
import lab
import peers

READ = lab.read_words(0, 2)
FIRST = lab.answer_3e(bytes.fromhex("3412 0100"))
SECOND = lab.answer_3e(bytes.fromhex("3412 0200"))
versions = pytest.mark.parametrize("version", ["TLSv1.3", "TLSv1.2"])


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return peers.Certificates(tmp_path_factory.mktemp("certificates") / "pki")


@pytest.fixture
def plant(tmp_path, certificates):
    with peers.Plant(tmp_path, certificates) as made:
        yield made


# --- openssl s_client ----------------------------------------------------------------------------


def s_client(plant, *words, host="127.0.0.1", port=None, certificate=True, quiet=True):
    command = ["openssl", "s_client", "-connect", f"{host}:{port or plant.fixed_port}",
               "-CAfile", plant.pki.ca, "-verify_return_error"]
    if quiet:
        command += ["-quiet", "-no_ign_eof", "-nocommands"]
    if certificate:
        command += ["-cert", plant.client.certificate, "-key", plant.client.key]
    return peers.Pipe([*command, *words], plant.folder / "s_client.log")


VERSION_OPTION = {"TLSv1.3": "-tls1_3", "TLSv1.2": "-tls1_2"}


@versions
def test_openssl(plant, version):
    client = s_client(plant, VERSION_OPTION[version], "-verify_ip", "127.0.0.1", "-noservername")
    assert client.exchange(READ, len(FIRST)) == FIRST
    assert client.exchange(lab.write_words(0, [7, 8]), 11) == lab.answer_3e(b"")
    assert client.exchange(READ, len(FIRST)) == lab.answer_3e(bytes.fromhex("0700 0800"))
    assert client.end() == ("", 0)
    plant.served(version)


@pytest.mark.parametrize("version, cipher, option", [
    ("TLSv1.3", "TLS_AES_128_GCM_SHA256", "-ciphersuites"),
    ("TLSv1.3", "TLS_AES_256_GCM_SHA384", "-ciphersuites"),
    ("TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256", "-ciphersuites"),
    ("TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256", "-cipher"),
    ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384", "-cipher"),
    ("TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305", "-cipher")])
def test_openssl_ciphers(plant, version, cipher, option):
    client = s_client(plant, VERSION_OPTION[version], option, cipher)
    assert client.exchange(READ, len(FIRST)) == FIRST
    client.end()
    assert re.search(rf"cipher={cipher}\b", plant.gateway.closed("finished"))


@pytest.mark.parametrize("words, detail", [
    (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"], "no shared cipher"),
    (["-tls1_2", "-cipher", "AES128-GCM-SHA256"], "no shared cipher"),
    (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "unsupported protocol"),
    (["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"], "no shared cipher"),
    (["-tls1_3", "-alpn", "h2,http/1.1"], "no application protocol")])
def test_openssl_with_what_we_do_not_speak(plant, words, detail):
    client = s_client(plant, *words)
    _, status = client.end()
    assert status != 0 and "alert" in client.text()
    assert detail in plant.gateway.closed("handshake-failed")
    assert plant.seen() == []


@versions
def test_openssl_without_a_certificate(plant, version):
    client = s_client(plant, VERSION_OPTION[version], certificate=False)
    lab.wait_for(lambda: not client.alive(), "s_client's end")
    plant.gateway.closed("handshake-failed")
    # OpenSSL's words for the alerts certificate_required (1.3) and handshake_failure (1.2).
    assert re.search({"TLSv1.3": "alert certificate required",
                      "TLSv1.2": "alert handshake failure"}[version], client.text())
    assert plant.seen() == []


def terminal(plant, version):
    """s_client as a person uses it: a line that is one capital letter is a command."""
    client = s_client(plant, VERSION_OPTION[version], quiet=False)
    lab.wait_for(lambda: plant.press1.events("event=open"), "the session")
    return client


def test_openssl_updates_keys(plant):
    """K renews our peer's keys and asks for new ones of ours (RFC 8446 4.6.3)."""
    client = terminal(plant, "TLSv1.3")
    if not kernel_tls.can_rekey():
        client.send(b"K\n")
        line = plant.gateway.closed("client-tls-failed")
        assert "this kernel cannot follow" in line
        assert plant.press1.requests() == []
        return
    for count in range(1, 4):
        client.send(b"K\n")
        lab.wait_for(lambda: client.text().count("KEYUPDATE") == count, "the key update")
        client.send(READ)
        lab.wait_for(lambda: len(plant.press1.requests()) == count, "the request")
        printed = b""
        while FIRST not in printed:
            printed += client.receive(1)
    client.end()
    plant.served("TLSv1.3")


def test_openssl_may_not_renegotiate(plant):
    client = terminal(plant, "TLSv1.2")
    client.send(b"R\n")
    lab.wait_for(lambda: not client.alive(), "s_client's end")
    assert "alert handshake failure" in client.text()
    lab.wait_for(plant.gateway.reasons, "the session's end")
    assert plant.press1.requests() == []


@pytest.mark.parametrize("name, answer", [("press-1", FIRST), ("press-2", SECOND),
                                          ("PRESS-2", SECOND),
                                          (peers.PRESS_2_NAME, SECOND),
                                          (peers.PRESS_2_NAME.upper(), SECOND)],
                         ids=["first", "second", "capitals", "sni", "sni-capitals"])
def test_sni_says_which_plc(plant, name, answer):
    client = s_client(plant, "-servername", name, port=plant.sni_port)
    assert client.exchange(READ, len(answer)) == answer
    client.end()
    plant.served("TLSv1.3", "press-1" if answer == FIRST else "press-2")


@pytest.mark.parametrize("words", [["-noservername"], ["-servername", "press-3"],
                                   ["-servername", peers.GATEWAY_NAME]])
def test_sni_that_names_no_plc(plant, words):
    client = s_client(plant, *words, port=plant.sni_port)
    lab.wait_for(lambda: not client.alive(), "s_client's end")
    plant.gateway.closed("plc-unknown")
    assert plant.seen() == []


def test_ipv6_listener(plant):
    client = s_client(plant, "-verify_ip", "::1", host="[::1]")
    assert client.exchange(READ, len(FIRST)) == FIRST
    client.end()


# --- gnutls-cli ----------------------------------------------------------------------------------


PRIORITY = {"TLSv1.3": "NORMAL:-VERS-ALL:+VERS-TLS1.3", "TLSv1.2": "NORMAL:-VERS-ALL:+VERS-TLS1.2"}


def gnutls_cli(plant, *words, port=None, certificate=True):
    command = ["gnutls-cli", "--port", port or plant.fixed_port,
               f"--x509cafile={plant.pki.ca}",
               f"--logfile={plant.folder}/gnutls-cli.log"]
    if certificate:
        command += [f"--x509certfile={plant.client.certificate}",
                    f"--x509keyfile={plant.client.key}"]
    return peers.Pipe([*command, *words, "127.0.0.1"], plant.folder / "gnutls-cli.log")


@versions
def test_gnutls(plant, version):
    client = gnutls_cli(plant, f"--priority={PRIORITY[version]}")
    assert client.exchange(READ, len(FIRST)) == FIRST
    assert client.exchange(READ, len(FIRST)) == FIRST
    assert client.end()[1] == 0
    plant.served(version)


@versions
def test_gnutls_without_a_certificate(plant, version):
    client = gnutls_cli(plant, f"--priority={PRIORITY[version]}", certificate=False)
    lab.wait_for(lambda: not client.alive(), "gnutls-cli's end")
    plant.gateway.closed("handshake-failed")
    assert re.search({"TLSv1.3": "Certificate is required", "TLSv1.2": "Handshake failed"}[version],
                     client.text())
    assert plant.seen() == []


@versions
def test_gnutls_refuses_a_wrong_name(plant, version):
    client = gnutls_cli(plant, f"--priority={PRIORITY[version]}",
                        "--verify-hostname=other.plant.example")
    lab.wait_for(lambda: not client.alive(), "gnutls-cli's end")
    assert "name in the certificate does not match" in client.text()
    assert re.search("peer sent alert|peer closed", plant.gateway.closed("handshake-failed"))
    assert plant.seen() == []


def test_gnutls_by_sni(plant):
    client = gnutls_cli(plant, f"--sni-hostname={peers.PRESS_2_NAME}",
                        f"--verify-hostname={peers.PRESS_2_NAME}", port=plant.sni_port)
    assert client.exchange(READ, len(SECOND)) == SECOND
    client.end()
    plant.served("TLSv1.3", "press-2")


# --- Python's ssl with PKCS#12 -------------------------------------------------------------------


def unpack(plant, password_file, check=True):
    """As the Python documentation has it: ssl takes PEM, so the .p12 is unpacked first."""
    out = plant.folder / "unpacked.pem"
    result = lab.run("openssl", "pkcs12", "-in", plant.certificates.p12, "-passin",
                     f"file:{password_file}", "-noenc", "-out", out, check=check)
    return out, result


def python_context(plant, pem, version):
    context = ssl.create_default_context(cafile=str(plant.pki.ca))
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version.replace(".", "_")]
    context.load_cert_chain(str(pem))
    return context


@versions
@pytest.mark.parametrize("name", ["127.0.0.1", peers.GATEWAY_NAME])
def test_python_with_p12(plant, version, name):
    pem, _ = unpack(plant, plant.certificates.p12_password)
    context = python_context(plant, pem, version)
    with socket.create_connection(("127.0.0.1", plant.fixed_port)) as raw, \
            context.wrap_socket(raw, server_hostname=name) as sock:
        for _ in range(50):
            sock.sendall(READ)
            assert lab.receive_frame(sock) == FIRST
        assert sock.version() == version
        sock.unwrap()
    plant.served(version)


@versions
def test_python_refuses_a_wrong_name(plant, version):
    pem, _ = unpack(plant, plant.certificates.p12_password)
    context = python_context(plant, pem, version)
    with socket.create_connection(("127.0.0.1", plant.fixed_port)) as raw, \
            pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
        context.wrap_socket(raw, server_hostname="127.0.0.9")
    assert "peer sent alert: bad certificate" in plant.gateway.closed("handshake-failed")


def test_p12_wrong_password(plant):
    wrong = plant.folder / "wrong"
    wrong.write_text("not it\n")
    _, result = unpack(plant, wrong, check=False)
    assert result.returncode != 0 and "invalid password" in result.stdout
    target = f"127.0.0.1:{plant.fixed_port}"
    words = ["--ca", plant.pki.ca, "--p12", plant.certificates.p12, "read", "D0", "2"]
    refused = lab.run(lab.BUILD / "mcping", target, "--p12-password-file", wrong, *words,
                      check=False)
    assert refused.returncode == 3, refused.stdout
    assert re.search("mac verify failure|wrong password", refused.stdout), refused.stdout
    assert plant.seen() == []
    good = lab.run(lab.BUILD / "mcping", target, "--p12-password-file",
                   plant.certificates.p12_password, *words)
    assert "4660 1" in good.stdout


@pytest.fixture(scope="module")
def rsa(tmp_path_factory):
    return peers.Certificates(tmp_path_factory.mktemp("rsa") / "pki", "--rsa")


@versions
def test_rsa_certificates(tmp_path, rsa, version):
    """CA, gateway and client with RSA keys, all ends checked."""
    with peers.Plant(tmp_path, rsa) as plant:
        client = s_client(plant, VERSION_OPTION[version])
        assert client.exchange(READ, len(FIRST)) == FIRST
        client.end()
        line = plant.gateway.closed("finished")
        assert version == "TLSv1.3" or "cipher=ECDHE-RSA-" in line, line
        client = gnutls_cli(plant, f"--priority={PRIORITY[version]}")
        assert client.exchange(READ, len(FIRST)) == FIRST
        client.end()


# --- a chain with an intermediate ----------------------------------------------------------------


def issue(folder, name, issuer, *extensions):
    """A P-256 key and a certificate signed by `issuer` (a path without suffix)."""
    path = folder / name
    lab.run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", f"/CN={name}", "-keyout", f"{path}.key", "-out", f"{path}.csr")
    (folder / "extensions").write_text("\n".join(extensions))
    lab.run("openssl", "x509", "-req", "-days", "2", "-in", f"{path}.csr", "-CA", f"{issuer}.pem",
            "-CAkey", f"{issuer}.key", "-extfile", folder / "extensions", "-out", f"{path}.pem")
    return path


@pytest.mark.parametrize("sends_intermediate", [True, False])
def test_client_below_an_intermediate(tmp_path, sends_intermediate):
    """The gateway trusts the root alone; the client must bring what is between."""
    root = tmp_path / "root"
    lab.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", "/CN=root", "-keyout", f"{root}.key", "-out",
            f"{root}.pem", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    middle = issue(tmp_path, "middle", root, "basicConstraints=critical,CA:TRUE,pathlen:0",
                   "keyUsage=critical,keyCertSign,cRLSign")
    leaf = issue(tmp_path, "leaf", middle, "extendedKeyUsage=clientAuth",
                 "subjectAltName=URI:urn:mcseal:client:ana")
    server = issue(tmp_path, "server", middle, "extendedKeyUsage=serverAuth",
                   "subjectAltName=IP:127.0.0.1")
    for path in (leaf, server):
        chain = path.with_suffix(".chain.pem")
        chain.write_text(path.with_suffix(".pem").read_text() +
                         middle.with_suffix(".pem").read_text())
    plc = lab.Plc(tmp_path)
    port = lab.free_port()
    gateway = lab.Daemon(tmp_path, f"""mark = 0
plc "press" {{ address = "{plc.host}" port "{plc.port}" {{ }} }}
identity "ana" {{ match = {{ "uri:urn:mcseal:client:ana" }} plcs = {{ "*" }} }}
gateway "plant" {{
	listen = "127.0.0.1:{port}"
	certificate = "{server}.chain.pem"
	key = "{server}.key"
	ca = "{root}.pem"
	plc = "press"
}}
""")
    with lab.stopping(gateway, plc):
        chain = ["--cert", f"{leaf}.chain.pem" if sends_intermediate else f"{leaf}.pem"]
        result = lab.run(lab.BUILD / "mcping", f"127.0.0.1:{port}", "--ca", f"{root}.pem", *chain,
                         "--key", f"{leaf}.key", "read", "D0", check=False)
        if sends_intermediate:
            assert result.returncode == 0 and "D0: 0" in result.stdout, result.stdout
        else:
            assert result.returncode == 3 and "alert" in result.stdout, result.stdout
            assert "unable to get" in gateway.closed("handshake-failed")
            assert plc.events() == []
