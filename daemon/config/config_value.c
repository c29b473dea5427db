/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config_value.h"

#include "base/clock.h"
#include "base/error.h"
#include "config/config.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define NAME_LENGTH_MAX 63 /* a DNS label: a PLC's own name may come as SNI */
#define CGROUP_ROOT     "/sys/fs/cgroup"

int config_value_read(const struct config_place *place, const char *text, void *value)
{
	const struct config_option *option = place->option;
	int error = option->type->read(place, text, value);

	if (error == -EINVAL)
		config_report_error(place->report, place->line,
				    "%s: '%s' is not valid, expected %s", option->name, text,
				    option->type->expected);
	else if (error == -ERANGE && option->type == &config_type_number)
		config_report_error(place->report, place->line,
				    "%s: %s is out of range, expected %" PRId64 " to %" PRId64,
				    option->name, text, option->minimum, option->maximum);
	else if (error == -ERANGE)
		config_report_error(place->report, place->line,
				    "%s: %s is out of range, expected %g to %g seconds",
				    option->name, text, (double)option->minimum / CLOCK_SEC,
				    (double)option->maximum / CLOCK_SEC);
	return error == -EINVAL || error == -ERANGE ? 1 : error;
}

int config_list_allocate(struct config_list *list, size_t count, size_t size)
{
	list->items = calloc(count, size);
	list->count = 0;
	return list->items ? 0 : -ENOMEM;
}

/* --- text --------------------------------------------------------------------------------- */

void config_value_print_string(const char *text, FILE *file)
{
	fputc('"', file);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', file);
		fputc(*text, file);
	}
	fputc('"', file);
}

static char *get_text(const void *value)
{
	return *(char *const *)value;
}

int config_value_copy(const char *text, void *value)
{
	char *copy = strdup(text);

	if (!copy)
		return -ENOMEM;
	*(char **)value = copy;
	return 0;
}

void config_value_print_text(const struct config_option *option, const void *value, FILE *file)
{
	(void)option;
	config_value_print_string(get_text(value), file);
}

void config_value_free_text(void *value)
{
	free(get_text(value));
}

bool config_value_has_text(const void *value)
{
	return get_text(value) != NULL;
}

static int read_string(const struct config_place *place, const char *text, void *value)
{
	(void)place;
	return *text ? config_value_copy(text, value) : -EINVAL;
}

const struct config_type config_type_string = {
	.expected = "some text",
	.size = sizeof(char *),
	.read = read_string,
	.print = config_value_print_text,
	.release = config_value_free_text,
	.present = config_value_has_text,
};

/* Names stand in log lines, in certificates and in SNI: no blank, quote or control character. */
static int read_name(const struct config_place *place, const char *text, void *value)
{
	size_t length = strlen(text);

	(void)place;
	if (length == 0 || length > 253)
		return -EINVAL;
	for (const char *c = text; *c; c++) {
		if (!isalnum((unsigned char)*c) && !strchr("._-", *c))
			return -EINVAL;
	}
	return config_value_copy(text, value);
}

const struct config_type config_type_name = {
	.expected = "a name of letters, digits, '.', '_' and '-'",
	.size = sizeof(char *),
	.read = read_name,
	.print = config_value_print_text,
	.release = config_value_free_text,
	.present = config_value_has_text,
};

/* --- numbers ------------------------------------------------------------------------------ */

/* Digits only: strtoul(3) would also take signs and blanks. */
static int parse_number(const char *text, unsigned int base, uint64_t *number)
{
	uint64_t result = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		unsigned int digit;

		if (isdigit(c))
			digit = c - '0';
		else if (base == 16 && isxdigit(c))
			digit = (unsigned int)(tolower(c) - 'a') + 10;
		else
			return -EINVAL;
		if (result > (uint64_t)INT64_MAX / 16)
			return -ERANGE;
		result = result * base + digit;
	}
	*number = result;
	return 0;
}

