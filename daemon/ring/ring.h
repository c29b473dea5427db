/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop of one thread: operations go in, completions come out.
 *
 * Two engines stand behind it: io_uring (kernel 6.1 and newer: multishot accept and recv from a
 * provided-buffer ring, DEFER_TASKRUN, one io_uring_enter(2) per loop for all sessions), and
 * epoll for hosts and containers that forbid io_uring. Callers cannot tell which one serves.
 *
 * A ring belongs to the thread that created it; only ring_wake() may be called from others.
 * Completions are delivered from ring_run_once() only, never from inside a ring_*() call that
 * arms or cancels, so an owner is never re-entered.
 */
#ifndef MCSEAL_RING_RING_H
#define MCSEAL_RING_RING_H

#include "base/address.h"
#include "base/clock.h"
#include "ring/op.h"
#include "ring/timer.h"

#include <stddef.h>
#include <stdint.h>

enum ring_engine {
	RING_ENGINE_URING,
	RING_ENGINE_EPOLL,
};

#define RING_BUFFER_SIZE 4096

/* Bytes that a recv delivered. The holder releases it soon: the ring has few of them. */
struct ring_buffer {
	uint8_t *bytes;
	uint32_t size; /* bytes filled */
	uint16_t id;
};

struct ring;

/*
 * Can this process use io_uring as the engine needs it? 0, or the -errno of the step that failed
 * (-EPERM: forbidden by sysctl or seccomp; -ENOSYS: not built in; -EINVAL: kernel too old), with
 * *step naming it. Tries the real thing on a scratch ring; never looks at uname(2).
 */
int ring_probe_uring(const char **step);
const char *ring_engine_name(enum ring_engine engine);

/*
 * `buffers` (a power of two, at most 32768) receive buffers of RING_BUFFER_SIZE are allocated at
 * once. `wake_owner` gets a completion with op NULL for every ring_wake(). 0 or -errno.
 */
int ring_new(enum ring_engine engine, unsigned int buffers, struct op_owner *wake_owner,
	     struct ring **ring);
/* No operation may be in flight. Accepts NULL. */
void ring_free(struct ring *ring);
/*
 * May ring_run_once() look for completions for up to 50 microseconds before it sleeps, where that
 * has paid of late (ring/busy_poll.h)? A new ring may not. Not for a thread that has one CPU
 * together with those it waits for: while it looks, they cannot run.
 */
void ring_busy_poll(struct ring *ring, bool may);
struct timer_heap *ring_timers(struct ring *ring);

/* res = accepted descriptor (non-blocking, close-on-exec), again and again. Ends on error. */
void ring_accept(struct ring *ring, struct op *op, int fd);
/* res = 0 or -errno. `fd` is a non-blocking socket; the address stays valid until completion. */
void ring_connect(struct ring *ring, struct op *op, int fd, const struct address *address);
/*
 * res > 0: that many bytes in result->buffer, again and again; res = 0: end of the stream (ends);
 * res < 0: error (ends). Running out of buffers is waited out inside. After ring_cancel() a few
 * more deliveries may come before the end.
 *
 * op->unsure: the socket may say that it is readable when nothing can be read yet, as one of
 * kernel TLS does on Linux 6.1 for a part of a record. It is then asked once for all that comes.
 */
void ring_recv(struct ring *ring, struct op *op, int fd);
/*
 * Sends all of `bytes` (which stay valid until completion; below 2 GiB): res = size, or -errno with
 * an unknown part sent. One send(2) for one call wherever the socket has room. No SIGPIPE.
 */
void ring_send(struct ring *ring, struct op *op, int fd, const void *bytes, size_t size);
/* res = the poll(2) events that came, or -errno. One shot. */
void ring_poll(struct ring *ring, struct op *op, int fd, short events);
/*
 * res = POLLIN, with POLLRDHUP once the peer has finished, again and again, each time when
 * something new has come (edge-triggered): after one the owner reads until EAGAIN, or comes back
 * by itself. Ends on error.
 */
void ring_watch(struct ring *ring, struct op *op, int fd);
/*
 * Moves `size` bytes from `from` into the pipe and on to `to`, none of which blocks, by two
 * IORING_OP_SPLICE; `into` completes with the bytes now in the pipe or -errno, `out` with those
 * that left it, or -ECANCELED where `into` did not move all of `size`. io_uring only.
 */
void ring_splice(struct ring *ring, struct op *into, struct op *out, int from, const int pipe[2],
		 int to, size_t size);
/* The second half alone: what is in the pipe already. */
void ring_splice_out(struct ring *ring, struct op *out, int pipe, int to, size_t size);
/*
 * Asks an armed operation to end soon (res = -ECANCELED, unless it had already ended otherwise).
 * A no-op for one that is not armed or is already being cancelled.
 */
void ring_cancel(struct ring *ring, struct op *op);

void ring_buffer_release(struct ring *ring, struct ring_buffer *buffer);

/*
 * Submits what was armed, sleeps until something completes or a timer is due, delivers. 0, or
 * -errno when the ring itself is broken.
 */
int ring_run_once(struct ring *ring);
/* Any thread: makes ring_run_once() return soon, after telling wake_owner. */
void ring_wake(struct ring *ring);

#endif
