/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every operation of the ring, the same cases on io_uring and on epoll.
 *
 * Seam: the linker wraps io_uring_queue_init_params (WRAP_ in Makefile), to ask the ring for what
 * ring_uring.c would not.
 */
#include "ring/ring.h"
#include "ring/ring_engine.h" /* whether it looks */

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#define EVENTS 4096

int __real_io_uring_queue_init_params(unsigned int entries, struct io_uring *ring,
				      struct io_uring_params *params);
int __wrap_io_uring_queue_init_params(unsigned int entries, struct io_uring *ring,
				      struct io_uring_params *params);

static struct io_uring *newest;

int __wrap_io_uring_queue_init_params(unsigned int entries, struct io_uring *ring,
				      struct io_uring_params *params)
{
	newest = ring;
	return __real_io_uring_queue_init_params(entries, ring, params);
}

/* An owner that remembers what came. */
struct listener {
	struct op_owner owner;
	struct ring *ring;
	struct {
		const struct op *op;
		int res;
		bool more;
	} events[EVENTS];
	size_t count;
	uint8_t bytes[1 << 20];
	size_t size;
	struct ring_buffer *held[64];
	size_t held_count;
	bool hold; /* keep the buffers */
	unsigned int woken;
};

static struct listener listener;

static void completed(struct op_owner *owner, struct op *op, const struct op_result *result)
{
	struct listener *self = container_of(owner, struct listener, owner);

	if (op == NULL) {
		self->woken++;
		return;
	}
	assert_true(self->count < EVENTS);
	self->events[self->count].op = op;
	self->events[self->count].res = result->res;
	self->events[self->count++].more = result->more;
	if (result->buffer == NULL)
		return;
	assert_int_equal(result->res, result->buffer->size);
	assert_true(self->size + result->buffer->size <= sizeof(self->bytes));
	memcpy(self->bytes + self->size, result->buffer->bytes, result->buffer->size);
	self->size += result->buffer->size;
	if (self->hold)
		self->held[self->held_count++] = result->buffer;
	else
		ring_buffer_release(self->ring, result->buffer);
}

static int set_up(void **state)
{
	enum ring_engine engine = *(enum ring_engine *)*state;

	memset(&listener, 0, sizeof(listener));
	listener.owner.complete = completed;
	return ring_new(engine, 4, &listener.owner, &listener.ring);
}

static int tear_down(void **state)
{
	(void)state;
	assert_int_equal(listener.owner.in_flight, 0);
	ring_free(listener.ring);
	return 0;
}

static void run_until(size_t count)
{
	while (listener.count < count)
		assert_int_equal(ring_run_once(listener.ring), 0);
}

static void run_until_quiet(void)
{
	while (listener.owner.in_flight > 0)
		assert_int_equal(ring_run_once(listener.ring), 0);
}

static struct op new_op(void)
{
	return (struct op){.owner = &listener.owner};
}

static void new_pair(int pair[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
			 0);
}

static void close_pair(const int pair[2])
{
	close(pair[0]);
	close(pair[1]);
}

static int new_listener(struct address *address)
{
	struct sockaddr_storage bound;
	socklen_t size = sizeof(bound);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(address_parse("127.0.0.1:0", address), 0);
	assert_int_equal(bind(fd, &address->any, address_size(address)), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&bound, &size), 0);
	address_from_sockaddr(&bound, address);
	return fd;
}

static void recv_delivers_until_the_end(void **state)
{
	struct op op = new_op();
	int pair[2];

	(void)state;
	new_pair(pair);
	ring_recv(listener.ring, &op, pair[0]);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(write(pair[1], "0123456789", 10), 10);
		run_until((size_t)i + 1);
		assert_true(listener.events[i].more);
	}
	shutdown(pair[1], SHUT_WR);
	run_until_quiet();
	assert_int_equal(listener.size, 500);
	assert_int_equal(listener.events[listener.count - 1].res, 0);
	assert_false(listener.events[listener.count - 1].more);
	close_pair(pair);
}

