/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the requests of an open loop are due: each connection once in every interval, whether the
 * one before was answered or not. Latency is counted from there, so that a stall of the other side
 * shows in every request that it held up and not in the one alone that was under way
 * ("coordinated omission").
 */
#ifndef BENCH_MCLOAD_SCHEDULE_H
#define BENCH_MCLOAD_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

/* Times in nanoseconds. Visible to be embedded; only mcload_schedule.c writes the fields. */
struct mcload_schedule {
	int64_t start, interval;
	uint32_t connections;
	bool together; /* all at once; else spread evenly over the interval */
	uint64_t next; /* requests handed out */
};

void mcload_schedule_init(struct mcload_schedule *schedule, int64_t start, int64_t interval,
			  uint32_t connections, bool together);
/* When the request number `round` (from 0) of that connection is due. */
int64_t mcload_schedule_due(const struct mcload_schedule *schedule, uint32_t connection,
			    uint64_t round);
/* When the next one of any connection is. */
int64_t mcload_schedule_wake(const struct mcload_schedule *schedule);
/* Takes one that is due at `now`: its connection. False: none is. */
bool mcload_schedule_take(struct mcload_schedule *schedule, int64_t now, uint32_t *connection);

#endif
