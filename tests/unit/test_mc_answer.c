/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What belongs to a request: the vectors' answers and composed ones, in both codes; every length
 * and every bit of a head that is another. Heads lie at the end of a readable page.
 */
#include "mc_fixture.h"
#include "mc_vectors.h"

#include <sys/mman.h>

#define PAGE_SIZE 4096

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

/* The first `size` bytes of an answer of `length`, and nothing readable behind them. */
static enum mc_answer_fit fits(const struct mc_echo *echo, const uint8_t *answer, size_t size,
			       size_t length, uint16_t *end_code)
{
	memcpy(page_end - size, answer, size);
	*end_code = 0xdead;
	return mc_answer_fits(echo, page_end - size, size, length, end_code);
}

static void assert_fit(const struct mc_echo *echo, const uint8_t *answer, size_t length,
		       enum mc_answer_fit expected)
{
	uint16_t end_code;
	enum mc_answer_fit found = fits(echo, answer, mc_answer_head(echo), length, &end_code);

	assert_string_equal(mc_answer_fit_name(found), mc_answer_fit_name(expected));
	if (found != MC_ANSWER_FITS && found != MC_ANSWER_LENGTH)
		assert_int_equal(end_code, 0);
}

static void expect_text(struct mc_echo *echo, enum mc_code code, const char *text)
{
	uint8_t bytes[MC_VECTOR_SIZE];
	size_t size = mc_vector_bytes(code, text, bytes);
	struct mc_request request;
	struct mc_access access;

	assert_int_equal(mc_frame_parse_request(bytes, size, &request), 0);
	mc_access_read(&request, NULL, NULL, &access);
	mc_answer_expect(echo, &request, &access);
}

static void assert_text(const struct mc_echo *echo, const char *answer, enum mc_answer_fit expected)
{
	uint8_t bytes[MC_VECTOR_SIZE];
	size_t size = mc_vector_bytes(echo->code, answer, bytes);

	assert_fit(echo, bytes, size, expected);
}

/* --- vectors --------------------------------------------------------------------------------- */

static bool is_known(const struct mc_vector *vector)
{
	return vector->family != MC_FAMILY_1E && vector->command != 0x0101 &&
	       vector->command != 0x0802 && vector->command != 0x1006;
}

static void test_vectors(void **state)
{
	size_t known = 0;

	(void)state;
	for (size_t i = 0; i < MC_VECTOR_COUNT; i++) {
		const struct mc_vector *vector = &MC_VECTORS[i];
		uint8_t bytes[MC_VECTOR_SIZE];
		struct mc_answer answer;
		struct mc_echo echo;
		uint16_t end_code;
		size_t size;

		expect_text(&echo, vector->code, vector->request);
		if (!vector->answer) {
			assert_int_equal(echo.size, MC_ANSWER_ANY);
			continue;
		}
		size = mc_vector_bytes(vector->code, vector->answer, bytes);
		assert_int_equal(mc_frame_parse_answer(bytes, size, vector->code, &answer), 0);
		if (vector->end_code == 0) {
			assert_int_equal(echo.size,
					 is_known(vector) ? answer.data_size : MC_ANSWER_ANY);
			known += is_known(vector);
		}
		assert_true(mc_answer_head(&echo) <= MC_ANSWER_HEAD_MAX);
		for (size_t k = 0; k < mc_answer_head(&echo); k++) {
			assert_int_equal(fits(&echo, bytes, k, size, &end_code), MC_ANSWER_SHORT);
			assert_int_equal(end_code, 0);
		}
		for (size_t k = mc_answer_head(&echo); k <= size; k++) {
			assert_int_equal(fits(&echo, bytes, k, size, &end_code), MC_ANSWER_FITS);
			assert_int_equal(end_code, vector->end_code);
		}
	}
	assert_in_range(known, 20, MC_VECTOR_COUNT);
}

