/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The io_uring engine.
 *
 * How it works
 *
 * One ring per thread with SINGLE_ISSUER and DEFER_TASKRUN (6.1): completions appear only while
 * this thread is inside io_uring_enter(2) asking for events, so one enter per loop submits
 * everything that was armed and collects everything that ended, for all sessions.
 *
 * user_data of an operation is the address of its struct op; 0 marks the cancel requests
 * themselves, whose own results say nothing that the cancelled operation does not say.
 *
 * accept, recv and watch are multishot. A completion without IORING_CQE_F_MORE has ended in the
 * kernel whatever its result was; where that was not the end for the owner (completion queue full,
 * buffers used up) the operation is started again here and the owner never notices.
 *
 * A send among many is queued like everything else: one enter carries all of them. But its
 * completion ends the next wait before anything has happened, so where few things were going on
 * a send is made at once, by send(2), and only what the socket did not take is queued. Never
 * before something that was asked for earlier: a recv that is to end must not take the answer.
 *
 * For the loop's timeout one timeout operation stays in the kernel, at the earliest moment that was
 * ever asked for: deadlines of requests are set and stopped all the time and hardly ever reached,
 * and setting the kernel's clock for each wait costs more than waking up too early now and then.
 *
 * IORING_OP_SPLICE always runs on a thread of the kernel's pool (io-wq), which is kept small: both
 * ends and the pipe are non-blocking, so that none of them ever sleeps in there.
 *
 * What the ring may be asked for is fixed before it is enabled (IORING_REGISTER_RESTRICTIONS): a
 * seccomp filter sees io_uring_enter(2), not what is submitted by it, and io_uring could open files
 * or make sockets in the place of calls that the filter forbids.
 *
 * Debian 12's liburing 2.3 has no io_uring_setup_buf_ring(): the buffer ring is registered by
 * hand.
 */
#include "base/error.h"
#include "ring/ring_engine.h"

#include <errno.h>
#include <liburing.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define SUBMISSIONS         1024
#define COMPLETIONS         16384
#define BUFFER_GROUP        0
#define COMPLETIONS_AT_ONCE 256
#define POOL_THREADS        4
#define SEND_AT_ONCE        8 /* so many completions in one round are few */

/* user_data of the two operations that are the engine's own. */
static const char timeout_data, update_data;

struct uring {
	struct io_uring ring;
	struct io_uring_buf_ring *buffers;
	size_t buffers_size; /* bytes mapped */
	int mask;
	unsigned int held;  /* buffers that the kernel does not have */
	unsigned int round; /* completions taken in this round */
	clock_us timeout;   /* when the kernel's timeout is due; CLOCK_NEVER: there is none */
	struct __kernel_timespec due;
};

/* Setup flags from the wanted to the merely workable. */
static const unsigned int setup_flags[] = {
	IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
		IORING_SETUP_SUBMIT_ALL,
	IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
};

static int set_up(struct io_uring *ring)
{
	int error = -EINVAL;

	for (size_t i = 0; i < ARRAY_SIZE(setup_flags) && error == -EINVAL; i++) {
		struct io_uring_params params = {
			.flags = setup_flags[i] | IORING_SETUP_CQSIZE | IORING_SETUP_R_DISABLED,
			.cq_entries = COMPLETIONS,
		};

		error = io_uring_queue_init_params(SUBMISSIONS, ring, &params);
	}
	return error;
}

