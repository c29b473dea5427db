/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the handshake pool share: certificates and contexts, the poster of the jobs
 * with its ring, connections, and a plain OpenSSL client. make_contexts and remove_contexts are
 * the set-up and tear-down of the group, set_up and tear_down of a case, whose state is the engine.
 */
#ifndef MCSEAL_TESTS_HANDSHAKE_FIXTURE_H
#define MCSEAL_TESTS_HANDSHAKE_FIXTURE_H

#include "proxy/handshake_pool.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#define PATIENT   (20 * CLOCK_SEC) /* longer than a test may take, also under a sanitizer */
#define JOBS_MAX  3100
#define HELLO_MAX 2048

/* --- certificates and contexts ---------------------------------------------------------------- */

static char folder[] = "/tmp/mcseal-pool-XXXXXX";
static struct config_match office_match = {CONFIG_MATCH_URI, (char[]){"urn:mcseal:edge:office"}};
static struct config_identity office = {
	.name = (char[]){"office"},
	.edge = true,
	.matches = &office_match,
	.match_count = 1,
};
static struct config config = {.identities = &office, .identity_count = 1};
static struct tls_context *gateway, *edge, *stranger;

static inline int shell(const char *commands)
{
	char command[1024];

	snprintf(command, sizeof(command), "cd %s && P=$OLDPWD/certs/mcseal-pki && (%s) >/dev/null",
		 folder, commands);
	return system(command);
}

static inline struct tls_context *context(enum tls_role role, const char *ca, const char *name)
{
	char certificate[128], key[128], anchors[128], crl[128];
	struct config_credentials files = {
		.certificate = certificate, .key = key, .ca = anchors, .crl = crl};
	struct tls_context *made = NULL;

	snprintf(certificate, sizeof(certificate), "%s/%s/issued/%s.pem", folder, ca, name);
	snprintf(key, sizeof(key), "%s/%s/issued/%s.key", folder, ca, name);
	snprintf(anchors, sizeof(anchors), "%s/a/ca.pem", folder);
	snprintf(crl, sizeof(crl), "%s/a/crl.pem", folder);
	return tls_context_new(&config, &files, role, "test", stderr, &made) == 0 ? made : NULL;
}

static inline int make_contexts(void **state)
{
	(void)state;
	if (mkdtemp(folder) == NULL ||
	    shell("($P init a && $P init b && $P -d a gateway gw --ip 127.0.0.1 && $P -d a edge "
		  "office && $P -d b client stranger) 2>&1") != 0)
		return -1;
	gateway = context(TLS_ROLE_GATEWAY, "a", "gw");
	edge = context(TLS_ROLE_EDGE, "a", "office");
	stranger = context(TLS_ROLE_EDGE, "b", "stranger");
	return gateway != NULL && edge != NULL && stranger != NULL ? 0 : -1;
}

static inline int remove_contexts(void **state)
{
	(void)state;
	tls_context_free(gateway);
	tls_context_free(edge);
	tls_context_free(stranger);
	return shell("rm -rf $PWD");
}

/* --- the poster of the jobs ------------------------------------------------------------------- */

struct call {
	struct handshake_job job;
	int fd;            /* the job's end; closed when it is answered, as a session does */
	int peer;          /* the other end, -1: none */
	unsigned int turn; /* the how many-th answer, from 1; 0: none yet */
	clock_us answered;
};

/* The thread of the test: its ring, and what it has asked for. */
static struct {
	struct capabilities capabilities; /* keys stay in user space */
	struct ring *ring;
	struct op_owner woken;
	struct inbox inbox;
	struct timer guard;
	struct handshake_pool *pool;    /* under test */
	struct handshake_pool *clients; /* without a limit */
	struct peer_chain_store *chains;
	struct call *calls[JOBS_MAX];
	size_t count;
	unsigned int answers;
	uint32_t source; /* of the jobs that are started next */
	bool keep_open;  /* fd, for a test that goes on with it */
} desk;

static inline void woken(struct op_owner *owner, struct op *op, const struct op_result *result)
{
	(void)owner;
	(void)op;
	(void)result;
	inbox_deliver(&desk.inbox);
}

