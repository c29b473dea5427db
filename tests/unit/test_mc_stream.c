/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every vector is put against the end of a readable page, so that reading one byte too many
 * traps, and cut at every place.
 */
#include "base/error.h"
#include "mc/mc_stream.h"
#include "mc_vectors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define FRAME_MAX 8200
#define PAGE_SIZE 65536

static uint8_t *page_end; /* the first byte that must not be touched */

static int make_page(void **state)
{
	uint8_t *pages = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	if (pages == MAP_FAILED || mprotect(pages + PAGE_SIZE, PAGE_SIZE, PROT_NONE) < 0)
		return -1;
	page_end = pages + PAGE_SIZE;
	return 0;
}

/* A copy of the bytes that ends where the page does. */
static const uint8_t *at_page_end(const void *bytes, size_t size)
{
	memcpy(page_end - size, bytes, size);
	return page_end - size;
}

static enum mc_split split(const struct mc_stream *stream, enum mc_direction direction,
			   const void *bytes, size_t size, struct mc_frame *frame)
{
	return mc_stream_split(stream, direction, at_page_end(bytes, size), size, FRAME_MAX, frame);
}

/* MORE with a sensible `need` for every prefix, then FRAME; also with other bytes behind it. */
static void check_every_prefix(const struct mc_stream *stream, enum mc_direction direction,
			       const struct mc_vector *vector, const uint8_t *bytes, size_t size)
{
	uint8_t longer[MC_VECTOR_SIZE + 3];
	struct mc_frame frame;

	for (size_t i = 0; i < size; i++) {
		assert_int_equal(split(stream, direction, bytes, i, &frame), MC_SPLIT_MORE);
		assert_in_range(frame.need, i + 1, size);
	}
	memcpy(longer, bytes, size);
	memset(longer + size, 0xff, 3);
	for (size_t extra = 0; extra <= 3; extra++) {
		assert_int_equal(split(stream, direction, longer, size + extra, &frame),
				 MC_SPLIT_FRAME);
		assert_int_equal(frame.length, size);
		assert_int_equal(frame.family, vector->family);
		assert_int_equal(frame.code, vector->code);
	}
	mc_stream_split(stream, direction, bytes, size, size, &frame);
	assert_int_equal(mc_stream_split(stream, direction, bytes, size, size - 1, &frame),
			 MC_SPLIT_BAD);
}

static void test_vectors_at_every_prefix(void **state)
{
	(void)state;
	for (size_t i = 0; i < MC_VECTOR_COUNT; i++) {
		const struct mc_vector *vector = &MC_VECTORS[i];
		uint8_t bytes[MC_VECTOR_SIZE];
		size_t size = mc_vector_bytes(vector->code, vector->request, bytes);
		struct mc_stream stream = {0};
		struct mc_frame frame;

		check_every_prefix(&stream, MC_REQUEST, vector, bytes, size);
		assert_int_equal(split(&stream, MC_REQUEST, bytes, size, &frame), MC_SPLIT_FRAME);
		mc_stream_passed(&stream, MC_REQUEST, bytes, &frame);
		if (!vector->answer)
			continue;
		size = mc_vector_bytes(vector->code, vector->answer, bytes);
		check_every_prefix(&stream, MC_ANSWER, vector, bytes, size);
	}
}

/* All requests in a row through one stream, `step` bytes at a time; answers in between. */
static void run_concatenated(size_t step)
{
	static uint8_t all[MC_VECTOR_COUNT * MC_VECTOR_SIZE];
	struct mc_stream stream = {0};
	size_t total = 0;
	size_t start = 0;
	size_t seen = 0;
	size_t next = 0;

	for (size_t i = 0; i < MC_VECTOR_COUNT; i++)
		total += mc_vector_bytes(MC_VECTORS[i].code, MC_VECTORS[i].request, all + total);
	while (start < total) {
		uint8_t answer[MC_VECTOR_SIZE];
		struct mc_frame frame;
		enum mc_split result =
			split(&stream, MC_REQUEST, all + start, seen - start, &frame);

		if (result == MC_SPLIT_MORE) {
			seen = seen + step < total ? seen + step : total;
			continue;
		}
		assert_int_equal(result, MC_SPLIT_FRAME);
		mc_stream_passed(&stream, MC_REQUEST, all + start, &frame);
		start += frame.length;
		if (MC_VECTORS[next].answer) {
			size_t size = mc_vector_bytes(MC_VECTORS[next].code,
						      MC_VECTORS[next].answer, answer);

			assert_int_equal(split(&stream, MC_ANSWER, answer, size, &frame),
					 MC_SPLIT_FRAME);
			mc_stream_passed(&stream, MC_ANSWER, answer, &frame);
		}
		next++;
	}
	assert_int_equal(next, MC_VECTOR_COUNT);
}

