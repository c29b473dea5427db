/* SPDX-License-Identifier: Apache-2.0 */
/* Audit lines read back: every form they come in, and nothing that only looks like one. */
#include "ctl/audit_record.h"

#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define HEAD  "session=7 identity=ana serial=3f client=[fd10::2]:50122 plc=press-1 policy=- "
#define FRAME HEAD "frame=3E route=00-FF-03FF-00 command=1401 subcommand=0000 "
#define WRITE FRAME "name=\"batch write\" class=write attack=T0836"
#define TEXT  "request request=12 " WRITE " points=D100-D101,X1F-X2A"
#define E1    HEAD "frame=1E pc=FF command=03 name=\"batch write words\" class=write"

#define JSON_HEAD "{\"event\":\"request\",\"time\":\"2026-01-31T12:00:00.000000Z\",\"session\":7,"
#define JSON_WHO  "\"identity\":\"ana\",\"plc\":\"press-1\",\"frame\":\"3E\","
#define JSON_WHAT                                                                                  \
	"\"route\":\"00-FF-03FF-00\",\"command\":\"1401\",\"subcommand\":\"0000\","                \
	"\"class\":\"write\",\"points\":\"D100-D101,X1F-X2A\""
#define JSON JSON_HEAD JSON_WHO JSON_WHAT "}"

static struct audit_record *record;

static int set_up(void **state)
{
	(void)state;
	record = calloc(1, sizeof(*record));
	return record == NULL;
}

static int tear_down(void **state)
{
	(void)state;
	free(record);
	return 0;
}

/* In memory of exactly its size, so that a byte too far is seen. */
static int read_bytes(const char *line, size_t size)
{
	char *copy = malloc(size > 0 ? size : 1);
	int outcome;

	memcpy(copy, line, size);
	outcome = audit_record_read(copy, size, record);
	free(copy);
	return outcome;
}

static int read_line(const char *line)
{
	return read_bytes(line, strlen(line));
}

static void check_write(const char *line)
{
	const char *rest;
	struct point_range range;

	if (read_line(line) != 0)
		fail_msg("not taken: %s", line);
	assert_int_equal(record->event, AUDIT_REQUEST);
	assert_string_equal(record->identity, "ana");
	assert_string_equal(record->plc, "press-1");
	assert_int_equal(record->family, MC_FAMILY_3E);
	assert_int_equal(record->command, 0x1401);
	assert_int_equal(record->subcommand, 0);
	assert_int_equal(record->class, MC_CLASS_WRITE);
	assert_int_equal(record->route.module, 0x03ff);
	assert_null(record->rule);
	assert_int_equal(record->more_points, 0);
	rest = record->points;
	assert_true(audit_record_points(&rest, &range));
	assert_string_equal(range.device->name, "D");
	assert_int_equal(range.first, 100);
	assert_int_equal(range.last, 101);
	assert_true(audit_record_points(&rest, &range));
	assert_string_equal(range.device->name, "X");
	assert_int_equal(range.first, 0x1f);
	assert_int_equal(range.last, 0x2a);
	assert_false(audit_record_points(&rest, &range));
}

