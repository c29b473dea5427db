/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records in user space against a record layer of the test's own (record_fixture.h): what is
 * sealed opens there, what is sealed there opens here however it is cut, and what is wrong with a
 * record is named and told. The peer is the test; nothing here is a socket.
 */
#include "tls/tls_stream.h"

#include "record_fixture.h"

#include "base/buffer.h"
#include "base/error.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define REPLIES (TLS_STREAM_WRAPPED(0) + TLS_STREAM_REPLIES_MAX)

static struct desk {
	struct tls_stream *stream;
	struct traffic_pair pair; /* as the stream sees it */
	struct traffic_keys in;   /* what the peer seals with: the stream's receiving key */
	struct traffic_keys out;  /* what the peer opens with */
	struct buffer got;
	uint8_t wire[4 * RECORD_ROOM];
	size_t used;
} desk;

static void start(enum traffic_version version, enum traffic_cipher cipher, bool client)
{
	desk = (struct desk){.pair = {.record_max = RECORD_MAX, .client = client}};
	for (int i = 0; i < TRAFFIC_DIRECTIONS; i++) {
		struct traffic_secret *secret = &desk.pair.secrets[i];
		struct traffic_keys *keys = &desk.pair.keys[i];

		secret->size = (uint8_t)traffic_secret_size(cipher);
		memset(secret->bytes, 0x10 + i, secret->size);
		assert_int_equal(traffic_keys_expand(cipher, secret, keys), 0);
		keys->version = version;
		keys->sequence = version == TRAFFIC_TLS_1_2;
	}
	desk.in = desk.pair.keys[TRAFFIC_RECEIVE];
	desk.out = desk.pair.keys[TRAFFIC_SEND];
	assert_int_equal(tls_stream_new(&desk.pair, &desk.stream), 0);
}

static int end(void **state)
{
	(void)state;
	tls_stream_free(desk.stream);
	buffer_deinit(&desk.got);
	return 0;
}

static void start_1_3(void)
{
	start(TRAFFIC_TLS_1_3, TRAFFIC_AES_128_GCM, false);
}

static int collect(void *owner, const uint8_t *bytes, size_t size)
{
	(void)owner;
	return buffer_append(&desk.got, bytes, size);
}

static int feed(const uint8_t *bytes, size_t size)
{
	return tls_stream_unwrap(desk.stream, bytes, size, collect, NULL);
}

static void seal(uint8_t type, const void *bytes, size_t size)
{
	desk.used += record_seal(&desk.in, type, bytes, size, desk.wire + desk.used);
}

static int feed_sealed(uint8_t type, const void *bytes, size_t size)
{
	desk.used = 0;
	seal(type, bytes, size);
	return feed(desk.wire, desk.used);
}

/* The one record among the replies: its content type, and its content in `plain`. */
static uint8_t reply(uint8_t plain[static RECORD_ROOM], int size)
{
	uint8_t records[REPLIES], type;
	size_t used = tls_stream_replies(desk.stream, records);

	assert_true(used > 0);
	assert_int_equal(record_size(records), used);
	assert_int_equal(record_open(&desk.out, records, plain, &type), size);
	return type;
}

static void assert_told(uint8_t alert)
{
	uint8_t plain[RECORD_ROOM] = {0}, records[REPLIES];
	size_t used;

	assert_int_equal(reply(plain, 2), 21);
	assert_int_equal(plain[0], SSL3_AL_FATAL);
	assert_int_equal(plain[1], alert);
	/* Nothing comes behind it. */
	assert_int_equal(tls_stream_wrap(desk.stream, plain, 1, records, &used), -EPROTO);
	assert_int_equal(used, 0);
	assert_int_equal(tls_stream_wrap_close(desk.stream, records, &used), 0);
	assert_int_equal(used, 0);
}

/* --- good records ---------------------------------------------------------------------------- */

static void every_cipher_both_ways(void **state)
{
	static const size_t sizes[] = {1, 21, 255, 1931, 8200, 16384};
	static uint8_t bytes[16384], plain[RECORD_ROOM], wire[RECORD_ROOM + REPLIES];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7);
	for (int i = 0; i < 2 * TRAFFIC_CIPHERS; i++) {
		start(i % 2 ? TRAFFIC_TLS_1_3 : TRAFFIC_TLS_1_2, (enum traffic_cipher)(i / 2), i);
		for (size_t j = 0; j < ARRAY_SIZE(sizes); j++) {
			uint8_t type;
			size_t used;

			assert_int_equal(feed_sealed(23, bytes, sizes[j]), 0);
			assert_int_equal(buffer_size(&desk.got), sizes[j]);
			assert_memory_equal(buffer_bytes(&desk.got), bytes, sizes[j]);
			buffer_deinit(&desk.got);
			assert_int_equal(tls_stream_wrap(desk.stream, bytes, sizes[j], wire, &used),
					 0);
			assert_int_equal(record_size(wire), used);
			assert_int_equal(record_open(&desk.out, wire, plain, &type), sizes[j]);
			assert_int_equal(type, 23);
			assert_memory_equal(plain, bytes, sizes[j]);
		}
		end(state);
	}
	start_1_3();
}

