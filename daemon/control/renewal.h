/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks each second whether a file that the configuration in force names - certificate, key, CA,
 * list, password - is another, and has it read when it has been quiet for a second: reload_files().
 * What is wrong with it is said once, until it changes again.
 *
 * stat(2) instead of inotify: files are replaced by renames, links and mounts of their folders,
 * too.
 */
#ifndef MCSEAL_CONTROL_RENEWAL_H
#define MCSEAL_CONTROL_RENEWAL_H

#include <systemd/sd-event.h>

struct reload;
struct renewal;

/* The files are those that `reload` has in force. 0 or -errno. On the loop's thread. */
int renewal_new(sd_event *loop, struct reload *reload, struct renewal **renewal);
/* Accepts NULL. */
void renewal_free(struct renewal *renewal);
/* Another configuration is in force, and its files have just been read. Accepts NULL. */
void renewal_settle(struct renewal *renewal);

#endif
