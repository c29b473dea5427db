/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config_report.h"

#include "base/error.h"

#include <stdarg.h>
#include <string.h>

struct config_message {
	int line;
	size_t sequence; /* qsort(3) is not stable: two faults of one line stay in order */
	const char *kind;
	char *text;
};

void config_report_init(struct config_report *report, const char *path, FILE *file)
{
	*report = (struct config_report){.path = path, .file = file};
}

static void print(const struct config_report *report, int line, const char *kind, const char *text)
{
	if (line > 0)
		fprintf(report->file, "%s:%d: %s: %s\n", report->path, line, kind, text);
	else
		fprintf(report->file, "%s: %s: %s\n", report->path, kind, text);
}

__attribute__((format(printf, 4, 0))) static void keep(struct config_report *report, int line,
						       const char *kind, const char *format,
						       va_list arguments)
{
	cleanup_free char *text = NULL;
	struct config_message *grown;

	if (vasprintf(&text, format, arguments) < 0) {
		text = NULL;
		print(report, line, kind, "no memory to say what is wrong");
		return;
	}
	grown = reallocarray(report->messages, report->count + 1, sizeof(*grown));
	if (!grown) {
		print(report, line, kind, text);
		return;
	}
	report->messages = grown;
	grown[report->count] = (struct config_message){
		.line = line,
		.sequence = report->count,
		.kind = kind,
		.text = steal_pointer(&text),
	};
	report->count++;
}

__attribute__((format(printf, 4, 0))) static void
add(struct config_report *report, int line, const char *kind, const char *format, va_list arguments)
{
	if (report->count == CONFIG_REPORT_MESSAGES_MAX)
		report->dropped++;
	else
		keep(report, line, kind, format, arguments);
}

void config_report_error(struct config_report *report, int line, const char *format, ...)
{
	va_list arguments;

	report->errors++;
	va_start(arguments, format);
	add(report, line, "error", format, arguments);
	va_end(arguments);
}

void config_report_warning(struct config_report *report, int line, const char *format, ...)
{
	va_list arguments;

	report->warnings++;
	va_start(arguments, format);
	add(report, line, "warning", format, arguments);
	va_end(arguments);
}

static int by_line(const void *a, const void *b)
{
	const struct config_message *left = a;
	const struct config_message *right = b;

	if (left->line != right->line)
		return left->line < right->line ? -1 : 1;
	return left->sequence < right->sequence ? -1 : 1;
}

void config_report_flush(struct config_report *report)
{
	if (report->count > 0)
		qsort(report->messages, report->count, sizeof(*report->messages), by_line);
	for (size_t i = 0; i < report->count; i++) {
		const struct config_message *message = &report->messages[i];

		print(report, message->line, message->kind, message->text);
		free(message->text);
	}
	free(report->messages);
	if (report->dropped > 0)
		fprintf(report->file, "%s: %s: %zu more faults, expected fewer to be told\n",
			report->path, report->errors > 0 ? "error" : "warning", report->dropped);
	report->messages = NULL;
	report->count = report->dropped = 0;
}
