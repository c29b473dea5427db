/* SPDX-License-Identifier: Apache-2.0 */
/* `mcseal sessions`: the sessions of a running daemon, as a table or as lines of JSON. */
#ifndef MCSEAL_CTL_SESSIONS_H
#define MCSEAL_CTL_SESSIONS_H

#include "ctl/options.h"

/* With --watch it ends when the daemon does, stdout or the user. An exit status. */
int sessions_run(const struct options *options);

#endif