static int read_number(const struct config_place *place, const char *text, void *value)
{
	uint64_t number;
	unsigned int result;
	int error = parse_number(text, 10, &number);

	if (error < 0)
		return error;
	if ((int64_t)number < place->option->minimum || (int64_t)number > place->option->maximum)
		return -ERANGE;
	result = (unsigned int)number;
	memcpy(value, &result, sizeof(result));
	return 0;
}

static void print_number(const struct config_option *option, const void *value, FILE *file)
{
	unsigned int number;

	(void)option;
	memcpy(&number, value, sizeof(number));
	fprintf(file, "%u", number);
}

const struct config_type config_type_number = {
	.expected = "a whole number",
	.size = sizeof(unsigned int),
	.read = read_number,
	.print = print_number,
};

static int read_port(const struct config_place *place, const char *text, void *value)
{
	uint64_t number;
	uint16_t port;

	(void)place;
	if (parse_number(text, 10, &number) < 0 || number == 0 || number > UINT16_MAX)
		return -EINVAL;
	port = (uint16_t)number;
	memcpy(value, &port, sizeof(port));
	return 0;
}

static uint16_t get_port(const void *value)
{
	uint16_t port;

	memcpy(&port, value, sizeof(port));
	return port;
}

static void print_port(const struct config_option *option, const void *value, FILE *file)
{
	(void)option;
	fprintf(file, "\"%u\"", get_port(value));
}

static bool has_port(const void *value)
{
	return get_port(value) != 0;
}

const struct config_type config_type_port = {
	.expected = "a port from 1 to 65535",
	.size = sizeof(uint16_t),
	.read = read_port,
	.print = print_port,
	.present = has_port,
};

static int read_mark(const struct config_place *place, const char *text, void *value)
{
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	uint64_t number;
	uint32_t mark;

	(void)place;
	if (parse_number(hex ? text + 2 : text, hex ? 16 : 10, &number) < 0 || number > UINT32_MAX)
		return -EINVAL;
	mark = (uint32_t)number;
	memcpy(value, &mark, sizeof(mark));
	return 0;
}

static void print_mark(const struct config_option *option, const void *value, FILE *file)
{
	uint32_t mark;

	(void)option;
	memcpy(&mark, value, sizeof(mark));
	fprintf(file, "0x%08" PRIx32, mark);
}

const struct config_type config_type_mark = {
	.expected = "a socket mark from 0 to 0xffffffff, in decimal or hexadecimal",
	.size = sizeof(uint32_t),
	.read = read_mark,
	.print = print_mark,
};

/* --- durations ---------------------------------------------------------------------------- */

/* "1.5" to microseconds without floating point: what is printed reads back to the same. */
static int parse_seconds(const char *text, clock_us *duration)
{
	const char *point = strchr(text, '.');
	size_t whole = point ? (size_t)(point - text) : strlen(text);
	char digits[sizeof("1234567890")] = "";
	uint64_t seconds;
	clock_us fraction = 0;
	clock_us unit = CLOCK_SEC;

	if (whole >= sizeof(digits))
		return -EINVAL;
	memcpy(digits, text, whole);
	if (parse_number(digits, 10, &seconds) < 0 || (point && !point[1]))
		return -EINVAL;
	for (const char *c = point ? point + 1 : ""; *c; c++) {
		unit /= 10;
		if (!isdigit((unsigned char)*c) || unit == 0)
			return -EINVAL;
		fraction += (*c - '0') * unit;
	}
	*duration = (clock_us)seconds * CLOCK_SEC + fraction;
	return 0;
}

static int read_seconds(const struct config_place *place, const char *text, void *value)
{
	clock_us duration;
	int error = parse_seconds(text, &duration);

	if (error < 0)
		return error;
	if (duration < place->option->minimum || duration > place->option->maximum)
		return -ERANGE;
	memcpy(value, &duration, sizeof(duration));
	return 0;
}

/* The kernel's keepalive options count seconds, tcp(7). */
static int read_whole_seconds(const struct config_place *place, const char *text, void *value)
{
	clock_us duration;

	if (parse_seconds(text, &duration) < 0 || duration % CLOCK_SEC != 0)
		return -EINVAL;
	return read_seconds(place, text, value);
}

