/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line for the log or a file, as fields: built once, then written as text for people
 * (log_line() in base/log.h) and as a JSON object for programs.
 *
 * It lives on the stack of who makes it, and nothing here allocates: lines are written for each
 * request, and a request must not cost an allocation. (Hence no JSON library: they all build
 * trees.)
 */
#ifndef MCSEAL_BASE_LINE_H
#define MCSEAL_BASE_LINE_H

#include "base/clock.h"

#include <stdbool.h>
#include <stddef.h>

#define LINE_FIELDS     32
#define LINE_VALUE_SIZE 512  /* of the longest value, with its zero byte; the rest is cut off */
#define LINE_TEXT_SIZE  3072 /* of all of them */
#define LINE_JSON_SIZE  4096 /* of a line of JSON */

struct line_field {
	const char *key;   /* constant, letters and '-' */
	const char *value; /* in line->text */
	size_t length;
	bool number;
};

struct line {
	const char *event; /* constant, like "session-closed" */
	struct timespec time;
	clock_us monotonic;
	bool skipped; /* nobody wants it: fields are not formatted */
	bool cut;     /* a value was cut off or a field left out */
	unsigned int count;
	size_t used;
	struct line_field fields[LINE_FIELDS];
	char text[LINE_TEXT_SIZE];
};

/* Starts a line of now. Not `wanted`: what follows does nothing. */
void line_begin(struct line *line, const char *event, bool wanted);
/* Adds a field. What has no room any more is left out. */
void line_text(struct line *line, const char *key, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void line_number(struct line *line, const char *key, uint64_t value);
/* A duration, as seconds with three decimals. */
void line_seconds(struct line *line, const char *key, clock_us duration);

/*
 * Writes a line that is not skipped as one JSON object and a line's end to `json`, which has
 * LINE_JSON_SIZE bytes; there is no zero byte. Returns its size.
 *
 * "event", "time" (RFC 3339, microseconds) and "monotonic" (seconds) stand before the fields.
 * Strings are valid whatever the values hold: control characters are escaped, what is not UTF-8
 * becomes U+FFFD. Does it not fit, whole fields are left out, the longest first: details go
 * before names, and numbers always stay. Then, or when the line is cut already, it has "cut": true.
 */
size_t line_json(const struct line *line, char *json);

#endif
