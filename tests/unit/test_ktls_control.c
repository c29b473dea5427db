/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control records against a fake kernel (fake_ktls.h): every message that may come, in every
 * cutting, what is answered, which keys go in and when.
 */
#include "tls/ktls_control.h"
#include "tls/record_control.h"

#include "fake_ktls.h"
#include "record_fixture.h"

#include "base/error.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define FD  77
#define TX  1 /* TLS_TX */
#define RX  2 /* TLS_RX */
#define NOW (1000 * CLOCK_SEC)

/* --- set-up ---------------------------------------------------------------------------------- */

static struct traffic_pair pair_of(enum traffic_version version, bool client)
{
	struct traffic_pair pair = {.client = client};

	for (int i = 0; i < TRAFFIC_DIRECTIONS; i++) {
		pair.secrets[i].size = 32;
		memset(pair.secrets[i].bytes, 0x40 + i, 32);
		assert_int_equal(
			traffic_keys_expand(TRAFFIC_AES_128_GCM, &pair.secrets[i], &pair.keys[i]),
			0);
		pair.keys[i].version = version;
	}
	if (version == TRAFFIC_TLS_1_2)
		memset(pair.secrets, 0, sizeof(pair.secrets));
	return pair;
}

static struct ktls_control *control_of(enum traffic_version version, bool client, bool can_rekey)
{
	struct traffic_pair pair = pair_of(version, client);
	struct ktls_control *control = NULL;
	bool installed;

	fake_reset();
	fake.old = !can_rekey;
	assert_int_equal(ktls_control_new(FD, &pair, can_rekey, &installed, &control), 0);
	assert_true(installed);
	assert_int_equal(fake.attached, 1);
	assert_int_equal(fake.installs[RX], 1);
	assert_int_equal(fake.installs[TX], 1);
	return control;
}

/* The crypto info of a direction after `updates` KeyUpdates. */
static void assert_generation(int option, int updates)
{
	struct traffic_pair pair = pair_of(TRAFFIC_TLS_1_3, false);
	struct traffic_secret *secret =
		&pair.secrets[option == RX ? TRAFFIC_RECEIVE : TRAFFIC_SEND];
	uint8_t expected[KTLS_CRYPTO_MAX];
	struct traffic_keys keys;
	size_t size;

	for (int i = 0; i < updates; i++)
		assert_int_equal(traffic_secret_update(TRAFFIC_AES_128_GCM, secret), 0);
	assert_int_equal(traffic_keys_expand(TRAFFIC_AES_128_GCM, secret, &keys), 0);
	size = ktls_crypto_info(&keys, expected);
	assert_int_equal(fake.crypto_size[option], size);
	assert_memory_equal(fake.crypto[option], expected, size);
	assert_int_equal(fake.installs[option], updates + 1);
}

static void assert_sent(size_t at, uint8_t type, const char *hex)
{
	uint8_t bytes[64];
	size_t size = record_hex(hex, bytes);

	assert_in_range(at, 0, fake.out_count - 1);
	assert_int_equal(fake.out[at].type, type);
	assert_int_equal(fake.out[at].size, size);
	assert_memory_equal(fake.out[at].bytes, bytes, size);
}

static void receive_hex(uint8_t type, const char *hex)
{
	uint8_t bytes[FAKE_SIZE];
	size_t size = record_hex(hex, bytes);

	fake_receive(type, bytes, size);
}

/* --- installation ---------------------------------------------------------------------------- */