/* RFC 8448 section 3: the client's application data, 00 to 31, byte for byte. */
static void record_of_rfc_8448(void **state)
{
	static const char hex[] =
		"17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14"
		"aa 66 bc ab 3f 2b 98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62"
		"92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4";
	struct traffic_pair pair = {.record_max = RECORD_MAX, .client = true};
	struct traffic_secret secret;
	uint8_t expected[72], bytes[50], wire[TLS_STREAM_WRAPPED(50) + TLS_STREAM_REPLIES_MAX];
	size_t used;

	(void)state;
	secret.size = (uint8_t)record_hex(
		"9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5", secret.bytes);
	for (int i = 0; i < TRAFFIC_DIRECTIONS; i++) {
		pair.secrets[i] = secret;
		assert_int_equal(traffic_keys_expand(TRAFFIC_AES_128_GCM, &secret, &pair.keys[i]),
				 0);
	}
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	desk = (struct desk){0};
	assert_int_equal(tls_stream_new(&pair, &desk.stream), 0);
	assert_int_equal(tls_stream_wrap(desk.stream, bytes, sizeof(bytes), wire, &used), 0);
	assert_int_equal(record_hex(hex, expected), used);
	assert_memory_equal(wire, expected, used);
	assert_int_equal(feed(expected, sizeof(expected)), 0);
	assert_int_equal(buffer_size(&desk.got), sizeof(bytes));
	assert_memory_equal(buffer_bytes(&desk.got), bytes, sizeof(bytes));
}

/* Three records, cut in two at every byte, and byte by byte. */
static void any_cut(void **state)
{
	size_t cut = 0, used;

	(void)state;
	start_1_3();
	do {
		desk.used = 0;
		seal(23, "one", 3);
		seal(23, "", 0);
		seal(23, "three", 5);
		used = desk.used;
		assert_int_equal(feed(desk.wire, cut), 0);
		assert_int_equal(feed(desk.wire + cut, used - cut), 0);
		assert_int_equal(buffer_size(&desk.got), 8);
		assert_memory_equal(buffer_bytes(&desk.got), "onethree", 8);
		buffer_deinit(&desk.got);
	} while (++cut <= used);
	desk.used = 0;
	seal(23, "one", 3);
	for (size_t i = 0; i < desk.used; i++) {
		assert_int_equal(buffer_size(&desk.got), 0);
		assert_int_equal(feed(desk.wire + i, 1), 0);
	}
	assert_int_equal(buffer_size(&desk.got), 3);
}

/* RFC 8446 5.4. */
static void padding_is_stripped(void **state)
{
	uint8_t inner[200] = "four\x17";

	(void)state;
	start_1_3();
	/* The fixture adds a type of its own behind the content: here a zero, more padding. */
	assert_int_equal(feed_sealed(0, inner, sizeof(inner)), 0);
	assert_int_equal(buffer_size(&desk.got), 4);
	assert_memory_equal(buffer_bytes(&desk.got), "four", 4);
}

static void short_records_for_who_asked(void **state)
{
	static uint8_t bytes[3000], wire[TLS_STREAM_WRAPPED(3000) + TLS_STREAM_REPLIES_MAX];
	uint8_t plain[RECORD_ROOM], type;
	size_t used, at = 0, count = 0;

	(void)state;
	start_1_3();
	tls_stream_free(desk.stream);
	desk.pair.record_max = 512;
	assert_int_equal(tls_stream_new(&desk.pair, &desk.stream), 0);
	assert_int_equal(tls_stream_wrap(desk.stream, bytes, sizeof(bytes), wire, &used), 0);
	assert_true(used <= TLS_STREAM_WRAPPED(sizeof(bytes)));
	for (; at < used; at += record_size(wire + at), count++)
		assert_int_equal(record_open(&desk.out, wire + at, plain, &type),
				 count < 5 ? 512 : 3000 - 5 * 512);
	assert_int_equal(count, 6);
}

/* --- bad records ----------------------------------------------------------------------------- */

static void altered_bytes_are_refused(void **state)
{
	for (int version = TRAFFIC_TLS_1_2; version <= TRAFFIC_TLS_1_3; version++)
		for (size_t i = RECORD_HEADER; i < RECORD_HEADER + 30; i++) {
			start((enum traffic_version)version, TRAFFIC_AES_256_GCM, true);
			desk.used = 0;
			seal(23, "altered", 7);
			if (i < desk.used) {
				desk.wire[i] ^= 0x40;
				assert_int_equal(feed(desk.wire, desk.used), -EPROTO);
				assert_int_equal(buffer_size(&desk.got), 0);
				assert_non_null(
					strstr(tls_stream_reason(desk.stream), "bad record mac"));
				assert_told(SSL_AD_BAD_RECORD_MAC);
			}
			end(state);
		}
	start_1_3();
}

