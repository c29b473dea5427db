/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The n-th allocation of the loader fails, for every n: it must say so, leak nothing and leave no
 * half configuration. The allocations of libconfuse itself are not touched: its scanner ends the
 * program when one fails.
 *
 * Seam: the linker wraps malloc, calloc, reallocarray, strdup and vasprintf (WRAP_ in Makefile).
 */
#include "config_fixture.h"

#include <stdio.h>

void *__real_malloc(size_t size) __attribute__((weak));
void *__real_calloc(size_t count, size_t size) __attribute__((weak));
void *__real_reallocarray(void *old, size_t count, size_t size) __attribute__((weak));
char *__real_strdup(const char *text) __attribute__((weak));
int __real_vasprintf(char **text, const char *format, va_list arguments) __attribute__((weak));

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
char *__wrap_strdup(const char *text);
int __wrap_vasprintf(char **text, const char *format, va_list arguments);

/* Allocations until the one that fails; negative: none fails. */
static int countdown = -1;

static bool fails(void)
{
	return countdown >= 0 && countdown-- == 0;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
	return fails() ? NULL : __real_reallocarray(old, count, size);
}

char *__wrap_strdup(const char *text)
{
	return fails() ? NULL : __real_strdup(text);
}

int __wrap_vasprintf(char **text, const char *format, va_list arguments)
{
	return fails() ? -1 : __real_vasprintf(text, format, arguments);
}

/* Loads with the n-th allocation failing; the number of allocations left over, or -1. */
static int load_failing(const char *text, int n, int *result, char **said)
{
	struct config *config = NULL;
	size_t size;
	FILE *file = open_memstream(said, &size);
	int left;

	assert_non_null(file);
	countdown = n;
	*result = config_load_text(text, "t.conf", file, &config);
	left = countdown;
	countdown = -1;
	fclose(file);
	if (*result != 0)
		assert_null(config);
	config_free(config);
	return left;
}

/* Every allocation in turn until a load needs fewer; how many there were. */
static int fail_each(const char *text, int expected)
{
	char *filled = fill(text);
	int n = 0;

	for (;; n++) {
		int result;
		char *said;
		int left = load_failing(filled, n, &result, &said);

		if (left >= 0) {
			assert_int_equal(result, expected);
			free(said);
			break;
		}
		/* A message may be lost for want of memory, an error may not. */
		if (result == 0 && expected != 0)
			fail_msg("allocation %d: an error was forgotten", n);
		if (result != 0 && !strstr(said, "error: "))
			fail_msg("allocation %d: nothing was said: %s", n, said);
		if (result != 0 && result != -ENOMEM && result != expected)
			fail_msg("allocation %d: outcome %d", n, result);
		free(said);
	}
	free(filled);
	return n;
}

static int need_seam(void **state)
{
	if (!__real_malloc || !__real_strdup) {
		print_error("link with --wrap=malloc,calloc,reallocarray,strdup,vasprintf\n");
		return -1;
	}
	return make_files(state);
}

static void test_valid_file(void **state)
{
	(void)state;
	assert_true(fail_each(VALID EDGE, 0) > 50);
}

static void test_own_certificate_of_a_source(void **state)
{
	(void)state;
	fail_each("edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS
		  "source \"s\" { users = 0 certificate = \"@/cert.pem\" key = \"@/key.pem\" "
		  "}\n" ROUTE "}",
		  0);
}

static void test_faulty_file(void **state)
{
	(void)state;
	fail_each("workers = x\nwrkers = 2\n" PLC PLC IDENTITY
		  "identity \"j\" { match = { \"serial:0@x\", \"dns:X\" } plcs = q }\n" GATEWAY
			  GATEWAY,
		  -EINVAL);
}

static void test_broken_syntax(void **state)
{
	(void)state;
	fail_each("limits { frame = { 1 2 } }", -EINVAL);
	fail_each("limits { }\n}", -EINVAL);
	fail_each("wrkers = 'x'\nplc { adress = 10.0.0.1 sni { a, \"b } }\nzzz \"y\" { }\n" GATEWAY
		  "limits { frame = 1 frame =",
		  -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_valid_file),
		cmocka_unit_test(test_own_certificate_of_a_source),
		cmocka_unit_test(test_faulty_file),
		cmocka_unit_test(test_broken_syntax),
	};

	return cmocka_run_group_tests(tests, need_seam, remove_files);
}
