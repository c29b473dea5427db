/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One table as the kernel has it now. */
#ifndef MCSEAL_NFT_LIVE_H
#define MCSEAL_NFT_LIVE_H

#include "netlink.h"
#include "ruleset.h"

#include <libnftnl/chain.h>
#include <libnftnl/flowtable.h>
#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>

#include <stdbool.h>
#include <stddef.h>

struct live_table {
	bool exists;
	uint32_t flags;
	struct nftnl_chain **chains;
	size_t chain_count;
	struct nftnl_set **sets; /* with their elements */
	size_t set_count;
	struct nftnl_rule **rules; /* chain by chain, in their order */
	size_t rule_count;
	/* Named counters, quotas, ... and flowtables: never ours. */
	struct nftnl_obj **objects;
	size_t object_count;
	struct nftnl_flowtable **flowtables;
	size_t flowtable_count;
};

/*
 * Reads the table `name` of the family inet. *generation is the ruleset's that all of it belongs
 * to: what changes meanwhile is read again, a few times. 0 with live_table_deinit() to be called,
 * -EAGAIN when the ruleset never stood still, -EPERM without CAP_NET_ADMIN, or another -errno.
 */
int live_table_read(struct netlink *netlink, const char *name, struct live_table *table,
		    uint32_t *generation);
void live_table_deinit(struct live_table *table);

/*
 * A live set's elements as a plan would write them, ascending, in *elements: to be freed with
 * elements_free(). For types that we have (set_type.h) only: else -EINVAL. Or -ENOMEM.
 */
int live_set_elements(struct nftnl_set *set, struct element **elements, size_t *count);
void elements_free(struct element *elements, size_t count);

#endif
