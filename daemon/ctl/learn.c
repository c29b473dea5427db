/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/learn.h"

#include "base/error.h"
#include "ctl/seen.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 96 /* of lines of the output; what is longer is broken */

struct learn {
	bool with_refused;
	struct seen *all;
	size_t count, room;
	unsigned long lines, requests, broken;
	/* Of what passed there are lines: of others, of reads. Observed ones have some besides. */
	bool told[2], observed[2];
	struct audit_record record;
};

int learn_new(bool with_refused, struct learn **out)
{
	struct learn *learn = calloc(1, sizeof(*learn));

	if (learn == NULL)
		return -ENOMEM;
	learn->with_refused = with_refused;
	*out = learn;
	return 0;
}

void learn_free(struct learn *learn)
{
	if (learn == NULL)
		return;
	for (size_t i = 0; i < learn->count; i++)
		seen_deinit(&learn->all[i]);
	free(learn->all);
	free(learn);
}

/* --- reading -------------------------------------------------------------------------------- */

static struct seen *add_pair(struct learn *learn, const struct audit_record *record)
{
	size_t room = learn->room > 0 ? 2 * learn->room : 16;
	struct seen *all, *seen;

	if (learn->count == learn->room) {
		all = reallocarray(learn->all, room, sizeof(*all));
		if (all == NULL)
			return NULL;
		learn->all = all;
		learn->room = room;
	}
	seen = &learn->all[learn->count];
	*seen = (struct seen){.identity = strdup(record->identity), .plc = strdup(record->plc)};
	if (seen->identity == NULL || seen->plc == NULL) {
		seen_deinit(seen);
		return NULL;
	}
	learn->count++;
	return seen;
}

/* There are few: each is an identity and a PLC of a configuration. */
static struct seen *find_pair(struct learn *learn, const struct audit_record *record)
{
	for (size_t i = 0; i < learn->count; i++) {
		struct seen *seen = &learn->all[i];

		if (strcmp(seen->identity, record->identity) == 0 &&
		    strcmp(seen->plc, record->plc) == 0)
			return seen;
	}
	return add_pair(learn, record);
}

static int take_line(struct learn *learn, const char *line, size_t size)
{
	int outcome = audit_record_read(line, size, &learn->record);
	struct seen *seen;

	learn->lines++;
	if (outcome == AUDIT_BROKEN)
		learn->broken++;
	if (outcome != 0)
		return outcome < 0 ? outcome : 0;
	seen = find_pair(learn, &learn->record);
	if (seen == NULL)
		return -ENOMEM;
	learn->requests++;
	if (learn->record.event == AUDIT_REQUEST)
		learn->told[learn->record.class == MC_CLASS_READ] = true;
	else if (learn->record.event == AUDIT_OBSERVED)
		learn->observed[learn->record.class == MC_CLASS_READ] = true;
	return seen_add(seen, &learn->record, learn->with_refused);
}

int learn_read(struct learn *learn, FILE *file)
{
	cleanup_free char *line = NULL;
	size_t room = 0;
	ssize_t size;
	int error = 0;

	errno = 0;
	while (error == 0 && (size = getline(&line, &room, file)) >= 0) {
		while (size > 0 && (line[size - 1] == '\n' || line[size - 1] == '\r'))
			size--;
		error = take_line(learn, line, (size_t)size);
		errno = 0;
	}
	if (error == 0 && !feof(file))
		error = errno != 0 ? -errno : -EIO;
	return error;
}

unsigned long learn_requests(const struct learn *learn, unsigned long *lines)
{
	*lines = learn->lines;
	return learn->requests;
}

/* --- a list of the file --------------------------------------------------------------------- */

struct list {
	FILE *file;
	const char *name;
	size_t column; /* 0: nothing of it is written yet */
};

