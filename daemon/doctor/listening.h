/* SPDX-License-Identifier: Apache-2.0 */
/* Who listens at a TCP port of this machine (of this network namespace). */
#ifndef MCSEAL_DOCTOR_LISTENING_H
#define MCSEAL_DOCTOR_LISTENING_H

#include "base/address.h"

#include <stdbool.h>
#include <sys/types.h>

struct listening {
	bool taken; /* somebody listens there */
	pid_t pid;  /* 0: this user may not know who */
	char program[32];
};

/*
 * Looks in /proc/net/tcp (proc(5)) for a listener that a connection to `address` would reach, or
 * that would keep another from being opened there. 0 or -errno.
 */
int listening_find(const struct address *address, struct listening *listening);

#endif
