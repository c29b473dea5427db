/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blocks of addresses and ports that may overlap, made into ones that do not.
 *
 * The kernel refuses a concatenated set with overlapping elements (EEXIST), and nft a plain one
 * ("conflicting intervals"), but a configuration may well name 10.30.0.0/24 in one place and
 * 10.30.0.10 in another.
 */
#ifndef MCSEAL_NFT_COVER_H
#define MCSEAL_NFT_COVER_H

#include "base/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cover_block {
	unsigned __int128 first, last;  /* addresses of one family, as numbers; both inside */
	uint16_t first_port, last_port; /* both inside */
	size_t origin; /* set by cover(): the first of the given blocks that covers this one */
};

/* The addresses of a prefix; ports are left alone. */
void cover_block_set(struct cover_block *block, const struct address_prefix *prefix);
/* Back: network byte order, 4 bytes for AF_INET, 16 for AF_INET6. */
void cover_address(unsigned __int128 number, int family, uint8_t *bytes);

/*
 * *made covers what the `count` blocks cover, ascending by address, then port. What overlaps
 * nothing stays as it is, unless `join`: then neighbours become one wherever that makes a block.
 * The caller frees *made. 0 or -ENOMEM. Sorting and one sweep: a thousand PLCs take milliseconds.
 */
int cover(const struct cover_block *blocks, size_t count, bool join, struct cover_block **made,
	  size_t *made_count);

#endif
