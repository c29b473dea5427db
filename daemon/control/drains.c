/* SPDX-License-Identifier: Apache-2.0 */
#include "control/drains.h"

#include "base/error.h"
#include "base/log.h"
#include "control/admin.h"
#include "proxy/dismissal.h"
#include "proxy/drain.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/epoll.h>

struct section {
	bool drained;
	clock_us until; /* then its sessions are told to end; 0: never */
};

struct drains {
	struct reload *running;
	sd_event *loop;
	struct section *sections; /* drain_section_of() */
	size_t section_count;

	/* What is under way for who asked. */
	struct drain *drain;
	bool *named; /* which it is about, drained already or not */

	bool *chosen; /* for the moment of a call */

	sd_event_source *timer; /* the next `until` */
	struct dismissal *dismissal;
	sd_event_source *dismissed;
};

static const struct config *config_of(const struct drains *drains)
{
	return drains->running->snapshot->config;
}

static const char *name_of(const struct config *config, size_t section)
{
	return section < config->edge_count ? config->edges[section].name
					    : config->gateways[section - config->edge_count].name;
}

static const char *role_of(const struct config *config, size_t section)
{
	return section < config->edge_count ? "edge" : "gateway";
}

static int64_t seconds_left(const struct section *section)
{
	clock_us left = section->until - clock_now();

	if (!section->drained || section->until == 0)
		return -1;
	return left > 0 ? (left + CLOCK_SEC - 1) / CLOCK_SEC : 0;
}

bool drains_has(const struct drains *drains, const struct config_edge *edge,
		const struct config_gateway *gateway, int64_t *left)
{
	const struct section *section =
		&drains->sections[drain_section_of(config_of(drains), edge, gateway)];

	*left = seconds_left(section);
	return section->drained;
}

/* --- when their time is over ---------------------------------------------------------------- */

static void set_timer(struct drains *drains)
{
	clock_us next = CLOCK_NEVER;

	for (size_t i = 0; i < drains->section_count; i++) {
		const struct section *section = &drains->sections[i];

		if (section->drained && section->until != 0 && section->until < next)
			next = section->until;
	}
	/* clock_now() is CLOCK_MONOTONIC, as the timer is. */
	if (next != CLOCK_NEVER)
		(void)sd_event_source_set_time(drains->timer, (uint64_t)next);
	(void)sd_event_source_set_enabled(drains->timer,
					  next != CLOCK_NEVER ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static void end_dismissal(struct drains *drains)
{
	drains->dismissed = sd_event_source_disable_unref(drains->dismissed);
	dismissal_free(drains->dismissal);
	drains->dismissal = NULL;
}

static int dismissed(sd_event_source *source, int fd, uint32_t events, void *context)
{
	struct drains *drains = context;
	struct dismissal_result result;

	(void)source;
	(void)fd;
	(void)events;
	(void)dismissal_get(drains->dismissal, &result);
	log_simple(LOG_LEVEL_INFO, "drain-over", "sessions", "%u", result.closed + result.ending);
	end_dismissal(drains);
	set_timer(drains); /* of one whose time ended meanwhile */
	return 0;
}

/* Takes what is due out of the sections. False: nothing is. */
static bool take_due(struct drains *drains, bool *due)
{
	clock_us now = clock_now();
	bool any = false;

	for (size_t i = 0; i < drains->section_count; i++) {
		struct section *section = &drains->sections[i];

		due[i] = section->drained && section->until != 0 && section->until <= now;
		if (due[i])
			section->until = 0;
		any |= due[i];
	}
	return any;
}

static int dismiss(struct drains *drains, const bool *due)
{
	const struct dismissal_order order = {.sections = due,
					      .section_count = drains->section_count};
	int error = dismissal_new(drains->running->workers, drains->running->worker_count, &order,
				  &drains->dismissal);

	if (error < 0)
		return error;
	error = sd_event_add_io(drains->loop, &drains->dismissed,
				dismissal_descriptor(drains->dismissal), EPOLLIN, dismissed,
				drains);
	if (error < 0)
		end_dismissal(drains);
	return error < 0 ? error : 0;
}

static int time_over(sd_event_source *source, uint64_t when, void *context)
{
	struct drains *drains = context;
	int error = 0;

	(void)source;
	(void)when;
	if (drains->dismissal != NULL)
		return 0; /* its end sets the timer again */
	if (take_due(drains, drains->chosen))
		error = dismiss(drains, drains->chosen);
	if (error < 0)
		log_simple(LOG_LEVEL_ERROR, "drain-failed", "error", "%s", strerrordesc_np(-error));
	set_timer(drains);
	return 0;
}

/* --- what is asked -------------------------------------------------------------------------- */

/* The sections of this name, all with ""; false: there is none, and `body` says so. */
static bool find_named(struct drains *drains, const char *name, FILE *body)
{
	const struct config *config = config_of(drains);
	bool any = false;

	for (size_t i = 0; i < drains->section_count; i++) {
		drains->named[i] = *name == '\0' || strcmp(name, name_of(config, i)) == 0;
		any |= drains->named[i];
	}
	if (any)
		return true;
	fprintf(body, "there is no edge or gateway \"%s\", expected one of:", name);
	for (size_t i = 0; i < drains->section_count; i++)
		fprintf(body, "%s %s \"%s\"", i > 0 ? "," : "", role_of(config, i),
			name_of(config, i));
	return false;
}

static int answer(void *what, FILE *body, struct control_context *context)
{
	const struct drains *drains = what;
	const struct config *config = config_of(drains);
	json_t *list = json_array(), *all;
	int error;

	(void)context;
	for (size_t i = 0; i < drains->section_count; i++) {
		int64_t left = seconds_left(&drains->sections[i]);

		if (!drains->named[i])
			continue;
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:b, s:o}", "role", role_of(config, i),
						"name", name_of(config, i), "draining",
						drains->sections[i].drained, "seconds_left",
						left < 0 ? json_null() : json_integer(left)));
	}
	all = json_pack("{s:o}", "listeners", list);
	error = all != NULL && json_dumpf(all, body, JSON_COMPACT) == 0 ? 0 : -ENOMEM;
	json_decref(all);
	fputc('\n', body);
	return error;
}

