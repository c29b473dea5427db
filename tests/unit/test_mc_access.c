/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What requests touch: every vector's ranges, every prefix of each, and for each layout the counts
 * around its limits, in binary and ASCII.
 */
#include "mc_fixture.h"
#include "mc_vectors.h"

#include <stdio.h>

#define TEXT_SIZE 4096

struct seen {
	char text[TEXT_SIZE]; /* "r D100-D101 w M0-M15 " */
	size_t used;
};

static void note(void *context, const struct mc_range *range)
{
	struct seen *seen = context;
	char first[MC_DEVICE_TEXT_SIZE], last[MC_DEVICE_TEXT_SIZE];

	assert_true(range->first <= range->last);
	if (seen->used < TEXT_SIZE)
		seen->used += (size_t)snprintf(seen->text + seen->used, TEXT_SIZE - seen->used,
					       "%s%c %s-%s", seen->used ? " " : "",
					       range->write ? 'w' : 'r',
					       mc_device_print(range->device, range->first, first),
					       mc_device_print(range->device, range->last, last));
}

/* A frame's bytes as hexadecimal text (binary) or as they are (ASCII). */
static struct mc_access look(enum mc_code code, const char *text, struct seen *seen)
{
	uint8_t bytes[MC_VECTOR_SIZE];
	size_t size = mc_vector_bytes(code, text, bytes);
	struct mc_request request;
	struct mc_access access;

	*seen = (struct seen){.used = 0};
	assert_int_equal(mc_frame_parse_request(bytes, size, &request), 0);
	mc_access_read(&request, note, seen, &access);
	return access;
}

static const struct {
	const char *name, *ranges;
} EXPECTED[] = {
	{"V1 read words", "r D100-D101"},
	{"V2 read bits", "r M100-M107"},
	{"V3 write words", "w D100-D102"},
	{"V4 write bits", "w M100-M102"},
	{"V5 random read", "r D100-D100 r D101-D101 r D100-D101"},
	{"V6 random write", "w D110-D110 w D112-D113"},
	{"V7 random bit write", "w M50-M50 w Y2F-Y2F"},
	{"V13 block read", "r D100-D101 r M100-M115"},
	{"V14 block write", "w D300-D301"},
	{"V15 monitor registration", "r D100-D100 r D112-D113"},
	{"V16 4E iQ-R read", "r D100-D101"},
	{"V17 4E iQ-R write bit", "w M101-M101"},
	{"V20 ASCII read", "r D100-D102"},
	{"V21 ASCII write bits", "w M100-M103"},
	{"V22 ASCII random read", "r D100-D100 r D112-D113"},
	{"V23 ASCII iQ-R read", "r D100-D100"},
	{"V24 4E ASCII read", "r D100-D100"},
	{"V27 1E read bits", "r M100-M107"},
	{"V28 1E ASCII read bits", "r M100-M107"},
	{"V29 1E ASCII read words", "r D100-D101"},
	{"V30 1E write words", "w D4000-D4004"},
	{"V32 1E ASCII random write", "w Y10-Y1F w R26-R26 w CN18-CN18"},
};

static const char *expected_ranges(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(EXPECTED); i++) {
		if (strcmp(EXPECTED[i].name, name) == 0)
			return EXPECTED[i].ranges;
	}
	return NULL;
}

static void test_vectors(void **state)
{
	size_t compared = 0;

	(void)state;
	for (size_t i = 0; i < MC_VECTOR_COUNT; i++) {
		const struct mc_vector *vector = &MC_VECTORS[i];
		const char *ranges = expected_ranges(vector->name);
		struct seen seen;
		struct mc_access access = look(vector->code, vector->request, &seen);

		assert_non_null(access.command);
		assert_int_equal(access.command->code, vector->command);
		/* What a PLC answers with these codes is found here already. */
		if (vector->end_code == 0xc05c || vector->end_code == 0xc051) {
			assert_int_equal(access.end_code, vector->end_code);
			continue;
		}
		if (access.rule != MC_RULE_NONE)
			fail_msg("%s: %s", vector->name, mc_access_rule_name(access.rule));
		if (ranges == NULL) {
			assert_string_equal(seen.text,
					    strncmp(vector->name, "V33", 3) == 0 ? seen.text : "");
			continue;
		}
		assert_string_equal(seen.text, ranges);
		compared++;
	}
	assert_int_equal(compared, ARRAY_SIZE(EXPECTED));
}

