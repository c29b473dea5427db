/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a configuration to rules, looked at as text: what nft and the kernel make of it is tested
 * end to end.
 */
#include "plan.h"
#include "print.h"

#include "base/error.h"
#include "config/config.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PAPERS "certificate = \"/c\" key = \"/k\" ca = \"/a\" crl = \"/r\"\n"
#define EDGE(options, sources, destinations)                                                       \
	"edge \"office\" { " PAPERS options " " sources                                            \
	" route \"plant\" { gateways = \"10.20.0.2:8443\" destinations = { " destinations          \
	" } } }\n"
#define LISTEN  "listen = \"127.0.0.1:15007\""
#define ANYBODY "source \"all\" { addresses = \"0.0.0.0/0\" }"
#define GATEWAY(options)                                                                           \
	"identity \"e\" { match = \"uri:urn:e\" role = edge plcs = \"*\" }\n"                      \
	"gateway \"plant\" { listen = \"0.0.0.0:8443\" " PAPERS options " }\n"
#define PLC "plc \"press-1\" { address = \"10.30.0.10\" port \"5007\" { } }\n"

struct built {
	struct config *config;
	struct plan plan;
	int error;
	char *text;   /* print */
	char *report; /* faults and warnings */
};

static struct config *load(const char *text)
{
	char path[] = "/tmp/test-nft-plan-XXXXXX";
	int fd = mkstemp(path);
	struct config *config;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	assert_int_equal(config_load_alone(path, stderr, &config), 0);
	unlink(path);
	return config;
}

static struct built build(const char *text, bool observe)
{
	struct built built = {.config = load(text)};
	size_t size;
	FILE *report = open_memstream(&built.report, &size);
	FILE *file = open_memstream(&built.text, &size);

	assert_non_null(report);
	assert_non_null(file);
	built.error = plan_build(built.config, observe, report, &built.plan);
	if (built.error == 0)
		print_plan(&built.plan, built.config, false, file);
	fclose(report);
	fclose(file);
	return built;
}

static void release(struct built *built)
{
	plan_deinit(&built->plan);
	config_free(built->config);
	free(built->text);
	free(built->report);
}

static size_t count_rules(const struct plan *plan)
{
	size_t count = 0;

	for (size_t i = 0; i < plan->ruleset.table_count; i++) {
		const struct table *table = &plan->ruleset.tables[i];

		for (size_t j = 0; j < table->chain_count; j++)
			count += table->chains[j].rule_count;
	}
	return count;
}

static void assert_has(const struct built *built, const char *line)
{
	if (strstr(built->text, line) == NULL)
		fail_msg("not in the rules: %s\n%s", line, built->text);
}

static void assert_lacks(const struct built *built, const char *line)
{
	if (strstr(built->text, line) != NULL)
		fail_msg("in the rules: %s\n%s", line, built->text);
}

static void test_host(void **state)
{
	struct built built = build(
		EDGE(LISTEN, "source \"scada\" { users = { 0, 4242 } }", "\"10.30.0.10:5007\""),
		false);

	(void)state;
	assert_int_equal(built.error, 0);
	assert_has(&built, "ip daddr . tcp dport @edge/office/plc4 counter jump edge/office");
	assert_has(&built, "\t\tmeta nfproto ipv4 meta skuid @source/office/scada/users meta "
			   "l4proto tcp counter redirect to :15007");
	assert_has(&built, "meta mark 0x4d430001 counter return");
	assert_lacks(&built, "hook prerouting");
	assert_lacks(&built, "ip6");
	release(&built);
}

static void test_router(void **state)
{
	struct built built =
		build(EDGE("listen = { \"0.0.0.0:15007\", \"[::]:15017\" } "
			   "interfaces = { \"eth1\", \"eth2\" }",
			   "source \"a\" { addresses = { \"10.1.0.0/16\", \"fd10::5\" } } "
			   "source \"b\" { addresses = \"10.2.0.1\" }",
			   "\"10.30.0.0/24:5000-5010\", \"[fd30::/64]:5007\""),
		      false);

	(void)state;
	assert_int_equal(built.error, 0);
	assert_lacks(&built, "nat_output");
	assert_has(&built,
		   "iifname @edge/office/interfaces ip6 daddr . tcp dport @edge/office/plc6");
	assert_has(&built,
		   "ip6 saddr @source/office/a/ipv6 meta l4proto tcp counter redirect to :15017");
	assert_has(&built,
		   "ip saddr @source/office/b/ipv4 meta l4proto tcp counter redirect to :15007");
	assert_lacks(&built, "source/office/b/ipv6");
	assert_has(&built, "\"eth1\",\n\t\"eth2\"\n");
	assert_false(built.plan.divert4 || built.plan.divert6);
	release(&built);
}

