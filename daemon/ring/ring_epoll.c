/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The epoll engine, for hosts and containers that forbid io_uring.
 *
 * How it works
 *
 * A table indexed by descriptor holds the one operation that waits to read (accept, recv, poll
 * for input) and the one that waits to write (connect, send, poll for output). What epoll is
 * asked to watch is derived from the two; a recv stays registered for the life of its
 * connection, so a quiet relay makes no epoll_ctl(2) calls per message. Sends and connects are
 * tried at once and only wait when the socket is full.
 *
 * Level-triggered, but for a watch and for a recv whose socket may be readable with nothing to
 * read (op->unsure): such a socket would keep a level-triggered loop turning. Those are read until
 * EAGAIN, and so is a send on the same descriptor.
 *
 * Nothing completes inside a start call: what ends at once goes to the ready list.
 */
#include "base/error.h"
#include "ring/ring_engine.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#define EVENTS_PER_WAIT    256
#define ACCEPTS_PER_WAKEUP 16

struct watched {
	struct op *in, *out;
	uint32_t asked; /* what epoll watches now */
};

struct epoll_engine {
	int fd;
	struct watched *watched; /* by descriptor */
	size_t watched_count;
	uint16_t *free_ids; /* stack of free receive buffers */
	unsigned int free_count;
};

static int epoll_init(struct ring *ring)
{
	struct epoll_engine *engine = calloc(1, sizeof(*engine));

	if (engine == NULL)
		return -ENOMEM;
	engine->free_ids = calloc(ring->buffer_count, sizeof(*engine->free_ids));
	engine->fd = epoll_create1(EPOLL_CLOEXEC);
	if (engine->free_ids == NULL || engine->fd < 0) {
		int error = engine->free_ids == NULL ? -ENOMEM : -errno;

		if (engine->fd >= 0)
			close(engine->fd);
		free(engine->free_ids);
		free(engine);
		return error;
	}
	for (unsigned int i = 0; i < ring->buffer_count; i++)
		engine->free_ids[engine->free_count++] = (uint16_t)(ring->buffer_count - 1 - i);
	ring->engine = engine;
	return 0;
}

static void epoll_deinit(struct ring *ring)
{
	struct epoll_engine *engine = ring->engine;

	close(engine->fd);
	free(engine->watched);
	free(engine->free_ids);
	free(engine);
	ring->engine = NULL;
}

/* The entry of a descriptor; the table grows to hold it. NULL: no memory. */
static struct watched *watched_of(struct epoll_engine *engine, int fd)
{
	size_t count = engine->watched_count ? engine->watched_count : 64;
	struct watched *grown;

	if ((size_t)fd < engine->watched_count)
		return &engine->watched[fd];
	while (count <= (size_t)fd)
		count *= 2;
	grown = reallocarray(engine->watched, count, sizeof(*grown));
	if (grown == NULL)
		return NULL;
	memset(grown + engine->watched_count, 0, (count - engine->watched_count) * sizeof(*grown));
	engine->watched = grown;
	engine->watched_count = count;
	return &grown[fd];
}

static bool once_for_all(const struct op *op)
{
	return op->kind == OP_WATCH || (op->kind == OP_RECV && op->unsure);
}

/*
 * After a call that failed nobody knows what the kernel has; the descriptor may be another
 * connection's by now, which must not suffer for that.
 */
static int tell_kernel(struct epoll_engine *engine, int fd, int command, struct epoll_event *event,
		       struct watched *watched)
{
	int result = epoll_ctl(engine->fd, command, fd, event);

	if (result < 0 && command == EPOLL_CTL_MOD && errno == ENOENT)
		result = epoll_ctl(engine->fd, EPOLL_CTL_ADD, fd, event);
	else if (result < 0 && command == EPOLL_CTL_ADD && errno == EEXIST)
		result = epoll_ctl(engine->fd, EPOLL_CTL_MOD, fd, event);
	/* Forgotten in any case: closing the descriptor takes it away. */
	if (result < 0 && command != EPOLL_CTL_DEL)
		return -errno;
	watched->asked = event->events;
	return 0;
}

