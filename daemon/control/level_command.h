/* SPDX-License-Identifier: Apache-2.0 */
/* `log-level [LEVEL]`: what is logged, until the next start. */
#ifndef MCSEAL_CONTROL_LEVEL_COMMAND_H
#define MCSEAL_CONTROL_LEVEL_COMMAND_H

#include "control/control_command.h"

/* A struct control_command's run(). */
int level_command(struct control_question *question, struct control_context *context);

#endif
