/* SPDX-License-Identifier: Apache-2.0 */
/* The connections of the simulated PLC: requests in, answers out, delays, pieces, drops. */
#ifndef MCSEAL_TOOLS_MCPLC_CONNECTION_H
#define MCSEAL_TOOLS_MCPLC_CONNECTION_H

#include <sys/queue.h>

#include "mcplc_server.h"

/* Keyence sends frames of up to 8,194 bytes: the largest seen anywhere. */
#define MCPLC_FRAME_MAX  8200
#define MCPLC_INPUT_SIZE (2 * MCPLC_FRAME_MAX)

/* What an epoll event points to: the first member of whatever has a descriptor. */
struct mcplc_source {
	enum {
		MCPLC_PORT,
		MCPLC_CONNECTION,
		MCPLC_SIGNAL,
		MCPLC_TIMER,
	} kind;
	int fd;
};

struct mcplc_port {
	struct mcplc_source source;
	size_t connections; /* open now */
	char name[ADDRESS_TEXT_SIZE];
};

/* Only mcplc_connection.c writes the fields. */
struct mcplc_connection {
	struct mcplc_source source;
	struct mcplc_port *port;
	TAILQ_ENTRY(mcplc_connection) link;
	char peer[ADDRESS_TEXT_SIZE];
	struct mc_stream stream;
	struct mcplc_link plc;
	uint32_t interest; /* epoll events asked for */
	bool ended;        /* the peer sends no more */
	bool busy;         /* an answer is being delayed or sent */
	bool blocked;      /* the peer does not read */
	clock_us due;      /* of the next piece while busy */
	size_t in_used;
	size_t out_used;
	size_t out_sent;
	uint8_t in[MCPLC_INPUT_SIZE];
	uint8_t out[MCPLC_ANSWER_SIZE];
};

TAILQ_HEAD(mcplc_connection_list, mcplc_connection);

/* All connections, and what they share. */
struct mcplc_pool {
	const struct mcplc_server_options *options;
	const struct mcplc_log *log;
	struct mcplc_cpu *cpu;
	int epoll;
	struct mcplc_connection_list connections;
	struct mcplc_connection_list closed; /* to be freed after this round of events */
};

/* Takes over the accepted socket; on failure (-ENOMEM) it stays the caller's. */
int mcplc_connection_new(struct mcplc_pool *pool, struct mcplc_port *port, int fd,
			 const char *peer);
void mcplc_connection_event(struct mcplc_pool *pool, struct mcplc_connection *connection,
			    uint32_t events);
/* When the next delayed answer or piece is due; CLOCK_NEVER = none is. */
clock_us mcplc_connection_due(const struct mcplc_pool *pool);
/* Sends what has become due. */
void mcplc_connection_expired(struct mcplc_pool *pool);
/* May be called twice. The memory stays until mcplc_connection_free_closed(). */
void mcplc_connection_close(struct mcplc_pool *pool, struct mcplc_connection *connection,
			    const char *reason);
void mcplc_connection_close_all(struct mcplc_pool *pool, const char *reason);
void mcplc_connection_free_closed(struct mcplc_pool *pool);

#endif
