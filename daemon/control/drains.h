/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which edges and gateways take no more connections because somebody said so, and until when the
 * sessions that they have may go on. On the main thread.
 */
#ifndef MCSEAL_CONTROL_DRAINS_H
#define MCSEAL_CONTROL_DRAINS_H

#include "control/control_command.h"

#include <systemd/sd-event.h>

#define DRAINS_TIMEOUT_MAX (7 * 24 * 3600) /* seconds */

/* `running` outlives it. 0 or -errno. */
int drains_new(sd_event *loop, struct reload *running, struct drains **drains);
/* Before the workers stop: waits for what they are at. Accepts NULL. */
void drains_free(struct drains *drains);
/*
 * Is this one drained? One of `edge` and `gateway` is given. *left: seconds until its sessions are
 * told to end; -1: they are not.
 */
bool drains_has(const struct drains *drains, const struct config_edge *edge,
		const struct config_gateway *gateway, int64_t *left);

/*
 * Run()s of struct control_command. `drain SECONDS [NAME]`: SECONDS may be "-"; NAME is of an edge
 * or gateway, or of both; all without it.
 */
int drains_begin_command(struct control_question *question, struct control_context *context);
/* `undrain [NAME]`. */
int drains_undo_command(struct control_question *question, struct control_context *context);

#endif
