/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Warnings before what the configuration in force rests on ends (tls/paper.h): 30, 7 and 1 days
 * before, and when it has; not sooner than half its life is over, or a list that is renewed each
 * month would never be silent. Each is told once; a renewed file is looked at after the reload.
 */
#ifndef MCSEAL_CONTROL_EXPIRY_H
#define MCSEAL_CONTROL_EXPIRY_H

#include "proxy/snapshot.h"

#include <systemd/sd-event.h>

struct expiry;

/* Looks now, and from time to time at what *snapshot then is. 0 or -errno. On the loop's thread. */
int expiry_new(sd_event *loop, struct snapshot *const *snapshot, struct expiry **expiry);
/* Accepts NULL. */
void expiry_free(struct expiry *expiry);
/* Looks now: another snapshot is in force. Accepts NULL. */
void expiry_look(struct expiry *expiry);

#endif