static void test_vectors_concatenated(void **state)
{
	(void)state;
	for (size_t step = 1; step < 100; step++)
		run_concatenated(step);
}

struct sample {
	enum mc_code code;
	const char *text;
	size_t bad_from; /* the shortest prefix that must be refused */
};

static void test_bad_requests(void **state)
{
	static const struct sample SAMPLES[] = {
		{MC_CODE_BINARY, "5001", 2},
		{MC_CODE_BINARY, "d000", 1},
		{MC_CODE_BINARY, "5700", 1},
		{MC_CODE_BINARY, "6800", 1},
		{MC_CODE_BINARY, "ff", 1},
		{MC_CODE_BINARY, "0a", 1},
		{MC_CODE_BINARY, "0eff0a00", 1},
		{MC_CODE_BINARY, "17ff0a00", 1},
		{MC_CODE_BINARY, "500000ffff030005001000010400", 9}, /* shorter than a command */
		{MC_CODE_BINARY, "54003412010000ffff03000c00", 13},  /* reserved not zero */
		{MC_CODE_BINARY, "500000ffff0300ffff", 9},           /* beyond the frame limit */
		{MC_CODE_BINARY, "08ff0a00", 1},                     /* monitor, no registration */
		{MC_CODE_BINARY, "00ff0a0064000000204d0801", 12},    /* not 00 after the points */
		{MC_CODE_BINARY, "05ff0a000000", 6},                 /* no points at all */
		{MC_CODE_BINARY, "60010100", 4},
		{MC_CODE_ASCII, "5100", 2},
		{MC_CODE_ASCII, "5001", 4},
		{MC_CODE_ASCII, "D000", 1},
		{MC_CODE_ASCII, "0G", 2},
		{MC_CODE_ASCII, "0A", 2},
		{MC_CODE_ASCII, "GET / HTTP/1.1", 1},
		{MC_CODE_ASCII, "500000FF03FF00000B", 18}, /* shorter than a command */
		{MC_CODE_ASCII, "500000FF03FF0000-1", 18},
		{MC_CODE_ASCII, "54001234000100FF03FF000018", 26},
		{MC_CODE_ASCII, "00FF000A4D2000000064 800", 24},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(SAMPLES); i++) {
		const struct mc_stream stream = {0};
		uint8_t bytes[MC_VECTOR_SIZE];
		size_t size = mc_vector_bytes(SAMPLES[i].code, SAMPLES[i].text, bytes);
		struct mc_frame frame;

		for (size_t k = 0; k <= size; k++)
			assert_int_equal(split(&stream, MC_REQUEST, bytes, k, &frame),
					 k < SAMPLES[i].bad_from ? MC_SPLIT_MORE : MC_SPLIT_BAD);
	}
}

struct exchange {
	enum mc_code code;
	const char *request; /* NULL: none was sent */
	const char *answer;
	enum mc_split expected;
};

