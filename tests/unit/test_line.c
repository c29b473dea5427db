/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines as JSON, read back by jansson: valid whatever the values hold, the same fields as the text
 * has, whole when they are too long, and made without a single allocation.
 *
 * Seam: the linker wraps malloc, calloc and realloc (WRAP_ in Makefile).
 */
#include "base/line.h"
#include "base/log.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

void *__real_malloc(size_t size) __attribute__((weak));
void *__real_calloc(size_t count, size_t size) __attribute__((weak));
void *__real_realloc(void *memory, size_t size) __attribute__((weak));
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

static volatile unsigned int allocations; /* the compiler knows that malloc() changes no variable */

void *__wrap_malloc(size_t size)
{
	allocations++;
	return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	allocations++;
	return __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
	allocations++;
	return __real_realloc(memory, size);
}

/* One line, its end and nothing behind it; what a strict reader makes of it. */
static json_t *read_back(const struct line *line)
{
	char json[LINE_JSON_SIZE];
	size_t size = line_json(line, json);
	json_error_t error;
	json_t *object;

	assert_in_range(size, 3, LINE_JSON_SIZE);
	assert_ptr_equal(memchr(json, '\n', size), json + size - 1);
	/* Nothing that a terminal would act on, neither of ASCII nor of the 32 behind it. */
	for (size_t i = 0; i + 1 < size; i++)
		assert_false((unsigned char)json[i] < ' ' || json[i] == 0x7f ||
			     (json[i] == '\xc2' && (unsigned char)json[i + 1] < 0xa0));
	object = json_loadb(json, size, JSON_REJECT_DUPLICATES, &error);
	if (object == NULL)
		fail_msg("%s: %.*s", error.text, (int)size, json);
	return object;
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	assert_non_null(text);
	return text;
}

static void has_types_and_times(void **state)
{
	struct line line;
	json_t *object;

	(void)state;
	line_begin(&line, "session-closed", true);
	line.time = (struct timespec){.tv_sec = 1900000000, .tv_nsec = 7654321};
	line.monotonic = 12 * CLOCK_SEC + 345;
	line_number(&line, "session", UINT64_MAX / 2);
	line_text(&line, "client", "%s:%d", "192.0.2.1", 5007);
	line_seconds(&line, "seconds", 61 * CLOCK_SEC + 20 * CLOCK_MS + 999);
	line_text(&line, "serial", "%s", "0012");
	line_text(&line, "empty", "%s", "");
	object = read_back(&line);
	assert_string_equal(text_of(object, "event"), "session-closed");
	assert_string_equal(text_of(object, "time"), "2030-03-17T17:46:40.007654Z");
	assert_true(json_real_value(json_object_get(object, "monotonic")) > 12.0003449 &&
		    json_real_value(json_object_get(object, "monotonic")) < 12.0003451);
	assert_true(json_integer_value(json_object_get(object, "session")) ==
		    (json_int_t)(UINT64_MAX / 2));
	assert_true(json_real_value(json_object_get(object, "seconds")) == 61.020);
	assert_string_equal(text_of(object, "client"), "192.0.2.1:5007");
	assert_string_equal(text_of(object, "serial"), "0012");
	assert_string_equal(text_of(object, "empty"), "");
	assert_null(json_object_get(object, "cut"));
	assert_int_equal(json_object_size(object), 8);
	json_decref(object);
}

