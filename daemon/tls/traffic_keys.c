/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/traffic_keys.h"

#include "base/error.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <pthread.h>
#include <string.h>

#define SHA256_SIZE 32
#define SHA384_SIZE 48

/* The hash is that of the suites with this cipher: HKDF's in TLS 1.3, the PRF's in TLS 1.2. */
static const struct {
	const char *name;
	uint8_t key_size;
	uint8_t fixed_iv_size_1_2; /* RFC 5288 3: the salt; RFC 7905 2: all of the nonce */
	uint8_t hash_size;
	const char *hash;
} ciphers[TRAFFIC_CIPHERS] = {
	[TRAFFIC_AES_128_GCM] = {"AES-128-GCM", 16, 4, SHA256_SIZE, "SHA256"},
	[TRAFFIC_AES_256_GCM] = {"AES-256-GCM", 32, 4, SHA384_SIZE, "SHA384"},
	[TRAFFIC_CHACHA20_POLY1305] = {"CHACHA20-POLY1305", 32, 12, SHA256_SIZE, "SHA256"},
};

/* RFC 8446 B.4, RFC 5289 3.2, RFC 7905 2: TLS 1.3, then ECDHE with ECDSA and RSA. */
static const struct {
	uint16_t suite;
	enum traffic_cipher cipher;
} suites[] = {
	{0x1301, TRAFFIC_AES_128_GCM},       {0xc02b, TRAFFIC_AES_128_GCM},
	{0xc02f, TRAFFIC_AES_128_GCM},       {0x1302, TRAFFIC_AES_256_GCM},
	{0xc02c, TRAFFIC_AES_256_GCM},       {0xc030, TRAFFIC_AES_256_GCM},
	{0x1303, TRAFFIC_CHACHA20_POLY1305}, {0xcca9, TRAFFIC_CHACHA20_POLY1305},
	{0xcca8, TRAFFIC_CHACHA20_POLY1305},
};

/*
 * Looked up once: a look-up by name costs more than the derivation. Never given back: at exit
 * OpenSSL is gone before our destructors run.
 */
static EVP_KDF *expand_label, *prf;
static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;

static void fetch(void)
{
	expand_label = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, NULL);
	prf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_PRF, NULL);
}

int traffic_cipher_by_suite(uint16_t suite, enum traffic_cipher *cipher)
{
	for (size_t i = 0; i < ARRAY_SIZE(suites); i++) {
		if (suites[i].suite != suite)
			continue;
		*cipher = suites[i].cipher;
		return 0;
	}
	return -ENOTSUP;
}

const char *traffic_cipher_name(enum traffic_cipher cipher)
{
	return ciphers[cipher].name;
}

size_t traffic_key_size(enum traffic_cipher cipher)
{
	return ciphers[cipher].key_size;
}

size_t traffic_secret_size(enum traffic_cipher cipher)
{
	return ciphers[cipher].hash_size;
}

static OSSL_PARAM text(const char *name, const char *value)
{
	return OSSL_PARAM_construct_utf8_string(name, (char *)(uintptr_t)value, 0);
}

static OSSL_PARAM octets(const char *name, const void *bytes, size_t size)
{
	return OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)bytes, size);
}

static int derive(EVP_KDF *kdf, const OSSL_PARAM *parameters, uint8_t *out, size_t size)
{
	EVP_KDF_CTX *context;
	int done;

	if (kdf == NULL)
		return -EIO; /* this OpenSSL has no provider for it */
	context = EVP_KDF_CTX_new(kdf);
	if (context == NULL)
		return -ENOMEM;
	done = EVP_KDF_derive(context, out, size, parameters);
	EVP_KDF_CTX_free(context); /* wipes its copy of the secret */
	if (done == 1)
		return 0;
	ERR_clear_error();
	OPENSSL_cleanse(out, size);
	return -EIO;
}