static void failures_of_installation(void **state)
{
	static const struct {
		int attach, receive, send;
		int result;
		bool installed;
	} cases[] = {
		{ENOENT, 0, 0, -ENOENT, false},     /* no module */
		{ENOTCONN, 0, 0, -ENOTCONN, false}, /* the peer has closed */
		{0, ENOENT, 0, -ENOENT, false},     /* no cipher */
		{0, 0, ENOENT, -ENOENT, true},      {0, 0, EINVAL, -EINVAL, true},
	};
	struct traffic_pair pair = pair_of(TRAFFIC_TLS_1_3, false);

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		struct ktls_control *control = NULL;
		bool installed = true;

		fake_reset();
		fake.install_error[0] = cases[i / 2].attach;
		fake.install_error[RX] = cases[i / 2].receive;
		fake.install_error[TX] = cases[i / 2].send;
		assert_int_equal(ktls_control_new(FD, &pair, i % 2, &installed, &control),
				 cases[i / 2].result);
		assert_int_equal(installed, cases[i / 2].installed);
		assert_null(control);
		assert_int_equal(fake.out_count, 0);
	}
}

static void it_is_small(void **state)
{
	struct ktls_control *controls[64];
	uintptr_t first = UINTPTR_MAX, last = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(controls); i++) {
		controls[i] = control_of(TRAFFIC_TLS_1_3, true, true);
		first = (uintptr_t)controls[i] < first ? (uintptr_t)controls[i] : first;
		last = (uintptr_t)controls[i] > last ? (uintptr_t)controls[i] : last;
	}
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	assert_in_range(malloc_usable_size(controls[0]), 1, 200);
#else
	assert_in_range(last - first, 1, ARRAY_SIZE(controls) * 200);
#endif
	for (size_t i = 0; i < ARRAY_SIZE(controls); i++)
		ktls_control_free(controls[i]);
	ktls_control_free(NULL);
}

/* --- one row for each thing that can be at the front ----------------------------------------- */

struct row {
	enum traffic_version version;
	bool client;
	uint8_t type;
	const char *bytes;
	int result;
	const char *alert;  /* that we send; NULL: nothing */
	const char *reason; /* "" where none is given */
};

