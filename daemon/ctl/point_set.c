/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/point_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Devices and numbers in one row: between two devices there is a gap of a number. */
static uint64_t place(const struct mc_device *device, uint32_t number)
{
	return ((uint64_t)mc_device_index(device) << 33) + number;
}

/* The first range that ends behind `at`, or touches it. */
static size_t find(const struct point_set *set, uint64_t at)
{
	size_t low = 0, high = set->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct point_range *range = &set->ranges[middle];

		if (place(range->device, range->last) + 1 < at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int make_room(struct point_set *set)
{
	size_t room = set->room > 0 ? 2 * set->room : 16;
	struct point_range *ranges;

	if (set->count < set->room)
		return 0;
	ranges = reallocarray(set->ranges, room, sizeof(*ranges));
	if (ranges == NULL)
		return -ENOMEM;
	set->ranges = ranges;
	set->room = room;
	return 0;
}

int point_set_add(struct point_set *set, const struct point_range *range)
{
	size_t at = find(set, place(range->device, range->first)), end = at;
	struct point_range whole = *range;

	if (make_room(set) < 0)
		return -ENOMEM;
	for (; end < set->count; end++) {
		const struct point_range *other = &set->ranges[end];

		if (place(other->device, other->first) > place(whole.device, whole.last) + 1)
			break;
		whole.first = other->first < whole.first ? other->first : whole.first;
		whole.last = other->last > whole.last ? other->last : whole.last;
	}
	memmove(set->ranges + at + 1, set->ranges + end, (set->count - end) * sizeof(*set->ranges));
	set->ranges[at] = whole;
	set->count += 1 - (end - at);
	return 0;
}

bool point_set_equal(const struct point_set *a, const struct point_set *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		const struct point_range *one = &a->ranges[i], *other = &b->ranges[i];

		if (one->device != other->device || one->first != other->first ||
		    one->last != other->last)
			return false;
	}
	return true;
}

void point_set_deinit(struct point_set *set)
{
	free(set->ranges);
	*set = (struct point_set){.ranges = NULL};
}
