/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One of the two globals the tree allows: read by every thread, written by start and reload. */
static atomic_int threshold = LOG_LEVEL_INFO;

static const struct {
	const char *name;
	const char *prefix; /* sd-daemon(3) priority */
} levels[] = {
	[LOG_LEVEL_ERROR] = {"error", "<3>"},
	[LOG_LEVEL_WARNING] = {"warning", "<4>"},
	[LOG_LEVEL_INFO] = {"info", "<6>"},
	[LOG_LEVEL_DEBUG] = {"debug", "<7>"},
};

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load_explicit(&threshold, memory_order_relaxed);
}

const char *log_level_name(enum log_level level)
{
	return levels[level].name;
}

bool log_wants(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&threshold, memory_order_relaxed);
}

int log_level_parse(const char *name, enum log_level *level)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (strcmp(levels[i].name, name) == 0) {
			*level = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* The last bytes stay free for "...\n". */
static void append(struct log_entry *entry, const char *text, size_t size)
{
	size_t room = sizeof(entry->text) - 4 - entry->used;

	if (size > room)
		size = room;
	memcpy(entry->text + entry->used, text, size);
	entry->used += size;
}

static void append_string(struct log_entry *entry, const char *text)
{
	append(entry, text, strlen(text));
}

static bool needs_quotes(const char *value)
{
	if (*value == '\0')
		return true;
	for (const char *c = value; *c != '\0'; c++)
		if ((unsigned char)*c <= ' ' || *c == '"' || *c == '\\' || *c == '=' || *c == 0x7f)
			return true;
	return false;
}

static void append_quoted(struct log_entry *entry, const char *value)
{
	append(entry, "\"", 1);
	for (const char *c = value; *c != '\0'; c++) {
		char escaped[5];

		if (*c == '"' || *c == '\\') {
			escaped[0] = '\\';
			escaped[1] = *c;
			append(entry, escaped, 2);
		} else if ((unsigned char)*c < ' ' || *c == 0x7f) {
			snprintf(escaped, sizeof(escaped), "\\x%02x", (unsigned char)*c);
			append(entry, escaped, 4);
		} else {
			append(entry, c, 1);
		}
	}
	append(entry, "\"", 1);
}

static void begin(struct log_entry *entry, enum log_level level, const char *message,
		  const struct timespec *time)
{
	char text[CLOCK_TEXT_SIZE];

	entry->used = 0;
	if (getenv("JOURNAL_STREAM") != NULL) {
		append_string(entry, levels[level].prefix);
	} else {
		append_string(entry, clock_print(time, CLOCK_PRECISION_MS, text));
		append(entry, " ", 1);
	}
	append_string(entry, levels[level].name);
	append(entry, " ", 1);
	append_string(entry, message);
}

void log_begin(struct log_entry *entry, enum log_level level, const char *message)
{
	struct timespec now;

	entry->level = level;
	entry->skipped = !log_wants(level);
	entry->used = 0;
	if (entry->skipped)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	begin(entry, level, message, &now);
}

static void append_field(struct log_entry *entry, const char *key, const char *value)
{
	append(entry, " ", 1);
	append_string(entry, key);
	append(entry, "=", 1);
	if (needs_quotes(value))
		append_quoted(entry, value);
	else
		append_string(entry, value);
}

__attribute__((format(printf, 3, 0))) static void field_va(struct log_entry *entry, const char *key,
							   const char *format, va_list args)
{
	char value[512];

	if (entry->skipped)
		return;
	if (vsnprintf(value, sizeof(value), format, args) < 0)
		value[0] = '\0';
	append_field(entry, key, value);
}

void log_field(struct log_entry *entry, const char *key, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	field_va(entry, key, format, args);
	va_end(args);
}

static int write_line(struct log_entry *entry)
{
	const char *rest = entry->text;
	size_t left;

	if (entry->used + 4 >= sizeof(entry->text)) {
		memcpy(entry->text + entry->used, "...", 3);
		entry->used += 3;
	}
	entry->text[entry->used++] = '\n';
	left = entry->used;
	while (left > 0) {
		ssize_t written = write(STDERR_FILENO, rest, left);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written < 0 ? -errno : -EIO;
		rest += written;
		left -= (size_t)written;
	}
	return 0;
}

void log_end(struct log_entry *entry)
{
	if (!entry->skipped)
		(void)write_line(entry); /* nobody is left to tell */
}

int log_line(enum log_level level, const struct line *line)
{
	struct log_entry entry;

	if (line->skipped || !log_wants(level))
		return 0;
	begin(&entry, level, line->event, &line->time);
	for (unsigned int i = 0; i < line->count; i++)
		append_field(&entry, line->fields[i].key, line->fields[i].value);
	return write_line(&entry);
}

void log_simple(enum log_level level, const char *message, const char *key, const char *format, ...)
{
	struct log_entry entry;
	va_list args;

	log_begin(&entry, level, message);
	if (key != NULL) {
		va_start(args, format);
		field_va(&entry, key, format, args);
		va_end(args);
	}
	log_end(&entry);
}
