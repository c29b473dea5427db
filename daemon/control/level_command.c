/* SPDX-License-Identifier: Apache-2.0 */
#include "control/level_command.h"

#include "base/log.h"
#include "control/admin.h"

#include <errno.h>

/* Told under whichever of the two levels lets more through: silencing the log is not silent. */
static void set_level(const struct control_question *question, enum log_level level)
{
	bool quieter = level < log_get_level();

	if (quieter)
		admin_tell(question);
	log_set_level(level);
	if (!quieter)
		admin_tell(question);
}

int level_command(struct control_question *question, struct control_context *context)
{
	const struct config *config = context->running->snapshot->config;
	enum log_level before = log_get_level(), level;

	if (*question->arguments != '\0') {
		if (log_level_parse(question->arguments, &level) < 0) {
			fprintf(question->body,
				"there is no level \"%s\", expected error, warning, info or debug",
				question->arguments);
			return -EINVAL;
		}
		set_level(question, level);
	}
	fprintf(question->body, "{\"level\": \"%s\", \"before\": \"%s\", \"configured\": \"%s\"}\n",
		log_level_name(log_get_level()), log_level_name(before),
		log_level_name(config->log_level));
	return 0;
}
