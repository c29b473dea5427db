/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/plc_slots.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <cmocka.h>

static struct config_port ports[] = {{.number = 5007, .connections = 1},
				     {.number = 5008, .connections = 3}};
static struct config_plc plcs[] = {{.name = (char[]){"one"}, .ports = ports, .port_count = 2}};
static const struct config config = {.plcs = plcs, .plc_count = 1};

static struct plc_slots *new_slots(void)
{
	struct plc_slots *slots;

	assert_int_equal(plc_slots_new(&config, &slots), 0);
	return slots;
}

static void one_slot(void **state)
{
	struct plc_slots *slots = new_slots();
	clock_us retry = 0;

	(void)state;
	assert_int_equal(plc_slots_take(slots, plcs, &ports[0], 1000, &retry), 0);
	assert_int_equal(plc_slots_take(slots, plcs, &ports[0], 1000, &retry), PLC_SLOTS_WAIT);
	assert_true(retry > 1000); /* soon, not at once */
	/* The other port has slots of its own. */
	assert_int_equal(plc_slots_take(slots, plcs, &ports[1], 1000, &retry), 0);
	plc_slots_give(slots, plcs, &ports[0], 501000);
	assert_int_equal(plc_slots_take(slots, plcs, &ports[0], 2000, &retry), PLC_SLOTS_WAIT);
	assert_int_equal(retry, 501000); /* when it has rested */
	assert_int_equal(plc_slots_take(slots, plcs, &ports[0], 501000, &retry), 0);
	plc_slots_free(slots);
}

static void the_most_rested_goes_first(void **state)
{
	struct plc_slots *slots = new_slots();
	clock_us retry = 0;

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(plc_slots_take(slots, plcs, &ports[1], 0, &retry), 0);
	plc_slots_give(slots, plcs, &ports[1], 300);
	plc_slots_give(slots, plcs, &ports[1], 100);
	plc_slots_give(slots, plcs, &ports[1], 200);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(plc_slots_take(slots, plcs, &ports[1], i * 100, &retry),
				 PLC_SLOTS_WAIT);
		assert_int_equal(retry, (i + 1) * 100);
		assert_int_equal(plc_slots_take(slots, plcs, &ports[1], retry, &retry), 0);
	}
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

		if (plc_slots_take(shared, plcs, &ports[1], 1, &retry) != 0)
			continue;
		now = atomic_fetch_add(&held, 1) + 1;
		if (now > atomic_load(&most))
			atomic_store(&most, now);
		atomic_fetch_sub(&held, 1);
		plc_slots_give(shared, plcs, &ports[1], 0);
	}
	return NULL;
}

static void never_more_than_the_plc_has(void **state)
{
	pthread_t threads[6];

	(void)state;
	shared = new_slots();
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
		cmocka_unit_test(never_more_than_the_plc_has),
	};

	return cmocka_run_group_tests_name("plc_slots", tests, NULL, NULL);
}
