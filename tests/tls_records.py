# SPDX-License-Identifier: Apache-2.0
"""TLS 1.3 records that no TLS library would make."""
import hmac
import re
import struct

from tls_peer import TLS13, Peer, client_context


def aes128(key):
    """FIPS 197, written down as it stands there; slow, and secret from nobody here."""
    def double(x):
        return (x << 1) ^ (0x11b if x & 0x80 else 0)
    box, p, q = [0x63] + [0] * 255, 1, 1
    while True:
        p ^= double(p) & 0xff
        for shift in (1, 2, 4):
            q ^= q << shift & 0xff
        q ^= 0x09 if q & 0x80 else 0
        turned = [q << n & 0xff | q >> 8 - n for n in (1, 2, 3, 4)]
        box[p] = q ^ turned[0] ^ turned[1] ^ turned[2] ^ turned[3] ^ 0x63
        if p == 1:
            break
    words, rcon = [list(key[i:i + 4]) for i in range(0, 16, 4)], 1
    for i in range(4, 44):
        word = list(words[i - 1])
        if i % 4 == 0:
            word = [box[b] for b in word[1:] + word[:1]]
            word[0] ^= rcon
            rcon = double(rcon)
        words.append([a ^ b for a, b in zip(words[i - 4], word)])
    keys = [sum(words[i:i + 4], []) for i in range(0, 44, 4)]

    def encrypt(block):
        state = [a ^ b for a, b in zip(block, keys[0])]
        for number in range(1, 11):
            state = [box[state[(i + 4 * (i % 4)) % 16]] for i in range(16)]
            if number < 10:
                mixed = []
                for c in range(0, 16, 4):
                    a = state[c:c + 4]
                    mixed += [double(a[i]) ^ double(a[(i + 1) % 4]) ^ a[(i + 1) % 4] ^
                              a[(i + 2) % 4] ^ a[(i + 3) % 4] for i in range(4)]
                state = mixed
            state = [(a ^ b) & 0xff for a, b in zip(state, keys[number])]
        return bytes(state)
    return encrypt


def gcm_seal(encrypt, nonce, plain, associated):
    """NIST SP 800-38D; `plain` sealed, with its tag."""
    def times(x, y):
        z = 0
        for bit in range(127, -1, -1):
            z ^= y if x >> bit & 1 else 0
            y = y >> 1 ^ (0xe1 << 120 if y & 1 else 0)
        return z

    def padded(data):
        return data + bytes(-len(data) % 16)
    stream = b"".join(encrypt(nonce + struct.pack(">I", 2 + n))
                      for n in range((len(plain) + 15) // 16))
    cipher = bytes(a ^ b for a, b in zip(plain, stream))
    key, tag = int.from_bytes(encrypt(bytes(16)), "big"), 0
    hashed = padded(associated) + padded(cipher) + struct.pack(">QQ", 8 * len(associated),
                                                                8 * len(cipher))
    for at in range(0, len(hashed), 16):
        tag = times(tag ^ int.from_bytes(hashed[at:at + 16], "big"), key)
    mask = int.from_bytes(encrypt(nonce + b"\0\0\0\1"), "big")
    return cipher + (tag ^ mask).to_bytes(16, "big")


class Forger:
    """A TLS 1.3 client that after its handshake seals whatever it likes (RFC 8446 5.2, 7.3)."""

    def __init__(self, sock, credentials, keylog, alpn=None):
        context = client_context(credentials, TLS13, alpn)
        keylog.unlink(missing_ok=True)
        context.keylog_filename = str(keylog)
        self.sock = sock
        self.peer = Peer(sock, context).handshake()
        assert self.peer.tls.cipher()[0] == "TLS_AES_128_GCM_SHA256"
        self.use(bytes.fromhex(re.search(r"CLIENT_TRAFFIC_SECRET_0 \w+ (\w+)",
                                         keylog.read_text()).group(1)))

    def expand(self, label, size):
        label = b"tls13 " + label
        info = struct.pack(">HB", size, len(label)) + label + b"\0\1"
        return hmac.digest(self.secret, info, "sha256")[:size]

    def use(self, secret):
        self.secret, self.number = secret, 0
        self.encrypt, self.iv = aes128(self.expand(b"key", 16)), self.expand(b"iv", 12)

    def seal(self, content, kind=23, padding=0):
        inner = content + bytes([kind]) + bytes(padding)
        header = b"\x17\x03\x03" + struct.pack(">H", len(inner) + 16)
        nonce = (int.from_bytes(self.iv, "big") ^ self.number).to_bytes(12, "big")
        self.number += 1
        return header + gcm_seal(self.encrypt, nonce, inner, header)

    def key_update(self, request=1):
        record = self.seal(b"\x18\0\0\1" + bytes([request]), 22)
        self.use(self.expand(b"traffic upd", 32))
        return record
