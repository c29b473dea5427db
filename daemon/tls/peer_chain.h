/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What peers have shown: a certificate and those that came with it, as bytes, for as long as a
 * session lives that rests on them. OpenSSL's objects would take many times as much; and sessions
 * with the same peer share one.
 *
 * So a session can be judged anew when trust anchors or revocation lists are others, or time has
 * passed. A chain is verified once for each context, however many sessions have it.
 */
#ifndef MCSEAL_TLS_PEER_CHAIN_H
#define MCSEAL_TLS_PEER_CHAIN_H

#include "tls/tls_context.h"

#include <time.h>

/* Bytes kept of one; certificates that a peer sends beyond are left out, and cannot help it. */
#define PEER_CHAIN_MAX 16384

struct peer_chain;
struct peer_chain_store;

enum peer_standing {
	PEER_GOOD,
	PEER_REVOKED,
	PEER_EXPIRED,
	PEER_UNTRUSTED, /* any other fault */
};

struct peer_review {
	enum peer_standing standing;
	const char *why; /* static; of what is not good */
	const struct config_identity
		*identity; /* gateway: of the context's configuration, or NULL */
};

/* NULL: no memory. Any thread may use it. */
struct peer_chain_store *peer_chain_store_new(void);
/* When no chain of it is held any more. Accepts NULL. */
void peer_chain_store_free(struct peer_chain_store *store);

/*
 * A reference to what `certificate` and `others` (NULL: none; the certificate itself may be among
 * them) are under the context: kept already, or from now on. NULL: no memory.
 */
struct peer_chain *peer_chain_keep(struct peer_chain_store *store,
				   const struct tls_context *context, X509 *certificate,
				   STACK_OF(X509) * others);
/* Accepts NULL. */
void peer_chain_release(struct peer_chain *chain);
/* When the peer's own certificate ends, seconds since 1970. */
time_t peer_chain_ends(const struct peer_chain *chain);
/* Under which context it was found good: tls_context.h's name. */
const char *peer_chain_context(const struct peer_chain *chain);

/*
 * Judges it as a handshake under `context` would now. A revocation list that is missing or has
 * ended is no fault of the peer's: what it says counts, that it ended does not. The answer for a
 * context is kept with the chain; only the first one costs signature checks.
 */
void peer_chain_review(struct peer_chain *chain, const struct tls_context *context,
		       struct peer_review *review);
/*
 * Reviews every chain that is held under the context that `find` has for its name (NULL: none), so
 * that peer_chain_review() has the answers for others. Takes as long as all their signatures.
 */
void peer_chain_store_review(struct peer_chain_store *store,
			     const struct tls_context *(*find)(const void *from, const char *name),
			     const void *from);

#endif
