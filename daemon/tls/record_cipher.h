/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One direction's records made or opened in user space: RFC 8446 5.2 to 5.4; in TLS 1.2 RFC 5246
 * 6.2.3.3 with RFC 5288 (AES-GCM) and RFC 7905 (ChaCha20-Poly1305). No socket, no state but the
 * key and the number of the next record.
 */
#ifndef MCSEAL_TLS_RECORD_CIPHER_H
#define MCSEAL_TLS_RECORD_CIPHER_H

#include "tls/traffic_keys.h"

#define RECORD_HEADER     5
/* Largest expansion of one record: header 5, nonce 8, inner type 1, tag 16. */
#define RECORD_OVERHEAD   32
/* Bytes of the longest record that is read: RFC 8446 5.2, the larger of the two. */
#define RECORD_SEALED_MAX (16384 + 256)

/* Zero-initialised: no key yet. Only record_cipher.c writes the fields. */
struct record_cipher {
	struct evp_cipher_ctx_st *context; /* holds the key; OpenSSL wipes it */
	uint64_t sequence;                 /* number of the next record: under this key, so many */
	uint8_t iv[12];
	uint16_t version;
	uint8_t cipher;
};

/*
 * The key of a direction, in place of the one before. `keys` may be wiped afterwards. 0; -ENOMEM;
 * -EIO: this OpenSSL does not have the cipher. On failure the key before is in force no more.
 */
int record_cipher_set(struct record_cipher *cipher, const struct traffic_keys *keys, bool sealing);
/* Wipes. */
void record_cipher_deinit(struct record_cipher *cipher);

/*
 * Makes one record of `size` <= RECORD_MAX bytes at `record`, which has room for RECORD_OVERHEAD
 * bytes more. > 0: the record's size; -EIO.
 */
int record_cipher_seal(struct record_cipher *cipher, uint8_t type, const uint8_t *bytes,
		       size_t size, uint8_t *record);
/*
 * What the RECORD_HEADER bytes at `header` announce. > 0: the size of the whole record, header
 * included. -EINVAL: no header of this version; -EMSGSIZE: longer than any record; -ENOTTY: of a
 * type that may not come unprotected (TLS 1.3); -EBADMSG: too short to be sealed.
 */
int record_cipher_judge_header(const struct record_cipher *cipher, const uint8_t *header);
/*
 * Opens a whole record of a judged header. `bytes` has room for RECORD_SEALED_MAX. >= 0: bytes of
 * content, with *type. -EBADMSG: not sealed with this key and number; -EMSGSIZE: more content than
 * a record holds; -EPROTO: no content type in it (TLS 1.3).
 */
int record_cipher_open(struct record_cipher *cipher, const uint8_t *record, size_t size,
		       uint8_t *bytes, uint8_t *type);

#endif