static void test_answers(void **state)
{
	static const char READ_3E[] = "500000ffff03000c00100001040000640000a80200";
	static const char READ_4E[] = "54003412000000ffff03000c00100001040000640000a80200";
	static const char READ_1E[] = "01ff0a006400000020440200";
	static const char BITS_1E[] = "00FF000A4D20000000640300";
	static const struct exchange EXCHANGES[] = {
		{MC_CODE_BINARY, NULL, "d00000ffff030002000000", MC_SPLIT_BAD},
		{MC_CODE_BINARY, READ_3E, "d00000ffff030002000000", MC_SPLIT_FRAME},
		{MC_CODE_BINARY, READ_3E, "d00000ffff0300020051c0", MC_SPLIT_FRAME},
		{MC_CODE_BINARY, READ_3E, "d00000ffff0300010000", MC_SPLIT_BAD},
		{MC_CODE_BINARY, READ_3E, "d4003412000000ffff030002000000", MC_SPLIT_BAD},
		{MC_CODE_BINARY, READ_3E, "500000ffff030002000000", MC_SPLIT_BAD},
		{MC_CODE_BINARY, READ_3E, "8100", MC_SPLIT_BAD},
		{MC_CODE_BINARY, READ_3E, "44303030", MC_SPLIT_BAD}, /* ASCII to a binary one */
		{MC_CODE_BINARY, READ_4E, "d00000ffff030002000000", MC_SPLIT_BAD},
		{MC_CODE_BINARY, READ_4E, "d4003412000000ffff030002000000", MC_SPLIT_FRAME},
		{MC_CODE_BINARY, READ_1E, "d000", MC_SPLIT_BAD},
		{MC_CODE_BINARY, READ_1E, "8100010002", MC_SPLIT_MORE},
		{MC_CODE_BINARY, READ_1E, "810001000200", MC_SPLIT_FRAME},
		{MC_CODE_ASCII, BITS_1E, "8000101", MC_SPLIT_MORE}, /* odd: one more '0' */
		{MC_CODE_ASCII, BITS_1E, "80001010", MC_SPLIT_FRAME},
		{MC_CODE_ASCII, BITS_1E, "8156", MC_SPLIT_BAD}, /* of another command */
		{MC_CODE_ASCII, BITS_1E, "8056", MC_SPLIT_FRAME},
		{MC_CODE_ASCII, BITS_1E, "805B", MC_SPLIT_MORE},
		{MC_CODE_ASCII, BITS_1E, "80 0", MC_SPLIT_BAD},
		{MC_CODE_ASCII, "500000FF03FF000018001004010000D*0001000003",
		 "D00000FF03FF0000030000", MC_SPLIT_BAD},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(EXCHANGES); i++) {
		const struct exchange *exchange = &EXCHANGES[i];
		struct mc_stream stream = {0};
		uint8_t bytes[MC_VECTOR_SIZE];
		struct mc_frame frame;
		size_t size;

		if (exchange->request) {
			size = mc_vector_bytes(exchange->code, exchange->request, bytes);
			assert_int_equal(split(&stream, MC_REQUEST, bytes, size, &frame),
					 MC_SPLIT_FRAME);
			mc_stream_passed(&stream, MC_REQUEST, bytes, &frame);
		}
		size = mc_vector_bytes(exchange->code, exchange->answer, bytes);
		assert_int_equal(split(&stream, MC_ANSWER, bytes, size, &frame),
				 exchange->expected);
	}
}

static void pass(struct mc_stream *stream, enum mc_direction direction, const char *hex,
		 size_t expected)
{
	uint8_t bytes[MC_VECTOR_SIZE];
	size_t size = mc_vector_bytes(MC_CODE_BINARY, hex, bytes);
	struct mc_frame frame;

	assert_int_equal(split(stream, direction, bytes, size, &frame), MC_SPLIT_FRAME);
	assert_int_equal(frame.length, expected);
	mc_stream_passed(stream, direction, bytes, &frame);
}

static void test_request_waits_for_1e_answer(void **state)
{
	struct mc_stream stream = {0};
	struct mc_frame frame;

	(void)state;
	pass(&stream, MC_REQUEST, "15ff0a00", 4);
	assert_int_equal(split(&stream, MC_REQUEST, "", 0, &frame), MC_SPLIT_MORE);
	assert_int_equal(split(&stream, MC_REQUEST, "\x15", 1, &frame), MC_SPLIT_WAIT);
	assert_int_equal(split(&stream, MC_REQUEST, "\x50", 1, &frame), MC_SPLIT_WAIT);
	pass(&stream, MC_ANSWER, "9500f300", 4);
	assert_int_equal(split(&stream, MC_ANSWER, "\x95", 1, &frame), MC_SPLIT_BAD);
	pass(&stream, MC_REQUEST, "500000ffff03000600100001010000", 15);
	/* 3E requests need not wait. */
	pass(&stream, MC_REQUEST, "500000ffff03000600100001010000", 15);
}

