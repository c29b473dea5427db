#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Private keys that never leave their token: PKCS #11 by SoftHSM, through what this system's OpenSSL
has for it; and what is said when something of it is not right."""
import concurrent.futures
import os
import pathlib
import signal
import subprocess

import pytest

import lab
from tls_peer import client_context, dial

READ = lab.read_words(0, 1)
MODULE = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "481516"


class Token:
    """A token with the keys of a PKI, whose files are taken away."""

    def __init__(self, folder, monkeypatch):
        self.folder = pathlib.Path(folder)
        (self.folder / "tokens").mkdir()
        config = self.folder / "softhsm2.conf"
        config.write_text(f"directories.tokendir = {self.folder}/tokens\n"
                          "objectstore.backend = file\nlog.level = ERROR\n")
        monkeypatch.setenv("SOFTHSM2_CONF", str(config))
        self.pin = self.folder / "pin"
        self.pin.write_text(PIN + "\n")
        self.pin.chmod(0o600)
        self.tool("--init-token", "--free", "--label", "plant", "--so-pin", "00000000",
                  "--pin", PIN)
        self.count = 0

    @staticmethod
    def tool(*words):
        lab.run("softhsm2-util", *words)

    def take(self, credentials):
        """The same certificate, with its key in the token."""
        self.count += 1
        name = f"{credentials.key.stem}-{self.count}"
        plain = self.folder / "key.p8"
        lab.run("openssl", "pkcs8", "-topk8", "-nocrypt", "-in", credentials.key, "-out", plain)
        self.tool("--import", plain, "--token", "plant", "--label", name,
                  "--id", f"{self.count:02x}", "--pin", PIN)
        plain.unlink()
        credentials.key.unlink()
        return lab.Credentials(credentials.pki, credentials.certificate, self.uri(name))

    def uri(self, name, token="plant", module=MODULE, pin=None):
        return (f"pkcs11:token={token};object={name};type=private?module-path={module}"
                f"&pin-source=file:{pin or self.pin}")


class Tpm:
    """A simulated TPM 2.0 with a gateway's key that was made in it."""

    def __init__(self, folder, monkeypatch):
        self.folder = pathlib.Path(folder) / "tpm"
        self.folder.mkdir()
        port = lab.free_port()
        self.place = f"swtpm:host=127.0.0.1,port={port}"
        monkeypatch.setenv("TPM2TOOLS_TCTI", self.place)
        monkeypatch.setenv("TPM2OPENSSL_TCTI", self.place)
        self.process = lab.Process(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.folder}", "--server",
             f"type=tcp,port={port},bindaddr=127.0.0.1", "--ctrl",
             f"type=tcp,port={lab.free_port()},bindaddr=127.0.0.1", "--flags",
             "not-need-init,startup-clear"], self.folder / "swtpm.log")
        lab.wait_for(lambda: "LISTEN" in lab.run("ss", "-Htln", f"sport = :{port}").stdout, "TPM")

    def make(self, handle, *options):
        file = self.folder
        lab.run("tpm2_createprimary", "-Q", "-C", "o", "-G", "ecc", "-c", file / "primary")
        lab.run("tpm2_create", "-Q", "-C", file / "primary", "-G", "ecc256", "-u", file / "public",
                "-r", file / "private", *options)
        lab.run("tpm2_flushcontext", "-t")
        lab.run("tpm2_load", "-Q", "-C", file / "primary", "-u", file / "public", "-r",
                file / "private", "-c", file / "key")
        lab.run("tpm2_evictcontrol", "-Q", "-C", "o", "-c", file / "key", handle)
        lab.run("tpm2_flushcontext", "-t")

    def request(self, handle, secret):
        """Signed by the key, as docs/mcseald.conf.md has it."""
        request = self.folder / "gw.csr"
        words = ("-passin", f"pass:{secret}") if secret else ()
        lab.run("openssl", "req", "-provider", "tpm2", "-provider", "default", "-propquery",
                "?provider=tpm2,tpm2.digest!=yes,tpm2.cipher!=yes", "-new", "-subj", "/CN=gw", "-key",
                f"handle:{handle}" + ("?pass" if secret else ""), "-out", request, *words)
        return request