static void order_is_part_of_it(void **state)
{
	size_t first;

	(void)state;
	start_1_3();
	desk.used = 0;
	seal(23, "one", 3);
	first = desk.used;
	seal(23, "two", 3);
	assert_int_equal(feed(desk.wire + first, desk.used - first), -EPROTO);
	end(state);
	start_1_3();
	seal(23, "one", 3);
	assert_int_equal(feed(desk.wire, desk.used), 0);
	assert_int_equal(feed(desk.wire, desk.used), -EPROTO); /* once more */
	assert_int_equal(buffer_size(&desk.got), 3);
	assert_told(SSL_AD_BAD_RECORD_MAC);
}

/* Told when the header is there: nobody waits for what it promises. */
static void bad_headers_are_refused_at_once(void **state)
{
	static const struct {
		enum traffic_version version;
		uint8_t header[RECORD_HEADER];
		uint8_t alert;
		const char *reason;
	} cases[] = {
		{TRAFFIC_TLS_1_3, {23, 3, 1, 0, 40}, SSL_AD_PROTOCOL_VERSION, "wrong version"},
		{TRAFFIC_TLS_1_2, {23, 3, 4, 0, 40}, SSL_AD_PROTOCOL_VERSION, "wrong version"},
		{TRAFFIC_TLS_1_3,
		 {'G', 'E', 'T', ' ', '/'},
		 SSL_AD_PROTOCOL_VERSION,
		 "wrong version"},
		{TRAFFIC_TLS_1_3, {23, 3, 3, 0x41, 1}, SSL_AD_RECORD_OVERFLOW, "too long"},
		{TRAFFIC_TLS_1_2, {23, 3, 3, 0xff, 0xff}, SSL_AD_RECORD_OVERFLOW, "too long"},
		{TRAFFIC_TLS_1_3, {21, 3, 3, 0, 2}, SSL_AD_UNEXPECTED_MESSAGE, "record type"},
		{TRAFFIC_TLS_1_3, {20, 3, 3, 0, 1}, SSL_AD_UNEXPECTED_MESSAGE, "record type"},
		{TRAFFIC_TLS_1_2, {20, 3, 3, 0, 25}, SSL_AD_UNEXPECTED_MESSAGE, "record type"},
		{TRAFFIC_TLS_1_3, {23, 3, 3, 0, 16}, SSL_AD_BAD_RECORD_MAC, "bad record mac"},
		{TRAFFIC_TLS_1_2, {23, 3, 3, 0, 23}, SSL_AD_BAD_RECORD_MAC, "bad record mac"},
	};

	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		const uint8_t *header = cases[i / 2].header;
		int result = 0;

		start(cases[i / 2].version, TRAFFIC_AES_128_GCM, false);
		for (size_t j = 0; i % 2 && j < RECORD_HEADER; j++)
			result = feed(header + j, 1);
		if (i % 2 == 0)
			result = feed(header, RECORD_HEADER);
		assert_int_equal(result, -EPROTO);
		assert_non_null(strstr(tls_stream_reason(desk.stream), cases[i / 2].reason));
		assert_told(cases[i / 2].alert);
		end(state);
	}
	start_1_3();
}

static void bad_content_is_refused(void **state)
{
	static const uint8_t zeros[40], long_one[RECORD_MAX + 1];
	static const struct {
		uint8_t type;
		const uint8_t *bytes;
		size_t size;
		uint8_t alert;
	} cases[] = {
		{0, zeros, sizeof(zeros), SSL_AD_UNEXPECTED_MESSAGE}, /* padding alone */
		{23, long_one, sizeof(long_one), SSL_AD_RECORD_OVERFLOW},
		{22, zeros, 0, SSL_AD_UNEXPECTED_MESSAGE},
		{21, zeros, 0, SSL_AD_UNEXPECTED_MESSAGE},
		{20, zeros, 1, SSL_AD_UNEXPECTED_MESSAGE},
		{24, zeros, 4, SSL_AD_UNEXPECTED_MESSAGE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		start_1_3();
		assert_int_equal(feed_sealed(cases[i].type, cases[i].bytes, cases[i].size),
				 -EPROTO);
		assert_told(cases[i].alert);
		end(state);
	}
	start_1_3();
}

static void empty_records_are_borne_for_a_while(void **state)
{
	(void)state;
	start_1_3();
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 32; i++)
			assert_int_equal(feed_sealed(23, "", 0), 0);
		if (round == 0)
			assert_int_equal(feed_sealed(23, "data", 4), 0);
	}
	assert_int_equal(feed_sealed(23, "", 0), -EDQUOT);
	assert_string_equal(tls_stream_reason(desk.stream), "peer sends too many empty records");
	assert_told(SSL_AD_UNEXPECTED_MESSAGE);
}

