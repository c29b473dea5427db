/* SPDX-License-Identifier: Apache-2.0 */
/* mcping's latency figures against a sorted list. The tool is no library: its file is included. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../tools/mcping_latency.c" /* NOLINT(bugprone-suspicious-include): its static parts too */

#define SAMPLES 5000

static const unsigned permilles[] = {0, 1, 500, 900, 990, 999, 1000};

static int by_value(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return (left > right) - (left < right);
}

/* xorshift: the same numbers in every run. */
static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static uint32_t exact_percentile(const uint32_t *sorted, unsigned permille)
{
	size_t rank = ((size_t)SAMPLES * permille + 999) / 1000;

	return sorted[rank ? rank - 1 : 0];
}

/* Values up to 2^bits: exact where the buckets are, else at most 0.1 % too high. */
static void check_percentiles(unsigned bits)
{
	static struct latency latency;
	static uint32_t samples[SAMPLES];
	uint32_t state = 1 + bits;

	memset(&latency, 0, sizeof(latency));
	for (size_t i = 0; i < SAMPLES; i++) {
		samples[i] = next_random(&state) >> (32 - bits);
		latency_add(&latency, samples[i]);
	}
	qsort(samples, SAMPLES, sizeof(*samples), by_value);
	for (size_t i = 0; i < sizeof(permilles) / sizeof(permilles[0]); i++) {
		uint64_t exact = exact_percentile(samples, permilles[i]);
		uint64_t told = latency_percentile(&latency, permilles[i]);

		assert_in_range(told, exact, exact < EXACT ? exact : exact + exact / 1000);
	}
	assert_int_equal(latency.min, samples[0]);
	assert_int_equal(latency.max, samples[SAMPLES - 1]);
}

static void test_percentiles(void **state)
{
	(void)state;
	for (unsigned bits = 1; bits <= 32; bits++)
		check_percentiles(bits);
}

/* Every bucket holds what it says: no gap, no overlap, none out of the array. */
static void test_buckets(void **state)
{
	(void)state;
	for (unsigned bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
		uint32_t end = bucket_end(bucket);

		assert_int_equal(bucket_of(end), bucket);
		if (end < UINT32_MAX)
			assert_int_equal(bucket_of(end + 1), bucket + 1);
	}
	assert_int_equal(bucket_end(LATENCY_BUCKETS - 1), UINT32_MAX);
}

static void test_ends(void **state)
{
	static struct latency latency;

	(void)state;
	assert_int_equal(latency_percentile(&latency, 500), 0);
	assert_int_equal(latency_average(&latency), 0);
	latency_add(&latency, -5);
	latency_add(&latency, INT64_MAX);
	assert_int_equal(latency.min, 0);
	assert_int_equal(latency.max, UINT32_MAX);
	assert_int_equal(latency_percentile(&latency, 500), 0);
	assert_int_equal(latency_percentile(&latency, 1000), UINT32_MAX);
	assert_int_equal(latency_average(&latency), UINT32_MAX / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_percentiles),
		cmocka_unit_test(test_buckets),
		cmocka_unit_test(test_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
