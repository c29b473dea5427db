/* SPDX-License-Identifier: Apache-2.0 */
/* Overlapping blocks of addresses and ports, made into ones that do not overlap. */
#include "cover.h"

#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef unsigned __int128 number_t;

static struct cover_block block(unsigned int first, unsigned int last, uint16_t first_port,
				uint16_t last_port)
{
	return (struct cover_block){
		.first = first, .last = last, .first_port = first_port, .last_port = last_port};
}

static bool same(const struct cover_block *a, const struct cover_block *b)
{
	return a->first == b->first && a->last == b->last && a->first_port == b->first_port &&
	       a->last_port == b->last_port && a->origin == b->origin;
}

static void assert_cover(const struct cover_block *blocks, size_t count, bool join,
			 const struct cover_block *expected, size_t expected_count)
{
	struct cover_block *made;
	size_t made_count;

	assert_int_equal(cover(blocks, count, join, &made, &made_count), 0);
	assert_int_equal(made_count, expected_count);
	for (size_t i = 0; i < made_count; i++)
		assert_true(same(&made[i], &expected[i]));
	free(made);
}

static void test_nothing(void **state)
{
	(void)state;
	assert_cover(NULL, 0, false, NULL, 0);
}

static void test_what_does_not_overlap_stays(void **state)
{
	const struct cover_block given[] = {block(10, 10, 5007, 5007), block(11, 20, 5000, 5010),
					    block(5, 5, 1, 1)};
	struct cover_block expected[] = {given[2], given[0], given[1]};

	(void)state;
	expected[0].origin = 2;
	expected[1].origin = 0;
	expected[2].origin = 1;
	assert_cover(given, ARRAY_SIZE(given), false, expected, ARRAY_SIZE(expected));
}

static void test_twice_is_once(void **state)
{
	const struct cover_block given[] = {block(10, 20, 5, 5), block(10, 20, 5, 5)};

	(void)state;
	assert_cover(given, ARRAY_SIZE(given), false, given, 1);
}

/* The first of the file keeps what both have; the other one becomes what is left around it. */
static void test_one_inside_another(void **state)
{
	const struct cover_block given[] = {block(15, 15, 5, 5), block(10, 20, 1, 9)};
	struct cover_block expected[] = {block(10, 14, 1, 9), block(15, 15, 1, 4),
					 block(15, 15, 5, 5), block(15, 15, 6, 9),
					 block(16, 20, 1, 9)};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		expected[i].origin = i != 2;
	assert_cover(given, ARRAY_SIZE(given), false, expected, ARRAY_SIZE(expected));
}

static void test_the_wider_one_first(void **state)
{
	const struct cover_block given[] = {block(10, 20, 1, 9), block(15, 15, 5, 5)};

	(void)state;
	assert_cover(given, ARRAY_SIZE(given), false, given, 1);
}

static void test_joined(void **state)
{
	const struct cover_block given[] = {block(16, 20, 0, 0), block(10, 15, 0, 0),
					    block(22, 22, 0, 0), block(12, 18, 0, 0)};
	struct cover_block expected[] = {block(10, 20, 0, 0), block(22, 22, 0, 0)};

	(void)state;
	expected[0].origin = 1;
	expected[1].origin = 2;
	assert_cover(given, ARRAY_SIZE(given), true, expected, ARRAY_SIZE(expected));
}

/* The last address and the last port have no successor. */
static void test_all_of_ipv6(void **state)
{
	struct address_prefix all = {.base.any.sa_family = AF_INET6, .bits = 0};
	struct address_prefix last = {.base.any.sa_family = AF_INET6, .bits = 128};
	struct cover_block given[2] = {{.first_port = 0, .last_port = UINT16_MAX},
				       {.first_port = 7, .last_port = UINT16_MAX}};

	(void)state;
	memset(&last.base.v6.sin6_addr, 0xff, 16);
	cover_block_set(&given[0], &all);
	cover_block_set(&given[1], &last);
	assert_true(given[0].first == 0 && given[0].last == ~(number_t)0);
	assert_true(given[1].first == ~(number_t)0 && given[1].last == ~(number_t)0);
	assert_cover(given, 2, false, given, 1);
}

