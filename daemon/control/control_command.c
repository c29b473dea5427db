/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_command.h"

#include "base/error.h"
#include "control/metrics.h"

#include <errno.h>

static int print_metrics(FILE *body, const char *arguments, struct control_context *context)
{
	if (*arguments != '\0') {
		fprintf(body, "metrics takes no arguments");
		return -EINVAL;
	}
	return metrics_print(body, context);
}

static const struct control_command ROWS[] = {
	{"metrics", print_metrics},
};

const struct control_commands control_commands = {ROWS, ARRAY_SIZE(ROWS)};
