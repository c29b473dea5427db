/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one identity has asked of one PLC, over all its sessions: counted for the metrics, and
 * held against what its policy allows (requests per second, connections).
 *
 * Any thread; no locks, no allocation. Counters only grow, gauges are named as such.
 */
#ifndef MCSEAL_PLANT_ACCOUNT_H
#define MCSEAL_PLANT_ACCOUNT_H

#include "mc/mc_command.h"
#include "plant/histogram.h"
#include "policy/policy.h"

#include <sys/queue.h>

#define ACCOUNT_END_CODES 16 /* different ones told apart; further ones are counted as others */

struct account_end_code {
	atomic_uint code; /* + 1; 0: free */
	atomic_ullong count;
};

struct turn;
TAILQ_HEAD(turn_queue, turn);

struct account {
	char *identity;
	SLIST_ENTRY(account) entry; /* of the PLC's list, which only grows */

	atomic_ullong requests[MC_CLASSES]; /* that passed, by class */
	atomic_ullong refused[POLICY_RULES];
	atomic_ullong observed[POLICY_RULES];                 /* would have been refused */
	atomic_ullong answers;                                /* with an end code of 0, ... */
	struct account_end_code end_codes[ACCOUNT_END_CODES]; /* ... and with others */
	atomic_ullong other_end_codes;
	atomic_ullong unanswered;
	atomic_ullong bytes_to_plc, bytes_from_plc;
	atomic_ullong sessions;    /* that began */
	atomic_uint sessions_open; /* gauge */
	struct histogram waiting;  /* of each request: from its last byte to when it was sent on, */
	struct histogram plc;      /* from then to the answer, */
	struct histogram total;    /* and both */

	_Atomic clock_us next_free; /* budget: when the next request is due at the allowed rate */

	/* turns.c, under its lock. */
	struct turn_queue waiters;
	TAILQ_ENTRY(account) round; /* in turns.round while anybody waits */
};

/*
 * Another request at `now`, of `rate` per second (> 0) with up to `burst` (> 0) at once: 0, and it
 * is counted; or the time at which asking again makes sense.
 */
clock_us account_spend(struct account *account, unsigned int rate, unsigned int burst,
		       clock_us now);
/* One more open session, of at most `limit` (0: any number)? False: not counted. */
bool account_open(struct account *account, unsigned int limit);
void account_close(struct account *account);
/* Whole frames went there and back. */
void account_moved(struct account *account, uint64_t bytes_to_plc, uint64_t bytes_from_plc);
/* An answer came, `plc` after its request had been sent on, `waited` before that. */
void account_answered(struct account *account, uint16_t end_code, clock_us waited, clock_us plc);

#endif
