#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""tls_profile: what each one agrees to and refuses, probed with OpenSSL's client piece by piece, and
listed by an outside scanner."""
import contextlib
import re
import subprocess

import pytest

import asked
import lab

SUITES_13 = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
             "TLS_AES_128_CCM_SHA256")
SUITES_12 = ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305", "AES128-SHA256",
             "AES256-SHA")
GROUPS = ("X25519", "P-256", "P-384", "P-521", "X448", "ffdhe2048")
AES = {"AES128-GCM-SHA256", "AES256-GCM-SHA384"}
AES_13 = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"}

# By profile: suites of 1.3, of 1.2 (behind ECDHE-ECDSA- or ECDHE-RSA-), groups, RSA signatures.
PROFILES = {
    "compatible": (AES_13 | {SUITES_13[2]}, AES | {"CHACHA20-POLY1305"},
                   {"X25519", "P-256", "P-384"}, {"RSA+SHA256", "RSA-PSS+SHA256"}),
    "nist": (AES_13, AES, {"P-256", "P-384", "P-521"}, {"RSA+SHA256", "RSA-PSS+SHA256"}),
    "bsi-2026": (AES_13, AES, {"P-256", "P-384", "P-521"}, {"RSA-PSS+SHA256"}),
    "ipa-high": (AES_13 | {SUITES_13[2]}, set(), {"X25519", "P-256", "P-384"}, set()),
}


class Range:
    """A gateway with a listener for each profile and kind of key: `ports`, by both."""

    def __init__(self, folder, kinds=("ecdsa", "rsa"), pki=None, profiles=tuple(PROFILES)):
        self.pki = pki or lab.Pki(folder / "pki")
        papers = {"ecdsa": lambda: self.pki.gateway("gw"),
                  "rsa": lambda: self.pki.gateway("gw-rsa", ("127.0.0.1",), (), "--rsa")}
        papers = {kind: papers[kind]() for kind in kinds}
        self.client = self.pki.client("ana")
        self.ports = {(profile, kind): lab.free_port() for profile in profiles
                      for kind in kinds}
        gateways = "".join(f"""
gateway "{profile}-{kind}" {{ listen = "127.0.0.1:{port}"
	plc = "press"
	tls_profile = {profile}
	{papers[kind].config()} }}
""" for (profile, kind), port in self.ports.items())
        self.daemon = lab.Daemon(folder, f"""mark = 0
plc "press" {{ address = "127.0.0.1" port "5007" {{ }} }}
identity "ana" {{ match = "uri:urn:mcseal:client:ana" plcs = "press" }}
{gateways}""")

    def agrees(self, profile, kind, *words):
        """Does a handshake of s_client with these words come about?"""
        result = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{self.ports[profile, kind]}",
             "-CAfile", self.pki.ca, "-cert", self.client.certificate, "-key", self.client.key,
             *words], input="", capture_output=True, text=True, check=False,
            timeout=20 * lab.PATIENCE)
        return "Cipher is (NONE)" not in result.stdout and "Verify return code: 0" in result.stdout


@pytest.fixture
def hosts(tmp_path):
    it = Range(tmp_path)
    with lab.stopping(it.daemon):
        yield it


@pytest.mark.parametrize("profile", PROFILES)
def test_versions(hosts, profile):
    _, suites_12, _, _ = PROFILES[profile]
    found = {version for version in ("-tls1", "-tls1_1", "-tls1_2", "-tls1_3")
             if hosts.agrees(profile, "ecdsa", version, "-cipher", "ALL:@SECLEVEL=0")}
    assert found == ({"-tls1_2", "-tls1_3"} if suites_12 else {"-tls1_3"})


@pytest.mark.parametrize("profile", PROFILES)
def test_suites(hosts, profile):
    expected, expected_12, _, _ = PROFILES[profile]
    assert {suite for suite in SUITES_13
            if hosts.agrees(profile, "ecdsa", "-tls1_3", "-ciphersuites", suite)} == expected
    for kind in ("ecdsa", "rsa"):
        assert {suite for suite in SUITES_12
                if hosts.agrees(profile, kind, "-tls1_2", "-cipher",
                                f"ECDHE-{kind.upper()}-{suite}:@SECLEVEL=0")} == expected_12
    # Key exchange without forward secrecy is in none.
    assert not hosts.agrees(profile, "rsa", "-tls1_2", "-cipher", "AES128-GCM-SHA256")


@pytest.mark.parametrize("profile", PROFILES)
def test_groups(hosts, profile):
    _, suites_12, expected, _ = PROFILES[profile]
    for version in ("-tls1_3", "-tls1_2") if suites_12 else ("-tls1_3",):
        # In TLS 1.2 the curves of certificates have to be in the list as well: RSA has none.
        groups = {group for group in GROUPS
                  if hosts.agrees(profile, "rsa", version, "-groups", group)}
        assert groups == expected, version


@pytest.mark.parametrize("profile", PROFILES)
def test_signatures(hosts, profile):
    """Of TLS 1.2, where RSA PKCS #1 is still to be had; and SHA-1 in none."""
    _, _, _, expected = PROFILES[profile]
    found = {name for name in ("RSA+SHA256", "RSA-PSS+SHA256", "RSA+SHA1")
             if hosts.agrees(profile, "rsa", "-tls1_2", "-sigalgs",
                             f"{name}:ECDSA+SHA256", "-cipher", "ALL:@SECLEVEL=0")}
    assert found == expected


