/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults in the syntax: each is told once, with its line, and everything else in the file is
 * judged all the same. Reports are compared whole: a message too many is a failure too.
 */
#include "config_fixture.h"

#include "config/config_report.h"

#include <stdint.h>

struct fault {
	const char *text; /* begins in line 5, behind VALID */
	const char *report;
};

#define FORMS "expected NAME = VALUE, NAME = { VALUE, ... } or SECTION \"TITLE\" { ... }"
#define CHARACTER(c)                                                                               \
	"unexpected character '" c "', expected a name, a value, \"...\", =, a comma or a brace\n"
#define BLOCK_NOT_READ                                                                             \
	"what stands in this { } was not read, expected it behind the name of an option or "       \
	"section\n"
#define NOT_READ " (what stands in it was not read)\n"

/* clang-format off */
static const struct fault faults[] = {
	/* Names: what is nearly known is judged as what was meant. */
	{"wrkers = x\n",
	 "5: the top level has no option 'wrkers', expected 'workers' perhaps\n"
	 "5: workers: 'x' is not valid, expected a whole number\n"},
	{"workers = 1\nwrkers = 2\n",
	 "6: the top level has no option 'wrkers', expected 'workers' perhaps\n"},
	{"tiemouts {\ndrain = x\n}\n",
	 "5: the top level has no section 'tiemouts', expected 'timeouts' perhaps\n"
	 "6: drain: 'x' is not valid, expected seconds, with at most six decimals, like 1.5\n"},
	{"tiemouts = { drain = x }\n",
	 "5: the top level has no option 'tiemouts', expected 'timeouts' perhaps\n"
	 "5: timeouts is a section, expected no = behind it\n"
	 "5: drain: 'x' is not valid, expected seconds, with at most six decimals, like 1.5\n"},
	{"plcs \"q\" {\n adress = x\n port \"1\" { connection = 0 } }\n",
	 "5: the top level has no section 'plcs', expected 'plc' perhaps\n"
	 "6: plc has no option 'adress', expected 'address' perhaps\n"
	 "6: address: 'x' is not valid, expected a numeric address without a port, like "
	 "10.30.0.10 or fd30::10 (names are not looked up)\n"
	 "7: port has no option 'connection', expected 'connections' perhaps\n"
	 "7: connections: 0 is out of range, expected 1 to 1024\n"},
	/* Any other is skipped, and what comes behind is read. */
	{"zzz = 2 3\nworkers = x\n",
	 "5: the top level has no option 'zzz', expected one of the manual's\n"
	 "6: workers: 'x' is not valid, expected a whole number\n"},
	{"zzz = {\n1, 2 } workers = x\n",
	 "5: the top level has no option 'zzz', expected one of the manual's\n"
	 "6: workers: 'x' is not valid, expected a whole number\n"},
	{"zzz \"a\" {\nb { c = { 1 } } }\nworkers = x\n",
	 "5: the top level has no section 'zzz', expected one of the manual's" NOT_READ
	 "7: workers: 'x' is not valid, expected a whole number\n"},
	{"route \"r\" { gateways = x }\nworkers = x\n",
	 "5: the top level has no section 'route', expected it in edge" NOT_READ
	 "6: workers: 'x' is not valid, expected a whole number\n"},
	{"zzz\nyyy 2\nworkers = x\n",
	 "5: the top level has no option 'zzz', expected one of the manual's\n"
	 "6: the top level has no option 'yyy', expected one of the manual's\n"
	 "7: workers: 'x' is not valid, expected a whole number\n"},
	{"zzz {\nworkers = x\n",
	 "5: the top level has no section 'zzz', expected one of the manual's\n"
	 "5: this { is never closed, expected } before the end of the file\n"
	 "6: workers: 'x' is not valid, expected a whole number\n"},
	/* Values. */
	{"workers =\nlog_level = loud\n",
	 "5: workers has no value, expected workers = VALUE\n"
	 "6: log_level: 'loud' is not known, expected one of error, warning, info, debug\n"},
	{"workers = log_level = loud\n",
	 "5: workers has no value, expected workers = VALUE\n"
	 "5: log_level: 'loud' is not known, expected one of error, warning, info, debug\n"},
	{"workers =\nplc \"q\" { address = x port \"1\" { } }\n",
	 "5: workers has no value, expected workers = VALUE\n"
	 "6: address: 'x' is not valid, expected a numeric address without a port, like "
	 "10.30.0.10 or fd30::10 (names are not looked up)\n"},
	{"workers =\nplc q { address = 10.0.0.2 port 1 { } }\n",
	 "5: workers has no value, expected workers = VALUE\n"},
	{"workers =\nlimits { sessions = }\nmark = x\n",
	 "5: workers has no value, expected workers = VALUE\n"
	 "6: sessions has no value, expected sessions = VALUE\n"
	 "7: mark: 'x' is not valid, expected a socket mark from 0 to 0xffffffff, in "
	 "decimal or hexadecimal\n"},
	{"workers = { }\n", "5: workers has 0 values, expected one\n"},
	{"workers = 1, x\n",
	 "5: workers has 2 values, expected one\n"
	 "5: workers: 'x' is not valid, expected a whole number\n"},
	{"workers = x\nworkers = y\n",
	 "5: workers: 'x' is not valid, expected a whole number\n"
	 "6: workers is set a second time in this section, expected once\n"
	 "6: workers: 'y' is not valid, expected a whole number\n"},
	{"limits { sessions = x }\nlimits { sessions = y }\n",
	 "5: sessions: 'x' is not valid, expected a whole number\n"
	 "6: limits stands here a second time, expected once\n"
	 "6: sessions: 'y' is not valid, expected a whole number\n"},
	{"workers x\nlog_level\n",
	 "5: workers has no =, expected workers = VALUE\n"
	 "5: workers: 'x' is not valid, expected a whole number\n"
	 "6: log_level has no value, expected log_level = VALUE\n"},
	{"workers = = 2\nmark 1\n",
	 "5: workers has no value, expected workers = VALUE\n"
	 "6: mark has no =, expected mark = VALUE\n"},
	{"workers = 1,\nlog_level = loud\n",
	 "5: unexpected ',', " FORMS "\n"
	 "6: log_level: 'loud' is not known, expected one of error, warning, info, debug\n"},
	/* Lists. */
	{"plc \"q\" { address = 10.0.0.2 port \"1\" { }\nsni = a,\n\"b c\" }\n",
	 "6: sni has several values without braces, expected sni = { VALUE, ... }\n"
	 "7: sni: 'b c' is not valid, expected a name of letters, digits, '.', '_' and '-'\n"},
	{"plc \"q\" { address = 10.0.0.2 port \"1\" { }\nsni { a\n\"b c\" } }\n",
	 "6: sni has no =, expected sni = { VALUE, ... }\n"
	 "7: unexpected 'b c', expected a comma before it or }\n"
	 "7: sni: 'b c' is not valid, expected a name of letters, digits, '.', '_' and '-'\n"},
	{"plc \"q\" { address = 10.0.0.2 port \"1\" { }\nsni = { , a,, { x } = b }\n}\n",
	 "6: unexpected ',', expected a value or }\n"
	 "6: unexpected ',', expected a value or }\n"
	 "6: " BLOCK_NOT_READ
	 "6: unexpected '=', expected a value or }\n"},
	{"plc \"q\" { address = 10.0.0.2\nsni = { a,\nport \"1\" { connections = 0 } }\n",
	 "6: this { is never closed, expected } behind the last value\n"
	 "7: connections: 0 is out of range, expected 1 to 1024\n"},
	{"plc \"q\" { address = 10.0.0.2 port \"1\" { }\nsni = { a }, b\n}\nworkers = x\n",
	 "6: unexpected ',', " FORMS "\n"
	 "8: workers: 'x' is not valid, expected a whole number\n"},
	{"plc \"q\" { address = 10.0.0.2 port \"1\" { }\nsni = { a; b, 'c', \"\t\" } }\nworkers = x\n",
	 "6: " CHARACTER(";")
	 "6: " CHARACTER("'")
	 "6: control character 0x09 in a string, expected text\n"
	 "7: workers: 'x' is not valid, expected a whole number\n"},
	/* Strings and characters. */
	{"plc \"q\" {\naddress = \"10.0.0.2\n port \"1 {\nconnections = x } }\nworkers = \"x",
	 "6: the string has no end, expected \" on the same line\n"
	 "7: the string has no end, expected \" on the same line\n"
	 "8: connections: 'x' is not valid, expected a whole number\n"
	 "9: the string has no end, expected \" on the same line\n"},
	{"limits { frame = \"300 }\nworkers = x\n",
	 "5: the string has no end, expected \" on the same line\n"
	 "6: workers: 'x' is not valid, expected a whole number\n"},
	{"workers = ${HOME}\nmark = 'x y'\nlog_level += info;\nengine = (auto)\n",
	 "5: " CHARACTER("$")
	 "6: " CHARACTER("'")
	 "7: " CHARACTER("+")
	 "7: " CHARACTER(";")
	 "8: " CHARACTER("(")},
	{"limits { sessions = $x }\nworkers = x\n",
	 "5: " CHARACTER("$")
	 "6: workers: 'x' is not valid, expected a whole number\n"},
	{"workers = \"${X}\"\nmark = \"\\x\"\nengine = \xe2\x80\x9c" "auto\xe2\x80\x9d\n",
	 "5: variables like ${NAME} are not replaced here, expected the value itself\n"
	 "6: a backslash in a string, expected \\\" or \\\\\n"
	 "7: unexpected byte 0xe2, expected plain text (such bytes may stand in \"...\" and "
	 "comments only)\n"},
	{"workers = x\n/* a\nmark = y\n",
	 "5: workers: 'x' is not valid, expected a whole number\n"
	 "6: this comment never ends, expected */ (the rest of the file was not read)\n"},
	{"limits {\n/* a\n",
	 "6: this comment never ends, expected */ (the rest of the file was not read)\n"},
	/* Braces and titles. */
	{"}\nworkers = x\n",
	 "5: this } closes nothing, expected an option\n"
	 "6: workers: 'x' is not valid, expected a whole number\n"},
	{"{ mark = { x }\n}\n}\nworkers = x\n",
	 "5: unexpected '{', " FORMS "\n"
	 "5: mark: 'x' is not valid, expected a socket mark from 0 to 0xffffffff, in decimal or "
	 "hexadecimal\n"
	 "7: this } closes nothing, expected an option\n"
	 "8: workers: 'x' is not valid, expected a whole number\n"},
	{"limits { { sessions = x }\nframe = y }\nworkers = x\n",
	 "5: unexpected '{', " FORMS "\n"
	 "5: sessions: 'x' is not valid, expected a whole number\n"
	 "6: frame: 'y' is not valid, expected a whole number\n"
	 "7: workers: 'x' is not valid, expected a whole number\n"},
	{"limits {\n{ sessions = x\n}\ntimeouts { drain = y }\n",
	 "5: this { is never closed, expected } before 'timeouts' in line 8\n"
	 "6: unexpected '{', " FORMS "\n"
	 "6: sessions: 'x' is not valid, expected a whole number\n"
	 "8: drain: 'y' is not valid, expected seconds, with at most six decimals, like 1.5\n"},
	{"\"q\" { address = x }\nworkers = x\n",
	 "5: unexpected 'q', " FORMS "\n"
	 "5: " BLOCK_NOT_READ
	 "6: workers: 'x' is not valid, expected a whole number\n"},
	{"= 2 \"x\"\nworkers = x\n",
	 "5: unexpected '=', " FORMS "\n"
	 "6: workers: 'x' is not valid, expected a whole number\n"},
	{"limits {\nsessions = x\ntimeouts { drain = y }\nworkers = z",
	 "5: this { is never closed, expected } before 'timeouts' in line 7\n"
	 "6: sessions: 'x' is not valid, expected a whole number\n"
	 "7: drain: 'y' is not valid, expected seconds, with at most six decimals, like 1.5\n"
	 "8: workers: 'z' is not valid, expected a whole number\n"},
	{"plc \"q\" { address = 10.0.0.2\nport \"1\" {\nport \"0\" { }\n}\nworkers = x\n",
	 "6: this { is never closed, expected } before 'port' in line 7\n"
	 "7: port: '0' is not valid, expected a port from 1 to 65535\n"
	 "9: workers: 'x' is not valid, expected a whole number\n"},
	{"plc \"q\" {\naddress = 10.0.0.2 port \"1\"\n{\nconnections = 0",
	 "5: this { is never closed, expected } before the end of the file\n"
	 "7: this { is never closed, expected } before the end of the file\n"
	 "8: connections: 0 is out of range, expected 1 to 1024\n"},
	{"plc {\naddress = x\nport { connections = 0 } }\n",
	 "5: plc has no title, expected plc \"TITLE\" { ... }\n"
	 "6: address: 'x' is not valid, expected a numeric address without a port, like "
	 "10.30.0.10 or fd30::10 (names are not looked up)\n"
	 "7: port has no title, expected port \"TITLE\" { ... }\n"
	 "7: connections: 0 is out of range, expected 1 to 1024\n"},
	{"plc { port \"1\" { } }\n",
	 "5: plc has no title, expected plc \"TITLE\" { ... }\n"
	 "5: plc has no address, expected a numeric address without a port, like 10.30.0.10 or "
	 "fd30::10 (names are not looked up)\n"},
	{"limits \"x\" { sessions = x }\n",
	 "5: limits has a title, expected limits { ... }\n"
	 "5: sessions: 'x' is not valid, expected a whole number\n"},
	{"plc = \"q\" { address = 10.0.0.2 port \"1\" { } }\n",
	 "5: plc is a section, expected no = behind it\n"},
	{"plc = q\nworkers = x\n",
	 "5: plc has no { here, expected plc \"TITLE\" { ... }\n"
	 "6: workers: 'x' is not valid, expected a whole number\n"},
	{"plc \"q\"\naddress = 10.0.0.2\nport \"1\" { connections = 0 }\n}\nlimits sessions = x }\n",
	 "5: plc has no { here, expected plc \"TITLE\" { ... }\n"
	 "7: connections: 0 is out of range, expected 1 to 1024\n"
	 "9: limits has no { here, expected limits { ... }\n"
	 "9: sessions: 'x' is not valid, expected a whole number\n"},
	{"plc \"q\" \"r\" {\naddress = 10.0.0.2 port \"1\" { connections = 0 }\n}\n",
	 "5: plc has no { here, expected plc \"TITLE\" { ... }\n"
	 "6: connections: 0 is out of range, expected 1 to 1024\n"},
	{"plc \"q\"\nlimits { sessions = x }\n",
	 "5: plc has no { here, expected plc \"TITLE\" { ... }\n"
	 "6: sessions: 'x' is not valid, expected a whole number\n"},
};
/* clang-format on */