/* Less data than the counts say, or more, never passes. Copies end where their memory ends. */
static void test_every_prefix(void **state)
{
	(void)state;
	for (size_t i = 0; i < MC_VECTOR_COUNT; i++) {
		const struct mc_vector *vector = &MC_VECTORS[i];
		uint8_t bytes[MC_VECTOR_SIZE];
		size_t size = mc_vector_bytes(vector->code, vector->request, bytes);
		struct mc_request request;
		struct mc_access whole, access;
		size_t all;

		assert_int_equal(mc_frame_parse_request(bytes, size, &request), 0);
		mc_access_read(&request, NULL, NULL, &whole);
		if (whole.opaque || whole.rule != MC_RULE_NONE)
			continue;
		all = request.data_size;
		for (size_t length = 0; length <= all + 1; length++) {
			uint8_t *copy = malloc(length + 1);

			assert_non_null(copy);
			memset(copy, '0', length + 1);
			memcpy(copy, request.data, length < all ? length : all);
			/* One byte less than what was allocated: the sanitizer watches the rest. */
			copy = realloc(copy, length ? length : 1);
			request.data = copy;
			request.data_size = length;
			mc_access_read(&request, NULL, NULL, &access);
			assert_int_equal(access.rule == MC_RULE_NONE, length == all);
			if (length > all)
				assert_int_equal(access.rule, MC_RULE_LENGTH);
			free(copy);
			assert_int_equal(mc_frame_parse_request(bytes, size, &request), 0);
		}
	}
}

/* --- composed requests ----------------------------------------------------------------------- */

static void assert_rule(struct composed *composed, enum mc_rule rule, uint16_t end_code)
{
	struct mc_access access = composed_end(composed);

	assert_string_equal(mc_access_rule_name(access.rule), mc_access_rule_name(rule));
	assert_int_equal(access.end_code, end_code);
}

static void batch(struct composed *composed, enum mc_code code, uint16_t command,
		  uint16_t subcommand, const char *device, uint32_t count)
{
	compose(composed, code, command, subcommand);
	put_device(composed, device);
	put(composed, count, 2);
	if (command != 0x1401)
		return;
	if (subcommand & 1)
		put_bits(composed, count);
	else
		put_zeros(composed, 2 * (size_t)count);
}

static void test_batch_limits(void **state)
{
	static struct composed it;

	(void)state;
	FOR_BOTH(code)
	{
		uint32_t bits = code == MC_CODE_ASCII ? 3584 : 7168;

		for (uint16_t subcommand = 0; subcommand < 4; subcommand += 2) {
			batch(&it, code, 0x0401, subcommand, "D0", 960);
			assert_rule(&it, MC_RULE_NONE, 0);
			batch(&it, code, 0x0401, subcommand, "D0", 961);
			assert_rule(&it, MC_RULE_COUNT, 0xc051);
			batch(&it, code, 0x0401, subcommand, "D0", 0);
			assert_rule(&it, MC_RULE_COUNT, 0xc051);
			batch(&it, code, 0x1401, subcommand, "D0", 960);
			assert_rule(&it, MC_RULE_NONE, 0);
			batch(&it, code, 0x0401, subcommand + 1, "M0", bits);
			assert_rule(&it, MC_RULE_NONE, 0);
			batch(&it, code, 0x0401, subcommand + 1, "M0", bits + 1);
			assert_rule(&it, MC_RULE_COUNT, 0xc052);
			batch(&it, code, 0x1401, subcommand + 1, "M0", 0);
			assert_rule(&it, MC_RULE_COUNT, 0xc052);
			batch(&it, code, 0x1401, subcommand + 1, "M0", 7);
			assert_rule(&it, MC_RULE_NONE, 0);
		}
	}
}

