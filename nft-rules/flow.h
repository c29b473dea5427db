/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Plain connections that stand now and that the guard will cut: those of this machine's own
 * programs (sock_diag(7)), and those that connection tracking knows, routed ones among them.
 */
#ifndef MCSEAL_NFT_FLOW_H
#define MCSEAL_NFT_FLOW_H

#include "plan.h"

#include "base/address.h"

#include <stddef.h>
#include <stdint.h>

struct flow {
	struct address from, to;
	uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
};

/*
 * What goes to the guard's sets of `plan`, is not redirected already, and does not carry the
 * daemon's own marks. The caller frees *flows. 0 or -errno; a kernel that tracks no connections,
 * or has none to tell, is no error.
 */
int flows_find(const struct plan *plan, const struct config *config, struct flow **flows,
	       size_t *count);

#endif
