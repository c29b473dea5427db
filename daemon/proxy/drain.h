/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listeners that take no more connections, and take them again. Drained, a listener's sockets are
 * closed: who dials is refused at once, and may go elsewhere; sessions live on.
 */
#ifndef MCSEAL_PROXY_DRAIN_H
#define MCSEAL_PROXY_DRAIN_H

#include "config/config.h"

struct drain;
struct worker;
struct worker_listener;

/*
 * Edges and gateways have a number, from 0: their place in the file, the edges first. It is the
 * same as long as the daemon runs (config_compare_listeners()).
 */
size_t drain_section_count(const struct config *config);
size_t drain_section_of(const struct config *config, const struct config_edge *edge,
			const struct config_gateway *gateway);

/*
 * Begins to drain the listeners of these sections, none of which is drained; or, `undo`, to listen
 * again with these, all of which are. One at a time: there is no other under way. 0, or -errno and
 * nothing has changed; undo: -EADDRINUSE, somebody else listens there by now. Nothing blocks.
 */
int drain_new(struct worker **workers, unsigned int count, const struct config *config,
	      const bool *sections, bool undo, struct drain **drain);
/* Waits for the workers that are still at it. Accepts NULL. */
void drain_free(struct drain *drain);
/* Readable when it is done. */
int drain_descriptor(const struct drain *drain);

/* For worker.c: `accept` of a draining listener is idle. */
void drain_listener(struct worker_listener *listener);

#endif
