/* SPDX-License-Identifier: Apache-2.0 */
/* A connection that is tried out: TCP, and TLS on it where that is asked for. Blocks, with
 * deadlines. */
#ifndef MCSEAL_DOCTOR_CONNECTION_H
#define MCSEAL_DOCTOR_CONNECTION_H

#include "net/socket.h"
#include "tls/tls_exchange.h"

struct connection {
	int fd;
	struct handshake *handshake; /* NULL: plain */
	struct handshake_peer peer;
	char reason[HANDSHAKE_REASON_SIZE]; /* of the first thing that failed */
};

/* 0; -errno with a reason. connection_end() in any case. */
int connection_dial(struct connection *connection, const struct config *config,
		    const struct address *address, clock_us deadline);
/* `context` is an edge's. -ETIMEDOUT or -EPROTO with a reason. */
int connection_secure(struct connection *connection, const struct tls_context *context,
		      const struct handshake_server *server, clock_us deadline);
int connection_send(struct connection *connection, const void *bytes, size_t size,
		    clock_us deadline);
/* How many bytes came; 0: the other side has closed. */
ssize_t connection_receive(struct connection *connection, void *bytes, size_t size,
			   clock_us deadline);
void connection_end(struct connection *connection);

#endif
