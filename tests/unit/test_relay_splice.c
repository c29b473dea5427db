/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames through pipes, on real sockets and the real ring. The TLS leg's record layer is left out
 * (the calls of ktls_control.h are defined here), so that this runs on any kernel: what is tested
 * is when a frame is taken, that it leaves whole, and that no byte is lost, whatever the cuts, the
 * speed of the reader, and the pipes that can be had.
 *
 * The session is a gateway's in RELAYING: near is the client's TLS leg, far the PLC.
 */
#include "base/error.h"
#include "net/socket.h"
#include "proxy/capabilities.h"
#include "proxy/counters.h"
#include "proxy/loopback.h"
#include "proxy/relay.h"
#include "proxy/session.h"
#include "proxy/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

/* --- the seam: a record layer that is not there ------------------------------------------------
 */

struct ktls_control {
	int unused;
};

int ktls_control_new(int fd, const struct traffic_pair *pair, bool can_rekey, bool *installed,
		     struct ktls_control **control)
{
	(void)fd, (void)pair, (void)can_rekey;
	*installed = false;
	*control = NULL;
	return -ENOENT;
}

void ktls_control_free(struct ktls_control *control)
{
	free(control);
}

int ktls_control_receive(struct ktls_control *control, clock_us now)
{
	(void)control, (void)now;
	return -ECONNRESET;
}

bool ktls_control_broken(struct ktls_control *control, int error)
{
	(void)control, (void)error;
	return false;
}

bool ktls_control_update_due(const struct ktls_control *control)
{
	(void)control;
	return false;
}

int ktls_control_update(struct ktls_control *control)
{
	(void)control;
	return 0;
}

int ktls_control_say_closed(struct ktls_control *control)
{
	(void)control;
	return 0;
}

int ktls_control_use(const struct ktls_control *control, enum traffic_direction direction,
		     uint64_t *records)
{
	(void)control, (void)direction;
	*records = 0;
	return 0;
}

int ktls_control_refresh(struct ktls_control *control)
{
	(void)control;
	return -EOPNOTSUPP;
}

const char *ktls_control_reason(const struct ktls_control *control)
{
	(void)control;
	return "test";
}

/* Nor are handshakes: the test says when one is done, with the keys in the "kernel". */
static struct handshake_job *posted;

void handshake_pool_start(struct handshake_pool *pool, struct handshake_job *job)
{
	(void)pool;
	posted = job;
}

void handshake_job_free(struct handshake_job *job)
{
	free(job);
}

static enum session_reason closed_for;

/* What the session was closed for; it is gone soon after. */
void __real_session_close(struct session *session, enum session_reason reason, const char *detail);
void __wrap_session_close(struct session *session, enum session_reason reason, const char *detail);
void __wrap_session_close(struct session *session, enum session_reason reason, const char *detail)
{
	closed_for = reason;
	__real_session_close(session, reason, detail);
}

/* --- a session between two sockets of ours ------------------------------------------------------
 */

struct row {
	enum ring_engine loop;
	enum relay_engine relay;
	unsigned int pipes;
};

static const struct row uring = {RING_ENGINE_URING, RELAY_ENGINE_SPLICE, 2};
static const struct row uring_splice = {RING_ENGINE_URING, RELAY_ENGINE_URING_SPLICE, 2};
static const struct row epoll = {RING_ENGINE_EPOLL, RELAY_ENGINE_SPLICE, 2};
static const struct row no_pipe = {RING_ENGINE_URING, RELAY_ENGINE_SPLICE, 0};

static struct config_port ports[] = {{.connections = 1}};
static struct config_plc plcs[] = {{.name = (char[]){"press-1"}, .ports = ports, .port_count = 1}};
static char *all_plcs[] = {(char[]){"*"}};
static struct config_identity identity = {.name = (char[]){"ana"}, .plcs = {all_plcs, 1}};
static struct config_gateway gateway = {.name = (char[]){"plant"}, .plc = plcs};
static struct tls_context context = {.role = TLS_ROLE_GATEWAY};
static struct tls_context *contexts[] = {&context};

static struct {
	struct capabilities capabilities;
	struct config config;
	struct snapshot snapshot;
	struct worker worker;
	struct counters counters;
	struct op_owner woken;
	int client, plc; /* our ends */
	int open;        /* descriptors before */
} line;

static const uint8_t request[] = {0x50, 0, 0, 0xff, 0xff, 3, 0, 0x0c, 0, 0x10, 0,
				  1,    4, 0, 0,    0x64, 0, 0, 0xa8, 2, 0};

