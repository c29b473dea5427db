/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look at the sessions of all workers, newest first on each, on the workers' own threads. In
 * pieces: between two of them a worker serves its traffic, and sessions come and go.
 */
#ifndef MCSEAL_PROXY_SESSION_WALK_H
#define MCSEAL_PROXY_SESSION_WALK_H

#include "proxy/errand.h"
#include "proxy/session.h"

/* What a piece may cost, in steps; some tens of microseconds. */
#define SESSION_WALK_PIECE 512

struct session_walk;

struct session_walk_visitor {
	/*
	 * On the worker's thread. May close the session, not free it. How many steps it has cost;
	 * 0: no more of this worker's.
	 */
	unsigned int (*visit)(void *context, unsigned int worker, struct session *session);
	void *context; /* outlives the walk */
};

/*
 * Begins one; sessions that begin meanwhile are not visited, each other one is, unless it ends
 * first. Closed ones are passed over. 0 or -errno.
 */
int session_walk_new(struct worker **workers, unsigned int count,
		     const struct session_walk_visitor *visitor, struct session_walk **walk);
/* Waits for the workers that are still at it. Accepts NULL. */
void session_walk_free(struct session_walk *walk);
/* As errand_descriptor() and errand_is_done(). */
int session_walk_descriptor(const struct session_walk *walk);
bool session_walk_is_done(const struct session_walk *walk);

/* For session.c: on the worker's thread, before the session leaves the worker's list. */
void session_walk_pass(struct session *session);

#endif
