/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of pipes: what is handed out is empty, named in the shared record, and comes back. */
#include "ring/pipe_pool.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <cmocka.h>

static void one_sessions_bytes_never_reach_another(void **state)
{
	struct pipe_pool *pool;
	struct pipe *pipe;
	char byte;

	(void)state;
	assert_int_equal(pipe_pool_new(1, &pool), 0);
	pipe = pipe_pool_take(pool, 7, 1);
	assert_non_null(pipe);
	assert_int_equal(write(pipe->ends[1], "secret", 6), 6);
	/* The record may say nothing of it: a splice under way when the session was closed. */
	pipe_pool_give(pool, pipe, false);
	pipe = pipe_pool_take(pool, 8, 1);
	assert_int_equal(read(pipe->ends[0], &byte, 1), -1);
	assert_int_equal(errno, EAGAIN);
	pipe_pool_give(pool, pipe, true);
	pipe_pool_free(pool);
}

static void the_pool_ends(void **state)
{
	struct pipe *pipes[3];
	struct pipe_pool *pool;

	(void)state;
	assert_int_equal(pipe_pool_new(3, &pool), 0);
	assert_int_equal(pipe_pool_size(pool), 3);
	for (size_t i = 0; i < ARRAY_SIZE(pipes); i++) {
		pipes[i] = pipe_pool_take(pool, i + 1, 0);
		assert_non_null(pipes[i]);
		assert_true(fcntl(pipes[i]->ends[0], F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(pipes[i]->ends[1], F_GETFL) & O_NONBLOCK);
	}
	assert_null(pipe_pool_take(pool, 4, 0));
	pipe_pool_give(pool, pipes[1], true);
	assert_ptr_equal(pipe_pool_take(pool, 5, 0), pipes[1]);
	for (size_t i = 0; i < ARRAY_SIZE(pipes); i++)
		pipe_pool_give(pool, pipes[i], true);
	pipe_pool_free(pool);
}

/* As another process would read it. */
static void the_records_are_shared(void **state)
{
	struct pipe_pool *pool;
	const struct pipe_records *seen;
	struct pipe *pipe;

	(void)state;
	assert_int_equal(pipe_pool_new(2, &pool), 0);
	seen = mmap(NULL, 4096, PROT_READ, MAP_SHARED, pipe_pool_descriptor(pool), 0);
	assert_ptr_not_equal(seen, MAP_FAILED);
	assert_int_equal(seen->magic, PIPE_RECORDS_MAGIC);
	assert_int_equal(seen->version, PIPE_RECORDS_VERSION);
	assert_int_equal(seen->count, 2);
	assert_int_equal(seen->record_size, sizeof(struct pipe_record));
	pipe = pipe_pool_take(pool, 4711, 1);
	for (unsigned int i = 0; i < 2; i++) {
		const struct pipe_record *record = &seen->records[i];
		bool taken = record->read_end == pipe->ends[0];

		assert_int_equal(record->session, taken ? 4711 : 0);
		assert_int_equal(record->from, taken);
		assert_int_equal(fcntl(record->read_end, F_GETPIPE_SZ), PIPE_SLOTS * 4096);
		assert_int_equal(fcntl(record->write_end, F_GETPIPE_SZ), PIPE_SLOTS * 4096);
	}
	pipe_pool_give(pool, pipe, true);
	assert_int_equal(seen->records[0].session + seen->records[1].session, 0);
	munmap((void *)(uintptr_t)seen, 4096);
	pipe_pool_free(pool);
}

static void a_limit_makes_it_smaller(void **state)
{
	struct rlimit before, few;
	struct pipe_pool *pool;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = before;
	few.rlim_cur = 20;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_int_equal(pipe_pool_new(64, &pool), 0);
	assert_in_range(pipe_pool_size(pool), 1, 10);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	pipe_pool_free(pool);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_sessions_bytes_never_reach_another),
		cmocka_unit_test(the_pool_ends),
		cmocka_unit_test(the_records_are_shared),
		cmocka_unit_test(a_limit_makes_it_smaller),
	};

	return cmocka_run_group_tests_name("pipe_pool", tests, NULL, NULL);
}
