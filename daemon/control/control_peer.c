/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_peer.h"

#include "base/error.h"

#include <errno.h>

bool control_peer_is_welcome(const struct ucred *peer, const gid_t *groups, size_t count,
			     uid_t self, gid_t group)
{
	if (peer->uid == 0 || peer->uid == self || peer->gid == group)
		return true;
	for (size_t i = 0; i < count; i++)
		if (groups[i] == group)
			return true;
	return false;
}

/* *groups is to be freed, even after an error. */
static int peer_groups(int fd, gid_t **groups, size_t *count)
{
	socklen_t size = 64 * sizeof(gid_t);

	*groups = malloc(size);
	if (*groups == NULL)
		return -ENOMEM;
	while (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, *groups, &size) < 0) {
		gid_t *more;

		if (errno != ERANGE) /* else `size` is what they need */
			return -errno;
		more = realloc(*groups, size);
		if (more == NULL)
			return -ENOMEM;
		*groups = more;
	}
	*count = size / sizeof(gid_t);
	return 0;
}

bool control_peer_may(int fd, gid_t group, struct ucred *peer)
{
	socklen_t size = sizeof(*peer);
	cleanup_free gid_t *groups = NULL;
	size_t count = 0;

	*peer = (struct ucred){.pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1};
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &size) < 0)
		return false;
	if (peer_groups(fd, &groups, &count) < 0)
		count = 0;
	return control_peer_is_welcome(peer, groups, count, geteuid(), group);
}
