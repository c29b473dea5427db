/* SPDX-License-Identifier: Apache-2.0 */
#include "mcplc_log.h"
#include "mc/mc_command.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>

/* The longest frame the server takes (8,200 bytes) in hex, and all else a line can hold. */
#define LINE_SIZE (2 * 8200 + 2048)

struct line {
	size_t used;
	char text[LINE_SIZE];
};

static void __attribute__((format(printf, 2, 3))) add(struct line *line, const char *format, ...)
{
	size_t left = sizeof(line->text) - line->used;
	va_list arguments;
	int size;

	va_start(arguments, format);
	size = vsnprintf(line->text + line->used, left, format, arguments);
	va_end(arguments);
	if (size > 0)
		line->used += (size_t)size < left ? (size_t)size : left - 1;
}

static void begin(struct line *line, const char *event, const struct mcplc_log_names *names)
{
	struct timespec now;
	struct tm utc;
	char stamp[32];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
	line->used = 0;
	add(line, "%s.%06ldZ event=%s peer=%s port=%s", stamp, now.tv_nsec / 1000, event,
	    names->peer, names->port);
}

static void end(const struct mcplc_log *log, struct line *line)
{
	FILE *const files[] = {log->file, log->echo};

	add(line, "\n");
	for (size_t i = 0; i < 2; i++) {
		if (!files[i])
			continue;
		fwrite(line->text, 1, line->used, files[i]);
		fflush(files[i]);
	}
}

void mcplc_log_event(const struct mcplc_log *log, const char *event,
		     const struct mcplc_log_names *names, const char *detail)
{
	struct line line;

	if (!log->file && !log->echo)
		return;
	begin(&line, event, names);
	if (*detail)
		add(&line, " %s", detail);
	end(log, &line);
}

static void add_frame(struct line *line, const struct mc_request *request)
{
	const struct mc_command *command = mc_command_find(request->family, request->command);
	const struct mc_route *route = &request->route;

	add(line, " family=%s code=%s", mc_frame_family_name(request->family),
	    mc_frame_code_name(request->code));
	if (request->family == MC_FAMILY_1E) {
		add(line, " pc=%02X command=%02X", route->pc, request->command);
	} else {
		add(line, " route=%02X/%02X/%04X/%02X command=%04X subcommand=%04X", route->network,
		    route->pc, route->module, route->station, request->command,
		    request->subcommand);
	}
	add(line, " name=\"%s\"", command ? command->name : "unknown");
}

static bool is_secret(const struct mc_request *request)
{
	const struct mc_command *command = mc_command_find(request->family, request->command);

	return command && command->class == MC_CLASS_SECURITY;
}

void mcplc_log_request(const struct mcplc_log *log, const char *event,
		       const struct mcplc_log_names *names, const struct mcplc_outcome *outcome,
		       const uint8_t *bytes, size_t length)
{
	const struct mc_request *request = &outcome->request;
	size_t hidden = is_secret(request) ? request->data_size : 0;
	struct line line;

	if (!log->file && !log->echo)
		return;
	begin(&line, event, names);
	add_frame(&line, request);
	if (outcome->devices[0])
		add(&line, " devices=%s", outcome->devices);
	if (strcmp(event, "request") == 0)
		add(&line, " end=%04X meaning=\"%s\"", outcome->end_code,
		    mc_command_end_code_name(request->family, outcome->end_code));
	add(&line, " raw=");
	for (size_t i = 0; i < length; i++) {
		if (i < length - hidden)
			add(&line, "%02x", bytes[i]);
		else
			add(&line, "**");
	}
	end(log, &line);
}
