/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may do what: policies as the file has them against requests in binary and ASCII, and what a
 * refused client is told.
 */
#include "config_fixture.h"
#include "mc_fixture.h"
#include "mc_vectors.h"
#include "policy/policy.h"

#include <stdio.h>

#define WITH(policy) "policy \"x\" { " policy " }\n"

/* Binary; the data length, bytes 7 and 8 of a 3E frame, is filled in by judge_row(). */
#define READ_D100     "500000ffff03000c00100001040000640000a80200" /* D100-D101 */
#define READ_D999     "500000ffff03000c00100001040000e70300a80200" /* D999-D1000 */
#define READ_M_WORDS  "500000ffff03000c00100001040000f00000900100" /* M240-M255, as a word */
#define READ_M_BEYOND "500000ffff03000c00100001040000f10000900100" /* M241-M256 */
#define WRITE_D100    "500000ffff03000e00100001140000640000a801001995"
#define WRITE_SD      "500000ffff03000e00100001140000640000a901001995"
#define RANDOM_WRITE                                                                               \
	"500000ffff0300160010000214000001016e0000a85005700000a802123904" /* D110, D112-113 */
#define RUN           "500000ffff03000a0010000110000003000000"
#define MODEL         "500000ffff03000600100001010000"
#define FILE_READ     "500000ffff030006001000060200000000"
#define UNLOCK        "500000ffff03000c0010003016000004007061737300"
#define UNKNOWN       "500000ffff03000600100034120000"
#define BUFFER        "500000ffff03000c00100013060000000000000100"
#define MONITOR       "500000ffff03000600100002080000"
#define EXTENDED      "500000ffff03000c00100001048000640000a80200"
#define TOO_LONG      "500000ffff03000d00100001040000640000a8020000"
#define NO_POINTS     "500000ffff03000c00100001040000640000a80000"
#define BIT_UNIT_D    "500000ffff03000c00100001040100640000a80200"
#define OTHER_STATION "500001ffff03000c00100001040000640000a80200"
#define READ_4E       "54003412000000ffff03000c00100001040000640000a80200"
#define E1_READ       "01ff0a006400000020440200"
#define E1_OTHER_PC   "01010a006400000020440200"
#define E1_WRITE      "03ff0a00a00f0000204405000b00f4ff0d000e000f00"
#define E1_RUN        "13ff0a00"
#define ALL_CLASSES                                                                                \
	"allow = { read, write, control, file-read, file-write, security, diagnostic, other }"

#define PASSES              POLICY_RULE_NONE, 0, 0
#define REFUSED(rule, code) POLICY_RULE_##rule, code, 0

struct row {
	const char *policy; /* NULL: none */
	const char *request;
	enum policy_rule rule;
	uint16_t end_code;
	uint8_t abnormal_code;
};

