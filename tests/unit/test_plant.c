/* SPDX-License-Identifier: Apache-2.0 */
/* Budgets, turns, password tries, accounts: what protects a PLC from those who may ask it. */
#include "plant/plant.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* --- budgets -------------------------------------------------------------------------------- */

static void a_budget_is_spent_and_comes_back(void **state)
{
	struct account account = {.identity = NULL};
	clock_us now = 50 * CLOCK_SEC, again;

	(void)state;
	/* 100 a second, five at once. */
	for (int i = 0; i < 5; i++)
		assert_int_equal(account_spend(&account, 100, 5, now), 0);
	again = account_spend(&account, 100, 5, now);
	assert_int_equal(again, now + 10 * CLOCK_MS);
	assert_int_equal(account_spend(&account, 100, 5, again - 1), again);
	assert_int_equal(account_spend(&account, 100, 5, again), 0);
	assert_true(account_spend(&account, 100, 5, again) > again);
	/* After a long pause it is five again, not more. */
	now += 100 * CLOCK_SEC;
	for (int i = 0; i < 5; i++)
		assert_int_equal(account_spend(&account, 100, 5, now), 0);
	assert_true(account_spend(&account, 100, 5, now) > now);
}

static void a_budget_holds_over_time(void **state)
{
	struct account account = {.identity = NULL};
	unsigned int passed = 0;

	(void)state;
	for (clock_us now = CLOCK_SEC; now < 11 * CLOCK_SEC; now += 500)
		passed += account_spend(&account, 300, 10, now) == 0;
	assert_in_range(passed, 3000, 3010);
}

struct spender {
	struct account *account;
	unsigned int passed;
};

static void *spend(void *argument)
{
	struct spender *spender = argument;

	for (clock_us now = CLOCK_SEC; now < 2 * CLOCK_SEC; now += 20)
		spender->passed += account_spend(spender->account, 1000, 1, now) == 0;
	return NULL;
}

static void threads_share_one_budget(void **state)
{
	struct account account = {.identity = NULL};
	struct spender spenders[4] = {{&account, 0}, {&account, 0}, {&account, 0}, {&account, 0}};
	pthread_t threads[4];
	unsigned int passed = 0;

	(void)state;
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, spend, &spenders[i]);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		passed += spenders[i].passed;
	}
	/* Each thread has a clock of its own; what is due is due once. */
	assert_in_range(passed, 1, 1001);
}

static void connections_are_limited(void **state)
{
	struct account account = {.identity = NULL};

	(void)state;
	assert_true(account_open(&account, 2));
	assert_true(account_open(&account, 2));
	assert_false(account_open(&account, 2));
	assert_int_equal(account.sessions_open, 2);
	account_close(&account);
	assert_true(account_open(&account, 2));
	assert_true(account_open(&account, 0));
	assert_int_equal(account.sessions, 4);
}

/* --- what is counted ------------------------------------------------------------------------ */

static unsigned long long end_code(const struct account *account, unsigned int code)
{
	for (size_t i = 0; i < ACCOUNT_END_CODES; i++)
		if (account->end_codes[i].code == code + 1)
			return account->end_codes[i].count;
	return 0;
}

static void answers_are_counted(void **state)
{
	struct account account = {.identity = NULL};

	(void)state;
	account_answered(&account, 0, 0, 400);
	account_answered(&account, 0, 1000, 500);
	account_answered(&account, 0xc059, 0, 501);
	account_answered(&account, 0xffff, 0, 6 * CLOCK_SEC);
	assert_int_equal(account.answers, 2);
	assert_int_equal(end_code(&account, 0xc059), 1);
	assert_int_equal(end_code(&account, 0xffff), 1);
	assert_int_equal(account.plc.counts[0], 2); /* up to 500 us */
	assert_int_equal(account.plc.counts[1], 1);
	assert_int_equal(account.plc.counts[HISTOGRAM_BUCKETS - 1], 1);
	assert_int_equal(account.plc.total, 400 + 500 + 501 + 6 * CLOCK_SEC);
	assert_int_equal(account.total.counts[2], 1); /* 1.5 ms, with the waiting */
	for (unsigned int code = 1; code <= 20; code++)
		account_answered(&account, (uint16_t)code, 0, 1);
	assert_int_equal(end_code(&account, 14), 1);
	assert_int_equal(end_code(&account, 15), 0); /* there is room for 16 */
	assert_int_equal(account.other_end_codes, 6);
}

