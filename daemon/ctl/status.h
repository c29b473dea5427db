/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's status (daemon/control/status.h has the other end) for people. */
#ifndef MCSEAL_CTL_STATUS_H
#define MCSEAL_CTL_STATUS_H

#include <stddef.h>
#include <stdio.h>

/* Prints what the JSON text of `size` bytes tells. 0, or -EPROTO: it is not a daemon's status. */
int status_show(const char *text, size_t size, FILE *file);

#endif
