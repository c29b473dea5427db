#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""mcseal-pki against openssl(1), GnuTLS's certtool and Python's ssl module."""
import datetime
import os
import pathlib
import re
import socket
import ssl
import stat
import subprocess
import threading

import pytest

PKI = pathlib.Path(__file__).resolve().parents[2] / "certs" / "mcseal-pki"
ROLE_OID = "1.3.6.1.4.1.50316.802.1"


def run(*command, check=True, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **more)
    if check:
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


class Authority:
    def __init__(self, directory):
        self.directory = directory

    def __call__(self, *arguments, check=True):
        environment = dict(os.environ, MCSEAL_PKI=str(self.directory))
        return run(PKI, *arguments, check=check, env=environment)

    def refused(self, *arguments, status=2):
        done = self(*arguments, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stderr

    def path(self, name):
        return self.directory / name

    def issued(self, name):
        return self.directory / "issued" / name

    def verify(self, name, purpose, *more, check=True):
        return run("openssl", "verify", "-x509_strict", "-purpose", purpose, "-crl_check", "-CRLfile", self.path("crl.pem"),
                   "-CAfile", self.path("ca.pem"), *more, self.issued(f"{name}.pem"), check=check)

    def snapshot(self):
        return {str(path.relative_to(self.directory)): path.read_bytes()
                for path in self.directory.rglob("*") if path.is_file()}


@pytest.fixture
def authority(tmp_path):
    made = Authority(tmp_path / "pki")
    made("init", made.directory, "--name", "Plant CA")
    return made


def certificate_text(path):
    return run("openssl", "x509", "-in", path, "-noout", "-text").stdout


def test_help_names_every_command():
    text = run(PKI, "help").stdout
    for command in "init gateway client edge p12 revoke crl list expiring show".split():
        assert re.search(rf"^  {command} ", text, re.M), command
    assert run(PKI, check=False).returncode == 2


def test_authority(authority):
    text = certificate_text(authority.path("ca.pem"))
    assert "CN = Plant CA" in text or "CN=Plant CA" in text
    assert re.search(r"Basic Constraints: critical\s+CA:TRUE, pathlen:0", text)
    assert re.search(r"Key Usage: critical\s+Certificate Sign, CRL Sign", text)
    assert "prime256v1" in text and "ecdsa-with-SHA256" in text
    crl = run("openssl", "crl", "-in", authority.path("crl.pem"), "-CAfile", authority.path("ca.pem"), "-noout", "-text")
    assert "verify OK" in crl.stderr + crl.stdout
    assert "No Revoked Certificates" in crl.stdout


def test_modes(authority):
    authority("gateway", "gw", "--dns", "gw.example", "--p12")
    authority("client", "scada")
    for path in [authority.directory, *authority.directory.rglob("*")]:
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_gateway_verifies_with_openssl(authority):
    authority("gateway", "gw", "--dns", "gw.example", "*.line1.example", "--ip", "10.20.0.2", "fd30::10")
    for name in ("gw.example", "press.line1.example"):
        authority.verify("gw", "sslserver", "-verify_hostname", name)
    for address in ("10.20.0.2", "fd30::10"):
        authority.verify("gw", "sslserver", "-verify_ip", address)
    assert authority.verify("gw", "sslserver", "-verify_ip", "10.20.0.3", check=False).returncode != 0
    assert authority.verify("gw", "sslserver", "-verify_hostname", "other.example", check=False).returncode != 0
    assert authority.verify("gw", "sslclient", check=False).returncode != 0
    text = certificate_text(authority.issued("gw.pem"))
    assert re.search(r"Key Usage: critical\s+Digital Signature\n", text)
    assert re.search(r"Basic Constraints: critical\s+CA:FALSE", text)
    assert "Subject Key Identifier" in text and "Authority Key Identifier" in text


def test_gateway_and_client_verify_with_gnutls(authority):
    authority("gateway", "gw", "--dns", "gw.example", "--ip", "10.20.0.2")
    authority("client", "scada")
    base = ["certtool", "--verify", "--load-ca-certificate", authority.path("ca.pem"),
            "--load-crl", authority.path("crl.pem")]

    def verdict(name, purpose, *more):
        return run(*base, "--verify-purpose", purpose, *more, "--infile", authority.issued(f"{name}.pem"), check=False)

    assert verdict("gw", "1.3.6.1.5.5.7.3.1", "--verify-hostname", "gw.example").returncode == 0
    assert verdict("scada", "1.3.6.1.5.5.7.3.2").returncode == 0
    assert verdict("scada", "1.3.6.1.5.5.7.3.1").returncode != 0
    authority("revoke", "scada")
    done = verdict("scada", "1.3.6.1.5.5.7.3.2")
    assert done.returncode != 0 and "revoked" in done.stdout + done.stderr


def test_identities(authority):
    authority("client", "scada", "--role", "operator", "--email", "scada@plant.example")
    authority("client", "mes", "--uri", "urn:plant:mes", "https://plant.example/mes", "--dns", "mes.example")
    authority("edge", "office")
    scada, mes, office = (certificate_text(authority.issued(f"{name}.pem")) for name in ("scada", "mes", "office"))
    assert "URI:urn:mcseal:client:scada" in scada and "email:scada@plant.example" in scada
    assert "URI:urn:plant:mes" in mes and "URI:https://plant.example/mes" in mes and "DNS:mes.example" in mes
    assert "urn:mcseal:client" not in mes and ROLE_OID not in mes
    assert "URI:urn:mcseal:edge:office" in office
    for name, role in (("scada", "operator"), ("office", "edge")):
        dump = run("openssl", "asn1parse", "-in", authority.issued(f"{name}.pem")).stdout
        # The extension's value: an OCTET STRING holding tag 0C (UTF8String), length, text.
        value = (b"\x0c" + bytes([len(role)]) + role.encode()).hex().upper()
        assert re.search(rf":{re.escape(ROLE_OID)}\n.*\[HEX DUMP\]:{value}\n", dump), dump
        authority.verify(name, "sslclient")
    assert authority.verify("scada", "sslserver", check=False).returncode != 0


def test_rsa(tmp_path):
    authority = Authority(tmp_path / "pki")
    authority("init", authority.directory, "--rsa")
    authority("gateway", "gw", "--dns", "gw.example", "--rsa")
    authority("client", "scada")
    assert "Public-Key: (3072 bit)" in certificate_text(authority.path("ca.pem"))
    assert "Public-Key: (3072 bit)" in certificate_text(authority.issued("gw.pem"))
    assert "prime256v1" in certificate_text(authority.issued("scada.pem"))
    authority.verify("gw", "sslserver")
    authority.verify("scada", "sslclient")


def test_nothing_is_overwritten(authority):
    authority("gateway", "gw", "--dns", "gw.example")
    authority("client", "scada", "--p12")
    before = authority.snapshot()
    assert "is in use" in authority.refused("gateway", "gw", "--dns", "gw.example")
    assert "--renew" in authority.refused("client", "gw")
    assert "there is a CA" in authority.refused("init", authority.directory)
    assert "exists" in authority.refused("p12", "scada")
    assert authority.snapshot() == before
    authority.issued("gw.pem").unlink()  # a lost certificate does not free its key's name
    assert "is in use" in authority.refused("gateway", "gw", "--dns", "gw.example")


def test_init_leaves_other_directories_alone(tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes").write_text("mine")
    done = run(PKI, "init", tmp_path / "used", check=False)
    assert done.returncode == 2 and "nothing was changed" in done.stderr
    assert [path.name for path in (tmp_path / "used").iterdir()] == ["notes"]
    (tmp_path / "empty").mkdir()
    run(PKI, "init", tmp_path / "empty")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "used"]


def test_awkward_directory_and_name(tmp_path):
    authority = Authority(tmp_path / "a $b #c 'd")
    authority("init", authority.directory, "--name", "Pläne / CA=1 + 生産")
    authority("gateway", "gw", "--dns", "gw.example")
    authority.verify("gw", "sslserver")
    subject = run("openssl", "x509", "-in", authority.path("ca.pem"), "-noout", "-subject", "-nameopt", "utf8,sep_multiline")
    assert "CN=Pläne / CA=1 + 生産" in subject.stdout


def test_renew_keeps_the_old_files(authority):
    authority("gateway", "gw", "--dns", "gw.example", "--ip", "fd30::10", "--p12")
    authority("client", "scada", "--role", "operator")
    old_key = authority.issued("gw.key").read_bytes()
    old_certificate = authority.issued("gw.pem").read_bytes()
    authority("gateway", "gw", "--renew")
    authority("client", "scada", "--renew")
    kept = sorted(path.name for path in authority.issued("").iterdir() if re.search(r"\.\d{8}T\d{6}Z$", path.name))
    assert [name.rsplit(".", 1)[0] for name in kept] == [
        "gw.key", "gw.p12", "gw.p12.password", "gw.pem", "scada.key", "scada.pem"]
    assert authority.issued(kept[0]).read_bytes() == old_key != authority.issued("gw.key").read_bytes()
    assert authority.issued(kept[3]).read_bytes() == old_certificate
    assert not authority.issued("gw.p12").exists()  # it held the old key
    authority.verify("gw", "sslserver", "-verify_hostname", "gw.example", "-verify_ip", "fd30::10")
    assert "operator" in authority("show", "scada").stdout
    assert "is the certificate of a client" in authority.refused("gateway", "scada", "--renew")
    assert "nothing to renew" in authority.refused("client", "nobody", "--renew")
    for _ in range(3):  # several within one second
        authority("client", "scada", "--renew")
    assert len([p for p in authority.issued("").iterdir() if p.name.startswith("scada.pem.")]) == 4


def test_revocation(authority):
    authority("client", "scada")
    authority("client", "mes")
    authority("client", "scada", "--renew")
    old = next(path for path in authority.issued("").iterdir() if path.name.startswith("scada.pem."))
    authority.verify("scada", "sslclient")
    done = authority("revoke", "scada", "--reason", "keyCompromise")
    assert "crl.pem" in done.stderr
    for path in ("scada.pem", old.name):  # both certificates of that name
        verdict = run("openssl", "verify", "-crl_check", "-CRLfile", authority.path("crl.pem"), "-CAfile",
                      authority.path("ca.pem"), authority.issued(path), check=False)
        assert verdict.returncode != 0 and "certificate revoked" in verdict.stdout + verdict.stderr
    authority.verify("mes", "sslclient")
    text = run("openssl", "crl", "-in", authority.path("crl.pem"), "-noout", "-text").stdout
    assert text.count("Key Compromise") == 2
    assert "no valid certificate" in authority.refused("revoke", "scada")
    assert "one of" in authority.refused("revoke", "mes", "--reason", "boredom")
    assert authority("list").stdout.count("revoked") == 2
    authority("client", "scada", "--renew")
    authority.verify("scada", "sslclient")


def test_revoke_one_serial(authority):
    authority("client", "scada")
    serial = run("openssl", "x509", "-in", authority.issued("scada.pem"), "-noout", "-serial").stdout.split("=")[1].strip()
    authority("client", "scada", "--renew")
    authority("revoke", "scada", "--serial", serial.lower())
    authority.verify("scada", "sslclient")
    assert serial in run("openssl", "crl", "-in", authority.path("crl.pem"), "-noout", "-text").stdout


def test_the_authority_cannot_be_revoked_by_its_name(tmp_path):
    authority = Authority(tmp_path / "pki")
    authority("init", authority.directory, "--name", "plant")
    assert "no valid certificate" in authority.refused("revoke", "plant")


def crl_days(authority):
    text = run("openssl", "crl", "-in", authority.path("crl.pem"), "-noout", "-lastupdate", "-nextupdate").stdout
    first, last = (datetime.datetime.strptime(line.split("=")[1], "%b %d %H:%M:%S %Y %Z") for line in text.splitlines())
    return (last - first).days


def test_crl_keeps_its_life_time(authority):
    assert crl_days(authority) == 30
    authority("crl", "--days", "365")
    assert crl_days(authority) == 365
    authority("client", "scada")
    authority("revoke", "scada")
    assert crl_days(authority) == 365


def test_list_and_expiring(authority):
    assert authority("expiring").returncode == 0
    authority("gateway", "gw", "--dns", "gw.example", "--days", "20")
    authority("client", "old", "--not-before", "2020-01-01", "--not-after", "2021-01-01T00:00:00Z")
    authority("client", "young", "--not-before", "20400101000000Z", "--not-after", "20410101000000Z", check=False)
    rows = {line.split()[0]: line for line in authority("list").stdout.splitlines()}
    assert re.search(r" gateway +[0-9A-F]+ .* (19|20) +valid$", rows["gw"])
    assert rows["old"].endswith(" expired") and "2021-01-01T00:00:00Z" in rows["old"]
    assert "young" not in rows  # it would outlive the CA
    done = authority("expiring", "--days", "30", check=False)
    assert done.returncode == 1
    assert "issued/gw.pem" in done.stdout and "issued/old.pem" in done.stdout and "ca.pem" not in done.stdout
    authority("gateway", "gw", "--renew")
    authority("revoke", "old")
    assert authority("expiring").stdout == ""


def test_bad_dates_are_honest(authority):
    authority("client", "late", "--not-before", "2020-01-01", "--not-after", "2021-01-01")
    tomorrow = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    authority("client", "early", "--not-before", tomorrow)
    for name, words in (("late", "certificate has expired"), ("early", "certificate is not yet valid")):
        verdict = authority.verify(name, "sslclient", check=False)
        assert verdict.returncode != 0 and words in verdict.stdout + verdict.stderr
    assert "not yet valid" in authority("show", "early").stdout


def test_serials_are_random(authority):
    for number in range(4):
        authority("client", f"c{number}")
    serials = [path.stem for path in authority.path("serials").iterdir()]
    assert len(set(serials)) == 5 and all(len(serial) >= 36 for serial in serials)
    assert len({serial[:4] for serial in serials}) > 1


def tls_once(server_context, client_context, name):
    """One handshake and one answer over a socket pair; returns what the client read."""
    ours, theirs = socket.socketpair()
    failures = []

    def serve():
        try:
            with server_context.wrap_socket(theirs, server_side=True) as connection:
                connection.sendall(b"common name " + dict(pair[0] for pair in connection.getpeercert()["subject"])["commonName"].encode())
        except (ssl.SSLError, OSError) as error:
            failures.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client_context.wrap_socket(ours, server_hostname=name) as connection:
            return connection.recv(100)
    finally:
        thread.join(10)


@pytest.mark.parametrize("legacy", [False, True])
def test_pkcs12(authority, tmp_path, legacy):
    (tmp_path / "password").write_text("correct horse\n")
    done = authority("client", "scada", "--p12", "--p12-password-file", tmp_path / "password",
                     *(["--legacy"] if legacy else []))
    assert ("warning" in done.stderr) == legacy
    info = run("openssl", "pkcs12", "-in", authority.issued("scada.p12"), "-passin", f"file:{tmp_path}/password",
               "-info", "-noout")
    assert ("pbeWithSHA1And3-KeyTripleDES-CBC" in info.stderr) == legacy
    assert ("AES-256-CBC" in info.stderr) == (not legacy)
    run("certtool", "--p12-info", "--inder", "--infile", authority.issued("scada.p12"), "--password", "correct horse")
    # Python reads no PKCS#12: taken apart by openssl, then used.
    run("openssl", "pkcs12", "-in", authority.issued("scada.p12"), "-passin", f"file:{tmp_path}/password", "-nodes",
        "-out", tmp_path / "all.pem")
    assert (tmp_path / "all.pem").read_text().count("BEGIN CERTIFICATE") == 2
    authority("gateway", "gw", "--ip", "127.0.0.1")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.path("ca.pem"))
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(authority.issued("gw.pem"), authority.issued("gw.key"))
    client = ssl.create_default_context(cafile=authority.path("ca.pem"))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.load_cert_chain(tmp_path / "all.pem")
    assert tls_once(server, client, "127.0.0.1") == b"common name scada"


