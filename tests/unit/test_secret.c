/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for key material, as the kernel sees it: /proc/self/smaps tells what is locked, left out
 * of dumps and of children.
 */
#include "base/secret.h"

#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <pthread.h>
#include <cmocka.h>

#define MANY 1000

/* The VmFlags line of the mapping that holds `address`. False: it is not mapped. */
static bool flags_of(const void *address, char *flags, size_t size)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	unsigned long from, to;
	bool inside = false, found = false;
	char line[512];

	assert_non_null(file);
	while (!found && fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2) /* NOLINT(cert-err34-c): kernel's */
			inside = (uintptr_t)address >= from && (uintptr_t)address < to;
		if (inside && strncmp(line, "VmFlags:", 8) == 0) {
			snprintf(flags, size, "%s", line);
			found = true;
		}
	}
	fclose(file);
	return found;
}

/* Sanitizers replace mlock() by a function that does nothing and says 0. */
static bool mlock_is_real(void)
{
	char flags[512] = "";
	void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool real;

	assert_ptr_not_equal(page, MAP_FAILED);
	real = mlock(page, 4096) < 0 ||
	       (flags_of(page, flags, sizeof(flags)) && strstr(flags, " lo") != NULL);
	munmap(page, 4096);
	return real;
}

static bool is_zero(const uint8_t *bytes)
{
	for (size_t i = 0; i < SECRET_SIZE; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

static void pieces_are_apart_and_zeroed(void **state)
{
	static uint8_t *pieces[MANY];

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < MANY; i++) {
			pieces[i] = secret_new();
			assert_non_null(pieces[i]);
			assert_int_equal((uintptr_t)pieces[i] % 16, 0);
			assert_true(is_zero(pieces[i]));
			memset(pieces[i], (int)(i % 251) + 1, SECRET_SIZE);
		}
		for (size_t i = 0; i < MANY; i++)
			for (size_t j = 0; j < SECRET_SIZE; j++)
				assert_int_equal(pieces[i][j], (int)(i % 251) + 1);
		/* Out of order, so that pages empty at different times. */
		for (size_t i = 0; i < MANY; i++)
			secret_free(pieces[(i * 7) % MANY]);
	}
	secret_free(NULL);
}

static void kernel_keeps_it_apart(void **state)
{
	void *piece = secret_new();
	char flags[512] = "";

	(void)state;
	assert_true(flags_of(piece, flags, sizeof(flags)));
	assert_non_null(strstr(flags, " dd"));
	assert_non_null(strstr(flags, " dc"));
	if (mlock_is_real())
		assert_int_equal(strstr(flags, " lo") != NULL, secret_locked());
	secret_free(piece);
}

static void children_do_not_have_it(void **state)
{
	void *piece = secret_new();
	char flags[512];
	int status;
	pid_t child;

	(void)state;
	child = fork();
	if (child == 0)
		_exit(flags_of(piece, flags, sizeof(flags)) ? 1 : 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	secret_free(piece);
}

static void freed_pieces_are_wiped(void **state)
{
	uint8_t *kept = secret_new(), *piece = secret_new();

	(void)state;
	memset(piece, 0xaa, SECRET_SIZE);
	secret_free(piece);
	/* `kept` holds the page, so the piece can still be looked at. */
	assert_true(is_zero(piece));
	secret_free(kept);
}

static void pages_go_back(void **state)
{
	static uint8_t *pieces[MANY];
	char flags[512];
	size_t mapped = 0;

	(void)state;
	for (size_t i = 0; i < MANY; i++)
		pieces[i] = secret_new();
	for (size_t i = 0; i < MANY; i++)
		secret_free(pieces[i]);
	for (size_t i = 0; i < MANY; i++)
		mapped += flags_of(pieces[i], flags, sizeof(flags));
	/* One page is kept: at most 31 of the addresses. */
	assert_in_range(mapped, 1, 31);
}

/* Beyond RLIMIT_MEMLOCK pieces are still given out, and said to be unlocked. */
static void without_the_right_to_lock(void **state)
{
	const struct rlimit none = {0, 0};
	static uint8_t *pieces[MANY];
	int status;
	pid_t child;

	(void)state;
	if (!mlock_is_real())
		return; /* nothing to see; the other flavours look */
	child = fork();
	if (child == 0) {
		/* Root may lock whatever the limit: be somebody. */
		if (setrlimit(RLIMIT_MEMLOCK, &none) < 0 || (geteuid() == 0 && setuid(65534) < 0))
			_exit(2);
		for (size_t i = 0; i < MANY; i++)
			pieces[i] = secret_new();
		for (size_t i = 0; i < MANY; i++)
			if (pieces[i] == NULL)
				_exit(3);
		_exit(secret_locked() ? 1 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void *take_and_give(void *argument)
{
	uint8_t *pieces[50];

	for (int round = 0; round < 200; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
			pieces[i] = secret_new();
			if (pieces[i] == NULL || !is_zero(pieces[i]))
				return argument;
			memset(pieces[i], 0x55, SECRET_SIZE);
		}
		for (size_t i = 0; i < ARRAY_SIZE(pieces); i++)
			secret_free(pieces[i]);
	}
	return NULL;
}

static void threads_share_it(void **state)
{
	pthread_t threads[4];
	void *result;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, threads), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_null(result);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_the_right_to_lock),
		cmocka_unit_test(pieces_are_apart_and_zeroed),
		cmocka_unit_test(kernel_keeps_it_apart),
		cmocka_unit_test(children_do_not_have_it),
		cmocka_unit_test(freed_pieces_are_wiped),
		cmocka_unit_test(pages_go_back),
		cmocka_unit_test(threads_share_it),
	};

	return cmocka_run_group_tests_name("secret", tests, NULL, NULL);
}
