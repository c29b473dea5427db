/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chains that have been judged good under one context, so that a client that comes again costs no
 * signature checks but that of its own key. A plant's clients are few and come often.
 *
 * What is remembered holds for exactly these bytes of certificate and chain, with the same
 * expected name, and until something that it rests on ends: a certificate of the chain or a
 * revocation list. Trust anchors and lists are the context's, and a new context begins with
 * nothing. Who somebody is (identity) is never remembered, nor is a refusal.
 */
#ifndef MCSEAL_TLS_VERDICT_H
#define MCSEAL_TLS_VERDICT_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* SHA-256 over what is judged. */
struct verdict {
	uint8_t digest[32];
};

struct verdict_store;

/* NULL: no memory. Any thread may use it. */
struct verdict_store *verdict_store_new(void);
/* Accepts NULL. */
void verdict_store_free(struct verdict_store *verdicts);

/* Of a store context that is ready to be verified. False: OpenSSL failed; nothing is known then. */
bool verdict_of(X509_STORE_CTX *store, struct verdict *verdict);
/* Was it found good, at a time from which `now` is not too far? */
bool verdict_is_good(struct verdict_store *verdicts, const struct verdict *verdict, time_t now);
/* `store` has just been verified, with success. */
void verdict_keep(struct verdict_store *verdicts, const struct verdict *verdict,
		  X509_STORE_CTX *store, time_t now);

#endif
