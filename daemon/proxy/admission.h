/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may begin a session: so many at once at a listener, from one source, and from one source that
 * have not shown a good certificate yet (`sessions` of an edge or gateway, `limits` in
 * docs/mcseald.conf.md). How many there may be in all is counted by session.c.
 *
 * A source is an address: behind a gateway's every edge is one. Counted over all workers; any
 * thread.
 */
#ifndef MCSEAL_PROXY_ADMISSION_H
#define MCSEAL_PROXY_ADMISSION_H

#include "base/clock.h"
#include "config/config.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/queue.h>

#define ADMISSION_BUCKETS 1024

struct admission_source;
LIST_HEAD(admission_sources, admission_source);

/* Zero-initialised = nobody is here. Visible to be embedded; only admission.c writes the fields. */
struct admission {
	pthread_mutex_t lock;
	struct admission_sources sources[ADMISSION_BUCKETS];
	unsigned int *listeners; /* sessions of each edge, then of each gateway */
	size_t listener_count;
	clock_us told;              /* when the second began in which ... */
	unsigned int lines, untold; /* ... so many refusals were told, and so many not */
};

enum admission_reason {
	ADMISSION_GRANTED,
	ADMISSION_SESSIONS, /* limits.sessions: session.c's */
	ADMISSION_LISTENER,
	ADMISSION_SOURCE,
	ADMISSION_HANDSHAKES, /* of one source */
	ADMISSION_NO_MEMORY,
	ADMISSION_REASONS,
};

/* What a session holds. Zero-initialised = nothing. */
struct admission_place {
	struct admission_source *source; /* NULL: its address was not to be had */
	size_t listener;
	bool held, greeting;
};

/* "session-limit", "listener-limit", ... as in the log and in metrics. */
const char *admission_reason_name(enum admission_reason reason);
/*
 * Takes a place at that edge or gateway (the other is NULL) for a client, whose family may be
 * AF_UNSPEC. A gateway's client is `greeting` until admission_greeted().
 */
enum admission_reason admission_take(struct admission *admission, const struct config *config,
				     const struct config_edge *edge,
				     const struct config_gateway *gateway,
				     const struct address *client, struct admission_place *place);
/* It has shown a good certificate. */
void admission_greeted(struct admission *admission, struct admission_place *place);
/* The session is no more. */
void admission_give(struct admission *admission, struct admission_place *place);
/* Is this refusal one of few enough to be told? *untold: how many were not, since the last one. */
bool admission_may_tell(struct admission *admission, clock_us now, unsigned int *untold);
/* For handshake_pool.h: equal for sessions of one source, and not to be guessed from outside. */
uint32_t admission_source(const struct address *client);
/* When nobody holds a place any more. */
void admission_deinit(struct admission *admission);

#endif
