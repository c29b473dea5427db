/* SPDX-License-Identifier: Apache-2.0 */
#include "mc/mc_points.h"

#include <stdio.h>
#include <string.h>

static void add(struct mc_points *list, const char *text, size_t size, bool comma)
{
	if (list->used == 0)
		comma = false;
	if (list->more > 0 || list->used + comma + size >= sizeof(list->text)) {
		list->more++;
		return;
	}
	if (comma)
		list->text[list->used++] = ',';
	memcpy(list->text + list->used, text, size);
	list->used += size;
	list->text[list->used] = '\0';
}

void mc_points_add(struct mc_points *points, const struct mc_range *range)
{
	char first[MC_DEVICE_TEXT_SIZE], last[MC_DEVICE_TEXT_SIZE], text[2 * MC_DEVICE_TEXT_SIZE];
	int size = snprintf(text, sizeof(text), "%s-%s",
			    mc_device_print(range->device, range->first, first),
			    mc_device_print(range->device, range->last, last));

	add(points, text, (size_t)size, true);
}

static void visit(void *context, const struct mc_range *range)
{
	mc_points_add(context, range);
}

void mc_points_read(const struct mc_request *request, struct mc_points *points)
{
	struct mc_access access;

	mc_access_read(request, visit, points, &access);
}

struct values {
	struct mc_points *list;
	const struct mc_range *only;
	bool wanted; /* the range that they belong to is */
	bool row;    /* the last was a bit of the same range */
};

static void enter(void *context, const struct mc_range *range)
{
	struct values *values = context;
	const struct mc_range *only = values->only;

	values->row = false;
	values->wanted = only == NULL || (range->device == only->device &&
					  range->first == only->first && range->last == only->last);
}

static void add_value(void *context, uint32_t value, unsigned int bits)
{
	struct values *values = context;
	uint8_t text[8] = {value > 0 ? '1' : '0'};
	size_t size = bits == 1 ? 1 : bits / 4;

	if (!values->wanted)
		return;
	/* The lowest byte is the first on the wire. */
	for (size_t i = 0; bits > 1 && i < size; i += 2, value >>= 8)
		mc_number_to_hex(text + i, 2, value);
	add(values->list, (const char *)text, size, !values->row);
	values->row = bits == 1;
}

void mc_points_values(const struct mc_request *request, const struct mc_range *only,
		      struct mc_points *list)
{
	struct values values = {.list = list, .only = only, .wanted = only == NULL};
	struct mc_access access;

	mc_access_read_values(request, enter, add_value, &values, &access);
}
