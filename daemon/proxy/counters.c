/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/counters.h"

#include <errno.h>

static void add(atomic_ullong *counter, uint64_t count)
{
	atomic_fetch_add_explicit(counter, count, memory_order_relaxed);
}

const char *counters_handshake_name(enum counters_handshake outcome)
{
	static const char *const NAMES[COUNTERS_HANDSHAKES] = {
		[COUNTERS_HANDSHAKE_FULL] = "full",       [COUNTERS_HANDSHAKE_RESUMED] = "resumed",
		[COUNTERS_HANDSHAKE_FAILED] = "failed",   [COUNTERS_HANDSHAKE_TIMEOUT] = "timeout",
		[COUNTERS_HANDSHAKE_EVICTED] = "evicted",
	};

	return NAMES[outcome];
}

void counters_shaken(struct counters *counters, const struct session *session, int result,
		     bool resumed)
{
	enum counters_handshake outcome = COUNTERS_HANDSHAKE_FAILED;

	if (result == 0)
		outcome = resumed ? COUNTERS_HANDSHAKE_RESUMED : COUNTERS_HANDSHAKE_FULL;
	else if (result == -ETIMEDOUT)
		outcome = COUNTERS_HANDSHAKE_TIMEOUT;
	else if (result == -EBUSY)
		outcome = COUNTERS_HANDSHAKE_EVICTED;
	add(&counters->handshakes[session->role][outcome], 1);
}

static atomic_uint *relaying(struct counters *counters, const struct session *session)
{
	enum counters_path path = session_keys_in_kernel(session) ? COUNTERS_KERNEL : COUNTERS_USER;

	return &counters->relaying[session->role][path][session_engine(session)];
}

void counters_session_enters(struct counters *counters, const struct session *session,
			     enum session_state state)
{
	bool relays = session->state == SESSION_RELAYING || session->state == SESSION_DRAINING;

	if (state == SESSION_RELAYING)
		atomic_fetch_add_explicit(relaying(counters, session), 1, memory_order_relaxed);
	if (state != SESSION_CLOSED)
		return;
	if (relays)
		atomic_fetch_sub_explicit(relaying(counters, session), 1, memory_order_relaxed);
	add(&counters->closed[session->role][session->reason], 1);
	add(&counters->bytes_to_plc[session->role], session->directions[LEG_NEAR].bytes);
	add(&counters->bytes_from_plc[session->role], session->directions[LEG_FAR].bytes);
}
