/* SPDX-License-Identifier: Apache-2.0 */
#include "base/slab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define PIECES 500
#define SIZE   1480

static struct slab slab = SLAB_INITIALIZER(SIZE);

static bool is_zero(const uint8_t *piece)
{
	for (size_t i = 0; i < SIZE; i++)
		if (piece[i] != 0)
			return false;
	return true;
}

static void pieces_are_zeroed_and_apart(void **state)
{
	uint8_t *pieces[PIECES];

	(void)state;
	for (unsigned int turn = 0; turn < 3; turn++) {
		for (unsigned int i = 0; i < PIECES; i++) {
			pieces[i] = slab_take(&slab);
			assert_non_null(pieces[i]);
			assert_int_equal((uintptr_t)pieces[i] % 16, 0);
			assert_true(is_zero(pieces[i]));
			memset(pieces[i], (int)(i % 255 + 1), SIZE);
		}
		for (unsigned int i = 0; i < PIECES; i++) {
			for (size_t at = 0; at < SIZE; at++)
				assert_int_equal(pieces[i][at], i % 255 + 1);
			/* In another order than they came. */
			if (i % 2 == turn % 2)
				slab_give(&slab, pieces[i]);
		}
		for (unsigned int i = 0; i < PIECES; i++)
			if (i % 2 != turn % 2)
				slab_give(&slab, pieces[i]);
	}
	slab_give(&slab, NULL);
}

static long resident_pages(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	char line[128], *resident;

	assert_non_null(file);
	assert_non_null(fgets(line, sizeof(line), file));
	fclose(file);
	(void)strtol(line, &resident, 10);
	return strtol(resident, NULL, 10);
}

/* 500 of them are 740,000 bytes, and nothing of that stays but a chunk. */
static void memory_goes_back(void **state)
{
	void *pieces[PIECES];
	long before = resident_pages(), most;

	(void)state;
	for (unsigned int i = 0; i < PIECES; i++)
		pieces[i] = slab_take(&slab);
	most = resident_pages();
	for (unsigned int i = 0; i < PIECES; i++)
		slab_give(&slab, pieces[i]);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	assert_in_range(most - before, PIECES * SIZE / 4096 - 32, PIECES * SIZE / 4096 + 32);
	assert_true(resident_pages() <= before + 32);
#else
	assert_true(most >= before);
#endif
}

static void *churn(void *argument)
{
	uint8_t *pieces[32] = {NULL};

	for (unsigned int i = 0; i < 20000; i++) {
		uint8_t **piece = &pieces[(i * 7) % 32];

		if (*piece != NULL) {
			assert_int_equal(**piece, *(int *)argument);
			slab_give(&slab, *piece);
			*piece = NULL;
		} else {
			*piece = slab_take(&slab);
			**piece = (uint8_t) * (int *)argument;
		}
	}
	for (unsigned int i = 0; i < 32; i++)
		slab_give(&slab, pieces[i]);
	return NULL;
}

static void threads_share_it(void **state)
{
	pthread_t threads[4];
	int marks[4] = {1, 2, 3, 4};

	(void)state;
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, churn, &marks[i]);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_are_zeroed_and_apart),
		cmocka_unit_test(memory_goes_back),
		cmocka_unit_test(threads_share_it),
	};

	return cmocka_run_group_tests_name("slab", tests, NULL, NULL);
}
