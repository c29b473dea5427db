/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many wrong remote passwords may still reach a PLC.
 *
 * iQ-R and FX5 CPUs refuse every password for a while after several wrong ones: whoever may try
 * can lock everybody out (CVE-2025-5241, CVE-2021-20598). Counted over all who ask, below the
 * PLC's own number. Any thread.
 */
#ifndef MCSEAL_PLANT_PASSWORD_TRIES_H
#define MCSEAL_PLANT_PASSWORD_TRIES_H

#include "base/clock.h"

#include <pthread.h>
#include <stdbool.h>

#define PASSWORD_TRIES_MAX 16

struct password_tries {
	pthread_mutex_t lock;
	unsigned int limit; /* wrong ones within `time` */
	clock_us time;
	unsigned int asking;                /* sent to the PLC and not answered */
	unsigned int count;                 /* wrong ones that still count: ... */
	clock_us wrong[PASSWORD_TRIES_MAX]; /* ... when, the oldest first */
};

void password_tries_init(struct password_tries *tries);
void password_tries_deinit(struct password_tries *tries);
/* 1 to PASSWORD_TRIES_MAX wrong ones within `time`. */
void password_tries_set(struct password_tries *tries, unsigned int limit, clock_us time);

/* May another be sent? True: password_tries_end() must follow. Those under way count as wrong. */
bool password_tries_begin(struct password_tries *tries, clock_us now);
/* It was `wrong` (refused, or never answered: it may have been) or right. */
void password_tries_end(struct password_tries *tries, bool wrong, clock_us now);
/* How many could be sent at `now`. */
unsigned int password_tries_left(struct password_tries *tries, clock_us now);

#endif