/* --- turns ---------------------------------------------------------------------------------- */

struct asker {
	struct turn turn;
	int granted;
};

static void granted(struct turn *turn)
{
	((struct asker *)turn)->granted++;
}

static struct asker asker_of(struct account *account)
{
	return (struct asker){.turn = {.granted = granted, .account = account}};
}

static void identities_take_turns(void **state)
{
	struct account greedy = {.identity = NULL}, modest = {.identity = NULL};
	struct asker many[4], one = asker_of(&modest);
	struct turns turns;

	(void)state;
	TAILQ_INIT(&greedy.waiters);
	TAILQ_INIT(&modest.waiters);
	turns_init(&turns);
	turns_set_limit(&turns, 1);
	for (int i = 0; i < 4; i++)
		many[i] = asker_of(&greedy);
	assert_int_equal(turns_take(&turns, &many[0].turn), 0);
	for (int i = 1; i < 4; i++)
		assert_int_equal(turns_take(&turns, &many[i].turn), TURNS_WAIT);
	assert_int_equal(turns_take(&turns, &one.turn), TURNS_WAIT);
	/* Three of the greedy one's were there before; only one of them goes first. */
	assert_int_equal(turns_end(&turns, &many[0].turn), TURN_TAKEN);
	assert_int_equal(many[1].granted, 1);
	assert_int_equal(turns_take(&turns, &many[0].turn), TURNS_WAIT);
	assert_int_equal(turns_end(&turns, &many[1].turn), TURN_TAKEN);
	assert_int_equal(one.granted, 1);
	assert_int_equal(many[2].granted, 0);
	assert_int_equal(turns_end(&turns, &one.turn), TURN_TAKEN);
	assert_int_equal(many[2].granted, 1);
	/* One stops waiting: the next has its turn; then nobody is left. */
	assert_int_equal(turns_end(&turns, &many[3].turn), TURN_WAITING);
	assert_int_equal(turns_end(&turns, &many[2].turn), TURN_TAKEN);
	assert_int_equal(many[0].granted, 1);
	assert_int_equal(many[3].granted, 0);
	assert_int_equal(turns_end(&turns, &many[0].turn), TURN_TAKEN);
	assert_int_equal(turns_end(&turns, &many[0].turn), TURN_NONE);
	assert_int_equal(turns_take(&turns, &one.turn), 0);
	turns_end(&turns, &one.turn);
	turns_deinit(&turns);
}

static void another_limit(void **state)
{
	struct account account = {.identity = NULL};
	struct asker askers[4];
	struct turns turns;

	(void)state;
	TAILQ_INIT(&account.waiters);
	turns_init(&turns);
	turns_set_limit(&turns, 1);
	for (int i = 0; i < 4; i++) {
		askers[i] = asker_of(&account);
		assert_int_equal(turns_take(&turns, &askers[i].turn), i == 0 ? 0 : TURNS_WAIT);
	}
	turns_set_limit(&turns, 3);
	assert_int_equal(askers[1].granted + askers[2].granted, 2);
	assert_int_equal(askers[3].granted, 0);
	turns_set_limit(&turns, 1);
	turns_end(&turns, &askers[0].turn);
	turns_end(&turns, &askers[1].turn);
	assert_int_equal(askers[3].granted, 0);
	turns_end(&turns, &askers[2].turn);
	assert_int_equal(askers[3].granted, 1);
	turns_end(&turns, &askers[3].turn);
	turns_deinit(&turns);
}

/* --- passwords ------------------------------------------------------------------------------ */

