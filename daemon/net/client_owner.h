/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose process holds the other end of a connection from this very host: user id and control
 * group, asked from the kernel by sock_diag(7).
 */
#ifndef MCSEAL_NET_CLIENT_OWNER_H
#define MCSEAL_NET_CLIENT_OWNER_H

#include "base/address.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum client_owner_outcome {
	CLIENT_OWNER_NOT_LOCAL = 1, /* no such socket here: the client is another host */
	CLIENT_OWNER_NONE = 2,      /* the client has closed its socket: nobody vouches for it */
	CLIENT_OWNER_AMONG = 3,     /* see client_owner_get() */
};

struct client_owner {
	uid_t uid;
	uint64_t cgroup; /* id of its control group (v2), 0 = the kernel does not tell */
};

/*
 * The client's own socket, from its point of view: source `client`, destination `dialled` (before
 * NAT). 0, an outcome or -errno. One netlink round trip, answered at once.
 *
 * A redirect sends connections to different destinations to one listener. Where two of them have
 * the same source port, the kernel gives the later one another, which no socket has. Then every
 * connection from that address to that destination may be the one: CLIENT_OWNER_AMONG tells the
 * user that all of them belong to (cgroup 0 where these differ); users that differ are
 * CLIENT_OWNER_NOT_LOCAL. It is true only if the accepted socket is still established
 * (socket_is_established()) after this call: a client that was gone by then was not looked at.
 */
int client_owner_get(const struct address *client, const struct address *dialled,
		     struct client_owner *owner);
/* Is `cgroup` that of `path` ("/system.slice/scada.service") right now? */
bool client_owner_in_cgroup(const struct client_owner *owner, const char *path);

#endif