static inline void took_too_long(struct timer *timer)
{
	(void)timer;
	fail_msg("%u of %zu jobs were answered in time", desk.answers, desk.count);
}

static inline void answered(struct message *message)
{
	struct call *call = container_of(message, struct call, job.message);

	assert_int_equal(call->turn, 0);
	/* A failure leaves nothing behind. */
	if (call->job.result != 0)
		assert_null(call->job.stream);
	call->turn = ++desk.answers;
	call->answered = clock_now();
	if (!desk.keep_open) {
		close(call->fd);
		call->fd = -1;
	}
}

static inline int set_up(void **state)
{
	memset(&desk, 0, sizeof(desk));
	desk.capabilities.loop = *(enum ring_engine *)*state;
	desk.woken.complete = woken;
	if (ring_new(desk.capabilities.loop, 2, &desk.woken, &desk.ring) < 0)
		return -1;
	inbox_init(&desk.inbox, desk.ring);
	desk.guard.expired = took_too_long;
	if (timer_set(ring_timers(desk.ring), &desk.guard, clock_now() + PATIENT) < 0)
		return -1;
	desk.chains = peer_chain_store_new();
	if (desk.chains == NULL)
		return -1;
	return handshake_pool_new(&desk.capabilities, desk.chains, 1, 1000, &desk.clients);
}

static inline void open_pool(unsigned int threads, unsigned int limit)
{
	assert_int_equal(
		handshake_pool_new(&desk.capabilities, desk.chains, threads, limit, &desk.pool), 0);
}

static inline void close_call(struct call *call)
{
	tls_stream_free(call->job.stream);
	peer_chain_release(call->job.chain);
	if (call->fd >= 0)
		close(call->fd);
	if (call->peer >= 0)
		close(call->peer);
	free(call);
}

/* Whatever is still in progress is answered by the stop: else a job would be lost. */
static inline int tear_down(void **state)
{
	(void)state;
	handshake_pool_stop(desk.pool);
	handshake_pool_stop(desk.clients);
	inbox_deliver(&desk.inbox);
	assert_int_equal(desk.answers, desk.count);
	handshake_pool_free(desk.pool);
	handshake_pool_free(desk.clients);
	for (size_t i = 0; i < desk.count; i++)
		close_call(desk.calls[i]);
	peer_chain_store_free(desk.chains);
	timer_stop(ring_timers(desk.ring), &desk.guard);
	ring_free(desk.ring);
	inbox_deinit(&desk.inbox);
	return 0;
}

static inline void run_once(void)
{
	assert_int_equal(ring_run_once(desk.ring), 0);
}

static inline void run_until(unsigned int answers)
{
	while (desk.answers < answers)
		run_once();
}

static inline void wait_for(const struct call *call)
{
	while (call->turn == 0)
		run_once();
}

static inline void sleep_over(struct timer *timer)
{
	(void)timer;
}

static inline void run_for(clock_us time)
{
	clock_us end = clock_now() + time;
	struct timer timer = {.expired = sleep_over};

	assert_int_equal(timer_set(ring_timers(desk.ring), &timer, end), 0);
	while (clock_now() < end)
		run_once();
	timer_stop(ring_timers(desk.ring), &timer);
}

static inline struct call *start(struct handshake_pool *pool, const struct tls_context *tls, int fd,
				 clock_us time_allowed)
{
	struct call *call = calloc(1, sizeof(*call));

	assert_non_null(call);
	assert_true(desk.count < JOBS_MAX);
	desk.calls[desk.count++] = call;
	call->fd = fd;
	call->peer = -1;
	call->job.context = tls;
	call->job.fd = fd;
	call->job.server.mcseal = true;
	assert_int_equal(address_parse_host("127.0.0.1", 8443, &call->job.server.address), 0);
	call->job.source = desk.source;
	call->job.time_allowed = time_allowed;
	call->job.reply_to = &desk.inbox;
	call->job.message.deliver = answered;
	handshake_pool_start(pool, &call->job);
	return call;
}

/* --- both ends of a connection ---------------------------------------------------------------- */

