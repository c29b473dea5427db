/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * A look notes of each file what stat(2) tells. One that is like the look before is of files at
 * rest; if it is then neither like what is in force nor like what was last tried, they are read.
 */
#include "control/renewal.h"

#include "base/error.h"
#include "base/log.h"
#include "control/reload.h"

#include <errno.h>
#include <limits.h>
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
	const char **files; /* the configuration's; NULL: it is kept */
	struct mark *marks;
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
	free(look->files);
	free(look->marks);
	*look = (struct look){0};
}

static void mark_file(struct look *look, const char *file)
{
	struct mark *mark = &look->marks[look->count];
	struct stat status;

	if (file == NULL)
		return;
	look->files[look->count++] = file;
	if (stat(file, &status) < 0)
		return;
	mark->device = status.st_dev;
	mark->inode = status.st_ino;
	mark->size = status.st_size;
	mark->modified = status.st_mtim;
	mark->changed = status.st_ctim;
}

static void mark_credentials(struct look *look, const struct config_credentials *credentials)
{
	mark_file(look, credentials->certificate);
	mark_file(look, credentials->key);
	mark_file(look, credentials->ca);
	mark_file(look, credentials->crl);
}

#define FILES_OF_CREDENTIALS 4

static size_t most_files(const struct config *config)
{
	size_t sections = config->gateway_count + config->edge_count;

	for (size_t i = 0; i < config->edge_count; i++)
		sections += config->edges[i].source_count;
	return sections * FILES_OF_CREDENTIALS + config->plc_count;
}

/* False: no memory. */
static bool take(struct look *look, const struct config *config)
{
	size_t most = most_files(config);

	*look = (struct look){
		.files = calloc(most + 1, sizeof(*look->files)),
		.marks = calloc(most + 1, sizeof(*look->marks)),
	};
	if (look->files == NULL || look->marks == NULL) {
		clear(look);
		return false;
	}
	for (size_t i = 0; i < config->gateway_count; i++)
		mark_credentials(look, &config->gateways[i].credentials);
	for (size_t i = 0; i < config->edge_count; i++) {
		const struct config_edge *edge = &config->edges[i];

		mark_credentials(look, &edge->credentials);
		for (size_t j = 0; j < edge->source_count; j++)
			mark_credentials(look, &edge->sources[j].credentials);
	}
	for (size_t i = 0; i < config->plc_count; i++)
		mark_file(look, config->plcs[i].remote_password_file);
	return true;
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

/* The first file that is another than it was then; NULL: none. */
static const char *difference(const struct look *now, const struct look *then)
{
	for (size_t i = 0; i < now->count; i++)
		if (i >= then->count || !same_mark(&now->marks[i], &then->marks[i]))
			return now->files[i];
	return NULL;
}

/* --- from time to time ----------------------------------------------------------------------- */

/* Its marks; the names are those of a configuration that may go. */
static void keep(struct look *place, struct look *look)
{
	clear(place);
	place->marks = look->marks;
	place->count = look->count;
	look->marks = NULL;
	clear(look);
}

/* They are at rest, and others than those that were read last. What was seen before counts then. */
static void read_again(struct renewal *renewal, struct look *look, const char *changed)
{
	char file[PATH_MAX];

	/* Its configuration may be gone before the line is written. */
	snprintf(file, sizeof(file), "%s", changed);
	keep(reload_files(renewal->reload, file, stderr) == 0 ? &renewal->in_force
							      : &renewal->tried,
	     look);
}

static void look_again(struct renewal *renewal)
{
	struct look look;
	const char *changed;

	if (!take(&look, renewal->reload->snapshot->config))
		return;
	changed = difference(&look, &renewal->in_force);
	if (changed != NULL && difference(&look, &renewal->last) == NULL &&
	    difference(&look, &renewal->tried) != NULL)
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
