/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works: a run goes through the phases below, one after another, never back. What a mode
 * does in them is a row of the table `modes`. Connections are opened a few at a time; all of them
 * have to come about, or there is nothing to measure (mode connect makes its own as it goes).
 *
 * A connection that is lost later is counted and stays away: a load generator that quietly dials
 * again would hide what it is there to find.
 */
#include "mcload_run.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include "base/error.h"
#include "mcload_client.h"
#include "mcload_group.h"
#include "mcload_report.h"
#include "mcload_schedule.h"
#include "mcload_tls.h"

#define OPENING_AT_ONCE 64
#define TICK            CLOCK_NS_SEC
/* Shorter sleeps would cost more than the requests that they part. */
#define POLL_STEP       (20 * CLOCK_NS_US)
#define PROBLEM_SIZE    (STREAM_PROBLEM_SIZE + ADDRESS_TEXT_SIZE + 8)

enum phase {
	PHASE_OPENING,
	PHASE_WARMUP,
	PHASE_MEASURING,
	PHASE_HOLDING,
	PHASE_OVER,
};

struct run;

struct mode {
	/* All connections are there; loads. */
	void (*start)(struct run *run, clock_ns now);
	void (*answered)(struct run *run, struct mcload_client *client, clock_ns now);
	/* Something may be due; returns when the next is. */
	clock_ns (*tick)(struct run *run, clock_ns now);
	bool opens_itself; /* does not wait for all connections */
	bool writes;       /* there may be nothing to read yet */
};

struct run {
	const struct mcload_options *options;
	const struct mode *mode;
	struct loop loop;
	SSL_CTX *tls;
	enum phase phase;
	clock_ns started, phase_ends, next_tick;
	clock_ns measured_from;
	struct rusage usage;
	int group;                /* descriptor, -1 = none is watched */
	int64_t group_us;         /* its CPU time when the measurement began, or -errno */
	uint32_t opened, opening; /* connections: handed to the kernel so far; not there yet */
	uint32_t written;         /* fill: words */
	struct loop_op signals, input;
	bool terminal, input_ended, came_about, silence_over;
	struct mcload_schedule schedule;
	struct mcload_tally tally;
	char problem[PROBLEM_SIZE];
	struct mcload_client *clients;
	struct mcload_histogram latency;
	struct pattern pattern;
};

static void end_measurement(struct run *run, clock_ns now);

static struct run *run_of(const struct mcload_client *client)
{
	return client->owner;
}

static double seconds_of(const struct timeval *time)
{
	return (double)time->tv_sec + (double)time->tv_usec / 1e6;
}

static double cpu_of(const struct rusage *usage)
{
	return seconds_of(&usage->ru_utime) + seconds_of(&usage->ru_stime);
}

/* --- counting --------------------------------------------------------------------------------- */

/* An answer, and since when it was waited for. */
static void count(struct run *run, struct mcload_client *client, clock_ns since, clock_ns now)
{
	if (client->end_code) {
		run->tally.refused++;
		if (!run->tally.end_code)
			run->tally.end_code = client->end_code;
	}
	if (run->phase != PHASE_MEASURING)
		return;
	run->tally.answered++;
	client->answered++;
	run->tally.split += client->pieces > 1;
	mcload_histogram_add(&run->latency, now - since);
	if (run->tally.answered == run->options->answers)
		end_measurement(run, now);
}

static void keep_problem(struct run *run, const struct mcload_client *client, const char *problem)
{
	const struct mcload_options *options = run->options;
	char target[ADDRESS_TEXT_SIZE];

	if (run->tally.problem)
		return;
	address_print(&options->targets[client->index % options->target_count], target);
	snprintf(run->problem, sizeof(run->problem), "%s: %s", target, problem);
	run->tally.problem = run->problem;
}

/* --- modes ------------------------------------------------------------------------------------ */

/* One request of each. */
static void read_all(struct run *run, clock_ns now)
{
	for (uint32_t i = 0; i < run->options->connections; i++) {
		struct mcload_client *client = &run->clients[i];

		if (client->stream.open && !client->waiting)
			mcload_client_read(client, now);
	}
}

static clock_ns later(clock_ns a, clock_ns b)
{
	return a > b ? a : b;
}

