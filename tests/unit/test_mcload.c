/* SPDX-License-Identifier: Apache-2.0 */
/* mcload's figures, its schedule and what it expects of a PLC. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "mc/mc_frame.h"
#include "mcload_histogram.h"
#include "mcload_schedule.h"
#include "pattern.h"

#define SAMPLES 5000

/* --- histogram -------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return (left > right) - (left < right);
}

/* xorshift: the same numbers in every run. */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Values up to 2^bits against a sorted list: exact where the buckets are, else up to 0.4 % more. */
static void check_quantiles(unsigned bits)
{
	static const unsigned permilles[] = {0, 1, 500, 900, 990, 999, 1000};
	static struct mcload_histogram histogram;
	static uint64_t samples[SAMPLES];
	uint64_t state = 88172645463325252u + bits;

	memset(&histogram, 0, sizeof(histogram));
	for (size_t i = 0; i < SAMPLES; i++) {
		samples[i] = next_random(&state) >> (64 - bits);
		mcload_histogram_add(&histogram, (int64_t)samples[i]);
	}
	qsort(samples, SAMPLES, sizeof(*samples), by_value);
	for (size_t i = 0; i < sizeof(permilles) / sizeof(permilles[0]); i++) {
		size_t rank = ((size_t)SAMPLES * permilles[i] + 999) / 1000;
		uint64_t exact = samples[rank ? rank - 1 : 0];
		uint64_t told = mcload_histogram_quantile(&histogram, permilles[i] / 1000.0);

		assert_in_range(told, exact, exact < HISTOGRAM_EXACT ? exact : exact + exact / 255);
	}
	assert_int_equal(histogram.min, samples[0]);
	assert_int_equal(histogram.max, samples[SAMPLES - 1]);
}

static void quantiles_of_every_size(void **state)
{
	(void)state;
	for (unsigned bits = 4; bits <= HISTOGRAM_BITS; bits++)
		check_quantiles(bits);
}

static void few_samples(void **state)
{
	static struct mcload_histogram histogram;

	(void)state;
	assert_int_equal(mcload_histogram_quantile(&histogram, 0.5), 0);
	assert_true(mcload_histogram_mean(&histogram) == 0);
	mcload_histogram_add(&histogram, 70000);
	assert_int_equal(mcload_histogram_quantile(&histogram, 0.5), 70000);
	assert_int_equal(mcload_histogram_quantile(&histogram, 0.999), 70000);
	mcload_histogram_add(&histogram, -5);
	mcload_histogram_add(&histogram, INT64_MAX);
	assert_int_equal(histogram.min, 0);
	assert_int_equal(histogram.max, (1ull << HISTOGRAM_BITS) - 1);
	assert_int_equal(mcload_histogram_quantile(&histogram, 1), histogram.max);
	assert_int_equal(histogram.count, 3);
}

struct walked {
	uint64_t last;
	double share;
	unsigned points;
};

static void visit(void *context, uint64_t nanoseconds, double share)
{
	struct walked *walked = context;

	assert_true(walked->points == 0 || nanoseconds > walked->last);
	assert_true(share > walked->share && share <= 1);
	*walked = (struct walked){nanoseconds, share, walked->points + 1};
}

static void walk_goes_up_to_one(void **state)
{
	static struct mcload_histogram histogram;
	struct walked walked = {0};

	(void)state;
	for (int64_t i = 1; i <= 40; i++)
		mcload_histogram_add(&histogram, i * i * i * 1000);
	mcload_histogram_walk(&histogram, visit, &walked);
	assert_int_equal(walked.points, 40);
	assert_int_equal(walked.last, 64000000);
	assert_true(walked.share == 1);
}

/* --- schedule --------------------------------------------------------------------------------- */

static void schedule_is_spread_evenly(void **state)
{
	struct mcload_schedule schedule;
	uint32_t connection;

	(void)state;
	mcload_schedule_init(&schedule, 1000, 100, 4, false);
	assert_int_equal(mcload_schedule_wake(&schedule), 1000);
	assert_false(mcload_schedule_take(&schedule, 999, &connection));
	for (uint32_t i = 0; i < 12; i++) {
		assert_int_equal(mcload_schedule_wake(&schedule), 1000 + 25 * i);
		assert_false(mcload_schedule_take(&schedule, 1000 + 25 * i - 1, &connection));
		assert_true(mcload_schedule_take(&schedule, 1000 + 25 * i, &connection));
		assert_int_equal(connection, i % 4);
		assert_int_equal(mcload_schedule_due(&schedule, connection, i / 4), 1000 + 25 * i);
	}
}

