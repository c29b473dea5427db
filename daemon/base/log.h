/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structured log lines on stderr: `LEVEL message-id key=value key="va\"lue"`.
 *
 * A line is built field by field and written by one write(2), so lines of several threads never
 * mix. Values are quoted where needed and control characters escaped: a name out of a peer's
 * certificate cannot forge a line. Under systemd (JOURNAL_STREAM is set) lines carry the <N>
 * priority prefix of sd-daemon(3); elsewhere a UTC time stamp.
 *
 * No function here takes key material; secrets live in struct secret, which cannot be printed.
 */
#ifndef MCSEAL_BASE_LOG_H
#define MCSEAL_BASE_LOG_H

#include "base/line.h"

#include <stdbool.h>
#include <stddef.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

#define LOG_LINE_SIZE 2048

/* One line under construction. A full buffer truncates the line and marks it with "...". */
struct log_entry {
	enum log_level level;
	bool skipped; /* the level is switched off: fields are not formatted */
	size_t used;
	char text[LOG_LINE_SIZE];
};

/* Any thread. Lines above `level` are dropped before they are formatted. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
/* Are lines of this level written? Any thread. */
bool log_wants(enum log_level level);
/* "error", "warning", "info", "debug". */
const char *log_level_name(enum log_level level);
/* "error", "warning", "info" or "debug" to *level; -EINVAL for anything else. */
int log_level_parse(const char *name, enum log_level *level);

/* Starts a line; `message` is a constant id like "session-closed". */
void log_begin(struct log_entry *entry, enum log_level level, const char *message);
/* Appends ` key=value`. An empty value is written as `""`. */
void log_field(struct log_entry *entry, const char *key, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Writes the line and ends it. */
void log_end(struct log_entry *entry);

/*
 * Writes a line with its own time. 0, also when the level is switched off; or
 * -errno: stderr is closed or leads nowhere. Blocks while nobody reads a full pipe.
 */
int log_line(enum log_level level, const struct line *line);

/* A line with at most one field: log_simple(LOG_LEVEL_INFO, "ready", "workers", "%d", n). */
void log_simple(enum log_level level, const char *message, const char *key, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#endif