static clock_ns never(struct run *run, clock_ns now)
{
	(void)run;
	return now + TICK;
}

static void closed_answered(struct run *run, struct mcload_client *client, clock_ns now)
{
	count(run, client, client->since, now);
	if (run->phase < PHASE_HOLDING)
		mcload_client_read(client, now);
}

static void poll_start(struct run *run, clock_ns now)
{
	mcload_schedule_init(&run->schedule, now, run->options->interval, run->options->connections,
			     run->options->together);
}

static clock_ns poll_tick(struct run *run, clock_ns now)
{
	uint32_t index;

	if (run->phase > PHASE_MEASURING)
		return now + TICK;
	while (mcload_schedule_take(&run->schedule, now, &index)) {
		struct mcload_client *client = &run->clients[index];

		client->due_rounds++;
		if (client->stream.open && !client->waiting) {
			/* Of a burst that goes out together the last one leaves later. */
			now = clock_now_ns();
			mcload_client_read(client, now);
		}
	}
	return later(mcload_schedule_wake(&run->schedule), now + POLL_STEP);
}

static void poll_answered(struct run *run, struct mcload_client *client, clock_ns now)
{
	clock_ns due = mcload_schedule_due(&run->schedule, client->index, client->done_rounds++);

	if (due >= run->measured_from || run->phase < PHASE_MEASURING)
		count(run, client, due, now);
	if (client->done_rounds < client->due_rounds && run->phase < PHASE_HOLDING)
		mcload_client_read(client, now);
}

/* What was due and has no answer yet waits at least since then: leaving it out would flatter. */
static void poll_leftover(struct run *run, clock_ns now)
{
	for (uint32_t i = 0; i < run->options->connections; i++) {
		const struct mcload_client *client = &run->clients[i];

		for (uint64_t round = client->done_rounds; round < client->due_rounds; round++) {
			clock_ns due = mcload_schedule_due(&run->schedule, i, round);

			if (due < run->measured_from || !client->stream.open)
				continue;
			run->tally.late++;
			mcload_histogram_add(&run->latency, now - due);
		}
	}
}

static void connect_answered(struct run *run, struct mcload_client *client, clock_ns now)
{
	if (run->phase == PHASE_MEASURING) {
		run->tally.connected++;
		run->tally.resumed += client->resumed;
	}
	count(run, client, client->due, now);
	mcload_client_close(client, NULL);
}

static void idle_answered(struct run *run, struct mcload_client *client, clock_ns now)
{
	count(run, client, client->since, now);
}

static bool anybody_waits(const struct run *run)
{
	for (uint32_t i = 0; i < run->options->connections; i++) {
		if (run->clients[i].waiting)
			return true;
	}
	return false;
}

/* Each asked once when it was opened: silence begins at once, and ends with one more round. */
static clock_ns idle_tick(struct run *run, clock_ns now)
{
	if (run->phase == PHASE_WARMUP) {
		run->phase = PHASE_MEASURING;
		run->measured_from = now;
		run->phase_ends = now + run->options->duration;
		mcload_report_event(run->options, "silent", &run->tally);
	}
	if (run->phase == PHASE_MEASURING && !run->silence_over &&
	    (run->options->hold ? run->input_ended : now >= run->phase_ends)) {
		run->silence_over = true;
		read_all(run, now);
	}
	if (run->phase == PHASE_MEASURING && run->silence_over && !anybody_waits(run))
		end_measurement(run, now);
	return run->phase_ends > now ? run->phase_ends : now + TICK;
}

static void fill_step(struct run *run, clock_ns now)
{
	uint32_t left = MCLOAD_AREA - run->written;
	uint16_t words = (uint16_t)(left < PATTERN_READ_MAX ? left : PATTERN_READ_MAX);

	if (words == 0) {
		end_measurement(run, now);
		return;
	}
	mcload_client_write(&run->clients[0], run->options->head + run->written, words, now);
	run->written += words;
}

static void fill_start(struct run *run, clock_ns now)
{
	run->phase = PHASE_MEASURING;
	run->measured_from = now;
	fill_step(run, now);
}

static void fill_answered(struct run *run, struct mcload_client *client, clock_ns now)
{
	count(run, client, client->since, now);
	fill_step(run, now);
}

