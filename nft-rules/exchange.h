/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What has to go from a set, and what has to come, and nothing else: an element that stays is
 * never missing, not for a moment, whatever the kernel's kind of set does while it commits.
 */
#ifndef MCSEAL_NFT_EXCHANGE_H
#define MCSEAL_NFT_EXCHANGE_H

#include <libnftnl/set.h>

/*
 * Compares `live`'s elements with `wanted`'s and makes two sets of the same name with those that
 * are only in one of them: *removed, *added; NULL where there are none. To be freed with
 * nftnl_set_free(). 0 or -ENOMEM.
 */
int exchange_find(struct nftnl_set *live, struct nftnl_set *wanted, struct nftnl_set **removed,
		  struct nftnl_set **added);

#endif
