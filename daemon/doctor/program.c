/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/program.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define OUTPUT_MAX ((size_t)1 << 20)
#define NOT_RUN    127 /* as of a shell */

void program_find(const char *name, char *path)
{
	static const char *const FOLDERS[] = {"", "/../sbin"};
	char own[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", own, sizeof(own) - 1);
	char *slash;

	own[length < 0 ? 0 : length] = '\0';
	slash = strrchr(own, '/');
	for (size_t i = 0; slash != NULL && i < ARRAY_SIZE(FOLDERS); i++) {
		*slash = '\0';
		if (snprintf(path, PROGRAM_PATH_SIZE, "%s%s/%s", own, FOLDERS[i], name) <
			    PROGRAM_PATH_SIZE &&
		    access(path, X_OK) == 0)
			return;
	}
	snprintf(path, PROGRAM_PATH_SIZE, "%s", name);
}

/* In the child: never comes back. */
static void become(const char *path, const char *const arguments[], int out)
{
	int in = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (in >= 0)
		(void)dup2(in, STDIN_FILENO);
	(void)dup2(out, STDOUT_FILENO);
	(void)dup2(out, STDERR_FILENO);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)setpgid(0, 0);
	execvp(path, (char *const *)(uintptr_t)arguments);
	_exit(NOT_RUN);
}

/* Until its end. 0, -ETIMEDOUT or -errno. */
static int listen_to(int fd, clock_us deadline, FILE *into)
{
	struct pollfd waiting = {.fd = fd, .events = POLLIN};
	char part[4096];
	size_t all = 0;
	ssize_t got = 1;

	while (got != 0) {
		clock_us left = deadline - clock_now();

		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&waiting, 1, (int)(left / CLOCK_MS) + 1) <= 0)
			continue;
		got = read(fd, part, sizeof(part));
		if (got < 0)
			return -errno;
		all += (size_t)got;
		if (all <= OUTPUT_MAX)
			fwrite(part, 1, (size_t)got, into);
	}
	return 0;
}

static int start(const char *path, const char *const arguments[], pid_t *child, int *fd)
{
	int pipe_ends[2];

	if (pipe2(pipe_ends, O_CLOEXEC) < 0)
		return -errno;
	*child = fork();
	if (*child == 0)
		become(path, arguments, pipe_ends[1]);
	close(pipe_ends[1]);
	if (*child < 0) {
		close(pipe_ends[0]);
		return -EAGAIN;
	}
	*fd = pipe_ends[0];
	return 0;
}

int program_run(const char *path, const char *const arguments[], clock_us deadline,
		struct program_result *result)
{
	FILE *into;
	pid_t child = -1;
	int fd = -1, status = 0, error;

	*result = (struct program_result){.output = NULL};
	into = open_memstream(&result->output, &result->size);
	if (into == NULL)
		return -ENOMEM;
	error = start(path, arguments, &child, &fd);
	if (error == 0) {
		error = listen_to(fd, deadline, into);
		if (error < 0)
			(void)kill(-child, SIGKILL);
		close(fd);
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
		result->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
	fclose(into);
	if (error == 0 && result->status == NOT_RUN && result->size == 0)
		error = -ENOENT;
	return error;
}
