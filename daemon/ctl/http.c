/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/http.h"

#include "base/error.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#define HEAD_SIZE_MAX 8192

static const struct {
	int status;
	const char *reason;
} REASONS[] = {
	{200, "OK"},
	{400, "Bad Request"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{408, "Request Timeout"},
	{431, "Request Header Fields Too Large"},
	{503, "Service Unavailable"},
};

/* "GET /metrics HTTP/1.1"; what follows a question mark is not looked at. */
static int judge(char *head, const char *path)
{
	char *rest = head, *line = strsep(&rest, "\r\n");
	char *method = strsep(&line, " "), *target = strsep(&line, " ");

	if (target == NULL || line == NULL || strncmp(line, "HTTP/1.", strlen("HTTP/1.")) != 0)
		return 400;
	if (strcmp(method, "GET") != 0)
		return 405;
	target[strcspn(target, "?")] = '\0';
	return strcmp(target, path) == 0 ? 200 : 404;
}

/* More of it, behind the `used` bytes. 0: none will come in time. */
static size_t read_more(int in, char *head, size_t used, clock_us deadline)
{
	struct pollfd wait = {.fd = in, .events = POLLIN};
	clock_us left = deadline - clock_now();
	ssize_t got;

	if (left <= 0 || poll(&wait, 1, (int)((left + CLOCK_MS - 1) / CLOCK_MS)) <= 0)
		return 0;
	got = read(in, head + used, HEAD_SIZE_MAX - used);
	return got > 0 ? (size_t)got : 0;
}

int http_read_request(int in, const char *path, clock_us deadline)
{
	char head[HEAD_SIZE_MAX + 1];
	size_t used = 0, got;

	do {
		got = read_more(in, head, used, deadline);
		used += got;
		head[used] = '\0';
		if (strlen(head) < used)
			return 400;
		if (strstr(head, "\r\n\r\n") != NULL)
			return judge(head, path);
	} while (got > 0 && used < HEAD_SIZE_MAX);
	return got > 0 ? 431 : 408;
}

static const char *reason_of(int status)
{
	for (size_t i = 0; i < ARRAY_SIZE(REASONS); i++) {
		if (REASONS[i].status == status)
			return REASONS[i].reason;
	}
	return "?";
}

void http_write_answer(FILE *out, int status, const char *type, const char *body, size_t size)
{
	fprintf(out,
		"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
		"Connection: close\r\n\r\n",
		status, reason_of(status), type, size);
	fwrite(body, 1, size, out);
}
