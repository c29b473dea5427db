/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How it works
 *
 * A sweep over the addresses: between two neighbouring beginnings or ends of blocks, the same
 * blocks are active. There the same is done with the ports, where each stretch belongs to the
 * first active block of the file. A row of stretches that equals the row before it, and continues
 * it, makes that one longer instead of standing for itself.
 */
#include "cover.h"

#include "base/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned __int128 number_t;

struct sweep {
	const struct cover_block *blocks;
	size_t count;
	bool join;
	size_t *order; /* of blocks, by first address */
	size_t begun;  /* how many of `order` have begun */
	size_t *active;
	size_t active_count;
	number_t *edges; /* where anything begins, or is over */
	size_t edge_count;
	uint32_t *ports; /* the same within a row; one more than the last port */
	struct cover_block *made;
	size_t made_count, made_room;
	size_t row, last_row; /* where in `made` this row and the one before begin */
};

void cover_block_set(struct cover_block *block, const struct address_prefix *prefix)
{
	bool v4 = prefix->base.any.sa_family == AF_INET;
	const uint8_t *bytes =
		v4 ? (const uint8_t *)&prefix->base.v4.sin_addr : prefix->base.v6.sin6_addr.s6_addr;
	unsigned int bits = v4 ? 32 : 128;
	number_t ones = ~(number_t)0;

	block->first = 0;
	for (unsigned int i = 0; i < bits / 8; i++)
		block->first = block->first << 8 | bytes[i];
	block->last = block->first;
	if (prefix->bits == 0)
		block->last |= v4 ? UINT32_MAX : ones;
	else
		block->last |= ((number_t)1 << (bits - prefix->bits)) - 1;
}

void cover_address(number_t number, int family, uint8_t *bytes)
{
	for (int i = family == AF_INET ? 3 : 15; i >= 0; i--) {
		bytes[i] = (uint8_t)number;
		number >>= 8;
	}
}

static int compare_numbers(const void *a, const void *b)
{
	number_t x = *(const number_t *)a, y = *(const number_t *)b;

	return (x > y) - (x < y);
}