/* --- control records ------------------------------------------------------------------------- */

static void nothing_counts_behind_close_notify(void **state)
{
	(void)state;
	start_1_3();
	desk.used = 0;
	seal(23, "last", 4);
	seal(21, "\1\0", 2);
	seal(23, "more", 4);
	assert_int_equal(feed(desk.wire, desk.used), TLS_STREAM_CLOSED);
	assert_int_equal(feed(desk.wire, desk.used), TLS_STREAM_CLOSED);
	assert_int_equal(buffer_size(&desk.got), 4);
}

/* Several that come before an answer can leave have one answer, under the old key. */
static void key_updates_are_answered_once(void **state)
{
	uint8_t plain[RECORD_ROOM], wire[REPLIES + TLS_STREAM_WRAPPED(4)], type;
	size_t used, first;

	(void)state;
	start_1_3();
	for (int i = 0; i < 3; i++) {
		struct traffic_secret *secret = &desk.pair.secrets[TRAFFIC_RECEIVE];

		assert_int_equal(feed_sealed(22, "\x18\0\0\1\1", 5), 0);
		assert_int_equal(traffic_secret_update(TRAFFIC_AES_128_GCM, secret), 0);
		assert_int_equal(traffic_keys_expand(TRAFFIC_AES_128_GCM, secret, &desk.in), 0);
	}
	assert_int_equal(feed_sealed(23, "data", 4), 0);
	assert_int_equal(buffer_size(&desk.got), 4);
	assert_int_equal(tls_stream_wrap(desk.stream, (const uint8_t *)"four", 4, wire, &used), 0);
	first = record_size(wire);
	assert_int_equal(record_open(&desk.out, wire, plain, &type), 5);
	assert_int_equal(type, 22);
	assert_memory_equal(plain, "\x18\0\0\1\0", 5);
	assert_int_equal(
		traffic_secret_update(TRAFFIC_AES_128_GCM, &desk.pair.secrets[TRAFFIC_SEND]), 0);
	assert_int_equal(traffic_keys_expand(TRAFFIC_AES_128_GCM, &desk.pair.secrets[TRAFFIC_SEND],
					     &desk.out),
			 0);
	assert_int_equal(used, first + record_size(wire + first));
	assert_int_equal(record_open(&desk.out, wire + first, plain, &type), 4);
	assert_memory_equal(plain, "four", 4);
}

static void tls_1_2_has_no_new_keys(void **state)
{
	(void)state;
	start(TRAFFIC_TLS_1_2, TRAFFIC_CHACHA20_POLY1305, true);
	assert_int_equal(tls_stream_refresh(desk.stream), -EOPNOTSUPP);
	assert_int_equal(feed_sealed(22, "\x18\0\0\1\1", 5), -EPROTO);
	assert_told(SSL_AD_UNEXPECTED_MESSAGE);
}

static int fails(void *owner, const uint8_t *bytes, size_t size)
{
	(void)owner, (void)bytes, (void)size;
	return -ENOMEM;
}

static void what_the_receiver_says_counts(void **state)
{
	(void)state;
	start_1_3();
	desk.used = 0;
	seal(23, "data", 4);
	assert_int_equal(tls_stream_unwrap(desk.stream, desk.wire, desk.used, fails, NULL),
			 -ENOMEM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(every_cipher_both_ways, end),
		cmocka_unit_test_teardown(record_of_rfc_8448, end),
		cmocka_unit_test_teardown(any_cut, end),
		cmocka_unit_test_teardown(padding_is_stripped, end),
		cmocka_unit_test_teardown(short_records_for_who_asked, end),
		cmocka_unit_test_teardown(altered_bytes_are_refused, end),
		cmocka_unit_test_teardown(order_is_part_of_it, end),
		cmocka_unit_test_teardown(bad_headers_are_refused_at_once, end),
		cmocka_unit_test_teardown(bad_content_is_refused, end),
		cmocka_unit_test_teardown(empty_records_are_borne_for_a_while, end),
		cmocka_unit_test_teardown(nothing_counts_behind_close_notify, end),
		cmocka_unit_test_teardown(key_updates_are_answered_once, end),
		cmocka_unit_test_teardown(tls_1_2_has_no_new_keys, end),
		cmocka_unit_test_teardown(what_the_receiver_says_counts, end),
	};

	return cmocka_run_group_tests_name("tls_stream", tests, NULL, NULL);
}
