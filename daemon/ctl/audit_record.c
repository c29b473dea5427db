/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * Either form is brought into the same one: a value for each known key, decoded, as a string in
 * record->text. From there on it does not matter where it came from.
 */
#include "ctl/audit_record.h"

#include "base/error.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>

#define PROGRAM       "mcseald"
#define NAME_SIZE_MAX 253 /* of sections of the configuration */

enum key {
	KEY_IDENTITY,
	KEY_PLC,
	KEY_FRAME,
	KEY_ROUTE,
	KEY_PC,
	KEY_COMMAND,
	KEY_SUBCOMMAND,
	KEY_CLASS,
	KEY_RULE,
	KEY_POINTS,
	KEY_MORE_POINTS,
	KEYS,
};

static const char *const KEY_NAMES[KEYS] = {
	[KEY_IDENTITY] = "identity",
	[KEY_PLC] = "plc",
	[KEY_FRAME] = "frame",
	[KEY_ROUTE] = "route",
	[KEY_PC] = "pc",
	[KEY_COMMAND] = "command",
	[KEY_SUBCOMMAND] = "subcommand",
	[KEY_CLASS] = "class",
	[KEY_RULE] = "rule",
	[KEY_POINTS] = "points",
	[KEY_MORE_POINTS] = "more-points",
};

static const char *const EVENTS[] = {
	[AUDIT_REQUEST] = "request",
	[AUDIT_REFUSED] = "request-refused",
	[AUDIT_OBSERVED] = "request-observed",
};

/* What is left of a line. */
struct rest {
	const char *at, *end;
};

/* The known fields of a line, and what is free of record->text. */
struct fields {
	const char *values[KEYS];
	char *free;
};

static bool is(const char *text, size_t size, const char *word)
{
	return strlen(word) == size && memcmp(text, word, size) == 0;
}

static int find_event(const char *name, size_t size, enum audit_event *event)
{
	for (size_t i = 0; i < ARRAY_SIZE(EVENTS); i++) {
		if (is(name, size, EVENTS[i])) {
			*event = (enum audit_event)i;
			return 0;
		}
	}
	return AUDIT_OTHER;
}

static int find_key(const char *name, size_t size)
{
	for (int i = 0; i < KEYS; i++) {
		if (is(name, size, KEY_NAMES[i]))
			return i;
	}
	return -1;
}

/* --- text ----------------------------------------------------------------------------------- */

static bool takes(struct rest *rest, const char *word)
{
	size_t size = strlen(word);

	if ((size_t)(rest->end - rest->at) < size || memcmp(rest->at, word, size) != 0)
		return false;
	rest->at += size;
	return true;
}

/* As `pattern`: 0 is a digit, everything else itself. */
static bool takes_pattern(struct rest *rest, const char *pattern)
{
	size_t size = strlen(pattern);

	if ((size_t)(rest->end - rest->at) < size)
		return false;
	for (size_t i = 0; i < size; i++) {
		bool digit = isdigit((unsigned char)rest->at[i]);

		if (pattern[i] == '0' ? !digit : rest->at[i] != pattern[i])
			return false;
	}
	rest->at += size;
	return true;
}

/* "... mcseald[123]: " of journalctl and syslog: nothing in front of it is a value of ours. */
static bool takes_program(struct rest *rest)
{
	const char *mark = memmem(rest->at, (size_t)(rest->end - rest->at), "]: ", 3);
	const char *at = mark;

	if (mark == NULL || memchr(rest->at, '=', (size_t)(mark - rest->at)) != NULL ||
	    memchr(rest->at, '"', (size_t)(mark - rest->at)) != NULL)
		return false;
	while (at > rest->at && isdigit((unsigned char)at[-1]))
		at--;
	if (at == mark || (size_t)(at - rest->at) < strlen(" " PROGRAM "[") ||
	    memcmp(at - strlen(" " PROGRAM "["), " " PROGRAM "[", strlen(" " PROGRAM "[")) != 0)
		return false;
	rest->at = mark + 3;
	return true;
}

static bool takes_level(struct rest *rest)
{
	/* sd-daemon(3) priority, or the time: base/log.c. */
	if (!takes_pattern(rest, "<0>"))
		(void)takes_pattern(rest, "0000-00-00T00:00:00.000Z ");
	return takes(rest, "info ") || takes(rest, "warning ") || takes(rest, "error ") ||
	       takes(rest, "debug ");
}

static bool is_bare(char c)
{
	return (unsigned char)c > ' ' && c != '"' && c != '\\' && c != '=' && c != 0x7f;
}

/* Behind a backslash: base/log.c, append_quoted(). */
static bool take_escape(struct rest *rest, char *out)
{
	char digits[3] = "";

	if (takes(rest, "\\") || takes(rest, "\"")) {
		*out = rest->at[-1];
		return true;
	}
	if (rest->end - rest->at < 3 || !takes(rest, "x") ||
	    !isxdigit((unsigned char)rest->at[0]) || !isxdigit((unsigned char)rest->at[1]))
		return false;
	memcpy(digits, rest->at, 2);
	*out = (char)strtoul(digits, NULL, 16);
	rest->at += 2;
	return *out != '\0';
}

