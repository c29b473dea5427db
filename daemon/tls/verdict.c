/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * A table of slots; a digest's first bytes say which one is its, and whoever comes later takes the
 * slot over. An attacker gains nothing by that: only who has been found good is in it.
 */
#include "tls/verdict.h"

#include "base/bytes.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS    256 /* a power of two */
/* However long certificates and lists last: a clock that was set is noticed after this. */
#define KEEP_MAX 3600

struct slot {
	struct verdict verdict;
	time_t since, until; /* 0: empty */
};

struct verdict_store {
	pthread_mutex_t lock;
	struct slot slots[SLOTS];
};

struct verdict_store *verdict_store_new(void)
{
	struct verdict_store *verdicts = calloc(1, sizeof(*verdicts));

	if (verdicts != NULL)
		pthread_mutex_init(&verdicts->lock, NULL);
	return verdicts;
}

void verdict_store_free(struct verdict_store *verdicts)
{
	if (verdicts == NULL)
		return;
	pthread_mutex_destroy(&verdicts->lock);
	free(verdicts);
}

/* --- what is judged -------------------------------------------------------------------------- */

static bool add_text(EVP_MD_CTX *context, const char *text)
{
	return EVP_DigestUpdate(context, text ? text : "", text ? strlen(text) + 1 : 1) == 1;
}

static bool add_certificate(EVP_MD_CTX *context, const X509 *certificate)
{
	unsigned char *bytes = NULL;
	int size = i2d_X509(certificate, &bytes);
	bool added = size > 0 && EVP_DigestUpdate(context, bytes, (size_t)size) == 1;

	OPENSSL_free(bytes);
	return added;
}

static bool add_chain(EVP_MD_CTX *context, const STACK_OF(X509) * chain)
{
	bool added = true;

	for (int i = 0; i < sk_X509_num(chain) && added; i++)
		added = add_certificate(context, sk_X509_value(chain, i));
	return added;
}

/* What the peer is expected to be called is judged together with its certificate. */
static bool add_expectations(EVP_MD_CTX *context, X509_STORE_CTX *store)
{
	X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(store);
	char *address = X509_VERIFY_PARAM_get1_ip_asc(param);
	bool added = add_text(context, X509_VERIFY_PARAM_get0_host(param, 0)) &&
		     add_text(context, address);

	OPENSSL_free(address);
	return added;
}

/* Anchors and lists: one that is added makes another verdict. None is ever taken away. */
static bool add_trust(EVP_MD_CTX *context, X509_STORE_CTX *store)
{
	int count = sk_X509_OBJECT_num(X509_STORE_get0_objects(X509_STORE_CTX_get0_store(store)));

	return EVP_DigestUpdate(context, &count, sizeof(count)) == 1;
}

bool verdict_of(X509_STORE_CTX *store, struct verdict *verdict)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool made;

	/* Asked for an address that is not expected, OpenSSL leaves an error: a handshake that has
	 * to wait would take it for its own. */
	ERR_set_mark();
	made = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
	       add_trust(context, store) && add_expectations(context, store) &&
	       add_certificate(context, X509_STORE_CTX_get0_cert(store)) &&
	       add_chain(context, X509_STORE_CTX_get0_untrusted(store)) &&
	       EVP_DigestFinal_ex(context, verdict->digest, NULL) == 1;
	ERR_pop_to_mark();
	EVP_MD_CTX_free(context);
	return made;
}

/* --- how long it holds ----------------------------------------------------------------------- */

static time_t earlier(time_t until, const ASN1_TIME *end)
{
	struct tm utc;
	time_t then;

	if (end == NULL)
		return until;
	if (ASN1_TIME_to_tm(end, &utc) != 1)
		return 0;
	then = timegm(&utc);
	return then < until ? then : until;
}

/* Every list of the context, whoever's it is: the soonest counts. */
static time_t first_list_end(X509_STORE *store, time_t until)
{
	STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(store);

	for (int i = 0; i < sk_X509_OBJECT_num(objects); i++) {
		X509_CRL *list = X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(objects, i));

		if (list != NULL)
			until = earlier(until, X509_CRL_get0_nextUpdate(list));
	}
	return until;
}

static time_t holds_until(X509_STORE_CTX *store, time_t now)
{
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(store);
	time_t until = first_list_end(X509_STORE_CTX_get0_store(store), now + KEEP_MAX);

	for (int i = 0; i < sk_X509_num(chain); i++)
		until = earlier(until, X509_get0_notAfter(sk_X509_value(chain, i)));
	return until;
}

/* --- the table ------------------------------------------------------------------------------- */

static struct slot *slot_of(struct verdict_store *verdicts, const struct verdict *verdict)
{
	return &verdicts->slots[get_be16(verdict->digest) % SLOTS];
}

bool verdict_is_good(struct verdict_store *verdicts, const struct verdict *verdict, time_t now)
{
	const struct slot *slot = slot_of(verdicts, verdict);
	bool good;

	pthread_mutex_lock(&verdicts->lock);
	good = now >= slot->since && now < slot->until &&
	       memcmp(&slot->verdict, verdict, sizeof(*verdict)) == 0;
	pthread_mutex_unlock(&verdicts->lock);
	return good;
}

void verdict_keep(struct verdict_store *verdicts, const struct verdict *verdict,
		  X509_STORE_CTX *store, time_t now)
{
	struct slot *slot = slot_of(verdicts, verdict);
	time_t until = holds_until(store, now);

	pthread_mutex_lock(&verdicts->lock);
	*slot = (struct slot){.verdict = *verdict, .since = now, .until = until};
	pthread_mutex_unlock(&verdicts->lock);
}