static const struct row rows[] = {
	/* alerts */
	{TRAFFIC_TLS_1_3, true, 21, "01 00", KTLS_CONTROL_CLOSED, NULL, ""},
	{TRAFFIC_TLS_1_2, true, 21, "01 00", KTLS_CONTROL_CLOSED, NULL, ""},
	{TRAFFIC_TLS_1_3, true, 21, "02 00", KTLS_CONTROL_CLOSED, NULL, ""},
	{TRAFFIC_TLS_1_3, true, 21, "01 5a", 0, NULL, ""},
	{TRAFFIC_TLS_1_3, true, 21, "02 2c", -EPROTO, NULL, "peer sent alert: certificate revoked"},
	{TRAFFIC_TLS_1_2, false, 21, "02 14", -EPROTO, NULL, "peer sent alert: bad record mac"},
	{TRAFFIC_TLS_1_3, false, 21, "01 64", -EPROTO, NULL, "peer sent alert: no renegotiation"},
	{TRAFFIC_TLS_1_3, false, 21, "02", -EPROTO, "02 32", "peer sent a bad alert"},
	{TRAFFIC_TLS_1_3, false, 21, "01 00 01", -EPROTO, "02 32", "peer sent a bad alert"},
	{TRAFFIC_TLS_1_3, false, 21, "", -EPROTO, "02 0a", "peer sent an empty record"},
	/* tickets */
	{TRAFFIC_TLS_1_3, true, 22, "04 00 00 03 01 02 03", 0, NULL, ""},
	{TRAFFIC_TLS_1_3, true, 22, "04 00 00 00", 0, NULL, ""},
	{TRAFFIC_TLS_1_3, true, 22, "04 00 00 01 09 04 00 00 01 09", 0, NULL, ""},
	{TRAFFIC_TLS_1_3, false, 22, "04 00 00 03 01 02 03", -EPROTO, "02 0a",
	 "peer sent a handshake message out of place"},
	{TRAFFIC_TLS_1_2, true, 22, "04 00 00 03 01 02 03", -EPROTO, "02 0a",
	 "peer sent a handshake message out of place"},
	/* key updates */
	{TRAFFIC_TLS_1_3, true, 22, "18 00 00 01 00", 0, NULL, ""},
	{TRAFFIC_TLS_1_3, false, 22, "18 00 00 01 01", 0, NULL, ""},
	{TRAFFIC_TLS_1_3, true, 22, "04 00 00 01 09 18 00 00 01 00", 0, NULL, ""},
	{TRAFFIC_TLS_1_3, true, 22, "18 00 00 01 02", -EPROTO, "02 2f",
	 "peer sent a bad KeyUpdate"},
	{TRAFFIC_TLS_1_3, true, 22, "18 00 00 00", -EPROTO, "02 32", "peer sent a bad KeyUpdate"},
	{TRAFFIC_TLS_1_3, true, 22, "18 00 00 02 00 00", -EPROTO, "02 32",
	 "peer sent a bad KeyUpdate"},
	{TRAFFIC_TLS_1_3, true, 22, "18 00 00 01 00 18 00 00 01 00", -EPROTO, "02 0a",
	 "peer sent bytes behind a KeyUpdate in its record"},
	{TRAFFIC_TLS_1_3, true, 22, "18 00 00 01 00 04", -EPROTO, "02 0a",
	 "peer sent bytes behind a KeyUpdate in its record"},
	{TRAFFIC_TLS_1_3, true, 22, "18 00 00 01", -EPROTO, "02 0a",
	 "peer sent a KeyUpdate in several records"},
	{TRAFFIC_TLS_1_2, true, 22, "18 00 00 01 00", -EPROTO, "02 0a",
	 "peer sent a handshake message out of place"},
	/* renegotiation, post-handshake authentication, nonsense */
	{TRAFFIC_TLS_1_2, true, 22, "00 00 00 00", -EPROTO, "02 28", "peer wants to renegotiate"},
	{TRAFFIC_TLS_1_2, false, 22, "01 00 01 00", -EPROTO, "02 28", "peer wants to renegotiate"},
	{TRAFFIC_TLS_1_2, false, 22, "00 00 00 00", -EPROTO, "02 0a",
	 "peer sent a handshake message out of place"},
	{TRAFFIC_TLS_1_3, false, 22, "01 00 01 00", -EPROTO, "02 0a",
	 "peer sent a handshake message out of place"},
	{TRAFFIC_TLS_1_3, true, 22, "0d 00 00 08", -EPROTO, "02 0a",
	 "peer sent a handshake message out of place"},
	{TRAFFIC_TLS_1_3, true, 22, "", -EPROTO, "02 0a", "peer sent an empty record"},
	{TRAFFIC_TLS_1_3, true, 20, "01", -EPROTO, "02 0a", "peer sent a record out of place"},
	{TRAFFIC_TLS_1_2, true, 20, "01", -EPROTO, "02 0a", "peer sent a record out of place"},
	{TRAFFIC_TLS_1_3, true, 24, "01 00 10", -EPROTO, "02 0a",
	 "peer sent a record out of place"},
	/* data is not ours */
	{TRAFFIC_TLS_1_3, true, 23, "50 00", KTLS_CONTROL_NOTHING, NULL, ""},
};

static void every_row(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		struct ktls_control *control = control_of(row->version, row->client, true);
		int result;

		receive_hex(row->type, row->bytes);
		result = ktls_control_receive(control, NOW);
		if (result != row->result || strcmp(ktls_control_reason(control), row->reason) != 0)
			fail_msg("row %zu: %d, %s", i, result, ktls_control_reason(control));
		assert_int_equal(fake.out_count, row->alert ? 1 : 0);
		if (row->alert != NULL)
			assert_sent(0, 21, row->alert);
		if (row->result == 0 && row->type != 23)
			assert_int_equal(fake.in_at, fake.in_count);
		/* Whoever was refused hears nothing more. */
		if (row->result < 0) {
			assert_int_equal(ktls_control_say_closed(control), 0);
			ktls_control_alert(control, 80);
			assert_int_equal(fake.out_count, row->alert ? 1 : 0);
		}
		ktls_control_free(control);
	}
}

