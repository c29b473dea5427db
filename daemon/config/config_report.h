/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with a configuration: collected while it is read and checked, written in the
 * order of the file's lines at the end, so that an admin sees every fault in one run.
 */
#ifndef MCSEAL_CONFIG_CONFIG_REPORT_H
#define MCSEAL_CONFIG_CONFIG_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* More than these are only counted: a file that is none at all has a fault in every word. */
#define CONFIG_REPORT_MESSAGES_MAX 1000

struct config_message;

struct config_report {
	const char *path; /* as printed; borrowed */
	FILE *file;       /* borrowed */
	bool alone;       /* the file alone is judged, not the files that it names */
	unsigned int errors;
	unsigned int warnings;
	struct config_message *messages;
	size_t count;
	size_t dropped;
};

void config_report_init(struct config_report *report, const char *path, FILE *file);
/* `line` 0: the file as a whole. The text says what is wrong and what was expected. */
void config_report_error(struct config_report *report, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void config_report_warning(struct config_report *report, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Writes everything, sorted by line, and forgets it; the counts stay. */
void config_report_flush(struct config_report *report);

#endif