/* An answer to one vector belongs to no other of another family, code or serial number. */
static void test_vectors_crossed(void **state)
{
	(void)state;
	for (size_t i = 0; i < MC_VECTOR_COUNT; i++) {
		struct mc_echo echo;

		expect_text(&echo, MC_VECTORS[i].code, MC_VECTORS[i].request);
		for (size_t k = 0; k < MC_VECTOR_COUNT; k++) {
			const struct mc_vector *other = &MC_VECTORS[k];
			bool same = MC_VECTORS[i].family == other->family &&
				    MC_VECTORS[i].code == other->code &&
				    (other->family != MC_FAMILY_1E ||
				     MC_VECTORS[i].command == other->command);
			uint8_t bytes[MC_VECTOR_SIZE] = {0};
			enum mc_answer_fit fit;
			uint16_t end_code;
			size_t size;

			if (!other->answer)
				continue;
			size = mc_vector_bytes(other->code, other->answer, bytes);
			fit = fits(&echo, bytes, sizeof(bytes), size, &end_code);
			assert_int_equal(fit != MC_ANSWER_SUBHEADER, same);
			if (same)
				assert_true(fit == MC_ANSWER_FITS || fit == MC_ANSWER_LENGTH);
		}
	}
}

/* --- sizes ----------------------------------------------------------------------------------- */

static void test_sizes(void **state)
{
	static const enum mc_family FAMILIES[] = {MC_FAMILY_3E, MC_FAMILY_4E};
	static struct composed it;

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(MC_SAMPLES); i++) {
		const struct mc_sample *sample = &MC_SAMPLES[i / 2];

		FOR_BOTH(code)
		{
			struct mc_access access =
				compose_sample(&it, FAMILIES[i % 2], code, sample);
			uint16_t size = mc_answer_size(&it.request, &access);

			assert_int_equal(access.rule, MC_RULE_NONE);
			if (size != sample->answer[code])
				fail_msg("%04X %04X %s: %u", sample->command, sample->subcommand,
					 sample->data, size);
		}
	}
}

/* Of commands that no sample tells the answer of nothing is expected, whatever their data. */
static void test_other_commands(void **state)
{
	size_t known = 0;

	(void)state;
	for (uint32_t code = 0; code <= UINT16_MAX; code++) {
		const struct mc_request request = {.family = MC_FAMILY_3E,
						   .command = (uint16_t)code,
						   .data = (const uint8_t *)""};
		bool told = false;
		struct mc_access access;

		for (size_t i = 0; i < ARRAY_SIZE(MC_SAMPLES); i++)
			told |= MC_SAMPLES[i].command == code &&
				MC_SAMPLES[i].answer[MC_CODE_BINARY] != MC_ANSWER_ANY;
		mc_access_read(&request, NULL, NULL, &access);
		known += told;
		if (!told)
			assert_int_equal(mc_answer_size(&request, &access), MC_ANSWER_ANY);
	}
	assert_int_equal(known, 18);
}

/* Every count, not only those of the samples. */
static void test_every_count(void **state)
{
	static struct composed it;

	(void)state;
	FOR_BOTH(code)
	{
		uint32_t digits = code == MC_CODE_ASCII ? 2 : 1, most = 7168 / digits;

		for (uint32_t count = 1; count <= most; count++) {
			struct mc_access access;

			compose(&it, code, 0x0401, 1);
			put_device(&it, "M0");
			put(&it, count, 2);
			access = composed_end(&it);
			assert_int_equal(mc_answer_size(&it.request, &access),
					 digits == 2 ? count : count / 2 + count % 2);
		}
		for (uint32_t words = 0; words <= 192; words++) {
			uint32_t dwords = words % 7;
			struct mc_access access;

			compose(&it, code, 0x0403, 0);
			put(&it, words, 1);
			put(&it, dwords, 1);
			for (uint32_t i = 0; i < words + dwords; i++)
				put_device(&it, "W1F");
			access = composed_end(&it);
			assert_int_equal(mc_answer_size(&it.request, &access),
					 words == 0 || words + dwords > 192
						 ? MC_ANSWER_ANY
						 : digits * (2 * words + 4 * dwords));
		}
	}
}

struct request_text {
	uint16_t command, subcommand;
	const char *data;
};

