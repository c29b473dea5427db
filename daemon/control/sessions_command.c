/* SPDX-License-Identifier: Apache-2.0 */
#include "control/sessions_command.h"

#include "control/session_number.h"
#include "proxy/session_list.h"

#include <errno.h>
#include <jansson.h>

static json_t *text_or_null(const char *text)
{
	return text != NULL && *text != '\0' ? json_string(text) : json_null();
}

static json_t *address_or_null(const struct address *address)
{
	char text[ADDRESS_TEXT_SIZE];

	return address->any.sa_family != AF_UNSPEC ? json_string(address_print(address, text))
						   : json_null();
}

static json_t *parties_of(const struct session_row *row)
{
	return json_pack(
		"{s:I, s:s, s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "session",
		(json_int_t)row->id, "role", row->role == SESSION_EDGE ? "edge" : "gateway",
		"listener", row->listener, "state", session_states[row->state].name, "ending",
		row->ending, "identity", text_or_null(row->identity), "serial",
		text_or_null(row->serial), "client", address_or_null(&row->client), "edge",
		address_or_null(&row->edge), "plc", text_or_null(row->plc), "route",
		text_or_null(row->route), "destination", address_or_null(&row->destination));
}

static json_t *figures_of(const struct session_row *row)
{
	return json_pack("{s:f, s:I, s:I, s:I, s:I, s:I, s:o}", "seconds",
			 (double)row->age / (double)CLOCK_SEC, "requests",
			 (json_int_t)row->requests, "answers", (json_int_t)row->answers, "refused",
			 (json_int_t)row->refused, "bytes_to_plc", (json_int_t)row->bytes_to_plc,
			 "bytes_from_plc", (json_int_t)row->bytes_from_plc, "latency_microseconds",
			 row->latency >= 0 ? json_integer((json_int_t)row->latency) : json_null());
}

static json_t *tls_of(const struct session_row *row)
{
	bool shaken = row->tls_version != NULL;

	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "tls", text_or_null(row->tls_version),
			 "cipher", text_or_null(row->tls_cipher), "resumed",
			 shaken ? json_boolean(row->resumed) : json_null(), "records",
			 text_or_null(!shaken               ? NULL
				      : row->keys_in_kernel ? "kernel"
							    : "user"),
			 "records_why", text_or_null(shaken ? row->user_why : NULL), "engine",
			 text_or_null(row->relays ? relay_engine_name(row->engine) : NULL));
}

static int print_row(const struct session_row *row, FILE *body)
{
	json_t *line = parties_of(row), *figures = figures_of(row), *tls = tls_of(row);
	bool good = line != NULL && figures != NULL && tls != NULL &&
		    json_object_update(line, figures) == 0 && json_object_update(line, tls) == 0 &&
		    json_dumpf(line, body, JSON_COMPACT | JSON_REAL_PRECISION(9)) == 0;

	fputc('\n', body);
	json_decref(line);
	json_decref(figures);
	json_decref(tls);
	return good ? 0 : -ENOMEM;
}

static int answer(void *what, FILE *body, struct control_context *context)
{
	const struct session_row *const *rows;
	size_t count;
	int error = session_list_rows(what, &rows, &count);

	(void)context;
	for (size_t i = 0; i < count && error == 0; i++)
		error = print_row(rows[i], body);
	return error;
}

static void drop(void *what)
{
	session_list_free(what);
}

int sessions_command(struct control_question *question, struct control_context *context)
{
	const struct reload *running = context->running;
	struct session_list *list;
	const char *rest = "";
	uint64_t below = 0;
	int error;

	if (*question->arguments != '\0' &&
	    (session_number_parse(question->arguments, &below, &rest) < 0 || *rest != '\0')) {
		fprintf(question->body, "sessions takes no more than a session's number");
		return -EINVAL;
	}
	error = session_list_new(running->workers, running->worker_count, below, &list);
	if (error < 0)
		return error;
	question->later = (struct control_later){session_list_descriptor(list), list, answer, drop};
	return CONTROL_LATER;
}