static void print_seconds(const struct config_option *option, const void *value, FILE *file)
{
	clock_us duration;
	clock_us fraction;
	int digits = 6;

	(void)option;
	memcpy(&duration, value, sizeof(duration));
	fraction = duration % CLOCK_SEC;
	fprintf(file, "%" PRId64, duration / CLOCK_SEC);
	if (fraction == 0)
		return;
	for (; fraction % 10 == 0; fraction /= 10)
		digits--;
	fprintf(file, ".%0*" PRId64, digits, fraction);
}

const struct config_type config_type_seconds = {
	.expected = "seconds, with at most six decimals, like 1.5",
	.size = sizeof(clock_us),
	.read = read_seconds,
	.print = print_seconds,
};

const struct config_type config_type_whole_seconds = {
	.expected = "whole seconds",
	.size = sizeof(clock_us),
	.read = read_whole_seconds,
	.print = print_seconds,
};

/* --- words -------------------------------------------------------------------------------- */

static int find_word(const struct config_place *place, const char *text, int *value)
{
	const struct config_word *words = place->option->words;
	char known[128]; /* the longest list of words has 81 characters */
	size_t used = 0;

	for (const struct config_word *word = words; word->text; word++) {
		if (strcmp(word->text, text) == 0) {
			*value = word->value;
			return 0;
		}
	}
	for (const struct config_word *word = words; word->text; word++) {
		const char *comma = word == words ? "" : ", ";

		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", comma,
					 word->text);
	}
	config_report_error(place->report, place->line, "%s: '%s' is not known, expected one of %s",
			    place->option->name, text, known);
	return 1;
}

static int read_word(const struct config_place *place, const char *text, void *value)
{
	int number = 0;
	int error = find_word(place, text, &number);

	if (error == 0)
		memcpy(value, &number, sizeof(number));
	return error;
}

static void print_word(const struct config_option *option, const void *value, FILE *file)
{
	int number;

	memcpy(&number, value, sizeof(number));
	for (const struct config_word *word = option->words; word->text; word++) {
		if (word->value == number)
			fputs(word->text, file);
	}
}

const struct config_type config_type_word = {
	.expected = "a known word",
	.size = sizeof(int),
	.read = read_word,
	.print = print_word,
};

static int read_role(const struct config_place *place, const char *text, void *value)
{
	int number = 0;
	int error = find_word(place, text, &number);
	bool flag = number != 0;

	if (error == 0)
		memcpy(value, &flag, sizeof(flag));
	return error;
}

static bool get_flag(const void *value)
{
	bool flag;

	memcpy(&flag, value, sizeof(flag));
	return flag;
}

static void print_role(const struct config_option *option, const void *value, FILE *file)
{
	int number = get_flag(value);

	print_word(option, &number, file);
}

const struct config_type config_type_role = {
	.expected = "a known word",
	.size = sizeof(bool),
	.read = read_role,
	.print = print_role,
};

static int read_flag(const struct config_place *place, const char *text, void *value)
{
	static const char *const words[] = {"no", "false", "off", "yes", "true", "on"};

	(void)place;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		bool flag = i >= ARRAY_SIZE(words) / 2;

		if (strcmp(text, words[i]) != 0)
			continue;
		memcpy(value, &flag, sizeof(flag));
		return 0;
	}
	return -EINVAL;
}

static void print_flag(const struct config_option *option, const void *value, FILE *file)
{
	(void)option;
	fputs(get_flag(value) ? "yes" : "no", file);
}

const struct config_type config_type_flag = {
	.expected = "yes or no",
	.size = sizeof(bool),
	.read = read_flag,
	.print = print_flag,
};

/* --- interfaces and paths ------------------------------------------------------------------ */

/* An interface may come and go: nobody asks here whether there is one. dev_valid_name() of Linux.
 */