/* Head and points must not run over the last number that the form can say. */
static void test_wrap_around(void **state)
{
	static struct composed it;

	(void)state;
	batch(&it, MC_CODE_BINARY, 0x0401, 0, "D16777215", 1);
	assert_rule(&it, MC_RULE_NONE, 0);
	batch(&it, MC_CODE_BINARY, 0x0401, 0, "D16777215", 2);
	assert_rule(&it, MC_RULE_COUNT, 0xc056);
	batch(&it, MC_CODE_BINARY, 0x0401, 0, "M16777201", 1);
	assert_rule(&it, MC_RULE_COUNT, 0xc056);
	batch(&it, MC_CODE_BINARY, 0x0401, 2, "D16777215", 2);
	assert_rule(&it, MC_RULE_NONE, 0);
	batch(&it, MC_CODE_BINARY, 0x0401, 2, "D4294967295", 2);
	assert_rule(&it, MC_RULE_COUNT, 0xc056);
}

static void test_kinds(void **state)
{
	static struct composed it;

	(void)state;
	FOR_BOTH(code)
	{
		batch(&it, code, 0x0401, 1, "D0", 1);
		assert_rule(&it, MC_RULE_SHAPE, 0xc05c);
		batch(&it, code, 0x0401, 0, "TS0", 1);
		assert_rule(&it, MC_RULE_SHAPE, 0xc05b);
		batch(&it, code, 0x0401, 1, "TS0", 1);
		assert_rule(&it, MC_RULE_NONE, 0);
		batch(&it, code, 0x0401, 2, "LTN0", 1);
		assert_rule(&it, MC_RULE_NONE, 0);
	}
	/* A code that no device has. */
	compose(&it, MC_CODE_BINARY, 0x0401, 0);
	put(&it, 0, 3);
	put(&it, 0x11, 1);
	put(&it, 1, 2);
	assert_rule(&it, MC_RULE_SHAPE, 0xc05b);
}

static void test_random_limits(void **state)
{
	static const struct {
		uint16_t command, subcommand;
		uint32_t words, dwords;
		enum mc_rule rule;
	} cases[] = {
		{0x0403, 0, 192, 0, MC_RULE_NONE},  {0x0403, 0, 100, 92, MC_RULE_NONE},
		{0x0403, 0, 193, 0, MC_RULE_COUNT}, {0x0403, 0, 0, 0, MC_RULE_COUNT},
		{0x0403, 2, 96, 0, MC_RULE_NONE},   {0x0403, 2, 50, 47, MC_RULE_COUNT},
		{0x0801, 0, 192, 0, MC_RULE_NONE},  {0x0801, 0, 192, 1, MC_RULE_COUNT},
		{0x1402, 0, 160, 0, MC_RULE_NONE},  {0x1402, 0, 161, 0, MC_RULE_COUNT},
		{0x1402, 0, 0, 137, MC_RULE_NONE},  {0x1402, 0, 0, 138, MC_RULE_COUNT},
		{0x1402, 2, 80, 0, MC_RULE_NONE},   {0x1402, 2, 81, 0, MC_RULE_COUNT},
	};
	static struct composed it;

	(void)state;
	FOR_BOTH(code)
	{
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			bool write = cases[i].command == 0x1402;

			compose(&it, code, cases[i].command, cases[i].subcommand);
			put(&it, cases[i].words, 1);
			put(&it, cases[i].dwords, 1);
			for (uint32_t j = 0; j < cases[i].words + cases[i].dwords; j++) {
				put_device(&it, "D5");
				put_zeros(&it, !write ? 0 : j < cases[i].words ? 2 : 4);
			}
			assert_rule(&it, cases[i].rule, cases[i].rule ? 0xc054 : 0);
		}
	}
}

