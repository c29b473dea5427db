/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the daemon's configuration to the rules that belong to it: docs/nft.md, line by line.
 *
 * Two tables. The guard keeps plain MC from leaving this machine, whatever becomes of the rest;
 * the other one brings connections to the daemon and admits its clients.
 */
#ifndef MCSEAL_NFT_PLAN_H
#define MCSEAL_NFT_PLAN_H

#include "cover.h"
#include "ruleset.h"

#include "config/config.h"

#include <stdio.h>

#define TABLE_GUARD   "mcseal_guard"
#define TABLE_MANAGED "mcseal"

/* How the comment of an observing guard's counter begins: by it such a guard is known. */
#define PLAN_WOULD_BLOCK "would be blocked"

/* What the guard keeps plain traffic from. */
struct plan_protected {
	int family;
	struct cover_block block;
	bool plant; /* a gateway's: every port */
};

struct plan {
	struct ruleset ruleset; /* the guard first; the managed table only if it has rules */
	struct plan_protected *protected;
	size_t protected_count;
	bool observe;
	/* TPROXY needs a route to this machine itself for what it has marked (divert.h). */
	bool divert4, divert6;
};

/*
 * The rules for `config`; with `observe`, ones that count and log what the rules would block or
 * redirect, and do nothing else. What does not fit is written to `report`, a line each, as the
 * configuration's own faults are: errors (-EINVAL) and warnings. Looks up control groups below
 * /sys/fs/cgroup. 0, -EINVAL or -ENOMEM; plan_deinit() in any case.
 */
int plan_build(const struct config *config, bool observe, FILE *report, struct plan *plan);
void plan_deinit(struct plan *plan);

#endif
