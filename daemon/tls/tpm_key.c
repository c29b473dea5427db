/* SPDX-License-Identifier: Apache-2.0 */
#define OPENSSL_SUPPRESS_DEPRECATED /* methods of keys: see tpm_key.h */
#include "tls/tpm_key.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdbool.h>

#define PROPERTIES "?provider=tpm2,tpm2.digest!=yes,tpm2.cipher!=yes"
#define POINT_SIZE 256 /* an uncompressed one of P-521 has 133 bytes */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static EC_KEY_METHOD *method;
static int inside_index = -1;

void tpm_key_lock(void)
{
	pthread_mutex_lock(&lock);
}

void tpm_key_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

static const EVP_MD *digest_of(int size)
{
	switch (size) {
	case 32:
		return EVP_sha256();
	case 48:
		return EVP_sha384();
	case 64:
		return EVP_sha512();
	default:
		return NULL;
	}
}

static bool ask(EVP_PKEY *inside, const unsigned char *digest, int size, unsigned char *signature,
		size_t *signature_size)
{
	const EVP_MD *type = digest_of(size);
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, inside, PROPERTIES);
	bool made = type != NULL && context != NULL && EVP_PKEY_sign_init(context) == 1 &&
		    EVP_PKEY_CTX_set_signature_md(context, type) == 1 &&
		    EVP_PKEY_sign(context, signature, signature_size, digest, (size_t)size) == 1;

	EVP_PKEY_CTX_free(context);
	return made;
}

static int sign(int type, const unsigned char *digest, int size, unsigned char *signature,
		unsigned int *signature_size, const BIGNUM *inverse, const BIGNUM *r, EC_KEY *key)
{
	size_t room = (size_t)ECDSA_size(key);
	bool made;

	(void)type;
	(void)inverse;
	(void)r;
	tpm_key_lock();
	made = ask(EC_KEY_get_ex_data(key, inside_index), digest, size, signature, &room);
	tpm_key_unlock();
	*signature_size = made ? (unsigned int)room : 0;
	return made;
}

/* With the key that it belongs to: CRYPTO_EX_free of ex_data. */
static void free_inside(void *parent, void *inside, CRYPTO_EX_DATA *data, int index, long argument,
			void *pointer)
{
	(void)parent;
	(void)data;
	(void)index;
	(void)argument;
	(void)pointer;
	tpm_key_lock();
	EVP_PKEY_free(inside);
	tpm_key_unlock();
}

static void make_method(void)
{
	int (*setup)(EC_KEY *, BN_CTX *, BIGNUM **, BIGNUM **);
	ECDSA_SIG *(*sign_sig)(const unsigned char *, int, const BIGNUM *, const BIGNUM *,
			       EC_KEY *);

	inside_index = EC_KEY_get_ex_new_index(0, NULL, NULL, NULL, free_inside);
	method = EC_KEY_METHOD_new(EC_KEY_OpenSSL());
	if (method == NULL)
		return;
	EC_KEY_METHOD_get_sign(method, NULL, &setup, &sign_sig);
	EC_KEY_METHOD_set_sign(method, sign, setup, sign_sig);
}

static EC_KEY *public_half(EVP_PKEY *inside)
{
	char group[64];
	unsigned char point[POINT_SIZE];
	size_t size;
	EC_KEY *key = NULL;

	if (EVP_PKEY_is_a(inside, "EC") == 1 &&
	    EVP_PKEY_get_group_name(inside, group, sizeof(group), &size) == 1 &&
	    EVP_PKEY_get_octet_string_param(inside, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point),
					    &size) == 1)
		key = EC_KEY_new_by_curve_name(OBJ_txt2nid(group));
	if (key != NULL && EC_KEY_oct2key(key, point, size, NULL) != 1) {
		EC_KEY_free(key);
		key = NULL;
	}
	return key;
}

EVP_PKEY *tpm_key_new(EVP_PKEY *inside)
{
	EVP_PKEY *key = EVP_PKEY_new();
	EC_KEY *half;

	pthread_once(&once, make_method);
	half = method != NULL && inside_index >= 0 ? public_half(inside) : NULL;
	if (key == NULL || half == NULL || EC_KEY_set_method(half, method) != 1 ||
	    EC_KEY_set_ex_data(half, inside_index, inside) != 1) {
		EC_KEY_free(half);
		EVP_PKEY_free(key);
		EVP_PKEY_free(inside);
		return NULL;
	}
	/* Cannot fail: both are there. */
	(void)EVP_PKEY_assign_EC_KEY(key, half);
	return key;
}
