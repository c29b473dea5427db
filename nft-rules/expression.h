/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A rule as the kernel takes it: for each statement the expressions that nft itself makes of it
 * (`nft --debug=netlink`), so that `nft list` reads them back as the same statement.
 */
#ifndef MCSEAL_NFT_EXPRESSION_H
#define MCSEAL_NFT_EXPRESSION_H

#include "ruleset.h"

#include <libnftnl/rule.h>

/* Appends all expressions of `rule`, whose sets are in `table`. 0 or -ENOMEM. */
int expression_add(struct nftnl_rule *to, const struct rule *rule);
/* The kernel's module for an expression ("redir"); NULL when it is part of nf_tables itself. */
const char *expression_module(const char *name);

#endif
