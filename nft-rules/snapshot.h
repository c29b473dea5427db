/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables as they were, to be put back exactly: whoever made them, with counters and comments.
 *
 * What is kept is the kernel's own description, message by message, and it is sent back as it
 * came: also what this program, or its libraries, would not understand.
 */
#ifndef MCSEAL_NFT_SNAPSHOT_H
#define MCSEAL_NFT_SNAPSHOT_H

#include "batch.h"
#include "live.h"
#include "netlink.h"

#include <stdbool.h>

struct snapshot_message;

struct snapshot {
	const char *name; /* of the table */
	bool exists;
	struct snapshot_message *messages;
	size_t count;
};

/* The table `name` now; *generation as in live_table_read(). 0 or -errno; then nothing is held. */
int snapshot_take(struct netlink *netlink, const char *name, struct snapshot *snapshot,
		  uint32_t *generation);
void snapshot_deinit(struct snapshot *snapshot);

/* Adds to `batch` what makes the table, now as in `live`, what it was. */
void snapshot_restore(const struct snapshot *snapshot, const struct live_table *live,
		      struct batch *batch);

#endif
