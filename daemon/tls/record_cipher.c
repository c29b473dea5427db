/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/record_cipher.h"

#include "base/bytes.h"
#include "base/error.h"
#include "tls/record_control.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

#define TAG_SIZE   16
#define NONCE_SIZE 12
#define SALT_SIZE  4      /* AES-GCM in TLS 1.2: the nonce's other 8 bytes are in the record */
#define LEGACY     0x0303 /* the version in every header, of TLS 1.3, too */

/* Additional data: the header; in TLS 1.2 number, type, version and length of the content. */
#define DATA_MAX 13

/*
 * Looked up once, by name, and never given back: at exit OpenSSL is gone before our destructors
 * run.
 */
static EVP_CIPHER *methods[TRAFFIC_CIPHERS];
static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;

static void fetch(void)
{
	for (int i = 0; i < TRAFFIC_CIPHERS; i++)
		methods[i] =
			EVP_CIPHER_fetch(NULL, traffic_cipher_name((enum traffic_cipher)i), NULL);
}

static int set_key(struct record_cipher *cipher, const struct traffic_keys *keys, bool sealing)
{
	if (EVP_CipherInit_ex(cipher->context, methods[keys->cipher], NULL, NULL, NULL, sealing) ==
		    1 &&
	    EVP_CIPHER_CTX_ctrl(cipher->context, EVP_CTRL_AEAD_SET_IVLEN, NONCE_SIZE, NULL) == 1 &&
	    EVP_CipherInit_ex(cipher->context, NULL, NULL, keys->key, NULL, -1) == 1)
		return 0;
	ERR_clear_error();
	return -EIO;
}

int record_cipher_set(struct record_cipher *cipher, const struct traffic_keys *keys, bool sealing)
{
	pthread_once(&fetch_once, fetch);
	if (methods[keys->cipher] == NULL)
		return -EIO;
	if (cipher->context == NULL)
		cipher->context = EVP_CIPHER_CTX_new();
	if (cipher->context == NULL)
		return -ENOMEM;
	cipher->sequence = keys->sequence;
	cipher->version = (uint16_t)keys->version;
	cipher->cipher = (uint8_t)keys->cipher;
	memcpy(cipher->iv, keys->iv, sizeof(cipher->iv));
	return set_key(cipher, keys, sealing);
}

void record_cipher_deinit(struct record_cipher *cipher)
{
	EVP_CIPHER_CTX_free(cipher->context);
	*cipher = (struct record_cipher){0};
}

static bool is_tls_1_3(const struct record_cipher *cipher)
{
	return cipher->version == TRAFFIC_TLS_1_3;
}

/* Bytes of the nonce that travel in the record. */
static size_t explicit_size(const struct record_cipher *cipher)
{
	bool gcm = cipher->cipher != TRAFFIC_CHACHA20_POLY1305;

	return !is_tls_1_3(cipher) && gcm ? NONCE_SIZE - SALT_SIZE : 0;
}

/* `carried`: what the record says of the nonce, where it does. */
static void make_nonce(const struct record_cipher *cipher, const uint8_t *carried,
		       uint8_t nonce[NONCE_SIZE])
{
	uint8_t number[8];

	memcpy(nonce, cipher->iv, NONCE_SIZE);
	if (explicit_size(cipher) > 0) {
		memcpy(nonce + SALT_SIZE, carried, NONCE_SIZE - SALT_SIZE);
		return;
	}
	put_be64(number, cipher->sequence);
	for (size_t i = 0; i < sizeof(number); i++)
		nonce[NONCE_SIZE - sizeof(number) + i] ^= number[i];
}

/* `header` as on the wire; `content`: bytes of it, as TLS 1.2 authenticates. */
static int make_data(const struct record_cipher *cipher, const uint8_t *header, size_t content,
		     uint8_t data[DATA_MAX])
{
	if (is_tls_1_3(cipher)) {
		memcpy(data, header, RECORD_HEADER);
		return RECORD_HEADER;
	}
	put_be64(data, cipher->sequence);
	memcpy(data + 8, header, 3);
	put_be16(data + 11, (uint16_t)content);
	return DATA_MAX;
}