static void test_random_bits(void **state)
{
	static struct composed it;

	(void)state;
	FOR_BOTH(code)
	{
		for (uint16_t subcommand = 1; subcommand < 4; subcommand += 2) {
			uint32_t most = subcommand == 1 ? 188 : 94;

			for (uint32_t count = 0; count <= most + 1; count += count ? most : 1) {
				bool good = count > 0 && count <= most;

				compose(&it, code, 0x1402, subcommand);
				put(&it, count, 1);
				for (uint32_t i = 0; i < count; i++) {
					put_device(&it, "Y1F");
					put_zeros(&it, subcommand == 1 ? 1 : 2);
				}
				assert_rule(&it, good ? MC_RULE_NONE : MC_RULE_COUNT,
					    good ? 0 : 0xc053);
			}
		}
	}
}

static void blocks(struct composed *composed, enum mc_code code, uint32_t words, uint32_t bits,
		   uint32_t points)
{
	compose(composed, code, 0x1406, 0);
	put(composed, words, 1);
	put(composed, bits, 1);
	for (uint32_t i = 0; i < words + bits; i++) {
		put_device(composed, i < words ? "D0" : "M0");
		put(composed, points, 2);
		put_zeros(composed, 2 * (size_t)points);
	}
}

static void test_blocks(void **state)
{
	static struct composed it;

	(void)state;
	FOR_BOTH(code)
	{
		blocks(&it, code, 60, 60, 8);
		assert_rule(&it, MC_RULE_NONE, 0);
		assert_int_equal(composed_end(&it).points, 60 * 8 + 60 * 8 * 16);
		blocks(&it, code, 61, 60, 1);
		assert_rule(&it, MC_RULE_COUNT, 0xc054);
		blocks(&it, code, 0, 0, 1);
		assert_rule(&it, MC_RULE_COUNT, 0xc054);
		blocks(&it, code, 2, 0, 481);
		assert_rule(&it, MC_RULE_COUNT, 0xc054);
		blocks(&it, code, 1, 0, 0);
		assert_rule(&it, MC_RULE_COUNT, 0xc054);
		/* A word device among the bit blocks. */
		compose(&it, code, 0x0406, 0);
		put(&it, 0, 1);
		put(&it, 1, 1);
		put_device(&it, "D0");
		put(&it, 1, 2);
		assert_rule(&it, MC_RULE_SHAPE, 0xc05c);
	}
}

static void test_buffers_and_others(void **state)
{
	static struct composed it;

	(void)state;
	FOR_BOTH(code)
	{
		compose(&it, code, 0x1613, 0);
		put(&it, 0x120, 4);
		put(&it, 480, 2);
		put_zeros(&it, 960);
		assert_rule(&it, MC_RULE_NONE, 0);
		assert_true(composed_end(&it).opaque);
		compose(&it, code, 0x0613, 0);
		put(&it, 0x120, 4);
		put(&it, 481, 2);
		assert_rule(&it, MC_RULE_COUNT, 0xc051);
		compose(&it, code, 0x1601, 0);
		put(&it, 0, 4);
		put(&it, 3, 2);
		put(&it, 0x1a, 2);
		put_zeros(&it, 3);
		assert_rule(&it, MC_RULE_NONE, 0);
		compose(&it, code, 0x0619, 0);
		put(&it, 5, 2);
		mc_writer_raw(&it.writer, "ABCDG", 5);
		assert_rule(&it, MC_RULE_SHAPE, 0xc05c);
		for (uint32_t count = 0; count <= 961; count += count ? 1 : 960) {
			compose(&it, code, 0x0619, 0);
			put(&it, count, 2);
			for (uint32_t i = 0; i < count; i++)
				mc_writer_raw(&it.writer, "F", 1);
			assert_rule(&it, count == 960 ? MC_RULE_NONE : MC_RULE_COUNT,
				    count == 960 ? 0 : 0xc051);
		}
		compose(&it, code, 0x1001, 0);
		put(&it, 2, 2);
		put(&it, 0, 1);
		put(&it, 0, 1);
		assert_rule(&it, MC_RULE_SHAPE, 0xc05c);
		compose(&it, code, 0x041a, 0);
		assert_rule(&it, MC_RULE_NONE, 0);
		assert_true(composed_end(&it).opaque);
	}
}