class TokenPki:
    """lab.Pki, as a site uses it, with the keys of gateway and edge in a token."""

    def __init__(self, pki, token, *options):
        self.pki, self.token, self.options = pki, token, options

    def __getattr__(self, name):
        return getattr(self.pki, name)

    def gateway(self):
        return self.token.take(self.pki.gateway("gw", ("127.0.0.1",), (), *self.options))

    def edge(self, name):
        return self.token.take(self.pki.edge(name, *self.options))


@pytest.fixture
def token(tmp_path, monkeypatch):
    return Token(tmp_path, monkeypatch)


def check(folder, credentials, key=None):
    """What mcseald --check says of a gateway with that key: exit status and text."""
    config = folder / "check.conf"
    config.write_text(f"""mark = 0
plc "press" {{ address = "127.0.0.1" port "5007" {{ }} }}
identity "ana" {{ match = "uri:urn:mcseal:client:ana" plcs = "press" }}
gateway "plant" {{ listen = "127.0.0.1:{lab.free_port()}"
	plc = "press"
	{lab.Credentials(credentials.pki, credentials.certificate, key or credentials.key).config()} }}
""")
    result = subprocess.run([lab.BUILD / "mcseald", "--check", config], capture_output=True,
                            text=True, check=False, timeout=20 * lab.PATIENCE,
                            stdin=subprocess.DEVNULL)
    return result.returncode, result.stderr


def ask_over_tls(site):
    context = client_context(site.client_credentials)
    with context.wrap_socket(dial(site.gateway_port)) as sock:
        sock.sendall(READ)
        return lab.receive_frame(sock)[9:11]


@pytest.mark.parametrize("options", [(), ("--rsa",)], ids=["ec", "rsa"])
def test_both_ends_with_keys_in_a_token(tmp_path, token, options):
    """Handshakes, many at once, after a reload, too; and no key lies in any file."""
    with lab.Site(tmp_path, pki=TokenPki(lab.Pki(tmp_path / "pki"), token, *options)) as site:
        with site.connect() as sock:
            sock.sendall(READ)
            assert lab.receive_frame(sock)[9:11] == b"\0\0"
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: ask_over_tls(site), range(40)))
        assert set(answers) == {b"\0\0"}
        for daemon in (site.gateway, site.edge):
            os.kill(daemon.pid, signal.SIGHUP)
            lab.wait_for(lambda one=daemon: one.lines(r"\breloaded\b"), "reloaded", 10)
        with site.connect() as sock:
            sock.sendall(READ)
            assert lab.receive_frame(sock)[9:11] == b"\0\0"
        assert not (site.pki.folder / "issued" / "gw.key").exists()
        assert "session-open" in site.edge.text() and "resumed=no" in site.edge.text()


def test_file_uri(tmp_path):
    """A path in other words: the checks of files count."""
    mine = lab.Pki(tmp_path / "pki").gateway()
    assert check(tmp_path, mine, f"file:{mine.key}")[0] == 0
    assert check(tmp_path, mine, f"file://{mine.key}")[0] == 0
    mine.key.chmod(0o640)
    status, text = check(tmp_path, mine, f"file:{mine.key}")
    assert status == 1 and "is open to group or others (mode 0640)" in text


def test_wrong_pin(tmp_path, token):
    """Said as what it is; the right one is good afterwards."""
    mine = token.take(lab.Pki(tmp_path / "pki").gateway())
    assert check(tmp_path, mine)[0] == 0
    token.pin.write_text("999999\n")
    status, text = check(tmp_path, mine)
    assert status == 1 and "the PIN is wrong: see the file that pin-source names" in text
    assert "999999" not in text
    token.pin.write_text(PIN)
    assert check(tmp_path, mine)[0] == 0


@pytest.mark.parametrize("change, told", [
    (("object=gw-1", "object=other"), "no such token or key"),
    (("token=plant", "token=other"), "no such token or key"),
    ((MODULE, "/usr/lib/softhsm/none.so"), "is its package installed?"),
    ((MODULE, "/etc/passwd"), "error: gateway \"plant\": no key by this URI"),
    (("pin-source=file:", "pin-value="), "expected pin-source=file:/..."),
    (("/pin", "/no-pin"), "cannot read"),
    (("pin-source=file:", "nothing="), "the PIN is missing"),
], ids=["object", "token", "module", "no-module", "pin-value", "pin-file", "no-pin"])
def test_what_is_not_there(tmp_path, token, change, told):
    mine = token.take(lab.Pki(tmp_path / "pki").gateway())
    status, text = check(tmp_path, mine, mine.key.replace(*change))
    assert status == 1 and told in text, text
    assert PIN not in text