static const struct row ROWS[] = {
	/* Nothing was said: reads of the own station. */
	{NULL, READ_D100, PASSES},
	{NULL, READ_4E, PASSES},
	{NULL, MODEL, PASSES},
	{NULL, MONITOR, PASSES},
	{NULL, WRITE_D100, REFUSED(WRITE, 0x0055)},
	{NULL, WRITE_SD, REFUSED(WRITE, 0x0055)},
	{NULL, RUN, REFUSED(CLASS, 0xc059)},
	{NULL, UNLOCK, REFUSED(CLASS, 0xc059)},
	{NULL, UNKNOWN, REFUSED(COMMAND, 0xc059)},
	{NULL, BUFFER, REFUSED(UNREADABLE, 0xc059)},
	{NULL, EXTENDED, REFUSED(SUBCOMMAND, 0xc059)},
	{NULL, OTHER_STATION, REFUSED(ROUTE, 0xc059)},
	{NULL, TOO_LONG, REFUSED(LENGTH, 0xc061)},
	{NULL, E1_READ, PASSES},
	{NULL, E1_OTHER_PC, POLICY_RULE_ROUTE, 0x5b, 0x10},
	{NULL, E1_WRITE, REFUSED(WRITE, 0x56)},
	{NULL, E1_RUN, POLICY_RULE_CLASS, 0x5b, 0x18},
	/* A policy that says nothing allows nothing. */
	{"", READ_D100, REFUSED(READ, 0xc05b)},
	{"", MODEL, REFUSED(CLASS, 0xc059)},
	/* Points: listed ones and no others, in words or bits, over several entries. */
	{"read = { \"D0-D999\", \"M0-M255\" }", READ_D100, PASSES},
	{"read = { \"D0-D999\", \"M0-M255\" }", READ_D999, REFUSED(READ, 0xc05b)},
	{"read = { \"D1000\", \"D0-D999\" }", READ_D999, PASSES},
	{"read = { \"D0-D999\", \"D1001-D2000\" }", READ_D999, REFUSED(READ, 0xc05b)},
	{"read = { \"D\" }", READ_D999, PASSES},
	{"read = { \"*\" }", READ_D999, PASSES},
	{"read = { \"W0-WFFF\" }", READ_D100, REFUSED(READ, 0xc05b)},
	{"read = { \"M0-M255\" }", READ_M_WORDS, PASSES},
	{"read = { \"M0-M255\" }", READ_M_BEYOND, REFUSED(READ, 0xc05b)},
	{"read = { \"D0-D999\" }", WRITE_D100, REFUSED(WRITE, 0x0055)},
	{"read = { \"D0-D999\" }", MODEL, REFUSED(CLASS, 0xc059)},
	{"read = { \"D0-D999\" } commands = { 0101 }", MODEL, PASSES},
	{"read = { \"D0-D999\" }", MONITOR, REFUSED(UNREADABLE, 0xc059)},
	{"read = { \"*\" }", MONITOR, PASSES},
	{"read = { \"D0-D999\" } commands = { 0802 }", MONITOR, PASSES},
	{"allow = { read } read = { \"D0-D99\" }", READ_D100, REFUSED(READ, 0xc05b)},
	{"write = { \"D100-D109\" }", WRITE_D100, PASSES},
	{"write = { \"D100-D109\" }", READ_D100, REFUSED(READ, 0xc05b)},
	{"write = { \"D100-D112\" }", RANDOM_WRITE, REFUSED(WRITE, 0x0055)},
	{"write = { \"D110\", \"D112-D113\" }", RANDOM_WRITE, PASSES},
	/* Special registers steer the CPU: by name, or with control. */
	{"allow = { write }", WRITE_D100, PASSES},
	{"allow = { write }", WRITE_SD, REFUSED(WRITE, 0x0055)},
	{"write = { \"*\" }", WRITE_SD, REFUSED(WRITE, 0x0055)},
	{"write = { \"SD100\" }", WRITE_SD, PASSES},
	{"allow = { control }", WRITE_SD, PASSES},
	{"allow = { control }", WRITE_D100, REFUSED(WRITE, 0x0055)},
	{"allow = { control }", RUN, PASSES},
	{"allow = { control }", E1_RUN, PASSES},
	/* Listed commands, and what cannot be looked into. */
	{"commands = { 1401 }", WRITE_D100, PASSES},
	{"commands = { 1401 }", RANDOM_WRITE, REFUSED(WRITE, 0x0055)},
	{"commands = { 1001 }", RUN, PASSES},
	{"commands = { 1234 }", UNKNOWN, PASSES},
	{"commands = { 0613 }", BUFFER, PASSES},
	{"commands = { 0401 }", EXTENDED, PASSES},
	{"commands = { 0401 } read = { \"D\" }", EXTENDED, REFUSED(SUBCOMMAND, 0xc059)},
	{"commands = { 03 }", E1_WRITE, PASSES},
	{ALL_CLASSES, UNKNOWN, REFUSED(COMMAND, 0xc059)},
	{ALL_CLASSES, BUFFER, REFUSED(UNREADABLE, 0xc059)},
	{ALL_CLASSES, UNLOCK, PASSES},
	/* A frame that contradicts itself passes nobody. */
	{ALL_CLASSES " commands = { \"*\" }", TOO_LONG, REFUSED(LENGTH, 0xc061)},
	{ALL_CLASSES " commands = { \"*\" }", NO_POINTS, REFUSED(COUNT, 0xc051)},
	{ALL_CLASSES " commands = { \"*\" }", OTHER_STATION, REFUSED(ROUTE, 0xc059)},
	/* Other stations. */
	{"allow = { read } routes = { \"01-FF-03FF-00\" }", OTHER_STATION, PASSES},
	{"allow = { read } routes = { \"01-FF-03FF-00\" }", READ_D100, REFUSED(ROUTE, 0xc059)},
	{"allow = { read } routes = { \"*\" }", OTHER_STATION, PASSES},
	{"allow = { read } routes = { \"00-01-03FF-00\" }", E1_OTHER_PC, PASSES},
};

