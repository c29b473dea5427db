/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets made ready: listening, dialling, and the options both legs of a session carry.
 * All descriptors are non-blocking and close-on-exec and belong to the caller.
 */
#ifndef MCSEAL_NET_SOCKET_H
#define MCSEAL_NET_SOCKET_H

#include "base/address.h"
#include "base/clock.h"

#include <stdbool.h>
#include <stdint.h>

struct socket_options {
	clock_us keepalive_idle, keepalive_interval; /* rounded up to whole seconds */
	unsigned int keepalive_count;
	clock_us user_timeout; /* tcp(7) TCP_USER_TIMEOUT */
	uint32_t mark;         /* socket(7) SO_MARK; 0 = none. Needs CAP_NET_RAW or CAP_NET_ADMIN */
};

/*
 * A listening TCP socket on `address`. `shared` sets SO_REUSEPORT: every worker has its own and
 * the kernel spreads connections, but a second process of this user would get its share, too,
 * and nobody would notice; an unshared one fails with -EADDRINUSE when anybody listens there.
 * An IPv6 listener takes no IPv4. 0 or -errno.
 */
int socket_listen(const struct address *address, bool shared, int *fd);
/*
 * Lets a listener take what TPROXY gives it: connections to addresses that are not this machine's
 * (ip(7) IP_TRANSPARENT, ipv6 alike). Needs CAP_NET_RAW or CAP_NET_ADMIN. 0 or -errno.
 */
int socket_make_transparent(int fd, const struct address *address);
/* A TCP socket for connect(2) with the options set, the mark included. 0 or -errno. */
int socket_dial(const struct address *address, const struct socket_options *options, int *fd);
/* The same options for an accepted connection, but for the mark. 0 or -errno. */
int socket_prepare(int fd, const struct socket_options *options);

/* The two ends of a connected socket, IPv4-mapped addresses made plain. 0 or -errno. */
int socket_peer(int fd, struct address *address);
int socket_local(int fd, struct address *address);

/* Has neither end closed or reset this TCP connection yet, as far as this host knows? */
bool socket_is_established(int fd);
/* May this process set SO_MARK? 0 or -errno; asked once at start. */
int socket_probe_mark(uint32_t mark);

#endif
