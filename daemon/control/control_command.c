/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_command.h"

#include "base/error.h"
#include "control/metrics.h"
#include "control/status.h"

#include <errno.h>

static int print_metrics(FILE *body, const char *arguments, struct control_context *context)
{
	if (*arguments != '\0') {
		fprintf(body, "metrics takes no arguments");
		return -EINVAL;
	}
	return metrics_print(body, context);
}

/* Faults are told to who asked, as `mcseald --check` tells them. */
static int run_reload(FILE *body, const char *arguments, struct control_context *context)
{
	int error;

	if (*arguments != '\0') {
		fprintf(body, "reload takes no arguments");
		return -EINVAL;
	}
	fprintf(body, "%s:\n", context->running->path);
	error = reload(context->running, body);
	if (error < 0)
		fprintf(body, "not reloaded: all is as before");
	else
		fprintf(body, "reloaded\n");
	return error;
}

static int print_status(FILE *body, const char *arguments, struct control_context *context)
{
	if (*arguments != '\0') {
		fprintf(body, "status takes no arguments");
		return -EINVAL;
	}
	return status_print(body, context);
}

static const struct control_command ROWS[] = {
	{"status", print_status},
	{"metrics", print_metrics},
	{"reload", run_reload},
};

const struct control_commands control_commands = {ROWS, ARRAY_SIZE(ROWS)};
