/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config_text.h"

#include "base/error.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define DEPTH_MAX 8 /* the deepest list stands in edge { route { ... = { } } } */

struct scan {
	char *at;
	int line;
	struct {
		int line;
		bool section; /* and not a list */
	} open[DEPTH_MAX];
	size_t depth;
	char last; /* the last token's first character */
	bool out_of_memory;
	struct config_report *report;
	struct config_text_sections *sections;
};

/* What a name or an unquoted value may hold; a subset of what libconfuse takes. */
static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("_.:/-%@[]", c) != NULL);
}

static void blank(struct scan *scan)
{
	if (*scan->at == '\n')
		scan->line++;
	else
		*scan->at = ' ';
	scan->at++;
}

static bool blank_line_comment(struct scan *scan)
{
	while (*scan->at != '\0' && *scan->at != '\n')
		blank(scan);
	return true;
}

static bool blank_block_comment(struct scan *scan)
{
	int first = scan->line;

	blank(scan);
	blank(scan);
	while (*scan->at != '\0') {
		bool end = scan->at[0] == '*' && scan->at[1] == '/';

		blank(scan);
		if (end) {
			blank(scan);
			return true;
		}
	}
	config_report_error(scan->report, first, "this comment never ends, expected */");
	return false;
}

/* Everything inside stands for itself but \" and \\. */
static bool skip_string(struct scan *scan)
{
	for (scan->at++; *scan->at != '"'; scan->at++) {
		unsigned char c = (unsigned char)*scan->at;

		if (c == '\0' || c == '\n') {
			config_report_error(scan->report, scan->line,
					    "the string has no end, expected \" on the same line");
			return false;
		}
		if (c < ' ' || c == 0x7f) {
			config_report_error(scan->report, scan->line,
					    "control character 0x%02x in a string, expected text",
					    c);
			return false;
		}
		if (c == '$' && scan->at[1] == '{') {
			config_report_error(scan->report, scan->line,
					    "variables like ${NAME} are not replaced here, "
					    "expected the value itself");
			return false;
		}
		if (c != '\\')
			continue;
		scan->at++;
		if (*scan->at != '"' && *scan->at != '\\') {
			config_report_error(scan->report, scan->line,
					    "a backslash in a string, expected \\\" or \\\\");
			return false;
		}
	}
	scan->at++;
	return true;
}

static bool open_brace(struct scan *scan)
{
	if (scan->depth == DEPTH_MAX) {
		config_report_error(scan->report, scan->line,
				    "braces stand too deep, expected at most %d levels", DEPTH_MAX);
		return false;
	}
	scan->open[scan->depth].line = scan->line;
	scan->open[scan->depth].section = scan->last != '=';
	scan->depth++;
	return true;
}

static bool close_brace(struct scan *scan)
{
	struct config_text_sections *sections = scan->sections;
	int *grown;

	if (scan->depth == 0) {
		config_report_error(scan->report, scan->line,
				    "this } closes nothing, expected an option");
		return false;
	}
	scan->depth--;
	if (!scan->open[scan->depth].section)
		return true;
	grown = reallocarray(sections->lines, sections->count + 1, sizeof(*grown));
	if (!grown) {
		scan->out_of_memory = true;
		return false;
	}
	grown[sections->count++] = scan->open[scan->depth].line;
	sections->lines = grown;
	return true;
}

static bool refuse(struct scan *scan)
{
	unsigned char c = (unsigned char)*scan->at;

	if (c > ' ' && c < 0x7f)
		config_report_error(scan->report, scan->line,
				    "unexpected character '%c', expected a name, a value, "
				    "\"...\", =, a comma or a brace",
				    c);
	else
		config_report_error(scan->report, scan->line,
				    "unexpected byte 0x%02x, expected plain text (such bytes "
				    "may stand in \"...\" and comments only)",
				    c);
	return false;
}

/* One token. */
static bool token(struct scan *scan)
{
	char c = *scan->at;

	if (c == '"')
		return skip_string(scan);
	if (is_word(c)) {
		while (is_word(*scan->at))
			scan->at++;
		return true;
	}
	if (!strchr("=,{}", c))
		return refuse(scan);
	scan->at++;
	if (c == '{')
		return open_brace(scan);
	return c != '}' || close_brace(scan);
}

/* One token, comment, blank or end of line. */
static bool next(struct scan *scan)
{
	char c = *scan->at;
	char after = scan->at[1];

	if (strchr(" \t\r\n", c)) {
		scan->line += c == '\n';
		scan->at++;
		return true;
	}
	if (c == '#' || (c == '/' && after == '/'))
		return blank_line_comment(scan);
	if (c == '/' && after == '*')
		return blank_block_comment(scan);
	if (!token(scan))
		return false;
	scan->last = c;
	return true;
}

int config_text_clean(char *text, struct config_report *report,
		      struct config_text_sections *sections)
{
	struct scan scan = {.at = text, .line = 1, .report = report, .sections = sections};

	while (*scan.at != '\0') {
		if (!next(&scan))
			return scan.out_of_memory ? -ENOMEM : -EINVAL;
	}
	if (scan.depth == 0)
		return 0;
	config_report_error(report, scan.open[scan.depth - 1].line,
			    "this { is never closed, expected } before the end of the file");
	return -EINVAL;
}
