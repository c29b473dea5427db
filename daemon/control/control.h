/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: where `mcseal` asks a running daemon. A Unix stream socket of mode 0660, in
 * the loop of the main thread. One line of a client is one command (control_command.h), answered
 * as control_client.h tells.
 *
 * Local clients may be slow or mean: few at once, and none for long. Those who come while there
 * are that many wait in the listen queue.
 */
#ifndef MCSEAL_CONTROL_CONTROL_H
#define MCSEAL_CONTROL_CONTROL_H

#include "control/control_command.h"

#include <systemd/sd-event.h>

#define CONTROL_CLIENTS_MAX 8

struct control;

/*
 * Listens at `path`; what is left there of a daemon that was killed is replaced. `commands` and
 * `context` outlive it. Negative: not, and a `control-not-open` line says why: -EADDRINUSE, a
 * living daemon listens there; -EEXIST, something else than a socket is there; another -errno.
 */
int control_new(sd_event *loop, const char *path, const struct control_commands *commands,
		struct control_context *context, struct control **control);
/* Ends every client, and takes the socket away if it is still ours. Accepts NULL. */
void control_free(struct control *control);

#endif