/* Both ways: AEAD over `size` bytes, `out` may be `in`. */
static bool run(const struct record_cipher *cipher, const uint8_t *nonce, const uint8_t *data,
		int data_size, const uint8_t *in, size_t size, uint8_t *out)
{
	int done;

	return EVP_CipherInit_ex(cipher->context, NULL, NULL, NULL, nonce, -1) == 1 &&
	       EVP_CipherUpdate(cipher->context, NULL, &done, data, data_size) == 1 &&
	       (size == 0 || EVP_CipherUpdate(cipher->context, out, &done, in, (int)size) == 1);
}

int record_cipher_seal(struct record_cipher *cipher, uint8_t type, const uint8_t *bytes,
		       size_t size, uint8_t *record)
{
	size_t carried = explicit_size(cipher), inner = size + is_tls_1_3(cipher);
	uint8_t *at = record + RECORD_HEADER + carried, nonce[NONCE_SIZE], data[DATA_MAX];
	int data_size, done;

	if (cipher->sequence == UINT64_MAX)
		return -EIO; /* RFC 8446 5.3: a number is never used twice */
	record[0] = is_tls_1_3(cipher) ? RECORD_DATA : type;
	put_be16(record + 1, LEGACY);
	put_be16(record + 3, (uint16_t)(carried + inner + TAG_SIZE));
	/* RFC 5288 3: any nonce that is used once; the number is. */
	if (carried > 0)
		put_be64(record + RECORD_HEADER, cipher->sequence);
	if (size > 0)
		memcpy(at, bytes, size);
	if (is_tls_1_3(cipher))
		at[size] = type;
	make_nonce(cipher, record + RECORD_HEADER, nonce);
	data_size = make_data(cipher, record, size, data);
	if (!run(cipher, nonce, data, data_size, at, inner, at) ||
	    EVP_CipherFinal_ex(cipher->context, at + inner, &done) != 1 ||
	    EVP_CIPHER_CTX_ctrl(cipher->context, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, at + inner) !=
		    1) {
		ERR_clear_error();
		return -EIO;
	}
	cipher->sequence++;
	return (int)(RECORD_HEADER + carried + inner + TAG_SIZE);
}

static bool is_type(uint8_t type)
{
	return type == RECORD_ALERT || type == RECORD_HANDSHAKE || type == RECORD_DATA;
}

int record_cipher_judge_header(const struct record_cipher *cipher, const uint8_t *header)
{
	size_t size = get_be16(header + 3);

	if (get_be16(header + 1) != LEGACY)
		return -EINVAL;
	if (is_tls_1_3(cipher) ? header[0] != RECORD_DATA : !is_type(header[0]))
		return -ENOTTY;
	if (size > RECORD_SEALED_MAX)
		return -EMSGSIZE;
	if (size < explicit_size(cipher) + is_tls_1_3(cipher) + TAG_SIZE)
		return -EBADMSG;
	return (int)(RECORD_HEADER + size);
}

/* RFC 8446 5.4: the type is the last byte that is not zero. */
static int strip_padding(uint8_t *bytes, size_t size, uint8_t *type)
{
	while (size > 0 && bytes[size - 1] == 0)
		size--;
	if (size == 0)
		return -EPROTO;
	*type = bytes[size - 1];
	return (int)size - 1;
}

int record_cipher_open(struct record_cipher *cipher, const uint8_t *record, size_t size,
		       uint8_t *bytes, uint8_t *type)
{
	size_t carried = explicit_size(cipher);
	const uint8_t *at = record + RECORD_HEADER + carried;
	size_t inner = size - RECORD_HEADER - carried - TAG_SIZE;
	uint8_t nonce[NONCE_SIZE], data[DATA_MAX], tag[TAG_SIZE];
	int data_size, done;

	make_nonce(cipher, record + RECORD_HEADER, nonce);
	data_size = make_data(cipher, record, inner, data);
	memcpy(tag, at + inner, sizeof(tag));
	if (!run(cipher, nonce, data, data_size, at, inner, bytes) ||
	    EVP_CIPHER_CTX_ctrl(cipher->context, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, tag) != 1 ||
	    EVP_CipherFinal_ex(cipher->context, bytes + inner, &done) != 1) {
		ERR_clear_error();
		return -EBADMSG;
	}
	cipher->sequence++;
	if (inner > RECORD_MAX + (size_t)is_tls_1_3(cipher))
		return -EMSGSIZE;
	*type = record[0];
	return is_tls_1_3(cipher) ? strip_padding(bytes, inner, type) : (int)inner;
}
