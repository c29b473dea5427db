/* SPDX-License-Identifier: Apache-2.0 */
#include "mcping_session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

static int lost(struct session *session, const char *what, const char *why)
{
	struct connection *connection = &session->exchange.connection;

	snprintf(connection->problem, sizeof(connection->problem), "%s%s%s", what, why ? ": " : "",
		 why ? why : "");
	return EXCHANGE_LOST;
}

static clock_us deadline_of(const struct session *session)
{
	return clock_now() + session->options->timeout;
}

void session_init(struct session *session, const struct options *options, int stop_fd)
{
	session->options = options;
	session->style = options->style;
	session->has_password = false;
	session->answer = (struct mc_answer){0};
	exchange_init(&session->exchange, stop_fd, options->one_recv);
}

/* Asked for once, kept for dialling again. */
static bool take_password(struct session *session)
{
	if (!session->has_password)
		session->has_password =
			password_get(session->options->password_file, session->password);
	return session->has_password;
}

static int ask_with_password(struct session *session, enum request_kind kind)
{
	struct request request = {.kind = kind, .text = session->password};
	int outcome;

	if (!take_password(session))
		return lost(session, "no password (--password-file or $MCPING_PASSWORD)",
			    strerror(errno));
	outcome = session_send(session, &request);
	explicit_bzero(session->request, sizeof(session->request));
	return outcome ? outcome : session_receive(session);
}

int session_open(struct session *session)
{
	struct exchange *exchange = &session->exchange;
	int outcome;

	exchange_init(exchange, exchange->connection.stop_fd, exchange->one_recv);
	session->awaited = session->style.serial;
	session->answer = (struct mc_answer){0};
	outcome = connection_open(&exchange->connection, &session->options->target,
				  deadline_of(session));
	if (outcome || !session->options->unlock_first)
		return outcome;
	return ask_with_password(session, REQUEST_UNLOCK);
}

int session_send(struct session *session, const struct request *request)
{
	size_t size =
		request_put(&session->style, request, session->request, sizeof(session->request));

	if (size == 0)
		return lost(session, "this request does not fit into such a frame", NULL);
	session->style.serial++;
	return exchange_send(&session->exchange, session->request, size, deadline_of(session));
}

/* Echoed as it was written (mc_frame.h: never interpreted). */
static bool serial_fits(const struct session *session, uint16_t serial)
{
	uint8_t wanted[4] = {0};
	struct mc_writer writer = {
		.code = session->style.code, .at = wanted, .left = sizeof(wanted)};

	mc_writer_number(&writer, serial, 2);
	return session->style.family != MC_FAMILY_4E ||
	       memcmp(wanted, session->answer.serial, sizeof(wanted) - writer.left) == 0;
}

int session_receive(struct session *session)
{
	int outcome = exchange_receive(&session->exchange, &session->answer, deadline_of(session));
	uint16_t serial = session->awaited++;

	if (outcome == EXCHANGE_ANSWER && !serial_fits(session, serial))
		return lost(session, "an answer with the serial number of another request", NULL);
	return outcome;
}

int session_ask(struct session *session, const struct request *request)
{
	int outcome;

	if (request->kind == REQUEST_UNLOCK || request->kind == REQUEST_LOCK)
		return ask_with_password(session, request->kind);
	outcome = session_send(session, request);
	return outcome ? outcome : session_receive(session);
}

void session_close(struct session *session)
{
	connection_close(&session->exchange.connection);
}

void session_deinit(struct session *session)
{
	session_close(session);
	explicit_bzero(session->password, sizeof(session->password));
	explicit_bzero(session->request, sizeof(session->request));
}