static struct policy_verdict judge_bytes(const struct config_policy *policy, const uint8_t *bytes,
					 size_t size)
{
	struct policy_verdict verdict;
	struct mc_request request;

	assert_int_equal(mc_frame_parse_request(bytes, size, &request), 0);
	policy_judge(policy, &request, &verdict);
	return verdict;
}

static struct policy_verdict judge_row(const struct config_policy *policy, const char *text)
{
	uint8_t bytes[MC_VECTOR_SIZE];
	size_t size = mc_vector_bytes(MC_CODE_BINARY, text, bytes);

	if (bytes[0] == 0x50)
		bytes[7] = (uint8_t)(size - 9);
	return judge_bytes(policy, bytes, size);
}

static void test_verdicts(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
		const struct row *row = &ROWS[i];
		char text[512];
		struct outcome outcome;
		struct policy_verdict verdict;

		snprintf(text, sizeof(text), VALID "policy \"x\" { %s }\n",
			 row->policy ? row->policy : "");
		outcome = load_valid(text);
		verdict =
			judge_row(row->policy ? &outcome.config->policies[0] : NULL, row->request);
		if (verdict.rule != row->rule || verdict.end_code != row->end_code ||
		    verdict.abnormal_code != row->abnormal_code)
			fail_msg("{%s} %s: %s %04X %02X, expected %s %04X", row->policy,
				 row->request, policy_rule_name(verdict.rule), verdict.end_code,
				 verdict.abnormal_code, policy_rule_name(row->rule), row->end_code);
		assert_int_equal(verdict.range.device != NULL,
				 row->rule == POLICY_RULE_READ || row->rule == POLICY_RULE_WRITE);
		drop(&outcome);
	}
}

/* What only reads according to the table passes an identity without a policy, and nothing else. */
static void test_vectors_without_a_policy(void **state)
{
	unsigned int passed = 0;

	(void)state;
	for (size_t i = 0; i < MC_VECTOR_COUNT; i++) {
		const struct mc_vector *vector = &MC_VECTORS[i];
		uint8_t bytes[MC_VECTOR_SIZE];
		size_t size = mc_vector_bytes(vector->code, vector->request, bytes);
		struct policy_verdict verdict = judge_bytes(NULL, bytes, size);
		bool reads = verdict.access.class == MC_CLASS_READ &&
			     verdict.access.rule == MC_RULE_NONE &&
			     (verdict.access.monitor || !verdict.access.opaque);

		if (verdict.rule == POLICY_RULE_NONE && !reads)
			fail_msg("%s passed", vector->name);
		passed += verdict.rule == POLICY_RULE_NONE;
	}
	assert_true(passed >= 12 && passed < MC_VECTOR_COUNT);
}