static int compare_ports(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int compare_blocks(const void *a, const void *b, void *argument)
{
	const struct cover_block *blocks = argument;
	size_t x = *(const size_t *)a, y = *(const size_t *)b;
	int order = compare_numbers(&blocks[x].first, &blocks[y].first);

	return order != 0 ? order : (x > y) - (x < y);
}

static int emit(struct sweep *sweep, struct cover_block block)
{
	struct cover_block *grown;

	if (sweep->made_count > sweep->row) {
		struct cover_block *last = &sweep->made[sweep->made_count - 1];

		if ((uint32_t)last->last_port + 1 == block.first_port &&
		    (sweep->join || last->origin == block.origin)) {
			last->last_port = block.last_port;
			return 0;
		}
	}
	if (sweep->made_count == sweep->made_room) {
		size_t room = sweep->made_room * 2 + 16;

		grown = reallocarray(sweep->made, room, sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		sweep->made = grown;
		sweep->made_room = room;
	}
	sweep->made[sweep->made_count++] = block;
	return 0;
}

/* The first active block of the file that has this port; SIZE_MAX: none has. */
static size_t owner_of(const struct sweep *sweep, uint32_t port)
{
	size_t owner = SIZE_MAX;

	for (size_t i = 0; i < sweep->active_count; i++) {
		const struct cover_block *block = &sweep->blocks[sweep->active[i]];

		if (block->first_port <= port && port <= block->last_port &&
		    sweep->active[i] < owner)
			owner = sweep->active[i];
	}
	return owner;
}

static int emit_row(struct sweep *sweep, number_t first, number_t last)
{
	size_t edges = 0;
	int error = 0;

	for (size_t i = 0; i < sweep->active_count; i++) {
		const struct cover_block *block = &sweep->blocks[sweep->active[i]];

		sweep->ports[edges++] = block->first_port;
		sweep->ports[edges++] = (uint32_t)block->last_port + 1;
	}
	qsort(sweep->ports, edges, sizeof(*sweep->ports), compare_ports);
	for (size_t i = 0; i + 1 < edges && error == 0; i++) {
		size_t owner = owner_of(sweep, sweep->ports[i]);

		if (sweep->ports[i] == sweep->ports[i + 1] || owner == SIZE_MAX)
			continue;
		error = emit(sweep, (struct cover_block){
					    .first = first,
					    .last = last,
					    .first_port = (uint16_t)sweep->ports[i],
					    .last_port = (uint16_t)(sweep->ports[i + 1] - 1),
					    .origin = owner,
				    });
	}
	return error;
}

/* Does the row just made continue the one before it? */
static bool continues(const struct sweep *sweep)
{
	size_t length = sweep->made_count - sweep->row;

	if (length == 0 || sweep->row - sweep->last_row != length)
		return false;
	for (size_t i = 0; i < length; i++) {
		const struct cover_block *above = &sweep->made[sweep->last_row + i];
		const struct cover_block *block = &sweep->made[sweep->row + i];

		if (above->last + 1 != block->first || above->first_port != block->first_port ||
		    above->last_port != block->last_port ||
		    (!sweep->join && above->origin != block->origin))
			return false;
	}
	return true;
}

static void finish_row(struct sweep *sweep)
{
	if (!continues(sweep)) {
		sweep->last_row = sweep->row;
		sweep->row = sweep->made_count;
		return;
	}
	for (size_t i = sweep->row; i < sweep->made_count; i++)
		sweep->made[sweep->last_row + i - sweep->row].last = sweep->made[i].last;
	sweep->made_count = sweep->row;
}

/* What is active from the address `at` on. */
static void activate(struct sweep *sweep, number_t at)
{
	size_t kept = 0;

	for (size_t i = 0; i < sweep->active_count; i++) {
		if (sweep->blocks[sweep->active[i]].last >= at)
			sweep->active[kept++] = sweep->active[i];
	}
	sweep->active_count = kept;
	while (sweep->begun < sweep->count && sweep->blocks[sweep->order[sweep->begun]].first == at)
		sweep->active[sweep->active_count++] = sweep->order[sweep->begun++];
}

static int sweep_all(struct sweep *sweep)
{
	int error = 0;

	for (size_t i = 0; i < sweep->edge_count && error == 0; i++) {
		bool last = i + 1 == sweep->edge_count;

		activate(sweep, sweep->edges[i]);
		error = emit_row(sweep, sweep->edges[i],
				 last ? ~(number_t)0 : sweep->edges[i + 1] - 1);
		if (error == 0)
			finish_row(sweep);
	}
	return error;
}

static void prepare(struct sweep *sweep)
{
	size_t unique = 0;

	for (size_t i = 0; i < sweep->count; i++) {
		sweep->order[i] = i;
		sweep->edges[sweep->edge_count++] = sweep->blocks[i].first;
		/* Behind the very last IPv6 address there is nothing. */
		if (sweep->blocks[i].last != ~(number_t)0)
			sweep->edges[sweep->edge_count++] = sweep->blocks[i].last + 1;
	}
	qsort_r(sweep->order, sweep->count, sizeof(*sweep->order), compare_blocks,
		(void *)sweep->blocks);
	qsort(sweep->edges, sweep->edge_count, sizeof(*sweep->edges), compare_numbers);
	for (size_t i = 0; i < sweep->edge_count; i++) {
		if (i == 0 || sweep->edges[i] != sweep->edges[i - 1])
			sweep->edges[unique++] = sweep->edges[i];
	}
	sweep->edge_count = unique;
}

int cover(const struct cover_block *blocks, size_t count, bool join, struct cover_block **made,
	  size_t *made_count)
{
	struct sweep sweep = {.blocks = blocks, .count = count, .join = join};
	int error = -ENOMEM;

	sweep.order = calloc(count + 1, sizeof(*sweep.order));
	sweep.active = calloc(count + 1, sizeof(*sweep.active));
	sweep.edges = calloc(2 * count + 1, sizeof(*sweep.edges));
	sweep.ports = calloc(2 * count + 1, sizeof(*sweep.ports));
	sweep.made = calloc(1, sizeof(*sweep.made));
	sweep.made_room = 1;
	if (sweep.order != NULL && sweep.active != NULL && sweep.edges != NULL &&
	    sweep.ports != NULL && sweep.made != NULL) {
		prepare(&sweep);
		error = sweep_all(&sweep);
	}
	*made_count = error == 0 ? sweep.made_count : 0;
	*made = error == 0 ? steal_pointer(&sweep.made) : NULL;
	free(sweep.order);
	free(sweep.active);
	free(sweep.edges);
	free(sweep.ports);
	free(sweep.made);
	return error;
}