__attribute__((format(printf, 2, 3))) static void put_item(struct list *list, const char *format,
							   ...)
{
	char text[64];
	va_list arguments;
	size_t size;

	va_start(arguments, format);
	size = (size_t)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (list->column == 0) {
		fprintf(list->file, "\t%s = { ", list->name);
		list->column = 8 + strlen(list->name) + 5;
	} else if (list->column + size + 4 > WIDTH) {
		fprintf(list->file, ",\n\t\t");
		list->column = 16;
	} else {
		fprintf(list->file, ", ");
		list->column += 2;
	}
	fprintf(list->file, "\"%s\"", text);
	list->column += size + 2;
}

static void end_list(const struct list *list)
{
	if (list->column > 0)
		fprintf(list->file, " }\n");
}

static void put_points(const struct point_set *set, const char *name, FILE *file)
{
	struct list list = {.file = file, .name = name};
	char first[MC_DEVICE_TEXT_SIZE], last[MC_DEVICE_TEXT_SIZE];

	for (size_t i = 0; i < set->count; i++) {
		const struct point_range *range = &set->ranges[i];

		mc_device_print(range->device, range->first, first);
		mc_device_print(range->device, range->last, last);
		if (range->first == range->last)
			put_item(&list, "%s", first);
		else
			put_item(&list, "%s-%s", first, last);
	}
	end_list(&list);
}

static void put_commands(const struct seen *seen, FILE *file)
{
	struct list list = {.file = file, .name = "commands"};
	const struct seen_command *command;
	size_t at = 0;

	while ((command = seen_listed(seen, &at)) != NULL)
		put_item(&list, command->is_1e ? "%02X" : "%04X", command->code);
	end_list(&list);
}

/* Those of 1E frames have a PC number only. */
static void put_routes(const struct seen *seen, FILE *file)
{
	struct list list = {.file = file, .name = "routes"};
	char text[MC_ROUTE_TEXT_SIZE];

	for (size_t i = 0; seen->elsewhere && i < seen->route_count; i++)
		put_item(&list, "%s", mc_frame_route_print(&seen->routes[i], text));
	end_list(&list);
}

/* --- what a person should look at ----------------------------------------------------------- */

static const char *command_name(const struct seen_command *command)
{
	const struct mc_command *found =
		mc_command_find(command->is_1e ? MC_FAMILY_1E : MC_FAMILY_3E, command->code);

	return found != NULL ? found->name : "unknown to mcseal";
}

static bool is_dangerous(const struct seen_command *command)
{
	return command->class == MC_CLASS_CONTROL || command->class == MC_CLASS_FILE_WRITE ||
	       command->class == MC_CLASS_SECURITY ||
	       mc_command_find(command->is_1e ? MC_FAMILY_1E : MC_FAMILY_3E, command->code) == NULL;
}

static void put_dangerous(const struct seen *seen, FILE *file)
{
	for (size_t i = 0; i < seen->command_count; i++) {
		const struct seen_command *command = &seen->commands[i];

		if (!is_dangerous(command))
			continue;
		fprintf(file, "# LOOK: ");
		fprintf(file, command->is_1e ? "%02X" : "%04X", command->code);
		fprintf(file, " (%s%s), class %s; lines: %lu\n", command_name(command),
			command->class == MC_CLASS_CONTROL && !command->listed
				? " of special relays or registers"
				: "",
			mc_command_class_name(command->class), command->lines);
	}
}

static void put_count(const char *what, unsigned long count, FILE *file)
{
	if (count > 0)
		fprintf(file, "# LOOK: %s: %lu\n", what, count);
}

/* What an observed request's own line does not tell, its `request` line does, if there is one. */
static unsigned long untold(const struct learn *learn, const struct seen *seen)
{
	unsigned long count = seen->untold;

	for (int reads = 0; reads < 2; reads++)
		count += learn->told[reads] ? 0 : seen->untold_observed[reads];
	return count;
}

