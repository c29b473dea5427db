/* SPDX-License-Identifier: Apache-2.0 */
/* Places at listeners and of sources, and how many refusals are told. */
#include "base/error.h"
#include "proxy/admission.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

static struct config_edge edges[] = {{.name = (char *)(uintptr_t) "office"}};
static struct config_gateway gateways[] = {{.name = (char *)(uintptr_t) "plant", .sessions = 3},
					   {.name = (char *)(uintptr_t) "other"}};
static struct config config = {
	.edges = edges,
	.edge_count = ARRAY_SIZE(edges),
	.gateways = gateways,
	.gateway_count = ARRAY_SIZE(gateways),
};
static struct admission admission;

static int set_up(void **state)
{
	(void)state;
	memset(&admission, 0, sizeof(admission));
	config.limits = (struct config_limits){.sessions = 100};
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	admission_deinit(&admission);
	return 0;
}

static enum admission_reason at_gateway(size_t number, const char *client,
					struct admission_place *place)
{
	struct address address = {.any.sa_family = AF_UNSPEC};

	if (client != NULL)
		assert_int_equal(address_parse_host(client, 4711, &address), 0);
	return admission_take(&admission, &config, NULL, &gateways[number], &address, place);
}

static void a_listener_has_its_own_limit(void **state)
{
	struct admission_place places[4], other;

	(void)state;
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(at_gateway(0, "10.0.0.1", &places[i]), ADMISSION_GRANTED);
	assert_int_equal(at_gateway(0, "10.0.0.2", &places[3]), ADMISSION_LISTENER);
	admission_give(&admission, &places[3]); /* it has none: nothing happens */
	assert_int_equal(at_gateway(0, "10.0.0.2", &places[3]), ADMISSION_LISTENER);
	assert_int_equal(at_gateway(1, "10.0.0.2", &other), ADMISSION_GRANTED);
	admission_give(&admission, &places[0]);
	assert_int_equal(at_gateway(0, "10.0.0.2", &places[3]), ADMISSION_GRANTED);
	admission_give(&admission, &other);
	for (size_t i = 1; i < 4; i++)
		admission_give(&admission, &places[i]);
}

static void a_source_is_an_address(void **state)
{
	static const char *const SAME[] = {"10.0.0.1", "10.0.0.1", "10.0.0.1"};
	static const char *const OTHERS[] = {"10.0.0.2", "fd00::1", "fd00::2"};
	struct admission_place places[3], others[3];

	(void)state;
	config.limits.sessions_per_source = 2;
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(at_gateway(1, SAME[i], &places[i]),
				 i < 2 ? ADMISSION_GRANTED : ADMISSION_SOURCE);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(at_gateway(1, OTHERS[i], &others[i]), ADMISSION_GRANTED);
	for (size_t i = 0; i < 3; i++) {
		admission_give(&admission, &places[i]);
		admission_give(&admission, &others[i]);
	}
	/* All are gone, and so is what was remembered of them: leaks are the sanitizer's. */
	for (size_t i = 0; i < ADMISSION_BUCKETS; i++)
		assert_true(LIST_EMPTY(&admission.sources[i]));
}

static void only_strangers_are_greeted(void **state)
{
	struct admission_place places[4], edge;
	struct address address;

	(void)state;
	config.limits.handshakes_per_source = 2;
	assert_int_equal(at_gateway(1, "10.0.0.1", &places[0]), ADMISSION_GRANTED);
	assert_int_equal(at_gateway(1, "10.0.0.1", &places[1]), ADMISSION_GRANTED);
	assert_int_equal(at_gateway(1, "10.0.0.1", &places[2]), ADMISSION_HANDSHAKES);
	/* An edge's clients show no certificate. */
	assert_int_equal(address_parse_host("10.0.0.1", 1, &address), 0);
	assert_int_equal(admission_take(&admission, &config, &edges[0], NULL, &address, &edge),
			 ADMISSION_GRANTED);
	admission_greeted(&admission, &places[0]);
	admission_greeted(&admission, &places[0]); /* once is enough */
	assert_int_equal(at_gateway(1, "10.0.0.1", &places[2]), ADMISSION_GRANTED);
	assert_int_equal(at_gateway(1, "10.0.0.1", &places[3]), ADMISSION_HANDSHAKES);
	/* One that was never greeted gives its place back, too. */
	admission_give(&admission, &places[1]);
	assert_int_equal(at_gateway(1, "10.0.0.1", &places[3]), ADMISSION_GRANTED);
	admission_give(&admission, &places[0]);
	admission_give(&admission, &places[2]);
	admission_give(&admission, &places[3]);
	admission_give(&admission, &edge);
}

static void who_is_gone_already_has_no_source(void **state)
{
	struct admission_place places[2];

	(void)state;
	config.limits.sessions_per_source = 1;
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(at_gateway(1, NULL, &places[i]), ADMISSION_GRANTED);
	for (size_t i = 0; i < 2; i++)
		admission_give(&admission, &places[i]);
}

static void ten_refusals_a_second_are_told(void **state)
{
	clock_us now = 1000 * CLOCK_SEC;
	unsigned int untold, told = 0;

	(void)state;
	for (int i = 0; i < 25; i++)
		told += admission_may_tell(&admission, now, &untold);
	assert_int_equal(told, 10);
	assert_true(admission_may_tell(&admission, now + CLOCK_SEC, &untold));
	assert_int_equal(untold, 15);
	assert_true(admission_may_tell(&admission, now + CLOCK_SEC, &untold));
	assert_int_equal(untold, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_listener_has_its_own_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_source_is_an_address, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_strangers_are_greeted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_is_gone_already_has_no_source, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(ten_refusals_a_second_are_told, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