static void recv_can_be_stopped_and_started(void **state)
{
	struct op op = new_op();
	int pair[2];

	(void)state;
	new_pair(pair);
	for (int i = 0; i < 10; i++) {
		ring_recv(listener.ring, &op, pair[0]);
		assert_int_equal(write(pair[1], "x", 1), 1);
		run_until(listener.count + 1);
		ring_cancel(listener.ring, &op);
		ring_cancel(listener.ring, &op); /* twice is once */
		assert_int_equal(write(pair[1], "y", 1), 1);
		run_until_quiet();
		assert_int_equal(listener.events[listener.count - 1].res, -ECANCELED);
	}
	ring_recv(listener.ring, &op, pair[0]);
	close(pair[1]);
	run_until_quiet();
	assert_int_equal(listener.size, 20); /* nothing was lost between the stops */
	close(pair[0]);
}

/* Four buffers, all held: the recv must wait for one, without an event, and go on with it. */
static void recv_waits_for_buffers(void **state)
{
	struct op op = new_op();
	uint8_t block[RING_BUFFER_SIZE];
	int pair[2];

	(void)state;
	new_pair(pair);
	memset(block, 7, sizeof(block));
	listener.hold = true;
	for (int i = 0; i < 6; i++)
		assert_int_equal(write(pair[1], block, sizeof(block)), sizeof(block));
	shutdown(pair[1], SHUT_WR);
	ring_recv(listener.ring, &op, pair[0]);
	run_until(4);
	for (int i = 0; i < 3; i++) {
		ring_wake(listener.ring);
		assert_int_equal(ring_run_once(listener.ring), 0);
	}
	assert_int_equal(listener.count, 4);
	listener.hold = false;
	while (listener.held_count > 0)
		ring_buffer_release(listener.ring, listener.held[--listener.held_count]);
	run_until_quiet();
	assert_int_equal(listener.size, 6 * sizeof(block));
	assert_int_equal(listener.events[listener.count - 1].res, 0);
	close_pair(pair);
}

static void starved_recv_can_be_cancelled(void **state)
{
	struct op ops[2] = {new_op(), new_op()};
	uint8_t block[4 * RING_BUFFER_SIZE] = {0};
	int first[2], second[2];

	(void)state;
	new_pair(first);
	new_pair(second);
	listener.hold = true;
	assert_int_equal(write(first[1], block, sizeof(block)), sizeof(block));
	ring_recv(listener.ring, &ops[0], first[0]);
	run_until(4);
	assert_int_equal(write(second[1], "z", 1), 1);
	ring_recv(listener.ring, &ops[1], second[0]);
	ring_wake(listener.ring);
	assert_int_equal(ring_run_once(listener.ring), 0);
	ring_cancel(listener.ring, &ops[1]);
	ring_cancel(listener.ring, &ops[0]);
	run_until_quiet();
	while (listener.held_count > 0)
		ring_buffer_release(listener.ring, listener.held[--listener.held_count]);
	close_pair(first);
	close_pair(second);
}

/* More than the socket holds: the send must go on as the reader takes bytes. */
static void send_is_whole(void **state)
{
	static uint8_t bytes[3000000], got[sizeof(bytes)];
	struct op op = new_op();
	size_t size = 0;
	int pair[2];

	(void)state;
	new_pair(pair);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 31 >> 3);
	ring_send(listener.ring, &op, pair[0], bytes, sizeof(bytes));
	while (listener.count == 0) {
		ssize_t piece;

		ring_wake(listener.ring);
		assert_int_equal(ring_run_once(listener.ring), 0);
		while ((piece = read(pair[1], got + size, sizeof(got) - size)) > 0)
			size += (size_t)piece;
	}
	for (ssize_t piece = 1; piece > 0; size += piece > 0 ? (size_t)piece : 0)
		piece = read(pair[1], got + size, sizeof(got) - size);
	assert_int_equal(listener.events[0].res, sizeof(bytes));
	assert_int_equal(size, sizeof(bytes));
	assert_memory_equal(bytes, got, sizeof(bytes));
	close_pair(pair);
}

/* A recv that was told to end is not given what a later send brings about. */
static void send_comes_after_what_was_asked_before(void **state)
{
	struct op in = new_op(), out = new_op();
	int pair[2];
	char byte;

	(void)state;
	new_pair(pair);
	ring_recv(listener.ring, &in, pair[0]);
	ring_wake(listener.ring);
	assert_int_equal(ring_run_once(listener.ring), 0);
	ring_cancel(listener.ring, &in);
	ring_send(listener.ring, &out, pair[1], "x", 1);
	run_until_quiet();
	assert_int_equal(listener.size, 0);
	assert_int_equal(read(pair[0], &byte, 1), 1);
	close_pair(pair);
}