/* The report without the file's name and "error". */
static char *shorten(const char *report)
{
	char *lines = replace(report, ": error: ", ": ");
	char *result = replace(lines, "t.conf:", "");

	free(lines);
	return result;
}

static void test_faults(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		char *text;
		struct outcome outcome;
		char *said;

		assert_true(asprintf(&text, "%s%s", VALID, faults[i].text) > 0);
		outcome = load(text);
		said = shorten(outcome.report);
		if (strcmp(said, faults[i].report) != 0)
			fail_msg("%s\nexpected:\n%s\nsaid:\n%s", faults[i].text, faults[i].report,
				 said);
		assert_int_equal(outcome.result, -EINVAL);
		free(said);
		free(text);
		drop(&outcome);
	}
}

/* Where the file could be read to its end, it is judged as a whole; else it cannot be. */
static void test_rules_across_sections(void **state)
{
	static const char fault[] = "zzz = 2\n" PLC IDENTITY;
	struct outcome whole = load(fault);
	struct outcome part = load("zzz = 2\n" PLC IDENTITY "/*");

	(void)state;
	assert_non_null(strstr(whole.report, "neither an edge nor a gateway"));
	assert_null(strstr(part.report, "neither an edge nor a gateway"));
	assert_int_equal(count(part.report, "\n"), 2);
	drop(&whole);
	drop(&part);
}

