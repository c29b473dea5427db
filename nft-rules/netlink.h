/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A netlink socket to nf_tables, and questions asked over it. Blocking. */
#ifndef MCSEAL_NFT_NETLINK_H
#define MCSEAL_NFT_NETLINK_H

#include <libmnl/libmnl.h>
#include <stddef.h>
#include <stdint.h>

struct netlink {
	struct mnl_socket *socket;
	uint32_t port; /* by which the kernel tells our own changes from others' */
	uint32_t sequence;
};

/* `bus` is NETLINK_NETFILTER, NETLINK_ROUTE or NETLINK_SOCK_DIAG. 0 or -errno. */
int netlink_open(struct netlink *netlink, int bus);
void netlink_close(struct netlink *netlink);

/*
 * Sends the request in `message` (its sequence number is set here) and runs `callback` on each
 * answer until the end. 0; -EINTR when what was dumped changed meanwhile: ask again; another
 * -errno, -ENOENT among them: what was asked for is not there.
 */
int netlink_ask(struct netlink *netlink, struct nlmsghdr *message, mnl_cb_t callback, void *data);

/*
 * The attributes of a message, whose own header has `header` bytes, one after the other: that after
 * `last`, or the first with NULL. NULL: there is no other.
 */
const struct nlattr *netlink_next(const struct nlmsghdr *message, size_t header,
				  const struct nlattr *last);

/* The number of the ruleset's present generation: every change by anybody makes a new one. */
int netlink_generation(struct netlink *netlink, uint32_t *generation);

#endif
