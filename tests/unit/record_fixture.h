/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record layer of a few lines, apart from OpenSSL's and the kernel's: what tests check keys and
 * sequence numbers with. RFC 8446 5.2 and 5.3; for TLS 1.2 RFC 5246 6.2.3.3, RFC 5288 3, RFC
 * 7905 2.
 */
#ifndef MCSEAL_TESTS_RECORD_FIXTURE_H
#define MCSEAL_TESTS_RECORD_FIXTURE_H

#include "tls/traffic_keys.h"

#include "base/bytes.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

#define RECORD_HEADER 5
#define RECORD_TAG    16
#define RECORD_ROOM   (16384 + 256 + RECORD_HEADER)

static inline const EVP_CIPHER *record_cipher(enum traffic_cipher cipher)
{
	switch (cipher) {
	case TRAFFIC_AES_128_GCM:
		return EVP_aes_128_gcm();
	case TRAFFIC_AES_256_GCM:
		return EVP_aes_256_gcm();
	default:
		return EVP_chacha20_poly1305();
	}
}

static inline void record_number(uint64_t sequence, uint8_t bytes[8])
{
	for (int i = 7; i >= 0; i--, sequence >>= 8)
		bytes[i] = (uint8_t)sequence;
}

/* Bytes of a nonce in front of the ciphertext. */
static inline size_t record_explicit(const struct traffic_keys *keys)
{
	bool gcm = keys->cipher != TRAFFIC_CHACHA20_POLY1305;

	return keys->version == TRAFFIC_TLS_1_2 && gcm ? 8 : 0;
}

static inline void record_nonce(const struct traffic_keys *keys, const uint8_t *explicit_nonce,
				uint8_t nonce[12])
{
	uint8_t number[8];

	memcpy(nonce, keys->iv, 12);
	if (explicit_nonce != NULL) {
		memcpy(nonce + 4, explicit_nonce, 8);
		return;
	}
	record_number(keys->sequence, number);
	for (int i = 0; i < 8; i++)
		nonce[4 + i] ^= number[i];
}

static inline size_t record_associated(const struct traffic_keys *keys, uint8_t type,
				       size_t plain_size, size_t body_size, uint8_t bytes[13])
{
	const uint8_t header[] = {type, 3, 3};
	size_t at = 0;

	if (keys->version == TRAFFIC_TLS_1_2) {
		record_number(keys->sequence, bytes);
		at = 8;
	}
	memcpy(bytes + at, header, sizeof(header));
	put_be16(bytes + at + 3, (uint16_t)(at == 0 ? body_size : plain_size));
	return at + RECORD_HEADER;
}

/* Seals or opens `size` bytes; the tag stands behind the ciphertext. */
static inline bool record_transform(const struct traffic_keys *keys, bool seal,
				    const uint8_t nonce[12], const uint8_t *associated,
				    size_t associated_size, const uint8_t *in, size_t size,
				    uint8_t *out, uint8_t *tag)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	int moved = 0, last = 0;
	bool done;

	done = EVP_CipherInit_ex(context, record_cipher(keys->cipher), NULL, keys->key, nonce,
				 seal) == 1;
	if (!seal)
		EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, RECORD_TAG, tag);
	done = done &&
	       EVP_CipherUpdate(context, NULL, &moved, associated, (int)associated_size) == 1 &&
	       EVP_CipherUpdate(context, out, &moved, in, (int)size) == 1 &&
	       EVP_CipherFinal_ex(context, out + moved, &last) == 1;
	if (done && seal)
		EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, RECORD_TAG, tag);
	EVP_CIPHER_CTX_free(context);
	return done;
}

/* Size of a whole record that begins at `record`, header included. */
static inline size_t record_size(const uint8_t *record)
{
	return RECORD_HEADER + get_be16(record + 3);
}

/*
 * Opens the whole record at `record` as number keys->sequence, which is counted up. Returns the
 * size of its content, -1: it does not open. *type is the content type inside.
 */
static inline int record_open(struct traffic_keys *keys, const uint8_t *record, uint8_t *plain,
			      uint8_t *type)
{
	size_t before = record_explicit(keys), body = get_be16(record + 3);
	size_t associated_size, size = body - before - RECORD_TAG;
	const uint8_t *sealed = record + RECORD_HEADER + before;
	uint8_t nonce[12], associated[13], tag[RECORD_TAG];

	*type = 0;
	if (body < before + RECORD_TAG)
		return -1;
	record_nonce(keys, before ? record + RECORD_HEADER : NULL, nonce);
	associated_size = record_associated(keys, record[0], size, body, associated);
	memcpy(tag, sealed + size, sizeof(tag));
	if (!record_transform(keys, false, nonce, associated, associated_size, sealed, size, plain,
			      tag))
		return -1;
	keys->sequence++;
	*type = record[0];
	if (keys->version == TRAFFIC_TLS_1_2)
		return (int)size;
	while (size > 0 && plain[size - 1] == 0)
		size--;
	if (size == 0)
		return -1;
	*type = plain[--size];
	return (int)size;
}

/* Seals `size` bytes of content `type` as number keys->sequence. Returns the record's size. */
static inline size_t record_seal(struct traffic_keys *keys, uint8_t type, const uint8_t *plain,
				 size_t size, uint8_t *record)
{
	bool tls_1_2 = keys->version == TRAFFIC_TLS_1_2;
	size_t before = record_explicit(keys), inner = tls_1_2 ? size : size + 1;
	size_t body = before + inner + RECORD_TAG, associated_size;
	uint8_t nonce[12], associated[13], content[RECORD_ROOM];
	uint8_t *sealed = record + RECORD_HEADER + before;

	if (size > 0)
		memcpy(content, plain, size);
	content[size] = type;
	record[0] = tls_1_2 ? type : 23;
	record[1] = record[2] = 3;
	put_be16(record + 3, (uint16_t)body);
	if (before > 0)
		record_number(keys->sequence, record + RECORD_HEADER);
	record_nonce(keys, before ? record + RECORD_HEADER : NULL, nonce);
	associated_size = record_associated(keys, record[0], size, body, associated);
	if (!record_transform(keys, true, nonce, associated, associated_size, content, inner,
			      sealed, sealed + inner))
		return 0;
	keys->sequence++;
	return RECORD_HEADER + body;
}

/* What of the wire's own text of a test: hex digits, blanks are skipped. Returns bytes. */
static inline size_t record_hex(const char *hex, uint8_t *bytes)
{
	static const char digits[] = "0123456789abcdef";
	size_t count = 0;

	for (; *hex != '\0'; hex++) {
		const char *digit = *hex == ' ' ? NULL : strchr(digits, *hex);

		if (digit == NULL)
			continue;
		if (count % 2 == 0)
			bytes[count / 2] = 0;
		bytes[count / 2] = (uint8_t)(bytes[count / 2] << 4 | (digit - digits));
		count++;
	}
	return count / 2;
}

#endif
