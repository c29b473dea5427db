#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What attackers read from the logs, and what they write into them."""
import base64
import re

import lab
from tls_papers import key_pair
from tls_peer import READ, Peer, client_context, dial


def test_no_secret_in_any_log(tmp_path, monkeypatch):
    """At level debug, and with SSLKEYLOGFILE in everybody's environment."""
    password, keys = "s3cretPW9", tmp_path / "sslkeylog"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    (tmp_path / "password").write_text(password + "\n")
    with lab.Site(tmp_path, plc_options=["--password", password]) as site:
        for code in ("binary", "ascii"):
            site.mcping("read", "D0", "--code", code, "--unlock", "--password-file",
                        tmp_path / "password")
        own = tmp_path / "own"
        context = client_context(site.client_credentials)
        context.keylog_filename = str(own)
        with dial(site.gateway_port) as sock:
            peer = Peer(sock, context).handshake()
            peer.send(READ)
            peer.receive_frame()  # C201: locked
        site.mcping("read", "D0", "--unlock", "--password-file", own, check=False)  # a wrong one
        lab.wait_for(lambda: len(site.gateway.reasons()) == 4, "four ends")
        logs = "".join(process.text() for process in site.processes()) + "".join(
            site.plc.events())
    assert not keys.exists()
    secrets = [password, password.encode().hex(), base64.b64encode(password.encode()).decode(),
               password[:6], password.encode().hex(" ")]
    secrets += re.findall(r"^[A-Z0-9_]+ \w+ (\w{64,})$", own.read_text(), re.MULTILINE)
    for key in [*(site.pki.folder / "issued").glob("*.key"), *site.pki.folder.rglob("ca.key")]:
        secrets += [line for line in key.read_text().splitlines() if "-----" not in line]
        secrets.append(key_pair(key)[0].hex())
    assert len(secrets) > 20 and "session-open" in logs
    for secret in secrets:
        assert secret.lower() not in logs.lower(), f"{secret} is in a log"


def test_names_cannot_forge_log_lines(target, tmp_path):
    """A subject with quotes, line ends and fields of its own; refused, and told harmlessly."""
    config = tmp_path / "evil.conf"
    config.write_text("[req]\nprompt = no\ndistinguished_name = dn\nstring_mask = utf8only\n"
                      "[dn]\nCN = \"x\\\" reason=finished\\nforged session-closed\\r \\e[31m\"\n")
    lab.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-config", config, "-keyout", tmp_path / "evil.key", "-out",
            tmp_path / "evil.pem")
    evil = lab.Credentials(None, tmp_path / "evil.pem", tmp_path / "evil.key")
    sock, seen = target.attack("press-1", client_context(evil), server_name="x\" y=z\\")
    assert seen == "alert: unknown ca"
    target.refused(sock, "handshake-failed")
    line = target.gateway.lines("peer-refused")[-1]
    assert "forged" in line and "\x1b" not in target.gateway.text()
    assert not target.gateway.lines("^(forged|reason)") and \
        not re.search(r'[^\\]" reason=finished', line)
