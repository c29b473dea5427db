/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A plan for people and for nft: as a commented file for `nft -f`, as JSON for `nft -j -f`. */
#ifndef MCSEAL_NFT_PRINT_H
#define MCSEAL_NFT_PRINT_H

#include "plan.h"

#include "config/config.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/*
 * One transaction, to be loaded as often as one likes: declares, empties and fills, deletes no
 * base chain. Same plan, same text: no dates, no versions. With `guard_only` the guard alone.
 */
void print_plan(const struct plan *plan, const struct config *config, bool guard_only, FILE *file);
/* The same as a new object {"nftables": [...]}. NULL: no memory. */
json_t *print_plan_json(const struct plan *plan, bool guard_only);

#endif