/* Loopback TCP: only there can a reset overtake an alert. */
static inline void connect_pair(int pair[2])
{
	struct address address;
	socklen_t size = sizeof(address.v4);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(address_parse_host("127.0.0.1", 0, &address), 0);
	assert_int_equal(bind(listener, &address.any, address_size(&address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, &address.any, &size), 0);
	pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(pair[0], &address.any, size), 0);
	pair[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(pair[1] >= 0);
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	close(listener);
}

/* A gateway's job; the test itself is the client, and first sends `size` bytes. */
static inline struct call *start_with(const void *bytes, size_t size, clock_us time_allowed)
{
	struct call *call;
	int pair[2];

	connect_pair(pair);
	if (size > 0)
		assert_int_equal(write(pair[0], bytes, size), size);
	call = start(desk.pool, gateway, pair[1], time_allowed);
	call->peer = pair[0];
	return call;
}

static inline struct call *start_silent(clock_us time_allowed)
{
	return start_with(NULL, 0, time_allowed);
}

/* Has begun, and will never go on. */
static inline struct call *start_talking(clock_us time_allowed)
{
	return start_with("\x16", 1, time_allowed);
}

/* A gateway's job whose client does all that is right. */
static inline struct call *start_good(void)
{
	int pair[2];

	connect_pair(pair);
	(void)start(desk.clients, edge, pair[0], PATIENT);
	return start(desk.pool, gateway, pair[1], PATIENT);
}

static inline void expect(const struct call *call, int result, const char *reason)
{
	assert_int_equal(call->job.result, result);
	assert_string_equal(call->job.peer.reason, reason);
}

static inline void expect_time(clock_us time, clock_us least, clock_us most)
{
	if (time < least || time > most)
		fail_msg("%lld ms, expected %lld to %lld", (long long)(time / CLOCK_MS),
			 (long long)(least / CLOCK_MS), (long long)(most / CLOCK_MS));
}

/* --- the plain client --------------------------------------------------------------------------
 */

struct client {
	SSL *ssl;
	BIO *received, *sent;
	int fd;
};

static inline void open_client(struct client *client, const struct tls_context *tls, int fd)
{
	client->ssl = SSL_new(tls->ssl_context);
	client->received = BIO_new(BIO_s_mem());
	client->sent = BIO_new(BIO_s_mem());
	client->fd = fd;
	assert_true(client->ssl && client->received && client->sent);
	SSL_set_bio(client->ssl, client->received, client->sent);
	SSL_set_connect_state(client->ssl);
}

/* What OpenSSL has to say, in one go. */
static inline void flush_client(const struct client *client)
{
	char *bytes;
	long size = BIO_get_mem_data(client->sent, &bytes);

	while (size > 0) {
		ssize_t sent = write(client->fd, bytes, (size_t)size);

		assert_true(sent > 0 || errno == EAGAIN);
		bytes += sent > 0 ? sent : 0;
		size -= sent > 0 ? sent : 0;
	}
	(void)BIO_reset(client->sent);
}

/* One recv(2) handed to OpenSSL: bytes, 0 at the end, or -errno. */
static inline int feed_client(const struct client *client)
{
	char bytes[4096];
	ssize_t got = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (got < 0)
		return -errno;
	if (got > 0)
		assert_int_equal(BIO_write(client->received, bytes, (int)got), got);
	return (int)got;
}

/* Up to the point where, for the client, the handshake is done. Its Finished is not sent yet. */
static inline void shake_client(const struct client *client)
{
	struct tls_peer seen = {0};

	SSL_set_app_data(client->ssl, &seen);
	while (SSL_do_handshake(client->ssl) != 1) {
		flush_client(client);
		run_for(CLOCK_MS);
		assert_true(feed_client(client) != 0);
	}
	SSL_set_app_data(client->ssl, NULL);
	tls_peer_clear(&seen);
}

static inline size_t make_hello(uint8_t *bytes)
{
	struct client client;
	int size;

	open_client(&client, edge, -1);
	assert_int_equal(SSL_do_handshake(client.ssl), -1);
	size = BIO_read(client.sent, bytes, HELLO_MAX);
	assert_in_range(size, 100, HELLO_MAX - 1);
	SSL_free(client.ssl);
	ERR_clear_error();
	return (size_t)size;
}

#endif
