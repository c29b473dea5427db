/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/findings.h"

#include "base/error.h"
#include "config/config_option.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>

/* As config_report.c and tls_context.c write them. */
static const char *const SEVERITIES[] = {"error", "warning"};

static bool has_option(const struct config_section *section, const char *name, size_t length)
{
	for (size_t i = 0; i < section->option_count; i++)
		if (strlen(section->options[i].name) == length &&
		    strncmp(section->options[i].name, name, length) == 0)
			return true;
	for (size_t i = 0; i < section->section_count; i++)
		if (has_option(&section->sections[i], name, length))
			return true;
	return false;
}

/* Messages about an option begin with its name; NULL: this one is about something else. */
static json_t *option_of(const char *message)
{
	size_t length = strspn(message, "abcdefghijklmnopqrstuvwxyz0123456789_");

	return (message[length] == ':' || message[length] == ' ') &&
			       has_option(&config_root, message, length)
		       ? json_stringn(message, length)
		       : json_null();
}

/* Where ": error: " or ": warning: " begins, whichever is first; NULL: nowhere. */
static const char *find_severity(const char *line, const char **severity)
{
	const char *first = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(SEVERITIES); i++) {
		char mark[16];
		const char *at;

		snprintf(mark, sizeof(mark), ": %s: ", SEVERITIES[i]);
		at = strstr(line, mark);
		if (at != NULL && (first == NULL || at < first)) {
			first = at;
			*severity = SEVERITIES[i];
		}
	}
	return first;
}

/* How many of the bytes are the file's name, and *number behind it: 0, there is none. */
static size_t split_place(const char *place, size_t length, long *number)
{
	size_t end = length;

	*number = 0;
	while (end > 0 && isdigit((unsigned char)place[end - 1]))
		end--;
	if (end == length || end == 0 || place[end - 1] != ':')
		return length;
	*number = strtol(place + end, NULL, 10);
	return end - 1;
}

static json_t *finding_of(const char *line, bool ok)
{
	const char *severity = SEVERITIES[0], *at = find_severity(line, &severity), *message;
	size_t length;
	long number;

	if (at == NULL)
		return ok ? json_null()
			  : json_pack("{s:n, s:n, s:n, s:s, s:s}", "file", "line", "option",
				      "severity", severity, "message", line);
	message = at + strlen(": : ") + strlen(severity);
	length = split_place(line, (size_t)(at - line), &number);
	return json_pack("{s:o, s:o, s:o, s:s, s:s}", "file", json_stringn(line, length), "line",
			 number > 0 ? json_integer(number) : json_null(), "option",
			 option_of(message), "severity", severity, "message", message);
}

static json_t *findings_of(char *text, bool ok)
{
	json_t *list = json_array();
	char *rest = NULL;

	for (char *line = strtok_r(text, "\n", &rest); line != NULL && list != NULL;
	     line = strtok_r(NULL, "\n", &rest)) {
		json_t *finding = finding_of(line, ok);

		if (json_is_null(finding))
			continue;
		if (json_array_append_new(list, finding) < 0) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

int findings_print(const char *text, bool ok, FILE *file)
{
	char *copy = strdup(text);
	json_t *list = copy != NULL ? findings_of(copy, ok) : NULL;
	json_t *all = json_pack("{s:b, s:o}", "ok", ok, "findings", list);
	int error = all == NULL ? -ENOMEM : 0;

	if (error == 0 && (json_dumpf(all, file, JSON_INDENT(2) | JSON_PRESERVE_ORDER) < 0 ||
			   fputc('\n', file) < 0))
		error = -EIO;
	json_decref(all);
	free(copy);
	return error;
}