static void test_tproxy(void **state)
{
	struct built built = build(EDGE(LISTEN " interception = tproxy interfaces = \"eth1\"",
					ANYBODY, "\"10.30.0.0/24:5007\""),
				   false);

	(void)state;
	assert_int_equal(built.error, 0);
	assert_true(built.plan.divert4 && !built.plan.divert6);
	assert_has(&built, "tproxy ip to 127.0.0.1:15007 meta mark set 0x4d430002 counter accept");
	assert_has(&built, "#   ip -4 rule add fwmark 0x4d430002 lookup 207");
	assert_lacks(&built, "type nat");
	release(&built);
}

static void test_gateway(void **state)
{
	struct built built = build(PLC GATEWAY("clients = { \"10.20.0.1\" }"), false);
	struct built nets = build(
		"nft { plc_networks = { \"10.30.0.0/24\", \"fd30::/64\" } }\n" PLC GATEWAY(""),
		false);

	(void)state;
	assert_int_equal(built.error, 0);
	assert_has(&built,
		   "add element inet mcseal_guard plant4 {\n\t10.30.0.10 comment \"press-1\"\n}");
	assert_has(&built, "ip saddr @gateway/plant/clients4 counter accept");
	assert_has(&built, "\t0.0.0.0/0 . 8443\n");
	assert_has(&built, "meta mark 0x4d430001 ct mark set 0x4d430003 counter accept");
	assert_int_equal(nets.error, 0);
	assert_has(&nets, "ip daddr 10.30.0.0-10.30.0.255 counter goto local_to_plc");
	assert_has(&nets, "ip6 daddr fd30::-fd30::ffff:ffff:ffff:ffff counter goto local_to_plc");
	assert_lacks(&nets, "table inet mcseal {");
	release(&built);
	release(&nets);
}

/* The guard knows single keys and rules of its own for networks, but no set of ranges. */
static void test_guard_without_ranges(void **state)
{
	struct built built = build(EDGE(LISTEN, ANYBODY,
					"\"10.30.0.10:5000-5010\", \"10.31.0.0/24:5007\", "
					"\"10.32.0.1:1-5000\""),
				   false);
	const struct table *guard = &built.plan.ruleset.tables[0];

	(void)state;
	assert_int_equal(built.error, 0);
	assert_int_equal(guard->set_count, 1);
	assert_int_equal(guard->sets[0].element_count, 11);
	assert_has(&built,
		   "ip daddr 10.31.0.0-10.31.0.255 udp dport 5007 counter goto refuse_plain");
	assert_has(&built, "ip daddr 10.32.0.1 tcp dport 1-5000 counter goto refuse_plain");
	release(&built);
}

static void test_fixed_destination_is_guarded(void **state)
{
	struct built built = build(
		EDGE(LISTEN " destination = \"10.30.0.10:5007\"", ANYBODY, "\"10.30.0.10:5007\""),
		false);

	(void)state;
	assert_int_equal(built.error, 0);
	assert_has(&built, "ip daddr . udp dport @plc4 counter goto refuse_plain");
	assert_lacks(&built, "table inet mcseal {");
	release(&built);
}