static void test_monitor_answer_follows_registration(void **state)
{
	struct mc_stream stream = {0};
	struct mc_frame frame;

	(void)state;
	pass(&stream, MC_REQUEST,
	     "07ff0a00020064000000204470000000"
	     "2044",
	     18);
	pass(&stream, MC_ANSWER, "8700", 2);
	pass(&stream, MC_REQUEST, "09ff0a00", 4);
	pass(&stream, MC_ANSWER, "890001000200", 6);
	/* A refused registration leaves the old one. */
	pass(&stream, MC_REQUEST, "07ff0a0001006400000020ff", 12);
	pass(&stream, MC_ANSWER, "8756", 2);
	pass(&stream, MC_REQUEST, "09ff0a00", 4);
	pass(&stream, MC_ANSWER, "890001000200", 6);
	/* Bits are registered apart. */
	assert_int_equal(split(&stream, MC_REQUEST, "\x08", 1, &frame), MC_SPLIT_BAD);
	pass(&stream, MC_REQUEST, "06ff0a00030064000000204d65000000204d66000000204d", 24);
	pass(&stream, MC_ANSWER, "8600", 2);
	pass(&stream, MC_REQUEST, "08ff0a00", 4);
	pass(&stream, MC_ANSWER, "88001010", 4);
}

static void test_1e_points_zero_means_256(void **state)
{
	struct mc_stream stream = {0};
	uint8_t bytes[12 + 512] = {0x03, 0xff, 0x0a, 0, 0, 0, 0, 0, 0x20, 0x44, 0, 0};
	struct mc_frame frame;

	(void)state;
	assert_int_equal(split(&stream, MC_REQUEST, bytes, sizeof(bytes) - 1, &frame),
			 MC_SPLIT_MORE);
	assert_int_equal(frame.need, sizeof(bytes));
	assert_int_equal(split(&stream, MC_REQUEST, bytes, sizeof(bytes), &frame), MC_SPLIT_FRAME);
	bytes[0] = 0x01;
	assert_int_equal(split(&stream, MC_REQUEST, bytes, 12, &frame), MC_SPLIT_FRAME);
	mc_stream_passed(&stream, MC_REQUEST, bytes, &frame);
	assert_int_equal(split(&stream, MC_ANSWER, "\x81\x00", 2, &frame), MC_SPLIT_MORE);
	assert_int_equal(frame.need, 2 + 512);
}