static const struct mode modes[] = {
	[MCLOAD_CLOSED] = {.start = read_all, .answered = closed_answered, .tick = never},
	[MCLOAD_POLL] = {.start = poll_start, .answered = poll_answered, .tick = poll_tick},
	[MCLOAD_CONNECT] = {.answered = connect_answered, .tick = never, .opens_itself = true},
	[MCLOAD_IDLE] = {.answered = idle_answered, .tick = idle_tick},
	[MCLOAD_FILL] = {.start = fill_start,
			 .answered = fill_answered,
			 .tick = never,
			 .writes = true},
};

/* --- phases ----------------------------------------------------------------------------------- */

static void start_load(struct run *run, clock_ns now)
{
	run->tally.opening_seconds = (double)(now - run->started) / CLOCK_NS_SEC;
	getrusage(RUSAGE_SELF, &run->usage);
	mcload_report_event(run->options, "ready", &run->tally);
	run->phase = PHASE_WARMUP;
	run->phase_ends = now + run->options->warmup;
	if (run->mode->start)
		run->mode->start(run, now);
}

static void start_measurement(struct run *run, clock_ns now)
{
	run->phase = PHASE_MEASURING;
	run->phase_ends = now + run->options->duration;
	run->measured_from = now;
	mcload_report_event(run->options, "measuring", &run->tally);
	getrusage(RUSAGE_SELF, &run->usage);
	if (run->group >= 0)
		run->group_us = mcload_group_cpu_us(run->group);
}

/* That all connections were equally busy can be told from these. */
static void count_each(struct run *run)
{
	struct mcload_tally *tally = &run->tally;

	for (uint32_t i = 0; i < run->opened; i++) {
		uint64_t answered = run->clients[i].answered;

		tally->fewest = i && tally->fewest < answered ? tally->fewest : answered;
		tally->most = tally->most > answered ? tally->most : answered;
	}
}

/* -1 = nothing is known. */
static int64_t group_used(const struct run *run)
{
	int64_t now = run->group < 0 ? -1 : mcload_group_cpu_us(run->group);

	return now < 0 || run->group_us < 0 ? -1 : now - run->group_us;
}

static void end_measurement(struct run *run, clock_ns now)
{
	struct mcload_tally *tally = &run->tally;
	struct rusage usage;

	tally->group_us = group_used(run);
	count_each(run);
	getrusage(RUSAGE_SELF, &usage);
	if (run->phase == PHASE_MEASURING)
		tally->seconds = (double)(now - run->measured_from) / CLOCK_NS_SEC;
	tally->cpu_seconds = cpu_of(&usage) - cpu_of(&run->usage);
	tally->switches = (uint64_t)(usage.ru_nvcsw + usage.ru_nivcsw - run->usage.ru_nvcsw -
				     run->usage.ru_nivcsw);
	if (run->options->mode == MCLOAD_POLL && run->phase == PHASE_MEASURING)
		poll_leftover(run, now);
	if (tally->answered == 0 && !tally->problem)
		tally->problem = "no answer in all that time";
	if (run->terminal)
		mcload_report_progress_end();
	mcload_report_result(run->options, tally, &run->latency);
	run->phase = run->options->hold && run->tally.still_open && !run->input_ended
			     ? PHASE_HOLDING
			     : PHASE_OVER;
}

static void advance_phase(struct run *run, clock_ns now)
{
	bool timed = run->options->mode != MCLOAD_IDLE && run->options->mode != MCLOAD_FILL;

	if (run->phase == PHASE_OPENING && run->mode->opens_itself && run->came_about)
		start_load(run, now);
	if (run->phase == PHASE_OPENING && run->opened == run->options->connections &&
	    run->opening == 0)
		start_load(run, now);
	if (timed && run->phase == PHASE_WARMUP && now >= run->phase_ends)
		start_measurement(run, now);
	if (timed && run->phase == PHASE_MEASURING && now >= run->phase_ends)
		end_measurement(run, now);
	if (run->phase == PHASE_HOLDING && run->input_ended)
		run->phase = PHASE_OVER;
}

/* --- connections ------------------------------------------------------------------------------ */