def test_pkcs12_password_is_made_up(authority):
    authority("client", "scada")
    authority("p12", "scada")
    password = authority.issued("scada.p12.password").read_text().strip()
    assert len(password) >= 20
    run("openssl", "pkcs12", "-in", authority.issued("scada.p12"), "-passin", f"pass:{password}", "-noout")
    wrong = run("openssl", "pkcs12", "-in", authority.issued("scada.p12"), "-passin", "pass:wrong", "-noout", check=False)
    assert wrong.returncode != 0


def test_request_of_another_machine(authority, tmp_path):
    run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
        tmp_path / "own.key", "-subj", "/CN=root", "-addext", "subjectAltName=URI:urn:mcseal:edge:stolen",
        "-out", tmp_path / "own.csr")
    authority("client", "scada", "--csr", tmp_path / "own.csr")
    text = certificate_text(authority.issued("scada.pem"))
    assert "stolen" not in text and "root" not in text and "URI:urn:mcseal:client:scada" in text
    assert not authority.issued("scada.key").exists()
    assert "came with --csr" in authority.refused("p12", "scada")
    # A request changed after it was signed is refused.
    run("openssl", "req", "-in", tmp_path / "own.csr", "-outform", "DER", "-out", tmp_path / "own.der")
    data = bytearray((tmp_path / "own.der").read_bytes())
    data[-1] ^= 1
    (tmp_path / "own.der").write_bytes(data)
    run("openssl", "req", "-inform", "DER", "-in", tmp_path / "own.der", "-out", tmp_path / "bad.csr")
    before = authority.snapshot()
    assert "signing failed" in authority.refused("client", "mes", "--csr", tmp_path / "bad.csr", status=3)
    assert "failed" in authority.refused("client", "mes", "--csr", PKI, status=3)
    assert authority.snapshot() == before


