/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/connection.h"

#include "base/error.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

static int fail(struct connection *connection, int error)
{
	snprintf(connection->reason, sizeof(connection->reason), "%s",
		 error == -ETIMEDOUT ? "no answer in time" : strerrordesc_np(-error));
	return error;
}

static int await(int fd, short events, clock_us deadline)
{
	struct pollfd waiting = {.fd = fd, .events = events};
	clock_us left;

	do {
		left = deadline - clock_now();
		if (left <= 0)
			return -ETIMEDOUT;
	} while (poll(&waiting, 1, (int)(left / CLOCK_MS) + 1) <= 0);
	return 0;
}

/* As the daemon's own sockets; without its mark where this user may not set it. */
static int open_socket(const struct config *config, const struct address *address, int *fd)
{
	struct socket_options options = {
		.keepalive_idle = config->timeouts.keepalive_idle,
		.keepalive_interval = config->timeouts.keepalive_interval,
		.keepalive_count = config->timeouts.keepalive_count,
		.user_timeout = config->timeouts.user_timeout,
		.mark = config->mark,
	};

	if (options.mark != 0 && socket_probe_mark(options.mark) < 0)
		options.mark = 0;
	return socket_dial(address, &options, fd);
}

int connection_dial(struct connection *connection, const struct config *config,
		    const struct address *address, clock_us deadline)
{
	int failure = 0, error;
	socklen_t size = sizeof(failure);

	*connection = (struct connection){.fd = -1};
	error = open_socket(config, address, &connection->fd);
	if (error < 0)
		return fail(connection, error);
	if (connect(connection->fd, &address->any, address_size(address)) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return fail(connection, -errno);
	error = await(connection->fd, POLLOUT, deadline);
	if (error == 0 &&
	    (getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &failure, &size) < 0 || failure != 0))
		error = failure != 0 ? -failure : -errno;
	return error < 0 ? fail(connection, error) : 0;
}

int connection_secure(struct connection *connection, const struct tls_context *context,
		      const struct handshake_server *server, clock_us deadline)
{
	int result = handshake_new(context, connection->fd, server, &connection->handshake);

	while (result >= 0) {
		result = handshake_step(connection->handshake, &connection->peer);
		if (result == 0)
			return 0;
		if (result > 0 &&
		    await(connection->fd, result == HANDSHAKE_WANT_READ ? POLLIN : POLLOUT,
			  deadline) < 0) {
			snprintf(connection->reason, sizeof(connection->reason),
				 "no end of the TLS handshake in time");
			return -ETIMEDOUT;
		}
	}
	if (result == -EPROTO)
		snprintf(connection->reason, sizeof(connection->reason), "%s",
			 connection->peer.reason);
	return result == -EPROTO ? result : fail(connection, result);
}

int connection_send(struct connection *connection, const void *bytes, size_t size,
		    clock_us deadline)
{
	ssize_t sent;

	if (connection->handshake != NULL)
		return tls_exchange_send(connection->handshake, bytes, size, deadline,
					 connection->reason);
	/* Less than any socket's buffer. */
	sent = send(connection->fd, bytes, size, MSG_NOSIGNAL);
	return sent < 0 ? fail(connection, -errno) : 0;
}

ssize_t connection_receive(struct connection *connection, void *bytes, size_t size,
			   clock_us deadline)
{
	ssize_t got;
	int error;

	if (connection->handshake != NULL)
		got = tls_exchange_receive(connection->handshake, bytes, size, deadline,
					   connection->reason);
	else if ((error = await(connection->fd, POLLIN, deadline)) < 0)
		got = error;
	else if ((got = recv(connection->fd, bytes, size, 0)) < 0)
		got = -errno;
	return got == -ETIMEDOUT || (got < 0 && connection->handshake == NULL)
		       ? fail(connection, (int)got)
		       : got;
}

void connection_end(struct connection *connection)
{
	if (connection->handshake != NULL)
		tls_exchange_end(connection->handshake);
	handshake_free(connection->handshake);
	if (connection->fd >= 0)
		close(connection->fd);
	*connection = (struct connection){.fd = -1};
}
