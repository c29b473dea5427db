/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables, sets, chains and rules of a ruleset as libnftnl's objects, the way nft would make them.
 * The caller frees what is returned with nftnl_*_free(); NULL: no memory.
 */
#ifndef MCSEAL_NFT_OBJECT_H
#define MCSEAL_NFT_OBJECT_H

#include "ruleset.h"

#include <libnftnl/chain.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>

struct nftnl_table *object_table(const struct table *table);
struct nftnl_chain *object_chain(const struct table *table, const struct chain *chain);
/* `number` is of the transaction, not 0. The set's elements are in it. */
struct nftnl_set *object_set(const struct table *table, const struct set *set, uint32_t number);
struct nftnl_rule *object_rule(const struct table *table, const struct chain *chain,
			       const struct rule *rule);

/* The comment in the user data of a table, chain, set or rule, or NULL; it lies in the data. */
const char *object_comment(const void *userdata, uint32_t size, uint8_t type);

#endif
