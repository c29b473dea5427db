/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * A table by digest. Its lock guards the table, the references and the answers that are kept; a
 * chain's bytes never change, so chains are verified without it. Two threads may verify the same
 * one at a time: they come to the same.
 */
#include "tls/peer_chain.h"

#include "base/bytes.h"
#include "tls/identity.h"
#include "tls/paper.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define BUCKETS 1024 /* a power of two */

LIST_HEAD(bucket, peer_chain);

struct peer_chain {
	struct peer_chain_store *store;
	LIST_ENTRY(peer_chain) entry;
	unsigned int references;
	uint64_t reviewed_by; /* number of the context that `review` is of; 0: none */
	struct peer_review review;
	uint8_t digest[32]; /* over the context's name and the bytes */
	time_t ends;
	char *context;
	size_t size;
	uint8_t bytes[]; /* certificates, one behind another, the peer's own first */
};

struct peer_chain_store {
	pthread_mutex_t lock;
	size_t count;
	struct bucket buckets[BUCKETS];
};

struct peer_chain_store *peer_chain_store_new(void)
{
	struct peer_chain_store *store = calloc(1, sizeof(*store));

	if (store != NULL)
		pthread_mutex_init(&store->lock, NULL);
	return store;
}

void peer_chain_store_free(struct peer_chain_store *store)
{
	if (store == NULL)
		return;
	pthread_mutex_destroy(&store->lock);
	free(store);
}

/* --- keeping --------------------------------------------------------------------------------- */

static void put_certificate(uint8_t *bytes, size_t *size, const X509 *certificate)
{
	int length = i2d_X509(certificate, NULL);
	uint8_t *at = bytes + *size;

	if (length <= 0 || (size_t)length > PEER_CHAIN_MAX - *size)
		return;
	(void)i2d_X509(certificate, &at);
	*size += (size_t)length;
}

/* False: OpenSSL has no memory. */
static bool make_digest(const char *context, const uint8_t *bytes, size_t size, uint8_t *digest)
{
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	bool made = hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1 &&
		    EVP_DigestUpdate(hash, context, strlen(context) + 1) == 1 &&
		    EVP_DigestUpdate(hash, bytes, size) == 1 &&
		    EVP_DigestFinal_ex(hash, digest, NULL) == 1;

	EVP_MD_CTX_free(hash);
	return made;
}

static struct bucket *bucket_of(struct peer_chain_store *store, const uint8_t *digest)
{
	return &store->buckets[get_be16(digest) % BUCKETS];
}

static struct peer_chain *look_up(struct peer_chain_store *store, const uint8_t *digest)
{
	struct peer_chain *chain;

	LIST_FOREACH (chain, bucket_of(store, digest), entry)
		if (memcmp(chain->digest, digest, sizeof(chain->digest)) == 0)
			return chain;
	return NULL;
}

static void free_chain(struct peer_chain *chain)
{
	free(chain->context);
	free(chain);
}

static struct peer_chain *add(struct peer_chain_store *store, const char *context, time_t ends,
			      const uint8_t *bytes, size_t size, const uint8_t *digest)
{
	struct peer_chain *chain = calloc(1, sizeof(*chain) + size);

	if (chain == NULL)
		return NULL;
	chain->store = store;
	chain->ends = ends;
	chain->size = size;
	memcpy(chain->bytes, bytes, size);
	memcpy(chain->digest, digest, sizeof(chain->digest));
	chain->context = strdup(context);
	if (chain->context == NULL) {
		free_chain(chain);
		return NULL;
	}
	LIST_INSERT_HEAD(bucket_of(store, digest), chain, entry);
	store->count++;
	return chain;
}

struct peer_chain *peer_chain_keep(struct peer_chain_store *store,
				   const struct tls_context *context, X509 *certificate,
				   STACK_OF(X509) * others)
{
	uint8_t *bytes = malloc(PEER_CHAIN_MAX), digest[32];
	struct peer_chain *chain = NULL;
	size_t size = 0;

	if (bytes == NULL)
		return NULL;
	put_certificate(bytes, &size, certificate);
	for (int i = 0; i < sk_X509_num(others); i++)
		if (X509_cmp(sk_X509_value(others, i), certificate) != 0)
			put_certificate(bytes, &size, sk_X509_value(others, i));
	if (make_digest(context->name, bytes, size, digest)) {
		pthread_mutex_lock(&store->lock);
		chain = look_up(store, digest);
		if (chain == NULL)
			chain = add(store, context->name,
				    paper_time(X509_get0_notAfter(certificate)), bytes, size,
				    digest);
		if (chain != NULL)
			chain->references++;
		pthread_mutex_unlock(&store->lock);
	}
	free(bytes);
	return chain;
}

void peer_chain_release(struct peer_chain *chain)
{
	struct peer_chain_store *store;
	bool last;

	if (chain == NULL)
		return;
	store = chain->store;
	pthread_mutex_lock(&store->lock);
	last = --chain->references == 0;
	if (last) {
		LIST_REMOVE(chain, entry);
		store->count--;
	}
	pthread_mutex_unlock(&store->lock);
	if (last)
		free_chain(chain);
}

time_t peer_chain_ends(const struct peer_chain *chain)
{
	return chain->ends;
}

const char *peer_chain_context(const struct peer_chain *chain)
{
	return chain->context;
}

/* --- judging --------------------------------------------------------------------------------- */

