/* SPDX-License-Identifier: Apache-2.0 */
/* `close SESSION [now]`: one session is told to end. */
#ifndef MCSEAL_CONTROL_CLOSE_COMMAND_H
#define MCSEAL_CONTROL_CLOSE_COMMAND_H

#include "control/control_command.h"

/* A struct control_command's run(). */
int close_command(struct control_question *question, struct control_context *context);

#endif