/* Devices of 32 bits: a double word is one of them, but what is a word? */
static void test_wide_devices(void **state)
{
	static const struct request_text UNSURE[] = {
		{0x0401, 2, "LTN0 2:4"},
		{0x0401, 2, "LZ0 2:1"},
		{0x0403, 2, "1:2 1:0 D0 LSTN1"},
		{0x0406, 2, "1:2 1:0 D0 2:1 LCN0 2:2"},
	};
	static const struct request_text SURE[] = {
		{0x0401, 3, "LTS0 2:4"},
		{0x0403, 2, "1:0 1:1 LTN0"},
		{0x1401, 2, "LTN0 2:1 2:7"},
		{0x0401, 2, "RD0 2:1"},
	};
	static const uint16_t SIZES[] = {2, 4, 0, 2};
	static struct composed it;
	struct mc_access access;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		compose(&it, MC_CODE_BINARY, UNSURE[i].command, UNSURE[i].subcommand);
		put_text(&it, UNSURE[i].data);
		access = composed_end(&it);
		assert_int_equal(access.rule, MC_RULE_NONE);
		assert_int_equal(mc_answer_size(&it.request, &access), MC_ANSWER_ANY);
		compose(&it, MC_CODE_BINARY, SURE[i].command, SURE[i].subcommand);
		put_text(&it, SURE[i].data);
		access = composed_end(&it);
		assert_int_equal(mc_answer_size(&it.request, &access), SIZES[i]);
	}
}

/* What passes in spite of a fault, because a policy lists it or observes: anything may come. */
static void test_faulty_requests(void **state)
{
	static const struct request_text FAULTY[] = {
		{0x0401, 0, "D100 2:0"},          {0x0401, 0, "D100 2:961"},
		{0x0401, 0, "D100 2:1 1:0"},      {0x0401, 0, "D100"},
		{0x0401, 1, "D100 2:1"},          {0x0401, 0, "TS0 2:1"},
		{0x0401, 0x80, "D100 2:1"},       {0x0401, 0x81, "M100 2:1"},
		{0x0401, 0x82, "D100 2:1"},       {0x0401, 4, "D100 2:1"},
		{0x0403, 0x80, "1:1 1:0 D100"},   {0x0403, 1, "1:1 1:0 D100"},
		{0x0406, 0x80, "1:1 1:0 D0 2:1"}, {0x1401, 0x80, "D100 2:1 2:5"},
		{0x1402, 0x81, "1:1 M0 1:1"},     {0x0613, 0, "4:0 2:481"},
		{0x0613, 1, "4:0 2:1"},           {0x0619, 0, "2:5 'ABCD"},
		{0x0619, 0, "2:2 'XY"},           {0x1002, 0, "2:7"},
		{0x1630, 1, "2:4 'pass"},         {0x4242, 0, ""},
	};
	static struct composed it;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(FAULTY); i++) {
		FOR_BOTH(code)
		{
			struct mc_access access;

			compose(&it, code, FAULTY[i].command, FAULTY[i].subcommand);
			put_text(&it, FAULTY[i].data);
			access = composed_end(&it);
			assert_int_not_equal(access.rule, MC_RULE_NONE);
			assert_int_equal(mc_answer_size(&it.request, &access), MC_ANSWER_ANY);
		}
	}
}

/* --- lengths --------------------------------------------------------------------------------- */

/* Of all lengths that the field can say only one fits, but with any other end code all of them. */
static void test_every_length(void **state)
{
	static struct composed it;
	uint8_t answer[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(MC_SAMPLES); i++) {
		FOR_BOTH(code)
		{
			const struct mc_sample *sample = &MC_SAMPLES[i];
			struct mc_access access = compose_sample(&it, MC_FAMILY_4E, code, sample);
			struct mc_echo echo;
			size_t right;

			mc_answer_expect(&echo, &it.request, &access);
			right = mc_answer_head(&echo) + echo.size;
			for (size_t length = mc_answer_head(&echo); length < 4000; length++) {
				bool good = echo.size == MC_ANSWER_ANY || length == right;

				assert_int_not_equal(mc_frame_put_answer(&it.request, NULL, 0,
									 answer, sizeof(answer)),
						     0);
				assert_fit(&echo, answer, length,
					   good ? MC_ANSWER_FITS : MC_ANSWER_LENGTH);
				assert_int_not_equal(mc_frame_put_error(&it.request, 0x0055, 0,
									answer, sizeof(answer)),
						     0);
				assert_fit(&echo, answer, length, MC_ANSWER_FITS);
			}
		}
	}
}

/* --- heads ----------------------------------------------------------------------------------- */

/* What a flipped bit of a binary 4E head means. */
static enum mc_answer_fit meaning(size_t at)
{
	if (at < 2)
		return MC_ANSWER_SUBHEADER;
	return at < 4 ? MC_ANSWER_SERIAL : MC_ANSWER_FITS;
}