static void blocked_send_can_be_cancelled(void **state)
{
	static uint8_t bytes[3000000];
	struct op op = new_op();
	int pair[2];

	(void)state;
	new_pair(pair);
	ring_send(listener.ring, &op, pair[0], bytes, sizeof(bytes));
	ring_wake(listener.ring);
	assert_int_equal(ring_run_once(listener.ring), 0);
	assert_int_equal(listener.count, 0);
	ring_cancel(listener.ring, &op);
	run_until_quiet();
	assert_int_equal(listener.events[0].res, -ECANCELED);
	close_pair(pair);
}

static void send_to_a_closed_peer_fails(void **state)
{
	struct op op = new_op();
	int pair[2];

	(void)state;
	new_pair(pair);
	close(pair[1]);
	ring_send(listener.ring, &op, pair[0], "x", 1);
	run_until_quiet();
	assert_int_equal(listener.events[0].res, -EPIPE);
	close(pair[0]);
}

static void accept_goes_on(void **state)
{
	struct op op = new_op(), connects[20];
	struct address address;
	int fd = new_listener(&address), dialled[20], accepted = 0;

	(void)state;
	ring_accept(listener.ring, &op, fd);
	for (size_t i = 0; i < 20; i++) {
		connects[i] = new_op();
		dialled[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		ring_connect(listener.ring, &connects[i], dialled[i], &address);
	}
	run_until(40);
	for (size_t i = 0; i < 40; i++) {
		if (listener.events[i].op != &op) {
			assert_int_equal(listener.events[i].res, 0);
			continue;
		}
		assert_true(listener.events[i].res >= 0 && listener.events[i].more);
		assert_true(fcntl(listener.events[i].res, F_GETFL) & O_NONBLOCK);
		close(listener.events[i].res);
		accepted++;
	}
	assert_int_equal(accepted, 20);
	ring_cancel(listener.ring, &op);
	run_until_quiet();
	for (size_t i = 0; i < 20; i++)
		close(dialled[i]);
	close(fd);
}

static void connect_is_refused(void **state)
{
	struct op op = new_op();
	struct address address;
	int fd = new_listener(&address);
	int dialled = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)state;
	close(fd);
	ring_connect(listener.ring, &op, dialled, &address);
	run_until_quiet();
	assert_int_equal(listener.events[0].res, -ECONNREFUSED);
	close(dialled);
}

static void ignored(struct timer *timer)
{
	(void)timer;
}

static void poll_is_one_shot(void **state)
{
	struct op in = new_op(), out = new_op();
	int pair[2];

	(void)state;
	new_pair(pair);
	ring_poll(listener.ring, &in, pair[0], POLLIN);
	ring_poll(listener.ring, &out, pair[0], POLLOUT);
	run_until(1);
	assert_ptr_equal(listener.events[0].op, &out);
	assert_true(listener.events[0].res & POLLOUT);
	assert_int_equal(write(pair[1], "x", 1), 1);
	run_until_quiet();
	assert_int_equal(listener.count, 2);
	assert_true(listener.events[1].res & POLLIN);
	close_pair(pair);
}

/* Turns the loop for 20 ms; how many completions came. */
static size_t events_in_a_while(void)
{
	struct timer guard = {.expired = ignored};
	clock_us until = clock_now() + 20 * CLOCK_MS;
	size_t before = listener.count;

	while (clock_now() < until) {
		assert_int_equal(timer_set(ring_timers(listener.ring), &guard, until), 0);
		assert_int_equal(ring_run_once(listener.ring), 0);
		timer_stop(ring_timers(listener.ring), &guard);
	}
	return listener.count - before;
}

/* Edge-triggered: what was told once is not told again while it lies unread. */
static void watch_tells_what_is_new(void **state)
{
	struct op op = new_op();
	int pair[2];

	(void)state;
	new_pair(pair);
	ring_watch(listener.ring, &op, pair[0]);
	assert_int_equal(events_in_a_while(), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(write(pair[1], "x", 1), 1);
		assert_in_range(events_in_a_while(), 1, 2);
		assert_int_equal(events_in_a_while(), 0);
	}
	assert_true(listener.events[0].more && (listener.events[0].res & POLLIN));
	assert_false(listener.events[0].res & POLLRDHUP);
	shutdown(pair[1], SHUT_WR);
	assert_true(events_in_a_while() >= 1);
	assert_true(listener.events[listener.count - 1].res & POLLRDHUP);
	ring_cancel(listener.ring, &op);
	run_until_quiet();
	assert_int_equal(listener.events[listener.count - 1].res, -ECANCELED);
	assert_false(listener.events[listener.count - 1].more);
	close_pair(pair);
}