static int read_interface(const struct config_place *place, const char *text, void *value)
{
	size_t length = strlen(text);

	(void)place;
	if (length == 0 || length >= IFNAMSIZ || strpbrk(text, "/:\"* \t\n\v\f\r") ||
	    strcmp(text, ".") == 0 || strcmp(text, "..") == 0 || strcmp(text, "lo") == 0)
		return -EINVAL;
	return config_value_copy(text, value);
}

const struct config_type config_type_interface = {
	.expected = "the name of a network interface, or \"" CONFIG_LOCAL
		    "\" for programs of this machine",
	.size = sizeof(char *),
	.read = read_interface,
	.print = config_value_print_text,
	.release = config_value_free_text,
	.present = config_value_has_text,
};

static int read_path(const struct config_place *place, const char *text, void *value)
{
	(void)place;
	return text[0] == '/' && text[1] != '\0' ? config_value_copy(text, value) : -EINVAL;
}

const struct config_type config_type_path = {
	.expected = "an absolute path",
	.size = sizeof(char *),
	.read = read_path,
	.print = config_value_print_text,
	.release = config_value_free_text,
	.present = config_value_has_text,
};

/* What fits into a struct sockaddr_un, unix(7). */
static int read_socket(const struct config_place *place, const char *text, void *value)
{
	if (*text == '\0')
		return config_value_copy(text, value);
	if (strlen(text) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return -EINVAL;
	return read_path(place, text, value);
}

const struct config_type config_type_socket = {
	.expected = "an absolute path of at most 107 bytes, or \"\" for none",
	.size = sizeof(char *),
	.read = read_socket,
	.print = config_value_print_text,
	.release = config_value_free_text,
	.present = config_value_has_text,
};

/* --- local users and control groups -------------------------------------------------------- */

static int read_user(const struct config_place *place, const char *text, void *value)
{
	const struct passwd *entry;
	uint64_t number;
	uid_t user;

	if (parse_number(text, 10, &number) == 0) {
		/* (uid_t)-1 means "no change" to setuid(2) and friends: nobody's number. */
		if (number >= UINT32_MAX)
			return -EINVAL;
		user = (uid_t)number;
		if (!getpwuid(user))
			config_report_warning(place->report, place->line,
					      "%s: no user has the number %s on this machine",
					      place->option->name, text);
	} else {
		entry = getpwnam(text);
		if (!entry) {
			config_report_error(place->report, place->line,
					    "%s: there is no user '%s' on this machine, expected "
					    "a name of passwd(5) or a number",
					    place->option->name, text);
			return 1;
		}
		user = entry->pw_uid;
	}
	memcpy(value, &user, sizeof(user));
	return 0;
}

static void print_user(const struct config_option *option, const void *value, FILE *file)
{
	uid_t user;

	(void)option;
	memcpy(&user, value, sizeof(user));
	fprintf(file, "\"%u\"", user);
}

const struct config_type config_type_user = {
	.expected = "a user's name or number",
	.size = sizeof(uid_t),
	.read = read_user,
	.print = print_user,
};

/*
 * A unit's group exists only while the unit runs, and the daemon may be started first: a missing
 * one is a warning.
 */
static int read_cgroup(const struct config_place *place, const char *text, void *value)
{
	char path[4096];
	struct stat status;
	size_t length = strlen(text);

	if (text[0] != '/' || length < 2 || text[length - 1] == '/' || strstr(text, "/.") ||
	    strstr(text, "//"))
		return -EINVAL;
	if ((size_t)snprintf(path, sizeof(path), CGROUP_ROOT "%s", text) >= sizeof(path))
		return -EINVAL;
	if (!place->report->alone && (stat(path, &status) < 0 || !S_ISDIR(status.st_mode)))
		config_report_warning(place->report, place->line,
				      "%s: %s does not exist now: its members are carried once "
				      "it does",
				      place->option->name, path);
	return config_value_copy(text, value);
}

const struct config_type config_type_cgroup = {
	.expected = "a path below " CGROUP_ROOT ", like /system.slice/scada.service",
	.size = sizeof(char *),
	.read = read_cgroup,
	.print = config_value_print_text,
	.release = config_value_free_text,
	.present = config_value_has_text,
};
