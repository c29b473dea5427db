/* SPDX-License-Identifier: Apache-2.0 */
#include "control/close_command.h"

#include "control/admin.h"
#include "control/session_number.h"
#include "proxy/dismissal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct closing {
	struct dismissal *dismissal;
	uint64_t id;
};

static int answer(void *what, FILE *body, struct control_context *context)
{
	const struct closing *closing = what;
	struct dismissal_result result;
	int error = dismissal_get(closing->dismissal, &result);

	(void)context;
	if (error < 0)
		return error;
	if (result.closed + result.ending == 0) {
		fprintf(body, "there is no session %llu", (unsigned long long)closing->id);
		return -ENOENT;
	}
	fprintf(body, "{\"session\": %llu, \"outcome\": \"%s\"}\n", (unsigned long long)closing->id,
		result.closed > 0 ? "closed" : "ending");
	return 0;
}

static void drop(void *what)
{
	struct closing *closing = what;

	dismissal_free(closing->dismissal);
	free(closing);
}

static int begin(struct control_question *question, const struct reload *running, uint64_t id,
		 bool now)
{
	const struct dismissal_order order = {.id = id, .now = now};
	struct closing *closing = calloc(1, sizeof(*closing));
	int error;

	if (closing == NULL)
		return -ENOMEM;
	closing->id = id;
	error = dismissal_new(running->workers, running->worker_count, &order, &closing->dismissal);
	if (error < 0) {
		free(closing);
		return error;
	}
	question->later = (struct control_later){dismissal_descriptor(closing->dismissal), closing,
						 answer, drop};
	return CONTROL_LATER;
}

int close_command(struct control_question *question, struct control_context *context)
{
	const char *rest;
	uint64_t id;
	bool now;

	if (session_number_parse(question->arguments, &id, &rest) < 0 ||
	    (*rest != '\0' && strcmp(rest, " now") != 0)) {
		fprintf(question->body, "close takes a session's number, and perhaps \"now\"");
		return -EINVAL;
	}
	now = *rest != '\0';
	admin_tell(question);
	return begin(question, context->running, id, now);
}
