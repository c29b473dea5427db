/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directions whose bytes do not enter user space: socket -> pipe -> socket, one whole frame
 * at a time. For relay.c, and session.c for completions.
 */
#ifndef MCSEAL_PROXY_RELAY_SPLICE_H
#define MCSEAL_PROXY_RELAY_SPLICE_H

#include "proxy/session.h"

/* Decides which directions are spliced; when RELAYING begins. */
void relay_splice_choose(struct session *session);
/*
 * Moves what is there and fits. What ended it, for relay_received(): LEG_NOTHING (it waits for
 * something, or the session was closed), or an event of the source.
 */
enum leg_event relay_splice_forward(struct session *session, unsigned int from);
/* Part of a frame is on its way: the end must wait. */
bool relay_splice_in_frame(const struct session *session, unsigned int from);
/* The source ended inside a frame. */
bool relay_splice_cut_off(const struct session *session, unsigned int from);
/* An asynchronous splice of direction `from` has ended. */
void relay_splice_completed(struct session *session, unsigned int from, const struct op *op,
			    const struct op_result *result);
/* Asks the asynchronous splices to end. */
void relay_splice_cancel(struct session *session, unsigned int from);

#endif