static int ask(struct epoll_engine *engine, int fd, struct watched *watched)
{
	uint32_t wanted = (watched->in ? EPOLLIN : 0U) | (watched->out ? EPOLLOUT : 0U) |
			  (watched->in && once_for_all(watched->in) ? EPOLLET | EPOLLRDHUP : 0U);
	struct epoll_event event = {.events = wanted, .data.fd = fd};
	int command = EPOLL_CTL_MOD;

	if (wanted == watched->asked)
		return 0;
	if (watched->asked == 0)
		command = EPOLL_CTL_ADD;
	else if (wanted == 0)
		command = EPOLL_CTL_DEL;
	return tell_kernel(engine, fd, command, &event, watched);
}

static bool waits_to_read(const struct op *op)
{
	return op->kind == OP_ACCEPT || op->kind == OP_RECV || op->kind == OP_WATCH ||
	       (op->kind == OP_POLL && (op->events & POLLIN));
}

static struct op **slot_of(struct watched *watched, const struct op *op)
{
	return waits_to_read(op) ? &watched->in : &watched->out;
}

static void wait_for(struct ring *ring, struct op *op)
{
	struct epoll_engine *engine = ring->engine;
	struct watched *watched = watched_of(engine, op->fd);
	int error = -ENOMEM;

	if (watched != NULL) {
		*slot_of(watched, op) = op;
		error = ask(engine, op->fd, watched);
		if (error < 0)
			*slot_of(watched, op) = NULL;
	}
	if (error < 0)
		ring_finish(ring, op, error);
}

static void stop_waiting(struct ring *ring, const struct op *op)
{
	struct epoll_engine *engine = ring->engine;
	struct watched *watched = &engine->watched[op->fd];

	*slot_of(watched, op) = NULL;
	(void)ask(engine, op->fd, watched); /* taking something away does not fail */
}

/* 0: everything is sent; -EAGAIN: the socket is full. */
static int send_some(struct op *op)
{
	while (op->left > 0) {
		ssize_t sent = send(op->fd, op->bytes, op->left, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return -errno;
		op->bytes += sent;
		op->left -= (uint32_t)sent;
	}
	return 0;
}

static void start_send(struct ring *ring, struct op *op)
{
	int error = send_some(op);

	if (error == -EAGAIN)
		wait_for(ring, op);
	else
		ring_finish(ring, op, error < 0 ? error : (int)op->total);
}

static void start_connect(struct ring *ring, struct op *op)
{
	if (connect(op->fd, &op->address->any, address_size(op->address)) == 0)
		ring_finish(ring, op, 0);
	else if (errno == EINPROGRESS || errno == EINTR)
		wait_for(ring, op);
	else
		ring_finish(ring, op, -errno);
}

static void epoll_start(struct ring *ring, struct op *op)
{
	if (op->kind == OP_SEND)
		start_send(ring, op);
	else if (op->kind == OP_CONNECT)
		start_connect(ring, op);
	else if (op->kind == OP_SPLICE)
		ring_finish(ring, op, -EOPNOTSUPP); /* nobody chooses it with this engine */
	else
		wait_for(ring, op);
}

static void epoll_cancel(struct ring *ring, struct op *op)
{
	stop_waiting(ring, op);
	ring_finish(ring, op, -ECANCELED);
}

static void epoll_buffer_free(struct ring *ring, struct ring_buffer *buffer)
{
	struct epoll_engine *engine = ring->engine;

	engine->free_ids[engine->free_count++] = buffer->id;
}

/* True: there may be more to read. */
static bool recv_once(struct ring *ring, struct op *op)
{
	struct epoll_engine *engine = ring->engine;
	struct ring_buffer *buffer;
	ssize_t got;

	if (engine->free_count == 0) {
		stop_waiting(ring, op);
		ring_starve(ring, op);
		return false;
	}
	buffer = &ring->buffers[engine->free_ids[engine->free_count - 1]];
	got = recv(op->fd, buffer->bytes, RING_BUFFER_SIZE, MSG_DONTWAIT);
	if (got > 0) {
		engine->free_count--;
		buffer->size = (uint32_t)got;
		ring_deliver(op, (int)got, true, buffer);
		return true;
	}
	if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
		int res = got == 0 ? 0 : -errno;

		stop_waiting(ring, op);
		ring_deliver(op, res, false, NULL);
		return false;
	}
	return got < 0 && errno == EINTR;
}