static void test_every_bit_of_a_head(void **state)
{
	static const char REQUEST[] = "54003412000000ffff03000c00100001040000640000a80100";
	uint8_t bytes[MC_VECTOR_SIZE], answer[MC_VECTOR_SIZE];
	struct mc_echo echo;
	size_t size;

	(void)state;
	expect_text(&echo, MC_CODE_BINARY, REQUEST);
	size = mc_vector_bytes(MC_CODE_BINARY, "d4003412000000ffff030004000000d204", bytes);
	assert_int_equal(mc_answer_head(&echo), 15);
	assert_fit(&echo, bytes, size, MC_ANSWER_FITS);
	for (size_t bit = 0; bit < 8 * size; bit++) {
		memcpy(answer, bytes, size);
		answer[bit / 8] ^= (uint8_t)(1U << bit % 8);
		assert_fit(&echo, answer, size, meaning(bit / 8));
	}
}

static void test_serials(void **state)
{
	struct mc_echo echo;

	(void)state;
	expect_text(&echo, MC_CODE_ASCII, "540012AB000000FF03FF000018001004010000D*0001000001");
	assert_int_equal(mc_answer_head(&echo), MC_ANSWER_HEAD_MAX);
	assert_text(&echo, "D40012AB000000FF03FF00000800001995", MC_ANSWER_FITS);
	assert_text(&echo, "D40012AC000000FF03FF00000800001995", MC_ANSWER_SERIAL);
	assert_text(&echo, "D400AB12000000FF03FF00000800001995", MC_ANSWER_SERIAL);
	assert_text(&echo, "D40012A?000000FF03FF00000800001995", MC_ANSWER_SERIAL);
	/* The reserved field and the route are not judged. */
	assert_text(&echo, "D40012ABFFFF01020300020008C0591995", MC_ANSWER_FITS);
	/* Small letters come back as capitals from who reads them as a number. */
	expect_text(&echo, MC_CODE_ASCII, "540012ab000000FF03FF000018001004010000D*0001000001");
	assert_text(&echo, "D40012AB000000FF03FF00000800001995", MC_ANSWER_FITS);
	assert_text(&echo, "D40012ab000000FF03FF00000800001995", MC_ANSWER_FITS);
	assert_text(&echo, "D40012ac000000FF03FF00000800001995", MC_ANSWER_SERIAL);
	/* Characters that are no number, as they are. */
	expect_text(&echo, MC_CODE_ASCII, "5400x9Z-000000FF03FF000018001004010000D*0001000001");
	assert_text(&echo, "D400x9Z-000000FF03FF00000800001995", MC_ANSWER_FITS);
	assert_text(&echo, "D400X9Z-000000FF03FF00000800001995", MC_ANSWER_SERIAL);
	/* In binary code letters are numbers. */
	expect_text(&echo, MC_CODE_BINARY, "54006162000000ffff03000c00100001040000640000a80100");
	assert_text(&echo, "d4006162000000ffff030004000000d204", MC_ANSWER_FITS);
	assert_text(&echo, "d4004142000000ffff030004000000d204", MC_ANSWER_SERIAL);
}

/* 3E has nothing to echo but the subheader. */
static void test_3e(void **state)
{
	struct mc_echo echo;

	(void)state;
	expect_text(&echo, MC_CODE_BINARY, "500000ffff03000c00100001040000640000a80200");
	assert_int_equal(mc_answer_head(&echo), 11);
	assert_text(&echo, "d00000ffff03000600000034120200", MC_ANSWER_FITS);
	assert_text(&echo, "d00001020003000600000034120200", MC_ANSWER_FITS);
	assert_text(&echo, "d00000ffff0300080000003412020000", MC_ANSWER_LENGTH);
	assert_text(&echo, "d00000ffff0300040000003412", MC_ANSWER_LENGTH);
	assert_text(&echo, "d00000ffff030002000000", MC_ANSWER_LENGTH);
	assert_text(&echo, "d00000ffff0300020059c0", MC_ANSWER_FITS);
	assert_text(&echo, "d00000ffff03000b0059c000ffff030001040000", MC_ANSWER_FITS);
	assert_text(&echo, "d00000ffff030002000100", MC_ANSWER_FITS);
	assert_text(&echo, "d0010000ff03000600000034120200", MC_ANSWER_SUBHEADER);
	assert_text(&echo, "500000ffff03000600000034120200", MC_ANSWER_SUBHEADER);
	expect_text(&echo, MC_CODE_ASCII, "500000FF03FF000018001004010000D*0001000001");
	assert_int_equal(mc_answer_head(&echo), 22);
	assert_text(&echo, "D00000FF03FF00000800001995", MC_ANSWER_FITS);
	assert_text(&echo, "D00000FF03FF0000040000", MC_ANSWER_LENGTH);
	assert_text(&echo, "D00000FF03FF000004C059", MC_ANSWER_FITS);
	assert_text(&echo, "D00000FF03FF000004 000", MC_ANSWER_END_CODE);
	assert_text(&echo, "D00000FF03FF000004000G", MC_ANSWER_END_CODE);
	assert_text(&echo, "D00100FF03FF00000800001995", MC_ANSWER_SUBHEADER);
}

