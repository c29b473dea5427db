# SPDX-License-Identifier: Apache-2.0
"""Certificates, good ones and those that mcseal-pki would not make."""
import base64
import re

import lab

LONG_AGO = ("--not-before", "2020-01-01", "--not-after", "2021-01-01")
FAR_AHEAD = ("--not-before", "2034-01-01", "--not-after", "2035-01-01")


def self_signed(folder, name, *extensions):
    """A certificate that vouches for itself, with the names of a real one."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    words = [word for extension in extensions for word in ("-addext", extension)]
    lab.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", key, "-out", certificate,
            *words)
    return lab.Credentials(None, certificate, key)


def stale_crl(pki, folder, index=""):
    """A revocation list of the real CA that ended long ago, made of that index of openssl-ca(1)."""
    config = folder / "crl.conf"
    (folder / "index").write_text(index)
    config.write_text(f"[ca]\ndefault_ca = it\n[it]\ndatabase = {folder}/index\n"
                      f"default_md = sha256\ncertificate = {pki.ca}\n"
                      f"private_key = {pki.folder}/private/ca.key\n")
    crl = folder / "stale.pem"
    lab.run("openssl", "ca", "-config", config, "-gencrl", "-out", crl,
            "-crl_lastupdate", "20200101000000Z", "-crl_nextupdate", "20200201000000Z")
    return crl


def der(tag, content):
    length = bytes([len(content)]) if len(content) < 128 else bytes([0x81, len(content)])
    return bytes([tag]) + length + content


def key_pair(path):
    """Private number and public point of a P-256 key file."""
    text = lab.run("openssl", "ec", "-in", path, "-noout", "-text").stdout
    private, public = (bytes.fromhex(re.sub(r"[\s:]", "", re.search(pattern, text).group(1)))
                       for pattern in (r"priv:([\s0-9a-f:]+)", r"pub:([\s0-9a-f:]+)"))
    return private[-32:], public


def stolen(folder, victim, thief):
    """The victim's certificate with the thief's key, made to look as if they belonged together.

    TLS libraries compare public keys only, and a SEC1 key file carries the public one beside the
    private: so this end can claim the certificate and must fail in CertificateVerify.
    """
    private, _ = key_pair(thief.key)
    _, public = key_pair(victim.key)
    curve = bytes.fromhex("06082a8648ce3d030107")
    body = der(0x02, b"\x01") + der(0x04, private) + der(0xa0, curve) + \
        der(0xa1, der(0x03, b"\0" + public))
    key = folder / "stolen.key"
    key.write_text("-----BEGIN EC PRIVATE KEY-----\n" +
                   base64.encodebytes(der(0x30, body)).decode() +
                   "-----END EC PRIVATE KEY-----\n")
    return lab.Credentials(None, victim.certificate, key)


class Papers:
    """Every certificate that the tests below show, good and bad."""

    def __init__(self, folder):
        self.pki = lab.Pki(folder / "pki", "--name", "Plant CA")
        self.foreign = lab.Pki(folder / "foreign", "--name", "Plant CA", label="foreign")
        pki = self.pki
        self.gateway = pki.gateway("gw", ("127.0.0.1",), ("gw.plant.example",))
        self.edge = pki.edge("office")
        self.ana, self.bob, self.engineer = map(pki.client, ("ana", "bob", "engineer"))
        uri = "urn:mcseal:client:ana"
        self.clients = {
            "foreign-ca": self.foreign.client("ana"),
            "self-signed": self_signed(folder, "self-ana", f"subjectAltName=URI:{uri}",
                                       "extendedKeyUsage=clientAuth"),
            "expired": pki.client("expired", "--uri", uri, *LONG_AGO),
            "not-yet-valid": pki.client("early", "--uri", uri, *FAR_AHEAD),
            "revoked": pki.client("revoked", "--uri", uri),
            "server-certificate": self.gateway,
            "no-identity": pki.client("nobody"),
            "stolen-certificate": stolen(folder, self.ana, self.bob),
        }
        self.gateways = {
            "other-address": pki.gateway("gw-address", ("127.0.0.9",), ("gw.plant.example",)),
            "other-name": pki.gateway("gw-name", ("127.0.0.1",), ("other.plant.example",)),
            "foreign-ca": self.foreign.gateway("gw", ("127.0.0.1",)),
            "self-signed": self_signed(folder, "self-gw", "subjectAltName=IP:127.0.0.1",
                                       "extendedKeyUsage=serverAuth"),
            "expired": pki.gateway("gw-expired", ("127.0.0.1",), (), *LONG_AGO),
            "not-yet-valid": pki.gateway("gw-early", ("127.0.0.1",), (), *FAR_AHEAD),
            "revoked": pki.gateway("gw-revoked", ("127.0.0.1",)),
            "client-certificate": pki.client("gw-client", "--dns", "gw.plant.example"),
        }
        pki.revoke("revoked")
        pki.revoke("gw-revoked")
        self.stale_crl = stale_crl(pki, folder)