static void ready_recv(struct ring *ring, struct op *op)
{
	bool until_empty = op->unsure;

	/* The owner outlives a delivery: it is freed at the last one, and op is not armed then. */
	while (recv_once(ring, op) && until_empty && op->kind == OP_RECV && !op->cancelled)
		;
}

static void ready_accept(struct ring *ring, struct op *op)
{
	for (int i = 0; i < ACCEPTS_PER_WAKEUP && op->kind == OP_ACCEPT && !op->cancelled; i++) {
		int fd = accept4(op->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		int error = errno;

		if (fd >= 0) {
			ring_deliver(op, fd, true, NULL);
		} else if (error == EAGAIN) {
			return;
		} else if (error != EINTR && error != ECONNABORTED) {
			stop_waiting(ring, op);
			ring_deliver(op, -error, false, NULL);
			return;
		}
	}
}

static void ready_connect(struct ring *ring, struct op *op)
{
	struct sockaddr_storage peer;
	socklen_t size = sizeof(int), peer_size = sizeof(peer);
	int error = 0;

	if (getsockopt(op->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		error = errno;
	/* A stale event of a closed descriptor with the same number says nothing about this one. */
	if (error == 0 && getpeername(op->fd, (struct sockaddr *)&peer, &peer_size) < 0)
		return;
	stop_waiting(ring, op);
	ring_deliver(op, -error, false, NULL);
}

static void ready_send(struct ring *ring, struct op *op)
{
	int error = send_some(op);

	if (error == -EAGAIN)
		return;
	stop_waiting(ring, op);
	ring_deliver(op, error < 0 ? error : (int)op->total, false, NULL);
}

static void ready(struct ring *ring, struct op *op, uint32_t events)
{
	switch ((enum op_kind)op->kind) {
	case OP_ACCEPT:
		ready_accept(ring, op);
		break;
	case OP_CONNECT:
		ready_connect(ring, op);
		break;
	case OP_RECV:
		ready_recv(ring, op);
		break;
	case OP_SEND:
		ready_send(ring, op);
		break;
	case OP_WATCH:
		ring_deliver(op, (int)events, true, NULL);
		break;
	case OP_SPLICE:
		break;
	case OP_POLL:
		stop_waiting(ring, op);
		ring_deliver(op, (int)events, false, NULL); /* EPOLL* and POLL* values agree */
		break;
	case OP_IDLE:
		break;
	}
}

/* An event may be stale: the completion before it may have cancelled or closed. */
static void dispatch(struct ring *ring, const struct epoll_event *event)
{
	struct epoll_engine *engine = ring->engine;
	int fd = event->data.fd;
	struct op *op = engine->watched[fd].in;

	if (op != NULL && (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		ready(ring, op, event->events);
	op = engine->watched[fd].out;
	if (op != NULL && (event->events & (EPOLLOUT | EPOLLHUP | EPOLLERR)))
		ready(ring, op, event->events);
}

/* As epoll_wait(2) wants it. Rounded up: waking before a deadline would spin until it. */
static int milliseconds_until(clock_us until)
{
	clock_us left = until > 0 ? until - clock_now() : until;

	if (until < 0)
		return -1;
	return left > 0 ? (int)((left + CLOCK_MS - 1) / CLOCK_MS) : 0;
}

static int epoll_run(struct ring *ring, clock_us until)
{
	struct epoll_engine *engine = ring->engine;
	struct epoll_event events[EVENTS_PER_WAIT];
	int count = epoll_wait(engine->fd, events, EVENTS_PER_WAIT, milliseconds_until(until));

	if (count < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < count; i++)
		dispatch(ring, &events[i]);
	return count;
}

const struct ring_engine_ops ring_epoll_ops = {
	.init = epoll_init,
	.deinit = epoll_deinit,
	.start = epoll_start,
	.cancel = epoll_cancel,
	.buffer_free = epoll_buffer_free,
	.wait = epoll_run,
};
