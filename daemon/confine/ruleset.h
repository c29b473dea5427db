/* SPDX-License-Identifier: Apache-2.0 */
/* Which files may be opened, and which ports listened at: Landlock (landlock(7)). */
#ifndef MCSEAL_CONFINE_RULESET_H
#define MCSEAL_CONFINE_RULESET_H

#include "confine/confine.h"

/*
 * From now on this thread, and those it starts, open files of the configuration's folders and of
 * a few of the system's only, write in those of the audit file and of the control socket, execute
 * nothing, and listen at TCP ports of the configuration only; the latter, and no signals to other
 * processes, where the kernel is new enough (6.7, 6.12). What has been opened stays open. 0 or
 * -errno; `finding->what` is set.
 */
int ruleset_enter(const struct config *config, struct confine_finding *finding);

#endif
