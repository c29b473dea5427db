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

/* --- the end -------------------------------------------------------------------------------- */

static void release(struct control_client *client)
{
	client->gone(client);
	free(client->head);
	free(client->body);
	free(client);
}

/* As long as the workers are at it, it counts as one of those who ask. */
static void hang_up(struct control_client *client)
{
	client->ready = sd_event_source_disable_unref(client->ready);
	client->deadline = sd_event_source_disable_unref(client->deadline);
	close(client->fd);
	client->fd = -1;
	if (client->later_done == NULL)
		release(client);
}

static void drop_later(struct control_client *client)
{
	client->later_done = sd_event_source_disable_unref(client->later_done);
	client->later.drop(client->later.what);
}

void control_client_close(struct control_client *client)
{
	if (client->later_done != NULL)
		drop_later(client);
	if (client->fd >= 0)
		hang_up(client);
	else
		release(client);
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
		hang_up(client);
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
		hang_up(client);
		return;
	}
	send_more(client);
}

static void answer_error(struct control_client *client, const char *message)
{
	client->body_size = 0;
	answer(client, control_client_error(message));
}

/* What the command has written to `body`, which is client->body; or, with an error, why not. */
static void answer_body(struct control_client *client, FILE *body, int error)
{
	int broken = ferror(body);

	broken |= fclose(body);
	if (broken != 0 || error == -ENOMEM)
		answer_error(client, "out of memory");
	else if (error < 0)
		answer_error(client,
			     client->body_size > 0 ? client->body : strerrordesc_np(-error));
	else
		answer(client, line_of(json_pack("{s:s, s:I}", "status", "ok", "bytes",
						 (json_int_t)client->body_size)));
}

/* --- what takes longer ---------------------------------------------------------------------- */

static int later_done(sd_event_source *source, int fd, uint32_t events, void *context)
{
	struct control_client *client = context;
	FILE *body = NULL;
	int error = 0;

	(void)source;
	(void)fd;
	(void)events;
	if (client->fd < 0) {
		control_client_close(client);
		return 0;
	}
	/* Unless it was told that it took too long. */
	if (client->head == NULL) {
		body = open_memstream(&client->body, &client->body_size);
		if (body != NULL)
			error = client->later.answer(client->later.what, body,
						     client->service->context);
	}
	drop_later(client);
	if (body != NULL)
		answer_body(client, body, error);
	else if (client->head == NULL)
		answer_error(client, "out of memory");
	return 0;
}

/* The client is not listened to meanwhile, but may hang up. */
static void wait_for_later(struct control_client *client)
{
	sd_event *loop = sd_event_source_get_event(client->ready);
	int error = sd_event_add_io(loop, &client->later_done, client->later.descriptor, EPOLLIN,
				    later_done, client);

	if (error < 0) {
		client->later.drop(client->later.what);
		answer_error(client, strerrordesc_np(-error));
		return;
	}
	if (sd_event_source_set_time_relative(client->deadline, CONTROL_ANSWER_TIME) < 0 ||
	    sd_event_source_set_enabled(client->deadline, SD_EVENT_ONESHOT) < 0 ||
	    sd_event_source_set_io_events(client->ready, 0) < 0)
		hang_up(client);
}

/* --- the request ---------------------------------------------------------------------------- */

static int run(const struct control_service *service, struct control_question *question)
{
	const struct control_commands *commands = service->commands;

	for (size_t i = 0; i < commands->count; i++) {
		if (strcmp(commands->rows[i].name, question->command) == 0)
			return commands->rows[i].run(question, service->context);
	}
	fprintf(question->body, "there is no command \"%s\"", question->command);
	return -ENOENT;
}

static void carry_out(struct control_client *client, char *line)
{
	char *rest = line, *name = strsep(&rest, " ");
	struct control_question question = {
		.command = name,
		.arguments = rest != NULL ? rest : "",
		.asker = client->asker,
		.body = open_memstream(&client->body, &client->body_size),
	};
	int error;

	log_simple(LOG_LEVEL_DEBUG, "control", "command", "%s", name);
	if (question.body == NULL) {
		answer_error(client, "out of memory");
		return;
	}
	error = run(client->service, &question);
	if (error != CONTROL_LATER) {
		answer_body(client, question.body, error);
		return;
	}
	fclose(question.body);
	free(client->body);
	client->body = NULL;
	client->later = question.later;
	wait_for_later(client);
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
		hang_up(client);
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
	if (client->head != NULL)
		send_more(client);
	else if (client->later_done != NULL)
		hang_up(client); /* nothing else is listened to */
	else
		receive(client);
	return 0;
}

static int too_late(sd_event_source *source, uint64_t when, void *context)
{
	struct control_client *client = context;

	(void)source;
	(void)when;
	if (client->head == NULL && client->later_done != NULL)
		answer_error(client, "a worker did not answer in time; see the log");
	else
		hang_up(client);
	return 0;
}

int control_client_new(sd_event *loop, int fd, const struct ucred *asker,
		       struct control_service *service, void (*gone)(struct control_client *client),
		       struct control_client **out)
{
	struct control_client *client = calloc(1, sizeof(*client));
	int error;

	if (client == NULL)
		return -ENOMEM;
	client->service = service;
	client->gone = gone;
	client->asker = *asker;
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
