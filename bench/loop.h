/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The io_uring of a bench program: one thread, one ring, one io_uring_enter(2) for everything that
 * came and everything that goes out since the last one.
 *
 * It serves both ends of a measurement, mcload and mcecho: what they cost is machine time that the
 * proxy between them does not get.
 */
#ifndef BENCH_LOOP_H
#define BENCH_LOOP_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

/* Bytes that one receive brings at most. A whole answer of 960 words in a TLS record fits. */
#define LOOP_BUFFER_SIZE 4096

/* Nanoseconds of CLOCK_MONOTONIC. */
typedef int64_t clock_ns;

#define CLOCK_NS_US  ((clock_ns)1000)
#define CLOCK_NS_SEC ((clock_ns)1000000000)

clock_ns clock_now_ns(void);

/* Embedded in whoever starts an operation; stays valid until done() was called for the last time:
 * the time that `flags` is without IORING_CQE_F_MORE. */
struct loop_op {
	void (*done)(struct loop_op *op, int result, unsigned flags);
};

struct loop {
	struct io_uring ring;
	struct io_uring_buf_ring *buffers;
	uint8_t *memory;
	bool made;
};

/* 0 or -errno; *step then names what failed. For bare zeroes loop_deinit() is a no-op. */
int loop_init(struct loop *loop, const char **step);
void loop_deinit(struct loop *loop);

/* A submission that ends in op->done(). Never NULL: a full queue is handed to the kernel first. */
struct io_uring_sqe *loop_prepare(struct loop *loop, struct loop_op *op);
/* Receives again and again; the bytes of a completion are at loop_bytes(), until given back. */
void loop_receive(struct loop *loop, struct loop_op *op, int fd);
const uint8_t *loop_bytes(const struct loop *loop, unsigned flags);
void loop_give_back(struct loop *loop, unsigned flags);
/*
 * Submits, sleeps until something completes or `timeout` nanoseconds are over (negative: without
 * end, 0: does not sleep), delivers what came. 0 or -errno when the ring is broken.
 */
int loop_turn(struct loop *loop, clock_ns timeout);

#endif
