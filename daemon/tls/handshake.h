/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TLS handshake on a connected non-blocking socket, driven by readiness.
 *
 * OpenSSL reads the socket itself and never beyond the record it works on, so that after the
 * last flight every further byte is still in the kernel.
 */
#ifndef MCSEAL_TLS_HANDSHAKE_H
#define MCSEAL_TLS_HANDSHAKE_H

#include "tls/peer_chain.h"
#include "tls/tls_context.h"

#include <stdbool.h>

enum handshake_outcome {
	HANDSHAKE_WANT_READ = 1,
	HANDSHAKE_WANT_WRITE = 2,
};

#define HANDSHAKE_REASON_SIZE 192

/* What the handshake found out. Plain text for the log; filled when it is done or has failed. */
struct handshake_peer {
	const struct config_identity *identity; /* gateway: who it is; edge: NULL */
	bool mcseal;                            /* ALPN mcseal/1 was agreed */
	char server_name[256];                  /* gateway: SNI asked for, "" = none */
	char subject[256];
	char serial[48];
	char reason[HANDSHAKE_REASON_SIZE]; /* of a failure */
};

struct handshake;

/* Whom an edge expects at the other end. */
struct handshake_server {
	struct address address; /* must be an IP SAN of the certificate ... */
	const char *name;       /* ... unless this is given: a DNS SAN, sent as SNI too */
	bool mcseal;            /* ALPN mcseal/1 is offered and must be agreed */
};

/*
 * `context` and `fd` must outlive the handshake; the descriptor stays the caller's. `server` is
 * for edges, NULL for gateways. 0 or -ENOMEM.
 */
int handshake_new(const struct tls_context *context, int fd, const struct handshake_server *server,
		  struct handshake **handshake);
/* Accepts NULL. Sends nothing. */
void handshake_free(struct handshake *handshake);
/*
 * Goes on as far as the socket allows. 0: done, *peer filled. HANDSHAKE_WANT_*: call again when
 * the socket is ready for that. -EPROTO: failed, peer->reason says why; an alert was sent where
 * the fault was the peer's.
 */
int handshake_step(struct handshake *handshake, struct handshake_peer *peer);
/* Of a finished handshake, for people; the strings are OpenSSL's and stay valid. */
const char *handshake_version(const struct handshake *handshake);
const char *handshake_cipher(const struct handshake *handshake);
/* No certificates went over the wire: the session of an earlier handshake was taken up. */
bool handshake_resumed(const struct handshake *handshake);
/* A reference to what the peer has shown, in this handshake or in that which it resumes. NULL: no
 * memory. */
struct peer_chain *handshake_keep_chain(const struct handshake *handshake,
					struct peer_chain_store *store);
/* Of a finished handshake, which keeps it; for arming.c. */
SSL *handshake_ssl(const struct handshake *handshake);

#endif
