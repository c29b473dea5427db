/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics: what is counted comes out under its name, in the format's grammar; and docs/metrics.md
 * has a row for each. Run from the top of the tree.
 */
#include "control/metrics.h"

#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static struct {
	struct plant *plant;
	struct counters counters;
	char *text;
	struct config nothing;
	struct snapshot snapshot;
	struct reload running;
} site;

static int set_up(void **state)
{
	static struct config_port ports[] = {{.number = 5007, .connections = 3},
					     {.number = 5006, .connections = 1}};
	static char press[] = "press-1", mixer[] = "mixer";
	static struct config_plc plcs[] = {
		{.name = press,
		 .ports = ports,
		 .port_count = 2,
		 .password_tries = 3,
		 .password_time = 900 * CLOCK_SEC},
		{.name = mixer,
		 .ports = ports,
		 .port_count = 1,
		 .password_tries = 5,
		 .password_time = 900 * CLOCK_SEC},
	};
	static const struct config config = {.plcs = plcs, .plc_count = ARRAY_SIZE(plcs)};

	(void)state;
	memset(&site, 0, sizeof(site));
	site.snapshot.config = &site.nothing;
	site.running.snapshot = &site.snapshot;
	assert_int_equal(plant_new(&site.plant), 0);
	assert_int_equal(plant_configure(site.plant, &config), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	plant_free(site.plant);
	free(site.text);
	return 0;
}

static struct plant_plc *plc(const char *name)
{
	char copy[32];
	const struct config_plc configured = {.name = copy};

	snprintf(copy, sizeof(copy), "%s", name);
	return plant_find(site.plant, &configured);
}

static struct account *account(const char *name, const char *identity)
{
	return plant_account(site.plant, plc(name), identity);
}

static void print(void)
{
	struct control_context context = {.running = &site.running,
					  .plant = site.plant,
					  .counters = &site.counters,
					  .started = 1790000000};
	size_t size;
	FILE *file = open_memstream(&site.text, &size);

	assert_int_equal(metrics_print(file, &context), 0);
	fclose(file);
}

static bool has_line(const char *line)
{
	size_t size = strlen(line);

	for (const char *at = site.text; (at = strstr(at, line)) != NULL; at++)
		if ((at == site.text || at[-1] == '\n') && at[size] == '\n')
			return true;
	return false;
}

static void expect_lines(const char *const *lines, size_t count)
{
	print();
	for (size_t i = 0; i < count; i++)
		if (!has_line(lines[i]))
			fail_msg("no line\n%s\nin\n%s", lines[i], site.text);
}

#define EXPECT(...)                                                                                \
	do {                                                                                       \
		static const char *const LINES[] = {__VA_ARGS__};                                  \
		expect_lines(LINES, ARRAY_SIZE(LINES));                                            \
	} while (0)

/* --- what comes out ------------------------------------------------------------------------- */

static void the_daemon(void **state)
{
	struct counters *counters = &site.counters;

	(void)state;
	counters->sessions = 9;
	counters->accepted[SESSION_EDGE] = 11;
	counters->accepted[SESSION_GATEWAY] = 12;
	counters->not_accepted[ADMISSION_SOURCE] = 13;
	counters->accept_paused = 14;
	counters->audit_written = 141;
	counters->audit_lost = 142;
	counters->closed[SESSION_EDGE][SESSION_REASON_FINISHED] = 15;
	counters->closed[SESSION_EDGE][SESSION_REASON_NO_ROUTE] = 2;
	counters->closed[SESSION_GATEWAY][SESSION_REASON_PLC_BUSY] = 16;
	counters->handshakes[SESSION_EDGE][COUNTERS_HANDSHAKE_RESUMED] = 17;
	counters->handshakes[SESSION_GATEWAY][COUNTERS_HANDSHAKE_EVICTED] = 18;
	counters->bytes_to_plc[SESSION_EDGE] = 19;
	counters->bytes_from_plc[SESSION_GATEWAY] = 18446744073709551615ULL;
	counters->relaying[SESSION_EDGE][COUNTERS_KERNEL][RELAY_ENGINE_SPLICE] = 21;
	counters->relaying[SESSION_GATEWAY][COUNTERS_USER][RELAY_ENGINE_COPY] = 22;
	EXPECT("mcseal_start_time_seconds 1790000000", "mcseal_sessions 9",
	       "mcseal_sessions_accepted_total{role=\"edge\"} 11",
	       "mcseal_sessions_accepted_total{role=\"gateway\"} 12",
	       "mcseal_sessions_not_accepted_total{reason=\"source-limit\"} 13",
	       "mcseal_accept_pauses_total 14", "mcseal_audit_lines_total 141",
	       "mcseal_audit_lines_lost_total 142",
	       "mcseal_sessions_closed_total{role=\"edge\"} 17",
	       "mcseal_sessions_closed_total{role=\"gateway\"} 16",
	       "mcseal_sessions_closed_by_reason_total{role=\"edge\",reason=\"finished\"} 15",
	       "mcseal_sessions_closed_by_reason_total{role=\"edge\",reason=\"no-route\"} 2",
	       "mcseal_sessions_closed_by_reason_total{role=\"gateway\",reason=\"plc-busy\"} 16",
	       "mcseal_handshakes_total{role=\"edge\",result=\"resumed\"} 17",
	       "mcseal_handshakes_total{role=\"edge\",result=\"full\"} 0",
	       "mcseal_handshakes_total{role=\"gateway\",result=\"evicted\"} 18",
	       "mcseal_session_bytes_total{role=\"edge\",direction=\"to-plc\"} 19",
	       "mcseal_sessions_relaying{role=\"edge\",records=\"kernel\",engine=\"splice\"} 21",
	       "mcseal_sessions_relaying{role=\"gateway\",records=\"user\",engine=\"copy\"} 22",
	       "mcseal_sessions_relaying{role=\"gateway\",records=\"kernel\",engine=\"copy\"} 0");
	free(site.text);
	EXPECT("mcseal_build_info{version=\"" MCSEAL_VERSION "\"} 1",
	       "mcseal_session_bytes_total{role=\"gateway\",direction=\"from-plc\"} "
	       "18446744073709551615");
	/* What has not occurred has no line. */
	assert_null(strstr(site.text, "reason=\"no-memory\""));
}

static void plcs(void **state)
{
	struct plc_slots *slots = plant_slots(site.plant, plc("press-1"), 5007);
	clock_us retry;

	(void)state;
	assert_int_equal(plc_slots_take(slots, clock_now(), &retry), 0);
	assert_int_equal(plc_slots_take(slots, clock_now(), &retry), 0);
	assert_true(password_tries_begin(&plc("press-1")->tries, clock_now()));
	password_tries_end(&plc("press-1")->tries, true, clock_now());
	EXPECT("mcseal_plc_slots{plc=\"press-1\",port=\"5007\"} 3",
	       "mcseal_plc_slots{plc=\"press-1\",port=\"5006\"} 1",
	       "mcseal_plc_slots_taken{plc=\"press-1\",port=\"5007\"} 2",
	       "mcseal_plc_slots_taken{plc=\"press-1\",port=\"5006\"} 0",
	       "mcseal_plc_slots_taken{plc=\"mixer\",port=\"5007\"} 0",
	       "mcseal_plc_password_tries_left{plc=\"press-1\"} 2",
	       "mcseal_plc_password_tries_left{plc=\"mixer\"} 5");
	/* In the order of their names, so that two scrapes can be compared. */
	assert_true(strstr(site.text,
			   "mcseal_plc_slots{plc=\"mixer\",port=\"5007\"} 3\n"
			   "mcseal_plc_slots{plc=\"press-1\",port=\"5006\"} 1\n"
			   "mcseal_plc_slots{plc=\"press-1\",port=\"5007\"} 3\n") != NULL);
}

static void accounts(void **state)
{
	struct account *ana = account("press-1", "ana"), *bob = account("press-1", "bob");

	(void)state;
	account("mixer", "ana");
	assert_true(account_open(ana, 0));
	assert_true(account_open(ana, 0));
	account_close(ana);
	ana->requests[MC_CLASS_WRITE] = 5;
	bob->requests[MC_CLASS_FILE_READ] = 6;
	ana->refused[POLICY_RULE_WRITE] = 7;
	ana->refused[POLICY_RULE_BUSY] = 1;
	bob->observed[POLICY_RULE_ROUTE] = 8;
	ana->unanswered = 9;
	account_moved(ana, 100, 2000);
	account_answered(ana, 0, 0, 0);
	account_answered(ana, 0xc059, 0, 0);
	account_answered(ana, 0xc059, 0, 0);
	account_answered(ana, 0x5b, 0, 0);
	EXPECT("mcseal_plc_sessions_total{plc=\"press-1\",identity=\"ana\"} 2",
	       "mcseal_plc_sessions_open{plc=\"press-1\",identity=\"ana\"} 1",
	       "mcseal_plc_sessions_open{plc=\"mixer\",identity=\"ana\"} 0",
	       "mcseal_requests_total{plc=\"press-1\",identity=\"ana\",class=\"write\"} 5",
	       "mcseal_requests_total{plc=\"press-1\",identity=\"ana\",class=\"control\"} 0",
	       "mcseal_requests_total{plc=\"press-1\",identity=\"bob\",class=\"file-read\"} 6",
	       "mcseal_requests_refused_total{plc=\"press-1\",identity=\"ana\"} 8",
	       "mcseal_requests_refused_total{plc=\"press-1\",identity=\"bob\"} 0",
	       "mcseal_requests_refused_by_rule_total{plc=\"press-1\",identity=\"ana\","
	       "rule=\"write\"} 7",
	       "mcseal_requests_refused_by_rule_total{plc=\"press-1\",identity=\"ana\","
	       "rule=\"busy\"} 1",
	       "mcseal_requests_observed_total{plc=\"press-1\",identity=\"bob\"} 8",
	       "mcseal_requests_observed_by_rule_total{plc=\"press-1\",identity=\"bob\","
	       "rule=\"route\"} 8",
	       "mcseal_requests_unanswered_total{plc=\"press-1\",identity=\"ana\"} 9",
	       "mcseal_answers_total{plc=\"press-1\",identity=\"ana\",result=\"normal\"} 1",
	       "mcseal_answers_total{plc=\"press-1\",identity=\"ana\",result=\"error\"} 3",
	       "mcseal_answers_by_end_code_total{plc=\"press-1\",identity=\"ana\","
	       "end_code=\"C059\"} 2",
	       "mcseal_answers_by_end_code_total{plc=\"press-1\",identity=\"ana\","
	       "end_code=\"005B\"} 1",
	       "mcseal_plc_bytes_total{plc=\"press-1\",identity=\"ana\",direction=\"to-plc\"} 100",
	       "mcseal_plc_bytes_total{plc=\"press-1\",identity=\"ana\",direction=\"from-plc\"} "
	       "2000");
	assert_null(strstr(site.text, "rule=\"none\""));
}

static void end_codes_beyond_those_told_apart(void **state)
{
	struct account *ana = account("press-1", "ana");

	(void)state;
	for (unsigned int i = 0; i < ACCOUNT_END_CODES + 3; i++)
		account_answered(ana, (uint16_t)(0xc000 + i), 0, 0);
	EXPECT("mcseal_answers_total{plc=\"press-1\",identity=\"ana\",result=\"error\"} 19",
	       "mcseal_answers_by_end_code_total{plc=\"press-1\",identity=\"ana\","
	       "end_code=\"C00F\"} 1",
	       "mcseal_answers_by_end_code_total{plc=\"press-1\",identity=\"ana\","
	       "end_code=\"other\"} 3");
}

#define BUCKET(metric, end, count)                                                                 \
	metric "_bucket{plc=\"press-1\",identity=\"ana\",le=\"" end "\"} " count

static void histograms(void **state)
{
	struct account *ana = account("press-1", "ana");

	(void)state;
	/* On an end of a bucket, behind it, and beyond all of them. */
	account_answered(ana, 0, 400, 500);
	account_answered(ana, 0, 0, 501);
	account_answered(ana, 0, 1 * CLOCK_SEC, 6 * CLOCK_SEC);
	EXPECT(BUCKET("mcseal_request_plc_seconds", "0.0005", "1"),
	       BUCKET("mcseal_request_plc_seconds", "0.001", "2"),
	       BUCKET("mcseal_request_plc_seconds", "5", "2"),
	       BUCKET("mcseal_request_plc_seconds", "+Inf", "3"),
	       "mcseal_request_plc_seconds_sum{plc=\"press-1\",identity=\"ana\"} 6.001001",
	       "mcseal_request_plc_seconds_count{plc=\"press-1\",identity=\"ana\"} 3",
	       BUCKET("mcseal_request_waiting_seconds", "0.0005", "2"),
	       BUCKET("mcseal_request_waiting_seconds", "1", "3"),
	       "mcseal_request_waiting_seconds_sum{plc=\"press-1\",identity=\"ana\"} 1.000400",
	       BUCKET("mcseal_request_seconds", "0.0005", "0"),
	       BUCKET("mcseal_request_seconds", "0.001", "2"),
	       "mcseal_request_seconds_sum{plc=\"press-1\",identity=\"ana\"} 7.001401");
}

static void escaped_names(void **state)
{
	(void)state;
	account("press-1", "a\"b\\c\nd")->unanswered = 1;
	EXPECT("mcseal_requests_unanswered_total{plc=\"press-1\",identity=\"a\\\"b\\\\c\\nd\"} 1");
}

static void escaped_help(void **state)
{
	const struct exposition_metric odd = {"odd", "gauge", {NULL}, "a\\b\nc \"d\""};
	size_t size;
	FILE *file = open_memstream(&site.text, &size);

	(void)state;
	exposition_head(file, &odd);
	fclose(file);
	assert_string_equal(site.text, "# HELP odd a\\\\b\\nc \"d\"\n# TYPE odd gauge\n");
}

/* --- the format ----------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
	return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

/* Each sample belongs to the metric of the TYPE line above it. */
static void check_sample(const char *line, const struct exposition_metric *metric)
{
	static const char *const SUFFIXES[] = {"_bucket", "_sum", "_count"};
	size_t size = strcspn(line, "{ ");
	bool right = strlen(metric->name) == size && strcmp(metric->kind, "histogram") != 0;

	for (size_t i = 0; i < ARRAY_SIZE(SUFFIXES); i++)
		right = right || (strcmp(metric->kind, "histogram") == 0 &&
				  size == strlen(metric->name) + strlen(SUFFIXES[i]) &&
				  memcmp(line + strlen(metric->name), SUFFIXES[i],
					 strlen(SUFFIXES[i])) == 0);
	if (!right || memcmp(line, metric->name, strlen(metric->name)) != 0)
		fail_msg("in %s: %s", metric->name, line);
	for (size_t i = 0; i < EXPOSITION_LABELS_MAX && metric->labels[i] != NULL; i++)
		assert_non_null(strstr(line, metric->labels[i]));
}

static void heads_and_groups(void **state)
{
	const struct exposition_metric *metric = NULL;
	char head[512], *rest, *line;
	size_t metrics = 0;

	(void)state;
	account("press-1", "ana")->refused[POLICY_RULE_READ] = 1;
	account("press-1", "ana")->observed[POLICY_RULE_READ] = 1;
	account_answered(account("press-1", "ana"), 1, 1, 1);
	site.counters.closed[SESSION_EDGE][SESSION_REASON_FINISHED] = 1;
	print();
	assert_true(ends_with(site.text, "\n"));
	rest = site.text;
	while ((line = strsep(&rest, "\n")) != NULL && *line != '\0') {
		if (strncmp(line, "# HELP ", 7) == 0) {
			metric = metrics_at(metrics++);
			if (metric == NULL) {
				fail_msg("no metric for %s", line);
				return;
			}
			snprintf(head, sizeof(head), "# HELP %s %s", metric->name, metric->help);
			assert_string_equal(line, head);
			snprintf(head, sizeof(head), "# TYPE %s %s", metric->name, metric->kind);
			assert_string_equal(strsep(&rest, "\n"), head);
		} else {
			if (metric == NULL) {
				fail_msg("a sample before any TYPE: %s", line);
				return;
			}
			check_sample(line, metric);
		}
	}
	assert_null(metrics_at(metrics));
}

static void names_follow_the_rules(void **state)
{
	const struct exposition_metric *metric;

	(void)state;
	for (size_t i = 0; (metric = metrics_at(i)) != NULL; i++) {
		assert_int_equal(strncmp(metric->name, "mcseal_", 7), 0);
		assert_int_equal(strspn(metric->name, "abcdefghijklmnopqrstuvwxyz_"),
				 strlen(metric->name));
		assert_int_equal(ends_with(metric->name, "_total"),
				 strcmp(metric->kind, "counter") == 0);
		if (strcmp(metric->kind, "histogram") == 0)
			assert_true(ends_with(metric->name, "_seconds"));
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(metric->name, metrics_at(j)->name);
	}
}

/* --- the documentation ---------------------------------------------------------------------- */

static void the_manual_has_a_row_for_each(void **state)
{
	FILE *file = fopen("docs/metrics.md", "r");
	const struct exposition_metric *metric;
	size_t size = 0, rows = 0, metrics = 0;
	char row[256];

	(void)state;
	if (file == NULL)
		fail_msg("cannot read docs/metrics.md: run from the top of the tree");
	assert_true(getdelim(&site.text, &size, '\0', file) > 0);
	fclose(file);
	for (; (metric = metrics_at(metrics)) != NULL; metrics++) {
		size_t used = (size_t)snprintf(row, sizeof(row), "\n| `%s` | %s | ", metric->name,
					       metric->kind);

		for (size_t i = 0; i < EXPOSITION_LABELS_MAX && metric->labels[i] != NULL; i++)
			used += (size_t)snprintf(row + used, sizeof(row) - used, "%s`%s`",
						 i > 0 ? ", " : "", metric->labels[i]);
		snprintf(row + used, sizeof(row) - used, "%s| ",
			 metric->labels[0] != NULL ? " " : "");
		if (strstr(site.text, row) == NULL)
			fail_msg("docs/metrics.md lacks the row%s", row);
	}
	for (const char *at = site.text; (at = strstr(at, "\n| `mcseal_")) != NULL; at++)
		rows++;
	assert_int_equal(rows, metrics);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_daemon),
		CASE(plcs),
		CASE(accounts),
		CASE(end_codes_beyond_those_told_apart),
		CASE(histograms),
		CASE(escaped_names),
		CASE(escaped_help),
		CASE(heads_and_groups),
		CASE(names_follow_the_rules),
		CASE(the_manual_has_a_row_for_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