static int count_descriptors(void)
{
	int count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static struct session *session(void)
{
	return LIST_FIRST(&line.worker.sessions);
}

static void tick(struct timer *timer)
{
	(void)timer;
}

/* The worker's loop for a while. */
static void run(clock_us time)
{
	clock_us until = clock_now() + time;
	struct timer timer = {.expired = tick};

	while (clock_now() < until) {
		assert_int_equal(timer_set(ring_timers(line.worker.ring), &timer, until), 0);
		assert_int_equal(ring_run_once(line.worker.ring), 0);
		timer_stop(ring_timers(line.worker.ring), &timer);
	}
}

static void fill_config(const struct address *plc)
{
	plcs[0].address = *plc;
	address_set_port(&plcs[0].address, 0);
	ports[0].number = address_port(plc);
	line.config = (struct config){
		.timeouts = {.handshake = 3 * CLOCK_SEC,
			     .dial_plc = CLOCK_SEC,
			     .slot_wait = CLOCK_SEC,
			     .frame_rest = 10 * CLOCK_SEC,
			     .drain = 5 * CLOCK_SEC},
		.limits = {.sessions = 10, .frame = 8200, .key_records = 1U << 30},
		.plcs = plcs,
		.plc_count = 1,
		.identities = &identity,
		.identity_count = 1,
		.gateways = &gateway,
		.gateway_count = 1,
	};
	line.snapshot = (struct snapshot){.config = &line.config,
					  .gateways = contexts,
					  .socket_options = {.keepalive_idle = 10 * CLOCK_SEC,
							     .keepalive_interval = 5 * CLOCK_SEC,
							     .keepalive_count = 3,
							     .user_timeout = 20 * CLOCK_SEC}};
	atomic_init(&line.snapshot.references, 1);
	assert_int_equal(plant_new(&line.snapshot.plant), 0);
	assert_int_equal(plant_configure(line.snapshot.plant, &line.config), 0);
}

/* A listening socket on loopback and its address. */
static int listen_somewhere(struct address *address)
{
	int fd;

	assert_int_equal(address_parse("127.0.0.1:0", address), 0);
	assert_int_equal(socket_listen(address, false, &fd), 0);
	assert_int_equal(socket_local(fd, address), 0);
	return fd;
}

static void start_session(int listener)
{
	struct handshake_job *job;
	int pair[2], on = 1;

	assert_int_equal(loopback_pair(pair), 0);
	line.client = pair[0];
	assert_int_equal(session_new(&line.worker, &line.snapshot, NULL, &gateway, pair[1]), 0);
	job = posted;
	job->peer.identity = &identity;
	job->kernel = calloc(1, sizeof(*job->kernel));
	job->message.deliver(&job->message);
	run(5 * CLOCK_MS);
	line.plc = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(line.plc >= 0);
	/* Pieces leave when they are written. */
	assert_int_equal(setsockopt(line.plc, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
	assert_int_equal(session()->state, SESSION_RELAYING);
	close(listener);
}

static int set_up_line(const struct row *row, enum config_protocol protocol)
{
	struct address plc;
	int listener;

	memset(&line, 0, sizeof(line));
	closed_for = SESSION_REASON_NONE;
	line.open = count_descriptors();
	log_set_level((enum log_level) - 1); /* below all: silent */
	listener = listen_somewhere(&plc);
	fill_config(&plc);
	ports[0].protocol = protocol;
	ports[0].identities = (struct config_strings){.items = &identity.name, .count = 1};
	line.capabilities.loop = row->loop;
	line.capabilities.relay = row->relay;
	line.worker.capabilities = &line.capabilities;
	line.worker.counters = &line.counters;
	line.worker.snapshot = &line.snapshot;
	LIST_INIT(&line.worker.sessions);
	assert_int_equal(ring_new(row->loop, 64, &line.woken, &line.worker.ring), 0);
	assert_int_equal(pipe_pool_new(row->pipes, &line.worker.pipes), 0);
	assert_int_equal(pipe_pool_size(line.worker.pipes), row->pipes);
	start_session(listener);
	return 0;
}

static int set_up(void **state)
{
	return set_up_line(*state, CONFIG_PROTOCOL_MC);
}

static int set_up_opaque(void **state)
{
	return set_up_line(*state, CONFIG_PROTOCOL_OPAQUE);
}

/* Whatever happened, nothing may be left. */
static int tear_down(void **state)
{
	(void)state;
	if (session() != NULL) {
		session_close(session(), SESSION_REASON_SHUTDOWN, NULL);
		session_settle(session());
	}
	for (int i = 0; i < 100 && session() != NULL; i++)
		run(CLOCK_MS);
	assert_null(session());
	ring_free(line.worker.ring);
	pipe_pool_free(line.worker.pipes);
	plant_free(line.snapshot.plant);
	admission_deinit(&line.counters.admission);
	close(line.client);
	close(line.plc);
	assert_int_equal(count_descriptors(), line.open);
	return 0;
}

/* A 3E answer of `size` bytes in all with a content that its place in the stream decides. */
static void make_answer(uint8_t *frame, size_t size, unsigned int seed)
{
	static const uint8_t head[] = {0xd0, 0, 0, 0xff, 0xff, 3, 0};

	memcpy(frame, head, sizeof(head));
	frame[7] = (uint8_t)(size - 9);
	frame[8] = (uint8_t)((size - 9) >> 8);
	frame[9] = frame[10] = 0;
	for (size_t i = 11; i < size; i++)
		frame[i] = (uint8_t)rand_r(&seed);
}

static void write_plc(const void *bytes, size_t size)
{
	assert_int_equal(send(line.plc, bytes, size, MSG_NOSIGNAL), size);
}

/* The PLC has been asked: answers before any request are none. */
static void ask(void)
{
	uint8_t bytes[64];

	assert_int_equal(send(line.client, request, sizeof(request), 0), sizeof(request));
	for (int i = 0; i < 1000 && recv(line.plc, bytes, sizeof(bytes), MSG_PEEK) < 0; i++)
		run(5 * CLOCK_MS);
	assert_int_equal(recv(line.plc, bytes, sizeof(bytes), 0), sizeof(request));
	assert_memory_equal(bytes, request, sizeof(request));
}

static void nothing_came(void)
{
	uint8_t byte;

	assert_int_equal(recv(line.client, &byte, 1, MSG_PEEK), -1);
	assert_int_equal(errno, EAGAIN);
}

/* One recv, as many clients do it. */
static void came_whole(const uint8_t *frame, size_t size)
{
	uint8_t bytes[16384];
	ssize_t got = -1;

	/* Delayed acknowledgements hold small segments back for 40 ms at a time. */
	for (int i = 0; i < 300 && got < 0; i++) {
		run(10 * CLOCK_MS);
		got = recv(line.client, bytes, sizeof(bytes), 0);
	}
	assert_int_equal(got, size);
	assert_memory_equal(bytes, frame, size);
}

static void nothing_came_but_the_end(void)
{
	uint8_t byte;

	assert_int_equal(recv(line.client, &byte, 1, 0), 0);
}

/* --- cases ------------------------------------------------------------------------------------ */

static void an_answer_in_pieces_leaves_whole(void **state)
{
	static const size_t sizes[] = {11, 13, 31, 32, 33, 100, 1931, 8200};
	uint8_t frame[8200];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t cuts[] = {1, 8, 9, sizes[i] / 2, sizes[i] - 1};

		for (size_t c = 0; c < ARRAY_SIZE(cuts); c++) {
			size_t cut = cuts[c] < sizes[i] ? cuts[c] : 1;

			ask();
			make_answer(frame, sizes[i], (unsigned int)i);
			write_plc(frame, cut);
			run(3 * CLOCK_MS);
			nothing_came();
			assert_true(timer_is_set(&session()->directions[LEG_FAR].frame_rest));
			write_plc(frame + cut, sizes[i] - cut);
			came_whole(frame, sizes[i]);
			assert_false(timer_is_set(&session()->directions[LEG_FAR].frame_rest));
		}
	}
	assert_int_equal(session()->directions[LEG_FAR].frames, 40);
	assert_null(session()->directions[LEG_FAR].pipe);
}

static void two_answers_at_once_are_two(void **state)
{
	uint8_t frames[13 + 200], looked[sizeof(frames)];

	(void)state;
	ask();
	make_answer(frames, 13, 1);
	make_answer(frames + 13, 200, 2);
	write_plc(frames, sizeof(frames));
	/* The client does not look in between, however long the second takes on a busy machine. */
	for (int i = 0; i < 1000 && recv(line.client, looked, sizeof(looked), MSG_PEEK) <
					    (ssize_t)sizeof(frames);
	     i++)
		run(CLOCK_MS);
	came_whole(frames, sizeof(frames));
	/* The bytes may be there before their completion is. */
	for (int i = 0; i < 1000 && session()->directions[LEG_FAR].frames < 2; i++)
		run(CLOCK_MS);
	assert_int_equal(session()->directions[LEG_FAR].frames, 2);
	assert_int_equal(session()->directions[LEG_FAR].bytes, sizeof(frames));
}

/* More segments than a pipe has slots. */
static void a_frame_in_crumbs_leaves_whole(void **state)
{
	uint8_t frame[60];

	(void)state;
	ask();
	make_answer(frame, sizeof(frame), 3);
	for (size_t i = 0; i < sizeof(frame); i++)
		write_plc(frame + i, 1);
	came_whole(frame, sizeof(frame));
}

static void set_buffer(int fd, int option, int size)
{
	assert_int_equal(setsockopt(fd, SOL_SOCKET, option, &size, sizeof(size)), 0);
}

/* Frames of all sizes in random cuts to a client that reads slowly into a small window. */
static void nothing_is_lost_under_pressure(void **state)
{
	enum { TOTAL = 60000, STEP = 3000 };
	uint8_t *sent = malloc(TOTAL + 8200), *received = malloc(TOTAL + 8200);
	size_t size = 0, out = 0, in = 0;
	unsigned int seed = 4, frames = 0;

	(void)state;
	set_buffer(line.client, SO_RCVBUF, 2048);
	set_buffer(session()->legs[LEG_NEAR].fd, SO_SNDBUF, 2048);
	ask();
	for (; size < TOTAL; frames++) {
		size_t length = 11 + (size_t)rand_r(&seed) % (rand_r(&seed) % 4 ? 200 : 8190);

		make_answer(sent + size, length, seed);
		size += length;
	}
	for (unsigned int turn = 0; in < size; turn++) {
		size_t want = 1 + (size_t)rand_r(&seed) % STEP;
		ssize_t moved = send(line.plc, sent + out, want < size - out ? want : size - out,
				     MSG_NOSIGNAL);

		assert_true(turn < 100000);
		out += moved > 0 ? (size_t)moved : 0;
		run(turn % 8 ? 20 : CLOCK_MS);
		moved = turn % 3 ? recv(line.client, received + in, want, 0) : 0;
		in += moved > 0 ? (size_t)moved : 0;
		assert_non_null(session());
	}
	assert_memory_equal(received, sent, size);
	run(5 * CLOCK_MS);
	assert_int_equal(session()->directions[LEG_FAR].frames, frames);
	free(sent);
	free(received);
}

static void opaque_bytes_pass_both_ways(void **state)
{
	enum { TOTAL = 300000 };
	uint8_t *sent = malloc(TOTAL), *received = malloc(2 * TOTAL);
	size_t out[2] = {0}, in[2] = {0};
	unsigned int seed = 5;

	(void)state;
	for (size_t i = 0; i < TOTAL; i++)
		sent[i] = (uint8_t)rand_r(&seed);
	for (unsigned int turn = 0; in[0] < TOTAL || in[1] < TOTAL; turn++) {
		int source = turn & 1 ? line.client : line.plc;
		int target = turn & 1 ? line.plc : line.client;
		size_t *o = &out[turn & 1], *i = &in[turn & 1];
		size_t want = 1 + (size_t)rand_r(&seed) % 40000;
		ssize_t moved = send(source, sent + *o, want < TOTAL - *o ? want : TOTAL - *o,
				     MSG_NOSIGNAL);

		assert_true(turn < 10000);
		*o += moved > 0 ? (size_t)moved : 0;
		run(200);
		moved = recv(target, received + (turn & 1) * TOTAL + *i, want, 0);
		*i += moved > 0 ? (size_t)moved : 0;
	}
	assert_memory_equal(received, sent, TOTAL);
	assert_memory_equal(received + TOTAL, sent, TOTAL);
	free(sent);
	free(received);
}

/* The operator's descriptor tells who has bytes in which pipe. */
static void the_pipe_record_tells_the_session(void **state)
{
	uint8_t frame[8000];
	const struct pipe *pipe = NULL;

	(void)state;
	set_buffer(line.client, SO_RCVBUF, 2048);
	set_buffer(session()->legs[LEG_NEAR].fd, SO_SNDBUF, 2048);
	ask();
	make_answer(frame, sizeof(frame), 6);
	for (int i = 0; i < 100 && pipe == NULL; i++) {
		assert_true(send(line.plc, frame, sizeof(frame), MSG_NOSIGNAL) > 0);
		run(2 * CLOCK_MS);
		pipe = session()->directions[LEG_FAR].pipe;
	}
	assert_non_null(pipe);
	assert_int_equal(pipe->record->session, session()->id);
	assert_int_equal(pipe->record->from, LEG_FAR);
	assert_int_equal(pipe->record->frame, sizeof(frame));
	assert_int_equal(pipe->record->missing, 0);
	assert_in_range(pipe->record->left, 1, sizeof(frame));
	session_close(session(), SESSION_REASON_SHUTDOWN, NULL);
	session_settle(session());
	run(5 * CLOCK_MS);
	assert_int_equal(pipe->record->session, 0);
}

static void cut_off(const struct row *row, size_t cut, bool reset)
{
	struct linger now = {.l_onoff = 1};
	uint8_t frame[100];

	set_up_line(row, CONFIG_PROTOCOL_MC);
	ask();
	make_answer(frame, sizeof(frame), 7);
	write_plc(frame, cut);
	run(2 * CLOCK_MS);
	if (reset) {
		assert_int_equal(setsockopt(line.plc, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
		close(line.plc);
		line.plc = dup(line.client);
	} else {
		shutdown(line.plc, SHUT_WR);
	}
	run(5 * CLOCK_MS);
	assert_int_equal(closed_for,
			 reset ? SESSION_REASON_TARGET_LOST : SESSION_REASON_TARGET_TRUNCATED);
	tear_down(NULL);
}

static void an_end_inside_a_frame_is_told_at_once(void **state)
{
	static const size_t cuts[] = {3, 9, 20};

	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		cut_off(*state, cuts[i], false);
		cut_off(*state, cuts[i], true);
	}
}

static void an_end_between_frames_is_passed_on(void **state)
{
	uint8_t frame[100], byte;

	(void)state;
	ask();
	make_answer(frame, sizeof(frame), 8);
	write_plc(frame, sizeof(frame));
	shutdown(line.plc, SHUT_WR);
	came_whole(frame, sizeof(frame));
	assert_int_equal(recv(line.client, &byte, 1, 0), 0);
	assert_int_equal(session()->state, SESSION_DRAINING);
}

static void the_rest_is_not_awaited_for_ever(void **state)
{
	uint8_t frame[100];

	(void)state;
	line.config.timeouts.frame_rest = 100 * CLOCK_MS;
	ask();
	make_answer(frame, sizeof(frame), 9);
	write_plc(frame, 50);
	run(200 * CLOCK_MS);
	assert_int_equal(closed_for, SESSION_REASON_ANSWER_INCOMPLETE);
}

static void what_is_no_answer_goes_no_further(void **state)
{
	(void)state;
	ask();
	write_plc("\xd1\0\0\xff\xff\x03\0\x02\0\0\0", 11);
	run(5 * CLOCK_MS);
	assert_int_equal(closed_for, SESSION_REASON_BAD_ANSWER);
	nothing_came_but_the_end();
}

#define CASE(name, row)                                                                            \
	{                                                                                          \
#name " (" #row ")", name, set_up, tear_down, (void *)(uintptr_t) & (row)          \
	}
#define EVERY(name)                                                                                \
	CASE(name, uring), CASE(name, uring_splice), CASE(name, epoll), CASE(name, no_pipe)
#define ALONE(name, row)                                                                           \
	{                                                                                          \
#name " (" #row ")", name, NULL, NULL, (void *)(uintptr_t) & (row)                 \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		EVERY(an_answer_in_pieces_leaves_whole),
		EVERY(two_answers_at_once_are_two),
		EVERY(a_frame_in_crumbs_leaves_whole),
		EVERY(nothing_is_lost_under_pressure),
		CASE(the_pipe_record_tells_the_session, uring),
		CASE(the_pipe_record_tells_the_session, epoll),
		EVERY(an_end_between_frames_is_passed_on),
		EVERY(the_rest_is_not_awaited_for_ever),
		EVERY(what_is_no_answer_goes_no_further),
		ALONE(an_end_inside_a_frame_is_told_at_once, uring),
		ALONE(an_end_inside_a_frame_is_told_at_once, uring_splice),
		ALONE(an_end_inside_a_frame_is_told_at_once, epoll),
		{"opaque_bytes_pass_both_ways (uring)", opaque_bytes_pass_both_ways, set_up_opaque,
		 tear_down, (void *)(uintptr_t)&uring},
		{"opaque_bytes_pass_both_ways (epoll)", opaque_bytes_pass_both_ways, set_up_opaque,
		 tear_down, (void *)(uintptr_t)&epoll},
		{"opaque_bytes_pass_both_ways (no_pipe)", opaque_bytes_pass_both_ways,
		 set_up_opaque, tear_down, (void *)(uintptr_t)&no_pipe},
	};

	return cmocka_run_group_tests_name("relay_splice", tests, NULL, NULL);
}
