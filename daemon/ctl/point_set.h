/* SPDX-License-Identifier: Apache-2.0 */
/* Points of devices as few ranges: what overlaps or touches is one. In the devices' order. */
#ifndef MCSEAL_CTL_POINT_SET_H
#define MCSEAL_CTL_POINT_SET_H

#include "mc/mc_device.h"

#include <stdbool.h>
#include <stddef.h>

struct point_range {
	const struct mc_device *device;
	uint32_t first, last; /* both inside */
};

/* Zero-initialised = empty. */
struct point_set {
	struct point_range *ranges;
	size_t count, room;
};

/* 0 or -ENOMEM: then nothing was added. */
int point_set_add(struct point_set *set, const struct point_range *range);
bool point_set_equal(const struct point_set *a, const struct point_set *b);
void point_set_deinit(struct point_set *set);

#endif
