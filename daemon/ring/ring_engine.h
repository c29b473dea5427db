/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ring.c and its two engines share. Nobody outside ring/ includes this.
 */
#ifndef MCSEAL_RING_RING_ENGINE_H
#define MCSEAL_RING_RING_ENGINE_H

#include "ring/busy_poll.h"
#include "ring/ring.h"

/* An engine. `start` arms op (all its fields are set); `cancel` asks for its end. */
struct ring_engine_ops {
	int (*init)(struct ring *ring);
	void (*deinit)(struct ring *ring);
	void (*start)(struct ring *ring, struct op *op);
	void (*cancel)(struct ring *ring, struct op *op);
	void (*buffer_free)(struct ring *ring, struct ring_buffer *buffer);
	/*
	 * Submit, sleep `until` then at most (< 0: for ever; 0: not at all), deliver. The number of
	 * completions, or -errno.
	 */
	int (*wait)(struct ring *ring, clock_us until);
	/* Would wait() with 0 do anything? Without a system call; NULL: only wait() itself knows.
	 */
	bool (*pending)(const struct ring *ring);
};

extern const struct ring_engine_ops ring_uring_ops;
extern const struct ring_engine_ops ring_epoll_ops;

struct ring {
	const struct ring_engine_ops *ops;
	void *engine; /* the engine's own state */
	struct timer_heap timers;
	struct busy_poll busy_poll;
	bool may_busy_poll;
	struct op_list ready;   /* ended without the kernel: delivered at the next run */
	struct op_list starved; /* recv operations that wait for a buffer */
	unsigned int buffer_count;
	uint8_t *buffer_memory;
	struct ring_buffer *buffers;
	int wake_fd; /* eventfd */
	struct op_owner *wake_owner;
	struct op_owner self; /* owner of wake_op */
	struct op wake_op;
};

/* Puts op on the ready list; it is delivered as ended with `res`. */
void ring_finish(struct ring *ring, struct op *op, int res);
/* Delivers one completion now. With more = false the operation has ended. */
void ring_deliver(struct op *op, int res, bool more, struct ring_buffer *buffer);
/* Parks a recv until a buffer comes back. */
void ring_starve(struct ring *ring, struct op *op);

#endif
