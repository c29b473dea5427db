/* SPDX-License-Identifier: Apache-2.0 */
#include "base/line.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* --- fields ---------------------------------------------------------------------------------- */

void line_begin(struct line *line, const char *event, bool wanted)
{
	line->event = event;
	line->skipped = !wanted;
	line->cut = false;
	line->count = 0;
	line->used = 0;
	if (!wanted)
		return;
	clock_gettime(CLOCK_REALTIME, &line->time);
	line->monotonic = clock_now();
}

__attribute__((format(printf, 4, 0))) static void add(struct line *line, const char *key,
						      bool number, const char *format, va_list args)
{
	char *value = line->text + line->used;
	size_t room = sizeof(line->text) - line->used, length;
	int size;

	if (line->skipped)
		return;
	if (room > LINE_VALUE_SIZE)
		room = LINE_VALUE_SIZE;
	size = vsnprintf(value, room, format, args);
	length = size < 0 ? 0 : (size_t)size;
	if (length >= LINE_VALUE_SIZE && room == LINE_VALUE_SIZE) {
		line->cut = true;
		length = LINE_VALUE_SIZE - 1;
	}
	if (length >= room || line->count == LINE_FIELDS) {
		line->cut = true;
		return;
	}
	line->fields[line->count++] = (struct line_field){key, value, length, number};
	line->used += length + 1;
}

void line_text(struct line *line, const char *key, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add(line, key, false, format, args);
	va_end(args);
}

__attribute__((format(printf, 3, 4))) static void add_number(struct line *line, const char *key,
							     const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add(line, key, true, format, args);
	va_end(args);
}

void line_number(struct line *line, const char *key, uint64_t value)
{
	add_number(line, key, "%" PRIu64, value);
}

void line_seconds(struct line *line, const char *key, clock_us duration)
{
	add_number(line, key, "%" PRId64 ".%03" PRId64, duration / CLOCK_SEC,
		   duration % CLOCK_SEC / CLOCK_MS);
}

/* --- JSON ------------------------------------------------------------------------------------ */

/* Well-formed UTF-8 (The Unicode Standard, table 3-7): the second byte tells it from forgeries. */
static const struct {
	uint8_t first, last; /* of the first byte */
	uint8_t low, high;   /* of the second; any other is 80 to BF */
	uint8_t size;
} SEQUENCES[] = {
	{0x00, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
	{0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
	{0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

/* How many bytes at the front are one character; 0: they are none. */
static size_t character(const uint8_t *at, size_t left)
{
	for (size_t i = 0; i < sizeof(SEQUENCES) / sizeof(SEQUENCES[0]); i++) {
		size_t size = SEQUENCES[i].size;

		if (*at < SEQUENCES[i].first || *at > SEQUENCES[i].last)
			continue;
		if (size > left ||
		    (size > 1 && (at[1] < SEQUENCES[i].low || at[1] > SEQUENCES[i].high)))
			return 0;
		for (size_t j = 2; j < size; j++)
			if (at[j] < 0x80 || at[j] > 0xbf)
				return 0;
		return size;
	}
	return 0;
}

/* Of a control character, below 20 or from 7F to 9F, its number; -1: it is another, or none. */
static int control(const uint8_t *at, size_t size)
{
	if (size == 1)
		return *at < ' ' || *at == 0x7f ? *at : -1;
	return size == 2 && at[0] == 0xc2 && at[1] < 0xa0 ? at[1] : -1;
}

/* Appends a string's inside; with `out` NULL it is only measured. Its size. */
static size_t put_inside(const char *text, size_t length, char *out)
{
	const uint8_t *at = (const uint8_t *)text;
	size_t used = 0, size;

	for (; length > 0; at += size, length -= size) {
		char escaped[] = "\\ufffd";
		const char *from = escaped;
		size_t count = strlen(escaped);
		int code;

		size = character(at, length);
		code = control(at, size);
		if (size == 0) {
			size = 1;
		} else if (code >= 0) {
			escaped[2] = escaped[3] = '0';
			escaped[4] = "0123456789abcdef"[code >> 4];
			escaped[5] = "0123456789abcdef"[code & 15];
		} else if (*at == '"' || *at == '\\') {
			escaped[0] = '\\';
			escaped[1] = (char)*at;
			count = 2;
		} else {
			from = (const char *)at;
			count = size;
		}
		if (out != NULL)
			memcpy(out + used, from, count);
		used += count;
	}
	return used;
}

/* The same for `,"key":value`. */
static size_t put_field(const struct line_field *field, char *out)
{
	size_t key = strlen(field->key), used = key + 4;

	if (out != NULL) {
		memcpy(out, ",\"", 2);
		memcpy(out + 2, field->key, key);
		memcpy(out + 2 + key, "\":", 2);
	}
	if (field->number) {
		if (out != NULL)
			memcpy(out + used, field->value, field->length);
		return used + field->length;
	}
	if (out != NULL)
		out[used] = '"';
	used++;
	used += put_inside(field->value, field->length, out != NULL ? out + used : NULL);
	if (out != NULL)
		out[used] = '"';
	return used + 1;
}

static size_t put_head(const struct line *line, char *json)
{
	char time[CLOCK_TEXT_SIZE];

	return (size_t)snprintf(json, LINE_JSON_SIZE,
				"{\"event\":\"%s\",\"time\":\"%s\",\"monotonic\":%" PRId64
				".%06" PRId64,
				line->event, clock_print(&line->time, CLOCK_PRECISION_US, time),
				line->monotonic / CLOCK_SEC, line->monotonic % CLOCK_SEC);
}

/* Leaves out what is too much of `room` bytes, by setting its size to 0. False: nothing was. */
static bool shed(const struct line *line, size_t *sizes, size_t total, size_t room)
{
	bool any = total > room;

	while (total > room) {
		size_t *longest = NULL;

		for (unsigned int i = 0; i < line->count; i++)
			if (!line->fields[i].number && (longest == NULL || sizes[i] > *longest))
				longest = &sizes[i];
		if (longest == NULL || *longest == 0)
			break; /* numbers alone are never too much */
		total -= *longest;
		*longest = 0;
	}
	return any;
}

size_t line_json(const struct line *line, char *json)
{
	static const char CUT[] = ",\"cut\":true", END[] = "}\n";
	size_t used = put_head(line, json), sizes[LINE_FIELDS], total = 0;
	size_t room = LINE_JSON_SIZE - used - strlen(CUT) - strlen(END);
	bool cut;

	for (unsigned int i = 0; i < line->count; i++) {
		sizes[i] = put_field(&line->fields[i], NULL);
		total += sizes[i];
	}
	cut = shed(line, sizes, total, room) || line->cut;
	for (unsigned int i = 0; i < line->count; i++)
		if (sizes[i] > 0)
			used += put_field(&line->fields[i], json + used);
	if (cut) {
		memcpy(json + used, CUT, strlen(CUT));
		used += strlen(CUT);
	}
	memcpy(json + used, END, strlen(END));
	return used + strlen(END);
}
