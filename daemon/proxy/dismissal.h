/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions that somebody of the main thread tells to end: one, or those of some listeners. Each
 * ends as `closed-by-admin`: when what was asked of its PLC is answered, or at once.
 */
#ifndef MCSEAL_PROXY_DISMISSAL_H
#define MCSEAL_PROXY_DISMISSAL_H

#include "proxy/session.h"

struct dismissal;
struct worker;

struct dismissal_order {
	uint64_t id;          /* the session; 0: those of `sections` */
	const bool *sections; /* drain_section_of(); copied */
	size_t section_count;
	bool now; /* in the middle of a request, if need be */
};

/* What came of it. */
struct dismissal_result {
	unsigned int closed; /* at once */
	unsigned int ending; /* when what was asked is answered */
};

/* Begins it. 0 or -errno. Nothing blocks. */
int dismissal_new(struct worker **workers, unsigned int count, const struct dismissal_order *order,
		  struct dismissal **dismissal);
/* Waits for the workers that are still at it. Accepts NULL. */
void dismissal_free(struct dismissal *dismissal);
/* Readable when all sessions have been told; ... */
int dismissal_descriptor(const struct dismissal *dismissal);
/* ... and then: 0, or -EAGAIN: not yet. */
int dismissal_get(const struct dismissal *dismissal, struct dismissal_result *result);

#endif
