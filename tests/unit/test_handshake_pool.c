/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handshake pool with real rings, sockets and certificates: who is served, who gives way, who
 * is told what, and that every job is answered. Each case runs on io_uring and on epoll.
 *
 * The jobs under test are a gateway's; the clients are jobs of a second pool without a limit, or
 * a plain OpenSSL client where the order of bytes on the wire matters.
 */
#include "handshake_fixture.h"

#include <pthread.h>

/* --- cases --------------------------------------------------------------------------------------
 */

static int collect(void *owner, const uint8_t *bytes, size_t size)
{
	memcpy(owner, bytes, size);
	return 0;
}

static void exchange(const struct call *from, const struct call *to)
{
	uint8_t records[TLS_STREAM_WRAPPED(7) + TLS_STREAM_REPLIES_MAX], bytes[16] = "";
	size_t used;

	assert_int_equal(
		tls_stream_wrap(from->job.stream, (const uint8_t *)"request", 7, records, &used),
		0);
	assert_int_equal(tls_stream_unwrap(to->job.stream, records, used, collect, bytes), 0);
	assert_string_equal((const char *)bytes, "request");
}

static void both_roles_are_answered(void **state)
{
	struct call *client, *server;
	int pair[2];

	(void)state;
	open_pool(2, 10);
	desk.keep_open = true;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
			 0);
	client = start(desk.pool, edge, pair[0], PATIENT);
	server = start(desk.pool, gateway, pair[1], PATIENT);
	run_until(2);
	expect(client, 0, "");
	expect(server, 0, "");
	assert_true(client->job.peer.mcseal && server->job.peer.mcseal);
	assert_null(client->job.peer.identity);
	assert_ptr_equal(server->job.peer.identity, &office);
	assert_string_equal(server->job.tls_version, "TLSv1.3");
	exchange(client, server);
}

/* Alone it may be silent for as long as is allowed: it gives way only to others. */
static void silent_peer_times_out(void **state)
{
	clock_us begun = clock_now();
	const clock_us allowed = HANDSHAKE_POOL_PATIENCE + 100 * CLOCK_MS;
	struct call *call;

	(void)state;
	open_pool(1, 1);
	call = start_silent(allowed);
	run_until(1);
	expect(call, -ETIMEDOUT, "peer sent nothing");
	expect_time(call->answered - begun, allowed, allowed + CLOCK_SEC);
}

static void silent_server_times_out(void **state)
{
	struct call *call;
	int pair[2];

	(void)state;
	open_pool(1, 1);
	connect_pair(pair);
	call = start(desk.pool, edge, pair[0], 100 * CLOCK_MS);
	call->peer = pair[1];
	run_until(1);
	expect(call, -ETIMEDOUT, "peer did not finish in time");
}

struct dribble {
	struct timer timer;
	const uint8_t *bytes;
	int fd;
};

static void dribble(struct timer *timer)
{
	struct dribble *self = container_of(timer, struct dribble, timer);

	assert_int_equal(write(self->fd, self->bytes++, 1), 1);
	assert_int_equal(timer_set(ring_timers(desk.ring), timer, clock_now() + 5 * CLOCK_MS), 0);
}

/* Each byte that comes in must not begin the time anew. */
static void dribbling_peer_times_out(void **state)
{
	uint8_t hello[HELLO_MAX];
	struct dribble peer = {.timer.expired = dribble, .bytes = hello};
	clock_us begun = clock_now();
	struct call *call;

	(void)state;
	(void)make_hello(hello);
	open_pool(1, 1);
	call = start_silent(200 * CLOCK_MS);
	peer.fd = dup(call->peer);
	dribble(&peer.timer);
	run_until(1);
	timer_stop(ring_timers(desk.ring), &peer.timer);
	close(peer.fd);
	expect(call, -ETIMEDOUT, "peer did not finish in time");
	expect_time(call->answered - begun, 200 * CLOCK_MS, CLOCK_SEC);
	assert_true(peer.bytes > hello + 10);
}

static void peer_that_leaves_is_answered_at_once(void **state)
{
	const struct linger reset = {.l_onoff = 1};
	struct call *closed, *begun, *was_reset;

	(void)state;
	open_pool(1, 10);
	closed = start_silent(PATIENT);
	begun = start_talking(PATIENT);
	was_reset = start_talking(PATIENT);
	run_for(20 * CLOCK_MS);
	assert_int_equal(setsockopt(was_reset->peer, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)),
			 0);
	close(closed->peer);
	close(begun->peer);
	close(was_reset->peer);
	closed->peer = begun->peer = was_reset->peer = -1;
	run_until(3);
	assert_int_equal(closed->job.result, -EPROTO);
	assert_int_equal(begun->job.result, -EPROTO);
	expect(was_reset, -EPROTO, "connection: Connection reset by peer");
}

