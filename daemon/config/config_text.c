/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config_text.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>

struct scan {
	const char *at;
	int line;
	struct config_report *report;
	struct config_tokens *tokens;
};

/* What a name or an unquoted value may hold. */
static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("_.:/-%@[]", c) != NULL);
}

static void add(struct scan *scan, char kind, const char *from, const char *to)
{
	scan->tokens->items[scan->tokens->count++] = (struct config_token){
		.text = from,
		.length = (int)(to - from),
		.line = scan->line,
		.kind = kind,
	};
}

static void skip_line_comment(struct scan *scan)
{
	scan->at += strcspn(scan->at, "\n");
}

static void skip_block_comment(struct scan *scan)
{
	const char *end = strstr(scan->at + 2, "*/");

	if (!end) {
		config_report_error(scan->report, scan->line,
				    "this comment never ends, expected */ (the rest of the file "
				    "was not read)");
		scan->tokens->cut = true;
		scan->at += strlen(scan->at);
		return;
	}
	for (; scan->at < end + 2; scan->at++)
		scan->line += *scan->at == '\n';
}

/* The closing quote on the same line; NULL: there is none. */
static const char *find_quote(const char *at)
{
	for (; *at != '\0' && *at != '\n'; at++) {
		if (*at == '"')
			return at;
		if (*at == '\\' && (at[1] == '"' || at[1] == '\\'))
			at++;
	}
	return NULL;
}

/* Everything inside stands for itself but \" and \\. False: the first fault was reported. */
static bool check_string(const struct scan *scan, const char *at, const char *end)
{
	for (; at < end; at++) {
		unsigned char c = (unsigned char)*at;

		if (c < ' ' || c == 0x7f) {
			config_report_error(scan->report, scan->line,
					    "control character 0x%02x in a string, expected text",
					    c);
			return false;
		}
		if (c == '$' && at[1] == '{') {
			config_report_error(scan->report, scan->line,
					    "variables like ${NAME} are not replaced here, "
					    "expected the value itself");
			return false;
		}
		if (c != '\\')
			continue;
		at++;
		if (*at != '"' && *at != '\\') {
			config_report_error(scan->report, scan->line,
					    "a backslash in a string, expected \\\" or \\\\");
			return false;
		}
	}
	return true;
}

/* What closes at the end of the line was hardly meant to be in the string. */
static void read_open_string(struct scan *scan)
{
	const char *start = scan->at + 1;
	const char *end = start + strcspn(start, "\n");

	while (end > start && strchr(" \t\r,{}", end[-1]))
		end--;
	config_report_error(scan->report, scan->line,
			    "the string has no end, expected \" on the same line");
	scan->at = end;
	add(scan, CONFIG_TOKEN_FAULT, start, end);
}

static void read_string(struct scan *scan)
{
	const char *start = scan->at + 1;
	const char *end = find_quote(start);
	bool good;

	if (!end) {
		read_open_string(scan);
		return;
	}
	good = check_string(scan, start, end);
	add(scan, good ? CONFIG_TOKEN_STRING : CONFIG_TOKEN_FAULT, start, end);
	scan->at = end + 1;
}

/* What belongs to an unexpected character: 'x', (x), ${x}, or all up to a blank or sign. */
static const char *find_fault_end(const char *at)
{
	static const char pairs[][2] = {{'\'', '\''}, {'(', ')'}, {'$', '}'}};
	const char *end = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(pairs) && !(*at == '$' && at[1] != '{'); i++) {
		if (*at == pairs[i][0])
			end = memchr(at + 1, pairs[i][1], strcspn(at + 1, "\n"));
	}
	return end ? end + 1 : at + 1 + strcspn(at + 1, " \t\r\n={},\"#");
}

static void refuse(struct scan *scan)
{
	const char *start = scan->at;
	unsigned char c = (unsigned char)*start;

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
	scan->at = find_fault_end(start);
	add(scan, CONFIG_TOKEN_FAULT, start, scan->at);
}

static void read_word(struct scan *scan)
{
	const char *start = scan->at;

	while (is_word(*scan->at))
		scan->at++;
	add(scan, CONFIG_TOKEN_WORD, start, scan->at);
}

static void read_token(struct scan *scan)
{
	const char *start = scan->at;

	if (*start == '"') {
		read_string(scan);
	} else if (is_word(*start)) {
		read_word(scan);
	} else if (strchr("=,{}", *start)) {
		scan->at++;
		add(scan, *start, start, scan->at);
	} else {
		refuse(scan);
	}
}

/* One token, comment, blank or end of line. */
static void read_next(struct scan *scan)
{
	char c = *scan->at;
	char after = scan->at[1];

	if (strchr(" \t\r\n", c)) {
		scan->line += c == '\n';
		scan->at++;
	} else if (c == '#' || (c == '/' && after == '/')) {
		skip_line_comment(scan);
	} else if (c == '/' && after == '*') {
		skip_block_comment(scan);
	} else {
		read_token(scan);
	}
}

/*
 * Tells each { where its } stands. While it is open its `block` leads to the { around it, so that
 * a file full of braces costs neither stack nor time.
 */
static void match_braces(struct config_token *tokens)
{
	struct config_token *open = NULL;
	struct config_token *around;

	for (struct config_token *at = tokens; at->kind != CONFIG_TOKEN_END; at++) {
		if (at->kind == '{') {
			at->block = open ? (int)(at - open) : 0;
			open = at;
		} else if (at->kind == '}' && open) {
			around = open->block > 0 ? open - open->block : NULL;
			open->block = (int)(at - open);
			open = around;
		}
	}
	for (; open; open = around) {
		around = open->block > 0 ? open - open->block : NULL;
		open->block = 0;
	}
}

int config_text_read(const char *text, struct config_report *report, struct config_tokens *tokens)
{
	struct scan scan = {.at = text, .line = 1, .report = report, .tokens = tokens};

	/* A token has at least one character. Pages that are not reached are never touched. */
	tokens->items = calloc(strlen(text) + 1, sizeof(*tokens->items));
	if (!tokens->items)
		return -ENOMEM;
	while (*scan.at != '\0')
		read_next(&scan);
	add(&scan, CONFIG_TOKEN_END, scan.at, scan.at);
	match_braces(tokens->items);
	return 0;
}
