/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may ask a PLC next, when it is given only so many requests at a time.
 *
 * Identities take turns, however many connections each has and however fast it asks: with one
 * request at a time, somebody who asks seldom waits for at most one request of each of the others.
 * Within an identity the one who has waited longest is next.
 */
#ifndef MCSEAL_PLANT_TURNS_H
#define MCSEAL_PLANT_TURNS_H

#include "plant/account.h"

#include <pthread.h>

enum turns_outcome {
	TURNS_WAIT = 1, /* granted() will be called */
};

enum turn_state {
	TURN_NONE,
	TURN_WAITING,
	TURN_TAKEN,
};

/* One who asks; zero-initialised but for the first two. Its account must not change meanwhile. */
struct turn {
	/* Called by whichever thread gave its turn back; under a lock: it may only post a message.
	 */
	void (*granted)(struct turn *turn);
	struct account *account;
	enum turn_state state; /* turns.c's */
	TAILQ_ENTRY(turn) entry;
};

TAILQ_HEAD(account_round, account);

struct turns {
	pthread_mutex_t lock;
	unsigned int limit, taken;  /* limit 0: none */
	struct account_round round; /* accounts with waiters; the first is next */
};

void turns_init(struct turns *turns);
void turns_deinit(struct turns *turns);
/* At most `limit` at a time from now on, or 0: any number. Any thread. */
void turns_set_limit(struct turns *turns, unsigned int limit);

/* 0: it is yours until turns_end(). Or TURNS_WAIT. Any thread, one at a time for one turn. */
int turns_take(struct turns *turns, struct turn *turn);
/*
 * Gives a turn back, or stops waiting for one; nothing when there is neither. What it was: with
 * TURN_WAITING granted() has not been called since turns_take(), and will not be. Any thread.
 */
enum turn_state turns_end(struct turns *turns, struct turn *turn);

#endif