static void garbage_is_refused(void **state)
{
	static const char request[] = "\x50\x00\x00\xff\xff\x03\x00\x0c\x00\x10\x00\x01\x04";
	struct call *call;

	(void)state;
	open_pool(1, 1);
	call = start_with(request, sizeof(request), PATIENT);
	shutdown(call->peer, SHUT_WR);
	run_until(1);
	expect(call, -EPROTO, "wrong version number");
}

static void beyond_the_limit_jobs_wait_and_are_served(void **state)
{
	struct call *holding[2], *good[4];

	(void)state;
	open_pool(1, 2);
	for (size_t i = 0; i < ARRAY_SIZE(holding); i++)
		holding[i] = start_talking(150 * CLOCK_MS);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		good[i] = start_good();
	run_for(100 * CLOCK_MS);
	assert_int_equal(desk.answers, 0);
	run_until(10);
	for (size_t i = 0; i < ARRAY_SIZE(holding); i++)
		expect(holding[i], -ETIMEDOUT, "peer did not finish in time");
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		expect(good[i], 0, "");
		assert_true(good[i]->turn > holding[0]->turn);
	}
}

/* Who asks by the dozen waits behind itself: three quarters of the places are the most it gets. */
static void one_source_leaves_room(void **state)
{
	struct call *flood[12], *good[2];

	(void)state;
	open_pool(1, 4);
	for (size_t i = 0; i < ARRAY_SIZE(flood); i++)
		flood[i] = start_talking(150 * CLOCK_MS);
	desk.source = 1;
	good[0] = start_good();
	wait_for(good[0]);
	expect(good[0], 0, "");
	desk.source = 2;
	good[1] = start_good();
	wait_for(good[1]);
	expect(good[1], 0, "");
	for (size_t i = 0; i < ARRAY_SIZE(flood); i++) {
		wait_for(flood[i]);
		expect(flood[i], -ETIMEDOUT, "peer did not finish in time");
	}
}

/* The time of a handshake begins when its turn comes. */
static void waiting_costs_no_time(void **state)
{
	struct call *holding, *late;
	clock_us begun = clock_now();

	(void)state;
	open_pool(1, 1);
	holding = start_talking(100 * CLOCK_MS);
	late = start_talking(90 * CLOCK_MS);
	run_until(2);
	assert_true(late->turn > holding->turn);
	expect(late, -ETIMEDOUT, "peer did not finish in time");
	expect_time(late->answered - begun, 190 * CLOCK_MS, CLOCK_SEC);
}

static void silent_job_gives_way(void **state)
{
	clock_us begun = clock_now();
	struct call *silent, *good;

	(void)state;
	open_pool(1, 1);
	silent = start_silent(PATIENT);
	good = start_good();
	wait_for(good);
	expect(silent, -EBUSY, "peer sent nothing and others wait");
	expect(good, 0, "");
	expect_time(silent->answered - begun, HANDSHAKE_POOL_PATIENCE,
		    HANDSHAKE_POOL_PATIENCE + CLOCK_SEC);
}

/* One place is wanted: the other one keeps its own. */
static void no_more_give_way_than_wait(void **state)
{
	struct call *first, *second, *good;

	(void)state;
	open_pool(1, 2);
	first = start_silent(PATIENT);
	second = start_silent(PATIENT);
	good = start_good();
	wait_for(good);
	run_for(HANDSHAKE_POOL_PATIENCE / 2);
	expect(first, -EBUSY, "peer sent nothing and others wait");
	expect(good, 0, "");
	assert_int_equal(second->turn, 0);
}

/* However many wait. */
static void each_silent_job_has_its_time(void **state)
{
	const clock_us later = 150 * CLOCK_MS;
	struct call *older, *younger;

	(void)state;
	open_pool(1, 2);
	older = start_silent(PATIENT);
	run_for(later);
	younger = start_silent(PATIENT);
	(void)start_talking(PATIENT);
	(void)start_talking(PATIENT);
	run_until(2);
	expect(older, -EBUSY, "peer sent nothing and others wait");
	expect(younger, -EBUSY, "peer sent nothing and others wait");
	expect_time(younger->answered - older->answered, later / 2, later + CLOCK_SEC);
}

static void talking_job_does_not_give_way(void **state)
{
	const clock_us allowed = 2 * HANDSHAKE_POOL_PATIENCE;
	clock_us begun = clock_now();
	struct call *talking, *silent, *next, *good;

	(void)state;
	open_pool(1, 2);
	talking = start_talking(allowed);
	silent = start_silent(PATIENT);
	next = start_talking(PATIENT);
	good = start_good();
	wait_for(good);
	expect(silent, -EBUSY, "peer sent nothing and others wait");
	expect(talking, -ETIMEDOUT, "peer did not finish in time");
	expect_time(talking->answered - begun, allowed, allowed + CLOCK_SEC);
	assert_int_equal(next->turn, 0);
	expect(good, 0, "");
}