static void test_commands_and_subcommands(void **state)
{
	static struct composed it;

	(void)state;
	compose(&it, MC_CODE_BINARY, 0x4242, 0);
	assert_rule(&it, MC_RULE_COMMAND, 0xc059);
	/* Extension specifications are another layout, which is not read. */
	for (uint16_t subcommand = 0x80; subcommand < 0x84; subcommand++) {
		batch(&it, MC_CODE_BINARY, 0x0401, 0, "D0", 1);
		it.request.subcommand = subcommand;
		assert_rule(&it, MC_RULE_SUBCOMMAND, 0xc059);
	}
	batch(&it, MC_CODE_BINARY, 0x0403, 0, "D0", 1);
	it.request.subcommand = 1;
	assert_rule(&it, MC_RULE_SUBCOMMAND, 0xc059);
}

/* Special relays and registers steer the CPU. */
static void test_special_devices(void **state)
{
	static struct composed it;

	(void)state;
	batch(&it, MC_CODE_BINARY, 0x1401, 0, "SD210", 1);
	assert_int_equal(composed_end(&it).class, MC_CLASS_CONTROL);
	batch(&it, MC_CODE_BINARY, 0x1401, 1, "SM50", 1);
	assert_int_equal(composed_end(&it).class, MC_CLASS_CONTROL);
	batch(&it, MC_CODE_BINARY, 0x0401, 0, "SD210", 1);
	assert_int_equal(composed_end(&it).class, MC_CLASS_READ);
	blocks(&it, MC_CODE_BINARY, 2, 1, 1);
	assert_int_equal(composed_end(&it).class, MC_CLASS_WRITE);
}

static void test_digits(void **state)
{
	struct seen seen;

	(void)state;
	/* A value that is no number, in a place where only its length would count. */
	assert_int_equal(
		look(MC_CODE_ASCII, "500000FF03FF00001C001014010000D*000100000112G4", &seen).rule,
		MC_RULE_SHAPE);
	assert_int_equal(
		look(MC_CODE_ASCII, "500000FF03FF00001C001014010001M*00010000041012", &seen).rule,
		MC_RULE_SHAPE);
}

static void test_routes(void **state)
{
	struct mc_route route = MC_ROUTE_OWN;

	(void)state;
	assert_true(mc_access_is_own(MC_FAMILY_3E, &route));
	assert_true(mc_access_is_own(MC_FAMILY_1E, &route));
	route.station = 1;
	assert_false(mc_access_is_own(MC_FAMILY_4E, &route));
	route = MC_ROUTE_OWN;
	route.network = 1;
	assert_false(mc_access_is_own(MC_FAMILY_3E, &route));
	route = MC_ROUTE_OWN;
	route.module = 0x03e0;
	assert_false(mc_access_is_own(MC_FAMILY_3E, &route));
	route = (struct mc_route){.pc = 0x01};
	assert_false(mc_access_is_own(MC_FAMILY_1E, &route));
}