static void test_class_names(void **state)
{
	struct outcome outcome = load_valid(VALID WITH(ALL_CLASSES));
	const struct config_policy *policy = &outcome.config->policies[0];

	(void)state;
	assert_int_equal(policy->allow_count, MC_CLASS_OTHER + 1);
	for (size_t i = 0; i < policy->allow_count; i++)
		assert_int_equal(policy->allow[i], i);
	/* The words of the file are the names of the table. */
	for (size_t i = 0; i < policy->allow_count; i++)
		assert_non_null(strstr(ALL_CLASSES, mc_command_class_name((enum mc_class)i)));
	drop(&outcome);
}

static void test_choice(void **state)
{
	struct outcome outcome =
		load_valid("plc \"q\" { address = 10.0.0.2 port \"5007\" { } }\n" PLC GATEWAY
			   "policy \"all\" { allow = read }\npolicy \"some\" { read = \"D0\" }\n"
			   "identity \"i\" { match = \"cn:x\" plcs = \"*\" policy = { \"all\", "
			   "\"q=some\" } }\n"
			   "identity \"j\" { match = \"cn:y\" plcs = \"*\" policy = \"q=all\" }\n"
			   "identity \"k\" { match = \"cn:z\" plcs = \"*\" }\n");
	const struct config *config = outcome.config;
	const struct config_plc *q = &config->plcs[0], *p = &config->plcs[1];

	(void)state;
	assert_ptr_equal(config_policy_of(&config->identities[0], p), &config->policies[0]);
	assert_ptr_equal(config_policy_of(&config->identities[0], q), &config->policies[1]);
	assert_null(config_policy_of(&config->identities[1], p));
	assert_ptr_equal(config_policy_of(&config->identities[1], q), &config->policies[0]);
	assert_null(config_policy_of(&config->identities[2], q));
	drop(&outcome);
}

