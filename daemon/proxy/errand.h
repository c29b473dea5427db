/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Something that every worker does once for somebody of the main thread: each on its own thread,
 * in pieces where it takes long, with the traffic between them. Who asks goes on meanwhile; a
 * descriptor says when all have done it.
 */
#ifndef MCSEAL_PROXY_ERRAND_H
#define MCSEAL_PROXY_ERRAND_H

#include "proxy/inbox.h"

#include <stdbool.h>

struct errand;
struct worker;

/* One worker's part of it. */
struct errand_part {
	struct worker *worker;
	unsigned int number; /* of the worker, from 0 */
	struct errand *errand;
	struct message message;
};

/*
 * Calls run() on each worker's thread, which ends its part by errand_again() or errand_done(), at
 * once or later. `context` outlives errand_free(). 0 or -errno: then run() is not called.
 */
int errand_new(struct worker **workers, unsigned int count,
	       void (*run)(struct errand_part *part, void *context), void *context,
	       struct errand **errand);
/* Waits for the workers that are still at it. Accepts NULL. */
void errand_free(struct errand *errand);
/* Becomes readable when all have done it, and stays so. */
int errand_descriptor(const struct errand *errand);
/* True: what the workers have written for it may be looked at. */
bool errand_is_done(struct errand *errand);

/* On the worker's thread: run() again, after what else there is to do. */
void errand_again(struct errand_part *part);
/* On the worker's thread: the part is done, and gone. */
void errand_done(struct errand_part *part);

#endif