@pytest.mark.parametrize("profile", PROFILES)
def test_an_outside_scanner_finds_the_same(hosts, profile):
    """sslscan. Its hello of TLS 1.2 is without the extended master secret: none is made of that."""
    expected, suites_12, groups, _ = PROFILES[profile]
    port = hosts.ports[profile, "ecdsa"]
    text = lab.run("sslscan", "--no-colour", f"--certs={hosts.client.certificate}",
                   f"--pk={hosts.client.key}", f"127.0.0.1:{port}").stdout
    accepted = set(re.findall(r"^(?:Accepted|Preferred)\s+(TLSv1\.\d)\s+\d+ bits\s+(\S+)", text,
                              re.MULTILINE))
    assert accepted == {("TLSv1.3", suite) for suite in expected}, text
    for old in ("SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.2"):
        assert re.search(rf"^{old}\s+disabled", text, re.MULTILINE), text
    assert bool(hosts.daemon.lines("without the extended master secret")) == bool(suites_12)
    names = {"secp256r1 (NIST P-256)": "P-256", "secp384r1 (NIST P-384)": "P-384",
             "secp521r1 (NIST P-521)": "P-521", "x25519": "X25519"}
    found = re.findall(r"^TLSv1\.3\s+\d+ bits\s+(\S.*?)\s*$", text, re.MULTILINE)
    assert {names.get(name, name) for name in found} == groups, text
    assert "Session renegotiation not supported" in text
    assert "TLSv1.3 not vulnerable to heartbleed" in text


@pytest.mark.parametrize("profile", PROFILES)
def test_another_library_finds_the_same(hosts, profile):
    """GnuTLS: versions and ciphers."""
    expected_13, expected_12, _, _ = PROFILES[profile]
    ciphers = {"AES-128-GCM": ("TLS_AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
               "AES-256-GCM": ("TLS_AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
               "CHACHA20-POLY1305": ("TLS_CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
               "AES-128-CCM": ("TLS_AES_128_CCM_SHA256", "AES128-CCM"),
               "AES-128-CBC": (None, "AES128-SHA256")}
    for cipher, (suite_13, suite_12) in ciphers.items():
        for version, good in (("1.3", suite_13 in expected_13), ("1.2", suite_12 in expected_12)):
            result = subprocess.run(
                ["gnutls-cli", "--port", str(hosts.ports[profile, "ecdsa"]),
                 f"--x509cafile={hosts.pki.ca}", f"--x509certfile={hosts.client.certificate}",
                 f"--x509keyfile={hosts.client.key}", "--priority",
                 f"NORMAL:-VERS-ALL:+VERS-TLS{version}:-CIPHER-ALL:+{cipher}", "127.0.0.1"],
                input="", capture_output=True, text=True, check=False,
                timeout=20 * lab.PATIENCE)
            assert ("Handshake was completed" in result.stdout) == good, \
                (cipher, version, result.stdout, result.stderr)


def short_key(pki, folder, kind):
    """A certificate of the CA with an RSA key of 2048 bits."""
    key, request = folder / f"{kind}.key", folder / f"{kind}.csr"
    lab.run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=short",
            "-keyout", key, "-out", request)
    key.chmod(0o600)
    words = ("--ip", "127.0.0.1") if kind == "gateway" else ("--uri", "urn:mcseal:client:ana")
    pki.tool(kind, f"short-{kind}", *words, "--csr", request)
    return lab.Credentials(pki, pki.folder / "issued" / f"short-{kind}.pem", key)


@pytest.mark.parametrize("profile", PROFILES)
def test_short_keys(tmp_path, profile):
    """Of ours an error, of a peer's a refusal; where 112 bits of security will do, neither."""
    pki = lab.Pki(tmp_path / "pki")
    enough = profile in ("compatible", "nist")
    mine, peer = short_key(pki, tmp_path, "gateway"), short_key(pki, tmp_path, "client")
    it = Range(tmp_path, ("ecdsa",), pki, (profile,))
    with lab.stopping(it.daemon):
        it.client = peer
        # TLS 1.3: the client's side is done before it is judged; the log has the verdict.
        it.agrees(profile, "ecdsa")
        if enough:
            lab.wait_for(lambda: it.daemon.lines("session-closed"), "the end")
            assert "too weak" not in it.daemon.text()
        else:
            lab.wait_for(lambda: it.daemon.lines("EE certificate key too weak"), "the refusal")
        text = it.daemon.config.read_text()
        config = tmp_path / "short.conf"
        config.write_text(re.sub(r'certificate = "\S+"', f'certificate = "{mine.certificate}"',
                                 re.sub(r'key = "\S+"', f'key = "{mine.key}"', text)))
        result = subprocess.run([lab.BUILD / "mcseald", "--check", config], capture_output=True,
                                text=True, check=False, timeout=20 * lab.PATIENCE)
    assert result.returncode == (0 if enough else 1), result.stderr
    if not enough:
        assert f"its key of 2048 bits is too short for tls_profile = {profile}" in result.stderr


@pytest.mark.parametrize("profile", PROFILES)
def test_both_ends_of_ours(tmp_path, profile):
    """The profile of the top level, resumption too; status tells it."""
    with asked.Site(tmp_path, head=f"tls_profile = {profile}") as site:
        for _ in range(2):
            with contextlib.closing(site.connect()) as sock:
                sock.sendall(lab.read_words(0, 1))
                assert lab.receive_frame(sock)[9:11] == b"\0\0"
        assert site.edge.lines("session-open.* resumed=yes")
        for socket in (site.control, site.edge_control):
            text = asked.mcseal("--socket", socket, "status").stdout
            assert f"(tls_profile = {profile})" in text
            assert ("TLS 1.2, 1.3" in text) == bool(PROFILES[profile][1])
