/* SPDX-License-Identifier: Apache-2.0 */
/* When the ring looks and when it sleeps: machines and talkers of several kinds, made up. */
#include "ring/busy_poll.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

/* What a wait costs and takes here, in microseconds. */
struct scene {
	struct busy_poll poll;
	clock_us now, cpu;
	clock_us gap;       /* from the end of a round until the next message comes */
	clock_us wake_up;   /* CPU time of a sleep */
	clock_us work;      /* CPU time of a completion */
	unsigned int batch; /* completions in a round after sleeping; after looking one */
	unsigned int rounds, looked, missed;
};

static void begin(struct scene *scene)
{
	busy_poll_init(&scene->poll);
	scene->now = 1000;
}

static void pass(struct scene *scene, clock_us cpu)
{
	scene->now += cpu;
	scene->cpu += cpu;
}

static void wait_once(struct scene *scene)
{
	clock_us span = busy_poll_span(&scene->poll);
	unsigned int completions = scene->batch;
	bool missed = span > 0 && scene->gap > span;

	scene->rounds++;
	scene->looked += span > 0;
	scene->missed += missed;
	if (span > 0 && !missed) {
		completions = 1;
		pass(scene, scene->gap);
	} else {
		pass(scene, missed ? span : 0);
		scene->now += scene->gap - (missed ? span : 0);
		pass(scene, scene->wake_up);
	}
	pass(scene, completions * scene->work);
	if (busy_poll_count(&scene->poll, completions, missed))
		busy_poll_judge(&scene->poll, scene->now, scene->cpu);
}

static void wait_often(struct scene *scene, unsigned int rounds)
{
	scene->rounds = scene->looked = scene->missed = 0;
	while (scene->rounds < rounds)
		wait_once(scene);
}

static void test_sleeps_at_first(void **state)
{
	struct scene scene = {.gap = 10, .wake_up = 15, .work = 7, .batch = 1};

	(void)state;
	begin(&scene);
	wait_often(&scene, 256);
	assert_int_equal(scene.looked, 0);
}

static void test_looks_where_it_is_cheaper(void **state)
{
	struct scene scene = {.gap = 10, .wake_up = 15, .work = 7, .batch = 1};

	(void)state;
	begin(&scene);
	wait_often(&scene, 1000);
	wait_often(&scene, 100000);
	/* All the time, but for the windows of comparison. */
	assert_in_range(scene.looked, 99800, 99999);
	assert_int_equal(scene.missed, 0);
}

static void test_a_quick_machine_sleeps(void **state)
{
	struct scene scene = {.gap = 30, .wake_up = 3, .work = 7, .batch = 1};

	(void)state;
	begin(&scene);
	wait_often(&scene, 1000000);
	/* A dozen tries of a window each. */
	assert_in_range(scene.looked, 256, 13 * 256);
}

static void test_batches_are_cheaper(void **state)
{
	struct scene scene = {.gap = 10, .wake_up = 15, .work = 7, .batch = 4};

	(void)state;
	begin(&scene);
	wait_often(&scene, 1000000);
	assert_in_range(scene.looked, 256, 15 * 256);
}

static void test_many_at_once_are_never_looked_for(void **state)
{
	struct scene scene = {.gap = 10, .wake_up = 1000, .work = 7, .batch = 8};

	(void)state;
	begin(&scene);
	wait_often(&scene, 100000);
	assert_int_equal(scene.looked, 0);
}

static void test_slow_plcs_are_never_looked_for(void **state)
{
	struct scene scene = {.gap = 1000, .wake_up = 15, .work = 7, .batch = 1};

	(void)state;
	begin(&scene);
	wait_often(&scene, 100000);
	assert_int_equal(scene.looked, 0);
}

/* Whoever slows down afterwards is left at once, and waited for without looking. */
static void test_misses_end_it(void **state)
{
	struct scene scene = {.gap = 10, .wake_up = 15, .work = 7, .batch = 1};

	(void)state;
	begin(&scene);
	wait_often(&scene, 10000);
	scene.gap = 1000;
	wait_often(&scene, 100000);
	assert_in_range(scene.missed, 1, 40);
}

/* With one CPU for all: sleeps are short and looking finds nothing. Tries become rare. */
static void test_vain_tries_become_rare(void **state)
{
	struct scene scene = {.gap = 101, .wake_up = 5, .work = 7, .batch = 1};
	unsigned int early;

	(void)state;
	begin(&scene);
	wait_often(&scene, 100000);
	early = scene.missed;
	assert_in_range(early, 33, 9 * 33);
	wait_often(&scene, 2000000);
	assert_in_range(scene.missed, 33, 8 * 33);
}

/* A talker that pays comes back: after a while of looking nothing is held against it. */
static void test_trust_comes_back(void **state)
{
	struct scene scene = {.gap = 60, .wake_up = 15, .work = 7, .batch = 1};

	(void)state;
	begin(&scene);
	wait_often(&scene, 100000);
	scene.gap = 10;
	wait_often(&scene, 300000); /* until the next try, and it stays */
	scene.gap = 1000;
	wait_often(&scene, 1000);
	scene.gap = 10;
	wait_often(&scene, 3 * 256);
	assert_true(scene.looked > 100);
}

/* What sleeping costs is measured anew: with others about it may have become the cheaper way. */
static void test_compares_now_and_then(void **state)
{
	struct scene scene = {.gap = 20, .wake_up = 25, .work = 7, .batch = 1};

	(void)state;
	begin(&scene);
	wait_often(&scene, 10000);
	assert_true(scene.looked > 9000);
	scene.batch = 4; /* looking hides it until it is compared */
	wait_often(&scene, 300000);
	assert_in_range(scene.looked, 1000, 256 * 257 + 15 * 256);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sleeps_at_first),
		cmocka_unit_test(test_looks_where_it_is_cheaper),
		cmocka_unit_test(test_a_quick_machine_sleeps),
		cmocka_unit_test(test_batches_are_cheaper),
		cmocka_unit_test(test_many_at_once_are_never_looked_for),
		cmocka_unit_test(test_slow_plcs_are_never_looked_for),
		cmocka_unit_test(test_misses_end_it),
		cmocka_unit_test(test_vain_tries_become_rare),
		cmocka_unit_test(test_trust_comes_back),
		cmocka_unit_test(test_compares_now_and_then),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
