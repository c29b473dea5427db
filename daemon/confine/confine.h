/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon gives up, once it has started, what it will not need: whoever then makes it run his
 * own code finds a process that can do what mcseald does and not much else. Five layers, each of
 * which holds where another one fails or is missing; docs/threat-model.md tells what each is good
 * for.
 *
 * Nothing of it can be taken back: the order of the calls is that of this header, on the main
 * thread.
 */
#ifndef MCSEAL_CONFINE_CONFINE_H
#define MCSEAL_CONFINE_CONFINE_H

#include "config/config.h"

#include <stdbool.h>

enum confine_layer {
	CONFINE_PRIVILEGES,   /* no program that is executed gets more rights: prctl(2) */
	CONFINE_CAPABILITIES, /* CAP_NET_RAW at most, and CAP_NET_BIND_SERVICE where needed */
	CONFINE_RING,         /* rings take few operations: ring/ring_uring.c */
	CONFINE_FILES,        /* Landlock: the configuration's folders; no other ports */
	CONFINE_CALLS,        /* seccomp: the system calls of a running daemon */
	CONFINE_LAYERS,
};

struct confine_finding {
	bool in_force;
	char what[144]; /* what it leaves, or why it is not in force */
};

/* Constant after confine_calls(). */
struct confinement {
	enum config_confine mode;
	struct confine_finding layers[CONFINE_LAYERS];
};

/* "no-new-privileges", "capabilities", ... as in the log, in status and in the documents. */
const char *confine_layer_name(enum confine_layer layer);

/*
 * All three: 0; or -EOPNOTSUPP when `confine = required` and a layer cannot be had, which is
 * logged. With `confine = yes` that is a warning, with `confine = no` nothing is done.
 *
 * Before what is tried by capabilities_probe(), so that what is found then holds; the files that
 * only root may read have been read. This thread and those it starts.
 */
int confine_privileges(struct confinement *confinement, const struct config *config);
/*
 * This thread and those it starts: before any other. `has_ring`: the loop is io_uring. Opened
 * files, listening sockets and sockets of this moment stay of use.
 */
int confine_files(struct confinement *confinement, const struct config *config, bool has_ring);
/*
 * The whole process, every thread: when all have started, and have their rings. Writes one
 * `confinement` line for all layers.
 */
int confine_calls(struct confinement *confinement);

#endif