static void what_the_socket_says(void **state)
{
	static const struct {
		int end, result;
		const char *reason;
	} cases[] = {
		{EAGAIN, KTLS_CONTROL_NOTHING, ""},
		{0, KTLS_CONTROL_END, ""},
		{EBADMSG, -EBADMSG, "record altered, forged or out of order"},
		{EMSGSIZE, -EBADMSG, "record altered, forged or out of order"},
		{EINVAL, -EBADMSG, "record altered, forged or out of order"},
		{ECONNRESET, -ECONNRESET, "Connection reset by peer"},
		{ETIMEDOUT, -ETIMEDOUT, "Connection timed out"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ktls_control *control = control_of(TRAFFIC_TLS_1_3, false, true);

		fake.end = cases[i].end;
		assert_int_equal(ktls_control_receive(control, NOW), cases[i].result);
		assert_string_equal(ktls_control_reason(control), cases[i].reason);
		assert_int_equal(fake.out_count, 0); /* after EBADMSG nothing can be sent */
		ktls_control_free(control);
	}
}

static void closed_stays_closed(void **state)
{
	struct ktls_control *control = control_of(TRAFFIC_TLS_1_3, true, true);

	(void)state;
	receive_hex(21, "01 00");
	receive_hex(22, "18 00 00 01 01"); /* behind it: not looked at */
	assert_int_equal(ktls_control_receive(control, NOW), KTLS_CONTROL_CLOSED);
	assert_int_equal(ktls_control_receive(control, NOW), KTLS_CONTROL_CLOSED);
	assert_int_equal(fake.in_at, 1);
	/* Our direction is still open, until we say so. */
	assert_int_equal(ktls_control_say_closed(control), 0);
	assert_int_equal(ktls_control_say_closed(control), 0);
	assert_int_equal(fake.out_count, 1);
	assert_sent(0, 21, "01 00");
	ktls_control_free(control);
}

static void close_waits_for_room(void **state)
{
	struct ktls_control *control = control_of(TRAFFIC_TLS_1_2, true, false);

	(void)state;
	fake.send_error = EAGAIN;
	assert_int_equal(ktls_control_say_closed(control), -EAGAIN);
	fake.send_error = 0;
	assert_int_equal(ktls_control_say_closed(control), 0);
	assert_sent(0, 21, "01 00");
	ktls_control_free(control);
}

/* --- cut in any way -------------------------------------------------------------------------- */

/* Tickets of many sizes as one stream of bytes, dealt into records at random. */
static void messages_in_any_cut(void **state)
{
	static uint8_t stream[8 * FAKE_SIZE];
	unsigned int seed = 7;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		struct ktls_control *control = control_of(TRAFFIC_TLS_1_3, true, true);
		size_t size = 0, at = 0;

		for (int i = 0; i < 8; i++) {
			size_t body = (size_t)rand_r(&seed) % 300;

			stream[size] = 4;
			stream[size + 1] = 0;
			put_be16(stream + size + 2, (uint16_t)body);
			memset(stream + size + 4, 24, body); /* would be KeyUpdates */
			size += 4 + body;
		}
		/* A kernel of 6.14 would stop at a record that begins like a KeyUpdate. */
		fake.old = true;
		while (at < size) {
			size_t most = fake.in_count < FAKE_RECORDS - 6 ? 90 : FAKE_SIZE;
			size_t cut = most == FAKE_SIZE ? most : 1 + (size_t)rand_r(&seed) % most;

			cut = cut < size - at ? cut : size - at;
			fake_receive(22, stream + at, cut);
			at += cut;
		}
		assert_int_equal(ktls_control_receive(control, NOW), KTLS_CONTROL_NOTHING);
		assert_int_equal(fake.in_at, fake.in_count);
		/* Not a byte too many or too few: data is welcome now. */
		receive_hex(23, "50 00");
		assert_int_equal(ktls_control_receive(control, NOW), KTLS_CONTROL_NOTHING);
		assert_string_equal(ktls_control_reason(control), "");
		ktls_control_free(control);
	}
}

