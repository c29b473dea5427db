/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deadlines of one thread: a binary heap ordered by time. Setting and stopping cost O(log n) and
 * no system call; the ring sleeps until the earliest. Not for use by several threads.
 */
#ifndef MCSEAL_RING_TIMER_H
#define MCSEAL_RING_TIMER_H

#include "base/clock.h"

#include <stdbool.h>
#include <stddef.h>

/* Zero-initialised = not set. */
struct timer {
	void (*expired)(struct timer *timer); /* set by the owner before timer_set() */
	clock_us when;
	size_t slot; /* 1-based place in the heap; 0 = not set */
};

struct timer_heap {
	struct timer **slots; /* slots[0] is the earliest */
	size_t count, capacity;
};

/* (Re)arms for the absolute time `when`. 0, or -ENOMEM with the timer not set. */
int timer_set(struct timer_heap *heap, struct timer *timer, clock_us when);
/* A no-op for a timer that is not set. */
void timer_stop(struct timer_heap *heap, struct timer *timer);
static inline bool timer_is_set(const struct timer *timer)
{
	return timer->slot != 0;
}
/* The earliest deadline, CLOCK_NEVER when there is none. */
clock_us timer_next(const struct timer_heap *heap);
/* Calls expired() of every timer due at `now`; each is stopped before it is called. */
void timer_expire(struct timer_heap *heap, clock_us now);
void timer_heap_deinit(struct timer_heap *heap);

#endif
