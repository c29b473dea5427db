/* SPDX-License-Identifier: Apache-2.0 */
#include "net/socket.h"

#include "base/error.h"

#include <errno.h>
#include <netinet/tcp.h>

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int whole_seconds(clock_us duration)
{
	return (int)((duration + CLOCK_SEC - 1) / CLOCK_SEC);
}

static int open_tcp(const struct address *address, int *fd)
{
	*fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
		     IPPROTO_TCP);
	return *fd < 0 ? -errno : 0;
}

int socket_listen(const struct address *address, bool shared, int *out)
{
	cleanup_fd int fd = -1;
	int error = open_tcp(address, &fd);

	if (error == 0)
		error = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (error == 0 && shared)
		error = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (error == 0 && address->any.sa_family == AF_INET6)
		error = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (error == 0 && bind(fd, &address->any, address_size(address)) < 0)
		error = -errno;
	/* A plant's power-up is a thousand reconnects at once; the kernel caps this at somaxconn.
	 */
	if (error == 0 && listen(fd, 4096) < 0)
		error = -errno;
	if (error == 0)
		*out = steal_fd(&fd);
	return error;
}

int socket_make_transparent(int fd, const struct address *address)
{
	bool v6 = address->any.sa_family == AF_INET6;

	return v6 ? set_int(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
		  : set_int(fd, IPPROTO_IP, IP_TRANSPARENT, 1);
}

int socket_prepare(int fd, const struct socket_options *options)
{
	const struct {
		int level, option, value;
	} wanted[] = {
		/* Without it a second small record waits for the acknowledgement of the first. */
		{IPPROTO_TCP, TCP_NODELAY, 1},
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, whole_seconds(options->keepalive_idle)},
		{IPPROTO_TCP, TCP_KEEPINTVL, whole_seconds(options->keepalive_interval)},
		{IPPROTO_TCP, TCP_KEEPCNT, (int)options->keepalive_count},
		{IPPROTO_TCP, TCP_USER_TIMEOUT, (int)(options->user_timeout / CLOCK_MS)},
	};

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		int error = set_int(fd, wanted[i].level, wanted[i].option, wanted[i].value);

		if (error < 0)
			return error;
	}
	return 0;
}

int socket_dial(const struct address *address, const struct socket_options *options, int *out)
{
	cleanup_fd int fd = -1;
	int error = open_tcp(address, &fd);

	if (error == 0)
		error = socket_prepare(fd, options);
	if (error == 0 && options->mark != 0)
		error = set_int(fd, SOL_SOCKET, SO_MARK, (int)options->mark);
	if (error == 0)
		*out = steal_fd(&fd);
	return error;
}

int socket_peer(int fd, struct address *address)
{
	struct sockaddr_storage storage;
	socklen_t size = sizeof(storage);

	if (getpeername(fd, (struct sockaddr *)&storage, &size) < 0)
		return -errno;
	address_from_sockaddr(&storage, address);
	return 0;
}

int socket_local(int fd, struct address *address)
{
	struct sockaddr_storage storage;
	socklen_t size = sizeof(storage);

	if (getsockname(fd, (struct sockaddr *)&storage, &size) < 0)
		return -errno;
	address_from_sockaddr(&storage, address);
	return 0;
}

bool socket_is_established(int fd)
{
	struct tcp_info info;
	socklen_t size = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
	       info.tcpi_state == TCP_ESTABLISHED;
}

int socket_probe_mark(uint32_t mark)
{
	cleanup_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	return set_int(fd, SOL_SOCKET, SO_MARK, (int)mark);
}