/* Values that look like the beginning of something else. */
static void test_right_values_are_not_taken_for_faults(void **state)
{
	static const char *const texts[] = {
		"plc plc { address = 10.0.0.1 port 1 { } } identity i { match = cn:x plcs =\nplc }",
		"plc p { address =\n10.0.0.1 sni = { source, p, } port\n1 { } }"
		"identity\n\"i\"\n{ match = { cn:x } plcs\n=\np } limits { }",
		"log_level =\ninfo\nlimits { }\nplc \"p\" { address = 10.0.0.1 port \"1\" { } }\n"
		"identity \"limits\" { match = cn:x plcs = { \"p\" , } }",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		char *text = NULL;
		struct outcome outcome;

		assert_true(asprintf(&text, "%s\n%s", texts[i], GATEWAY) > 0);
		outcome = load_valid(text);
		assert_string_equal(outcome.report, "");
		drop(&outcome);
		free(text);
	}
}

/* A file of another kind: a fault in every word, and yet an end. */
static void test_too_many_faults(void **state)
{
	const size_t braces = 200000;
	char *text = malloc(braces + 1);
	struct outcome outcome;

	(void)state;
	assert_non_null(text);
	memset(text, '}', braces);
	text[braces] = '\0';
	outcome = load(text);
	assert_int_equal(outcome.result, -EINVAL);
	assert_int_equal(count(outcome.report, "closes nothing"), CONFIG_REPORT_MESSAGES_MAX);
	/* Of the braces, and that there is no edge. */
	assert_non_null(strstr(outcome.report, "t.conf: error: 199001 more faults"));
	free(text);
	drop(&outcome);
}

/* Braces without end must cost neither the stack nor time. */
static void test_deep_braces(void **state)
{
	const size_t braces = 500000;
	char *text = malloc(braces + 3);
	struct outcome outcome;

	(void)state;
	assert_non_null(text);
	memset(text, '{', braces + 2);
	memcpy(text, "x ", 2);
	text[braces + 2] = '\0';
	outcome = load(text);
	assert_int_equal(outcome.result, -EINVAL);
	assert_non_null(strstr(outcome.report, "t.conf:1: error: this { is never closed"));
	free(text);
	drop(&outcome);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_rules_across_sections),
		cmocka_unit_test(test_right_values_are_not_taken_for_faults),
		cmocka_unit_test(test_too_many_faults),
		cmocka_unit_test(test_deep_braces),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