/* One that begins late must give way as well, though nobody came in behind it. */
static void silent_job_that_waited_gives_way(void **state)
{
	struct call *talking, *silent, *good;

	(void)state;
	open_pool(1, 1);
	talking = start_talking(100 * CLOCK_MS);
	run_for(20 * CLOCK_MS); /* it has begun, and nobody is silent */
	silent = start_silent(PATIENT);
	good = start_good();
	wait_for(good);
	expect(talking, -ETIMEDOUT, "peer did not finish in time");
	expect(silent, -EBUSY, "peer sent nothing and others wait");
	expect_time(silent->answered - talking->answered, HANDSHAKE_POOL_PATIENCE - CLOCK_MS,
		    HANDSHAKE_POOL_PATIENCE + CLOCK_SEC);
	expect(good, 0, "");
}

static void half_open_flood_delays_others_by_rounds(void **state)
{
	clock_us begun = clock_now();
	struct call *silent[32], *good[4];

	(void)state;
	open_pool(1, 16);
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
		silent[i] = start_silent(PATIENT);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		good[i] = start_good();
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		wait_for(good[i]);
		expect(good[i], 0, "");
		expect_time(good[i]->answered - begun, 0, 3 * HANDSHAKE_POOL_PATIENCE + CLOCK_SEC);
	}
	assert_int_equal(silent[0]->job.result, -EBUSY);
}

/*
 * A TLS 1.3 client is done before the gateway has seen its certificate, and may have sent
 * requests by then. Closing over them unread would be a reset, and the client never told why.
 */
static struct call *start_refused(struct client *client, size_t request_size)
{
	struct call *call = start_silent(PATIENT);
	char *request = calloc(1, request_size);

	assert_non_null(request);
	open_client(client, stranger, call->peer);
	shake_client(client);
	assert_int_equal(SSL_write(client->ssl, request, (int)request_size), request_size);
	flush_client(client);
	free(request);
	return call;
}

static void expect_alert(const struct client *client, const char *name)
{
	char byte;
	int got;

	do {
		got = feed_client(client);
		run_for(CLOCK_MS);
	} while (got > 0 || got == -EAGAIN);
	assert_int_equal(got, 0); /* an orderly end, no reset */
	got = SSL_read(client->ssl, &byte, 1);
	assert_true(got <= 0);
	assert_int_equal(SSL_get_error(client->ssl, got), SSL_ERROR_SSL);
	assert_string_equal(ERR_reason_error_string(ERR_get_error()), name);
}

static void alert_arrives_over_unread_data(void **state)
{
	struct client client;
	struct call *call;
	clock_us left;

	(void)state;
	open_pool(1, 1);
	call = start_refused(&client, 64 << 10);
	run_for(50 * CLOCK_MS);
	expect_alert(&client, "tlsv1 alert unknown ca");
	/* The job lasts until the client has gone, and no longer. */
	assert_int_equal(call->turn, 0);
	close(call->peer);
	call->peer = -1;
	left = clock_now();
	run_until(1);
	expect_time(call->answered - left, 0, 500 * CLOCK_MS);
	assert_int_equal(call->job.result, -EPROTO);
	assert_non_null(strstr(call->job.peer.reason, "unable to get local issuer certificate"));
	SSL_free(client.ssl);
}

static void refused_client_that_stays_is_left(void **state)
{
	clock_us begun = clock_now();
	struct client client;
	struct call *call;

	(void)state;
	open_pool(1, 1);
	call = start_refused(&client, 100);
	run_until(1);
	assert_int_equal(call->job.result, -EPROTO);
	expect_time(call->answered - begun, CLOCK_SEC, 2 * CLOCK_SEC);
	SSL_free(client.ssl);
}

static void stop_answers_every_job(void **state)
{
	struct client client;
	struct call *calls[6];

	(void)state;
	open_pool(1, 4);
	calls[0] = start_silent(PATIENT);
	calls[1] = start_talking(PATIENT);
	calls[2] = start_with("", 0, PATIENT);
	desk.source = 1; /* the others have three quarters of the places */
	calls[3] = start_refused(&client, 100);
	calls[4] = start_silent(PATIENT);
	calls[5] = start_good();
	run_for(50 * CLOCK_MS);
	assert_int_equal(desk.answers, 0);
	handshake_pool_stop(desk.pool);
	inbox_deliver(&desk.inbox);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		assert_true(calls[i]->turn > 0);
		expect(calls[i], -ECANCELED, i == 3 ? calls[i]->job.peer.reason : "");
	}
	SSL_free(client.ssl);
}

