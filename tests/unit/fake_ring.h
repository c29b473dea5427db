/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring in memory, for tests of what stands on it: all functions of ring.h, defined in the test
 * program itself, so that the linker leaves the real one out. Operations are only noted; the test
 * completes them by hand, in any order and with any result.
 */
#ifndef MCSEAL_TESTS_FAKE_RING_H
#define MCSEAL_TESTS_FAKE_RING_H

#include "ring/ring.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FAKE_OPS 64

struct ring {
	struct timer_heap timers;
	struct op *armed[FAKE_OPS];
	size_t armed_count;
	uint8_t sent[1 << 16]; /* everything that ring_send() was given */
	size_t sent_size, sends;
	int buffers_out; /* delivered and not yet released */
};

static void fake_arm(struct ring *ring, struct op *op, enum op_kind kind, int fd)
{
	assert(!op_armed(op) && ring->armed_count < FAKE_OPS);
	op->kind = (uint8_t)kind;
	op->cancelled = false;
	op->fd = fd;
	op->owner->in_flight++;
	ring->armed[ring->armed_count++] = op;
}

static inline void fake_forget(struct ring *ring, struct op *op)
{
	for (size_t i = 0; i < ring->armed_count; i++)
		if (ring->armed[i] == op)
			ring->armed[i--] = ring->armed[--ring->armed_count];
	op->kind = OP_IDLE;
	op->owner->in_flight--;
}

/* Ends an operation. May free its owner. */
static inline void fake_complete(struct ring *ring, struct op *op, int res)
{
	struct op_result result = {.res = res};
	struct op_owner *owner = op->owner;

	fake_forget(ring, op);
	owner->complete(owner, op, &result);
}

/* Delivers bytes to a recv that stays armed. */
static inline void fake_deliver(struct ring *ring, struct op *op, const void *bytes, size_t size)
{
	struct ring_buffer *buffer = calloc(1, sizeof(*buffer));
	struct op_result result = {.res = (int)size, .more = true, .buffer = buffer};

	buffer->bytes = malloc(size);
	buffer->size = (uint32_t)size;
	memcpy(buffer->bytes, bytes, size);
	ring->buffers_out++;
	op->owner->complete(op->owner, op, &result);
}

static inline struct op *fake_armed(struct ring *ring, enum op_kind kind, uint8_t tag)
{
	for (size_t i = 0; i < ring->armed_count; i++)
		if (ring->armed[i]->kind == kind && ring->armed[i]->tag == tag)
			return ring->armed[i];
	return NULL;
}

struct timer_heap *ring_timers(struct ring *ring)
{
	return &ring->timers;
}

void ring_accept(struct ring *ring, struct op *op, int fd)
{
	fake_arm(ring, op, OP_ACCEPT, fd);
}

void ring_connect(struct ring *ring, struct op *op, int fd, const struct address *address)
{
	op->address = address;
	fake_arm(ring, op, OP_CONNECT, fd);
}

void ring_recv(struct ring *ring, struct op *op, int fd)
{
	fake_arm(ring, op, OP_RECV, fd);
}

void ring_send(struct ring *ring, struct op *op, int fd, const void *bytes, size_t size)
{
	assert(size > 0 && ring->sent_size + size <= sizeof(ring->sent));
	memcpy(ring->sent + ring->sent_size, bytes, size);
	ring->sent_size += size;
	ring->sends++;
	op->total = (uint32_t)size;
	fake_arm(ring, op, OP_SEND, fd);
}

void ring_poll(struct ring *ring, struct op *op, int fd, short events)
{
	(void)events;
	fake_arm(ring, op, OP_POLL, fd);
}

void ring_watch(struct ring *ring, struct op *op, int fd)
{
	fake_arm(ring, op, OP_WATCH, fd);
}

void ring_splice_out(struct ring *ring, struct op *out, int pipe, int to, size_t size)
{
	(void)to;
	(void)size;
	fake_arm(ring, out, OP_SPLICE, pipe);
}

void ring_splice(struct ring *ring, struct op *into, struct op *out, int from, const int pipe[2],
		 int to, size_t size)
{
	fake_arm(ring, into, OP_SPLICE, from);
	ring_splice_out(ring, out, pipe[0], to, size);
}

void ring_cancel(struct ring *ring, struct op *op)
{
	(void)ring;
	if (op_armed(op))
		op->cancelled = true; /* the test ends it */
}

void ring_buffer_release(struct ring *ring, struct ring_buffer *buffer)
{
	ring->buffers_out--;
	free(buffer->bytes);
	free(buffer);
}

int ring_new(enum ring_engine engine, unsigned int buffers, struct op_owner *wake_owner,
	     struct ring **ring)
{
	(void)engine;
	(void)buffers;
	(void)wake_owner;
	*ring = calloc(1, sizeof(**ring));
	return *ring == NULL ? -ENOMEM : 0;
}

void ring_free(struct ring *ring)
{
	timer_heap_deinit(&ring->timers);
	free(ring);
}

int ring_run_once(struct ring *ring)
{
	(void)ring;
	return 0;
}

void ring_busy_poll(struct ring *ring, bool may)
{
	(void)ring;
	(void)may;
}

void ring_wake(struct ring *ring)
{
	(void)ring;
}

#endif