/* The length of a 1E answer is mc_stream's business: any fits here. */
static void test_1e(void **state)
{
	const struct mc_request request = {.family = MC_FAMILY_1E, .command = 0x1401};
	const struct mc_access access = {.rule = MC_RULE_NONE};
	struct mc_echo echo;

	(void)state;
	assert_int_equal(mc_answer_size(&request, &access), MC_ANSWER_ANY);
	expect_text(&echo, MC_CODE_BINARY, "01ff0a006400000020440200");
	assert_int_equal(mc_answer_head(&echo), 2);
	assert_int_equal(echo.size, MC_ANSWER_ANY);
	assert_text(&echo, "810001000200", MC_ANSWER_FITS);
	assert_text(&echo, "8156", MC_ANSWER_FITS);
	assert_text(&echo, "8056", MC_ANSWER_SUBHEADER);
	assert_text(&echo, "0100", MC_ANSWER_SUBHEADER);
	expect_text(&echo, MC_CODE_ASCII, "01FF000A4420000000640200");
	assert_int_equal(mc_answer_head(&echo), 4);
	assert_text(&echo, "810012340005", MC_ANSWER_FITS);
	assert_text(&echo, "815B1000", MC_ANSWER_FITS);
	assert_text(&echo, "8356", MC_ANSWER_SUBHEADER);
	assert_text(&echo, "8G56", MC_ANSWER_SUBHEADER);
	assert_text(&echo, "815G", MC_ANSWER_END_CODE);
}

static void test_end_codes(void **state)
{
	static const uint16_t CODES[] = {0x0000, 0x0001, 0x0055, 0x00ff, 0x4031, 0xc059, 0xffff};
	static struct composed it;
	uint8_t answer[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(CODES); i++) {
		FOR_BOTH(code)
		{
			struct mc_access access =
				compose_sample(&it, MC_FAMILY_3E, code, &MC_SAMPLES[0]);
			size_t size = mc_frame_put_error(&it.request, CODES[i], 0, answer,
							 sizeof(answer));
			struct mc_echo echo;
			uint16_t found;

			mc_answer_expect(&echo, &it.request, &access);
			assert_int_equal(fits(&echo, answer, size, size, &found),
					 CODES[i] == 0 ? MC_ANSWER_LENGTH : MC_ANSWER_FITS);
			assert_int_equal(found, CODES[i]);
		}
	}
}

static void test_nothing_was_asked(void **state)
{
	const struct mc_echo echo = {.family = MC_FAMILY_NONE};

	(void)state;
	assert_int_equal(mc_answer_head(&echo), 0);
	assert_text(&echo, "", MC_ANSWER_SUBHEADER);
	assert_text(&echo, "d00000ffff030002000000", MC_ANSWER_SUBHEADER);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(mc_answer_fit_name(MC_ANSWER_FITS), "none");
	assert_string_equal(mc_answer_fit_name(MC_ANSWER_SERIAL), "answer-serial");
	assert_string_equal(mc_answer_fit_name(MC_ANSWER_LENGTH), "answer-length");
	for (int a = 0; a < MC_ANSWER_FIT_COUNT; a++) {
		for (int b = 0; b < a; b++)
			assert_string_not_equal(mc_answer_fit_name((enum mc_answer_fit)a),
						mc_answer_fit_name((enum mc_answer_fit)b));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_vectors_crossed),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_other_commands),
		cmocka_unit_test(test_every_count),
		cmocka_unit_test(test_wide_devices),
		cmocka_unit_test(test_faulty_requests),
		cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_every_bit_of_a_head),
		cmocka_unit_test(test_serials),
		cmocka_unit_test(test_3e),
		cmocka_unit_test(test_1e),
		cmocka_unit_test(test_end_codes),
		cmocka_unit_test(test_nothing_was_asked),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, make_page, NULL);
}