static void wrong_passwords_run_out(void **state)
{
	struct password_tries tries;
	clock_us now = 7 * CLOCK_SEC;

	(void)state;
	password_tries_init(&tries);
	password_tries_set(&tries, 3, 60 * CLOCK_SEC);
	/* Right ones cost nothing. */
	for (int i = 0; i < 10; i++) {
		assert_true(password_tries_begin(&tries, now));
		password_tries_end(&tries, false, now);
	}
	for (int i = 0; i < 3; i++) {
		assert_int_equal(password_tries_left(&tries, now + i), 3 - i);
		assert_true(password_tries_begin(&tries, now + i));
		password_tries_end(&tries, true, now + i);
	}
	assert_false(password_tries_begin(&tries, now + 60 * CLOCK_SEC - 1));
	/* The first is old enough; the others are not. */
	assert_true(password_tries_begin(&tries, now + 60 * CLOCK_SEC));
	assert_false(password_tries_begin(&tries, now + 60 * CLOCK_SEC));
	password_tries_end(&tries, true, now + 60 * CLOCK_SEC);
	assert_int_equal(password_tries_left(&tries, now + 61 * CLOCK_SEC), 2);
	password_tries_deinit(&tries);
}

/* Nobody may try four at once because none of them has been answered. */
static void tries_under_way_count(void **state)
{
	struct password_tries tries;

	(void)state;
	password_tries_init(&tries);
	password_tries_set(&tries, 2, CLOCK_SEC);
	assert_true(password_tries_begin(&tries, 0));
	assert_true(password_tries_begin(&tries, 0));
	assert_false(password_tries_begin(&tries, 0));
	password_tries_end(&tries, false, 0);
	assert_true(password_tries_begin(&tries, 0));
	password_tries_deinit(&tries);
}

/* --- the plant ------------------------------------------------------------------------------ */

static void nothing_is_forgotten(void **state)
{
	struct config_port ports[] = {{.number = 5007, .connections = 2},
				      {.number = 5008, .connections = 1}};
	struct config_plc plcs[] = {
		{.name = (char[]){"a"}, .ports = ports, .port_count = 2, .password_tries = 3},
		{.name = (char[]){"b"}, .ports = ports, .port_count = 1, .password_tries = 3}};
	struct config both = {.plcs = plcs, .plc_count = 2};
	struct config second = {.plcs = plcs + 1, .plc_count = 1};
	unsigned int taken, count;
	struct plant *plant;
	struct plant_plc *a;
	struct account *account;
	struct plc_slots *slots;
	clock_us retry;

	(void)state;
	assert_int_equal(plant_new(&plant), 0);
	assert_int_equal(plant_configure(plant, &both), 0);
	a = plant_find(plant, &plcs[0]);
	assert_ptr_not_equal(a, plant_find(plant, &plcs[1]));
	slots = plant_slots(plant, a, 5007);
	assert_ptr_not_equal(slots, plant_slots(plant, a, 5008));
	assert_ptr_not_equal(slots, plant_slots(plant, plant_find(plant, &plcs[1]), 5007));
	assert_int_equal(plc_slots_take(slots, 0, &retry), 0);
	account = plant_account(plant, a, "ana");
	assert_ptr_equal(account, plant_account(plant, a, "ana"));
	assert_ptr_not_equal(account, plant_account(plant, a, "bob"));
	/* It goes, and comes back with another number of connections. */
	assert_int_equal(plant_configure(plant, &second), 0);
	ports[0].connections = 5;
	assert_int_equal(plant_configure(plant, &both), 0);
	assert_ptr_equal(plant_find(plant, &plcs[0]), a);
	assert_ptr_equal(plant_slots(plant, a, 5007), slots);
	assert_ptr_equal(plant_account(plant, a, "ana"), account);
	plc_slots_count(slots, &taken, &count);
	assert_int_equal(taken, 1);
	assert_int_equal(count, 5);
	plant_free(plant);
	plant_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_budget_is_spent_and_comes_back),
		cmocka_unit_test(a_budget_holds_over_time),
		cmocka_unit_test(threads_share_one_budget),
		cmocka_unit_test(connections_are_limited),
		cmocka_unit_test(answers_are_counted),
		cmocka_unit_test(identities_take_turns),
		cmocka_unit_test(another_limit),
		cmocka_unit_test(wrong_passwords_run_out),
		cmocka_unit_test(tries_under_way_count),
		cmocka_unit_test(nothing_is_forgotten),
	};

	return cmocka_run_group_tests_name("plant", tests, NULL, NULL);
}
