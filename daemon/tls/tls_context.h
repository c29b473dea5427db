/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all handshakes of one listener or edge share: certificate chain, key, trust anchors, CRL,
 * versions, ciphers. Built once from files, constant afterwards, usable by every thread
 * (SSL_CTX is internally locked for what a handshake needs of it).
 *
 * TLS 1.3, and TLS 1.2 with ECDHE, an AEAD and the extended master secret (RFC 7627). No
 * renegotiation, no compression, no early data. Resumption only between ends of ours (ticket.h).
 */
#ifndef MCSEAL_TLS_TLS_CONTEXT_H
#define MCSEAL_TLS_TLS_CONTEXT_H

#include "config/config.h"
#include "tls/arming.h"

#include <openssl/ssl.h>
#include <stdio.h>

/* RFC 7301: what an edge offers and a gateway of ours agrees to. */
#define TLS_ALPN_MCSEAL "mcseal/1"

#define TLS_NO_EXTENDED_MASTER_SECRET                                                              \
	"peer speaks TLS 1.2 without the extended master secret (RFC 7627)"

enum tls_role {
	TLS_ROLE_GATEWAY, /* server; asks for and maps a client certificate */
	TLS_ROLE_EDGE,    /* client; checks the gateway's name */
};

/*
 * What came out about the peer while the handshake ran, filled by the context's callbacks. Every
 * SSL object made from a context has one as its app data, for as long as it shakes hands.
 */
struct tls_peer {
	const struct config_identity *identity; /* gateway only; NULL: none matched */
	const char *refusal;                    /* our own reason to refuse; NULL: OpenSSL's */
	char subject[256];                      /* of its certificate, good or bad; "" = none */
	char serial[48];
	struct arming_notes notes;
	bool edge;               /* gateway only: an edge of ours, by what it offers */
	SSL_SESSION *ticket;     /* edge only: a copy of what the gateway gave for the next time */
	X509 *certificate;       /* that was found good, a reference, ... */
	STACK_OF(X509) * others; /* ... and what came with it; NULL: nothing */
};

struct tls_context {
	SSL_CTX *ssl_context;
	char *name;      /* that of its edge or gateway: `where` of tls_context_new() */
	uint64_t number; /* no two have the same, and none 0 */
	enum tls_role role;
	const struct config *config; /* identities; outlives the context */
	struct ticket_store *tickets;
	struct verdict_store *verdicts;
};

/*
 * Loads and judges the files of `credentials`. Every fault goes to `report` as a line
 * `FILE: error: what` (or warning: expires soon); a file that is not named (NULL) is passed over:
 * the configuration's own check says that it is missing. `where` ("gateway \"plant\"") begins each.
 * 0 with *context, -EINVAL when anything was wrong, -ENOMEM. Blocking file I/O.
 */
int tls_context_new(const struct config *config, const struct config_credentials *credentials,
		    enum tls_role role, const char *where, FILE *report,
		    struct tls_context **context);
void tls_context_free(struct tls_context *context);
/* What it holds by reference: of an SSL object that is freed, or begins anew. */
void tls_peer_clear(struct tls_peer *peer);
/* When its own certificate ends (notAfter), seconds since 1970. */
time_t tls_context_expires(const struct tls_context *context);

/*
 * Judges a peer's certificate outside a handshake, as the context's handshakes do and with the
 * expectations (name, depth) of `ssl`; `chain` may be NULL. True: good, and *peer says who it is.
 * False: *peer holds no refusal; a full handshake comes to the same and tells the peer.
 */
bool tls_context_judge(const struct tls_context *context, SSL *ssl, X509 *certificate,
		       STACK_OF(X509) * chain, struct tls_peer *peer);

#endif