static void put_looks(const struct learn *learn, const struct seen *seen, FILE *file)
{
	put_dangerous(seen, file);
	put_count("requests with more points than their lines tell; those are missing here",
		  seen->cut, file);
	put_count("requests whose points their lines do not tell; those are missing here",
		  untold(learn, seen), file);
	put_count("requests with a subcommand that no list of points can allow; not here",
		  seen->subcommands, file);
	put_count("requests that contradict themselves; no policy lets them pass", seen->faulty,
		  file);
	put_count("requests that were refused; not here, --refused adds them", seen->refused, file);
	put_count("requests refused for the moment (budget, busy, password, audit); not here",
		  seen->held_back, file);
}

/* --- policies ------------------------------------------------------------------------------- */

static int by_names(const void *a, const void *b)
{
	const struct seen *first = a, *second = b;
	int order = strcmp(first->identity, second->identity);

	return order != 0 ? order : strcmp(first->plc, second->plc);
}

/* Numbers them: those that would be the same are one. */
static unsigned int number_policies(struct learn *learn)
{
	unsigned int policies = 0;

	for (size_t i = 0; i < learn->count; i++) {
		learn->all[i].policy = 0;
		for (size_t j = 0; j < i && learn->all[i].policy == 0; j++)
			if (seen_equal(&learn->all[i], &learn->all[j]))
				learn->all[i].policy = learn->all[j].policy;
		if (learn->all[i].policy == 0)
			learn->all[i].policy = ++policies;
	}
	return policies;
}

static void put_policy(const struct learn *learn, unsigned int number, FILE *file)
{
	const struct seen *seen = NULL;

	fputc('\n', file);
	for (size_t i = 0; i < learn->count; i++) {
		if (learn->all[i].policy != number)
			continue;
		seen = &learn->all[i];
		fprintf(file, "# %s at %s; lines: %lu\n", seen->identity, seen->plc, seen->lines);
		put_looks(learn, seen, file);
	}
	if (seen == NULL)
		return;
	if (!seen_anything(seen))
		fprintf(file, "# LOOK: nothing is left to allow; this refuses every request\n");
	fprintf(file, "policy \"learned-%u\" {\n", number);
	put_points(&seen->read, "read", file);
	put_points(&seen->write, "write", file);
	put_commands(seen, file);
	put_routes(seen, file);
	fprintf(file, "}\n");
}

static void put_identities(const struct learn *learn, FILE *file)
{
	if (learn->count > 0)
		fprintf(file, "\n# In the sections of these identities:\n");
	for (size_t i = 0; i < learn->count; i++) {
		const struct seen *seen = &learn->all[i];
		bool first = i == 0 || strcmp(seen[-1].identity, seen->identity) != 0;
		bool last = i + 1 == learn->count || strcmp(seen[1].identity, seen->identity) != 0;

		if (first)
			fprintf(file, "# identity \"%s\": policy = { ", seen->identity);
		fprintf(file, "\"%s=learned-%u\"%s", seen->plc, seen->policy, last ? " }\n" : ", ");
	}
}

void learn_print(struct learn *learn, FILE *file)
{
	unsigned int policies;

	if (learn->count > 0)
		qsort(learn->all, learn->count, sizeof(*learn->all), by_names);
	policies = number_policies(learn);
	fprintf(file, "# Learned by mcseal from audit lines: %lu. Read it before you use it.\n",
		learn->requests);
	put_count("audit lines that could not be understood", learn->broken, file);
	if (!learn->told[1])
		fprintf(file, "# LOOK: no line tells of a read that passed. Unless the gateway has "
			      "audit { reads = yes },\n#       what was read is not here.\n");
	if (!learn->told[0] && learn->observed[0])
		fprintf(file, "# LOOK: no line tells of anything else that passed. Unless the "
			      "gateway has log_level = info,\n#       only the first points of "
			      "each request are here.\n");
	for (unsigned int number = 1; number <= policies; number++)
		put_policy(learn, number, file);
	put_identities(learn, file);
}
