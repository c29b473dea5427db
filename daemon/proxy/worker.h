/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker: one thread, one ring, its listeners and its sessions. A session stays on its worker
 * for life, so nothing on the data path is shared or locked.
 */
#ifndef MCSEAL_PROXY_WORKER_H
#define MCSEAL_PROXY_WORKER_H

#include "net/passed.h"
#include "proxy/audit_file.h"
#include "proxy/handshake_pool.h"
#include "proxy/inbox.h"
#include "proxy/session.h"
#include "proxy/snapshot.h"

#include <pthread.h>
#include <semaphore.h>

struct worker_listener {
	struct op accept;
	struct timer retry; /* accepting pauses when descriptors run out */
	struct worker *worker;
	int fd;      /* -1: drained */
	bool passed; /* a duplicate of the service manager's socket, which all workers have */
	struct address address;
	const struct config_edge *edge; /* one of the two */
	const struct config_gateway *gateway;
	bool draining; /* drain.c: `accept` has been cancelled, then it is closed */
};

LIST_HEAD(worker_sessions, session);
struct session_walk_place;
LIST_HEAD(worker_walks, session_walk_place);
struct drain;

/* Visible because sessions reach ring, inbox and pool; only worker.c writes the fields. */
struct worker {
	struct op_owner owner;
	struct op_owner woken;
	struct ring *ring;
	struct inbox inbox;
	struct handshake_pool *pool;
	struct snapshot *snapshot; /* a reference */
	struct worker_listener *listeners;
	size_t listener_count;
	struct worker_sessions sessions;
	struct worker_walks walks;           /* session_walk.c */
	size_t session_count, most_sessions; /* now; at once since there were none */

	struct pipe_pool *pipes;
	struct buffer_pool *buffers;
	struct counters *counters; /* of all workers */
	struct audit_file *audit;  /* of all workers */
	struct passed *passed;     /* of all workers; NULL: none. Asked on the main thread only */

	pthread_t thread;
	const struct capabilities *capabilities;
	unsigned int number;
	sem_t started, emptied; /* run() tells start and stop */
	struct message stop;
	struct message reload;
	struct snapshot *next; /* `reload` brings it */
	struct drain *drain;   /* under way here, or NULL */
	sem_t reloaded;
	bool stopping; /* listeners and sessions were told to end */
	int error;
};

/*
 * Opens all listeners of the configuration (logging the one that fails) and starts the thread.
 * `capabilities`, `counters`, `audit` and `passed` outlive the worker. Blocks until it runs. 0 or
 * -errno.
 */
int worker_new(unsigned int number, const struct capabilities *capabilities,
	       struct snapshot *snapshot, struct handshake_pool *pool, struct counters *counters,
	       struct audit_file *audit, struct passed *passed, struct worker **worker);
/*
 * From now on connections, and the sessions that there are, are under `snapshot`, which has the
 * same edges and gateways (config_compare_listeners()). Returns when the thread has done it.
 */
void worker_reload(struct worker *worker, struct snapshot *snapshot);
/*
 * Stops in two steps, because sessions in a handshake end only when the pool has answered:
 * closes listeners and sessions and returns when no session will start a handshake any more ...
 */
void worker_stop(struct worker *worker);
/* ... and, after handshake_pool_stop(), waits for the end and frees. Accepts NULL. */
void worker_join(struct worker *worker);

/* For drain.c: opens a listener as at the start, on the main thread. 0 or -errno; ... */
int worker_listen(const struct worker *worker, const struct worker_listener *listener, int *fd);
/* ... on the worker's thread: begin to accept; a connection that was accepted. */
void worker_accept(struct worker_listener *listener);
void worker_take(struct worker_listener *listener, int fd);
/* For session.c: on the worker's thread. */
void worker_session_added(struct worker *worker, struct session *session);
void worker_session_gone(struct worker *worker);

#endif
