/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * A connection works on one request at a time, as a PLC does. advance() takes the next whole
 * frame out of the input, has it executed and puts the answer into the output; the connection
 * is then `busy` until the last byte of the answer has left, which may take a delay, several
 * pieces with gaps, or a peer that reads slowly. Whatever arrives meanwhile waits in the input
 * (or is dropped, by option), then in the socket. Only a busy connection has a deadline, when
 * its next piece is due.
 *
 * A closed connection goes to a second list and is freed at one place, after the events of a
 * round: until then its descriptor is -1 and nothing touches it.
 */
#include "mcplc_connection.h"
#include "base/error.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>

/* --- connections ----------------------------------------------------------------------------- */

static struct mcplc_log_names names_of(const struct mcplc_connection *connection)
{
	return (struct mcplc_log_names){connection->peer, connection->port->name};
}

void mcplc_connection_close(struct mcplc_pool *pool, struct mcplc_connection *connection,
			    const char *reason)
{
	struct mcplc_log_names names = names_of(connection);
	char detail[64];

	if (connection->source.fd < 0)
		return;
	snprintf(detail, sizeof(detail), "reason=%s", reason);
	mcplc_log_event(pool->log, "close", &names, detail);
	close(connection->source.fd);
	connection->source.fd = -1;
	connection->port->connections--;
	TAILQ_REMOVE(&pool->connections, connection, link);
	TAILQ_INSERT_TAIL(&pool->closed, connection, link);
}

void mcplc_connection_free_closed(struct mcplc_pool *pool)
{
	struct mcplc_connection *connection;

	while ((connection = TAILQ_FIRST(&pool->closed))) {
		TAILQ_REMOVE(&pool->closed, connection, link);
		explicit_bzero(connection, sizeof(*connection)); /* may hold a remote password */
		free(connection);
	}
}

void mcplc_connection_close_all(struct mcplc_pool *pool, const char *reason)
{
	struct mcplc_connection *connection;

	while ((connection = TAILQ_FIRST(&pool->connections)))
		mcplc_connection_close(pool, connection, reason);
}

static void watch(struct mcplc_pool *pool, struct mcplc_connection *connection)
{
	uint32_t interest = 0;
	struct epoll_event event = {.data.ptr = connection};

	if (connection->source.fd < 0)
		return;
	if (!connection->ended && connection->in_used < sizeof(connection->in))
		interest |= EPOLLIN;
	if (connection->blocked)
		interest |= EPOLLOUT;
	if (interest == connection->interest)
		return;
	event.events = interest;
	connection->interest = interest;
	epoll_ctl(pool->epoll, EPOLL_CTL_MOD, connection->source.fd, &event);
}

static void consume(struct mcplc_connection *connection, size_t length)
{
	connection->in_used -= length;
	memmove(connection->in, connection->in + length, connection->in_used);
}

/* --- requests -------------------------------------------------------------------------------- */

static bool code_accepted(const struct mcplc_pool *pool, enum mc_code code)
{
	switch (pool->options->code) {
	case MCPLC_CODE_AUTO:
		break;
	case MCPLC_CODE_BINARY:
		return code == MC_CODE_BINARY;
	case MCPLC_CODE_ASCII:
		return code == MC_CODE_ASCII;
	}
	return true;
}

static void log_unanswered(const struct mcplc_pool *pool, const struct mcplc_connection *connection,
			   const char *event, size_t length)
{
	struct mcplc_log_names names = names_of(connection);
	struct mcplc_outcome outcome = {.length = 0};

	if (mc_frame_parse_request(connection->in, length, &outcome.request) == 0)
		mcplc_log_request(pool->log, event, &names, &outcome, connection->in, length);
	else
		mcplc_log_event(pool->log, event, &names, "family=-");
}

