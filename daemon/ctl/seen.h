/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one identity was seen asking of one PLC, kept as a policy would have to allow it: points
 * read and written, commands that touch no device, stations; and what no policy can allow, or a
 * person should look at. policy/policy.c is what judges by it later.
 */
#ifndef MCSEAL_CTL_SEEN_H
#define MCSEAL_CTL_SEEN_H

#include "ctl/audit_record.h"

/* A command, by the class that it had: a write is `control` where it is one of SM or SD. */
struct seen_command {
	bool is_1e, listed; /* listed: it is nothing that points could allow */
	uint16_t code;
	enum mc_class class;
	unsigned long lines;
};

struct seen {
	char *identity, *plc;
	unsigned long lines;
	struct point_set read, write;
	struct seen_command *commands;
	size_t command_count, command_room;
	struct mc_route *routes;
	size_t route_count, route_room;
	bool elsewhere; /* one of them is not the own station */

	unsigned long cut;                /* lines with points that were not told */
	unsigned long untold;             /* lines of requests for points that told none, ... */
	unsigned long untold_observed[2]; /* ... observed ones: others, reads */
	unsigned long faulty;             /* requests that contradict themselves: they never pass */
	unsigned long subcommands; /* with subcommands that are not known: not beside points */
	unsigned long refused;     /* not taken in */
	unsigned long held_back;   /* refused for the moment: budget, busy, password, audit */

	unsigned int policy; /* learn.c: which one allows it */
};

/* 0 or -ENOMEM. Zero-initialised but for its names is the start. */
int seen_add(struct seen *seen, const struct audit_record *record, bool with_refused);
/* Would the same policy allow both? */
bool seen_equal(const struct seen *a, const struct seen *b);
/* The next listed command from *at on, which starts at 0. NULL: no more. */
const struct seen_command *seen_listed(const struct seen *seen, size_t *at);
/* Is there anything that a policy has to allow? */
bool seen_anything(const struct seen *seen);
/* The names, too. */
void seen_deinit(struct seen *seen);

#endif
