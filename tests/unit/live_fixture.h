/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of real kernel TLS: a handshake of ours with a plain OpenSSL end over loopback, the
 * keys into the kernel, data both ways. Where a record is needed that OpenSSL would never make, it
 * is sealed by record_fixture.h with OpenSSL's keys and sent past OpenSSL.
 */
#ifndef MCSEAL_TESTS_LIVE_FIXTURE_H
#define MCSEAL_TESTS_LIVE_FIXTURE_H

#include "tls/arming.h"
#include "tls/ktls_control.h"

#include "record_fixture.h"
#include "tls_fixture.h"

#define PATIENCE 5000 /* milliseconds; emulated machines are slow */

static bool kernel_has_ktls, kernel_can_rekey;

/* --- connections ----------------------------------------------------------------------------- */

struct live {
	struct papers_pair ends;
	struct traffic_pair keys;
	struct ktls_control *control;
	int fd; /* ours, of kernel TLS */
};

static void wait_readable(int fd)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};

	assert_int_equal(poll(&wait, 1, PATIENCE), 1);
}

static void arm(struct live *live, const struct openssl_suite *suite, bool we_serve)
{
	const char *why = NULL;
	bool installed;

	memset(live, 0, sizeof(*live));
	papers_start(&live->ends, suite, we_serve);
	papers_shake(&live->ends);
	if (arming_prepare(live->ends.handshake, &live->keys, &why) != 0)
		fail_msg("%s: %s", suite->name, why);
	live->fd = live->ends.fds[0];
	assert_int_equal(ktls_control_new(live->fd, &live->keys, kernel_can_rekey, &installed,
					  &live->control),
			 0);
	assert_true(installed);
	handshake_free(live->ends.handshake);
	live->ends.handshake = NULL;
}

static void disarm(struct live *live)
{
	ktls_control_free(live->control);
	papers_end(&live->ends);
	ERR_clear_error();
}

static const struct openssl_suite *suite_1_3 = &openssl_suites[0];
static const struct openssl_suite *suite_1_2 = &openssl_suites[3];

/* --- moving data ----------------------------------------------------------------------------- */

static uint8_t outgoing[100000], incoming[100000];

static void fill(uint8_t *bytes, size_t size)
{
	static unsigned int seed = 3;

	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)rand_r(&seed);
}

/* What is at the front of our socket that is not data is taken on the way. */
static void receive_here(struct live *live, size_t size)
{
	for (size_t at = 0; at < size;) {
		ssize_t got = recv(live->fd, incoming + at, size - at, 0);

		if (got < 0 && errno == EAGAIN) {
			wait_readable(live->fd);
		} else if (got < 0) {
			/* EIO: a record that is not data; EKEYEXPIRED: a key is waited for. */
			assert_true(errno == EIO || errno == EKEYEXPIRED);
			assert_int_equal(ktls_control_receive(live->control, clock_now()), 0);
		} else {
			assert_true(got > 0);
			at += (size_t)got;
		}
	}
	assert_memory_equal(incoming, outgoing, size);
}

static void receive_there(struct live *live, size_t size)
{
	for (size_t at = 0; at < size;) {
		int got = SSL_read(live->ends.plain, incoming + at, (int)(size - at));

		if (got > 0) {
			at += (size_t)got;
			continue;
		}
		assert_int_equal(SSL_get_error(live->ends.plain, got), SSL_ERROR_WANT_READ);
		wait_readable(live->ends.fds[1]);
	}
	assert_memory_equal(incoming, outgoing, size);
}

static void to_us(struct live *live, size_t size)
{
	fill(outgoing, size);
	assert_int_equal(SSL_write(live->ends.plain, outgoing, (int)size), (int)size);
	receive_here(live, size);
}

static void to_them(struct live *live, size_t size)
{
	fill(outgoing, size);
	assert_int_equal(send(live->fd, outgoing, size, MSG_NOSIGNAL), size);
	receive_there(live, size);
}

static void both_ways(struct live *live, size_t size)
{
	to_us(live, size);
	to_them(live, size);
}

/* A record of the peer's that OpenSSL would not make, after `sent` that it has made. */
static void send_forged(struct live *live, uint8_t type, const char *hex)
{
	struct traffic_keys *keys = &live->keys.keys[TRAFFIC_RECEIVE];
	uint8_t bytes[256], record[512];
	size_t size = record_hex(hex, bytes);

	size = record_seal(keys, type, bytes, size, record);
	assert_int_equal(send(live->ends.fds[1], record, size, MSG_NOSIGNAL), size);
}

/* Until there is an outcome other than "nothing". */
static int receive_control(struct live *live)
{
	int result = 0;

	for (int i = 0; i < 100 && result == 0; i++) {
		struct pollfd wait = {.fd = live->fd, .events = POLLIN};

		poll(&wait, 1, 50);
		result = ktls_control_receive(live->control, clock_now());
	}
	return result;
}

/* What the peer's OpenSSL finds next, which is no data: its error code. */
static int peer_finds(struct live *live)
{
	uint8_t byte;
	int got;

	ERR_clear_error();
	for (;;) {
		int error;

		got = SSL_read(live->ends.plain, &byte, 1);
		assert_true(got <= 0);
		error = SSL_get_error(live->ends.plain, got);
		if (error != SSL_ERROR_WANT_READ)
			return error;
		wait_readable(live->ends.fds[1]);
	}
}

static void assert_peer_closed_cleanly(struct live *live)
{
	assert_int_equal(peer_finds(live), SSL_ERROR_ZERO_RETURN);
}

static void assert_peer_got_alert(struct live *live, int alert)
{
	assert_int_equal(peer_finds(live), SSL_ERROR_SSL);
	assert_int_equal(ERR_GET_REASON(ERR_peek_last_error()), SSL_AD_REASON_OFFSET + alert);
}

static void assert_reason(struct live *live, const char *reason)
{
	assert_string_equal(ktls_control_reason(live->control), reason);
}

/* --- which kernel is this -------------------------------------------------------------------- */

static void look_at_kernel(void)
{
	struct traffic_keys keys = {.version = TRAFFIC_TLS_1_3};
	int fds[2];

	papers_connect(fds);
	if (ktls_attach(fds[0]) == 0) {
		kernel_has_ktls = true;
		assert_int_equal(ktls_install(fds[0], TRAFFIC_SEND, &keys), 0);
		keys.key[0] = 1;
		kernel_can_rekey = ktls_install(fds[0], TRAFFIC_SEND, &keys) == 0;
	}
	close(fds[0]);
	close(fds[1]);
}

#endif