/* Jobs that no thread has looked at yet. */
static void stop_at_once_answers_every_job(void **state)
{
	(void)state;
	for (int round = 0; round < 20; round++) {
		size_t before = desk.count;

		open_pool(2, 4);
		for (int i = 0; i < 10; i++)
			(void)(i % 2 ? start_talking(PATIENT) : start_silent(PATIENT));
		handshake_pool_stop(desk.pool);
		inbox_deliver(&desk.inbox);
		assert_int_equal(desk.answers, desk.count);
		for (; before < desk.count; before++)
			expect(desk.calls[before], -ECANCELED, "");
		handshake_pool_free(desk.pool);
		desk.pool = NULL;
	}
}

static void three_hundred_at_once(void **state)
{
	int pairs[300][2];

	(void)state;
	open_pool(2, 16);
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
					    pairs[i]),
				 0);
		(void)start(desk.clients, edge, pairs[i][0], PATIENT);
	}
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		(void)start(desk.pool, gateway, pairs[i][1], PATIENT);
	run_until(600);
	for (size_t i = 0; i < desk.count; i++)
		expect(desk.calls[i], 0, "");
}

/* Jobs that fail as soon as they begin: each must not stand on the stack of the one before. */
static void many_failures_in_a_row_need_no_stack(void **state)
{
	pthread_attr_t usual, small;
	struct call *holding;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
			 0);
	close(pair[1]);
	assert_int_equal(pthread_getattr_default_np(&usual), 0);
	assert_int_equal(pthread_attr_init(&small), 0);
	assert_int_equal(pthread_attr_setstacksize(&small, 1 << 20), 0);
	assert_int_equal(pthread_setattr_default_np(&small), 0);
	open_pool(1, 1);
	assert_int_equal(pthread_setattr_default_np(&usual), 0);
	pthread_attr_destroy(&small);
	pthread_attr_destroy(&usual);
	holding = start_talking(50 * CLOCK_MS);
	for (int i = 0; i < 3000; i++)
		start(desk.pool, edge, -1, PATIENT)->job.fd = -1;
	run_until(3001);
	expect(holding, -ETIMEDOUT, "peer did not finish in time");
	for (size_t i = 1; i < desk.count; i++)
		assert_int_equal(desk.calls[i]->job.result, -EPROTO);
	close(pair[0]);
}

/* --- running ------------------------------------------------------------------------------------
 */

static enum ring_engine uring = RING_ENGINE_URING, epoll = RING_ENGINE_EPOLL;

static void skipped(void **state)
{
	(void)state;
	skip();
}

/* clang-format off */
#define CASE_ON(engine, name) {#name " (" #engine ")", name, set_up, tear_down, &(engine)}
#define CASE(name)            CASE_ON(uring, name), CASE_ON(epoll, name)
/* clang-format on */

int main(void)
{
	struct CMUnitTest tests[] = {
		CASE(both_roles_are_answered),
		CASE(silent_peer_times_out),
		CASE(silent_server_times_out),
		CASE(dribbling_peer_times_out),
		CASE(peer_that_leaves_is_answered_at_once),
		CASE(garbage_is_refused),
		CASE(beyond_the_limit_jobs_wait_and_are_served),
		CASE(one_source_leaves_room),
		CASE(silent_job_gives_way),
		CASE(silent_job_that_waited_gives_way),
		CASE(alert_arrives_over_unread_data),
		/* Slow, and a matter of the pool alone. */
		CASE_ON(epoll, waiting_costs_no_time),
		CASE_ON(epoll, no_more_give_way_than_wait),
		CASE_ON(epoll, each_silent_job_has_its_time),
		CASE_ON(epoll, talking_job_does_not_give_way),
		CASE_ON(epoll, half_open_flood_delays_others_by_rounds),
		CASE_ON(epoll, refused_client_that_stays_is_left),
		CASE(stop_answers_every_job),
		CASE(stop_at_once_answers_every_job),
		CASE(three_hundred_at_once),
		CASE(many_failures_in_a_row_need_no_stack),
	};
	const char *step;
	int error = ring_probe_uring(&step);

	if (error < 0)
		printf("io_uring is not to be had here (%s: %s): its cases are skipped\n", step,
		       strerrordesc_np(-error));
	for (size_t i = 0; error < 0 && i < ARRAY_SIZE(tests); i++)
		if (tests[i].initial_state == &uring)
			tests[i] = (struct CMUnitTest){tests[i].name, skipped, NULL, NULL, NULL};
	return cmocka_run_group_tests_name("handshake_pool", tests, make_contexts, remove_contexts);
}
