/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works: rounds on a fixed schedule (start + n x interval; a late round starts at once and
 * moves the schedule, so that a slow PLC never gets a burst). A round sends one request, or
 * --pipeline of them, and then takes as many answers. A lost connection ends the poll, or with
 * --reconnect starts a new one after a pause: real PLCs want 500 ms between a close and the next
 * connection (MELSEC iQ-R Ethernet manual).
 */
#include "mcping_poll.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/error.h"
#include "mcping_print.h"
#include "mcping_session.h"

#define RECONNECT_PAUSE (500 * CLOCK_MS)
#define PROGRESS_PERIOD CLOCK_SEC

struct poll {
	const struct options *options;
	bool connected;
	bool refused_unlock;
	bool terminal;
	clock_us next, progress;
	struct print_tally tally;
	uint16_t *values; /* of the last answer */
	uint16_t *first;  /* --verify: what came first */
	bool has_first;
	clock_us sent[1000]; /* --pipeline: when each request of the round went out */
	struct latency latency;
	struct session session;
};

const char *poll_check(const struct options *options, const struct mc_answer *answer,
		       uint16_t *values, char *text, size_t size)
{
	const struct request *request = &options->request;
	char device[MC_DEVICE_TEXT_SIZE];
	uint32_t step = request->device->kind == MC_DEVICE_BIT && !request->bits ? 16 : 1;

	if (!request_values(request, answer, values)) {
		snprintf(text, size, "%zu bytes of data are not %u points", answer->data_size,
			 request->points);
		return text;
	}
	for (uint32_t i = 0; options->expected && i < request->points; i++) {
		if (values[i] == options->expected[i])
			continue;
		mc_device_print(request->device, request->number + i * step, device);
		snprintf(text, size, "%s is %u, expected %u", device, values[i],
			 options->expected[i]);
		return text;
	}
	return NULL;
}

/* --verify: is it what the first answer was? */
static bool as_first(struct poll *poll)
{
	size_t size = poll->options->request.points * sizeof(*poll->values);

	if (!poll->options->verify)
		return true;
	if (!poll->has_first)
		memcpy(poll->first, poll->values, size);
	poll->has_first = true;
	return memcmp(poll->first, poll->values, size) == 0;
}

static void count_answer(struct poll *poll, clock_us latency)
{
	const struct mc_answer *answer = &poll->session.answer;
	char text[128];

	poll->tally.answered++;
	latency_add(&poll->latency, latency);
	if (answer->end_code) {
		poll->tally.refused++;
		if (poll->tally.refused == 1)
			print_refusal(poll->options, answer);
	} else if (poll_check(poll->options, answer, poll->values, text, sizeof(text)) ||
		   !as_first(poll)) {
		poll->tally.wrong++;
	}
}

/* Returns how many requests were tried; *outcome says how the last one went. */
static unsigned send_round(struct poll *poll, unsigned requests, int *outcome)
{
	unsigned tried = 0;

	*outcome = EXCHANGE_ANSWER;
	while (tried < requests && !*outcome) {
		poll->sent[tried++] = clock_now();
		*outcome = session_send(&poll->session, &poll->options->request);
	}
	poll->tally.sent += tried;
	return tried;
}

/* Takes one answer; a short one is counted and forgotten. */
static int receive_one(struct poll *poll, clock_us sent)
{
	int outcome = session_receive(&poll->session);

	if (outcome == EXCHANGE_ANSWER)
		count_answer(poll, clock_now() - sent);
	if (outcome != EXCHANGE_SHORT)
		return outcome;
	poll->tally.answered++;
	poll->tally.wrong++;
	return EXCHANGE_ANSWER;
}

static int one_round(struct poll *poll, unsigned requests)
{
	int outcome;
	unsigned sent = send_round(poll, requests, &outcome), got = 0;

	while (got < sent && !outcome) {
		outcome = receive_one(poll, poll->sent[got]);
		got += !outcome;
	}
	if (outcome == EXCHANGE_LOST)
		poll->tally.lost += sent - got;
	else
		poll->tally.sent -= sent - got; /* stopped while waiting: neither came nor lost */
	return outcome;
}

