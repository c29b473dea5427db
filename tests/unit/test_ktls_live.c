/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real kernel TLS and everything that may come along on such a connection (live_fixture.h).
 *
 * Without the module there is nothing to test: one case says so, and fails with
 * MCSEAL_KTLS=required. tests/vm/run has kernels with it.
 */
#include "live_fixture.h"

/* --- data ------------------------------------------------------------------------------------ */

static void data_in_every_suite_and_role(void **state)
{
	static const size_t sizes[] = {1, 21, 1931, 8200, 16384, 40000};

	(void)state;
	for (size_t i = 0; i < 2 * OPENSSL_SUITES; i++) {
		const struct openssl_suite *suite = &openssl_suites[i / 2];
		uint64_t base = suite->version == TRAFFIC_TLS_1_2, records;
		bool tickets = suite->version == TRAFFIC_TLS_1_3 && i % 2 == 0;
		struct live live;

		arm(&live, suite, i % 2);
		for (size_t j = 0; j < ARRAY_SIZE(sizes); j++)
			both_ways(&live, sizes[j]);
		/* 40,000 bytes are three records. */
		assert_int_equal(ktls_control_use(live.control, TRAFFIC_SEND, &records), 0);
		assert_int_equal(records, base + 8);
		assert_int_equal(ktls_control_use(live.control, TRAFFIC_RECEIVE, &records), 0);
		assert_int_equal(records, base + 8 + (tickets ? 2 : 0));
		disarm(&live);
	}
}

static void ulp_alone_passes_bytes(void **state)
{
	int fds[2];
	char bytes[4];

	(void)state;
	papers_connect(fds);
	assert_int_equal(ktls_attach(fds[0]), 0);
	assert_int_equal(send(fds[0], "ping", 4, 0), 4);
	wait_readable(fds[1]);
	assert_int_equal(recv(fds[1], bytes, 4, 0), 4);
	assert_int_equal(send(fds[1], "pong", 4, 0), 4);
	wait_readable(fds[0]);
	assert_int_equal(recv(fds[0], bytes, 4, 0), 4);
	assert_memory_equal(bytes, "pong", 4);
	close(fds[0]);
	close(fds[1]);
}

static void half_closed_socket_is_not_attached(void **state)
{
	struct papers_pair ends;
	struct ktls_control *control = NULL;
	struct traffic_pair keys;
	const char *why;
	bool installed;

	(void)state;
	papers_start(&ends, suite_1_3, true);
	papers_shake(&ends);
	assert_int_equal(arming_prepare(ends.handshake, &keys, &why), 0);
	shutdown(ends.fds[1], SHUT_WR);
	wait_readable(ends.fds[0]);
	assert_int_equal(ktls_control_new(ends.fds[0], &keys, false, &installed, &control),
			 -ENOTCONN);
	assert_false(installed);
	papers_end(&ends);
}

static void empty_records_are_skipped(void **state)
{
	const struct openssl_suite *suites[] = {suite_1_2, suite_1_3};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(suites); i++) {
		struct live live;

		arm(&live, suites[i], true);
		for (int j = 0; j < 3; j++) {
			send_forged(&live, 23, "");
			usleep(20000);
			assert_int_equal(ktls_control_receive(live.control, clock_now()), 0);
			assert_int_equal(recv(live.fd, incoming, 1, 0), -1);
			assert_int_equal(errno, EAGAIN);
		}
		send_forged(&live, 23, "01 02 03");
		record_hex("01 02 03", outgoing);
		receive_here(&live, 3);
		disarm(&live);
	}
}

static void forged_record(void **state)
{
	(void)state;
	for (size_t i = 0; i < OPENSSL_SUITES; i++) {
		uint8_t record[64] = {23, 3, 3, 0, 40};
		struct live live;

		arm(&live, &openssl_suites[i], true);
		assert_int_equal(send(live.ends.fds[1], record, 45, 0), 45);
		assert_int_equal(receive_control(&live), -EBADMSG);
		assert_reason(&live, "record altered, forged or out of order");
		assert_int_equal(ktls_control_receive(live.control, clock_now()), -EBADMSG);
		disarm(&live);
	}
}

