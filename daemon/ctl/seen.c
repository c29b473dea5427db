/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/seen.h"

#include "base/error.h"
#include "mc/mc_access.h"

#include <errno.h>
#include <string.h>

/* --- commands and stations ------------------------------------------------------------------ */

/* `items` with room for one more, perhaps elsewhere. NULL: no memory, they are as they were. */
static void *with_room(void *items, size_t count, size_t *room, size_t size)
{
	size_t more = *room > 0 ? 2 * *room : 8;
	void *grown;

	if (count < *room)
		return items;
	grown = reallocarray(items, more, size);
	if (grown != NULL)
		*room = more;
	return grown;
}

/* 1E behind the others, by code, by class. */
static uint32_t command_key(const struct seen_command *command)
{
	return (uint32_t)command->is_1e << 24 | (uint32_t)command->code << 8 |
	       (uint32_t)command->class;
}

static uint64_t route_key(const struct mc_route *route)
{
	return (uint64_t)route->network << 32 | (uint64_t)route->pc << 24 |
	       (uint64_t)route->module << 8 | route->station;
}

/* Where it is, or should be. */
static size_t find_command(const struct seen *seen, uint32_t key)
{
	size_t low = 0, high = seen->command_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (command_key(&seen->commands[middle]) < key)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static size_t find_route(const struct seen *seen, uint64_t key)
{
	size_t low = 0, high = seen->route_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (route_key(&seen->routes[middle]) < key)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int insert_command(struct seen *seen, size_t at, const struct seen_command *command)
{
	struct seen_command *commands = with_room(seen->commands, seen->command_count,
						  &seen->command_room, sizeof(*commands));

	if (commands == NULL)
		return -ENOMEM;
	seen->commands = commands;
	memmove(commands + at + 1, commands + at, (seen->command_count - at) * sizeof(*commands));
	commands[at] = *command;
	seen->command_count++;
	return 0;
}

static int insert_route(struct seen *seen, size_t at, const struct mc_route *route)
{
	struct mc_route *routes =
		with_room(seen->routes, seen->route_count, &seen->route_room, sizeof(*routes));

	if (routes == NULL)
		return -ENOMEM;
	seen->routes = routes;
	memmove(routes + at + 1, routes + at, (seen->route_count - at) * sizeof(*routes));
	routes[at] = *route;
	seen->route_count++;
	return 0;
}

static int count_command(struct seen *seen, const struct audit_record *record, bool listed)
{
	const struct seen_command command = {
		.is_1e = record->family == MC_FAMILY_1E,
		.code = record->command,
		.class = record->class,
	};
	size_t at = find_command(seen, command_key(&command));
	bool there = at < seen->command_count &&
		     command_key(&seen->commands[at]) == command_key(&command);

	if (!there && insert_command(seen, at, &command) < 0)
		return -ENOMEM;
	seen->commands[at].lines++;
	seen->commands[at].listed = seen->commands[at].listed || listed;
	return 0;
}

static int add_route(struct seen *seen, const struct audit_record *record)
{
	size_t at = find_route(seen, route_key(&record->route));

	if (!mc_access_is_own(record->family, &record->route))
		seen->elsewhere = true;
	if (at < seen->route_count && mc_frame_route_equal(&seen->routes[at], &record->route))
		return 0;
	return insert_route(seen, at, &record->route);
}

/* --- what it would take to allow it --------------------------------------------------------- */

/* What mc_access_read() thinks of the command by itself. */
static void look_up(const struct audit_record *record, struct mc_access *access)
{
	const struct mc_request request = {
		.family = record->family,
		.code = MC_CODE_BINARY,
		.route = record->route,
		.command = record->command,
		.subcommand = record->subcommand,
		.data = (const uint8_t *)"",
	};

	mc_access_read(&request, NULL, NULL, access);
}

/* A request of this command is about devices, and says which. */
static bool is_about_points(const struct mc_access *access)
{
	return (access->class == MC_CLASS_READ || access->class == MC_CLASS_WRITE) &&
	       !access->opaque && access->rule != MC_RULE_NONE && access->rule != MC_RULE_COMMAND;
}

static int add_points(struct seen *seen, const struct audit_record *record)
{
	/* The points of a request are all read or all written; SM and SD make a write `control`. */
	bool reads = record->class == MC_CLASS_READ;
	const char *rest = record->points;
	struct point_range range;
	int error = 0;

	while (error == 0 && audit_record_points(&rest, &range))
		error = point_set_add(reads ? &seen->read : &seen->write, &range);
	if (record->more_points > 0)
		seen->cut++;
	return error;
}

static bool is_one_of(const char *word, const char *const *words)
{
	for (; *words != NULL; words++)
		if (strcmp(word, *words) == 0)
			return true;
	return false;
}

/* What a policy has no say in, whatever it allows. True: it was one of these, and counted. */
static bool is_beyond(struct seen *seen, const struct audit_record *record,
		      const struct mc_access *access)
{
	static const char *const FAULTS[] = {"length", "count", "shape", NULL};
	static const char *const MOMENTS[] = {"budget", "busy", "password", "audit", NULL};

	if (record->rule != NULL && is_one_of(record->rule, FAULTS))
		seen->faulty++;
	else if (record->rule != NULL && is_one_of(record->rule, MOMENTS))
		seen->held_back++;
	else if (access->rule == MC_RULE_SUBCOMMAND)
		seen->subcommands++;
	else
		return false;
	return true;
}

int seen_add(struct seen *seen, const struct audit_record *record, bool with_refused)
{
	struct mc_access access;
	bool listed = false;
	int error;

	seen->lines++;
	if (record->event == AUDIT_REFUSED && !with_refused) {
		seen->refused++;
		return 0;
	}
	look_up(record, &access);
	if (is_beyond(seen, record, &access))
		return 0;
	error = add_route(seen, record);
	if (error < 0)
		return error;
	if (*record->points != '\0')
		error = add_points(seen, record);
	else if (!is_about_points(&access))
		listed = true;
	else if (record->event == AUDIT_OBSERVED)
		seen->untold_observed[record->class == MC_CLASS_READ]++;
	else
		seen->untold++;
	return error < 0 ? error : count_command(seen, record, listed);
}

/* --- the whole ------------------------------------------------------------------------------ */

const struct seen_command *seen_listed(const struct seen *seen, size_t *at)
{
	for (; *at < seen->command_count; (*at)++) {
		const struct seen_command *command = &seen->commands[*at];

		if (command->listed)
			return &seen->commands[(*at)++];
	}
	return NULL;
}

static bool same_commands(const struct seen *a, const struct seen *b)
{
	size_t i = 0, j = 0;

	for (;;) {
		const struct seen_command *one = seen_listed(a, &i), *other = seen_listed(b, &j);

		if (one == NULL || other == NULL)
			return one == other;
		if (one->is_1e != other->is_1e || one->code != other->code)
			return false;
	}
}

static bool same_routes(const struct seen *a, const struct seen *b)
{
	if (!a->elsewhere && !b->elsewhere)
		return true;
	if (a->elsewhere != b->elsewhere || a->route_count != b->route_count)
		return false;
	for (size_t i = 0; i < a->route_count; i++)
		if (!mc_frame_route_equal(&a->routes[i], &b->routes[i]))
			return false;
	return true;
}

bool seen_equal(const struct seen *a, const struct seen *b)
{
	return point_set_equal(&a->read, &b->read) && point_set_equal(&a->write, &b->write) &&
	       same_commands(a, b) && same_routes(a, b);
}

bool seen_anything(const struct seen *seen)
{
	size_t at = 0;

	return seen->read.count > 0 || seen->write.count > 0 || seen_listed(seen, &at) != NULL;
}

void seen_deinit(struct seen *seen)
{
	point_set_deinit(&seen->read);
	point_set_deinit(&seen->write);
	free(seen->commands);
	free(seen->routes);
	free(seen->identity);
	free(seen->plc);
}
