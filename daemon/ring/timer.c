/* SPDX-License-Identifier: Apache-2.0 */
#include "ring/timer.h"

#include <errno.h>
#include <stdlib.h>

static void place(struct timer_heap *heap, size_t slot, struct timer *timer)
{
	heap->slots[slot - 1] = timer;
	timer->slot = slot;
}

static void sift_up(struct timer_heap *heap, struct timer *timer)
{
	size_t slot = timer->slot;

	while (slot > 1 && heap->slots[slot / 2 - 1]->when > timer->when) {
		place(heap, slot, heap->slots[slot / 2 - 1]);
		slot /= 2;
	}
	place(heap, slot, timer);
}

static void sift_down(struct timer_heap *heap, struct timer *timer)
{
	size_t slot = timer->slot;

	while (slot * 2 <= heap->count) {
		size_t child = slot * 2;

		if (child < heap->count && heap->slots[child]->when < heap->slots[child - 1]->when)
			child++;
		if (heap->slots[child - 1]->when >= timer->when)
			break;
		place(heap, slot, heap->slots[child - 1]);
		slot = child;
	}
	place(heap, slot, timer);
}

static int reserve(struct timer_heap *heap)
{
	size_t capacity = heap->capacity ? heap->capacity * 2 : 64;
	struct timer **slots;

	if (heap->count < heap->capacity)
		return 0;
	slots = reallocarray(heap->slots, capacity, sizeof(struct timer *));
	if (slots == NULL)
		return -ENOMEM;
	heap->slots = slots;
	heap->capacity = capacity;
	return 0;
}

int timer_set(struct timer_heap *heap, struct timer *timer, clock_us when)
{
	if (timer->slot == 0) {
		int error = reserve(heap);

		if (error < 0)
			return error;
		place(heap, ++heap->count, timer);
	}
	timer->when = when;
	sift_up(heap, timer);
	sift_down(heap, timer);
	return 0;
}

void timer_stop(struct timer_heap *heap, struct timer *timer)
{
	struct timer *last;
	size_t slot = timer->slot;

	if (slot == 0)
		return;
	timer->slot = 0;
	last = heap->slots[--heap->count];
	if (last == timer)
		return;
	place(heap, slot, last);
	sift_up(heap, last);
	sift_down(heap, last);
}

clock_us timer_next(const struct timer_heap *heap)
{
	return heap->count > 0 ? heap->slots[0]->when : CLOCK_NEVER;
}

void timer_expire(struct timer_heap *heap, clock_us now)
{
	while (heap->count > 0 && heap->slots[0]->when <= now) {
		struct timer *timer = heap->slots[0];

		timer_stop(heap, timer);
		timer->expired(timer);
	}
}

void timer_heap_deinit(struct timer_heap *heap)
{
	free(heap->slots);
	*heap = (struct timer_heap){0};
}