/* Decodes a value to `out`, which has room for it. Its end, or NULL: it has none. */
static char *take_value(struct rest *rest, char *out)
{
	if (!takes(rest, "\"")) {
		while (rest->at < rest->end && is_bare(*rest->at))
			*out++ = *rest->at++;
		return out;
	}
	while (rest->at < rest->end && *rest->at != '"') {
		if (*rest->at == '\0')
			return NULL;
		if (!takes(rest, "\\"))
			*out++ = *rest->at++;
		else if (!take_escape(rest, out++))
			return NULL;
	}
	return takes(rest, "\"") ? out : NULL;
}

/* " key=value" */
static int take_field(struct rest *rest, struct fields *fields)
{
	const char *name = rest->at + 1, *equals;
	char *end;
	int key;

	equals = memchr(rest->at, '=', (size_t)(rest->end - rest->at));
	if (equals == NULL || !takes(rest, " ") || name == equals)
		return AUDIT_BROKEN;
	for (const char *c = name; c < equals; c++)
		if (!islower((unsigned char)*c) && !isdigit((unsigned char)*c) && *c != '-')
			return AUDIT_BROKEN;
	rest->at = equals + 1;
	end = take_value(rest, fields->free);
	if (end == NULL)
		return AUDIT_BROKEN;
	key = find_key(name, (size_t)(equals - name));
	if (key < 0)
		return 0;
	if (fields->values[key] != NULL)
		return AUDIT_BROKEN;
	*end = '\0';
	fields->values[key] = fields->free;
	fields->free = end + 1;
	return 0;
}

static int read_text(struct rest rest, enum audit_event *event, struct fields *fields)
{
	const char *name;
	int outcome = 0;

	if (!takes_level(&rest) && !(takes_program(&rest) && takes_level(&rest)))
		return AUDIT_OTHER;
	for (name = rest.at; rest.at < rest.end && *rest.at != ' '; rest.at++)
		;
	if (find_event(name, (size_t)(rest.at - name), event) != 0)
		return AUDIT_OTHER;
	/* A line that was too long for base/log.c: its last value is cut. */
	if (rest.end - rest.at >= 3 && memcmp(rest.end - 3, "...", 3) == 0)
		return AUDIT_BROKEN;
	while (rest.at < rest.end && outcome == 0)
		outcome = take_field(&rest, fields);
	return outcome;
}

/* --- JSON ----------------------------------------------------------------------------------- */

static int take_member(const char *name, const json_t *value, struct fields *fields)
{
	int key = find_key(name, strlen(name));
	char number[32];
	const char *text = json_string_value(value);

	if (key < 0)
		return 0;
	if (json_is_integer(value)) {
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
		text = number;
	}
	if (text == NULL)
		return AUDIT_BROKEN;
	/* It fits: no value is longer than it was in the line. */
	fields->values[key] = fields->free;
	fields->free = stpcpy(fields->free, text) + 1;
	return 0;
}

/* An entry of `journalctl -o json`. */
static int read_entry(const json_t *entry, enum audit_event *event, struct fields *fields)
{
	const char *program = json_string_value(json_object_get(entry, "SYSLOG_IDENTIFIER"));
	const char *message = json_string_value(json_object_get(entry, "MESSAGE"));

	if (program == NULL || strcmp(program, PROGRAM) != 0 || message == NULL)
		return AUDIT_OTHER;
	return read_text((struct rest){message, message + strlen(message)}, event, fields);
}

static int read_object(json_t *object, enum audit_event *event, struct fields *fields)
{
	const char *name = json_string_value(json_object_get(object, "event"));
	const char *key;
	json_t *value;
	int outcome = 0;

	if (name == NULL)
		return read_entry(object, event, fields);
	if (find_event(name, strlen(name), event) != 0)
		return AUDIT_OTHER;
	/* Something had no room in it. */
	if (json_is_true(json_object_get(object, "cut")))
		return AUDIT_BROKEN;
	json_object_foreach(object, key, value)
	{
		if (outcome == 0)
			outcome = take_member(key, value, fields);
	}
	return outcome;
}

static int read_json(struct rest rest, enum audit_event *event, struct fields *fields)
{
	json_error_t error;
	json_t *object =
		json_loadb(rest.at, (size_t)(rest.end - rest.at), JSON_REJECT_DUPLICATES, &error);
	int outcome = AUDIT_BROKEN;

	if (json_is_object(object))
		outcome = read_object(object, event, fields);
	else if (object == NULL && json_error_code(&error) == json_error_out_of_memory)
		outcome = -ENOMEM;
	json_decref(object);
	return outcome;
}

/* --- fields --------------------------------------------------------------------------------- */

static bool is_name(const char *text)
{
	size_t size = 0;

	for (; text != NULL && text[size] != '\0'; size++)
		if (!isalnum((unsigned char)text[size]) && strchr("._-", text[size]) == NULL)
			return false;
	return size > 0 && size <= NAME_SIZE_MAX;
}

static bool read_hex(const char *text, size_t digits, uint16_t *number)
{
	uint32_t value;

	if (text == NULL || strlen(text) != digits ||
	    !mc_number_from_hex((const uint8_t *)text, digits, &value))
		return false;
	*number = (uint16_t)value;
	return true;
}