def test_pin_file_of_others(tmp_path, token):
    mine = token.take(lab.Pki(tmp_path / "pki").gateway())
    token.pin.chmod(0o644)
    status, text = check(tmp_path, mine)
    assert status == 1 and "is open to group or others (mode 0644)" in text


def test_key_of_another_certificate(tmp_path, token):
    pki = lab.Pki(tmp_path / "pki")
    mine, other = pki.gateway(), token.take(pki.edge("office"))
    status, text = check(tmp_path, mine, other.key)
    assert status == 1 and "not the key of the certificate" in text



def test_confined(tmp_path, tmp_path_factory, monkeypatch):
    """Landlock lets the daemon read the PIN again, wherever it is, and use the token."""
    elsewhere = tmp_path_factory.mktemp("token")
    token = Token(elsewhere, monkeypatch)
    token.pin = tmp_path_factory.mktemp("pin") / "pin"
    token.pin.write_text(PIN)
    token.pin.chmod(0o600)
    head = f'confine_folders = {{ "{elsewhere}" }}'
    with lab.Site(tmp_path, pki=TokenPki(lab.Pki(tmp_path / "pki"), token), head=head) as site:
        for _ in range(2):
            assert ask_over_tls(site) == b"\0\0"
            count = len(site.gateway.lines(r"\breloaded\b"))
            os.kill(site.gateway.pid, signal.SIGHUP)
            lab.wait_for(lambda was=count: len(site.gateway.lines(r"\breloaded\b")) > was,
                         "reloaded", 10)


# --- a TPM 2.0 ---------------------------------------------------------------------------------------


@pytest.fixture
def tpm(tmp_path, monkeypatch):
    it = Tpm(tmp_path, monkeypatch)
    yield it
    it.process.stop()


class TpmPki(TokenPki):
    """The gateway's key was made in a TPM and stays there."""

    def gateway(self):
        secret, extra = self.options
        self.token.make("0x81000001", *(("-p", secret) if secret else ()))
        request = self.token.request("0x81000001", secret)
        mine = self.pki.gateway("gw", ("127.0.0.1",), (), "--csr", request)
        assert not mine.key.exists()
        return lab.Credentials(self.pki, mine.certificate, f"handle:0x81000001{extra}")

    def edge(self, name):
        return self.pki.edge(name)


@pytest.mark.parametrize("secret", [None, "open sesame"], ids=["open", "with-a-secret"])
def test_key_in_a_tpm(tmp_path, tpm, secret):
    """Handshakes of both kinds of client, many at once, before and after a reload."""
    extra = ""
    if secret:
        pin = tmp_path / "tpm-pin"
        pin.write_text(secret + "\n")
        pin.chmod(0o600)
        extra = f"?pin-source=file:{pin}"
    pki = TpmPki(lab.Pki(tmp_path / "pki", label="tpm"), tpm, secret, extra)
    with lab.Site(tmp_path, pki=pki) as site:
        for _ in range(2):
            with concurrent.futures.ThreadPoolExecutor(4) as threads:
                answers = list(threads.map(lambda _: ask_over_tls(site), range(12)))
            assert set(answers) == {b"\0\0"}
            with site.connect() as sock:
                sock.sendall(READ)
                assert lab.receive_frame(sock)[9:11] == b"\0\0"
            count = len(site.gateway.lines(r"\breloaded\b"))
            os.kill(site.gateway.pid, signal.SIGHUP)
            lab.wait_for(lambda was=count: len(site.gateway.lines(r"\breloaded\b")) > was,
                         "reloaded", 10)


def test_no_such_handle(tmp_path, tpm):
    mine = lab.Pki(tmp_path / "pki").gateway()
    status, text = check(tmp_path, mine, "handle:0x81000009")
    assert status == 1 and "no such key there" in text, text
