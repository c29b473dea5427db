/* SPDX-License-Identifier: Apache-2.0 */
#include "net/passed.h"

#include "base/error.h"
#include "net/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

struct passed_socket {
	int fd;
	char *name;
	struct address address; /* as it listens */
	struct address serves;  /* as the configuration has it; AF_UNSPEC: nobody has asked */
};

struct passed {
	size_t count;
	struct passed_socket sockets[];
};

static bool get_int(int fd, int option, int wanted)
{
	int value;
	socklen_t size = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 && value == wanted;
}

/* 0, -EINVAL or -ENOMEM. */
static int look_at(struct passed_socket *socket, int fd, const char *name)
{
	int flags = fcntl(fd, F_GETFL);

	socket->fd = fd;
	if (flags < 0 || !get_int(fd, SO_TYPE, SOCK_STREAM) || !get_int(fd, SO_ACCEPTCONN, 1) ||
	    socket_local(fd, &socket->address) < 0 ||
	    (socket->address.any.sa_family != AF_INET && socket->address.any.sa_family != AF_INET6))
		return -EINVAL;
	if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -EINVAL;
	if (asprintf(&socket->name, "%s", name) >= 0)
		return 0;
	socket->name = NULL;
	return -ENOMEM;
}

int passed_new(int first, size_t count, char *const *names, size_t *wrong, struct passed **out)
{
	struct passed *passed = calloc(1, sizeof(*passed) + count * sizeof(passed->sockets[0]));
	int error = passed != NULL ? 0 : -ENOMEM;

	for (size_t i = 0; i < count && error == 0; i++) {
		*wrong = i;
		error = look_at(&passed->sockets[i], first + (int)i, names != NULL ? names[i] : "");
		passed->count++;
	}
	if (error < 0) {
		for (size_t i = 0; passed != NULL && i < passed->count; i++)
			passed->sockets[i].fd = -1;
		passed_free(passed);
		return error;
	}
	*out = passed;
	return 0;
}

void passed_free(struct passed *passed)
{
	for (size_t i = 0; passed != NULL && i < passed->count; i++) {
		if (passed->sockets[i].fd >= 0)
			close(passed->sockets[i].fd);
		free(passed->sockets[i].name);
	}
	free(passed);
}

static bool fits(const struct passed_socket *socket, const struct address *address,
		 const char *name)
{
	if (socket->serves.any.sa_family != AF_UNSPEC)
		return address_equal(&socket->serves, address);
	return name != NULL ? strcmp(socket->name, name) == 0
			    : address_equal(&socket->address, address);
}

static int find(struct passed *passed, const struct address *address, const char *name)
{
	for (size_t i = 0; i < passed->count; i++) {
		if (!fits(&passed->sockets[i], address, name))
			continue;
		passed->sockets[i].serves = *address;
		return passed->sockets[i].fd;
	}
	return -1;
}

int passed_find(struct passed *passed, const struct address *address, const char *name)
{
	int fd = passed != NULL ? find(passed, address, NULL) : -1;

	return passed != NULL && fd < 0 ? find(passed, address, name) : fd;
}

const char *passed_idle(const struct passed *passed, size_t *at, struct address *address)
{
	while (passed != NULL && *at < passed->count) {
		const struct passed_socket *socket = &passed->sockets[(*at)++];

		if (socket->serves.any.sa_family != AF_UNSPEC)
			continue;
		*address = socket->address;
		return socket->name;
	}
	return NULL;
}