/* Whole frames that arrived while a request was worked on: gone, as in a built-in QCPU port. */
static void drop_pipelined(struct mcplc_pool *pool, struct mcplc_connection *connection)
{
	const struct mc_stream fresh = {.family = MC_FAMILY_NONE};
	struct mc_frame frame;

	while (mc_stream_split(&fresh, MC_REQUEST, connection->in, connection->in_used,
			       MCPLC_FRAME_MAX, &frame) == MC_SPLIT_FRAME) {
		log_unanswered(pool, connection, "dropped", frame.length);
		consume(connection, frame.length);
	}
}

static void execute(struct mcplc_pool *pool, struct mcplc_connection *connection,
		    const struct mc_frame *frame)
{
	struct mcplc_log_names names = names_of(connection);
	struct mcplc_outcome outcome;
	int error = mcplc_request_execute(pool->cpu, &connection->plc, connection->in,
					  frame->length, connection->out, &outcome);

	if (error) {
		mcplc_log_event(pool->log, "bad", &names, "");
		mcplc_connection_close(pool, connection, "bad-frame");
		return;
	}
	mcplc_log_request(pool->log, "request", &names, &outcome, connection->in, frame->length);
	mc_stream_passed(&connection->stream, MC_REQUEST, connection->in, frame);
	consume(connection, frame->length);
	if (outcome.action == MCPLC_RESET) {
		mcplc_connection_close_all(pool, "remote-reset");
		return;
	}
	connection->busy = true;
	connection->out_used = outcome.length;
	connection->out_sent = 0;
	connection->due = clock_now() + pool->options->delay;
	if (pool->options->drop_pipelined)
		drop_pipelined(pool, connection);
}

static void bad_input(struct mcplc_pool *pool, struct mcplc_connection *connection)
{
	struct mcplc_log_names names = names_of(connection);
	char detail[64];

	/* Only the start: what cannot be framed may hold a password somewhere. */
	snprintf(detail, sizeof(detail), "bytes=%zu first=%02x", connection->in_used,
		 connection->in[0]);
	mcplc_log_event(pool->log, "bad", &names, detail);
	mcplc_connection_close(pool, connection, "bad-frame");
}

/* Takes one frame out of the input. False: there is none to work on now. */
static bool next_request(struct mcplc_pool *pool, struct mcplc_connection *connection)
{
	struct mc_frame frame;

	switch (mc_stream_split(&connection->stream, MC_REQUEST, connection->in,
				connection->in_used, MCPLC_FRAME_MAX, &frame)) {
	case MC_SPLIT_FRAME:
		break;
	case MC_SPLIT_BAD:
		bad_input(pool, connection);
		return false;
	case MC_SPLIT_MORE:
	case MC_SPLIT_WAIT:
		return false;
	}
	if (code_accepted(pool, frame.code)) {
		execute(pool, connection, &frame);
		return true;
	}
	/* Code differs from the port's: no answer at all (C06F only in the error history). */
	log_unanswered(pool, connection, "mismatch", frame.length);
	consume(connection, frame.length);
	return true;
}

/* --- answers --------------------------------------------------------------------------------- */

static void answer_sent(struct mcplc_connection *connection)
{
	struct mc_frame frame = {.family = (enum mc_family)connection->stream.family,
				 .code = (enum mc_code)connection->stream.code,
				 .length = connection->out_used};

	mc_stream_passed(&connection->stream, MC_ANSWER, connection->out, &frame);
	connection->busy = false;
}

/* Sends the piece that is due. False: later, or the connection is gone. */
static bool send_piece(struct mcplc_pool *pool, struct mcplc_connection *connection)
{
	size_t left = connection->out_used - connection->out_sent;
	size_t piece = pool->options->split;
	ssize_t sent;

	if (clock_now() < connection->due)
		return false;
	if (piece == 0 || piece > left)
		piece = left;
	sent = send(connection->source.fd, connection->out + connection->out_sent, piece,
		    MSG_NOSIGNAL);
	if (sent < 0 && errno != EAGAIN && errno != EINTR) {
		mcplc_connection_close(pool, connection, "send-failed");
		return false;
	}
	connection->blocked = sent < (ssize_t)piece;
	if (sent > 0)
		connection->out_sent += (size_t)sent;
	if (connection->out_sent == connection->out_used)
		answer_sent(connection);
	else
		connection->due = clock_now() + pool->options->split_gap;
	return !connection->blocked;
}

