/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * A look notes of each file what stat(2) tells. One that is like the look before is of files at
 * rest; if it is then neither like what is in force nor like what was last tried, they are read.
 */
#include "control/renewal.h"

#include "base/error.h"
#include "config/config_files.h"
#include "control/reload.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LOOK_EACH ((uint64_t)CLOCK_SEC)

/* Zeroed: there is no such file. */
struct mark {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec modified, changed;
};

struct look {
	struct mark *marks; /* of the configuration's files, in the order of config_each_file() */
	size_t count;
};

struct renewal {
	struct reload *reload;
	sd_event_source *timer;
	struct look in_force, last, tried;
};

/* --- a look ---------------------------------------------------------------------------------- */

static void clear(struct look *look)
{
	free(look->marks);
	*look = (struct look){0};
}

static int count_file(void *context, enum config_use use, const char *file)
{
	struct look *look = context;

	(void)file;
	look->count += use == CONFIG_USE_READ;
	return 0;
}

static int mark_file(void *context, enum config_use use, const char *file)
{
	struct look *look = context;
	struct mark *mark = &look->marks[look->count];
	struct stat status;

	if (use != CONFIG_USE_READ)
		return 0;
	look->count++;
	if (stat(file, &status) < 0)
		return 0;
	mark->device = status.st_dev;
	mark->inode = status.st_ino;
	mark->size = status.st_size;
	mark->modified = status.st_mtim;
	mark->changed = status.st_ctim;
	return 0;
}

/* False: no memory. */
static bool take(struct look *look, const struct config *config)
{
	*look = (struct look){.count = 0};
	(void)config_each_file(config, count_file, look);
	look->marks = calloc(look->count + 1, sizeof(*look->marks));
	look->count = 0;
	if (look->marks != NULL)
		(void)config_each_file(config, mark_file, look);
	return look->marks != NULL;
}

static bool same_time(const struct timespec *one, const struct timespec *other)
{
	return one->tv_sec == other->tv_sec && one->tv_nsec == other->tv_nsec;
}

static bool same_mark(const struct mark *one, const struct mark *other)
{
	return one->device == other->device && one->inode == other->inode &&
	       one->size == other->size && same_time(&one->modified, &other->modified) &&
	       same_time(&one->changed, &other->changed);
}

/* The number of the first file that is another than it was then; SIZE_MAX: none. */
static size_t difference(const struct look *now, const struct look *then)
{
	for (size_t i = 0; i < now->count; i++)
		if (i >= then->count || !same_mark(&now->marks[i], &then->marks[i]))
			return i;
	return SIZE_MAX;
}

struct search {
	size_t left; /* until the file that is looked for */
	char file[PATH_MAX];
};

static int find_file(void *context, enum config_use use, const char *file)
{
	struct search *search = context;

	if (use == CONFIG_USE_READ && search->left-- == 0)
		snprintf(search->file, sizeof(search->file), "%s", file);
	return search->file[0] != '\0';
}

/* --- from time to time ----------------------------------------------------------------------- */

static void keep(struct look *place, struct look *look)
{
	clear(place);
	*place = *look;
}

/* They are at rest, and others than those that were read last. What was seen before counts then. */
static void read_again(struct renewal *renewal, struct look *look, size_t changed)
{
	struct search search = {.left = changed};
	struct reload *reload = renewal->reload;

	(void)config_each_file(reload->snapshot->config, find_file, &search);
	keep(reload_files(reload, search.file, stderr) == 0 ? &renewal->in_force : &renewal->tried,
	     look);
}

static void look_again(struct renewal *renewal)
{
	struct look look;
	size_t changed;

	if (!take(&look, renewal->reload->snapshot->config))
		return;
	changed = difference(&look, &renewal->in_force);
	if (changed != SIZE_MAX && difference(&look, &renewal->last) == SIZE_MAX &&
	    difference(&look, &renewal->tried) != SIZE_MAX)
		read_again(renewal, &look, changed);
	else
		keep(&renewal->last, &look);
}

static int schedule(struct renewal *renewal)
{
	bool wanted = renewal->reload->snapshot->config->reload_on_change;
	int error = sd_event_source_set_time_relative(renewal->timer, LOOK_EACH);

	return error < 0 ? error
			 : sd_event_source_set_enabled(renewal->timer,
						       wanted ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static int due(sd_event_source *source, uint64_t time, void *context)
{
	(void)source;
	(void)time;
	look_again(context);
	return schedule(context);
}

void renewal_settle(struct renewal *renewal)
{
	struct look look;

	if (renewal == NULL)
		return;
	clear(&renewal->in_force);
	clear(&renewal->last);
	clear(&renewal->tried);
	/* Without memory for it, the files are read once more. */
	if (take(&look, renewal->reload->snapshot->config))
		keep(&renewal->in_force, &look);
	(void)schedule(renewal);
}

int renewal_new(sd_event *loop, struct reload *reload, struct renewal **out)
{
	struct renewal *renewal = calloc(1, sizeof(*renewal));
	int error;

	if (renewal == NULL)
		return -ENOMEM;
	renewal->reload = reload;
	error = sd_event_add_time_relative(loop, &renewal->timer, CLOCK_MONOTONIC, LOOK_EACH, 0,
					   due, renewal);
	if (error < 0) {
		renewal_free(renewal);
		return error;
	}
	renewal_settle(renewal);
	*out = renewal;
	return 0;
}

void renewal_free(struct renewal *renewal)
{
	if (renewal == NULL)
		return;
	sd_event_source_disable_unref(renewal->timer);
	clear(&renewal->in_force);
	clear(&renewal->last);
	clear(&renewal->tried);
	free(renewal);
}