static void names_cannot_break_it(void **state)
{
	static const struct {
		const char *value, *read; /* NULL: the same */
	} ROWS[] = {
		{"x\",\"event\":\"forged", NULL},
		{"a\\b\\\"c", NULL},
		{"line\nend\r\ttab \x1b[31m\x7f\x01", NULL},
		{"Pr\xc3\xbcnn \xe2\x82\xac \xf0\x9f\x94\x92", NULL},
		{"csi \xc2\x9b"
		 "31m",
		 NULL},
		{"\xff|\xc3|\x80", "\xef\xbf\xbd|\xef\xbf\xbd|\xef\xbf\xbd"},
		{"overlong \xc0\xaf", "overlong \xef\xbf\xbd\xef\xbf\xbd"},
		{"surrogate \xed\xa0\x80", "surrogate \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
		{"beyond \xf4\x90\x80\x80",
		 "beyond \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
		{"cut off \xe2\x82", "cut off \xef\xbf\xbd\xef\xbf\xbd"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
		struct line line;
		json_t *object;

		line_begin(&line, "peer", true);
		line_text(&line, "name", "%s", ROWS[i].value);
		line_number(&line, "behind", i);
		object = read_back(&line);
		assert_string_equal(text_of(object, "name"),
				    ROWS[i].read != NULL ? ROWS[i].read : ROWS[i].value);
		assert_string_equal(text_of(object, "event"), "peer");
		assert_int_equal(json_integer_value(json_object_get(object, "behind")), i);
		json_decref(object);
	}
}

/* Anything at all, mostly of bytes that mean something; jansson refuses what is not UTF-8. */
static void random_bytes(void **state)
{
	static const char LIKELY[] =
		"\"\\\n\x1b\x7f\xc2\x9b\xe0\xa0\x80\xed\xbf\xf0\x90\xf4\x8f\xffz";

	(void)state;
	srandom(7);
	for (int round = 0; round < 20000; round++) {
		char value[64];
		size_t length = (size_t)random() % sizeof(value);
		struct line line;

		for (size_t i = 0; i < length; i++)
			value[i] = (char)(random() % 255 + 1);
		for (size_t i = 0; i < length; i++)
			if (random() % 3 > 0)
				value[i] = LIKELY[(size_t)random() % (sizeof(LIKELY) - 1)];
		line_begin(&line, "random", true);
		line_text(&line, "value", "%.*s", (int)length, value);
		json_decref(read_back(&line));
	}
}

/* The longest go first; names and numbers are still there. */
static void leaves_out_what_is_too_long(void **state)
{
	char values[500], detail[400], control[400];
	struct line line;
	json_t *object;

	(void)state;
	memset(values, 'F', sizeof(values) - 1);
	memset(detail, 'd', sizeof(detail) - 1);
	memset(control, 1, sizeof(control) - 1);
	values[sizeof(values) - 1] = detail[sizeof(detail) - 1] = control[sizeof(control) - 1] = 0;
	line_begin(&line, "long", true);
	line_number(&line, "number", INT64_MAX);
	line_text(&line, "identity", "%s", "office");
	line_text(&line, "control", "%s", control); /* six times as long in JSON */
	line_text(&line, "detail", "%s", detail);
	line_text(&line, "values", "%s", values);
	object = read_back(&line);
	assert_null(json_object_get(object, "cut"));
	assert_string_equal(text_of(object, "control"), control);
	json_decref(object);
	line_text(&line, "other", "%s", values);
	line_text(&line, "another", "%s", values);
	line_text(&line, "points", "%s", "D0-D9");
	object = read_back(&line);
	assert_true(json_is_true(json_object_get(object, "cut")));
	assert_null(json_object_get(object, "control"));
	assert_string_equal(text_of(object, "values"), values);
	assert_string_equal(text_of(object, "points"), "D0-D9");
	assert_string_equal(text_of(object, "identity"), "office");
	assert_non_null(json_object_get(object, "number"));
	json_decref(object);
}

/* What the line itself cannot hold, it says so. */
static void says_that_it_is_cut(void **state)
{
	char value[2 * LINE_VALUE_SIZE];
	struct line line;
	json_t *object;

	(void)state;
	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	line_begin(&line, "cut", true);
	line_text(&line, "value", "%s", value);
	object = read_back(&line);
	assert_true(json_is_true(json_object_get(object, "cut")));
	assert_int_equal(strlen(text_of(object, "value")), LINE_VALUE_SIZE - 1);
	json_decref(object);
	line_begin(&line, "full", true);
	for (int i = 0; i < 10; i++) {
		static const char *const KEYS[] = {"a", "b", "c", "d", "e",
						   "f", "g", "h", "i", "j"};

		line_text(&line, KEYS[i], "%s", value + LINE_VALUE_SIZE + 1);
	}
	assert_int_equal(line.count, LINE_TEXT_SIZE / LINE_VALUE_SIZE);
	object = read_back(&line);
	assert_true(json_is_true(json_object_get(object, "cut")));
	json_decref(object);
	line_begin(&line, "many", true);
	for (int i = 0; i < LINE_FIELDS + 1; i++)
		line_number(&line, "n", 1);
	assert_true(line.count == LINE_FIELDS && line.cut);
}

static void nobody_wants_it(void **state)
{
	struct line line;

	(void)state;
	line_begin(&line, "unwanted", false);
	line_text(&line, "key", "%s", "value");
	line_number(&line, "number", 1);
	assert_true(line.skipped && line.count == 0 && line.used == 0);
	assert_int_equal(log_line(LOG_LEVEL_ERROR, &line), 0);
}

/* What log_line() writes, through a pipe in place of stderr. */
static size_t capture(const struct line *line, char *text, size_t size)
{
	int ends[2], saved = dup(STDERR_FILENO);
	ssize_t got;

	assert_int_equal(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	assert_int_equal(log_line(LOG_LEVEL_WARNING, line), 0);
	dup2(saved, STDERR_FILENO);
	close(saved);
	got = read(ends[0], text, size - 1);
	close(ends[0]);
	assert_true(got > 0);
	text[got] = '\0';
	return (size_t)got;
}

static void text_has_the_same(void **state)
{
	char text[LOG_LINE_SIZE + 1];
	struct line line;

	(void)state;
	line_begin(&line, "request", true);
	line.time = (struct timespec){.tv_sec = 1900000000, .tv_nsec = 7654321};
	line_number(&line, "session", 7);
	line_text(&line, "name", "%s", "batch write");
	line_text(&line, "nasty", "%s", "a\n\"b\"");
	line_text(&line, "points", "%s", "D0-D1");
	capture(&line, text, sizeof(text));
	assert_string_equal(text, "2030-03-17T17:46:40.007Z warning request session=7 "
				  "name=\"batch write\" nasty=\"a\\x0a\\\"b\\\"\" points=D0-D1\n");
}

/* Without stderr the caller learns that nobody was told. */
static void text_that_goes_nowhere(void **state)
{
	int saved = dup(STDERR_FILENO), ends[2], error;
	struct line line;

	(void)state;
	line_begin(&line, "request", true);
	assert_int_equal(pipe(ends), 0);
	close(ends[0]);
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	error = log_line(LOG_LEVEL_WARNING, &line);
	assert_int_equal(log_line(LOG_LEVEL_DEBUG, &line), 0); /* not to be written at all */
	close(STDERR_FILENO);
	assert_int_equal(log_line(LOG_LEVEL_WARNING, &line), -EBADF);
	dup2(saved, STDERR_FILENO);
	close(saved);
	assert_int_equal(error, -EPIPE);
}

static void no_allocations(void **state)
{
	char json[LINE_JSON_SIZE], text[LOG_LINE_SIZE + 1];
	struct line line;
	unsigned int before = allocations;
	void *volatile memory = malloc(1); /* the seam works */

	(void)state;
	free(memory);
	assert_int_equal(allocations, before + 1);
	line_begin(&line, "request", true);
	line_number(&line, "session", 7);
	line_seconds(&line, "seconds", 1234567);
	line_text(&line, "name", "%s", "x\xff\n");
	assert_true(line_json(&line, json) > 0);
	capture(&line, text, sizeof(text));
	assert_int_equal(allocations, before + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_types_and_times),
		cmocka_unit_test(names_cannot_break_it),
		cmocka_unit_test(random_bytes),
		cmocka_unit_test(leaves_out_what_is_too_long),
		cmocka_unit_test(says_that_it_is_cut),
		cmocka_unit_test(nobody_wants_it),
		cmocka_unit_test(text_has_the_same),
		cmocka_unit_test(text_that_goes_nowhere),
		cmocka_unit_test(no_allocations),
	};

	unsetenv("JOURNAL_STREAM");
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("line", tests, NULL, NULL);
}
