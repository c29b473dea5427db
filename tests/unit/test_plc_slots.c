/* SPDX-License-Identifier: Apache-2.0 */
#include "plant/plc_slots.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <cmocka.h>

static struct plc_slots *new_slots(unsigned int count)
{
	struct plc_slots *slots;

	assert_int_equal(plc_slots_new(count, &slots), 0);
	return slots;
}

static void one_slot(void **state)
{
	struct plc_slots *slots = new_slots(1);
	clock_us retry = 0;

	(void)state;
	assert_int_equal(plc_slots_take(slots, 1000, &retry), 0);
	assert_int_equal(plc_slots_take(slots, 1000, &retry), PLC_SLOTS_WAIT);
	assert_true(retry > 1000); /* soon, not at once */
	plc_slots_give(slots, 501000);
	assert_int_equal(plc_slots_take(slots, 2000, &retry), PLC_SLOTS_WAIT);
	assert_int_equal(retry, 501000); /* when it has rested */
	assert_int_equal(plc_slots_take(slots, 501000, &retry), 0);
	plc_slots_free(slots);
}

static void the_most_rested_goes_first(void **state)
{
	struct plc_slots *slots = new_slots(3);
	clock_us retry = 0;

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(plc_slots_take(slots, 0, &retry), 0);
	plc_slots_give(slots, 300);
	plc_slots_give(slots, 100);
	plc_slots_give(slots, 200);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(plc_slots_take(slots, i * 100, &retry), PLC_SLOTS_WAIT);
		assert_int_equal(retry, (i + 1) * 100);
		assert_int_equal(plc_slots_take(slots, retry, &retry), 0);
	}
	plc_slots_free(slots);
}

static unsigned int taken(struct plc_slots *slots, unsigned int expected_count)
{
	unsigned int number, count;

	plc_slots_count(slots, &number, &count);
	assert_int_equal(count, expected_count);
	return number;
}

/* A new configuration has fewer or more: connections that are there stay. */
static void another_number(void **state)
{
	struct plc_slots *slots = new_slots(2);
	clock_us retry = 0;

	(void)state;
	assert_int_equal(plc_slots_take(slots, 0, &retry), 0);
	assert_int_equal(plc_slots_take(slots, 0, &retry), 0);
	assert_int_equal(plc_slots_resize(slots, 1), 0);
	assert_int_equal(taken(slots, 1), 2);
	plc_slots_give(slots, 100);
	assert_int_equal(plc_slots_take(slots, 1000, &retry), PLC_SLOTS_WAIT);
	plc_slots_give(slots, 100);
	assert_int_equal(plc_slots_take(slots, 99, &retry), PLC_SLOTS_WAIT);
	assert_int_equal(retry, 100);
	assert_int_equal(plc_slots_take(slots, 100, &retry), 0);
	assert_int_equal(plc_slots_take(slots, 1000, &retry), PLC_SLOTS_WAIT);
	assert_int_equal(plc_slots_resize(slots, 4), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(plc_slots_take(slots, 1000, &retry), 0);
	assert_int_equal(plc_slots_take(slots, 1000, &retry), PLC_SLOTS_WAIT);
	assert_int_equal(taken(slots, 4), 4);
	plc_slots_free(slots);
}

static struct plc_slots *shared;
static atomic_int held, most;

static void *grab(void *argument)
{
	clock_us retry;

	(void)argument;
	for (int i = 0; i < 20000; i++) {
		int now;

		if (plc_slots_take(shared, 1, &retry) != 0)
			continue;
		now = atomic_fetch_add(&held, 1) + 1;
		if (now > atomic_load(&most))
			atomic_store(&most, now);
		atomic_fetch_sub(&held, 1);
		plc_slots_give(shared, 0);
	}
	return NULL;
}

static void never_more_than_the_plc_has(void **state)
{
	pthread_t threads[6];

	(void)state;
	shared = new_slots(3);
	for (int i = 0; i < 6; i++)
		pthread_create(&threads[i], NULL, grab, NULL);
	for (int i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
	assert_true(atomic_load(&most) >= 1 && atomic_load(&most) <= 3);
	plc_slots_free(shared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_slot),
		cmocka_unit_test(the_most_rested_goes_first),
		cmocka_unit_test(another_number),
		cmocka_unit_test(never_more_than_the_plc_has),
	};

	return cmocka_run_group_tests_name("plc_slots", tests, NULL, NULL);
}
