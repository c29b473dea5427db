/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS handshakes on threads of their own, so that a plant's power-up (a thousand reconnects) or
 * a flood of half-open connections never delays a frame that is being relayed. The keys go to the
 * kernel there, too, and what OpenSSL needed for the handshake is freed.
 *
 * The number in progress is capped; further jobs wait in order. While some wait, a gateway's job
 * whose peer has sent nothing for HANDSHAKE_POOL_PATIENCE gives way, oldest first: connections
 * that only sit there cannot shut others out for longer.
 *
 * Sources take turns: whoever asks by the thousand waits behind itself. One source has at most
 * three quarters of the places, so that the next one finds some free; an edge's clients have no
 * such share.
 */
#ifndef MCSEAL_PROXY_HANDSHAKE_POOL_H
#define MCSEAL_PROXY_HANDSHAKE_POOL_H

#include "base/clock.h"
#include "proxy/capabilities.h"
#include "proxy/inbox.h"
#include "ring/ring.h"
#include "tls/handshake.h"
#include "tls/ktls_control.h"
#include "tls/tls_stream.h"

#include <time.h>

/* More than the round trip that a ClientHello needs to follow its connection. */
#define HANDSHAKE_POOL_PATIENCE (300 * CLOCK_MS)

struct handshake_pool;
struct handshake_thread;

/* One handshake. The poster fills the first block and owns the job again when it is answered. */
struct handshake_job {
	const struct tls_context *context;
	int fd;                         /* connected; nobody else touches it meanwhile */
	struct handshake_server server; /* edge only */
	enum config_ktls ktls;          /* what to do with the keys */
	uint32_t source;                /* jobs that share it take one turn: admission_source() */
	clock_us time_allowed;          /* from the start of the handshake */
	struct inbox *reply_to;         /* gets `message`, deliver() set by the poster */
	struct message message;

	/* The answer: 0, -EPROTO, -ETIMEDOUT, -EBUSY (gave way), -ECANCELED (stop), -ENOMEM. */
	int result;
	/* Done: one of the two, the poster's to take; NULL there is then nothing to be freed. */
	struct ktls_control *kernel;          /* the kernel has the keys ... */
	struct tls_stream *stream;            /* ... or user space */
	const char *user_why;                 /* why not the kernel; static, NULL: as configured */
	const char *tls_version, *tls_cipher; /* for people; static */
	bool resumed;
	struct handshake_peer peer;
	time_t own_ends;          /* done: when the certificate ends that was shown; 0: none was */
	struct peer_chain *chain; /* done: a reference, the poster's to take */

	/* The pool's. */
	struct handshake *handshake;
	struct handshake_thread *thread;
	struct op_owner owner;
	struct op poll;
	struct timer deadline;
	struct message start;
	bool silent;
	clock_us begun;
	bool refused; /* the alert is out; waiting for the client to read it and close */
	TAILQ_ENTRY(handshake_job) entry;
};

/*
 * `limit` handshakes in progress over all `threads`. `capabilities` tell the engine and what the
 * kernel takes; what peers have shown is kept in `chains`. Both outlive the pool. 0 or -errno.
 */
int handshake_pool_new(const struct capabilities *capabilities, struct peer_chain_store *chains,
		       unsigned int threads, unsigned int limit, struct handshake_pool **pool);
/* What an answered job still holds, and the job. Accepts NULL. */
void handshake_job_free(struct handshake_job *job);
/*
 * Ends every job with -ECANCELED; their answers are posted before this returns. Nobody may start
 * a job any more. Accepts NULL.
 */
void handshake_pool_stop(struct handshake_pool *pool);
/* After handshake_pool_stop(). Accepts NULL. */
void handshake_pool_free(struct handshake_pool *pool);
/* Any thread. */
void handshake_pool_start(struct handshake_pool *pool, struct handshake_job *job);

#endif