/* Every packet that is for a PLC is refused, whatever else is configured. */
static void test_observing_blocks_nothing(void **state)
{
	static const char text[] = PLC GATEWAY("clients = \"10.20.0.1\"")
		EDGE(LISTEN, ANYBODY,
		     "\"10.40.0.10:5007\"") "edge \"t\" { " PAPERS
					    "listen = \"127.0.0.1:15008\" interception = tproxy "
					    "interfaces = \"eth1\" " ANYBODY
					    " route \"r\" { gateways = \"10.20.0.2:8443\" "
					    "destinations = \"10.50.0.1:5007\" } }\n";
	static const enum statement_kind changing[] = {STATEMENT_DROP, STATEMENT_RESET,
						       STATEMENT_REDIRECT, STATEMENT_TPROXY,
						       STATEMENT_SET_MARK};
	struct built real = build(text, false), built = build(text, true);
	size_t found = 0;

	(void)state;
	assert_int_equal(built.error, 0);
	assert_false(built.plan.divert4);
	for (int observe = 0; observe < 2; observe++) {
		const struct ruleset *ruleset = observe ? &built.plan.ruleset : &real.plan.ruleset;

		found = 0;
		for (size_t i = 0; i < ruleset->table_count; i++) {
			const struct table *table = &ruleset->tables[i];

			for (size_t j = 0; j < table->chain_count; j++)
				for (size_t k = 0; k < table->chains[j].rule_count; k++)
					for (size_t l = 0; l < table->chains[j].rules[k].count; l++)
						for (size_t m = 0; m < ARRAY_SIZE(changing); m++)
							found += table->chains[j]
									 .rules[k]
									 .statements[l]
									 .kind == changing[m];
		}
		if (!observe)
			assert_true(found > 8);
	}
	assert_int_equal(found, 0);
	assert_has(&built, "mcseal-would-redirect: ");
	release(&real);
	release(&built);
}

/* Sets grow with the PLCs, rules do not. */
static void test_rules_do_not_grow(void **state)
{
	struct built one = build(EDGE(LISTEN, ANYBODY, "\"10.30.0.1:5007\""), false), many;
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	(void)state;
	fprintf(file, "edge \"office\" { " PAPERS LISTEN " " ANYBODY
		      " route \"plant\" { gateways = \"10.20.0.2:8443\" destinations = { ");
	for (int i = 0; i < 1000; i++)
		fprintf(file, "%s\"10.30.%d.%d:5007\"", i == 0 ? "" : ", ", i / 250, i % 250 * 1);
	fprintf(file, " } } }");
	fclose(file);
	many = build(text, false);
	assert_int_equal(many.error, 0);
	assert_int_equal(count_rules(&one.plan), count_rules(&many.plan));
	assert_int_equal(many.plan.ruleset.tables[0].sets[0].element_count, 1000);
	free(text);
	release(&one);
	release(&many);
}

static void test_faults(void **state)
{
	struct built family = build(EDGE(LISTEN, ANYBODY, "\"[fd30::1]:5007\""), false);
	struct built mark = build("mark = 0\n" PLC GATEWAY(""), false);

	(void)state;
	assert_int_equal(family.error, -EINVAL);
	assert_non_null(strstr(family.report, "carries IPv6 destinations, but listens on no IPv6"));
	assert_int_equal(mark.error, -EINVAL);
	assert_non_null(strstr(mark.report, "expected mark = ... at the top level, not 0"));
	release(&family);
	release(&mark);
}

static void test_missing_cgroup(void **state)
{
	struct built built =
		build(EDGE(LISTEN, "source \"s\" { cgroups = \"/no-such.slice/x.service\" }",
			   "\"10.30.0.1:5007\""),
		      false);

	(void)state;
	assert_int_equal(built.error, 0);
	assert_non_null(strstr(built.report, "no-such.slice/x.service does not exist now"));
	assert_has(&built, "socket cgroupv2 level 2 @source/office/s/cgroups2");
	release(&built);
}

/* As many objects in JSON as in the text, and every rule with its comment. */
static void test_json(void **state)
{
	struct built built = build(PLC GATEWAY("clients = \"10.20.0.1\"")
					   EDGE(LISTEN, ANYBODY, "\"10.40.0.10:5007\""),
				   false);
	json_t *json = print_plan_json(&built.plan, false), *command;
	size_t at, rules = 0;

	(void)state;
	assert_non_null(json);
	json_array_foreach(json_object_get(json, "nftables"), at, command)
	{
		const json_t *rule = json_object_get(json_object_get(command, "add"), "rule");

		if (rule == NULL)
			continue;
		rules++;
		assert_true(json_string_length(json_object_get(rule, "comment")) > 0);
		assert_true(json_array_size(json_object_get(rule, "expr")) > 0);
	}
	assert_int_equal(rules, count_rules(&built.plan));
	json_decref(json);
	release(&built);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_host),
		cmocka_unit_test(test_router),
		cmocka_unit_test(test_tproxy),
		cmocka_unit_test(test_gateway),
		cmocka_unit_test(test_guard_without_ranges),
		cmocka_unit_test(test_fixed_destination_is_guarded),
		cmocka_unit_test(test_observing_blocks_nothing),
		cmocka_unit_test(test_rules_do_not_grow),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_missing_cgroup),
		cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
