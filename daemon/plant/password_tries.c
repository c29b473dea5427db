/* SPDX-License-Identifier: Apache-2.0 */
#include "plant/password_tries.h"

#include <string.h>

void password_tries_init(struct password_tries *tries)
{
	memset(tries, 0, sizeof(*tries));
	pthread_mutex_init(&tries->lock, NULL);
}

void password_tries_deinit(struct password_tries *tries)
{
	pthread_mutex_destroy(&tries->lock);
}

static void drop_oldest(struct password_tries *tries, unsigned int count)
{
	tries->count -= count;
	memmove(tries->wrong, tries->wrong + count, tries->count * sizeof(tries->wrong[0]));
}

static unsigned int left(struct password_tries *tries, clock_us now)
{
	unsigned int old = 0;

	while (old < tries->count && tries->wrong[old] + tries->time <= now)
		old++;
	drop_oldest(tries, old);
	return tries->count + tries->asking < tries->limit
		       ? tries->limit - tries->count - tries->asking
		       : 0;
}

void password_tries_set(struct password_tries *tries, unsigned int limit, clock_us time)
{
	pthread_mutex_lock(&tries->lock);
	tries->limit = limit < PASSWORD_TRIES_MAX ? limit : PASSWORD_TRIES_MAX;
	tries->time = time;
	pthread_mutex_unlock(&tries->lock);
}

bool password_tries_begin(struct password_tries *tries, clock_us now)
{
	bool may;

	pthread_mutex_lock(&tries->lock);
	may = left(tries, now) > 0;
	if (may)
		tries->asking++;
	pthread_mutex_unlock(&tries->lock);
	return may;
}

void password_tries_end(struct password_tries *tries, bool wrong, clock_us now)
{
	pthread_mutex_lock(&tries->lock);
	tries->asking--;
	if (wrong && tries->count == PASSWORD_TRIES_MAX)
		drop_oldest(tries, 1);
	if (wrong)
		tries->wrong[tries->count++] = now;
	pthread_mutex_unlock(&tries->lock);
}

unsigned int password_tries_left(struct password_tries *tries, clock_us now)
{
	unsigned int count;

	pthread_mutex_lock(&tries->lock);
	count = left(tries, now);
	pthread_mutex_unlock(&tries->lock);
	return count;
}