/* All of it, though readiness is told once and there are fewer buffers than it takes. */
static void unsure_recv_reads_until_empty(void **state)
{
	static const uint8_t bytes[10 * RING_BUFFER_SIZE + 7];
	struct op op = new_op();
	int pair[2];

	(void)state;
	new_pair(pair);
	assert_int_equal(write(pair[1], bytes, sizeof(bytes)), sizeof(bytes));
	op.unsure = true;
	listener.hold = true;
	ring_recv(listener.ring, &op, pair[0]);
	events_in_a_while();
	assert_int_equal(listener.size, 4 * RING_BUFFER_SIZE);
	listener.hold = false;
	while (listener.held_count > 0)
		ring_buffer_release(listener.ring, listener.held[--listener.held_count]);
	events_in_a_while();
	assert_int_equal(listener.size, sizeof(bytes));
	assert_int_equal(write(pair[1], "x", 1), 1);
	events_in_a_while();
	assert_int_equal(listener.size, sizeof(bytes) + 1);
	ring_cancel(listener.ring, &op);
	run_until_quiet();
	close_pair(pair);
}

struct spliced {
	struct op into, out;
	int from[2], to[2], pipe[2];
};

static void new_spliced(struct spliced *spliced)
{
	spliced->into = spliced->out = new_op();
	new_pair(spliced->from);
	new_pair(spliced->to);
	assert_int_equal(pipe2(spliced->pipe, O_CLOEXEC | O_NONBLOCK), 0);
}

static void close_spliced(const struct spliced *spliced)
{
	close_pair(spliced->from);
	close_pair(spliced->to);
	close_pair(spliced->pipe);
}

static int result_of(const struct op *op)
{
	for (size_t i = 0; i < listener.count; i++)
		if (listener.events[i].op == op)
			return listener.events[i].res;
	fail_msg("it did not complete");
	return 0;
}

static void splice_moves_exactly_or_nothing(void **state)
{
	struct spliced whole, part;
	char bytes[16] = "";

	(void)state;
	new_spliced(&whole);
	new_spliced(&part);
	assert_int_equal(write(whole.from[1], "0123456789", 10), 10);
	assert_int_equal(write(part.from[1], "0123", 4), 4);
	ring_splice(listener.ring, &whole.into, &whole.out, whole.from[0], whole.pipe, whole.to[0],
		    8);
	ring_splice(listener.ring, &part.into, &part.out, part.from[0], part.pipe, part.to[0], 8);
	run_until_quiet();
	assert_int_equal(result_of(&whole.into), 8);
	assert_int_equal(result_of(&whole.out), 8);
	assert_int_equal(read(whole.to[1], bytes, sizeof(bytes)), 8);
	assert_string_equal(bytes, "01234567");
	/* Less came: it stays in the pipe. */
	assert_int_equal(result_of(&part.into), 4);
	assert_int_equal(result_of(&part.out), -ECANCELED);
	assert_int_equal(read(part.to[1], bytes, sizeof(bytes)), -1);
	ring_splice_out(listener.ring, &part.out, part.pipe[0], part.to[0], 4);
	run_until_quiet();
	assert_int_equal(read(part.to[1], bytes, sizeof(bytes)), 4);
	close_spliced(&whole);
	close_spliced(&part);
}

static struct timer timers[3];
static int order[3], expired_count;

static void expired(struct timer *timer)
{
	order[expired_count++] = (int)(timer - timers);
}

static void timers_wake_the_loop(void **state)
{
	clock_us now = clock_now();

	(void)state;
	expired_count = 0;
	for (int i = 0; i < 3; i++) {
		timers[i] = (struct timer){.expired = expired};
		assert_int_equal(timer_set(ring_timers(listener.ring), &timers[i],
					   now + (3 - i) * 5 * CLOCK_MS),
				 0);
	}
	timer_stop(ring_timers(listener.ring), &timers[1]);
	while (expired_count < 2)
		assert_int_equal(ring_run_once(listener.ring), 0);
	assert_int_equal(order[0], 2);
	assert_int_equal(order[1], 0);
	assert_true(clock_now() - now >= 15 * CLOCK_MS);
}