static void schedule_all_together(void **state)
{
	struct mcload_schedule schedule;
	uint32_t connection;

	(void)state;
	mcload_schedule_init(&schedule, 0, 100, 3, true);
	for (uint32_t i = 0; i < 6; i++) {
		assert_int_equal(mcload_schedule_wake(&schedule), i / 3 * 100);
		assert_true(mcload_schedule_take(&schedule, i / 3 * 100, &connection));
		assert_int_equal(connection, i % 3);
	}
}

/* A loop that comes late gets all that was due meanwhile, with the times when it was. */
static void schedule_forgets_nothing(void **state)
{
	struct mcload_schedule schedule;
	uint32_t connection, taken = 0;

	(void)state;
	mcload_schedule_init(&schedule, 0, 1000, 10, false);
	while (mcload_schedule_take(&schedule, 2499, &connection))
		taken++;
	assert_int_equal(taken, 25);
	assert_int_equal(mcload_schedule_due(&schedule, 3, 1), 1300);
	assert_int_equal(mcload_schedule_wake(&schedule), 2500);
}

/* Neither a day nor a hundred thousand connections overflow; every phase is below the interval. */
static void schedule_of_the_largest(void **state)
{
	const int64_t day = INT64_C(86400) * 1000000000;
	struct mcload_schedule schedule;
	int64_t before = -1;

	(void)state;
	mcload_schedule_init(&schedule, 0, day, 100000, false);
	for (uint32_t i = 0; i < 100000; i++) {
		int64_t due = mcload_schedule_due(&schedule, i, 0);

		assert_true(due > before && due < day);
		before = due;
	}
	assert_int_equal(before, day - day / 100000);
}

/* --- pattern ---------------------------------------------------------------------------------- */

static void pattern_words_differ(void **state)
{
	static uint8_t seen[PATTERN_WORDS];

	(void)state;
	for (uint32_t i = 0; i < PATTERN_WORDS; i++)
		assert_int_equal(seen[pattern_word(i)]++, 0);
}

/* What mcload sends is what the protocol's own code makes of it. */
static void pattern_frames_are_frames(void **state)
{
	static struct pattern pattern;
	static uint8_t write[PATTERN_WRITE_MAX];
	uint8_t read[PATTERN_READ_SIZE], head[PATTERN_HEAD_SIZE + 6] = {0};
	struct mc_request request;
	struct mc_answer answer;
	uint32_t number;
	uint16_t words;

	(void)state;
	pattern_init(&pattern);
	pattern_put_read(read, 70000 - 10000, 960);
	assert_int_equal(mc_frame_parse_request(read, sizeof(read), &request), 0);
	assert_int_equal(request.command, 0x0401);
	assert_int_equal(request.data_size, 6);
	assert_true(pattern_get_read(read, &number, &words));
	assert_int_equal(number, 60000);
	assert_int_equal(words, 960);
	pattern_put_head(head, 3);
	assert_int_equal(mc_frame_parse_answer(head, sizeof(head), MC_CODE_BINARY, &answer), 0);
	assert_int_equal(answer.end_code, 0);
	assert_int_equal(answer.data_size, 6);
	assert_int_equal(pattern_put_write(&pattern, write, 7, 960), sizeof(write));
	assert_int_equal(mc_frame_parse_request(write, sizeof(write), &request), 0);
	assert_int_equal(request.command, 0x1401);
	assert_int_equal(request.data_size, 6 + 2 * 960);
	assert_int_equal(request.data[6] | request.data[7] << 8, pattern_word(7));
}

static void pattern_takes_nothing_else(void **state)
{
	uint8_t read[PATTERN_READ_SIZE];
	uint32_t number;
	uint16_t words;

	(void)state;
	for (size_t i = 0; i < sizeof(read); i++) {
		pattern_put_read(read, 100, 1);
		read[i] ^= 0x80;
		/* The device number and the count may be what they like. */
		if (i == 15 || i == 16 || i == 19)
			continue;
		assert_false(pattern_get_read(read, &number, &words));
	}
	pattern_put_read(read, 100, 961);
	assert_false(pattern_get_read(read, &number, &words));
	pattern_put_read(read, 100, 0);
	assert_false(pattern_get_read(read, &number, &words));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quantiles_of_every_size),
		cmocka_unit_test(few_samples),
		cmocka_unit_test(walk_goes_up_to_one),
		cmocka_unit_test(schedule_is_spread_evenly),
		cmocka_unit_test(schedule_all_together),
		cmocka_unit_test(schedule_forgets_nothing),
		cmocka_unit_test(schedule_of_the_largest),
		cmocka_unit_test(pattern_words_differ),
		cmocka_unit_test(pattern_frames_are_frames),
		cmocka_unit_test(pattern_takes_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
