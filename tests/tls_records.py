# SPDX-License-Identifier: Apache-2.0
"""TLS records that no TLS library would make."""
import ctypes
import functools
import hmac
import re
import struct

from tls_peer import TLS13, Peer, client_context

DATA, HANDSHAKE, ALERT = 23, 22, 21


class Suite:
    """Of a cipher suite, by OpenSSL's name: AEAD and hash."""

    def __init__(self, name):
        self.hash = "sha384" if name.endswith("SHA384") else "sha256"
        self.aead, self.key_size = next(row for row in (
            ("aes_128_gcm", 16), ("aes_256_gcm", 32), ("chacha20_poly1305", 32))
            if row[0].replace("_", "") in name.lower().replace("_", "").replace("-", ""))
        # RFC 5288 3: four bytes of the nonce are secret and eight travel with the record.
        self.implicit_12 = 12 if self.aead.startswith("chacha") else 4


@functools.cache
def libcrypto():
    library = ctypes.CDLL("libcrypto.so.3")
    for name in ("aes_128_gcm", "aes_256_gcm", "chacha20_poly1305", "CIPHER_CTX_new"):
        getattr(library, f"EVP_{name}").restype = ctypes.c_void_p
    return library


def aead_seal(aead, key, nonce, plain, associated):
    """RFC 5116: `plain` sealed, with its tag."""
    library, size = libcrypto(), ctypes.c_int()
    context = ctypes.c_void_p(library.EVP_CIPHER_CTX_new())
    cipher = ctypes.c_void_p(getattr(library, f"EVP_{aead}")())
    sealed, tag = ctypes.create_string_buffer(len(plain) + 16), ctypes.create_string_buffer(16)
    good = library.EVP_EncryptInit_ex(context, cipher, None, key, nonce) and \
        library.EVP_EncryptUpdate(context, None, ctypes.byref(size), associated,
                                  len(associated)) and \
        library.EVP_EncryptUpdate(context, sealed, ctypes.byref(size), plain, len(plain)) and \
        library.EVP_EncryptFinal_ex(context, tag, ctypes.byref(size)) and \
        library.EVP_CIPHER_CTX_ctrl(context, 0x10, 16, tag)  # EVP_CTRL_AEAD_GET_TAG
    library.EVP_CIPHER_CTX_free(context)
    assert good == 1, f"libcrypto: {aead}"
    return sealed.raw[:len(plain)] + tag.raw


def expand_label(digest, secret, label, size):
    """HKDF-Expand-Label with an empty context (RFC 8446 7.1), up to one block of the hash."""
    label = b"tls13 " + label
    info = struct.pack(">HB", size, len(label)) + label + b"\0\1"
    return hmac.digest(secret, info, digest)[:size]


def pseudorandom(digest, secret, seed, size):
    """TLS 1.2's PRF (RFC 5246 5); `seed` with its label."""
    out, a = b"", seed
    while len(out) < size:
        a = hmac.digest(secret, a, digest)
        out += hmac.digest(secret, a + seed, digest)
    return out[:size]


class Records13:
    """One direction's records of TLS 1.3 (RFC 8446 5.2, 7.3), from its traffic secret."""

    def __init__(self, suite, secret):
        self.suite = suite
        self.use(secret)

    def use(self, secret):
        self.secret, self.number = secret, 0
        self.key = expand_label(self.suite.hash, secret, b"key", self.suite.key_size)
        self.iv = int.from_bytes(expand_label(self.suite.hash, secret, b"iv", 12), "big")

    def seal(self, content, kind=DATA, padding=0):
        inner = content + bytes([kind]) + bytes(padding)
        header = b"\x17\x03\x03" + struct.pack(">H", len(inner) + 16)
        nonce = (self.iv ^ self.number).to_bytes(12, "big")
        self.number += 1
        return header + aead_seal(self.suite.aead, self.key, nonce, inner, header)

    def next_keys(self):
        self.use(expand_label(self.suite.hash, self.secret, b"traffic upd", len(self.secret)))

    def key_update(self, request=1):
        record = self.seal(b"\x18\0\0\1" + bytes([request]), HANDSHAKE)
        self.next_keys()
        return record


class Records12:
    """One direction's records of TLS 1.2 with AEAD (RFC 5246 6.2.3.3, 5288, 7905)."""

    def __init__(self, suite, master, client_random, server_random, server_side):
        self.suite, self.number = suite, 1  # Finished was 0
        each, salt = suite.key_size, suite.implicit_12
        block = pseudorandom(suite.hash, master, b"key expansion" + server_random + client_random,
                             2 * each + 2 * salt)
        self.key = block[each * server_side:][:each]
        self.salt = block[2 * each + salt * server_side:][:salt]

    def seal(self, content, kind=DATA):
        number = struct.pack(">Q", self.number)
        associated = number + struct.pack(">BHH", kind, 0x303, len(content))
        explicit, nonce = number, self.salt + number
        if len(self.salt) == 12:
            mixed = int.from_bytes(self.salt, "big") ^ self.number
            explicit, nonce = b"", mixed.to_bytes(12, "big")
        sealed = explicit + aead_seal(self.suite.aead, self.key, nonce, content, associated)
        self.number += 1
        return struct.pack(">BHH", kind, 0x303, len(sealed)) + sealed


class Forger:
    """One end of TLS that after its handshake seals whatever it likes.

    Opening is left to the TLS library, of which `peer` is: it follows KeyUpdates of the other
    side, but must not be asked for one, because what it would send has the wrong keys by then.
    """

    def __init__(self, sock, credentials, keylog, alpn=None, context=None, server_side=False):
        context = context or client_context(credentials, TLS13, alpn)
        keylog.unlink(missing_ok=True)
        context.keylog_filename = str(keylog)
        self.sock = sock
        self.peer = Peer(sock, context, server_side).handshake()
        lines = keylog.read_text()
        suite = Suite(self.peer.tls.cipher()[0])
        if self.peer.tls.version() == "TLSv1.3":
            secret = re.search(rf"{'SERVER' if server_side else 'CLIENT'}_TRAFFIC_SECRET_0 \w+ "
                               r"(\w+)", lines).group(1)
            self.records = Records13(suite, bytes.fromhex(secret))
            return
        client_random, master = map(bytes.fromhex, re.search(r"CLIENT_RANDOM (\w+) (\w+)",
                                                             lines).groups())
        hello = self.peer.first_sent if server_side else self.peer.first_received
        assert hello[0] == HANDSHAKE and hello[5] == 2, "no ServerHello"
        self.records = Records12(suite, master, client_random, hello[11:43], server_side)

    def seal(self, *words, **options):
        return self.records.seal(*words, **options)

    def key_update(self, request=1):
        return self.records.key_update(request)