/* Works and answers as long as something can be done now. */
static void advance(struct mcplc_pool *pool, struct mcplc_connection *connection)
{
	bool going = true;

	while (going && connection->source.fd >= 0) {
		if (connection->busy)
			going = !connection->blocked && send_piece(pool, connection);
		else
			going = next_request(pool, connection);
	}
	if (connection->source.fd >= 0 && connection->ended && !connection->busy)
		mcplc_connection_close(pool, connection, connection->in_used ? "cut-off" : "peer");
	watch(pool, connection);
}

static void readable(struct mcplc_pool *pool, struct mcplc_connection *connection)
{
	ssize_t received = 1;

	while (received > 0 && connection->in_used < sizeof(connection->in)) {
		received = recv(connection->source.fd, connection->in + connection->in_used,
				sizeof(connection->in) - connection->in_used, 0);
		if (received > 0)
			connection->in_used += (size_t)received;
	}
	if (received < 0 && errno != EAGAIN && errno != EINTR) {
		mcplc_connection_close(pool, connection, "reset");
		return;
	}
	connection->ended = connection->ended || received == 0;
	if (connection->busy && pool->options->drop_pipelined)
		drop_pipelined(pool, connection);
	advance(pool, connection);
}

void mcplc_connection_event(struct mcplc_pool *pool, struct mcplc_connection *connection,
			    uint32_t events)
{
	if (connection->source.fd < 0)
		return; /* closed earlier in this round */
	if (events & EPOLLOUT)
		connection->blocked = false;
	/* Errors come by themselves, also to a connection that asks for nothing now. */
	if (events & EPOLLERR || (events & EPOLLHUP && connection->ended))
		mcplc_connection_close(pool, connection, "reset");
	else if (events & EPOLLIN)
		readable(pool, connection);
	else
		advance(pool, connection);
}

int mcplc_connection_new(struct mcplc_pool *pool, struct mcplc_port *port, int fd, const char *peer)
{
	struct mcplc_connection *connection = calloc(1, sizeof(*connection));
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
	struct mcplc_log_names names;
	int one = 1;

	if (!connection || epoll_ctl(pool->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
		free(connection);
		return -ENOMEM;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	connection->source = (struct mcplc_source){MCPLC_CONNECTION, fd};
	connection->interest = EPOLLIN;
	connection->port = port;
	snprintf(connection->peer, sizeof(connection->peer), "%s", peer);
	port->connections++;
	TAILQ_INSERT_TAIL(&pool->connections, connection, link);
	names = names_of(connection);
	mcplc_log_event(pool->log, "open", &names, "");
	return 0;
}

clock_us mcplc_connection_due(const struct mcplc_pool *pool)
{
	const struct mcplc_connection *connection = TAILQ_FIRST(&pool->connections);
	clock_us due = CLOCK_NEVER;

	for (; connection; connection = TAILQ_NEXT(connection, link)) {
		if (connection->busy && !connection->blocked && connection->due < due)
			due = connection->due;
	}
	return due;
}

void mcplc_connection_expired(struct mcplc_pool *pool)
{
	struct mcplc_connection *connection = TAILQ_FIRST(&pool->connections);
	clock_us now = clock_now();

	while (connection) {
		struct mcplc_connection *next = TAILQ_NEXT(connection, link);

		if (connection->busy && !connection->blocked && connection->due <= now)
			advance(pool, connection);
		/* A remote RESET worked on just now has closed them all. */
		connection = TAILQ_EMPTY(&pool->connections) ? NULL : next;
	}
}