static void headers_that_are_none(void **state)
{
	static const char *const headers[] = {"17 03 01 00 20", "17 03 03 ff ff", "47 45 54 20 2f"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		uint8_t record[64] = {0};
		struct live live;

		arm(&live, suite_1_3, true);
		record_hex(headers[i], record);
		assert_int_equal(send(live.ends.fds[1], record, sizeof(record), 0), sizeof(record));
		assert_int_equal(receive_control(&live), -EBADMSG);
		disarm(&live);
	}
}

/* --- alerts and ends ------------------------------------------------------------------------- */

static void close_notify_both_ways(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * OPENSSL_SUITES; i++) {
		struct live live;

		arm(&live, &openssl_suites[i / 2], i % 2);
		to_us(&live, 100);
		assert_int_equal(SSL_shutdown(live.ends.plain), 0);
		assert_int_equal(receive_control(&live), KTLS_CONTROL_CLOSED);
		/* The other direction is still open (TLS 1.3: RFC 8446 6.1). */
		if (openssl_suites[i / 2].version == TRAFFIC_TLS_1_3)
			to_them(&live, 100);
		assert_int_equal(ktls_control_say_closed(live.control), 0);
		assert_peer_closed_cleanly(&live);
		disarm(&live);
	}
}

static void end_without_close_notify(void **state)
{
	struct live live;

	(void)state;
	arm(&live, suite_1_3, true);
	to_us(&live, 100);
	shutdown(live.ends.fds[1], SHUT_WR);
	assert_int_equal(receive_control(&live), KTLS_CONTROL_END);
	disarm(&live);
}

