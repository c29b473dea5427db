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

/* *there: both the rule and the route are. 0 or -errno. */
int divert_read(struct netlink *route, const struct divert *divert, bool *there);
/* Idempotent: adds what is missing. 0 or -errno. Needs CAP_NET_ADMIN. */
int divert_add(struct netlink *route, const struct divert *divert);
/* The same the other way round. */
int divert_remove(struct netlink *route, const struct divert *divert);

#endif
