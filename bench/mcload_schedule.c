/* SPDX-License-Identifier: Apache-2.0 */
#include "mcload_schedule.h"

void mcload_schedule_init(struct mcload_schedule *schedule, int64_t start, int64_t interval,
			  uint32_t connections, bool together)
{
	*schedule = (struct mcload_schedule){.start = start,
					     .interval = interval,
					     .connections = connections,
					     .together = together};
}

/* From 0 to below the interval. In two parts, so that no product leaves 64 bits. */
static int64_t phase(const struct mcload_schedule *schedule, uint32_t connection)
{
	int64_t each = schedule->interval / schedule->connections;
	int64_t rest = schedule->interval % schedule->connections;

	if (schedule->together)
		return 0;
	return each * connection + rest * connection / schedule->connections;
}

int64_t mcload_schedule_due(const struct mcload_schedule *schedule, uint32_t connection,
			    uint64_t round)
{
	return schedule->start + (int64_t)round * schedule->interval + phase(schedule, connection);
}

int64_t mcload_schedule_wake(const struct mcload_schedule *schedule)
{
	return mcload_schedule_due(schedule, (uint32_t)(schedule->next % schedule->connections),
				   schedule->next / schedule->connections);
}

bool mcload_schedule_take(struct mcload_schedule *schedule, int64_t now, uint32_t *connection)
{
	if (mcload_schedule_wake(schedule) > now)
		return false;
	*connection = (uint32_t)(schedule->next % schedule->connections);
	schedule->next++;
	return true;
}
