/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What TPROXY needs beside its rules: a packet that carries the divert mark must be routed to this
 * machine itself, whatever its destination. For each family a rule (`ip rule add fwmark MARK
 * lookup TABLE`) and a route (`ip route add local default dev lo table TABLE`). rtnetlink(7).
 */
#ifndef MCSEAL_NFT_DIVERT_H
#define MCSEAL_NFT_DIVERT_H

#include "netlink.h"

#include <stdbool.h>
#include <stdint.h>

struct divert {
	int family; /* AF_INET or AF_INET6 */
	uint32_t mark;
	uint32_t table;
};

struct divert_there {
	bool rule, route;
};

/* Which of the two are there. 0 or -errno. */
int divert_read(struct netlink *route, const struct divert *divert, struct divert_there *there);
/* Adds and removes until it is as `wanted`. 0 or -errno. Needs CAP_NET_ADMIN. */
int divert_set(struct netlink *route, const struct divert *divert,
	       const struct divert_there *wanted);

#endif