/*
 * Looking delivers what sleeping does, ends for timers and for what was armed meanwhile, and after
 * looking in vain it still sleeps.
 */
static void looking_misses_nothing(void **state)
{
	struct op recv_op = new_op(), send_op = new_op();
	clock_us start;
	int pair[2];

	(void)state;
	new_pair(pair);
	ring_busy_poll(listener.ring, true);
	ring_recv(listener.ring, &recv_op, pair[0]);
	for (unsigned int i = 0; i < 1000; i++) {
		size_t before = listener.size;

		listener.ring->busy_poll.looking = true;
		listener.count = 0;
		ring_send(listener.ring, &send_op, pair[1], "x", 1);
		while (listener.size == before || op_armed(&send_op))
			assert_int_equal(ring_run_once(listener.ring), 0);
	}
	expired_count = 0;
	timers[0] = (struct timer){.expired = expired};
	assert_int_equal(timer_set(ring_timers(listener.ring), &timers[0], clock_now()), 0);
	while (expired_count == 0)
		assert_int_equal(ring_run_once(listener.ring), 0);
	start = clock_now();
	assert_int_equal(timer_set(ring_timers(listener.ring), &timers[0], start + 20 * CLOCK_MS),
			 0);
	listener.ring->busy_poll.looking = true;
	listener.ring->busy_poll.misses = 0;
	while (expired_count == 1)
		assert_int_equal(ring_run_once(listener.ring), 0);
	assert_true(clock_now() - start >= 20 * CLOCK_MS);
	assert_in_range(listener.ring->busy_poll.misses, 1, 3);
	ring_cancel(listener.ring, &recv_op);
	run_until_quiet();
	close_pair(pair);
}

static void *wake_later(void *argument)
{
	usleep(20000);
	ring_wake(argument);
	return NULL;
}

/* When each was due and when it came: at most this late, however the wait before was set. */
static void run_until_expired(struct timer *timer, clock_us due)
{
	timer->expired = ignored;
	assert_int_equal(timer_set(ring_timers(listener.ring), timer, due), 0);
	while (timer_is_set(timer))
		assert_int_equal(ring_run_once(listener.ring), 0);
	assert_true(clock_now() >= due);
	assert_true(clock_now() - due < 2 * CLOCK_SEC);
}

/* The loop waits for a distant one; then an earlier one comes, and the distant one goes. */
static void earlier_and_later_timers(void **state)
{
	struct timer distant = {.expired = ignored}, near = {0};

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(timer_set(ring_timers(listener.ring), &distant,
					   clock_now() + 3600 * CLOCK_SEC),
				 0);
		ring_wake(listener.ring);
		assert_int_equal(ring_run_once(listener.ring), 0);
		run_until_expired(&near, clock_now() + 30 * CLOCK_MS);
		timer_stop(ring_timers(listener.ring), &distant);
		run_until_expired(&near, clock_now() + 10 * CLOCK_MS);
	}
	/* Set and stopped all the time, as for each request: the next one is still in time. */
	for (int i = 0; i < 100; i++) {
		assert_int_equal(timer_set(ring_timers(listener.ring), &distant,
					   clock_now() + 20 * CLOCK_MS),
				 0);
		ring_wake(listener.ring);
		assert_int_equal(ring_run_once(listener.ring), 0);
		timer_stop(ring_timers(listener.ring), &distant);
	}
	run_until_expired(&near, clock_now() + 30 * CLOCK_MS);
}

static void another_thread_wakes_the_loop(void **state)
{
	pthread_t thread;

	(void)state;
	pthread_create(&thread, NULL, wake_later, listener.ring);
	while (listener.woken == 0)
		assert_int_equal(ring_run_once(listener.ring), 0);
	pthread_join(thread, NULL);
}

/* A wake-up that nobody has taken yet must not keep the ring from ending. */
static void wake_before_the_end(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++)
		ring_wake(listener.ring);
}

static int result_of_submission(void)
{
	struct io_uring_cqe *cqe;
	int result;

	assert_int_equal(io_uring_submit_and_wait(newest, 1), 1);
	assert_int_equal(io_uring_peek_cqe(newest, &cqe), 0);
	result = cqe->res;
	io_uring_cqe_seen(newest, cqe);
	return result;
}

