/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_client.h"

#include "base/error.h"
#include "base/log.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

void control_client_close(struct control_client *client)
{
	client->gone(client);
	sd_event_source_disable_unref(client->ready);
	sd_event_source_disable_unref(client->deadline);
	close(client->fd);
	free(client->head);
	free(client->body);
	free(client);
}

/* --- the answer ----------------------------------------------------------------------------- */

/* With its line end; takes `json`, which may be NULL. */
static char *line_of(json_t *json)
{
	char *text = json != NULL ? json_dumps(json, JSON_PRESERVE_ORDER) : NULL;
	char *line = NULL;

	if (text != NULL && asprintf(&line, "%s\n", text) < 0)
		line = NULL;
	free(text);
	json_decref(json);
	return line;
}

char *control_client_error(const char *message)
{
	return line_of(json_pack("{s:s, s:s}", "status", "error", "message", message));
}

/* What is left of head and body. */
static void send_more(struct control_client *client)
{
	size_t head = client->sent < client->head_size ? client->sent : client->head_size;
	size_t body = client->sent - head;
	struct iovec parts[] = {
		{.iov_base = client->head + head, .iov_len = client->head_size - head},
		{.iov_base = client->body + body, .iov_len = client->body_size - body},
	};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = ARRAY_SIZE(parts)};
	ssize_t sent = sendmsg(client->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (sent > 0)
		client->sent += (size_t)sent;
	if (sent < 0 || client->sent == client->head_size + client->body_size)
		control_client_close(client);
}

/* Takes `head`, which may be NULL; from now on it is sent. */
static void answer(struct control_client *client, char *head)
{
	client->head = head;
	client->head_size = head != NULL ? strlen(head) : 0;
	if (head == NULL ||
	    sd_event_source_set_time_relative(client->deadline, CONTROL_ANSWER_TIME) < 0 ||
	    sd_event_source_set_enabled(client->deadline, SD_EVENT_ONESHOT) < 0 ||
	    sd_event_source_set_io_events(client->ready, EPOLLOUT) < 0) {
		control_client_close(client);
		return;
	}
	send_more(client);
}

/* --- the request ---------------------------------------------------------------------------- */

static int run(struct control_client *client, const char *name, const char *arguments, FILE *body)
{
	const struct control_commands *commands = client->service->commands;

	for (size_t i = 0; i < commands->count; i++) {
		if (strcmp(commands->rows[i].name, name) == 0)
			return commands->rows[i].run(body, arguments, client->service->context);
	}
	fprintf(body, "there is no command \"%s\"", name);
	return -ENOENT;
}

static void carry_out(struct control_client *client, char *line)
{
	char *rest = line, *name = strsep(&rest, " ");
	FILE *body = open_memstream(&client->body, &client->body_size);
	int error = -ENOMEM, broken = EOF;

	log_simple(LOG_LEVEL_DEBUG, "control", "command", "%s", name);
	if (body != NULL) {
		error = run(client, name, rest != NULL ? rest : "", body);
		broken = ferror(body);
		broken |= fclose(body);
	}
	if (broken != 0) {
		client->body_size = 0;
		answer(client, control_client_error("out of memory"));
	} else if (error < 0) {
		const char *why = client->body_size > 0 ? client->body : strerrordesc_np(-error);

		client->body_size = 0;
		answer(client, control_client_error(why));
	} else {
		answer(client, line_of(json_pack("{s:s, s:I}", "status", "ok", "bytes",
						 (json_int_t)client->body_size)));
	}
}

static bool is_plain(const char *line)
{
	for (; *line != '\0'; line++)
		if (*line < ' ' || *line > '~')
			return false;
	return true;
}

static void look_at_line(struct control_client *client, char *end)
{
	*end = '\0';
	if (strlen(client->line) == (size_t)(end - client->line) && is_plain(client->line))
		carry_out(client, client->line);
	else
		answer(client, control_client_error("the request is no line of ASCII text"));
}

static void receive(struct control_client *client)
{
	ssize_t got = recv(client->fd, client->line + client->used,
			   sizeof(client->line) - client->used, MSG_DONTWAIT);
	char *end;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got < 0) {
		control_client_close(client);
		return;
	}
	client->used += (size_t)got;
	end = memchr(client->line, '\n', client->used);
	if (end != NULL)
		look_at_line(client, end);
	else if (got == 0)
		answer(client, control_client_error("the request has no line end"));
	else if (client->used == sizeof(client->line))
		answer(client, control_client_error("the request is longer than 4096 bytes"));
}

/* --- events --------------------------------------------------------------------------------- */

static int ready(sd_event_source *source, int fd, uint32_t events, void *context)
{
	struct control_client *client = context;

	(void)source;
	(void)fd;
	(void)events; /* with a hang-up the call fails, or has read the end */
	if (client->head == NULL)
		receive(client);
	else
		send_more(client);
	return 0;
}

static int too_late(sd_event_source *source, uint64_t when, void *context)
{
	(void)source;
	(void)when;
	control_client_close(context);
	return 0;
}

int control_client_new(sd_event *loop, int fd, struct control_service *service,
		       void (*gone)(struct control_client *client), struct control_client **out)
{
	struct control_client *client = calloc(1, sizeof(*client));
	int error;

	if (client == NULL)
		return -ENOMEM;
	client->service = service;
	client->gone = gone;
	client->fd = fd;
	error = sd_event_add_io(loop, &client->ready, fd, EPOLLIN, ready, client);
	if (error >= 0)
		error = sd_event_add_time_relative(loop, &client->deadline, CLOCK_MONOTONIC,
						   CONTROL_REQUEST_TIME, 0, too_late, client);
	if (error < 0) {
		sd_event_source_disable_unref(client->ready);
		free(client);
		return error;
	}
	*out = client;
	return 0;
}
