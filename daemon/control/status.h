/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon as it is now, for `mcseal status`: one JSON object. docs/mcseal.md tells its keys. */
#ifndef MCSEAL_CONTROL_STATUS_H
#define MCSEAL_CONTROL_STATUS_H

#include "control/control_command.h"

/* 0 or -ENOMEM. */
int status_print(FILE *body, const struct control_context *context);

#endif