static void data_inside_a_message(void **state)
{
	(void)state;
	for (size_t cut = 1; cut < 7; cut++) {
		static const uint8_t ticket[] = {4, 0, 0, 3, 1, 2, 3};
		struct ktls_control *control = control_of(TRAFFIC_TLS_1_3, true, true);

		fake_receive(22, ticket, cut);
		assert_int_equal(ktls_control_receive(control, NOW), KTLS_CONTROL_NOTHING);
		receive_hex(23, "50 00");
		assert_int_equal(ktls_control_receive(control, NOW), -EPROTO);
		assert_string_equal(ktls_control_reason(control),
				    "peer sent data inside a handshake message");
		assert_sent(0, 21, "02 0a");
		ktls_control_free(control);
	}
}

/* --- changing keys --------------------------------------------------------------------------- */

static void peer_changes_and_asks(void **state)
{
	struct ktls_control *control = control_of(TRAFFIC_TLS_1_3, false, true);

	(void)state;
	receive_hex(22, "18 00 00 01 00");
	assert_int_equal(ktls_control_receive(control, NOW), 0);
	assert_generation(RX, 1);
	assert_false(ktls_control_update_due(control));
	assert_int_equal(ktls_control_update(control), 0);
	assert_int_equal(fake.out_count, 0);
	/* Three requests before we get to it: one answer (RFC 8446 4.6.3). */
	for (int i = 0; i < 3; i++)
		receive_hex(22, "18 00 00 01 01");
	assert_int_equal(ktls_control_receive(control, NOW), 0);
	assert_generation(RX, 4);
	assert_true(ktls_control_update_due(control));
	assert_int_equal(fake.out_count, 0);
	assert_int_equal(ktls_control_update(control), 0);
	assert_int_equal(fake.out_count, 1);
	assert_sent(0, 22, "18 00 00 01 00");
	assert_generation(TX, 1);
	assert_int_equal(fake.out_at_install[TX], 1); /* under the old key, then the new one */
	assert_false(ktls_control_update_due(control));
	ktls_control_free(control);
}

static void answer_waits_for_room(void **state)
{
	struct ktls_control *control = control_of(TRAFFIC_TLS_1_3, false, true);

	(void)state;
	receive_hex(22, "18 00 00 01 01");
	assert_int_equal(ktls_control_receive(control, NOW), 0);
	fake.send_error = EAGAIN;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ktls_control_update(control), -EAGAIN);
		assert_true(ktls_control_update_due(control));
		assert_int_equal(fake.installs[TX], 1);
	}
	fake.send_error = 0;
	assert_int_equal(ktls_control_update(control), 0);
	assert_generation(TX, 1);
	ktls_control_free(control);
}

static void refused_send_key_ends_it(void **state)
{
	struct ktls_control *control = control_of(TRAFFIC_TLS_1_3, false, true);

	(void)state;
	receive_hex(22, "18 00 00 01 01");
	assert_int_equal(ktls_control_receive(control, NOW), 0);
	fake.install_error[TX] = EINVAL;
	assert_int_equal(ktls_control_update(control), -EINVAL);
	assert_string_equal(ktls_control_reason(control), "our next key could not be set");
	assert_false(ktls_control_update_due(control));
	/* The peer cannot read the old key any more: not a record may follow. */
	assert_int_equal(ktls_control_say_closed(control), 0);
	ktls_control_alert(control, 80);
	assert_int_equal(fake.out_count, 1);
	ktls_control_free(control);
}

static void refused_receive_key_ends_it(void **state)
{
	struct ktls_control *control = control_of(TRAFFIC_TLS_1_3, false, true);

	(void)state;
	fake.install_error[RX] = EBUSY;
	receive_hex(22, "18 00 00 01 00");
	assert_int_equal(ktls_control_receive(control, NOW), -EBUSY);
	assert_string_equal(ktls_control_reason(control), "the peer's next key could not be set");
	ktls_control_free(control);
}

