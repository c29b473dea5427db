/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `sessions [BELOW]`: a page of sessions, newest first, one JSON object a line; docs/mcseal.md
 * tells its keys.
 */
#ifndef MCSEAL_CONTROL_SESSIONS_COMMAND_H
#define MCSEAL_CONTROL_SESSIONS_COMMAND_H

#include "control/control_command.h"

/* A struct control_command's run(). */
int sessions_command(struct control_question *question, struct control_context *context);

#endif
