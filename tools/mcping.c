/* SPDX-License-Identifier: Apache-2.0 */
/* mcping: reads, writes, unlocks and polls PLCs over the MC protocol, plain or in mutual TLS. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "mcping_options.h"
#include "mcping_poll.h"
#include "mcping_print.h"
#include "mcping_session.h"

/* What is wrong with a normal answer, NULL if nothing; *shown are the values to print, if any. */
static const char *check_answer(const struct options *options, const struct mc_answer *answer,
				uint16_t *values, const uint16_t **shown, char *text, size_t size)
{
	const struct request *request = &options->request;

	*shown = NULL;
	if (request->kind == REQUEST_READ) {
		const char *wrong = poll_check(options, answer, values, text, size);

		/* Values that are not as expected are still worth a look; half a frame's are not.
		 */
		*shown = request_values(request, answer, values) ? values : NULL;
		return wrong;
	}
	if (request->kind == REQUEST_SELFTEST && !request_echoed(request, answer))
		return "the loop-back brought back something else";
	if (request->kind != REQUEST_SELFTEST && request->kind != REQUEST_MODEL &&
	    answer->data_size > 0)
		return "data in an answer that has none";
	return NULL;
}

static int report(const struct options *options, const struct session *session, uint16_t *values,
		  int outcome, clock_us latency)
{
	const uint16_t *shown;
	char text[128];
	const char *wrong;

	if (outcome == EXCHANGE_LOST) {
		print_failure(options, session->exchange.connection.problem);
		return EXIT_LOST;
	}
	if (outcome == EXCHANGE_SHORT) {
		print_failure(options, "wrong: one recv did not bring one whole answer");
		return EXIT_WRONG;
	}
	if (session->answer.end_code) {
		print_refusal(options, &session->answer);
		return EXIT_REFUSED;
	}
	wrong = check_answer(options, &session->answer, values, &shown, text, sizeof(text));
	print_answer(options, &session->answer, shown, wrong, latency);
	return wrong ? EXIT_WRONG : EXIT_DONE;
}

/* One request at a time, --count of them; the first that fails ends it. */
static int ask_all(const struct options *options, struct session *session, uint16_t *values)
{
	int status = EXIT_DONE;

	for (uint64_t i = 0; i < options->count && status == EXIT_DONE; i++) {
		clock_us start = clock_now();
		int outcome = session_ask(session, &options->request);

		status = report(options, session, values, outcome, clock_now() - start);
		if (i + 1 < options->count && status == EXIT_DONE)
			connection_pause(&session->exchange.connection, start + options->interval);
	}
	return status;
}

static int ask_in(const struct options *options, struct session *session, uint16_t *values)
{
	int outcome, status;

	session_init(session, options, -1);
	outcome = session_open(session);
	if (outcome || session->answer.end_code) {
		status = report(options, session, values, outcome, 0);
	} else {
		if (options->verbose)
			print_connection(&session->exchange.connection);
		status = ask_all(options, session, values);
	}
	session_deinit(session);
	return status;
}

static int ask_run(const struct options *options)
{
	struct session *session = calloc(1, sizeof(*session));
	uint16_t *values = calloc(options->request.points + 1, sizeof(*values));
	int status = EXIT_LOST;

	if (session && values)
		status = ask_in(options, session, values);
	else
		print_failure(options, "out of memory");
	free(values);
	free(session);
	return status;
}

int main(int argc, char **argv)
{
	struct options options;
	int status;

	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
	options_parse(&options, argc, argv);
	status = options.poll ? poll_run(&options) : ask_run(&options);
	options_free(&options);
	return status;
}
