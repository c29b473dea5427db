/* SPDX-License-Identifier: Apache-2.0 */
/* Which system calls a running daemon may make: seccomp(2). */
#ifndef MCSEAL_CONFINE_SYSCALL_FILTER_H
#define MCSEAL_CONFINE_SYSCALL_FILTER_H

#include "confine/confine.h"

/*
 * From now on every thread of the process makes the calls of the tables in syscall_filter.c only.
 * One that nobody but an attacker would make (execve, ptrace, mount, ...) ends the process; any
 * other fails with EPERM, and the kernel's log has it. The caller has set no-new-privileges. 0 or
 * -errno; `finding->what` is set.
 */
int syscall_filter_install(struct confine_finding *finding);

#endif
