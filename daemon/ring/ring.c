/* SPDX-License-Identifier: Apache-2.0 */
#include "ring/ring.h"

#include "base/error.h"
#include "ring/ring_engine.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

const char *ring_engine_name(enum ring_engine engine)
{
	return engine == RING_ENGINE_URING ? "io_uring" : "epoll";
}

static void arm(struct ring *ring, struct op *op, enum op_kind kind, int fd)
{
	op->kind = (uint8_t)kind;
	op->cancelled = false;
	op->fd = fd;
	op->owner->in_flight++;
	ring->ops->start(ring, op);
}

void ring_deliver(struct op *op, int res, bool more, struct ring_buffer *buffer)
{
	struct op_result result = {.res = res, .more = more, .buffer = buffer};
	struct op_owner *owner = op->owner;

	if (!more) {
		op->kind = OP_IDLE;
		owner->in_flight--;
	}
	owner->complete(owner, op, &result); /* may free op */
}

void ring_finish(struct ring *ring, struct op *op, int res)
{
	op->res = res;
	op->queued = true;
	TAILQ_INSERT_TAIL(&ring->ready, op, entry);
}

void ring_starve(struct ring *ring, struct op *op)
{
	op->queued = true;
	TAILQ_INSERT_TAIL(&ring->starved, op, entry);
}

void ring_accept(struct ring *ring, struct op *op, int fd)
{
	arm(ring, op, OP_ACCEPT, fd);
}

void ring_connect(struct ring *ring, struct op *op, int fd, const struct address *address)
{
	op->address = address;
	arm(ring, op, OP_CONNECT, fd);
}

void ring_recv(struct ring *ring, struct op *op, int fd)
{
	arm(ring, op, OP_RECV, fd);
}

void ring_send(struct ring *ring, struct op *op, int fd, const void *bytes, size_t size)
{
	op->bytes = bytes;
	op->left = (uint32_t)size;
	op->total = (uint32_t)size;
	arm(ring, op, OP_SEND, fd);
}

void ring_poll(struct ring *ring, struct op *op, int fd, short events)
{
	op->events = events;
	arm(ring, op, OP_POLL, fd);
}

void ring_watch(struct ring *ring, struct op *op, int fd)
{
	op->events = POLLIN | POLLRDHUP;
	arm(ring, op, OP_WATCH, fd);
}

void ring_splice_out(struct ring *ring, struct op *out, int pipe, int to, size_t size)
{
	out->to = to;
	out->left = (uint32_t)size;
	out->linked = false;
	arm(ring, out, OP_SPLICE, pipe);
}

void ring_splice(struct ring *ring, struct op *into, struct op *out, int from, const int pipe[2],
		 int to, size_t size)
{
	into->to = pipe[1];
	into->left = (uint32_t)size;
	into->linked = true;
	arm(ring, into, OP_SPLICE, from);
	ring_splice_out(ring, out, pipe[0], to, size);
}

void ring_cancel(struct ring *ring, struct op *op)
{
	if (!op_armed(op) || op->cancelled)
		return;
	op->cancelled = true;
	if (!op->queued) {
		ring->ops->cancel(ring, op);
		return;
	}
	/* Either it has ended already and waits to be delivered, or it waits for a buffer. */
	for (struct op *starved = TAILQ_FIRST(&ring->starved); starved != NULL;
	     starved = TAILQ_NEXT(starved, entry)) {
		if (starved == op) {
			TAILQ_REMOVE(&ring->starved, op, entry);
			ring_finish(ring, op, -ECANCELED);
			return;
		}
	}
}

void ring_buffer_release(struct ring *ring, struct ring_buffer *buffer)
{
	struct op *op = TAILQ_FIRST(&ring->starved);

	ring->ops->buffer_free(ring, buffer);
	if (op != NULL) {
		TAILQ_REMOVE(&ring->starved, op, entry);
		op->queued = false;
		ring->ops->start(ring, op);
	}
}

/* Only what is on the list now: a completion may finish further operations. */
static void deliver_ready(struct ring *ring)
{
	struct op *last = TAILQ_LAST(&ring->ready, op_list);
	struct op *op;

	while (last != NULL) {
		op = TAILQ_FIRST(&ring->ready);
		TAILQ_REMOVE(&ring->ready, op, entry);
		op->queued = false;
		last = op == last ? NULL : last;
		ring_deliver(op, op->res, false, NULL);
	}
}

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Looks for completions until then. How many there were, or -errno. */
static int look(struct ring *ring, clock_us until)
{
	int count = 0;

	do {
		if (ring->ops->pending == NULL || ring->ops->pending(ring))
			count = ring->ops->wait(ring, 0);
		else
			relax();
	} while (count == 0 && clock_now() < until);
	return count;
}