@pytest.mark.parametrize("arguments, words", [
    (["frobnicate"], "no such command: frobnicate"),
    (["gateway"], "the name is missing"),
    (["gateway", "gw"], "at least one --dns or --ip"),
    (["gateway", "gw", "--dns"], "--dns wants a value"),
    (["gateway", "gw", "--dns", "10.0.0.1"], "use --ip 10.0.0.1"),
    (["gateway", "gw", "--dns", "a$b"], "not a DNS name"),
    (["gateway", "gw", "--ip", "10.0.0.256"], "not an IP address"),
    (["gateway", "gw", "--ip", "fd30:::1"], "not an IP address"),
    (["gateway", "gw", "--ip", "1:2:3:4:5:6:7:8:9"], "not an IP address"),
    (["gateway", "gw", "--dns", "gw.example", "--uri", "urn:x:y"], "no such option here: --uri"),
    (["gateway", "../gw", "--dns", "gw.example"], "a name is"),
    (["gateway", "ca", "--dns", "gw.example"], "the CA's own"),
    (["client", "a", "b"], "one name only"),
    (["client", "a", "--uri", "no-scheme"], "not a URI"),
    (["client", "a", "--uri", "urn:x:y\nbasicConstraints=CA:TRUE"], "not a URI"),
    (["client", "a", "--role", "r\n[x]"], "a role is"),
    (["client", "a", "--email", "nobody"], "not a mail address"),
    (["client", "a", "--days", "0"], "number of days"),
    (["client", "a", "--days", "9999"], "the CA itself ends"),
    (["client", "a", "--not-after", "some day"], "not a date"),
    (["client", "a", "--not-after", "2020-01-01"], "--not-before"),
    (["client", "a", "--days", "3", "--not-after", "2030-01-01"], "exclude each other"),
    (["client", "a", "--legacy"], "belong to --p12"),
    (["client", "a", "--p12", "--p12-password-file", "/nonexistent"], "cannot read"),
    (["--days", "3", "client", "a"], "the command comes before"),
    (["list", "extra"], "takes no name"),
    (["revoke", "nobody"], "no valid certificate"),
    (["show", "nobody"], "nothing issued"),
    (["-d", "/nonexistent/pki", "list"], "mcseal-pki init"),
])
def test_misuse(authority, arguments, words):
    before = authority.snapshot()
    said = authority.refused(*arguments)
    assert words in said
    assert "Traceback" not in said and "line " not in said  # no bash error
    assert authority.snapshot() == before


