/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * The free slots are the first entries of `rested`, each with the time from which it may be
 * dialled; taking one moves the last free entry into its place. Which slot of the PLC a connection
 * really gets is the PLC's affair: only number and rest matter.
 */
#include "plant/plc_slots.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

/* How soon to ask again while all slots are in use: nobody tells when one comes back. */
#define ASK_AGAIN (20 * CLOCK_MS)

struct plc_slots {
	pthread_mutex_t lock;
	unsigned int taken, count; /* taken may be more for a while, after a resize */
	clock_us *rested;          /* of the free ones: rested[0 .. count - taken) */
};

int plc_slots_new(unsigned int count, struct plc_slots **out)
{
	struct plc_slots *slots = calloc(1, sizeof(*slots));
	clock_us *rested = calloc(count, sizeof(*rested));

	if (slots == NULL || rested == NULL) {
		free(slots);
		free(rested);
		return -ENOMEM;
	}
	pthread_mutex_init(&slots->lock, NULL);
	slots->count = count;
	slots->rested = rested;
	*out = slots;
	return 0;
}

void plc_slots_free(struct plc_slots *slots)
{
	if (slots == NULL)
		return;
	pthread_mutex_destroy(&slots->lock);
	free(slots->rested);
	free(slots);
}

static unsigned int free_ones(const struct plc_slots *slots)
{
	return slots->count > slots->taken ? slots->count - slots->taken : 0;
}

int plc_slots_resize(struct plc_slots *slots, unsigned int count)
{
	unsigned int had;
	clock_us *rested;
	int error = 0;

	pthread_mutex_lock(&slots->lock);
	had = free_ones(slots);
	rested = count > slots->count ? reallocarray(slots->rested, count, sizeof(*rested))
				      : slots->rested;
	if (rested != NULL) {
		slots->rested = rested;
		slots->count = count;
		for (unsigned int i = had; i < free_ones(slots); i++)
			rested[i] = 0;
	} else {
		error = -ENOMEM;
	}
	pthread_mutex_unlock(&slots->lock);
	return error;
}

void plc_slots_count(struct plc_slots *slots, unsigned int *taken, unsigned int *count)
{
	pthread_mutex_lock(&slots->lock);
	*taken = slots->taken;
	*count = slots->count;
	pthread_mutex_unlock(&slots->lock);
}

static int take(struct plc_slots *slots, clock_us now, clock_us *retry)
{
	unsigned int free_count = free_ones(slots);
	unsigned int best = 0;

	if (free_count == 0) {
		*retry = now + ASK_AGAIN;
		return PLC_SLOTS_WAIT;
	}
	for (unsigned int i = 1; i < free_count; i++)
		if (slots->rested[i] < slots->rested[best])
			best = i;
	if (slots->rested[best] > now) {
		*retry = slots->rested[best];
		return PLC_SLOTS_WAIT;
	}
	slots->rested[best] = slots->rested[free_count - 1];
	slots->taken++;
	return 0;
}

int plc_slots_take(struct plc_slots *slots, clock_us now, clock_us *retry)
{
	int outcome;

	pthread_mutex_lock(&slots->lock);
	outcome = take(slots, now, retry);
	pthread_mutex_unlock(&slots->lock);
	return outcome;
}

void plc_slots_give(struct plc_slots *slots, clock_us rested)
{
	pthread_mutex_lock(&slots->lock);
	slots->taken--;
	if (free_ones(slots) > 0)
		slots->rested[free_ones(slots) - 1] = rested;
	pthread_mutex_unlock(&slots->lock);
}
