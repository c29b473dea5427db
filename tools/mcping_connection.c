/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works: the socket is non-blocking, each call tries, and when the kernel or OpenSSL wants
 * to wait, connection_wait() polls the socket and the stop descriptor until the deadline. A
 * refusal in TLS 1.3 comes after our own handshake is over (RFC 8446, section 4.4.2.4): it meets
 * the first send or receive, so these explain TLS failures as the handshake does.
 */
#include "mcping_connection.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"

/* Keeps the words about a failure of the system. */
static int failed(struct connection *connection, const char *what, int error)
{
	snprintf(connection->problem, sizeof(connection->problem), "%s: %s", what, strerror(error));
	return CONNECTION_FAILED;
}

/* `events` as in poll(2); 0 waits for the stop or the deadline only. */
static int connection_wait(struct connection *connection, short events, clock_us deadline)
{
	struct pollfd polled[2] = {
		{.fd = events ? connection->fd : -1, .events = events},
		{.fd = connection->stop_fd, .events = POLLIN},
	};

	for (;;) {
		clock_us left = deadline - clock_now();
		struct timespec time;
		int ready;

		if (left < 0)
			left = 0;
		time.tv_sec = left / CLOCK_SEC;
		time.tv_nsec = left % CLOCK_SEC * 1000;
		ready = ppoll(polled, ARRAY_SIZE(polled), &time, NULL);
		if (ready < 0 && errno == EINTR)
			continue;
		if (ready < 0)
			return failed(connection, "poll", errno);
		if (polled[1].revents)
			return CONNECTION_STOPPED;
		if (ready > 0)
			return CONNECTION_DONE;
		return failed(connection, "time-out", ETIMEDOUT);
	}
}

/* Waits for what OpenSSL asked for, or keeps its reason to give up. */
static int tls_wait(struct connection *connection, int result, clock_us deadline)
{
	int system_error = errno;
	int error = SSL_get_error(connection->ssl, result);

	if (error == SSL_ERROR_WANT_READ)
		return connection_wait(connection, POLLIN, deadline);
	if (error == SSL_ERROR_WANT_WRITE)
		return connection_wait(connection, POLLOUT, deadline);
	tls_explain(connection->ssl, error, system_error, connection->problem,
		    sizeof(connection->problem));
	return CONNECTION_FAILED;
}

static int tls_handshake(struct connection *connection, const struct connection_target *target,
			 clock_us deadline)
{
	connection->ssl = tls_session(connection->context, target->tls, target->host);
	if (!connection->ssl || !SSL_set_fd(connection->ssl, connection->fd))
		return failed(connection, "TLS", ENOMEM);
	for (;;) {
		int result, outcome;

		ERR_clear_error();
		errno = 0;
		result = SSL_connect(connection->ssl);
		if (result == 1)
			return CONNECTION_DONE;
		outcome = tls_wait(connection, result, deadline);
		if (outcome == CONNECTION_FAILED && clock_now() >= deadline)
			snprintf(connection->problem, sizeof(connection->problem),
				 "no end of the TLS handshake in time");
		if (outcome)
			return outcome;
	}
}

static int dial_one(struct connection *connection, const struct addrinfo *to, clock_us deadline)
{
	socklen_t size = sizeof(int);
	int one = 1, error = 0, outcome;

	connection->fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (connection->fd < 0)
		return failed(connection, "socket", errno);
	setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(connection->fd, to->ai_addr, to->ai_addrlen) == 0)
		return CONNECTION_DONE;
	if (errno != EINPROGRESS)
		return failed(connection, "cannot connect", errno);
	outcome = connection_wait(connection, POLLOUT, deadline);
	if (outcome == CONNECTION_FAILED)
		return failed(connection, "cannot connect", ETIMEDOUT);
	if (outcome)
		return outcome;
	getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size);
	return error ? failed(connection, "cannot connect", error) : CONNECTION_DONE;
}

static int dial(struct connection *connection, const struct connection_target *target,
		clock_us deadline)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
	int outcome = CONNECTION_FAILED;
	int error = getaddrinfo(target->host, target->port, &hints, &found);

	if (error) {
		snprintf(connection->problem, sizeof(connection->problem), "%s: %s", target->host,
			 gai_strerror(error));
		return CONNECTION_FAILED;
	}
	for (struct addrinfo *to = found; to; to = to->ai_next) {
		outcome = dial_one(connection, to, deadline);
		if (outcome != CONNECTION_FAILED)
			break;
		if (connection->fd >= 0)
			close(connection->fd);
		connection->fd = -1;
	}
	freeaddrinfo(found);
	return outcome;
}

void connection_init(struct connection *connection, int stop_fd)
{
	*connection = (struct connection){.fd = -1, .stop_fd = stop_fd};
}

