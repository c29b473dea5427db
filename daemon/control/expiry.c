/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * A look takes a list of what there is and finds out how near each end is, in steps. One that has
 * come nearer than it was at the last look is told. The next look is due when the first comes
 * to its next step, and within an hour: the clock may have been set.
 */
#include "control/expiry.h"

#include "base/error.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>

#define DAY       (24 * 3600)
#define LOOK_EACH 3600 /* seconds, at the latest */

/* How near: the number of those that have been reached. */
static const time_t STEPS[] = {30 * DAY, 7 * DAY, 1 * DAY, 0};

struct expiry {
	struct snapshot *const *snapshot;
	sd_event_source *timer;
	struct paper_list known; /* of the last look, made at ... */
	time_t looked;
};

/* When a step of it is reached. */
static time_t when(const struct paper *paper, unsigned int step)
{
	time_t half = (paper->ends - paper->begins) / 2;

	return paper->ends - (STEPS[step] < half ? STEPS[step] : half);
}

static unsigned int step_of(const struct paper *paper, time_t now)
{
	unsigned int step = 0;

	while (step < ARRAY_SIZE(STEPS) && now >= when(paper, step))
		step++;
	return step;
}

/* What was told of it then, if it is the same still. */
static unsigned int step_told(const struct expiry *expiry, const struct paper *paper)
{
	for (size_t i = 0; i < expiry->known.count; i++) {
		const struct paper *known = &expiry->known.papers[i];

		if (known->kind == paper->kind && known->ends == paper->ends &&
		    strcmp(known->file, paper->file) == 0 && strcmp(known->name, paper->name) == 0)
			return step_of(known, expiry->looked);
	}
	return 0;
}

static void tell(const struct paper *paper, time_t now)
{
	bool ended = paper->ends <= now;
	char date[32];
	struct log_entry entry;
	struct tm utc;

	gmtime_r(&paper->ends, &utc);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &utc);
	log_begin(&entry, ended ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING,
		  ended ? "certificate-ended" : "certificate-ends-soon");
	log_field(&entry, "kind", "%s", paper_kind_name(paper->kind));
	log_field(&entry, "file", "%s", paper->file);
	log_field(&entry, "name", "%s", paper->name);
	log_field(&entry, "ends", "%s", date);
	if (!ended)
		log_field(&entry, "days", "%lld", (long long)((paper->ends - now) / DAY));
	log_end(&entry);
}

/* When the next of its steps is reached, or `until` if that is sooner. */
static time_t next_step(const struct paper *paper, time_t now, time_t until)
{
	unsigned int step = step_of(paper, now);
	time_t then = step < ARRAY_SIZE(STEPS) ? when(paper, step) : until;

	return then < until ? then : until;
}

void expiry_look(struct expiry *expiry)
{
	struct paper_list list = {0};
	time_t now = time(NULL), until = now + LOOK_EACH;

	if (expiry == NULL)
		return;
	/* Without memory for a list there is another look. */
	if (snapshot_list_papers(*expiry->snapshot, &list) == 0) {
		for (size_t i = 0; i < list.count; i++) {
			if (step_of(&list.papers[i], now) > step_told(expiry, &list.papers[i]))
				tell(&list.papers[i], now);
			until = next_step(&list.papers[i], now, until);
		}
		paper_list_clear(&expiry->known);
		expiry->known = list;
		expiry->looked = now;
	} else {
		paper_list_clear(&list);
	}
	(void)sd_event_source_set_time_relative(expiry->timer, (uint64_t)(until - now) * CLOCK_SEC);
	(void)sd_event_source_set_enabled(expiry->timer, SD_EVENT_ONESHOT);
}

static int due(sd_event_source *source, uint64_t time, void *context)
{
	(void)source;
	(void)time;
	expiry_look(context);
	return 0;
}

int expiry_new(sd_event *loop, struct snapshot *const *snapshot, struct expiry **out)
{
	struct expiry *expiry = calloc(1, sizeof(*expiry));
	int error;

	if (expiry == NULL)
		return -ENOMEM;
	expiry->snapshot = snapshot;
	error = sd_event_add_time_relative(loop, &expiry->timer, CLOCK_BOOTTIME, 0, 0, due, expiry);
	if (error < 0) {
		expiry_free(expiry);
		return error;
	}
	expiry_look(expiry);
	*out = expiry;
	return 0;
}

void expiry_free(struct expiry *expiry)
{
	if (expiry == NULL)
		return;
	sd_event_source_disable_unref(expiry->timer);
	paper_list_clear(&expiry->known);
	free(expiry);
}
