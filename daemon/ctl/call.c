/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/call.h"

#include "base/error.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#define PATIENCE   10 /* seconds for each step; the daemon's own are shorter */
#define ANSWER_MAX (64U << 20)

/* Returns `error`, so that it can be returned. */
__attribute__((format(printf, 3, 4))) static int fail(struct call_answer *answer, int error,
						      const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	if (vasprintf(&answer->message, format, arguments) < 0)
		answer->message = NULL;
	va_end(arguments);
	return error;
}

static int cannot_connect(const char *path, int error, struct call_answer *answer)
{
	switch (error) {
	case -ENOENT:
		return fail(answer, error,
			    "there is no %s: is mcseald running, and is this its control_socket? "
			    "(--socket names another)",
			    path);
	case -ECONNREFUSED:
		return fail(answer, error, "nobody listens at %s: mcseald is not running", path);
	case -EACCES:
	case -EPERM:
		return fail(answer, error,
			    "%s: no permission: only root, mcseald's user and the group of the "
			    "socket may ask",
			    path);
	case -EAGAIN:
		return fail(answer, error, "%s: too many ask already", path);
	default:
		return fail(answer, error, "%s: %s", path, strerrordesc_np(-error));
	}
}

static int connect_to(const char *path, int *out, struct call_answer *answer)
{
	const struct timeval patience = {.tv_sec = PATIENCE};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_fd int fd = -1;

	if (strlen(path) >= sizeof(address.sun_path))
		return cannot_connect(path, -ENAMETOOLONG, answer);
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
	    connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return cannot_connect(path, -errno, answer);
	*out = steal_fd(&fd);
	return 0;
}

/* A daemon that refuses us closes at once: what it said can be read all the same. */
static void send_line(int fd, const char *command)
{
	cleanup_free char *line = NULL;

	if (asprintf(&line, "%s\n", command) >= 0)
		(void)send(fd, line, strlen(line), MSG_NOSIGNAL);
}

/* All there is, to the end. 0 or -errno. */
static int receive_all(int fd, FILE *into)
{
	char part[16384];
	size_t all = 0;
	ssize_t got;

	while ((got = recv(fd, part, sizeof(part), 0)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		all += (size_t)got;
		if (all > ANSWER_MAX)
			return -EMSGSIZE;
		fwrite(part, 1, (size_t)got, into);
	}
	return 0;
}

/* What the daemon says in front of the body. */
static int read_head(const char *path, const char *text, size_t size, size_t body_size,
		     struct call_answer *answer)
{
	json_t *head = json_loadb(text, size, 0, NULL);
	const char *status = json_string_value(json_object_get(head, "status"));
	const char *message = json_string_value(json_object_get(head, "message"));
	json_int_t bytes = json_integer_value(json_object_get(head, "bytes"));
	int error = 0;

	if (status != NULL && strcmp(status, "error") == 0)
		error = fail(answer, -EREMOTEIO, "%s",
			     message != NULL ? message : "mcseald refused without a word");
	else if (status == NULL || strcmp(status, "ok") != 0)
		error = fail(answer, -EPROTO, "%s: this is not mcseald's answer", path);
	else if (bytes < 0 || (size_t)bytes != body_size)
		error = fail(answer, -EPROTO, "%s: the answer is not whole", path);
	json_decref(head);
	return error;
}

/* Takes the first line off. */
static int take_apart(const char *path, struct call_answer *answer)
{
	const char *end = memchr(answer->body, '\n', answer->size);
	size_t head;
	int error;

	if (end == NULL)
		return fail(answer, -EPROTO, "%s: %s", path,
			    answer->size == 0 ? "mcseald did not answer"
					      : "this is not mcseald's answer");
	head = (size_t)(end - answer->body) + 1;
	error = read_head(path, answer->body, head, answer->size - head, answer);
	answer->size -= head;
	memmove(answer->body, answer->body + head, answer->size + 1);
	return error;
}

int call_daemon(const char *path, const char *command, struct call_answer *answer)
{
	cleanup_fd int fd = -1;
	FILE *into;
	int error;

	*answer = (struct call_answer){.body = NULL};
	error = connect_to(path, &fd, answer);
	if (error < 0)
		return error;
	into = open_memstream(&answer->body, &answer->size);
	if (into == NULL)
		return fail(answer, -ENOMEM, "out of memory");
	send_line(fd, command);
	error = receive_all(fd, into);
	if (fclose(into) != 0)
		return fail(answer, -ENOMEM, "out of memory");
	/* With an end by ECONNRESET there may be a word of farewell all the same. */
	if (error < 0 && answer->size == 0)
		return fail(answer, error, "%s: %s", path, strerrordesc_np(-error));
	return take_apart(path, answer);
}

void call_answer_deinit(struct call_answer *answer)
{
	free(answer->body);
	free(answer->message);
	*answer = (struct call_answer){.body = NULL};
}
