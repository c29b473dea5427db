/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this thread, and those it starts, may do beyond what anybody may (capabilities(7)).
 * `finding->what` is set by each.
 */
#ifndef MCSEAL_CONFINE_PRIVILEGES_H
#define MCSEAL_CONFINE_PRIVILEGES_H

#include "confine/confine.h"

/* prctl(2) PR_SET_NO_NEW_PRIVS: also what seccomp(2) and landlock(7) ask for. 0 or -errno. */
int privileges_no_new(struct confine_finding *finding);
/*
 * Gives up every capability but CAP_NET_RAW, by which sockets are marked and made transparent, and,
 * where a listener has a port below 1024, CAP_NET_BIND_SERVICE: a drained listener is opened
 * again; and CAP_IPC_LOCK, where RLIMIT_MEMLOCK is a limit. None is added. 0 or -errno.
 */
int privileges_drop(const struct config *config, struct confine_finding *finding);

#endif
