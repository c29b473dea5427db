/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/loopback.h"

#include "base/error.h"
#include "net/socket.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

static int wait_for(int fd, short events, clock_us deadline)
{
	struct pollfd entry = {.fd = fd, .events = events};

	for (;;) {
		clock_us left = deadline - clock_now();
		int count;

		if (left <= 0)
			return -ETIMEDOUT;
		count = poll(&entry, 1, (int)(left / CLOCK_MS) + 1);
		if (count > 0)
			return 0;
		if (count < 0 && errno != EINTR)
			return -errno;
	}
}

static int start_connect(const struct address *address, int *client)
{
	*client = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (*client < 0)
		return -errno;
	if (connect(*client, &address->any, address_size(address)) < 0 && errno != EINPROGRESS)
		return -errno;
	return 0;
}

/* Anybody on this machine may dial the listener meanwhile: only our own end is taken. */
static int accept_own(int listener, int client, clock_us deadline, int *server)
{
	struct address own, peer;
	int error = socket_local(client, &own);

	while (error == 0) {
		cleanup_fd int fd = -1;

		error = wait_for(listener, POLLIN, deadline);
		if (error < 0)
			return error;
		fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			return -errno;
		if (fd >= 0 && socket_peer(fd, &peer) == 0 && address_equal(&peer, &own)) {
			*server = steal_fd(&fd);
			return 0;
		}
	}
	return error;
}

static int finish_connect(int client, clock_us deadline)
{
	socklen_t size = sizeof(int);
	int error = wait_for(client, POLLOUT, deadline), failed = 0;

	if (error == 0 && getsockopt(client, SOL_SOCKET, SO_ERROR, &failed, &size) < 0)
		error = -errno;
	return error < 0 ? error : -failed;
}

static int connect_to_self(const char *text, clock_us deadline, int pair[2])
{
	cleanup_fd int listener = -1, client = -1, server = -1;
	struct address address;
	const int on = 1;
	int error = address_parse(text, &address);

	if (error == 0)
		error = socket_listen(&address, false, &listener);
	if (error == 0)
		error = socket_local(listener, &address);
	if (error == 0)
		error = start_connect(&address, &client);
	if (error == 0)
		error = accept_own(listener, client, deadline, &server);
	if (error == 0)
		error = finish_connect(client, deadline);
	if (error < 0)
		return error;
	/* Else a second small record waits for the acknowledgement of the first. */
	(void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	pair[0] = steal_fd(&client);
	pair[1] = steal_fd(&server);
	return 0;
}

int loopback_pair(int pair[2])
{
	const clock_us deadline = clock_now() + LOOPBACK_WAIT;
	int error;

	pair[0] = pair[1] = -1;
	error = connect_to_self("127.0.0.1:0", deadline, pair);
	if (error < 0 && connect_to_self("[::1]:0", deadline, pair) == 0)
		error = 0;
	return error;
}

int loopback_send(int fd, const void *bytes, size_t size)
{
	const clock_us deadline = clock_now() + LOOPBACK_WAIT;
	const char *next = bytes;

	while (size > 0) {
		ssize_t sent = send(fd, next, size, MSG_DONTWAIT | MSG_NOSIGNAL);
		int error;

		if (sent > 0) {
			next += sent;
			size -= (size_t)sent;
			continue;
		}
		if (sent < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		error = wait_for(fd, POLLOUT, deadline);
		if (error < 0)
			return error;
	}
	return 0;
}

int loopback_wait(int fd, clock_us deadline)
{
	int error = wait_for(fd, POLLIN, deadline);

	if (error == 0)
		(void)poll(NULL, 0, 1);
	return error;
}

int loopback_receive(int fd, void *bytes, size_t size)
{
	const clock_us deadline = clock_now() + LOOPBACK_WAIT;
	char *next = bytes;

	while (size > 0) {
		ssize_t received = recv(fd, next, size, MSG_DONTWAIT);
		int error = 0;

		if (received > 0) {
			next += received;
			size -= (size_t)received;
		} else if (received == 0) {
			return -ECONNRESET;
		} else if (errno == EAGAIN || errno == EINTR) {
			error = loopback_wait(fd, deadline);
		} else {
			return -errno;
		}
		if (error < 0)
			return error;
	}
	return 0;
}
