/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: one write each, and no peer's name can forge or break one. */
#include "base/log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char captured[8192];

/* What `fill` logs, through a pipe in place of stderr. */
static const char *capture(void (*fill)(void))
{
	int ends[2], saved = dup(STDERR_FILENO);
	ssize_t size;

	assert_int_equal(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	fill();
	dup2(saved, STDERR_FILENO);
	close(saved);
	size = read(ends[0], captured, sizeof(captured) - 1);
	close(ends[0]);
	captured[size > 0 ? size : 0] = '\0';
	return captured;
}

static void log_plain(void)
{
	log_simple(LOG_LEVEL_INFO, "ready", "workers", "%d", 2);
}

static void log_nasty(void)
{
	struct log_entry entry;

	log_begin(&entry, LOG_LEVEL_WARNING, "peer-refused");
	log_field(&entry, "subject", "%s", "CN=x\nerror forged a=\"b\"\x1b[31m\\");
	log_field(&entry, "empty", "%s", "");
	log_end(&entry);
}

static void log_long(void)
{
	struct log_entry entry;

	log_begin(&entry, LOG_LEVEL_ERROR, "long");
	for (int i = 0; i < 200; i++)
		log_field(&entry, "field", "%s", "0123456789 0123456789");
	log_end(&entry);
}

static void log_hidden(void)
{
	log_simple(LOG_LEVEL_DEBUG, "hidden", NULL, NULL);
}

static void plain_line(void **state)
{
	const char *line = capture(log_plain);

	(void)state;
	assert_non_null(strstr(line, "Z info ready workers=2\n"));
}

static void values_cannot_forge_lines(void **state)
{
	const char *line = capture(log_nasty);

	(void)state;
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	assert_non_null(strstr(line, "subject=\"CN=x\\x0aerror forged a=\\\"b\\\"\\x1b[31m\\\\\""));
	assert_non_null(strstr(line, "empty=\"\"\n"));
}

static void long_line_is_cut(void **state)
{
	const char *line = capture(log_long);

	(void)state;
	assert_int_equal(strlen(line), LOG_LINE_SIZE);
	assert_string_equal(line + strlen(line) - 4, "...\n");
}

static void level_and_journal(void **state)
{
	enum log_level level;

	(void)state;
	assert_string_equal(capture(log_hidden), "");
	assert_int_equal(log_level_parse("debug", &level), 0);
	assert_int_equal(log_get_level(), LOG_LEVEL_INFO);
	log_set_level(level);
	assert_int_equal(log_get_level(), LOG_LEVEL_DEBUG);
	assert_string_equal(log_level_name(level), "debug");
	assert_int_equal(setenv("JOURNAL_STREAM", "1:2", 1), 0);
	assert_string_equal(capture(log_hidden), "<7>debug hidden\n");
	unsetenv("JOURNAL_STREAM");
	assert_int_equal(log_level_parse("loud", &level), -EINVAL);
	log_set_level(LOG_LEVEL_INFO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_line),
		cmocka_unit_test(values_cannot_forge_lines),
		cmocka_unit_test(long_line_is_cut),
		cmocka_unit_test(level_and_journal),
	};

	unsetenv("JOURNAL_STREAM");
	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