static int register_buffers(struct ring *ring, struct uring *uring)
{
	struct io_uring_buf_reg registration = {.bgid = BUFFER_GROUP};
	void *memory;
	int error;

	uring->buffers_size = ring->buffer_count * sizeof(struct io_uring_buf);
	memory = mmap(NULL, uring->buffers_size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return -errno;
	uring->buffers = memory;
	registration.ring_addr = (uintptr_t)memory;
	registration.ring_entries = ring->buffer_count;
	error = io_uring_register_buf_ring(&uring->ring, &registration, 0);
	if (error < 0)
		return error;
	io_uring_buf_ring_init(uring->buffers);
	uring->mask = io_uring_buf_ring_mask(ring->buffer_count);
	for (unsigned int i = 0; i < ring->buffer_count; i++)
		io_uring_buf_ring_add(uring->buffers, ring->buffers[i].bytes, RING_BUFFER_SIZE,
				      (unsigned short)i, uring->mask, (int)i);
	io_uring_buf_ring_advance(uring->buffers, (int)ring->buffer_count);
	return 0;
}

/* All that this file submits, ever. */
static const uint8_t operations[] = {
	IORING_OP_ACCEPT,   IORING_OP_CONNECT,        IORING_OP_RECV, IORING_OP_SEND,
	IORING_OP_POLL_ADD, IORING_OP_SPLICE,         IORING_OP_NOP,  IORING_OP_ASYNC_CANCEL,
	IORING_OP_TIMEOUT,  IORING_OP_TIMEOUT_REMOVE,
};

static int register_by_hand(const struct io_uring *ring, unsigned int what, const void *rows,
			    unsigned int count)
{
	return syscall(__NR_io_uring_register, ring->ring_fd, what, rows, count) < 0 ? -errno : 0;
}

/* And no way to take the restrictions back; registering ends with this. */
static int restrict_and_enable(struct io_uring *ring)
{
	struct io_uring_restriction rows[ARRAY_SIZE(operations) + 2] = {
		{.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
		 .sqe_flags = IOSQE_BUFFER_SELECT | IOSQE_IO_LINK},
		/* Of liburing, when the ring ends. */
		{.opcode = IORING_RESTRICTION_REGISTER_OP,
		 .register_op = IORING_UNREGISTER_RING_FDS},
	};
	int error;

	for (size_t i = 0; i < ARRAY_SIZE(operations); i++)
		rows[i + 2] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_SQE_OP,
							    .sqe_op = operations[i]};
	/* Debian 12's liburing declares functions for both calls and has neither. */
	error = register_by_hand(ring, IORING_REGISTER_RESTRICTIONS, rows, ARRAY_SIZE(rows));
	return error < 0 ? error : register_by_hand(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

static void uring_deinit(struct ring *ring)
{
	struct uring *uring = ring->engine;

	io_uring_queue_exit(&uring->ring);
	if (uring->buffers != NULL)
		munmap(uring->buffers, uring->buffers_size);
	free(uring);
	ring->engine = NULL;
}

static int uring_init(struct ring *ring)
{
	struct uring *uring = calloc(1, sizeof(*uring));
	unsigned int pool_threads[] = {POOL_THREADS, POOL_THREADS}; /* bounded, unbounded work */
	int error;

	if (uring == NULL)
		return -ENOMEM;
	error = set_up(&uring->ring);
	if (error < 0) {
		free(uring);
		return error;
	}
	ring->engine = uring;
	uring->timeout = CLOCK_NEVER;
	error = register_buffers(ring, uring);
	if (error < 0) {
		uring_deinit(ring);
		return error;
	}
	/* Saves a descriptor look-up per enter; a refusal costs nothing but that. */
	(void)io_uring_register_ring_fd(&uring->ring);
	(void)io_uring_register_iowq_max_workers(&uring->ring, pool_threads);
	error = restrict_and_enable(&uring->ring);
	if (error < 0)
		uring_deinit(ring);
	return error;
}

static struct io_uring_sqe *next_submission(struct uring *uring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);

	while (sqe == NULL) {
		io_uring_submit(&uring->ring);
		sqe = io_uring_get_sqe(&uring->ring);
	}
	return sqe;
}

/* A link holds within one submission only. */
static struct io_uring_sqe *next_of_two(struct uring *uring)
{
	while (io_uring_sq_space_left(&uring->ring) < 2)
		io_uring_submit(&uring->ring);
	return next_submission(uring);
}

static void prepare_recv(struct io_uring_sqe *sqe, const struct op *op)
{
	io_uring_prep_recv_multishot(sqe, op->fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = BUFFER_GROUP;
}

/* True: it is out, or cannot go out at all. */
static bool send_at_once(struct ring *ring, struct op *op)
{
	ssize_t sent = send(op->fd, op->bytes, op->left, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (sent >= 0 && (size_t)sent < op->left) {
		op->bytes += sent;
		op->left -= (uint32_t)sent;
		return false;
	}
	ring_finish(ring, op, sent < 0 ? -errno : (int)op->total);
	return true;
}

static void uring_start(struct ring *ring, struct op *op)
{
	struct uring *uring = ring->engine;
	bool linked = op->kind == OP_SPLICE && op->linked;
	struct io_uring_sqe *sqe;

	if (op->kind == OP_SEND && uring->round <= SEND_AT_ONCE &&
	    io_uring_sq_ready(&uring->ring) == 0 && send_at_once(ring, op))
		return;
	sqe = linked ? next_of_two(uring) : next_submission(uring);
	switch ((enum op_kind)op->kind) {
	case OP_ACCEPT:
		io_uring_prep_multishot_accept(sqe, op->fd, NULL, NULL,
					       SOCK_CLOEXEC | SOCK_NONBLOCK);
		break;
	case OP_CONNECT:
		io_uring_prep_connect(sqe, op->fd, &op->address->any, address_size(op->address));
		break;
	case OP_RECV:
		prepare_recv(sqe, op);
		break;
	case OP_SEND:
		/* No MSG_WAITALL: kernel TLS refuses it. A short send is continued below. */
		io_uring_prep_send(sqe, op->fd, op->bytes, op->left, MSG_NOSIGNAL);
		break;
	case OP_POLL:
		io_uring_prep_poll_add(sqe, op->fd, (unsigned int)op->events);
		break;
	case OP_WATCH:
		io_uring_prep_poll_multishot(sqe, op->fd, (unsigned int)op->events);
		break;
	case OP_SPLICE:
		io_uring_prep_splice(sqe, op->fd, -1, op->to, -1, op->left,
				     SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
		sqe->flags |= linked ? IOSQE_IO_LINK : 0;
		break;
	case OP_IDLE:
		io_uring_prep_nop(sqe);
		break;
	}
	io_uring_sqe_set_data(sqe, op);
}

static void uring_cancel(struct ring *ring, struct op *op)
{
	struct uring *uring = ring->engine;
	struct io_uring_sqe *sqe = next_submission(uring);

	io_uring_prep_cancel(sqe, op, 0);
	io_uring_sqe_set_data(sqe, NULL);
}

static void uring_buffer_free(struct ring *ring, struct ring_buffer *buffer)
{
	struct uring *uring = ring->engine;

	uring->held--;
	io_uring_buf_ring_add(uring->buffers, buffer->bytes, RING_BUFFER_SIZE, buffer->id,
			      uring->mask, 0);
	io_uring_buf_ring_advance(uring->buffers, 1);
}

/* A multishot operation that ended in the kernel without an end for its owner goes on. */
static void ended_recv(struct ring *ring, struct op *op, int res, struct ring_buffer *buffer)
{
	const struct uring *uring = ring->engine;

	if (op->cancelled && res > 0) {
		/* The bytes come first, then the end that was asked for. */
		ring_finish(ring, op, -ECANCELED);
		ring_deliver(op, res, true, buffer);
	} else if (op->cancelled) {
		ring_deliver(op, res == -ENOBUFS ? -ECANCELED : res, false, NULL);
	} else if (res == -ENOBUFS && uring->held == ring->buffer_count) {
		ring_starve(ring, op);
	} else if (res == -ENOBUFS) {
		uring_start(ring, op); /* they came back while this was under way */
	} else if (res > 0) {
		uring_start(ring, op);
		ring_deliver(op, res, true, buffer);
	} else {
		ring_deliver(op, res, false, NULL);
	}
}

static void ended_send(struct ring *ring, struct op *op, int res)
{
	if (res > 0 && (uint32_t)res < op->left && !op->cancelled) {
		op->bytes += res;
		op->left -= (uint32_t)res;
		uring_start(ring, op);
		return;
	}
	if (res > 0)
		res = (uint32_t)res == op->left ? (int)op->total : -ECANCELED;
	ring_deliver(op, res, false, NULL);
}

static void completed(struct ring *ring, const struct io_uring_cqe *cqe)
{
	struct op *op = io_uring_cqe_get_data(cqe);
	struct ring_buffer *buffer = NULL;
	bool more = cqe->flags & IORING_CQE_F_MORE;

	if (op == NULL || (const void *)op == &update_data)
		return;
	if ((const void *)op == &timeout_data) {
		((struct uring *)ring->engine)->timeout = CLOCK_NEVER;
		return;
	}
	if (cqe->flags & IORING_CQE_F_BUFFER) {
		buffer = &ring->buffers[cqe->flags >> IORING_CQE_BUFFER_SHIFT];
		((struct uring *)ring->engine)->held++;
		if (cqe->res > 0) {
			buffer->size = (uint32_t)cqe->res;
		} else {
			uring_buffer_free(ring, buffer);
			buffer = NULL;
		}
	}
	if (more)
		ring_deliver(op, cqe->res, true, buffer);
	else if (op->kind == OP_RECV)
		ended_recv(ring, op, cqe->res, buffer);
	else if (op->kind == OP_SEND)
		ended_send(ring, op, cqe->res);
	else if ((op->kind == OP_ACCEPT || op->kind == OP_WATCH) && cqe->res >= 0 &&
		 !op->cancelled) {
		uring_start(ring, op);
		ring_deliver(op, cqe->res, true, NULL);
	} else
		ring_deliver(op, cqe->res, false, NULL);
}

/*
 * Copied out and given back to the kernel before any is delivered: what an owner arms meanwhile
 * may need room in the queues.
 */
static unsigned int take_completions(struct uring *uring, struct io_uring_cqe *taken)
{
	struct io_uring_cqe *cqe;
	unsigned int head, count = 0;

	io_uring_for_each_cqe(&uring->ring, head, cqe)
	{
		if (count == COMPLETIONS_AT_ONCE)
			break;
		taken[count++] = *cqe;
	}
	io_uring_cq_advance(&uring->ring, count);
	return count;
}

/* The wait is to end at `when`: the kernel's timeout is set, or moved, if it is due only later. */
static void set_timeout(struct uring *uring, clock_us when)
{
	struct io_uring_sqe *sqe;

	if (when >= uring->timeout)
		return;
	sqe = next_submission(uring);
	uring->due = (struct __kernel_timespec){.tv_sec = when / CLOCK_SEC,
						.tv_nsec = when % CLOCK_SEC * 1000};
	if (uring->timeout == CLOCK_NEVER) {
		io_uring_prep_timeout(sqe, &uring->due, 0, IORING_TIMEOUT_ABS);
		io_uring_sqe_set_data(sqe, (void *)(uintptr_t)&timeout_data);
	} else {
		io_uring_prep_timeout_update(sqe, &uring->due, (uintptr_t)&timeout_data,
					     IORING_TIMEOUT_ABS);
		io_uring_sqe_set_data(sqe, (void *)(uintptr_t)&update_data);
	}
	uring->timeout = when;
}

/* `until` < 0: for ever; 0: only what is there. */
static int submit_and_wait(struct uring *uring, clock_us until)
{
	if (until == 0)
		return io_uring_submit_and_get_events(&uring->ring);
	if (until > 0)
		set_timeout(uring, until);
	return io_uring_submit_and_wait(&uring->ring, 1);
}

static int uring_wait(struct ring *ring, clock_us until)
{
	struct uring *uring = ring->engine;
	struct io_uring_cqe taken[COMPLETIONS_AT_ONCE];
	unsigned int count;
	int error = submit_and_wait(uring, until);

	if (error < 0 && error != -ETIME && error != -EINTR && error != -EBUSY && error != -EAGAIN)
		return error;
	/* What is left over makes the next wait return at once. */
	count = take_completions(uring, taken);
	uring->round = count;
	for (unsigned int i = 0; i < count; i++)
		completed(ring, &taken[i]);
	return (int)count;
}

/* The kernel sets TASKRUN where a completion waits for this thread to come and make it. */
static bool uring_pending(const struct ring *ring)
{
	const struct io_uring *uring = &((const struct uring *)ring->engine)->ring;

	return io_uring_sq_ready(uring) > 0 || io_uring_cq_ready(uring) > 0 ||
	       (IO_URING_READ_ONCE(*uring->sq.kflags) &
		(IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

const struct ring_engine_ops ring_uring_ops = {
	.init = uring_init,
	.deinit = uring_deinit,
	.start = uring_start,
	.cancel = uring_cancel,
	.buffer_free = uring_buffer_free,
	.wait = uring_wait,
	.pending = uring_pending,
};

/* Multishot recv from a buffer ring, on a socket pair: what the engine lives by. */
static int probe_recv(struct ring *ring, const char **step)
{
	struct uring *uring = ring->engine;
	struct __kernel_timespec wait = {.tv_sec = 1};
	struct io_uring_cqe *cqe = NULL;
	struct op op = {.kind = OP_RECV};
	int pair[2];
	int error;

	*step = "multishot recv";
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	op.fd = pair[0];
	uring_start(ring, &op);
	error = write(pair[1], "x", 1) == 1 ? 0 : -errno;
	if (error == 0)
		error = io_uring_submit_and_wait_timeout(&uring->ring, &cqe, 1, &wait, NULL);
	if (error >= 0 && cqe != NULL)
		error = cqe->res == 1 && (cqe->flags & IORING_CQE_F_MORE) ? 0 : -EINVAL;
	close(pair[0]);
	close(pair[1]);
	return error;
}

int ring_probe_uring(const char **step)
{
	uint8_t memory[4 * RING_BUFFER_SIZE];
	struct ring_buffer buffers[4];
	struct ring ring = {.buffer_count = 4, .buffers = buffers, .buffer_memory = memory};
	int error;

	for (unsigned int i = 0; i < 4; i++)
		buffers[i] = (struct ring_buffer){.bytes = memory + (size_t)i * RING_BUFFER_SIZE,
						  .id = (uint16_t)i};
	*step = "io_uring_setup with a buffer ring and restrictions";
	error = uring_init(&ring);
	if (error < 0)
		return error;
	error = probe_recv(&ring, step);
	uring_deinit(&ring);
	return error;
}
