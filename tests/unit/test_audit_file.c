/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of the audit record when things go wrong: full, gone, renamed, torn by a crash; and from
 * several threads at once.
 *
 * A limit on the size of files (RLIMIT_FSIZE) stands for a full disk: both cut a write short.
 * Seam: the linker wraps ftruncate (WRAP_ in Makefile), which chattr +a forbids.
 */
#include "proxy/audit_file.h"

#include "base/error.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define LINE "{\"event\":\"request\",\"n\":1}\n"

static char folder[] = "/tmp/test_audit_file.XXXXXX";
static char path[64], other[64];
static struct audit_file *file;
static bool no_truncation;

int __real_ftruncate(int fd, off_t size) __attribute__((weak));
int __wrap_ftruncate(int fd, off_t size);

int __wrap_ftruncate(int fd, off_t size)
{
	if (!no_truncation)
		return __real_ftruncate(fd, size);
	errno = EPERM;
	return -1;
}

static const char *contents(const char *of)
{
	static char text[1 << 16];
	int fd = open(of, O_RDONLY | O_CLOEXEC);
	ssize_t size = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

	assert_true(size >= 0);
	close(fd);
	text[size] = '\0';
	return text;
}

static int append(const char *line)
{
	return audit_file_append(file, line, strlen(line));
}

/* The file may grow to so many bytes. */
static void limit_size(rlim_t size)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = size;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static int set_up(void **state)
{
	(void)state;
	unlink(path);
	unlink(other);
	no_truncation = false;
	assert_int_equal(audit_file_new(&file), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	limit_size(RLIM_INFINITY);
	audit_file_free(file);
	return 0;
}

static void nowhere(void **state)
{
	(void)state;
	assert_false(audit_file_is_set(NULL));
	assert_false(audit_file_is_set(file));
	assert_int_equal(append(LINE), 0);
	audit_file_reopen(file);
	assert_int_equal(audit_file_configure(file, path), 0);
	assert_true(audit_file_is_set(file));
	assert_int_equal(append(LINE), 0);
	assert_int_equal(audit_file_configure(file, NULL), 0);
	assert_false(audit_file_is_set(file));
	assert_int_equal(append(LINE), 0);
	assert_string_equal(contents(path), LINE);
}

static void appends(void **state)
{
	struct stat status;
	mode_t mask = umask(022);

	(void)state;
	assert_int_equal(audit_file_configure(file, path), 0);
	umask(mask);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0640);
	assert_int_equal(append(LINE), 0);
	/* The same configuration again changes nothing; another daemon's lines stay. */
	assert_int_equal(audit_file_configure(file, path), 0);
	assert_int_equal(append(LINE), 0);
	assert_string_equal(contents(path), LINE LINE);
}

/* Renamed: lines go to the old file until it is opened again, and none is lost. */
static void renamed(void **state)
{
	(void)state;
	assert_int_equal(audit_file_configure(file, path), 0);
	assert_int_equal(append("1\n"), 0);
	assert_int_equal(rename(path, other), 0);
	assert_int_equal(append("2\n"), 0);
	audit_file_reopen(file);
	assert_int_equal(append("3\n"), 0);
	assert_string_equal(contents(other), "1\n2\n");
	assert_string_equal(contents(path), "3\n");
}

