/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A transaction of nf_tables: messages between a begin and an end, in one send. The kernel takes
 * all of them or none (net/netfilter/nfnetlink.c: nfnetlink_rcv_batch).
 *
 * Where memory ran out while building, batch_send() says so and sends nothing.
 */
#ifndef MCSEAL_NFT_BATCH_H
#define MCSEAL_NFT_BATCH_H

#include "netlink.h"

#include <stdbool.h>
#include <stdio.h>

struct batch;

/* NULL: no memory. */
struct batch *batch_new(void);
void batch_free(struct batch *batch);
/* Messages so far, and bytes. */
size_t batch_count(const struct batch *batch);
size_t batch_size(const struct batch *batch);

/*
 * Starts a message of `type` (NFT_MSG_...) and returns it to be filled: there is room for
 * BATCH_MESSAGE_MAX bytes. Good until the next call. What it is about, for errors, is printed from
 * `what`. NULL: no memory.
 */
#define BATCH_MESSAGE_MAX 131072
struct nlmsghdr *batch_add(struct batch *batch, uint16_t type, uint16_t flags, const char *what,
			   ...) __attribute__((format(printf, 4, 5)));

/*
 * Sends it. `generation` != 0: only if the ruleset is still that one, else -ERESTART. With `try_it`
 * the kernel checks everything and then takes nothing. 0, or -errno; each fault is written to
 * `report`, with the message it was found in. -EPERM: no CAP_NET_ADMIN; -EBUSY among others:
 * another program owns a table.
 */
int batch_send(struct batch *batch, struct netlink *netlink, uint32_t generation, bool try_it,
	       FILE *report);

#endif