/* io_uring_enter(2) is the one call that a seccomp filter cannot look into. */
static void ring_does_nothing_else(void **state)
{
	struct io_uring_probe probe = {0};
	struct io_uring_sqe *sqe;
	char byte;

	(void)state;
	assert_int_equal(io_uring_submit(newest), 1); /* what the ring itself has asked for */
	io_uring_prep_nop(io_uring_get_sqe(newest));
	assert_int_equal(result_of_submission(), 0);
	io_uring_prep_openat(io_uring_get_sqe(newest), AT_FDCWD, "/etc/hostname", O_RDONLY, 0);
	assert_int_equal(result_of_submission(), -EACCES);
	io_uring_prep_read(io_uring_get_sqe(newest), STDIN_FILENO, &byte, 1, 0);
	assert_int_equal(result_of_submission(), -EACCES);
	/* Nor in another way: this would be done by a thread of the kernel's pool. */
	sqe = io_uring_get_sqe(newest);
	io_uring_prep_nop(sqe);
	sqe->flags = IOSQE_ASYNC;
	assert_int_equal(result_of_submission(), -EACCES);
	assert_int_equal(io_uring_register_probe(newest, &probe, 0), -EACCES);
}

static void probe_agrees_with_the_kernel(void **state)
{
	const char *step = NULL;
	int error = ring_probe_uring(&step);

	(void)state;
	assert_true(error <= 0);
	assert_non_null(step);
}

static void heap_keeps_order(void **state)
{
	struct timer many[500] = {0};
	struct timer_heap heap = {0};
	unsigned int seed = 1;
	clock_us last = 0;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		struct timer *timer = &many[rand_r(&seed) % 500];

		if (rand_r(&seed) % 3 == 0)
			timer_stop(&heap, timer);
		else
			assert_int_equal(timer_set(&heap, timer, rand_r(&seed) % 1000), 0);
	}
	while (timer_next(&heap) != CLOCK_NEVER) {
		struct timer *first = heap.slots[0];

		assert_true(first->when >= last);
		last = first->when;
		timer_stop(&heap, first);
		assert_false(timer_is_set(first));
	}
	timer_heap_deinit(&heap);
}

static void skipped(void **state)
{
	(void)state;
	skip();
}

static enum ring_engine uring = RING_ENGINE_URING, epoll = RING_ENGINE_EPOLL;

#define CASE(name)                                                                                 \
	{#name " (io_uring)", name, set_up, tear_down, &uring},                                    \
	{                                                                                          \
#name " (epoll)", name, set_up, tear_down, &epoll                                  \
	}

int main(void)
{
	struct CMUnitTest tests[] = {
		CASE(recv_delivers_until_the_end),
		CASE(recv_can_be_stopped_and_started),
		CASE(recv_waits_for_buffers),
		CASE(starved_recv_can_be_cancelled),
		CASE(send_is_whole),
		CASE(send_comes_after_what_was_asked_before),
		CASE(blocked_send_can_be_cancelled),
		CASE(send_to_a_closed_peer_fails),
		CASE(accept_goes_on),
		CASE(connect_is_refused),
		CASE(poll_is_one_shot),
		CASE(watch_tells_what_is_new),
		CASE(unsure_recv_reads_until_empty),
		{"splice_moves_exactly_or_nothing (io_uring)", splice_moves_exactly_or_nothing,
		 set_up, tear_down, &uring},
		cmocka_unit_test_prestate_setup_teardown(ring_does_nothing_else, set_up, tear_down,
							 &uring),
		CASE(timers_wake_the_loop),
		CASE(earlier_and_later_timers),
		CASE(looking_misses_nothing),
		CASE(another_thread_wakes_the_loop),
		CASE(wake_before_the_end),
		cmocka_unit_test(probe_agrees_with_the_kernel),
		cmocka_unit_test(heap_keeps_order),
	};

	const char *step;
	int error = ring_probe_uring(&step);

	if (error < 0)
		printf("io_uring is not to be had here (%s: %s): its cases are skipped\n", step,
		       strerrordesc_np(-error));
	for (size_t i = 0; error < 0 && i < ARRAY_SIZE(tests); i++)
		if (tests[i].initial_state == &uring)
			tests[i] = (struct CMUnitTest){tests[i].name, skipped, NULL, NULL, NULL};
	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