/* Renamed, and nothing can be put in its place yet: the old one goes on. */
static void renamed_for_nothing(void **state)
{
	(void)state;
	assert_int_equal(audit_file_configure(file, path), 0);
	assert_int_equal(rename(path, other), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	audit_file_reopen(file);
	assert_int_equal(append("1\n"), 0);
	assert_string_equal(contents(other), "1\n");
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(append("2\n"), 0);
	assert_string_equal(contents(path), "2\n");
}

static void deleted(void **state)
{
	(void)state;
	assert_int_equal(audit_file_configure(file, path), 0);
	assert_int_equal(append("1\n"), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(append("2\n"), 0);
	assert_string_equal(contents(path), "2\n");
}

/* Deleted, and not to be had again: lines are lost, and the record says how many. */
static void gone(void **state)
{
	const char *text;

	(void)state;
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(audit_file_configure(file, path), 0);
	assert_int_equal(append("1\n"), -EISDIR);
	assert_int_equal(append("2\n"), -EISDIR);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(append("3\n"), 0);
	assert_int_equal(append("4\n"), 0);
	text = contents(path);
	assert_memory_equal(text, "{\"event\":\"audit-resumed\",", 25);
	assert_non_null(strstr(text, ",\"lost\":2}\n3\n4\n"));
}

/* A pipe by that name would block or swallow. */
static void no_regular_file(void **state)
{
	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(audit_file_configure(file, path), 0);
	assert_int_equal(append(LINE), -EINVAL);
}

static void crashed_in_a_line(void **state)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	(void)state;
	assert_int_equal(write(fd, "1\n{\"ev", 6), 6);
	close(fd);
	assert_int_equal(audit_file_configure(file, path), 0);
	assert_int_equal(append("2\n"), 0);
	assert_int_equal(append("3\n"), 0);
	assert_string_equal(contents(path), "1\n{\"ev\n2\n3\n");
}

/* The half of a line that still fits is taken back; when there is room again all is well. */
static void full(void **state)
{
	const char *text;

	(void)state;
	assert_int_equal(audit_file_configure(file, path), 0);
	assert_int_equal(append(LINE), 0);
	limit_size(strlen(LINE) + 10);
	assert_int_equal(append(LINE), -ENOSPC);
	assert_string_equal(contents(path), LINE);
	assert_int_equal(append(LINE), -ENOSPC);
	assert_string_equal(contents(path), LINE);
	limit_size(strlen(LINE));
	assert_int_equal(append(LINE), -EFBIG);
	limit_size(RLIM_INFINITY);
	assert_int_equal(append("4\n"), 0);
	text = contents(path);
	assert_memory_equal(text, LINE "{\"event\":\"audit-resumed\",", strlen(LINE) + 25);
	assert_non_null(strstr(text, ",\"lost\":3}\n4\n"));
}

/* Where nothing can be taken back the torn line gets an end before the next. */
static void full_and_append_only(void **state)
{
	const char *text;

	(void)state;
	no_truncation = true;
	assert_int_equal(audit_file_configure(file, path), 0);
	assert_int_equal(append(LINE), 0);
	limit_size(strlen(LINE) + 10);
	assert_int_equal(append(LINE), -ENOSPC);
	limit_size(RLIM_INFINITY);
	assert_int_equal(append("4\n"), 0);
	text = contents(path);
	assert_memory_equal(text, LINE "{\"event\":\"\n{\"event\":\"audit-resumed\"",
			    strlen(LINE) + 11 + 24);
	assert_non_null(strstr(text, ",\"lost\":1}\n4\n"));
}

/* One line a minute says that it does not work, and one that it does again. */
static void complains_once(void **state)
{
	char text[8192];
	int ends[2], saved = dup(STDERR_FILENO);
	ssize_t size;

	(void)state;
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	audit_file_configure(file, path);
	for (int i = 0; i < 20; i++)
		append(LINE);
	rmdir(path);
	for (int i = 0; i < 20; i++)
		append(LINE);
	dup2(saved, STDERR_FILENO);
	close(saved);
	size = read(ends[0], text, sizeof(text) - 1);
	close(ends[0]);
	assert_true(size > 0);
	text[size] = '\0';
	assert_non_null(strstr(text, "error audit-failed file=/tmp/test_audit_file."));
	assert_non_null(strstr(text, " why=\"Is a directory\" lost=0\n"));
	assert_non_null(strstr(text, "warning audit-resumed file=/tmp/test_audit_file."));
	assert_non_null(strstr(text, " lost=20\n"));
	assert_ptr_equal(strchr(strchr(text, '\n') + 1, '\n'), text + size - 1); /* two lines */
}

/* --- threads --------------------------------------------------------------------------------- */

enum { WRITERS = 3, LINES = 2000, ROTATIONS = 40 };

static void *write_many(void *argument)
{
	char line[64];

	for (int i = 0; i < LINES; i++) {
		int size = snprintf(line, sizeof(line), "%d %05d of writer\n", *(int *)argument, i);

		if (audit_file_append(file, line, (size_t)size) < 0)
			abort();
	}
	return NULL;
}

/* Every line of a file is whole; counts them by writer. */
static void count_lines(const char *of, unsigned char seen[WRITERS][LINES])
{
	FILE *stream = fopen(of, "re");
	char line[64], *end;

	assert_non_null(stream);
	while (fgets(line, sizeof(line), stream) != NULL) {
		unsigned long writer = strtoul(line, &end, 10), number = strtoul(end, &end, 10);

		if (writer >= WRITERS || number >= LINES || strcmp(end, " of writer\n") != 0)
			fail_msg("torn: %s", line);
		seen[writer][number]++;
	}
	fclose(stream);
}

static void rotated_under_load(void **state)
{
	static unsigned char seen[WRITERS][LINES];
	pthread_t threads[WRITERS];
	int numbers[WRITERS];
	char renamed_to[80];

	(void)state;
	assert_int_equal(audit_file_configure(file, path), 0);
	for (int i = 0; i < WRITERS; i++) {
		numbers[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, write_many, &numbers[i]), 0);
	}
	for (int i = 0; i < ROTATIONS; i++) {
		snprintf(renamed_to, sizeof(renamed_to), "%s.%d", path, i);
		assert_int_equal(rename(path, renamed_to), 0);
		audit_file_reopen(file);
		usleep(500);
	}
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	count_lines(path, seen);
	for (int i = 0; i < ROTATIONS; i++) {
		snprintf(renamed_to, sizeof(renamed_to), "%s.%d", path, i);
		count_lines(renamed_to, seen);
		unlink(renamed_to);
	}
	for (int i = 0; i < WRITERS; i++)
		for (int j = 0; j < LINES; j++)
			assert_int_equal(seen[i][j], 1);
}

static int make_folder(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/audit", folder);
	snprintf(other, sizeof(other), "%s/audit.1", folder);
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	unsetenv("JOURNAL_STREAM");
	log_set_level(LOG_LEVEL_WARNING);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink(path);
	unlink(other);
	return rmdir(folder);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(nowhere),
		TEST(appends),
		TEST(renamed),
		TEST(renamed_for_nothing),
		TEST(deleted),
		TEST(gone),
		TEST(no_regular_file),
		TEST(crashed_in_a_line),
		TEST(full),
		TEST(full_and_append_only),
		TEST(complains_once),
		TEST(rotated_under_load),
	};

	return cmocka_run_group_tests_name("audit_file", tests, make_folder, remove_folder);
}