/* The peer's certificate, and the rest of the bytes in *others. NULL: no memory. */
static X509 *unpack(const struct peer_chain *chain, STACK_OF(X509) * others)
{
	const unsigned char *at = chain->bytes, *end = chain->bytes + chain->size;
	X509 *first = d2i_X509(NULL, &at, end - at);
	bool whole = first != NULL;

	while (whole && at < end) {
		X509 *certificate = d2i_X509(NULL, &at, end - at);

		whole = certificate != NULL && sk_X509_push(others, certificate) > 0;
		if (!whole)
			X509_free(certificate);
	}
	if (whole)
		return first;
	X509_free(first);
	return NULL;
}

/* That a list is missing or has ended says nothing of the peer. */
static int pass_lists(int good, X509_STORE_CTX *store)
{
	int error = X509_STORE_CTX_get_error(store);

	return good == 1 || error == X509_V_ERR_CRL_HAS_EXPIRED ||
	       error == X509_V_ERR_UNABLE_TO_GET_CRL || error == X509_V_ERR_CRL_NOT_YET_VALID;
}

/* As OpenSSL sets it up in a handshake; the name was right then, and is the certificate's. */
static bool prepare(X509_STORE_CTX *store, const struct tls_context *context, X509 *certificate,
		    STACK_OF(X509) * others)
{
	SSL_CTX *ssl_context = context->ssl_context;
	const char *purpose = context->role == TLS_ROLE_GATEWAY ? "ssl_client" : "ssl_server";
	X509_VERIFY_PARAM *param;

	if (X509_STORE_CTX_init(store, SSL_CTX_get_cert_store(ssl_context), certificate, others) !=
		    1 ||
	    X509_STORE_CTX_set_default(store, purpose) != 1)
		return false;
	X509_STORE_CTX_set_verify_cb(store, pass_lists);
	param = X509_STORE_CTX_get0_param(store);
	X509_VERIFY_PARAM_set_auth_level(param, SSL_CTX_get_security_level(ssl_context));
	return X509_VERIFY_PARAM_set1(param, SSL_CTX_get0_param(ssl_context)) == 1;
}

static enum peer_standing standing_of(int error)
{
	return error == X509_V_ERR_CERT_REVOKED       ? PEER_REVOKED
	       : error == X509_V_ERR_CERT_HAS_EXPIRED ? PEER_EXPIRED
						      : PEER_UNTRUSTED;
}

static void judge(const struct tls_context *context, X509 *certificate, STACK_OF(X509) * others,
		  struct peer_review *review)
{
	X509_STORE_CTX *store = X509_STORE_CTX_new();

	if (store != NULL && prepare(store, context, certificate, others)) {
		if (X509_verify_cert(store) == 1)
			*review = (struct peer_review){.standing = PEER_GOOD};
		else
			*review = (struct peer_review){
				.standing = standing_of(X509_STORE_CTX_get_error(store)),
				.why = X509_verify_cert_error_string(
					X509_STORE_CTX_get_error(store)),
			};
	}
	X509_STORE_CTX_free(store);
	if (context->role == TLS_ROLE_GATEWAY && review->standing == PEER_GOOD)
		review->identity = identity_find(context->config, certificate);
}

static struct peer_review verify(const struct peer_chain *chain, const struct tls_context *context)
{
	/* What cannot be judged is not good. */
	struct peer_review review = {.standing = PEER_UNTRUSTED, .why = "out of memory"};
	STACK_OF(X509) *others = sk_X509_new_null();
	X509 *certificate = others != NULL ? unpack(chain, others) : NULL;

	if (certificate != NULL)
		judge(context, certificate, others, &review);
	X509_free(certificate);
	sk_X509_pop_free(others, X509_free);
	ERR_clear_error();
	return review;
}

void peer_chain_review(struct peer_chain *chain, const struct tls_context *context,
		       struct peer_review *review)
{
	struct peer_chain_store *store = chain->store;
	bool known;

	pthread_mutex_lock(&store->lock);
	known = chain->reviewed_by == context->number;
	*review = chain->review;
	pthread_mutex_unlock(&store->lock);
	if (known)
		return;
	*review = verify(chain, context);
	pthread_mutex_lock(&store->lock);
	chain->reviewed_by = context->number;
	chain->review = *review;
	pthread_mutex_unlock(&store->lock);
}

static size_t hold_bucket(const struct bucket *bucket, struct peer_chain **chains)
{
	size_t count = 0;

	for (struct peer_chain *chain = LIST_FIRST(bucket); chain != NULL;
	     chain = LIST_NEXT(chain, entry)) {
		chain->references++;
		chains[count++] = chain;
	}
	return count;
}

/* References to all that are held; NULL: no memory, or none. */
static struct peer_chain **hold_all(struct peer_chain_store *store, size_t *count)
{
	struct peer_chain **chains;

	*count = 0;
	pthread_mutex_lock(&store->lock);
	chains = calloc(store->count + 1, sizeof(struct peer_chain *));
	for (size_t i = 0; i < BUCKETS && chains != NULL; i++)
		*count += hold_bucket(&store->buckets[i], chains + *count);
	pthread_mutex_unlock(&store->lock);
	return chains;
}

void peer_chain_store_review(struct peer_chain_store *store,
			     const struct tls_context *(*find)(const void *from, const char *name),
			     const void *from)
{
	struct peer_chain **chains;
	size_t count;

	/* Without memory, each worker asks for itself. */
	chains = hold_all(store, &count);
	for (size_t i = 0; i < count; i++) {
		const struct tls_context *context = find(from, chains[i]->context);
		struct peer_review review;

		if (context != NULL)
			peer_chain_review(chains[i], context, &review);
		peer_chain_release(chains[i]);
	}
	free(chains);
}
