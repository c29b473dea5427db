/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a redirected connection wanted to go.
 *
 * nftables' `redirect` is destination NAT to this host; conntrack remembers the destination that
 * the client dialled and tells it by getsockopt(SO_ORIGINAL_DST)
 * (net/netfilter/nf_conntrack_proto.c: getorigdst, ipv6_getorigdst).
 */
#ifndef MCSEAL_NET_ORIGDST_H
#define MCSEAL_NET_ORIGDST_H

#include "base/address.h"

enum origdst_outcome {
	ORIGDST_NOT_REDIRECTED = 1, /* somebody dialled the listener itself */
};

/*
 * Asked once, right after accept(2): a flushed conntrack table forgets. 0 with *destination,
 * ORIGDST_NOT_REDIRECTED, or -errno. Never blocks.
 */
int origdst_get(int fd, struct address *destination);

#endif
