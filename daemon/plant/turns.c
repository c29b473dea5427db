/* SPDX-License-Identifier: Apache-2.0 */
#include "plant/turns.h"

void turns_init(struct turns *turns)
{
	pthread_mutex_init(&turns->lock, NULL);
	turns->limit = turns->taken = 0;
	TAILQ_INIT(&turns->round);
}

void turns_deinit(struct turns *turns)
{
	pthread_mutex_destroy(&turns->lock);
}

static bool has_room(const struct turns *turns)
{
	return turns->limit == 0 || turns->taken < turns->limit;
}

static void take(struct turns *turns, struct turn *turn)
{
	turn->state = TURN_TAKEN;
	turns->taken++;
}

/* The account's first; the account itself goes to the end of the round. */
static void grant_next(struct turns *turns)
{
	struct account *account = TAILQ_FIRST(&turns->round);
	struct turn *turn = TAILQ_FIRST(&account->waiters);

	TAILQ_REMOVE(&account->waiters, turn, entry);
	TAILQ_REMOVE(&turns->round, account, round);
	if (!TAILQ_EMPTY(&account->waiters))
		TAILQ_INSERT_TAIL(&turns->round, account, round);
	take(turns, turn);
	turn->granted(turn);
}

static void grant(struct turns *turns)
{
	while (has_room(turns) && !TAILQ_EMPTY(&turns->round))
		grant_next(turns);
}

void turns_set_limit(struct turns *turns, unsigned int limit)
{
	pthread_mutex_lock(&turns->lock);
	turns->limit = limit;
	grant(turns);
	pthread_mutex_unlock(&turns->lock);
}

static void wait_in_line(struct turns *turns, struct turn *turn)
{
	struct account *account = turn->account;

	if (TAILQ_EMPTY(&account->waiters))
		TAILQ_INSERT_TAIL(&turns->round, account, round);
	TAILQ_INSERT_TAIL(&account->waiters, turn, entry);
	turn->state = TURN_WAITING;
}

int turns_take(struct turns *turns, struct turn *turn)
{
	bool taken;

	pthread_mutex_lock(&turns->lock);
	/* Nobody passes those who wait. */
	taken = has_room(turns) && TAILQ_EMPTY(&turns->round);
	if (taken)
		take(turns, turn);
	else
		wait_in_line(turns, turn);
	pthread_mutex_unlock(&turns->lock);
	return taken ? 0 : TURNS_WAIT;
}

static void leave_line(struct turns *turns, struct turn *turn)
{
	struct account *account = turn->account;

	TAILQ_REMOVE(&account->waiters, turn, entry);
	if (TAILQ_EMPTY(&account->waiters))
		TAILQ_REMOVE(&turns->round, account, round);
}

enum turn_state turns_end(struct turns *turns, struct turn *turn)
{
	enum turn_state was;

	pthread_mutex_lock(&turns->lock);
	was = turn->state;
	if (was == TURN_WAITING)
		leave_line(turns, turn);
	else if (was == TURN_TAKEN)
		turns->taken--;
	turn->state = TURN_NONE;
	grant(turns);
	pthread_mutex_unlock(&turns->lock);
	return was;
}
