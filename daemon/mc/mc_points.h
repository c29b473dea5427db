/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request touches, and what it writes there, as text for those who read logs. Pure: no I/O,
 * no allocation.
 */
#ifndef MCSEAL_MC_MC_POINTS_H
#define MCSEAL_MC_MC_POINTS_H

#include "mc/mc_access.h"

#define MC_POINTS_SIZE 512 /* of a list's text, with its zero byte */

/* Zero-initialised = empty. Once one does not fit, it and all others are only counted. */
struct mc_points {
	char text[MC_POINTS_SIZE];
	size_t used;
	unsigned int more;
};

/* "D100-D109,M5-M5": every range, in the order of the frame. */
void mc_points_read(const struct mc_request *request, struct mc_points *points);
/* One more range. */
void mc_points_add(struct mc_points *points, const struct mc_range *range);
/*
 * "175A,0200,78563412,1011": what is written, in hexadecimal as the bytes stand in a frame in
 * binary code, whatever the code of this one; the bits of one range are a row of 0 and 1. Only to
 * the range `only` unless that is NULL. Never what stands in a request that is not looked into: a
 * password least of all.
 */
void mc_points_values(const struct mc_request *request, const struct mc_range *only,
		      struct mc_points *values);

#endif