/* FX3U-ENET-ADP User's Manual: complete codes 50, 56 to 58. */
static void test_1e(void **state)
{
	static const struct {
		const char *request;
		enum mc_rule rule;
		uint16_t complete_code;
		const char *ranges; /* NULL: has a fault */
	} cases[] = {
		{"00ff0a0064000000204d0000", MC_RULE_NONE, 0, "r M100-M355"}, /* 0 is 256 */
		{"01ff0a006400000020440000", MC_RULE_NONE, 0, "r D100-D355"},
		{"01ff0a0064000000204d0200", MC_RULE_NONE, 0, "r M100-M131"},
		{"01ff0a0060000000204d8000", MC_RULE_NONE, 0, "r M96-M2143"},
		{"01ff0a0060000000204d8100", MC_RULE_COUNT, 0x57, NULL},
		{"01ff0a006400000021440200", MC_RULE_SHAPE, 0x56, NULL}, /* no such device */
		{"01ff0a006400000053540200", MC_RULE_SHAPE, 0x58, NULL}, /* TS by words */
		{"00ff0a006400000020440800", MC_RULE_SHAPE, 0x58, NULL}, /* D by bits */
		{"01ff0a006400000020440201", MC_RULE_SHAPE, 0x58, NULL},
		{"01ff0a00ffffffff20440200", MC_RULE_COUNT, 0x57, NULL},
		{"02ff0a0064000000204d03001010", MC_RULE_NONE, 0, "w M100-M102"},
		{"02ff0a0064000000204d03001011", MC_RULE_SHAPE, 0x58, NULL},
		{"02ff0a0064000000204d030010", MC_RULE_LENGTH, 0x58, NULL},
		{"04ff0a00010064000000204d01", MC_RULE_NONE, 0, "w M100-M100"},
		{"04ff0a00010064000000204d02", MC_RULE_SHAPE, 0x58, NULL},
		{"05ff0a0001006400000020443412", MC_RULE_NONE, 0, "w D100-D100"},
		{"05ff0a0001016400000020443412", MC_RULE_SHAPE, 0x58, NULL},
		{"05ff0a000000", MC_RULE_COUNT, 0x57, NULL},
		{"06ff0a00010065000000204d", MC_RULE_NONE, 0, "r M101-M101"},
		{"07ff0a00020065000000204466000000", MC_RULE_LENGTH, 0x58, NULL},
		{"08ff0a00", MC_RULE_NONE, 0, ""},
		{"13ff0a00", MC_RULE_NONE, 0, ""},
		{"13ff0a0000", MC_RULE_LENGTH, 0x58, NULL},
		{"16ff0a0003414243", MC_RULE_NONE, 0, ""},
		{"16ff0a00034142", MC_RULE_LENGTH, 0x58, NULL},
		{"1aff0a00123456", MC_RULE_NONE, 0, ""},
		{"0aff0a00", MC_RULE_COMMAND, 0x50, NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct seen seen;
		struct mc_access access = look(MC_CODE_BINARY, cases[i].request, &seen);

		if (access.rule != cases[i].rule || access.end_code != cases[i].complete_code)
			fail_msg("%s: %s, %02X", cases[i].request, mc_access_rule_name(access.rule),
				 access.end_code);
		if (cases[i].ranges != NULL)
			assert_string_equal(seen.text, cases[i].ranges);
	}
}

/* Of words of bit devices no more than 40 are written at a time. */
static void test_1e_write_limit(void **state)
{
	static struct composed it;

	(void)state;
	FOR_BOTH(code)
	{
		for (uint32_t count = 40; count <= 41; count++) {
			compose(&it, code, 0x03, 0);
			it.request.family = MC_FAMILY_1E;
			mc_device_write_1e(&it.writer, mc_device_by_name("M"), 16);
			put(&it, count, 1);
			put(&it, 0, 1);
			put_zeros(&it, 2 * (size_t)count);
			assert_rule(&it, count == 40 ? MC_RULE_NONE : MC_RULE_COUNT,
				    count == 40 ? 0 : 0x57);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_every_prefix),
		cmocka_unit_test(test_batch_limits),
		cmocka_unit_test(test_wrap_around),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_random_limits),
		cmocka_unit_test(test_random_bits),
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_buffers_and_others),
		cmocka_unit_test(test_commands_and_subcommands),
		cmocka_unit_test(test_special_devices),
		cmocka_unit_test(test_digits),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_1e),
		cmocka_unit_test(test_1e_write_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