def test_runs_at_once(authority):
    """Ten runs at once: every certificate in the books exactly once, all verify."""
    environment = dict(os.environ, MCSEAL_PKI=str(authority.directory))
    runs = [subprocess.Popen([PKI, "client", f"c{number}"], env=environment, stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE) for number in range(10)]
    same = [subprocess.Popen([PKI, "gateway", "gw", "--dns", "gw.example"], env=environment,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(3)]
    for one in runs:
        said = one.communicate(timeout=120)[1]
        assert one.returncode == 0, said
    assert sorted(one.wait(120) for one in same) == [0, 2, 2]
    rows = authority("list").stdout.splitlines()[2:]
    assert sorted(row.split()[0] for row in rows) == sorted([f"c{number}" for number in range(10)] + ["gw"])
    for number in range(10):
        authority.verify(f"c{number}", "sslclient")
    assert not list(authority.directory.glob(".staging*"))


def test_failed_run_changes_nothing(authority):
    authority.path("private/ca.key").rename(authority.path("private/elsewhere"))
    before = authority.snapshot()
    assert "signing failed" in authority.refused("client", "scada", status=3)
    assert "making the CRL failed" in authority.refused("crl", status=3)
    assert authority.snapshot() == before
    authority.path("private/elsewhere").rename(authority.path("private/ca.key"))
    authority("client", "scada")