static void reset_connection(void **state)
{
	const struct linger at_once = {.l_onoff = 1};
	struct live live;

	(void)state;
	arm(&live, suite_1_3, true);
	setsockopt(live.ends.fds[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(live.ends.fds[1]);
	live.ends.fds[1] = -1;
	assert_int_equal(receive_control(&live), -ECONNRESET);
	disarm(&live);
}

static void alerts_between_data(void **state)
{
	struct live live;

	(void)state;
	/* A message out of place makes OpenSSL complain. */
	arm(&live, suite_1_3, true);
	to_them(&live, 100);
	assert_int_equal(ktls_send(live.fd, 22, (const uint8_t *)"\x0d\0\0\0", 4), 0);
	assert_int_equal(peer_finds(&live), SSL_ERROR_SSL);
	assert_int_equal(receive_control(&live), -EPROTO);
	assert_reason(&live, "peer sent alert: unexpected_message");
	disarm(&live);
	/* And ours. */
	arm(&live, suite_1_2, false);
	ktls_control_alert(live.control, SSL_AD_HANDSHAKE_FAILURE);
	assert_peer_got_alert(&live, SSL_AD_HANDSHAKE_FAILURE);
	disarm(&live);
}

/* Each stays a record of its own, however many wait. */
static void several_alerts_wait(void **state)
{
	struct live live;

	(void)state;
	arm(&live, suite_1_3, true);
	send_forged(&live, 21, "01 5a");
	send_forged(&live, 21, "01 5a");
	send_forged(&live, 21, "01 00");
	usleep(20000);
	assert_int_equal(receive_control(&live), KTLS_CONTROL_CLOSED);
	disarm(&live);
}

static void splice_meets_an_alert(void **state)
{
	struct live live;
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	arm(&live, suite_1_3, true);
	send_forged(&live, 23, "01 02 03 04");
	send_forged(&live, 21, "01 00");
	wait_readable(live.fd);
	assert_int_equal(splice(live.fd, NULL, ends[1], NULL, 16384, SPLICE_F_NONBLOCK), 4);
	wait_readable(live.fd);
	assert_int_equal(splice(live.fd, NULL, ends[1], NULL, 16384, SPLICE_F_NONBLOCK), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(ktls_control_receive(live.control, clock_now()), KTLS_CONTROL_CLOSED);
	disarm(&live);
	close(ends[0]);
	close(ends[1]);
}

/* --- handshake messages ---------------------------------------------------------------------- */

/* Two tickets of a plain server, at the front or between data. */
static void tickets(void **state)
{
	struct live live;

	(void)state;
	arm(&live, suite_1_3, false);
	wait_readable(live.fd);
	assert_int_equal(ktls_control_receive(live.control, clock_now()), 0);
	both_ways(&live, 500);
	assert_int_equal(SSL_new_session_ticket(live.ends.plain), 1);
	both_ways(&live, 500);
	disarm(&live);
}

static void messages_in_pieces(void **state)
{
	struct live live;

	(void)state;
	arm(&live, suite_1_3, false);
	live.keys.keys[TRAFFIC_RECEIVE].sequence = 2; /* behind OpenSSL's tickets */
	send_forged(&live, 22, "04");
	send_forged(&live, 22, "00 00");
	send_forged(&live, 22, "05 01 02");
	send_forged(&live, 22, "03 04 05 04 00 00 01 09 04 00 00 00");
	send_forged(&live, 23, "01 02");
	record_hex("01 02", outgoing);
	receive_here(&live, 2);
	disarm(&live);
}

static void renegotiation(void **state)
{
	struct live live;

	(void)state;
	for (int i = 0; i < 2; i++) {
		arm(&live, suite_1_2, i);
		/* As OpenSSL knows that we refuse it, the message is ours. */
		if (i == 0)
			send_forged(&live, 22, "00 00 00 00");
		else
			send_forged(&live, 22, "01 00 00 02 03 03");
		assert_int_equal(receive_control(&live), -EPROTO);
		assert_reason(&live, "peer wants to renegotiate");
		assert_peer_got_alert(&live, SSL_AD_HANDSHAKE_FAILURE);
		disarm(&live);
	}
}

/* --- changing keys --------------------------------------------------------------------------- */

static void update_there(struct live *live, int kind)
{
	assert_int_equal(SSL_key_update(live->ends.plain, kind), 1);
	assert_int_equal(SSL_do_handshake(live->ends.plain), 1);
}

static void peer_changes_its_keys(void **state)
{
	(void)state;
	for (size_t i = 0; kernel_can_rekey && i < 2 * OPENSSL_SUITES; i++) {
		struct live live;

		if (openssl_suites[i / 2].version != TRAFFIC_TLS_1_3)
			continue;
		arm(&live, &openssl_suites[i / 2], i % 2);
		both_ways(&live, 300);
		for (int j = 0; j < 10; j++) {
			uint64_t records;

			update_there(&live, j % 2 ? SSL_KEY_UPDATE_REQUESTED
						  : SSL_KEY_UPDATE_NOT_REQUESTED);
			to_us(&live, 300);
			assert_int_equal(ktls_control_use(live.control, TRAFFIC_RECEIVE, &records),
					 0);
			assert_int_equal(records, 1);
			assert_int_equal(ktls_control_update_due(live.control), j % 2);
			assert_int_equal(ktls_control_update(live.control), 0);
			both_ways(&live, 20000);
		}
		disarm(&live);
	}
}

/* Several at once: the kernel stops at each. */
static void key_updates_in_a_row(void **state)
{
	struct live live;

	(void)state;
	if (!kernel_can_rekey)
		return;
	arm(&live, suite_1_3, true);
	for (int i = 0; i < 5; i++)
		update_there(&live, SSL_KEY_UPDATE_REQUESTED);
	both_ways(&live, 300);
	assert_true(ktls_control_update_due(live.control));
	assert_int_equal(ktls_control_update(live.control), 0);
	both_ways(&live, 300);
	disarm(&live);
}

static void we_change_keys(void **state)
{
	(void)state;
	for (size_t i = 0; kernel_can_rekey && i < 2 * OPENSSL_SUITES; i++) {
		struct live live;
		uint64_t records;

		if (openssl_suites[i / 2].version != TRAFFIC_TLS_1_3)
			continue;
		arm(&live, &openssl_suites[i / 2], i % 2);
		for (int j = 0; j < 3 * RECORD_UPDATES_BURST; j++) {
			both_ways(&live, 30);
			assert_int_equal(ktls_control_refresh(live.control), 0);
			assert_int_equal(ktls_control_update(live.control), 0);
			assert_int_equal(ktls_control_use(live.control, TRAFFIC_SEND, &records), 0);
			assert_int_equal(records, 0);
			to_them(&live, 30);
		}
		disarm(&live);
	}
}

/* splice() meets the KeyUpdate; from then on poll() is silent (7.2). */
static void splice_meets_a_key_update(void **state)
{
	struct live live;
	int ends[2];

	(void)state;
	if (!kernel_can_rekey)
		return;
	assert_int_equal(pipe(ends), 0);
	arm(&live, suite_1_3, true);
	update_there(&live, SSL_KEY_UPDATE_NOT_REQUESTED);
	wait_readable(live.fd);
	assert_int_equal(splice(live.fd, NULL, ends[1], NULL, 16384, SPLICE_F_NONBLOCK), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(ktls_control_receive(live.control, clock_now()), 0);
	both_ways(&live, 300);
	disarm(&live);
	close(ends[0]);
	close(ends[1]);
}

/* Data, a KeyUpdate and data under the next key wait together. */
static void key_update_between_data(void **state)
{
	struct live live;

	(void)state;
	if (!kernel_can_rekey)
		return;
	arm(&live, suite_1_3, true);
	for (int i = 0; i < 5; i++) {
		fill(outgoing, 2000);
		assert_int_equal(SSL_write(live.ends.plain, outgoing, 1000), 1000);
		update_there(&live, SSL_KEY_UPDATE_NOT_REQUESTED);
		assert_int_equal(SSL_write(live.ends.plain, outgoing + 1000, 1000), 1000);
		usleep(20000);
		receive_here(&live, 2000);
	}
	disarm(&live);
}

static void bad_key_updates(void **state)
{
	static const struct {
		const char *first, *second, *reason;
		int alert;
	} cases[] = {
		{"18 00 00 01 02", NULL, "peer sent a bad KeyUpdate", SSL_AD_ILLEGAL_PARAMETER},
		{"18 00 00 02 00 00", NULL, "peer sent a bad KeyUpdate", SSL_AD_DECODE_ERROR},
		{"18 00 00 01 00 04", NULL, "peer sent bytes behind a KeyUpdate in its record",
		 SSL_AD_UNEXPECTED_MESSAGE},
		{"18 00", "00 01 00", "peer sent a KeyUpdate in several records",
		 SSL_AD_UNEXPECTED_MESSAGE},
	};

	(void)state;
	for (size_t i = 0; kernel_can_rekey && i < ARRAY_SIZE(cases); i++) {
		struct live live;

		arm(&live, suite_1_3, true);
		send_forged(&live, 22, cases[i].first);
		if (cases[i].second != NULL)
			send_forged(&live, 22, cases[i].second);
		usleep(20000);
		assert_int_equal(receive_control(&live), -EPROTO);
		assert_reason(&live, cases[i].reason);
		assert_peer_got_alert(&live, cases[i].alert);
		disarm(&live);
	}
}

static void storm_is_ended(void **state)
{
	struct live live;
	int sent = 0, result = 0;

	(void)state;
	if (!kernel_can_rekey)
		return;
	arm(&live, suite_1_3, true);
	while (result == 0 && sent < 1000) {
		update_there(&live, SSL_KEY_UPDATE_REQUESTED);
		wait_readable(live.fd);
		result = ktls_control_receive(live.control, clock_now());
		sent++;
	}
	assert_int_equal(result, -EDQUOT);
	assert_int_equal(sent, RECORD_UPDATES_BURST + 1);
	assert_peer_got_alert(&live, SSL_AD_INTERNAL_ERROR);
	disarm(&live);
}

static void kernel_that_cannot_follow(void **state)
{
	struct live live;

	(void)state;
	if (kernel_can_rekey)
		return;
	arm(&live, suite_1_3, true);
	both_ways(&live, 300);
	update_there(&live, SSL_KEY_UPDATE_NOT_REQUESTED);
	assert_int_equal(receive_control(&live), -EPROTO);
	assert_reason(&live, "peer changed its keys, which this kernel cannot follow");
	assert_peer_closed_cleanly(&live);
	assert_int_equal(ktls_control_refresh(live.control), -EOPNOTSUPP);
	disarm(&live);
}

/* Fills the socket until it takes nothing more; returns the bytes that went in. */
static size_t fill_socket(int fd)
{
	size_t total = 0;
	ssize_t sent;

	while ((sent = send(fd, outgoing, 16384, MSG_NOSIGNAL | MSG_DONTWAIT)) > 0)
		total += (size_t)sent;
	assert_int_equal(errno, EAGAIN);
	return total;
}

/* A KeyUpdate finds no room: nothing is sent or changed until there is. */
static void key_update_into_a_full_socket(void **state)
{
	struct live live;
	size_t left;
	int result;

	(void)state;
	if (!kernel_can_rekey)
		return;
	arm(&live, suite_1_3, true);
	fill(outgoing, sizeof(outgoing));
	left = fill_socket(live.fd);
	assert_int_equal(ktls_control_refresh(live.control), 0);
	result = ktls_control_update(live.control);
	assert_int_equal(result, -EAGAIN);
	while (left > 0) {
		int got = SSL_read(live.ends.plain, incoming, sizeof(incoming));

		if (got <= 0)
			wait_readable(live.ends.fds[1]);
		else
			left -= (size_t)got;
		if (result == -EAGAIN)
			result = ktls_control_update(live.control);
	}
	assert_int_equal(result, 0);
	both_ways(&live, 3000);
	disarm(&live);
}

/* --- which kernel is this -------------------------------------------------------------------- */

static void kernel_tls_is_here(void **state)
{
	const char *wanted = getenv("MCSEAL_KTLS");

	(void)state;
	look_at_kernel();
	print_message("kernel TLS: %s, keys can be changed: %s\n", kernel_has_ktls ? "yes" : "no",
		      kernel_can_rekey ? "yes" : "no");
	if (kernel_has_ktls)
		return;
	if (wanted != NULL && strcmp(wanted, "required") == 0)
		fail_msg("no kernel TLS, but MCSEAL_KTLS=required");
	print_message("no kernel TLS here (module tls): run this in tests/vm/run\n");
	skip();
}

int main(void)
{
	const struct CMUnitTest first[] = {
		cmocka_unit_test(kernel_tls_is_here),
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_in_every_suite_and_role),
		cmocka_unit_test(ulp_alone_passes_bytes),
		cmocka_unit_test(half_closed_socket_is_not_attached),
		cmocka_unit_test(empty_records_are_skipped),
		cmocka_unit_test(forged_record),
		cmocka_unit_test(headers_that_are_none),
		cmocka_unit_test(close_notify_both_ways),
		cmocka_unit_test(end_without_close_notify),
		cmocka_unit_test(reset_connection),
		cmocka_unit_test(alerts_between_data),
		cmocka_unit_test(several_alerts_wait),
		cmocka_unit_test(splice_meets_an_alert),
		cmocka_unit_test(tickets),
		cmocka_unit_test(messages_in_pieces),
		cmocka_unit_test(renegotiation),
		cmocka_unit_test(peer_changes_its_keys),
		cmocka_unit_test(key_updates_in_a_row),
		cmocka_unit_test(we_change_keys),
		cmocka_unit_test(splice_meets_a_key_update),
		cmocka_unit_test(key_update_between_data),
		cmocka_unit_test(bad_key_updates),
		cmocka_unit_test(storm_is_ended),
		cmocka_unit_test(kernel_that_cannot_follow),
		cmocka_unit_test(key_update_into_a_full_socket),
	};
	int failed = cmocka_run_group_tests_name("ktls_live kernel", first, NULL, NULL);

	if (!kernel_has_ktls)
		return failed;
	return cmocka_run_group_tests_name("ktls_live", tests, make_papers, remove_papers);
}
