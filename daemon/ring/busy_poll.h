/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When to look for completions a little longer before going to sleep.
 *
 * Falling asleep and being woken costs a thread microseconds of CPU time, in a virtual machine ten
 * and more, and the message that wakes it waits meanwhile. Where the next one comes sooner than
 * that, looking is much faster and costs nothing more; where it does not, looking is waste. Which
 * it is depends on the machine and on who talks, so both are tried and their CPU time is compared:
 *
 * Completions are counted in windows. Where sleeps have been short for some windows, one is spent
 * looking. If a completion took no more CPU time than in the last window of sleeping, the next
 * ones are, too, with a short window of sleeping now and then to compare with; otherwise twice as
 * many windows go by until the next try.
 *
 * Plain memory, no system calls; belongs to one thread.
 */
#ifndef MCSEAL_RING_BUSY_POLL_H
#define MCSEAL_RING_BUSY_POLL_H

#include "base/clock.h"

#include <stdbool.h>
#include <stdint.h>

struct busy_poll {
	bool looking;
	bool comparing;                           /* a window of sleeping between two of looking */
	unsigned int completions, rounds, misses; /* of this window */
	unsigned int windows;      /* in a row: that speak for a try, or of looking */
	unsigned int wanted;       /* windows until the next try */
	clock_us began, cpu_began; /* of this window */
	int64_t sleeping_cost;     /* CPU time for a completion, nanoseconds; 0: not known */
};

void busy_poll_init(struct busy_poll *poll);
/* For how many microseconds to look before the next sleep; 0: sleep at once. */
clock_us busy_poll_span(const struct busy_poll *poll);
/*
 * To be told of every wait: how many completions it brought, and whether it had been looked for
 * them in vain before. True: the window is over, and busy_poll_judge() is to be called.
 */
bool busy_poll_count(struct busy_poll *poll, unsigned int completions, bool missed);
/* `now`: clock_now(); `cpu`: this thread's CPU time so far, in microseconds. */
void busy_poll_judge(struct busy_poll *poll, clock_us now, clock_us cpu);

#endif