/* Without secrets the end is clean: what came so far was good, and so is the peer. */
static void kernel_without_rekey(void **state)
{
	struct ktls_control *control = control_of(TRAFFIC_TLS_1_3, true, false);

	(void)state;
	receive_hex(22, "18 00 00 01 01");
	assert_int_equal(ktls_control_receive(control, NOW), -EPROTO);
	assert_string_equal(ktls_control_reason(control),
			    "peer changed its keys, which this kernel cannot follow");
	assert_sent(0, 21, "01 00");
	assert_int_equal(fake.installs[RX], 1);
	assert_int_equal(ktls_control_refresh(control), -EOPNOTSUPP);
	assert_false(ktls_control_update_due(control));
	ktls_control_free(control);
}

/* Told once; what is left of the socket says EAGAIN. */
static void given_up_streams(void **state)
{
	static const struct {
		int error;
		uint8_t front; /* type of a record that is there, 0: none */
		bool broken;
		const char *alert;
	} cases[] = {
		{-EMSGSIZE, 0, true, "02 16"},  {-EBADMSG, 0, true, "02 14"},
		{-EINVAL, 0, true, "02 46"},    {-EINVAL, 21, false, NULL},
		{-EINVAL, 22, false, NULL},     {-EIO, 0, false, NULL},
		{-EKEYEXPIRED, 0, false, NULL}, {-ECONNRESET, 0, false, NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ktls_control *control = control_of(TRAFFIC_TLS_1_3, false, true);

		if (cases[i].front != 0)
			receive_hex(cases[i].front, "01 00");
		assert_int_equal(ktls_control_broken(control, cases[i].error), cases[i].broken);
		assert_int_equal(fake.out_count, cases[i].broken);
		if (cases[i].broken)
			assert_sent(0, 21, cases[i].alert);
		assert_int_equal(ktls_control_reason(control)[0] != '\0', cases[i].broken);
		assert_int_equal(fake.in_at, 0);
		ktls_control_free(control);
	}
}

static void we_refresh(void **state)
{
	struct ktls_control *control = control_of(TRAFFIC_TLS_1_3, true, true);

	(void)state;
	assert_int_equal(ktls_control_refresh(control), 0);
	assert_true(ktls_control_update_due(control));
	assert_int_equal(ktls_control_update(control), 0);
	assert_sent(0, 22, "18 00 00 01 01");
	assert_generation(TX, 1);
	/* Not answered yet: our key moves again, the peer is not asked twice. */
	assert_int_equal(ktls_control_refresh(control), 0);
	assert_int_equal(ktls_control_update(control), 0);
	assert_sent(1, 22, "18 00 00 01 00");
	assert_generation(TX, 2);
	receive_hex(22, "18 00 00 01 00");
	assert_int_equal(ktls_control_receive(control, NOW), 0);
	assert_generation(RX, 1);
	assert_false(ktls_control_update_due(control));
	ktls_control_free(control);
}

static void tls_1_2_cannot_refresh(void **state)
{
	struct ktls_control *control = control_of(TRAFFIC_TLS_1_2, true, true);

	(void)state;
	assert_int_equal(ktls_control_refresh(control), -EOPNOTSUPP);
	ktls_control_free(control);
}

static int updates_until_refused(struct ktls_control *control, clock_us now, clock_us step)
{
	int count = 0, result = 0;

	while (result == 0 && count < 1000) {
		fake.in_count = fake.in_at = 0;
		receive_hex(22, "18 00 00 01 01");
		result = ktls_control_receive(control, now + count * step);
		if (ktls_control_update_due(control))
			assert_int_equal(ktls_control_update(control), 0);
		count++;
	}
	return result == -EDQUOT ? count : result;
}

static void storms_are_ended(void **state)
{
	struct ktls_control *control = control_of(TRAFFIC_TLS_1_3, false, true);

	(void)state;
	assert_int_equal(updates_until_refused(control, NOW, 1), RECORD_UPDATES_BURST + 1);
	assert_string_equal(ktls_control_reason(control), "peer changes its keys too often");
	ktls_control_free(control);
	/* Twice as often as they come back: two bursts. */
	control = control_of(TRAFFIC_TLS_1_3, false, true);
	assert_in_range(updates_until_refused(control, NOW, RECORD_UPDATES_EVERY / 2),
			2 * RECORD_UPDATES_BURST - 2, 2 * RECORD_UPDATES_BURST + 2);
	ktls_control_free(control);
	/* As often: for ever. */
	control = control_of(TRAFFIC_TLS_1_3, false, true);
	assert_int_equal(updates_until_refused(control, NOW, RECORD_UPDATES_EVERY), 0);
	ktls_control_free(control);
}

/* A peer that answers our own wishes is not to blame for their number. */
static void answers_cost_nothing(void **state)
{
	struct ktls_control *control = control_of(TRAFFIC_TLS_1_3, false, true);

	(void)state;
	for (int i = 0; i < 3 * RECORD_UPDATES_BURST; i++) {
		fake.in_count = fake.in_at = 0;
		assert_int_equal(ktls_control_refresh(control), 0);
		assert_int_equal(ktls_control_update(control), 0);
		receive_hex(22, "18 00 00 01 00");
		assert_int_equal(ktls_control_receive(control, NOW), 0);
	}
	assert_generation(RX, 3 * RECORD_UPDATES_BURST);
	ktls_control_free(control);
}

static void tickets_and_alerts_are_limited(void **state)
{
	static const struct {
		uint8_t type;
		const char *bytes, *reason;
	} cases[] = {
		{22, "04 00 00 00", "peer sends too many tickets"},
		{21, "01 5a", "peer sends too many alerts"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ktls_control *control = control_of(TRAFFIC_TLS_1_3, true, true);

		for (int j = 0; j <= RECORD_UPDATES_BURST; j++)
			receive_hex(cases[i].type, cases[i].bytes);
		assert_int_equal(ktls_control_receive(control, NOW), -EDQUOT);
		assert_string_equal(ktls_control_reason(control), cases[i].reason);
		assert_int_equal(fake.in_at, RECORD_UPDATES_BURST + 1);
		ktls_control_free(control);
	}
}

static void use_is_the_record_number(void **state)
{
	struct ktls_control *control = control_of(TRAFFIC_TLS_1_3, true, true);
	uint64_t records = 99;

	(void)state;
	assert_int_equal(ktls_control_use(control, TRAFFIC_SEND, &records), 0);
	assert_int_equal(records, 0);
	fake.crypto[RX][fake.crypto_size[RX] - 2] = 1;
	assert_int_equal(ktls_control_use(control, TRAFFIC_RECEIVE, &records), 0);
	assert_int_equal(records, 256);
	ktls_control_free(control);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(failures_of_installation),
		cmocka_unit_test(it_is_small),
		cmocka_unit_test(every_row),
		cmocka_unit_test(what_the_socket_says),
		cmocka_unit_test(closed_stays_closed),
		cmocka_unit_test(close_waits_for_room),
		cmocka_unit_test(messages_in_any_cut),
		cmocka_unit_test(data_inside_a_message),
		cmocka_unit_test(peer_changes_and_asks),
		cmocka_unit_test(answer_waits_for_room),
		cmocka_unit_test(refused_send_key_ends_it),
		cmocka_unit_test(refused_receive_key_ends_it),
		cmocka_unit_test(kernel_without_rekey),
		cmocka_unit_test(given_up_streams),
		cmocka_unit_test(we_refresh),
		cmocka_unit_test(tls_1_2_cannot_refresh),
		cmocka_unit_test(storms_are_ended),
		cmocka_unit_test(answers_cost_nothing),
		cmocka_unit_test(tickets_and_alerts_are_limited),
		cmocka_unit_test(use_is_the_record_number),
	};

	return cmocka_run_group_tests_name("ktls_control", tests, NULL, NULL);
}