static void client_is_there(struct run *run, struct mcload_client *client)
{
	client->there = true;
	run->came_about = true;
	run->opening--;
	run->tally.still_open++;
}

/*
 * Behind an edge a connection has only begun when it is accepted here: the way to the PLC is open
 * when an answer has come along it.
 */
static void client_opened(struct mcload_client *client)
{
	struct run *run = run_of(client);

	if (run->mode->opens_itself || run->mode->writes)
		client_is_there(run, client);
	if (!run->mode->writes && run->phase <= PHASE_MEASURING)
		mcload_client_read(client, clock_now_ns());
}

static void client_answered(struct mcload_client *client, enum mcload_answer answer)
{
	struct run *run = run_of(client);
	clock_ns now = clock_now_ns();

	(void)answer;
	if (client->there) {
		run->mode->answered(run, client, now);
		return;
	}
	count(run, client, client->since, now); /* a refusal counts; nothing is measured yet */
	client_is_there(run, client);
}

static void open_client(struct run *run, struct mcload_client *client);

/* It has ended by itself: there is one less from now on. */
static void client_lost(struct run *run, const struct mcload_client *client, bool was_there,
			const char *problem)
{
	keep_problem(run, client, problem);
	if (client->wrong)
		run->tally.wrong++;
	else if (was_there)
		run->tally.lost++;
	else
		run->tally.failed++;
	if ((run->phase == PHASE_OPENING && !run->mode->opens_itself) ||
	    run->tally.still_open + run->opening == 0)
		end_measurement(run, clock_now_ns());
}

static void client_closed(struct mcload_client *client, const char *problem)
{
	struct run *run = run_of(client);
	bool was_there = client->there;

	client->there = false;
	if (was_there)
		run->tally.still_open--;
	else
		run->opening--;
	if (run->phase >= PHASE_HOLDING)
		return;
	if (problem)
		client_lost(run, client, was_there, problem);
	else
		open_client(run, client);
}

static const struct mcload_client_events client_events = {
	.opened = client_opened,
	.answered = client_answered,
	.closed = client_closed,
};

static void open_client(struct run *run, struct mcload_client *client)
{
	client->due = clock_now_ns();
	run->opening++;
	mcload_client_open(client, &run->loop, run->tls, run->options, &run->pattern,
			   &client_events, client->due);
}

static void open_clients(struct run *run)
{
	uint32_t limit = run->mode->opens_itself ? run->options->connections : OPENING_AT_ONCE;

	while (run->phase < PHASE_HOLDING && run->opened < run->options->connections &&
	       run->opening < limit) {
		struct mcload_client *client = &run->clients[run->opened];

		client->index = run->opened++;
		client->owner = run;
		open_client(run, client);
	}
}

/* Nobody waits for ever. */
static void end_overdue(struct run *run, clock_ns now)
{
	for (uint32_t i = 0; i < run->opened; i++) {
		struct mcload_client *client = &run->clients[i];

		if (now - client->since < run->options->timeout)
			continue;
		if (client->waiting)
			mcload_client_close(client, "no answer in time");
		else if (stream_is_opening(&client->stream))
			mcload_client_close(client, "no connection in time");
	}
}

/* --- the loop --------------------------------------------------------------------------------- */

static void each_second(struct run *run, clock_ns now)
{
	if (now < run->next_tick)
		return;
	run->next_tick = now + TICK;
	end_overdue(run, now);
	if (run->terminal && run->phase < PHASE_HOLDING)
		mcload_report_progress(&run->tally, &run->latency);
}

static clock_ns earlier(clock_ns a, clock_ns b)
{
	return a < b ? a : b;
}

static int turn(struct run *run)
{
	clock_ns now = clock_now_ns(), wake;

	open_clients(run);
	advance_phase(run, now);
	each_second(run, now);
	wake = run->next_tick;
	if (run->phase > PHASE_OPENING && run->phase < PHASE_HOLDING) {
		if (run->phase_ends > now)
			wake = earlier(wake, run->phase_ends);
		wake = earlier(wake, run->mode->tick(run, now));
	}
	if (run->phase == PHASE_OVER)
		return 0;
	now = clock_now_ns();
	return loop_turn(&run->loop, wake > now ? wake - now : 0);
}

