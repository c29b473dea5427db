/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Do the rules fit this machine? What the kernel itself cannot say when it takes them. */
#ifndef MCSEAL_NFT_CHECK_H
#define MCSEAL_NFT_CHECK_H

#include "netlink.h"
#include "plan.h"

#include "config/config.h"

#include <jansson.h>
#include <stdio.h>

/*
 * Writes a line to `report` for everything that will make connections fail although the rules are
 * right: missing interfaces, listeners out of reach, other firewalls' drops, a guard file that is
 * not the plan's, a conntrack table too small. Returns how many.
 */
int check_machine(struct netlink *netlink, const struct plan *plan, const struct config *config,
		  FILE *report);

/* What other firewalls of this machine must let in, in their own words. */
void check_print_admission(const struct config *config, FILE *file);
/* The same as a new array of {"section", "name", "protocol", "port", "nftables", "firewalld",
 * "ufw"}. */
json_t *check_admission_json(const struct config *config);

#endif