static void every_form(void **state)
{
	static const char *const lines[] = {
		"info " TEXT,
		"<6>info " TEXT,
		"2026-01-31T12:00:00.123Z info " TEXT,
		"Jan 31 12:00:00 gw mcseald[812]: info " TEXT,
		"2026-01-31T12:00:00.123456+01:00 gw mcseald[812]: info " TEXT,
		"Sat 2026-01-31 12:00:00 UTC gw mcseald[812]: info " TEXT,
		"[   12.345678] gw mcseald[812]: info " TEXT,
		"warning " TEXT,
		JSON,
		"{\"MESSAGE\":\"info request request=12 identity=ana plc=press-1 frame=3E "
		"route=00-FF-03FF-00 command=1401 subcommand=0000 name=\\\"batch write\\\" "
		"class=write points=D100-D101,X1F-X2A\",\"SYSLOG_IDENTIFIER\":\"mcseald\"}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		check_write(lines[i]);
}

static void more_fields(void **state)
{
	(void)state;
	assert_int_equal(read_line("warning request-refused rule=write " WRITE
				   " points=D9-D9 more-points=149 end-code=0055"),
			 0);
	assert_int_equal(record->event, AUDIT_REFUSED);
	assert_string_equal(record->rule, "write");
	assert_int_equal(record->more_points, 149);
	assert_int_equal(read_line("warning request-observed rule=class " WRITE), 0);
	assert_int_equal(record->event, AUDIT_OBSERVED);
	assert_string_equal(record->points, "");
	assert_int_equal(read_line("info request request=1 " E1 " points=M0-M15"), 0);
	assert_int_equal(record->family, MC_FAMILY_1E);
	assert_int_equal(record->command, 0x03);
	assert_int_equal(record->route.pc, 0xff);
	assert_int_equal(read_line(JSON_HEAD JSON_WHO JSON_WHAT ",\"more-points\":3}"), 0);
	assert_int_equal(record->more_points, 3);
	assert_int_equal(read_line(JSON_HEAD JSON_WHO JSON_WHAT ",\"values\":null}"), 0);
	assert_int_equal(read_line("info request identity=\"a\\x6ea\" plc=p frame=1E pc=0a "
				   "command=13 class=control detail=\"\\\\ \\\" =\""),
			 0);
	assert_string_equal(record->identity, "ana");
	assert_int_equal(record->route.pc, 0x0a);
}

/* Lines of somebody else, and values of ours in which others have a say. */
static void other_lines(void **state)
{
	static const char *const lines[] = {
		"",
		"-- Boot 0123456789abcdef --",
		"info ready workers=2",
		"info request-answered request=12 session=7 plc=press-1 end-code=0000",
		"info requests " WRITE,
		"info",
		"notice " TEXT,
		" info " TEXT,
		"warning session-closed detail=\"info " TEXT "\"",
		"warning session-closed detail=\"x mcseald[1]: info " TEXT "\"",
		"Jan 31 12:00:00 gw sshd[1]: Invalid user mcseald[1]: info " TEXT,
		"Jan 31 12:00:00 gw sshd[1]: info " TEXT,
		"Jan 31 12:00:00 gw evil-mcseald[1]: info " TEXT,
		"Jan 31 12:00:00 gw mcseald[]: info " TEXT,
		"Jan 31 12:00:00 gw mcseald[1a]: info " TEXT,
		"mcseald[1]: info " TEXT,
		"Jan 31 12:00:00 gw x=y mcseald[1]: info " TEXT,
		"2026-01-31T12:00:00.123 info " TEXT,
		"<66>info " TEXT,
		"{\"event\":\"session-closed\"}",
		"{\"MESSAGE\":\"info "
		"request\"}",
		"{\"MESSAGE\":\"info request\",\"SYSLOG_IDENTIFIER\":\"sshd\"}",
		"{\"MESSAGE\":[1,2],\"SYSLOG_IDENTIFIER\":\"mcseald\"}",
		"{}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		if (read_line(lines[i]) != AUDIT_OTHER)
			fail_msg("taken: %s", lines[i]);
}

static void broken_lines(void **state)
{
	static const char *const lines[] = {
		"info request",
		"info request request=12 " HEAD,
		"info " TEXT "...", /* cut by the log */
		"info " TEXT " name=\"a",
		"info " TEXT " name=\"a\\",
		"info " TEXT " name=\"a\\x4\"",
		"info " TEXT " name=\"a\\x00\"",
		"info " TEXT " name=\"a\\n\"",
		"info " TEXT " name=a=b",
		"info " TEXT " name",
		"info " TEXT " =a",
		"info " TEXT "  a=b",
		"info " TEXT " a=\"b\"c",
		"info " TEXT " A=b",
		"info " TEXT " plc=press-1", /* twice */
		"info " TEXT " rule=write",  /* of a request that passed */
		"warning request-refused " WRITE,
		"info request identity=ana plc=press-1 " E1 " subcommand=0000 identity=x",
		"info request " HEAD "frame=3E command=1401 subcommand=0000 class=write",
		"info request " HEAD "frame=3E route=00-FF-03FF command=1401 subcommand=0000 "
		"class=write",
		"info request " HEAD "frame=3E route=00-FF-03FF-00 command=14 subcommand=0000 "
		"class=write",
		"info request " HEAD "frame=2E route=00-FF-03FF-00 command=1401 subcommand=0000 "
		"class=write",
		"info request " HEAD "frame=1E command=03 class=write",
		"info request " HEAD "frame=1E pc=FF command=0003 class=write",
		"info request " FRAME "class=writes",
		"info request " FRAME "class=write points=D100",
		"info request " FRAME "class=write points=D100-",
		"info request " FRAME "class=write points=-D100",
		"info request " FRAME "class=write points=D101-D100",
		"info request " FRAME "class=write points=D100-M101",
		"info request " FRAME "class=write points=D100-D101,",
		"info request " FRAME "class=write points=,D100-D101",
		"info request " FRAME "class=write points=D100-D101,D3",
		"info request " FRAME "class=write points=Q100-Q101",
		"info request " FRAME "class=write points=D100-D4294967296",
		"info request " FRAME "class=write points=D000000000000000000000001-D2",
		"info request " FRAME "class=security points=D100-D101",
		"info request " FRAME "class=write more-points=-1",
		"info request " FRAME "class=write more-points=9999999999",
		"info request identity=\"a b\" plc=p frame=1E pc=FF command=13 class=control",
		"info request identity=a\xc3\xa4 plc=p frame=1E pc=FF command=13 class=control",
		"info request identity=\"\" plc=p frame=1E pc=FF command=13 class=control",
		"info request identity=\"x\\x22 { }\" plc=p frame=1E pc=FF command=13 "
		"class=control",
		"{",
		"{\"event\":\"request\"",
		"{\"event\":\"request\"}",
		JSON JSON,
		JSON_HEAD JSON_WHO JSON_WHAT ",\"cut\":true}",
		JSON_HEAD JSON_WHO JSON_WHAT ",\"plc\":\"press-1\"}",
		JSON_HEAD JSON_WHO JSON_WHAT ",\"rule\":[]}",
		JSON_HEAD JSON_WHO JSON_WHAT ",\"more-points\":1.5}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		if (read_line(lines[i]) != AUDIT_BROKEN)
			fail_msg("taken: %s", lines[i]);
}

static void zero_bytes(void **state)
{
	char line[] = "info " TEXT;

	(void)state;
	for (size_t i = strlen("info request "); i < strlen(line); i++) {
		char kept = line[i];

		line[i] = '\0';
		assert_int_equal(read_bytes(line, sizeof(line) - 1), AUDIT_BROKEN);
		line[i] = kept;
	}
	check_write(line);
}

/* Cut anywhere, a line is not taken for a shorter one, unless it is whole without its end. */
static void cut_anywhere(void **state)
{
	static const char line[] = "info " TEXT, json[] = JSON;
	unsigned int taken = 0;

	(void)state;
	for (size_t size = 0; size < strlen(line); size++) {
		int outcome = read_bytes(line, size);

		assert_int_equal(outcome == AUDIT_OTHER, size < strlen("info request"));
		taken += outcome == 0;
	}
	/* The class is known: from then on a line could end at blanks, and within numbers. */
	assert_in_range(taken, 1, strlen(" attack=T0836 points=D100-D101,X1F-X2A"));
	for (size_t size = 1; size < strlen(json); size++)
		assert_int_equal(read_bytes(json, size), AUDIT_BROKEN);
}

static void longest_names_and_lines(void **state)
{
	static char line[AUDIT_LINE_MAX + 2];
	char name[255];

	(void)state;
	memset(name, 'n', sizeof(name));
	for (int length = 253; length <= 254; length++) {
		snprintf(line, sizeof(line),
			 "info request identity=%.*s plc=p frame=1E pc=FF command=13 "
			 "class=control",
			 length, name);
		assert_int_equal(read_line(line), length == 253 ? 0 : AUDIT_BROKEN);
	}
	memset(line, 'x', sizeof(line));
	memcpy(line, "info " TEXT " z=", strlen("info " TEXT " z="));
	assert_int_equal(read_bytes(line, AUDIT_LINE_MAX), 0);
	assert_int_equal(read_bytes(line, AUDIT_LINE_MAX + 1), AUDIT_BROKEN);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(every_form),
		CASE(more_fields),
		CASE(other_lines),
		CASE(broken_lines),
		CASE(zero_bytes),
		CASE(cut_anywhere),
		CASE(longest_names_and_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
