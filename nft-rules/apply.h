/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A plan against the live kernel: what differs, and making it so. */
#ifndef MCSEAL_NFT_APPLY_H
#define MCSEAL_NFT_APPLY_H

#include "difference.h"
#include "divert.h"
#include "live.h"
#include "netlink.h"
#include "plan.h"

#include "config/config.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

enum { STATE_GUARD, STATE_MANAGED, STATE_TABLES };

/* The kernel's two tables, and how they differ from a plan. */
struct state {
	struct live_table live[STATE_TABLES];
	struct difference differences[STATE_TABLES];
	uint32_t generation;
	/* Of each family, IPv4 first: wanted and there, or not wanted and not there. */
	bool divert_differs[2];
	size_t lines; /* of all differences; 0: nothing to do */
};

/*
 * Reads the kernel and compares. A plan of NULL wants neither table, nor what TPROXY needs; with
 * `keep_guard` the guard is left as it is. 0 or -errno; state_deinit() in any case.
 */
int state_read(struct netlink *netlink, const struct plan *plan, const struct config *config,
	       bool keep_guard, struct state *state);
void state_deinit(struct state *state);
void state_print(const struct state *state, const struct plan *plan, const struct config *config,
		 FILE *file);
/* A new array. NULL: no memory. */
json_t *state_json(const struct state *state, const struct plan *plan, const struct config *config);
/* Is there a guard that blocks, not just one that observes? */
bool state_guards(const struct state *state);
/* Are the rules there those of an apply --observe? */
bool state_observes(const struct state *state);

/*
 * Makes the kernel as the plan in one transaction, or with `try_it` only asks whether it would be
 * taken. -ERESTART: the kernel has changed since state_read(), read again. Faults go to `report`.
 */
int state_apply(const struct state *state, struct netlink *netlink, const struct plan *plan,
		const struct config *config, bool try_it, FILE *report);

/* state_read() and state_apply() until nobody comes between; *state is from before. */
int apply_plan(struct netlink *netlink, const struct plan *plan, const struct config *config,
	       bool keep_guard, FILE *report, struct state *state);

/* The way to this machine itself that TPROXY needs, of family 0 (IPv4) or 1 (IPv6). */
struct divert divert_of(const struct config *config, int family);

#endif