/* Says goodbye on all connections and waits a little for the last word to leave. */
static void close_all(struct run *run)
{
	clock_ns end = clock_now_ns() + CLOCK_NS_SEC;

	for (uint32_t i = 0; i < run->opened; i++) {
		if (run->clients[i].stream.open)
			mcload_client_close(&run->clients[i], NULL);
	}
	while (run->tally.still_open > 0 && clock_now_ns() < end) {
		if (loop_turn(&run->loop, CLOCK_NS_SEC / 10))
			return;
	}
}

static void signalled(struct loop_op *op, int result, unsigned flags)
{
	struct run *run = container_of(op, struct run, signals);

	(void)result;
	(void)flags;
	run->input_ended = true;
	if (run->phase < PHASE_HOLDING)
		end_measurement(run, clock_now_ns());
}

static void input(struct loop_op *op, int result, unsigned flags)
{
	struct run *run = container_of(op, struct run, input);
	char bytes[256];

	(void)result;
	(void)flags;
	if (read(STDIN_FILENO, bytes, sizeof(bytes)) <= 0)
		run->input_ended = true;
	else
		io_uring_prep_poll_add(loop_prepare(&run->loop, op), STDIN_FILENO, POLLIN);
}

/* SIGINT and SIGTERM, and with --hold the end of stdin, come by the loop. */
static int watch(struct run *run)
{
	sigset_t signals;
	int fd;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	fd = signalfd(-1, &signals, SFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	run->signals.done = signalled;
	io_uring_prep_poll_add(loop_prepare(&run->loop, &run->signals), fd, POLLIN);
	if (!run->options->hold)
		return 0;
	run->input.done = input;
	io_uring_prep_poll_add(loop_prepare(&run->loop, &run->input), STDIN_FILENO, POLLIN);
	return 0;
}

static int exit_status(const struct run *run)
{
	if (run->tally.wrong)
		return MCLOAD_WRONG;
	if (run->tally.lost || run->tally.failed || run->tally.answered == 0)
		return MCLOAD_LOST;
	return run->tally.refused ? MCLOAD_REFUSED : MCLOAD_DONE;
}

static int failed(const char *what, int error)
{
	fprintf(stderr, "mcload: %s: %s\n", what, strerror(-error));
	return MCLOAD_LOST;
}

static int run_all(struct run *run)
{
	const char *step;
	int error = loop_init(&run->loop, &step);

	if (!error) {
		step = "signals";
		error = watch(run);
	}
	if (error)
		return failed(step, error);
	/* A request that is due leaves when it is due, not 50 us later. */
	prctl(PR_SET_TIMERSLACK, 1);
	run->started = clock_now_ns();
	run->next_tick = run->started + TICK;
	while (run->phase != PHASE_OVER && !error)
		error = turn(run);
	if (error)
		return failed("io_uring", error);
	close_all(run);
	return exit_status(run);
}

static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static void run_free(struct run *run)
{
	loop_deinit(&run->loop);
	if (run->group >= 0)
		close(run->group);
	for (uint32_t i = 0; run->clients && i < run->opened; i++) {
		SSL_free(run->clients[i].stream.ssl);
		SSL_SESSION_free(run->clients[i].ticket);
	}
	stream_tls_free(run->tls);
	free(run->clients);
	free(run);
}

int mcload_run(const struct mcload_options *options)
{
	struct run *run = calloc(1, sizeof(*run));
	int status = MCLOAD_LOST;

	if (!run)
		return failed("memory", -ENOMEM);
	run->options = options;
	run->group = -1;
	run->mode = &modes[options->mode];
	run->terminal = !options->json && isatty(STDERR_FILENO);
	run->clients = calloc(options->connections, sizeof(*run->clients));
	pattern_init(&run->pattern);
	raise_descriptor_limit();
	if (options->group)
		run->group = mcload_group_open(options->group);
	if (options->ca)
		run->tls = mcload_tls_context(options, run->problem, sizeof(run->problem));
	if (!run->clients)
		status = failed("memory", -ENOMEM);
	else if (options->group && run->group < 0)
		status = failed(options->group, run->group);
	else if (options->ca && !run->tls)
		fprintf(stderr, "mcload: %s\n", run->problem);
	else
		status = run_all(run);
	run_free(run);
	return status;
}
