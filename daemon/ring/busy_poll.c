/* SPDX-License-Identifier: Apache-2.0 */
#include "ring/busy_poll.h"

/*
 * To look for so long at most. Longer than pays: those who send may themselves have to be woken
 * until it has gone on for a while.
 */
#define SPAN           ((clock_us)100)
#define WINDOW         256 /* completions */
#define COMPARE_WINDOW 64
#define COMPARE_EVERY  256 /* windows of looking */
#define MISSES         32  /* so many in a window are enough to end it */
/* Rounds further apart than this on average are not worth a try. */
#define GAP            ((clock_us)150)
/* Where so many come in one round there is work enough, and sleeping gathers more for the next. */
#define GATHERED       8
#define WANTED_MIN     1
#define WANTED_MAX     4096
#define TRUSTED        8 /* windows of looking in a row: the next try need not wait */

void busy_poll_init(struct busy_poll *poll)
{
	*poll = (struct busy_poll){.wanted = WANTED_MIN};
}

clock_us busy_poll_span(const struct busy_poll *poll)
{
	return poll->looking ? SPAN : 0;
}

bool busy_poll_count(struct busy_poll *poll, unsigned int completions, bool missed)
{
	poll->rounds++;
	poll->completions += completions;
	poll->misses += missed;
	return poll->completions >= (poll->comparing ? COMPARE_WINDOW : WINDOW) ||
	       poll->misses > MISSES;
}

static void sleep_again(struct busy_poll *poll)
{
	poll->looking = false;
	poll->windows = 0;
	if (poll->wanted < WANTED_MAX)
		poll->wanted *= 2;
}

static void judge_looking(struct busy_poll *poll, int64_t cost)
{
	/* A twentieth more is forgiven: two windows never cost quite the same. */
	if (poll->misses > MISSES || cost > poll->sleeping_cost + poll->sleeping_cost / 20) {
		sleep_again(poll);
		return;
	}
	poll->windows++;
	if (poll->windows == TRUSTED)
		poll->wanted = WANTED_MIN;
	if (poll->windows % COMPARE_EVERY == 0) {
		poll->looking = false;
		poll->comparing = true;
	}
}

static void judge_sleeping(struct busy_poll *poll, int64_t cost, clock_us gap)
{
	poll->sleeping_cost = cost;
	if (gap > GAP || poll->completions / poll->rounds >= GATHERED) {
		poll->windows = 0;
	} else if (poll->comparing || ++poll->windows >= poll->wanted) {
		poll->looking = true;
		poll->windows = poll->comparing ? poll->windows : 0;
	}
	poll->comparing = false;
}

void busy_poll_judge(struct busy_poll *poll, clock_us now, clock_us cpu)
{
	bool measured = poll->began != 0;
	int64_t cost = (cpu - poll->cpu_began) * 1000 / (poll->completions + 1);
	clock_us gap = (now - poll->began) / poll->rounds;

	if (measured && poll->looking)
		judge_looking(poll, cost);
	else if (measured)
		judge_sleeping(poll, cost, gap);
	poll->completions = poll->rounds = poll->misses = 0;
	poll->began = now;
	poll->cpu_began = cpu;
}
