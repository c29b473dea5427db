/* SPDX-License-Identifier: Apache-2.0 */
/* Who has done something to the running daemon at its control socket. */
#ifndef MCSEAL_CONTROL_ADMIN_H
#define MCSEAL_CONTROL_ADMIN_H

#include "control/control_command.h"

/* An `admin` line of the log: what is asked, and by which user and process. */
void admin_tell(const struct control_question *question);

#endif
