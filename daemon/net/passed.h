/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets that the service manager has opened and passed (sd_listen_fds(3)): they outlive
 * the daemon, so that who dials while it is started anew waits instead of being refused.
 */
#ifndef MCSEAL_NET_PASSED_H
#define MCSEAL_NET_PASSED_H

#include "base/address.h"

#include <stddef.h>

struct passed;

/*
 * Takes over `count` descriptors from `first` on. `names` has as many, or is NULL. 0; -ENOMEM; or
 * -EINVAL for one that is no listening TCP socket, with *wrong set to its place among them; then
 * all stay the caller's.
 */
int passed_new(int first, size_t count, char *const *names, size_t *wrong, struct passed **passed);
/* Closes them all. Accepts NULL. */
void passed_free(struct passed *passed);
/*
 * The one for a listener: at this very address, or else the first of the listener's name that
 * serves no other address; it then serves this one. A descriptor that stays the module's, or -1:
 * there is none. Accepts NULL. On one thread at a time.
 */
int passed_find(struct passed *passed, const struct address *address, const char *name);
/* The next after *at that nobody has asked for: its name, its address in *address; NULL: no more.
 */
const char *passed_idle(const struct passed *passed, size_t *at, struct address *address);

#endif