static int open_session(struct poll *poll)
{
	int outcome = session_open(&poll->session);

	if (outcome)
		return outcome;
	if (poll->session.answer.end_code) {
		print_refusal(poll->options, &poll->session.answer);
		poll->refused_unlock = true;
		return EXCHANGE_STOPPED;
	}
	if (poll->options->verbose)
		print_connection(&poll->session.exchange.connection);
	poll->connected = true;
	return EXCHANGE_ANSWER;
}

/* Says so, and says whether to go on. */
static bool after_loss(struct poll *poll)
{
	if (poll->terminal)
		fputc('\n', stderr);
	print_failure(poll->options, poll->session.exchange.connection.problem);
	poll->connected = false;
	session_close(&poll->session);
	return poll->options->reconnect &&
	       connection_pause(&poll->session.exchange.connection,
				clock_now() + RECONNECT_PAUSE) == CONNECTION_DONE;
}

static unsigned requests_of_round(const struct poll *poll)
{
	uint64_t count = poll->options->count, left = count - poll->tally.sent;

	if (count && left < poll->options->pipeline)
		return (unsigned)left;
	return poll->options->pipeline;
}

static void show_progress(struct poll *poll)
{
	clock_us now = clock_now();

	if (!poll->terminal || now < poll->progress)
		return;
	print_progress(&poll->tally, &poll->latency);
	poll->progress = now + PROGRESS_PERIOD;
}

static int wait_for_next(struct poll *poll)
{
	clock_us now = clock_now();

	poll->next += poll->options->interval;
	if (poll->next < now)
		poll->next = now;
	return connection_pause(&poll->session.exchange.connection, poll->next);
}

/* Returns the outcome that ended it. */
static int poll_rounds(struct poll *poll)
{
	int outcome = EXCHANGE_ANSWER;

	for (;;) {
		if (!poll->connected)
			outcome = open_session(poll);
		if (!outcome)
			outcome = one_round(poll, requests_of_round(poll));
		if (outcome == EXCHANGE_LOST && !after_loss(poll))
			return outcome;
		if (outcome == EXCHANGE_STOPPED)
			return outcome;
		show_progress(poll);
		if (poll->options->count && poll->tally.sent >= poll->options->count)
			return outcome;
		outcome = wait_for_next(poll);
		if (outcome)
			return outcome;
	}
}

static int exit_status(const struct poll *poll, int outcome)
{
	if (poll->refused_unlock)
		return EXIT_REFUSED;
	if (outcome == EXCHANGE_LOST || poll->tally.lost)
		return EXIT_LOST;
	if (poll->tally.wrong)
		return EXIT_WRONG;
	return poll->tally.refused ? EXIT_REFUSED : EXIT_DONE;
}

static int poll_all(struct poll *poll)
{
	clock_us start = clock_now();
	int outcome;

	poll->next = start;
	poll->progress = start + PROGRESS_PERIOD;
	outcome = poll_rounds(poll);
	poll->tally.seconds = (double)(clock_now() - start) / CLOCK_SEC;
	if (poll->terminal)
		fprintf(stderr, "\r\033[K");
	if (poll->tally.sent)
		print_summary(poll->options, &poll->tally, &poll->latency);
	return exit_status(poll, outcome);
}

/* The signals become readable here and do nothing else: no global flag, no race with waiting. */
static int stop_descriptor(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

int poll_run(const struct options *options)
{
	cleanup_fd int stop_fd = stop_descriptor();
	struct poll *poll = calloc(1, sizeof(*poll));
	uint16_t *values = calloc(2 * ((size_t)options->request.points + 1), sizeof(*values));
	int status = EXIT_LOST;

	if (poll && values && stop_fd >= 0) {
		poll->options = options;
		poll->values = values;
		poll->first = values + options->request.points;
		poll->terminal = !options->json && isatty(STDERR_FILENO);
		session_init(&poll->session, options, stop_fd);
		status = poll_all(poll);
		session_deinit(&poll->session);
	} else {
		print_failure(options, "cannot start polling");
	}
	free(values);
	free(poll);
	return status;
}