/* RFC 8446 7.1: HKDF-Expand-Label(secret, label, "", size). */
static int expand(enum traffic_cipher cipher, const struct traffic_secret *secret,
		  const char *label, uint8_t *out, size_t size)
{
	const OSSL_PARAM parameters[] = {
		text(OSSL_KDF_PARAM_MODE, "EXPAND_ONLY"),
		text(OSSL_KDF_PARAM_DIGEST, ciphers[cipher].hash),
		octets(OSSL_KDF_PARAM_KEY, secret->bytes, secret->size),
		octets(OSSL_KDF_PARAM_PREFIX, "tls13 ", 6),
		octets(OSSL_KDF_PARAM_LABEL, label, strlen(label)),
		OSSL_PARAM_construct_end(),
	};

	pthread_once(&fetch_once, fetch);
	return derive(expand_label, parameters, out, size);
}

int traffic_keys_expand(enum traffic_cipher cipher, const struct traffic_secret *secret,
			struct traffic_keys *keys)
{
	int error;

	*keys = (struct traffic_keys){.version = TRAFFIC_TLS_1_3, .cipher = cipher};
	error = expand(cipher, secret, "key", keys->key, ciphers[cipher].key_size);
	if (error == 0)
		error = expand(cipher, secret, "iv", keys->iv, sizeof(keys->iv));
	if (error < 0)
		OPENSSL_cleanse(keys, sizeof(*keys));
	return error;
}

int traffic_secret_update(enum traffic_cipher cipher, struct traffic_secret *secret)
{
	struct traffic_secret next = {.size = secret->size};
	int error = expand(cipher, secret, "traffic upd", next.bytes, next.size);

	if (error == 0)
		*secret = next;
	OPENSSL_cleanse(&next, sizeof(next));
	return error;
}

/* RFC 5246 6.3: PRF(master_secret, "key expansion", server_random + client_random). */
static int key_block(enum traffic_cipher cipher, const uint8_t *master,
		     const uint8_t *client_random, const uint8_t *server_random, uint8_t *block,
		     size_t size)
{
	/* Several seeds are joined in their order. */
	const OSSL_PARAM parameters[] = {
		text(OSSL_KDF_PARAM_DIGEST, ciphers[cipher].hash),
		octets(OSSL_KDF_PARAM_SECRET, master, TRAFFIC_MASTER),
		octets(OSSL_KDF_PARAM_SEED, "key expansion", 13),
		octets(OSSL_KDF_PARAM_SEED, server_random, TRAFFIC_RANDOM),
		octets(OSSL_KDF_PARAM_SEED, client_random, TRAFFIC_RANDOM),
		OSSL_PARAM_construct_end(),
	};

	pthread_once(&fetch_once, fetch);
	return derive(prf, parameters, block, size);
}

int traffic_keys_tls_1_2(uint16_t suite, const uint8_t master[TRAFFIC_MASTER],
			 const uint8_t client_random[TRAFFIC_RANDOM],
			 const uint8_t server_random[TRAFFIC_RANDOM], struct traffic_keys *client,
			 struct traffic_keys *server)
{
	struct traffic_keys *sides[2] = {client, server};
	uint8_t block[2 * (sizeof(client->key) + sizeof(client->iv))];
	const uint8_t *at = block;
	enum traffic_cipher cipher;
	size_t key_size, iv_size;
	int error = traffic_cipher_by_suite(suite, &cipher);

	if (error < 0)
		return error;
	key_size = ciphers[cipher].key_size;
	iv_size = ciphers[cipher].fixed_iv_size_1_2;
	error = key_block(cipher, master, client_random, server_random, block,
			  2 * (key_size + iv_size));
	if (error < 0)
		return error;
	/* Both keys, then both IVs; an AEAD has no MAC keys. Finished was record 0. */
	for (int i = 0; i < 2; i++, at += key_size) {
		*sides[i] = (struct traffic_keys){
			.version = TRAFFIC_TLS_1_2, .cipher = cipher, .sequence = 1};
		memcpy(sides[i]->key, at, key_size);
	}
	for (int i = 0; i < 2; i++, at += iv_size)
		memcpy(sides[i]->iv, at, iv_size);
	OPENSSL_cleanse(block, sizeof(block));
	return 0;
}