static bool read_count(const char *text, unsigned long *count)
{
	size_t digits = strspn(text, "0123456789");

	if (digits == 0 || digits > 9 || text[digits] != '\0')
		return false;
	*count = strtoul(text, NULL, 10);
	return true;
}

static bool read_class(const char *text, enum mc_class *class)
{
	for (int i = 0; text != NULL && i < MC_CLASSES; i++) {
		if (strcmp(text, mc_command_class_name((enum mc_class)i)) == 0) {
			*class = (enum mc_class)i;
			return true;
		}
	}
	return false;
}

static bool read_family(const char *text, enum mc_family *family)
{
	static const enum mc_family FAMILIES[] = {MC_FAMILY_3E, MC_FAMILY_4E, MC_FAMILY_1E};

	for (size_t i = 0; text != NULL && i < ARRAY_SIZE(FAMILIES); i++) {
		if (strcmp(text, mc_frame_family_name(FAMILIES[i])) == 0) {
			*family = FAMILIES[i];
			return true;
		}
	}
	return false;
}

/* What a frame's family decides upon: command, subcommand, whom it is for. */
static bool read_frame(const struct fields *fields, struct audit_record *record)
{
	const char *const *values = fields->values;
	uint16_t pc;

	if (!read_family(values[KEY_FRAME], &record->family))
		return false;
	record->route = MC_ROUTE_OWN;
	record->subcommand = 0;
	if (record->family == MC_FAMILY_1E) {
		if (!read_hex(values[KEY_PC], 2, &pc))
			return false;
		record->route.pc = (uint8_t)pc;
		return read_hex(values[KEY_COMMAND], 2, &record->command);
	}
	return read_hex(values[KEY_COMMAND], 4, &record->command) &&
	       read_hex(values[KEY_SUBCOMMAND], 4, &record->subcommand) &&
	       values[KEY_ROUTE] != NULL &&
	       mc_frame_route_parse(values[KEY_ROUTE], &record->route) == 0;
}

static bool read_point(const char *text, size_t size, const struct mc_device **device,
		       uint32_t *number)
{
	char copy[MC_DEVICE_TEXT_SIZE];

	if (size == 0 || size >= sizeof(copy))
		return false;
	memcpy(copy, text, size);
	copy[size] = '\0';
	return mc_device_parse(copy, device, number) == 0;
}

/* "D100-D109", at most up to a comma. False: it is not. */
static bool take_range(const char **rest, struct point_range *range)
{
	const char *text = *rest, *dash = strchr(text, '-');
	size_t size = strcspn(text, ",");
	const struct mc_device *device;

	if (dash == NULL || dash > text + size ||
	    !read_point(text, (size_t)(dash - text), &range->device, &range->first) ||
	    !read_point(dash + 1, size - (size_t)(dash + 1 - text), &device, &range->last) ||
	    device != range->device || range->last < range->first)
		return false;
	*rest = text + size;
	return true;
}

bool audit_record_points(const char **rest, struct point_range *range)
{
	if (**rest == ',')
		(*rest)++;
	return **rest != '\0' && take_range(rest, range);
}

static bool read_points(const char *text)
{
	struct point_range range;

	while (*text != '\0') {
		if (!take_range(&text, &range) || (*text == ',' && text[1] == '\0'))
			return false;
		text += *text == ',';
	}
	return true;
}

/* Requests of other classes have none. */
static bool may_have_points(enum mc_class class)
{
	return class == MC_CLASS_READ || class == MC_CLASS_WRITE || class == MC_CLASS_CONTROL;
}

static int read_fields(const struct fields *fields, struct audit_record *record)
{
	const char *const *values = fields->values;

	record->identity = values[KEY_IDENTITY];
	record->plc = values[KEY_PLC];
	record->rule = values[KEY_RULE];
	record->points = values[KEY_POINTS] != NULL ? values[KEY_POINTS] : "";
	record->more_points = 0;
	if (!is_name(record->identity) || !is_name(record->plc) || !read_frame(fields, record) ||
	    !read_class(values[KEY_CLASS], &record->class) || !read_points(record->points))
		return AUDIT_BROKEN;
	if (values[KEY_MORE_POINTS] != NULL &&
	    !read_count(values[KEY_MORE_POINTS], &record->more_points))
		return AUDIT_BROKEN;
	if (*record->points != '\0' && !may_have_points(record->class))
		return AUDIT_BROKEN;
	return (record->event == AUDIT_REQUEST) == (record->rule == NULL) ? 0 : AUDIT_BROKEN;
}

int audit_record_read(const char *line, size_t size, struct audit_record *record)
{
	struct fields fields = {.free = record->text};
	struct rest rest = {line, line + size};
	int outcome;

	if (size > AUDIT_LINE_MAX)
		return AUDIT_BROKEN;
	outcome = size > 0 && *line == '{' ? read_json(rest, &record->event, &fields)
					   : read_text(rest, &record->event, &fields);
	return outcome == 0 ? read_fields(&fields, record) : outcome;
}