static void drop(void *what)
{
	struct drains *drains = what;

	drain_free(drains->drain);
	drains->drain = NULL;
}

/* Those named that are not yet as they shall be. */
static int change(struct drains *drains, bool undo, struct control_question *question)
{
	bool *chosen = drains->chosen, any = false;
	int error;

	for (size_t i = 0; i < drains->section_count; i++) {
		chosen[i] = drains->named[i] && drains->sections[i].drained == undo;
		any |= chosen[i];
	}
	if (!any)
		return answer(drains, question->body, NULL);
	error = drain_new(drains->running->workers, drains->running->worker_count,
			  config_of(drains), chosen, undo, &drains->drain);
	if (error < 0)
		return error;
	for (size_t i = 0; i < drains->section_count; i++)
		if (chosen[i])
			drains->sections[i].drained = !undo;
	question->later =
		(struct control_later){drain_descriptor(drains->drain), drains, answer, drop};
	return CONTROL_LATER;
}

static bool is_free(const struct drains *drains, FILE *body)
{
	if (drains->drain != NULL)
		fprintf(body, "the last drain is still under way; ask again");
	return drains->drain == NULL;
}

/* "-" or a number; *rest is what stands behind it. 0 or -EINVAL. */
static int parse_timeout(const char *text, clock_us *timeout, const char **rest)
{
	char *end = NULL;
	unsigned long seconds = 0;

	if (*text >= '1' && *text <= '9') {
		errno = 0;
		seconds = strtoul(text, &end, 10);
		if (errno != 0 || seconds > DRAINS_TIMEOUT_MAX)
			return -EINVAL;
	}
	*timeout = (clock_us)seconds * CLOCK_SEC;
	*rest = end != NULL ? end : text + (*text == '-');
	if (*rest == text || (**rest != '\0' && **rest != ' '))
		return -EINVAL;
	*rest += **rest == ' ';
	return 0;
}

int drains_begin_command(struct control_question *question, struct control_context *context)
{
	struct drains *drains = context->drains;
	clock_us timeout, until;
	const char *name;
	int result;

	if (parse_timeout(question->arguments, &timeout, &name) < 0) {
		fprintf(question->body,
			"drain takes \"-\" or seconds (1 to %d), and perhaps the name of an edge "
			"or gateway",
			DRAINS_TIMEOUT_MAX);
		return -EINVAL;
	}
	if (!is_free(drains, question->body))
		return -EBUSY;
	if (!find_named(drains, name, question->body))
		return -ENOENT;
	admin_tell(question);
	until = timeout > 0 ? clock_now() + timeout : 0;
	for (size_t i = 0; i < drains->section_count; i++)
		if (drains->named[i])
			drains->sections[i].until = until;
	result = change(drains, false, question);
	set_timer(drains);
	return result;
}

int drains_undo_command(struct control_question *question, struct control_context *context)
{
	struct drains *drains = context->drains;
	int result;

	if (!is_free(drains, question->body))
		return -EBUSY;
	if (!find_named(drains, question->arguments, question->body))
		return -ENOENT;
	admin_tell(question);
	result = change(drains, true, question);
	if (result < 0)
		fprintf(question->body, "not all of them can listen again, so none does: %s",
			strerrordesc_np(-result));
	set_timer(drains);
	return result;
}

/* --- begin and end -------------------------------------------------------------------------- */

int drains_new(sd_event *loop, struct reload *running, struct drains **out)
{
	struct drains *drains = calloc(1, sizeof(*drains));
	int error = 0;

	if (drains == NULL)
		return -ENOMEM;
	drains->running = running;
	drains->loop = loop;
	drains->section_count = drain_section_count(running->snapshot->config);
	drains->sections = calloc(drains->section_count + 1, sizeof(*drains->sections));
	drains->named = calloc(drains->section_count + 1, sizeof(bool));
	drains->chosen = calloc(drains->section_count + 1, sizeof(bool));
	if (drains->sections == NULL || drains->named == NULL || drains->chosen == NULL)
		error = -ENOMEM;
	if (error == 0)
		error = sd_event_add_time(loop, &drains->timer, CLOCK_MONOTONIC, 0, 0, time_over,
					  drains);
	if (error >= 0)
		error = sd_event_source_set_enabled(drains->timer, SD_EVENT_OFF);
	if (error < 0)
		drains_free(drains);
	else
		*out = drains;
	return error < 0 ? error : 0;
}

void drains_free(struct drains *drains)
{
	if (drains == NULL)
		return;
	drop(drains);
	end_dismissal(drains);
	sd_event_source_disable_unref(drains->timer);
	free(drains->sections);
	free(drains->named);
	free(drains->chosen);
	free(drains);
}