int connection_open(struct connection *connection, const struct connection_target *target,
		    clock_us deadline)
{
	int outcome;

	if (target->tls) {
		connection->context =
			tls_context(target->tls, connection->problem, sizeof(connection->problem));
		if (!connection->context)
			return CONNECTION_FAILED;
	}
	outcome = dial(connection, target, deadline);
	if (!outcome && target->tls)
		outcome = tls_handshake(connection, target, deadline);
	return outcome;
}

static int plain_send(struct connection *connection, const uint8_t *bytes, size_t size,
		      clock_us deadline)
{
	while (size > 0) {
		ssize_t sent = send(connection->fd, bytes, size, MSG_NOSIGNAL);
		int outcome;

		if (sent > 0) {
			bytes += sent;
			size -= (size_t)sent;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return failed(connection, "send", errno);
		outcome = connection_wait(connection, POLLOUT, deadline);
		if (outcome)
			return outcome;
	}
	return CONNECTION_DONE;
}

/*
 * The gateway may have refused us and closed before we wrote: its alert still waits to be read,
 * and says more than our broken pipe.
 */
static void explain_by_alert(struct connection *connection)
{
	uint8_t byte;
	int result;

	ERR_clear_error();
	errno = 0;
	result = SSL_read(connection->ssl, &byte, 1);
	if (result <= 0 && SSL_get_error(connection->ssl, result) == SSL_ERROR_SSL)
		tls_explain(connection->ssl, SSL_ERROR_SSL, 0, connection->problem,
			    sizeof(connection->problem));
}

static int tls_send(struct connection *connection, const uint8_t *bytes, size_t size,
		    clock_us deadline)
{
	for (;;) {
		size_t sent;
		int result, outcome;

		ERR_clear_error();
		errno = 0;
		result = SSL_write_ex(connection->ssl, bytes, size, &sent);
		if (result == 1)
			return CONNECTION_DONE; /* no partial writes asked for: all of it */
		if (SSL_get_error(connection->ssl, result) == SSL_ERROR_SYSCALL) {
			failed(connection, "send", errno);
			explain_by_alert(connection);
			return CONNECTION_FAILED;
		}
		outcome = tls_wait(connection, result, deadline);
		if (outcome)
			return outcome;
	}
}

int connection_send(struct connection *connection, const uint8_t *bytes, size_t size,
		    clock_us deadline)
{
	if (connection->ssl)
		return tls_send(connection, bytes, size, deadline);
	return plain_send(connection, bytes, size, deadline);
}

static int plain_receive(struct connection *connection, uint8_t *bytes, size_t size, size_t *got,
			 clock_us deadline)
{
	for (;;) {
		ssize_t received = recv(connection->fd, bytes, size, 0);
		int outcome;

		if (received > 0) {
			*got = (size_t)received;
			return CONNECTION_DONE;
		}
		if (received == 0) {
			snprintf(connection->problem, sizeof(connection->problem),
				 "the other side closed the connection");
			return CONNECTION_FAILED;
		}
		if (errno != EAGAIN && errno != EINTR)
			return failed(connection, "receive", errno);
		outcome = connection_wait(connection, POLLIN, deadline);
		if (outcome)
			return outcome;
	}
}

static int tls_receive(struct connection *connection, uint8_t *bytes, size_t size, size_t *got,
		       clock_us deadline)
{
	for (;;) {
		int result, outcome;

		ERR_clear_error();
		errno = 0;
		result = SSL_read_ex(connection->ssl, bytes, size, got);
		if (result == 1)
			return CONNECTION_DONE;
		outcome = tls_wait(connection, result, deadline);
		if (outcome)
			return outcome;
	}
}

int connection_receive(struct connection *connection, uint8_t *bytes, size_t size, size_t *got,
		       clock_us deadline)
{
	if (connection->ssl)
		return tls_receive(connection, bytes, size, got, deadline);
	return plain_receive(connection, bytes, size, got, deadline);
}

int connection_pause(struct connection *connection, clock_us until)
{
	int outcome = connection_wait(connection, 0, until);

	return outcome == CONNECTION_STOPPED ? outcome : CONNECTION_DONE;
}

void connection_close(struct connection *connection)
{
	/* After a fatal error OpenSSL forbids a shutdown; one without answer is enough (RFC
	 * 8446, 6.1). */
	if (connection->ssl && SSL_is_init_finished(connection->ssl)) {
		ERR_clear_error();
		SSL_shutdown(connection->ssl);
	}
	SSL_free(connection->ssl);
	SSL_CTX_free(connection->context);
	if (connection->fd >= 0)
		close(connection->fd);
	connection->ssl = NULL;
	connection->context = NULL;
	connection->fd = -1;
}