/* Told of a frame that mc_stream_split() would not have found, it expects no answer. */
static void test_passed_what_is_no_request(void **state)
{
	static const struct sample SAMPLES[] = {
		{MC_CODE_ASCII, "0Gff0a00", 0},
		{MC_CODE_BINARY, "17ff0a00", 0},
		{MC_CODE_BINARY, "00ff0a0064000000204d0801", 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(SAMPLES); i++) {
		uint8_t bytes[MC_VECTOR_SIZE];
		struct mc_stream stream = {0};
		struct mc_frame frame = {.family = MC_FAMILY_1E, .code = SAMPLES[i].code};

		frame.length = mc_vector_bytes(SAMPLES[i].code, SAMPLES[i].text, bytes);
		mc_stream_passed(&stream, MC_REQUEST, at_page_end(bytes, frame.length), &frame);
		assert_int_equal(split(&stream, MC_ANSWER, "\x80\x00", 2, &frame), MC_SPLIT_BAD);
		assert_int_equal(split(&stream, MC_REQUEST, "\x15", 1, &frame), MC_SPLIT_MORE);
	}
}

/* As the npm client mcprotocol writes it, against the manual. */
static void test_lower_case(void **state)
{
	static const char REQUEST_1E[] = "01ff000a4420000000640a00";
	static const char REQUEST_3E[] = "500000ff03ff00001c00101401000100M*000100000"
					 "41011";
	struct mc_stream stream = {0};
	struct mc_frame frame;

	(void)state;
	assert_int_equal(split(&stream, MC_REQUEST, REQUEST_3E, strlen(REQUEST_3E), &frame),
			 MC_SPLIT_FRAME);
	assert_int_equal(split(&stream, MC_REQUEST, REQUEST_1E, strlen(REQUEST_1E), &frame),
			 MC_SPLIT_FRAME);
	mc_stream_passed(&stream, MC_REQUEST, (const uint8_t *)REQUEST_1E, &frame);
	assert_int_equal(split(&stream, MC_ANSWER, "8100", 4, &frame), MC_SPLIT_MORE);
	assert_int_equal(frame.need, 4 + 10 * 4);
}

static void test_e71_buffers(void **state)
{
	struct mc_stream stream = {0};

	(void)state;
	pass(&stream, MC_REQUEST, "6000020001000200", 8);
	pass(&stream, MC_ANSWER, "e000", 2);
	pass(&stream, MC_REQUEST, "610000010200", 6);
	pass(&stream, MC_ANSWER, "e10011112222", 6);
	pass(&stream, MC_REQUEST, "6200000101001234", 8);
	pass(&stream, MC_ANSWER, "e250", 2);
}

/* A head's worth of any answer tells the length, and one byte less does not. */
static void answer_heads_tell_the_length(void **state)
{
	static const struct {
		enum mc_family family;
		enum mc_code code;
		const char *answer;
		size_t head, length;
	} rows[] = {
		{MC_FAMILY_3E, MC_CODE_BINARY, "\xd0\0\0\xff\xff\x03\0\x04\0\0\0\x34\x12", 9, 13},
		{MC_FAMILY_3E, MC_CODE_ASCII, "D00000FF03FF000008000012AB", 18, 26},
		{MC_FAMILY_4E, MC_CODE_BINARY, "\xd4\0\1\0\0\0\0\xff\xff\x03\0\x04\0\0\0\x34\x12",
		 13, 17},
		{MC_FAMILY_4E, MC_CODE_ASCII, "D4000001000000FF03FF000008000012AB", 26, 34},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct mc_stream stream = {.family = (uint8_t)rows[i].family,
					   .code = (uint8_t)rows[i].code};
		const uint8_t *bytes = (const uint8_t *)rows[i].answer;
		struct mc_frame frame;

		assert_int_equal(mc_stream_answer_head(&stream), rows[i].head);
		assert_in_range(rows[i].head, 1, MC_STREAM_HEAD_MAX);
		assert_int_equal(
			mc_stream_split(&stream, MC_ANSWER, bytes, rows[i].head - 1, 8200, &frame),
			MC_SPLIT_MORE);
		assert_int_equal(frame.length, 0);
		assert_int_equal(
			mc_stream_split(&stream, MC_ANSWER, bytes, rows[i].head, 8200, &frame),
			MC_SPLIT_MORE);
		assert_int_equal(frame.length, rows[i].length);
	}
}

/* A 1E answer's length is told by its complete code and the request before. */
static void a_1e_head_tells_the_length(void **state)
{
	static const uint8_t request[] = {0x01, 0xff, 0x0a, 0, 0x64, 0, 0, 0, 0x20, 0x44, 3, 0};
	struct mc_stream stream = {0};
	struct mc_frame frame;

	(void)state;
	assert_int_equal(mc_stream_answer_head(&stream), 1);
	assert_int_equal(
		mc_stream_split(&stream, MC_REQUEST, request, sizeof(request), 8200, &frame),
		MC_SPLIT_FRAME);
	mc_stream_passed(&stream, MC_REQUEST, request, &frame);
	assert_int_equal(mc_stream_answer_head(&stream), 2);
	assert_int_equal(
		mc_stream_split(&stream, MC_ANSWER, (const uint8_t *)"\x81\0", 2, 8200, &frame),
		MC_SPLIT_MORE);
	assert_int_equal(frame.length, 8);
}

static void what_is_no_mc_is_named(void **state)
{
	static const uint8_t melsoft[] = {0x57, 0x00}, answer[] = {0xd7, 0x00};

	(void)state;
	assert_non_null(strstr(mc_stream_foreign(melsoft, sizeof(melsoft)), "MELSOFT"));
	assert_non_null(strstr(mc_stream_foreign(answer, sizeof(answer)), "MELSOFT"));
	assert_string_equal(mc_stream_foreign((const uint8_t *)"GET / HTTP/1.0", 14), "HTTP");
	assert_string_equal(mc_stream_foreign((const uint8_t *)"POST", 4), "HTTP");
	assert_null(mc_stream_foreign((const uint8_t *)"GET", 3));
	assert_null(mc_stream_foreign(melsoft, 1));
	assert_null(mc_stream_foreign(melsoft, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors_at_every_prefix),
		cmocka_unit_test(test_vectors_concatenated),
		cmocka_unit_test(test_bad_requests),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_request_waits_for_1e_answer),
		cmocka_unit_test(test_monitor_answer_follows_registration),
		cmocka_unit_test(test_1e_points_zero_means_256),
		cmocka_unit_test(test_passed_what_is_no_request),
		cmocka_unit_test(test_lower_case),
		cmocka_unit_test(test_e71_buffers),
		cmocka_unit_test(answer_heads_tell_the_length),
		cmocka_unit_test(a_1e_head_tells_the_length),
		cmocka_unit_test(what_is_no_mc_is_named),
	};

	return cmocka_run_group_tests(tests, make_page, NULL);
}
