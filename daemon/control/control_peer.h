/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may use the control socket: root, the daemon's own user, and members of the socket's group.
 * The socket's mode says the same; this holds where somebody has opened it to others.
 */
#ifndef MCSEAL_CONTROL_CONTROL_PEER_H
#define MCSEAL_CONTROL_CONTROL_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

/* Pure. `groups`: the supplementary ones; `self`: the daemon's user; `group`: the socket's. */
bool control_peer_is_welcome(const struct ucred *peer, const gid_t *groups, size_t count,
			     uid_t self, gid_t group);
/*
 * Asks the kernel who connected (SO_PEERCRED, SO_PEERGROUPS; unix(7)) and decides. *peer is who.
 * False, too, when the kernel does not tell.
 */
bool control_peer_may(int fd, gid_t group, struct ucred *peer);

#endif
