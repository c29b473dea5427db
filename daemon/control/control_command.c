/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_command.h"

#include "base/error.h"
#include "control/admin.h"
#include "control/close_command.h"
#include "control/drains.h"
#include "control/level_command.h"
#include "control/metrics.h"
#include "control/sessions_command.h"
#include "control/status.h"

#include <errno.h>

static bool has_arguments(struct control_question *question)
{
	if (*question->arguments != '\0')
		fprintf(question->body, "%s takes no arguments", question->command);
	return *question->arguments != '\0';
}

static int print_metrics(struct control_question *question, struct control_context *context)
{
	return has_arguments(question) ? -EINVAL : metrics_print(question->body, context);
}

/* Faults are told to who asked, as `mcseald --check` tells them. */
static int run_reload(struct control_question *question, struct control_context *context)
{
	int error;

	if (has_arguments(question))
		return -EINVAL;
	admin_tell(question);
	fprintf(question->body, "%s:\n", context->running->path);
	error = reload(context->running, question->body);
	if (error < 0)
		fprintf(question->body, "not reloaded: all is as before");
	else
		fprintf(question->body, "reloaded\n");
	return error;
}

static int print_status(struct control_question *question, struct control_context *context)
{
	return has_arguments(question) ? -EINVAL : status_print(question->body, context);
}

static const struct control_command ROWS[] = {
	{"status", print_status},         {"sessions", sessions_command},
	{"metrics", print_metrics},       {"reload", run_reload},
	{"close", close_command},         {"drain", drains_begin_command},
	{"undrain", drains_undo_command}, {"log-level", level_command},
};

const struct control_commands control_commands = {ROWS, ARRAY_SIZE(ROWS)};
