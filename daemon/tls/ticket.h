/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resumption between an edge and a gateway of ours (RFC 8446 2.2): one ticket after each full
 * handshake, so that a plant's reconnects cost no signatures. Nobody else gets one.
 *
 * A resumed session carries no certificate. The one in the ticket is judged again each time, on
 * both sides, as if it had just been sent: chain, dates, revocation, usage, name or identity. What
 * does not pass leads to a full handshake, whose alert and log line say why.
 *
 * Both ends keep sessions in memory, with their context: a restart or a reload forgets them. The
 * edge has the last of each gateway, the gateway the last ones at all; a ticket is the random name
 * by which it knows one (RFC 8446 4.6.1: "a database lookup key").
 */
#ifndef MCSEAL_TLS_TICKET_H
#define MCSEAL_TLS_TICKET_H

#include "base/address.h"

#include <openssl/ssl.h>
#include <stdbool.h>

struct tls_context;
struct tls_peer;

#define TICKET_LIFETIME 3600 /* seconds; then a full handshake is due */
#define TICKET_SLOTS    64   /* gateways of which an edge remembers a session */
#define TICKET_ISSUED   512  /* sessions that a gateway remembers, of 6 KiB each */

/* Sessions; the one kept longest makes room. Any thread. */
struct ticket_store;

/* For `size` sessions. NULL without memory. */
struct ticket_store *ticket_store_new(size_t size);
/* Accepts NULL. */
void ticket_store_free(struct ticket_store *store);

/* --- gateway --- */

/* Takes tickets back from edges (struct tls_peer). `context` outlives every SSL object. */
void ticket_accept(SSL_CTX *ssl_context, struct tls_context *context);
/* In a full handshake, when the client is known to be an edge: it gets one. */
void ticket_promise(SSL *ssl);

/* --- edge --- */

/* Tickets that come in are noted in the struct tls_peer of their SSL object. */
void ticket_collect(SSL_CTX *ssl_context);

/*
 * Offers the session kept for that gateway, judged again with the expectations of `ssl`; what it
 * told about the gateway goes to *peer. False: there is none that will do.
 */
bool ticket_offer(const struct tls_context *context, const struct address *gateway,
		  const char *name, SSL *ssl, struct tls_peer *peer);
/*
 * Keeps a session that was noted on `ssl` in place of the one before, by a reference of its own.
 */
void ticket_keep(const struct tls_context *context, const struct address *gateway, const char *name,
		 const SSL *ssl, SSL_SESSION *session);
/* It did not work out: forgets it. */
void ticket_drop(const struct tls_context *context, const struct address *gateway,
		 const char *name);

#endif