static int sleep_until(struct ring *ring, clock_us next)
{
	return ring->ops->wait(ring, next == CLOCK_NEVER ? -1 : next);
}

static clock_us thread_cpu_time(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (clock_us)time.tv_sec * CLOCK_SEC + time.tv_nsec / 1000;
}

static int look_or_sleep(struct ring *ring, clock_us next)
{
	clock_us span = busy_poll_span(&ring->busy_poll);
	bool missed = false;
	int count = 0;

	if (span > 0) {
		clock_us until = clock_now() + span;

		count = look(ring, until < next ? until : next);
		missed = count == 0;
	}
	if (count == 0)
		count = sleep_until(ring, next);
	if (count >= 0 && busy_poll_count(&ring->busy_poll, (unsigned int)count, missed))
		busy_poll_judge(&ring->busy_poll, clock_now(), thread_cpu_time());
	return count;
}

int ring_run_once(struct ring *ring)
{
	clock_us next = timer_next(&ring->timers);
	int count;

	if (!TAILQ_EMPTY(&ring->ready))
		count = ring->ops->wait(ring, 0);
	else if (ring->may_busy_poll)
		count = look_or_sleep(ring, next);
	else
		count = sleep_until(ring, next);
	deliver_ready(ring);
	timer_expire(&ring->timers, clock_now());
	return count < 0 ? count : 0;
}

void ring_busy_poll(struct ring *ring, bool may)
{
	busy_poll_init(&ring->busy_poll);
	ring->may_busy_poll = may;
}

void ring_wake(struct ring *ring)
{
	/* EAGAIN means the counter is full: a wake-up is pending anyway. */
	(void)!eventfd_write(ring->wake_fd, 1);
}

static void woken(struct op_owner *owner, struct op *op, const struct op_result *result)
{
	struct ring *ring = container_of(owner, struct ring, self);
	eventfd_t count;

	/* A wake-up may be faster than the cancellation of its last poll; then it is for nobody. */
	if (result->res == -ECANCELED || op->cancelled)
		return;
	(void)eventfd_read(ring->wake_fd, &count);
	ring_poll(ring, op, ring->wake_fd, POLLIN);
	if (ring->wake_owner != NULL)
		ring->wake_owner->complete(ring->wake_owner, NULL, result);
}

struct timer_heap *ring_timers(struct ring *ring)
{
	return &ring->timers;
}

static int allocate_buffers(struct ring *ring, unsigned int count)
{
	size_t size = (size_t)count * RING_BUFFER_SIZE;

	ring->buffer_memory = aligned_alloc(RING_BUFFER_SIZE, size);
	ring->buffers = calloc(count, sizeof(*ring->buffers));
	if (ring->buffer_memory == NULL || ring->buffers == NULL)
		return -ENOMEM;
	ring->buffer_count = count;
	for (unsigned int i = 0; i < count; i++) {
		ring->buffers[i].bytes = ring->buffer_memory + (size_t)i * RING_BUFFER_SIZE;
		ring->buffers[i].id = (uint16_t)i;
	}
	return 0;
}

int ring_new(enum ring_engine engine, unsigned int buffers, struct op_owner *wake_owner,
	     struct ring **out)
{
	struct ring *ring = calloc(1, sizeof(*ring));
	int error;

	if (ring == NULL)
		return -ENOMEM;
	TAILQ_INIT(&ring->ready);
	TAILQ_INIT(&ring->starved);
	ring->ops = engine == RING_ENGINE_URING ? &ring_uring_ops : &ring_epoll_ops;
	ring->wake_owner = wake_owner;
	ring->self.complete = woken;
	ring->wake_op.owner = &ring->self;
	ring->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = ring->wake_fd < 0 ? -errno : allocate_buffers(ring, buffers);
	if (error == 0)
		error = ring->ops->init(ring);
	if (error < 0) {
		ring->ops = NULL;
		ring_free(ring);
		return error;
	}
	ring_poll(ring, &ring->wake_op, ring->wake_fd, POLLIN);
	*out = ring;
	return 0;
}

void ring_free(struct ring *ring)
{
	if (ring == NULL)
		return;
	if (ring->ops != NULL) {
		ring_cancel(ring, &ring->wake_op);
		while (ring->self.in_flight > 0 && ring_run_once(ring) == 0)
			;
		ring->ops->deinit(ring);
	}
	timer_heap_deinit(&ring->timers);
	if (ring->wake_fd >= 0)
		close(ring->wake_fd);
	free(ring->buffers);
	free(ring->buffer_memory);
	free(ring);
}