static void test_prefixes_and_bytes(void **state)
{
	struct address_prefix prefix;
	struct cover_block made;
	uint8_t bytes[16];

	(void)state;
	assert_int_equal(address_prefix_parse("10.30.0.0/24", &prefix), 0);
	cover_block_set(&made, &prefix);
	assert_true(made.first == 0x0a1e0000 && made.last == 0x0a1e00ff);
	cover_address(made.last, AF_INET, bytes);
	assert_memory_equal(bytes, "\x0a\x1e\x00\xff", 4);
	assert_int_equal(address_prefix_parse("fd30::10", &prefix), 0);
	cover_block_set(&made, &prefix);
	assert_true(made.first == made.last);
	cover_address(made.first, AF_INET6, bytes);
	assert_memory_equal(bytes, &prefix.base.v6.sin6_addr, 16);
}

/* --- at random, against a field of 24 addresses and 24 ports -------------------------------- */

#define FIELD 24
#define MANY  12

struct field {
	size_t owner[FIELD][FIELD]; /* of the first block there; SIZE_MAX: none */
};

static void paint(struct field *field, const struct cover_block *blocks, size_t count)
{
	memset(field, 0xff, sizeof(*field));
	for (size_t i = count; i-- > 0;) {
		for (unsigned int a = (unsigned int)blocks[i].first; a <= blocks[i].last; a++) {
			for (unsigned int p = blocks[i].first_port; p <= blocks[i].last_port; p++)
				field->owner[a][p] = i;
		}
	}
}

static void assert_same_field(const struct field *field, const struct cover_block *made,
			      size_t count, bool origins)
{
	struct field painted;
	size_t places = 0, area = 0;

	paint(&painted, made, count);
	for (unsigned int a = 0; a < FIELD; a++) {
		for (unsigned int p = 0; p < FIELD; p++) {
			size_t by = painted.owner[a][p];

			assert_int_equal(by == SIZE_MAX, field->owner[a][p] == SIZE_MAX);
			if (by == SIZE_MAX)
				continue;
			places++;
			if (origins)
				assert_int_equal(made[by].origin, field->owner[a][p]);
		}
	}
	/* None lies over another. */
	for (size_t i = 0; i < count; i++)
		area += (size_t)(made[i].last - made[i].first + 1) *
			(made[i].last_port - made[i].first_port + 1U);
	assert_int_equal(area, places);
}

static void assert_ascending(const struct cover_block *made, size_t count)
{
	for (size_t i = 1; i < count; i++)
		assert_true(made[i - 1].first < made[i].first ||
			    (made[i - 1].first == made[i].first &&
			     made[i - 1].last_port < made[i].first_port));
}

static unsigned int random_below(unsigned int *seed, unsigned int limit)
{
	return (unsigned int)rand_r(seed) % limit;
}

static void test_at_random(void **state)
{
	unsigned int seed = 20261122;

	(void)state;
	for (int turn = 0; turn < 2000; turn++) {
		struct cover_block given[MANY], *made;
		size_t count = 1 + random_below(&seed, MANY), made_count;
		bool join = turn % 2 == 1;
		struct field field;

		for (size_t i = 0; i < count; i++) {
			unsigned int first = random_below(&seed, FIELD);
			unsigned int port = random_below(&seed, FIELD);

			given[i] = block(first, first + random_below(&seed, FIELD - first),
					 (uint16_t)port,
					 (uint16_t)(port + random_below(&seed, FIELD - port)));
		}
		paint(&field, given, count);
		assert_int_equal(cover(given, count, join, &made, &made_count), 0);
		assert_same_field(&field, made, made_count, !join);
		assert_ascending(made, made_count);
		free(made);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_what_does_not_overlap_stays),
		cmocka_unit_test(test_twice_is_once),
		cmocka_unit_test(test_one_inside_another),
		cmocka_unit_test(test_the_wider_one_first),
		cmocka_unit_test(test_joined),
		cmocka_unit_test(test_all_of_ipv6),
		cmocka_unit_test(test_prefixes_and_bytes),
		cmocka_unit_test(test_at_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
