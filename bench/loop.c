/* SPDX-License-Identifier: Apache-2.0 */
#include "loop.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define SUBMISSIONS  2048
#define COMPLETIONS  65536
#define BUFFERS      2048 /* a power of two */
#define BUFFER_GROUP 0
/*
 * Delivered before the next submission. More would save enters, and let the first answer of a
 * batch wait for the work on all the others until its next request leaves.
 */
#define BATCH        32

clock_ns clock_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * CLOCK_NS_SEC + now.tv_nsec;
}

static void give_buffer(struct loop *loop, unsigned id)
{
	io_uring_buf_ring_add(loop->buffers, loop->memory + (size_t)id * LOOP_BUFFER_SIZE,
			      LOOP_BUFFER_SIZE, (unsigned short)id, io_uring_buf_ring_mask(BUFFERS),
			      0);
	io_uring_buf_ring_advance(loop->buffers, 1);
}

static void *map(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

/* Debian 12's liburing 2.3 has no io_uring_setup_buf_ring(). */
static int register_buffers(struct loop *loop)
{
	struct io_uring_buf_reg registration = {.bgid = BUFFER_GROUP, .ring_entries = BUFFERS};
	int error;

	loop->buffers = map(BUFFERS * sizeof(struct io_uring_buf));
	loop->memory = map((size_t)BUFFERS * LOOP_BUFFER_SIZE);
	if (!loop->buffers || !loop->memory)
		return -ENOMEM;
	registration.ring_addr = (uintptr_t)loop->buffers;
	error = io_uring_register_buf_ring(&loop->ring, &registration, 0);
	if (error)
		return error;
	io_uring_buf_ring_init(loop->buffers);
	for (unsigned id = 0; id < BUFFERS; id++)
		give_buffer(loop, id);
	return 0;
}

int loop_init(struct loop *loop, const char **step)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
		.cq_entries = COMPLETIONS,
	};
	int error;

	*step = "io_uring (Linux 6.1 or newer, and not forbidden)";
	error = io_uring_queue_init_params(SUBMISSIONS, &loop->ring, &params);
	if (error)
		return error;
	loop->made = true;
	*step = "a buffer ring";
	error = register_buffers(loop);
	if (!error)
		(void)io_uring_register_ring_fd(&loop->ring); /* saves a look-up per enter */
	return error;
}

void loop_deinit(struct loop *loop)
{
	if (!loop->made)
		return;
	io_uring_queue_exit(&loop->ring);
	if (loop->buffers)
		munmap(loop->buffers, BUFFERS * sizeof(struct io_uring_buf));
	if (loop->memory)
		munmap(loop->memory, (size_t)BUFFERS * LOOP_BUFFER_SIZE);
	loop->made = false;
}

struct io_uring_sqe *loop_prepare(struct loop *loop, struct loop_op *op)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&loop->ring);

	while (!sqe) {
		io_uring_submit(&loop->ring);
		sqe = io_uring_get_sqe(&loop->ring);
	}
	/* The io_uring_prep_*() leave it alone, in liburing 2.3 and later. */
	io_uring_sqe_set_data(sqe, op);
	return sqe;
}

void loop_receive(struct loop *loop, struct loop_op *op, int fd)
{
	struct io_uring_sqe *sqe = loop_prepare(loop, op);

	io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = BUFFER_GROUP;
}

const uint8_t *loop_bytes(const struct loop *loop, unsigned flags)
{
	return loop->memory + (size_t)(flags >> IORING_CQE_BUFFER_SHIFT) * LOOP_BUFFER_SIZE;
}

void loop_give_back(struct loop *loop, unsigned flags)
{
	give_buffer(loop, flags >> IORING_CQE_BUFFER_SHIFT);
}

/* Copied out first: what done() starts may need room in the queues. */
static void deliver(struct loop *loop)
{
	struct io_uring_cqe taken[BATCH], *cqe;
	unsigned head, count = 0;

	io_uring_for_each_cqe(&loop->ring, head, cqe)
	{
		if (count == BATCH)
			break;
		taken[count++] = *cqe;
	}
	io_uring_cq_advance(&loop->ring, count);
	for (unsigned i = 0; i < count; i++) {
		struct loop_op *op = io_uring_cqe_get_data(&taken[i]);

		op->done(op, taken[i].res, taken[i].flags);
	}
}

int loop_turn(struct loop *loop, clock_ns timeout)
{
	struct __kernel_timespec wait = {timeout / CLOCK_NS_SEC, timeout % CLOCK_NS_SEC};
	struct io_uring_cqe *cqe;
	int error;

	if (timeout == 0)
		error = io_uring_submit_and_get_events(&loop->ring);
	else
		error = io_uring_submit_and_wait_timeout(&loop->ring, &cqe, 1,
							 timeout < 0 ? NULL : &wait, NULL);
	if (error < 0 && error != -ETIME && error != -EINTR && error != -EBUSY && error != -EAGAIN)
		return error;
	deliver(loop);
	return 0;
}