static void test_faults(void **state)
{
	static const struct {
		const char *text, *said;
	} rows[] = {
		{WITH("allow = { reads }"), "'reads' is not known"},
		{WITH("commands = { 401 }"), "'401' is not valid"},
		{WITH("commands = { xyzw }"), "'xyzw' is not valid"},
		{WITH("read = { \"D10-D9\" }"), "'D10-D9' is not valid"},
		{WITH("read = { \"D0-M9\" }"), "'D0-M9' is not valid"},
		{WITH("read = { \"QQ1\" }"), "'QQ1' is not valid"},
		{WITH("read = { \"X0-XG\" }"), "'X0-XG' is not valid"},
		{WITH("routes = { \"00-FF-3FF-00\" }"), "is not valid"},
		{WITH("") WITH(""), "already defined"},
		{WITH(""), "allows nothing"},
		{"identity \"j\" { match = \"cn:y\" plcs = \"*\" policy = \"no\" }\n",
		 "there is no policy \"no\""},
		{WITH("allow = read") "identity \"j\" { match = \"cn:y\" plcs = \"*\" "
				      "policy = { \"x\", \"z=x\" } }\n",
		 "there is no plc \"z\""},
		{WITH("allow = read") "identity \"j\" { match = \"cn:y\" plcs = \"*\" "
				      "policy = { \"x\", \"x\" } }\n",
		 "are for the same PLCs"},
		{"gateway \"h\" { listen = \"0.0.0.0:8444\" " CREDENTIALS "inspect = no }\n",
		 "can stop its PLCs"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[1024];
		struct outcome outcome;

		snprintf(text, sizeof(text), VALID "%s", rows[i].text);
		outcome = load(text);
		if (!strstr(outcome.report, rows[i].said))
			fail_msg("%s\n%s", rows[i].text, outcome.report);
		drop(&outcome);
	}
}

/* --- each class against each command -------------------------------------------------------- */

static const struct mc_sample *sample_of(uint16_t command)
{
	for (size_t i = 0; i < ARRAY_SIZE(MC_SAMPLES); i++)
		if (MC_SAMPLES[i].command == command)
			return &MC_SAMPLES[i];
	return NULL;
}

/* May a request of this command pass when one class is allowed and nothing else is? */
static bool passes_with(enum mc_class class, uint16_t command, enum mc_code code)
{
	int allowed = (int)class;
	const struct config_policy policy = {.allow = &allowed, .allow_count = 1};
	const struct mc_sample none = {.command = command, .data = ""};
	const struct mc_sample *sample = sample_of(command);
	struct policy_verdict verdict;
	struct composed composed;
	struct mc_access access =
		compose_sample(&composed, MC_FAMILY_3E, code, sample != NULL ? sample : &none);

	policy_judge(&policy, &composed.request, &verdict);
	if (verdict.rule == POLICY_RULE_NONE)
		assert_int_equal(access.class, class);
	else if (access.class == class && access.rule == MC_RULE_NONE)
		/* Reads and writes of what is no device have to be listed one by one. */
		assert_int_equal(verdict.rule, POLICY_RULE_UNREADABLE);
	return verdict.rule == POLICY_RULE_NONE;
}

static void a_class_allows_itself_and_nothing_else(void **state)
{
	(void)state;
	FOR_BOTH(code)
	{
		for (unsigned int class = 0; class < MC_CLASSES; class ++) {
			unsigned int passed = 0;

			for (unsigned int command = 0; command <= UINT16_MAX; command++)
				if (mc_command_find(MC_FAMILY_3E, (uint16_t)command) != NULL)
					passed += passes_with((enum mc_class) class,
							      (uint16_t)command, code);
			assert_true(passed > 0);
		}
	}
}

/* --- names that mean nearly the same ---------------------------------------------------------- */

/* May somebody whose policy lists point 0 of `listed` read or write that of `asked`? */
static enum policy_rule by_name(const struct mc_device *listed, const struct mc_device *asked,
				enum mc_code code, uint16_t subcommand, bool write)
{
	struct config_points points = {.device = listed};
	struct config_policy policy = {
		.read = &points, .read_count = 1, .write = &points, .write_count = 1};
	struct policy_verdict verdict;
	struct composed composed;
	char text[MC_DEVICE_TEXT_SIZE];
	bool bits = asked->kind == MC_DEVICE_BIT;

	compose(&composed, code, write ? 0x1401 : 0x0401, subcommand | bits);
	put_device(&composed, mc_device_print(asked, 0, text));
	if (composed.writer.error != MC_NUMBER_OK)
		return POLICY_RULES; /* it has no such form */
	put(&composed, 1, 2);
	if (write && bits)
		put_bits(&composed, 1);
	else if (write)
		put_zeros(&composed, 2);
	composed_end(&composed);
	policy_judge(&policy, &composed.request, &verdict);
	return verdict.rule;
}

/*
 * R and ZR, X and DX, T and its contact, D and SD: each is a device of its own here, whatever a
 * CPU makes of it. Who was given one has not been given another.
 */
static void no_device_stands_for_another(void **state)
{
	unsigned int passed = 0, refused = 0;

	(void)state;
	for (size_t listed = 0; mc_device_at(listed) != NULL; listed++) {
		for (size_t asked = 0; mc_device_at(asked) != NULL; asked++) {
			FOR_BOTH(code)
			{
				for (unsigned int way = 0; way < 4; way++) {
					enum policy_rule rule =
						by_name(mc_device_at(listed), mc_device_at(asked),
							code, way & 2, way & 1);

					passed += rule == POLICY_RULE_NONE;
					refused += rule == POLICY_RULE_READ ||
						   rule == POLICY_RULE_WRITE;
					if (listed != asked)
						assert_int_not_equal(rule, POLICY_RULE_NONE);
				}
			}
		}
	}
	assert_true(passed > 150 && refused > 5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_vectors_without_a_policy),
		cmocka_unit_test(test_class_names),
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(no_device_stands_for_another),
		cmocka_unit_test(a_class_allows_itself_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
