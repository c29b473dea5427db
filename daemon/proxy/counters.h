/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to the sessions of this daemon, counted over all workers since its start. What
 * requests are about is in the plant's accounts. Only grows, but for the gauge. Any thread.
 */
#ifndef MCSEAL_PROXY_COUNTERS_H
#define MCSEAL_PROXY_COUNTERS_H

#include "proxy/admission.h"
#include "proxy/relay_engine.h"
#include "proxy/session.h"

enum counters_handshake {
	COUNTERS_HANDSHAKE_FULL,
	COUNTERS_HANDSHAKE_RESUMED,
	COUNTERS_HANDSHAKE_FAILED,
	COUNTERS_HANDSHAKE_TIMEOUT,
	COUNTERS_HANDSHAKE_EVICTED,
	COUNTERS_HANDSHAKES,
};

enum counters_path { /* who makes the records */
		     COUNTERS_USER,
		     COUNTERS_KERNEL,
		     COUNTERS_PATHS,
};

struct counters {
	struct admission admission; /* who may still come in; of its own thread-safety */
	atomic_uint sessions;       /* alive; against limits.sessions */
	atomic_ullong next_id;
	atomic_ullong accepted[SESSION_ROLES];
	atomic_ullong not_accepted[ADMISSION_REASONS];
	atomic_ullong accept_paused;
	atomic_ullong closed[SESSION_ROLES][SESSION_REASONS];
	atomic_ullong handshakes[SESSION_ROLES][COUNTERS_HANDSHAKES];
	atomic_ullong bytes_to_plc[SESSION_ROLES],
		bytes_from_plc[SESSION_ROLES];                              /* of ended ones */
	atomic_uint relaying[SESSION_ROLES][COUNTERS_PATHS][RELAY_ENGINES]; /* gauge */
	atomic_ullong audit_written, audit_lost; /* lines of the audit record */
};

/* "full", "resumed", "failed", "timeout", "evicted". */
const char *counters_handshake_name(enum counters_handshake outcome);
/* A handshake ended with `result` as of handshake_pool.h. */
void counters_shaken(struct counters *counters, const struct session *session, int result,
		     bool resumed);
/* Before its state becomes `state`. */
void counters_session_enters(struct counters *counters, const struct session *session,
			     enum session_state state);

#endif
