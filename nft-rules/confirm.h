/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An apply that takes itself back unless somebody confirms it: for who may have locked himself out.
 */
#ifndef MCSEAL_NFT_CONFIRM_H
#define MCSEAL_NFT_CONFIRM_H

#include "netlink.h"
#include "plan.h"

#include "config/config.h"

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

enum confirm_outcome {
	CONFIRM_TAKEN_BACK = 1,
};

/*
 * Applies `plan`, then waits up to `seconds` for Enter on standard input or `mcseal-nft confirm`
 * from elsewhere. Interrupted (SIGINT, SIGTERM), it takes everything back at once; when this
 * process dies or loses its terminal, a process of its own still does so in time. 0: confirmed.
 * CONFIRM_TAKEN_BACK: all is as before. -errno: nothing was changed; faults go to `report`.
 */
int confirm_apply(struct netlink *netlink, const struct plan *plan, const struct config *config,
		  int seconds, FILE *report);

/* The process that waits for a confirmation in this network namespace; 0: none does. */
pid_t confirm_pending(void);
/* Confirms. 0, -ESRCH: nobody waits, or another -errno. */
int confirm_now(void);

#endif
